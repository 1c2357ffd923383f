"""The density of draws through a map: what importance weights divide by."""

from __future__ import annotations

import numpy as np

from pma_grid.runtime import Array
from pma_grid.transport.transport import Transport

# Differences of the map are taken over so many cells: its pieces are cubics, so that their error is
# the square of this, and rounding a thousandth of that.
DIFFERENCE_CELLS = 1e-5
# Draws whose image misses their base point by more than this were not inverted: those that were
# miss by rounding.
IMAGE_MISS_CELLS = 1e-3


def log_push_forward(transport: Transport, y: Array, x: Array) -> tuple[Array, Array]:
    """log of the density at x = grad u*(y) of the law that y is drawn from, moved by the map.

    Parameters
    ----------
    transport : Transport
    y, x : ndarray, shape (m, d)
        Points of the base law, which is constant in its cells, and what the map made of them.

    Returns
    -------
    logs : ndarray, shape (m,)
        log nu(y) + log |det D grad u(x)|, 1/length^d, of the interpolated map itself: this is the
        very density of the draws, without an error of the grid.
    found : ndarray of bool, shape (m,)
        Where grad u(x) is y, as it must be.
    """
    base, grid = transport.problem.target, transport.problem.source.grid
    nu = base.values[tuple(base.grid.cell_index(y).T)]
    slopes = np.empty((len(x), grid.dim, grid.dim))
    for axis, h in enumerate(grid.spacing):
        ends = []
        for sign in (-1, 1):
            moved = x.copy()
            moved[:, axis] += sign * DIFFERENCE_CELLS * h
            np.clip(moved[:, axis], grid.lower[axis], grid.upper[axis], out=moved[:, axis])
            ends.append(moved)
        width = (ends[1] - ends[0])[:, axis]
        slopes[:, :, axis] = (transport.map(ends[1]) - transport.map(ends[0])) / width[:, None]
    with np.errstate(divide="ignore"):
        logs = np.log(nu) + np.linalg.slogdet(slopes)[1]
    missed = np.abs(transport.map(x) - y) > IMAGE_MISS_CELLS * np.array(base.grid.spacing)
    return logs, ~missed.any(axis=1) & np.isfinite(logs)
