"""Checks of points, and of the vertices of a convex polygon."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.runtime import Array, InvalidInputError

# Turns, areas and widths below this share of the largest are zero: collinear vertices, flat sets.
FLAT_SHARE = 1e-12


def checked_points(points: ArrayLike, dim: int, name: str) -> Array:
    """Finite points (m, d) in C order."""
    try:
        array = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != dim or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} must be finite numbers of shape (m, {dim}), one row for each point; got "
            f"shape {np.shape(points)}: check the array for NaN and its number of columns"
        )
    return np.ascontiguousarray(array)


def convex_ring(ring: Array, slack: float = FLAT_SHARE) -> Array:
    """Corners counterclockwise, without repeated and collinear ones; checks convexity."""
    width = float(np.max(np.ptp(ring, axis=0))) if len(ring) else 0.0
    x, y = (ring - ring.mean(axis=0)).T if len(ring) else (np.empty(0), np.empty(0))
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    distinct = len(np.unique(ring, axis=0))
    if distinct < 3 or not abs(area) > FLAT_SHARE * width * width:
        raise InvalidInputError(
            f"vertices has {distinct} different points with an area of {abs(area):g}; a polygon "
            "needs three corners that are not on one line: add vertices"
        )
    ring = ring if area > 0 else ring[::-1]
    ring = ring[np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1) > slack * width]
    while True:
        before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
        turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        sines = turn / (np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1))
        corner = sines > FLAT_SHARE
        if corner.all():
            break
        if (sines < -max(slack, 1e-9)).any():
            raise InvalidInputError(_not_convex(ring[int(np.argmin(sines))]))
        ring = ring[corner]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.arctan2(
        before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], (before * after).sum(axis=1)
    )
    if turns.sum() > 3 * np.pi:
        raise InvalidInputError(_not_convex(ring[0]))
    return np.ascontiguousarray(ring)


def _not_convex(vertex: Array) -> str:
    return (
        f"vertices turn the wrong way or cross near {vertex.tolist()}; they must follow the "
        "boundary of a convex polygon: order them, or take the vertices of scipy.spatial.ConvexHull"
    )
