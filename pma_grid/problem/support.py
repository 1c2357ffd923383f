"""Gaps in the support of a density: where maps onto it tear."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull

from pma_grid.runtime import Array, Mask

# Cells by which a centre must lie inside a hull: rims of round supports are staircases.
INSIDE_CELLS = 1.5
# Cells an axis, by dimension, above which blocks of cells stand for them: hulls have many facets.
MOST_CELLS = {1: 1 << 20, 2: 128, 3: 24}


def gap_share(values: Array) -> float:
    """Share of empty cells among those well inside the convex hull of the cells with mass.

    Empty cells beyond the hull are no gaps: a map goes on there as it likes.
    """
    if values.all():
        return 0.0
    heavy = _blocks(values > 0, MOST_CELLS[values.ndim])
    if heavy.ndim == 1:
        cells = np.flatnonzero(heavy)
        return float(np.mean(~heavy[cells[0] : cells[-1] + 1]))
    centres = np.indices(heavy.shape).reshape(heavy.ndim, -1).T + 0.5
    empty = ~heavy.ravel()
    for *normal, offset in ConvexHull(_corners(heavy)).equations:
        kept = centres @ normal + offset <= -INSIDE_CELLS
        centres, empty = centres[kept], empty[kept]
    return float(empty.mean()) if empty.size else 0.0


def _blocks(heavy: Mask, most: int) -> Mask:
    """Whether blocks of cells, at most so many an axis, hold any mass."""
    for axis, n in enumerate(heavy.shape):
        starts = np.arange(0, n, -(-n // most))
        heavy = np.logical_or.reduceat(heavy, starts, axis)
    return heavy


def _corners(heavy: Mask) -> Array:
    """Corners, in cells, of the first and the last cell with mass of every line of the last axis.

    Those of all cells have the same hull, which is never flat.
    """
    lines = heavy.reshape(-1, heavy.shape[-1])
    full = np.flatnonzero(lines.any(axis=1))
    rows = np.stack(np.unravel_index(full, heavy.shape[:-1]), axis=1)
    first = lines[full].argmax(axis=1)
    last = lines.shape[1] - 1 - lines[full, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])])
    shifts = np.array(list(np.ndindex(*(2,) * heavy.ndim)))
    return np.unique((ends[:, None, :] + shifts).reshape(-1, heavy.ndim), axis=0).astype(float)
