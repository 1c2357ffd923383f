"""Cell averages of ellipsoids, balls, their parts and shells: chords exact, lines sampled."""

from __future__ import annotations

import itertools

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array

# Lines through a cell along each axis but the last: chords of a cut cell are exact.
LINES_A_CELL = {1: 1, 2: 32, 3: 12}


def ellipsoid(
    grid: Grid,
    centre: Array,
    shape: Array,
    between: tuple[float, float] = (-np.inf, np.inf),
) -> Array:
    """Share of each cell inside {(x - c)' A^{-1} (x - c) <= 1}, A symmetric positive definite.

    ``centre`` is c, length, and ``shape`` A, length^2: semi-axes are the roots of its eigenvalues.
    ``between`` limits the last coordinate, for halves of bodies.  The chord of every line along the
    last axis is exact, so 1-D is.
    """
    inverse = np.linalg.inv(shape)
    dim, lines = grid.dim, LINES_A_CELL[grid.dim]
    faces = grid.faces[-1]
    total = np.zeros(grid.shape)
    for offsets in itertools.product((np.arange(lines) + 0.5) / lines - 0.5, repeat=dim - 1):
        points = [
            axis + offset * h - c
            for axis, offset, h, c in zip(
                grid.axes[:-1], offsets, grid.spacing[:-1], centre[:-1], strict=True
            )
        ]
        mesh = np.array(np.meshgrid(*points, indexing="ij")).reshape(dim - 1, *grid.shape[:-1])
        # a t^2 + 2 b t + c <= 0 along the line, t the last coordinate from the centre
        a = inverse[-1, -1]
        b = np.tensordot(inverse[-1, :-1], mesh, 1)
        c = np.einsum("i...,ij,j...->...", mesh, inverse[:-1, :-1], mesh) - 1
        half = np.sqrt(np.maximum(b * b - a * c, 0)) / a
        low = np.maximum(centre[-1] - b / a - half, between[0])[..., None]
        high = np.minimum(centre[-1] - b / a + half, between[1])[..., None]
        total += np.maximum(np.minimum(high, faces[1:]) - np.maximum(low, faces[:-1]), 0)
    return np.asarray(total / (grid.spacing[-1] * lines ** (dim - 1)))


def ball(
    grid: Grid, centre: Array, radius: float, between: tuple[float, float] = (-np.inf, np.inf)
) -> Array:
    """Share of each cell inside a ball, or the part of it between two last coordinates."""
    return ellipsoid(grid, centre, radius**2 * np.eye(grid.dim), between)


def shell(grid: Grid, centre: Array, inner: float, outer: float) -> Array:
    """Share of each cell between two spheres of one centre."""
    # the same lines through both balls, so that no difference is negative
    return np.asarray(ball(grid, centre, outer) - ball(grid, centre, inner))
