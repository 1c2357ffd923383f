"""Quantiles of a law on a line from the masses of its cells."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from pma_grid.runtime import Array

# Points a cell at which the distribution function is tabulated and inverted: its pieces are cubics.
POINTS_PER_CELL = 16


def quantiles(masses: Array, faces: Array, levels: Array) -> Array:
    """Where a monotone cubic distribution function reaches each of the levels in [0, 1].

    References
    ----------
    Fritsch & Carlson (1980), Monotone piecewise cubic interpolation, doi:10.1137/0717021.
    """
    below = np.concatenate([[0.0], np.cumsum(masses)])
    fine = np.linspace(faces[0], faces[-1], POINTS_PER_CELL * masses.size + 1)
    with np.errstate(over="ignore"):  # slopes of empty cells have infinite inverses
        rising = PchipInterpolator(faces, below / below[-1])(fine)
    return np.asarray(np.interp(levels, np.maximum.accumulate(rising), fine))
