"""Densities from points without a model: kernels and histograms."""

from __future__ import annotations

import numpy as np
from scipy import fft

from pma_grid.grid.axes import along
from pma_grid.runtime.arrays import Array


def smoothed(masses: Array, bandwidth: float) -> Array:
    """Cell masses convolved with a Gaussian that is reflected at the faces.

    Parameters
    ----------
    masses : ndarray, 1 to 3 axes
    bandwidth : float
        Standard deviation, in units of the box's sides, >= 0.

    Notes
    -----
    The heat semigroup on the box, exp(-(bandwidth pi k)^2 / 2) on cosines: masses are kept to
    rounding, and those that would round below 0 are 0.

    References
    ----------
    Silverman (1986), Density Estimation for Statistics and Data Analysis, section 2.10: reflection.
    """
    factor = np.ones(())
    for axis, n in enumerate(masses.shape):
        decay = np.exp(-0.5 * (bandwidth * np.pi * np.arange(n)) ** 2)
        factor = factor * along(decay, axis, masses.ndim)
    spread = fft.idctn(fft.dctn(masses, norm="ortho") * factor, norm="ortho")
    return np.asarray(np.maximum(spread, 0.0))


def padded(masses: Array, pseudo_count: float) -> Array:
    """The histogram with ``pseudo_count`` times the uniform law added, of sum 1."""
    return np.asarray((masses + pseudo_count / masses.size) / (1 + pseudo_count))
