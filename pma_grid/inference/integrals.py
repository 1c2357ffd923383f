"""Integrals of exp(f) by cells, in logarithms, and of its tails beyond a box."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pma_grid.grid.grid import Grid
from pma_grid.inference.counted import LogFunction
from pma_grid.runtime import Array, InvalidInputError

# Cells an axis of a shell between two boxes, a quarter of them on either side.
SHELL_CELLS = {1: 2048, 2: 128, 3: 32}
# Shells are added until one holds less than this share of the mass, far below any error of log Z,
# and at most so many: 2^40 boxes wide.
NEGLIGIBLE_SHARE, MOST_SHELLS = 1e-12, 40
# Shells that keep more than this share of the mass of the one before are those of no finite mass;
# a power law r^{-d-a} keeps 2^{-a}.
MOST_KEPT_SHARE = 0.95
# Relative error that a shell on its coarse grid is granted: it need not be better than half right.
SHELL_ERROR = 0.5


def log_cell_masses(f: LogFunction, grid: Grid, quadrature: int) -> Array:
    """log of the integrals of exp(f) over the cells, by Gauss's rule of so many points an axis."""
    nodes, weights = np.polynomial.legendre.leggauss(quadrature)
    total = np.full(grid.shape, -np.inf)
    for point in itertools.product(range(quadrature), repeat=grid.dim):
        moved = [
            x + 0.5 * nodes[k] * h for x, h, k in zip(grid.axes, grid.spacing, point, strict=True)
        ]
        values = f(*np.meshgrid(*moved, indexing="ij"))
        np.logaddexp(total, values + np.log(np.prod(weights[list(point)] / 2)), out=total)
    return total + math.log(grid.cell_volume)


@dataclass(frozen=True)
class Tail:
    """The mass beyond a box over that within, and how much of it is uncertain."""

    share: float
    error: float


def tail(f: LogFunction, grid: Grid, log_mass: float, limits: Array | None) -> Tail:
    """Mass between the grid's box and ``limits``, in shells of boxes twice as large each.

    Parameters
    ----------
    f : LogFunction
    grid : Grid
    log_mass : float
        log of the mass in its box.
    limits : ndarray, shape (2, d), optional
        None: all of space.

    Returns
    -------
    Tail
        The error is half of the shells, which are integrated coarsely, and what lies beyond the
        last, where the shells go on to fall as they did.

    Raises
    ------
    InvalidInputError
        They do not fall: the density cannot be normalised.
    """
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    total = last = before = 0.0
    for _ in range(MOST_SHELLS):
        half = 0.5 * (upper - lower)
        low, high = lower - half, upper + half
        if limits is not None:
            low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
        if not ((low < lower) | (high > upper)).any():
            return Tail(total, SHELL_ERROR * total)
        before, last = last, math.exp(_shell(f, (low, lower, upper, high)) - log_mass)
        total += last
        lower, upper = low, high
        if last <= NEGLIGIBLE_SHARE:
            return Tail(total, SHELL_ERROR * total + last)
    ratio = last / before
    if ratio > MOST_KEPT_SHARE:
        raise InvalidInputError(
            f"log_density does not fall off: of boxes twice as large each, up to {high.tolist()}, "
            f"every shell holds {ratio:.2g} of the mass of the one before; a density that can be "
            "normalised must fall off: add a prior, or give the box of its support"
        )
    return Tail(total, SHELL_ERROR * total + last * ratio / (1 - ratio))


def _shell(f: LogFunction, corners: tuple[Array, Array, Array, Array]) -> float:
    """log of the mass between two boxes, one in the other, by midpoints.

    Cells grow with the square of their number from the inner box, where most of the mass is.
    """
    dim = corners[0].size
    quarter = SHELL_CELLS[dim] // 4
    centres, widths, inner = [], [], []
    for axis in range(dim):
        ends = [float(corner[axis]) for corner in corners]
        steps = np.linspace(0.0, 1.0, quarter + 1) ** 2
        below = ends[1] - (ends[1] - ends[0]) * steps[::-1]
        above = ends[2] + (ends[3] - ends[2]) * steps
        middle = np.linspace(ends[1], ends[2], 2 * quarter + 1)
        parts = [
            (e, inside)
            for e, inside in ((below, False), (middle, True), (above, False))
            if e[-1] > e[0]
        ]
        centres.append(np.concatenate([0.5 * (e[1:] + e[:-1]) for e, _ in parts]))
        widths.append(np.concatenate([np.diff(e) for e, _ in parts]))
        inner.append(np.concatenate([np.full(e.size - 1, inside) for e, inside in parts]))
    outside = ~np.logical_and.reduce(np.meshgrid(*inner, indexing="ij"))
    points = [c[outside] for c in np.meshgrid(*centres, indexing="ij")]
    volumes = np.prod([w[outside] for w in np.meshgrid(*widths, indexing="ij")], axis=0)
    values = f(*points)
    return float(logsumexp(values, b=volumes)) if np.isfinite(values).any() else -math.inf
