"""Plug-in densities: `Histogram`, from counts in the cells, and `Kernel`, from Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.learning.estimators.estimator import TINY_MASS, OneStrength, limited
from pma_grid.runtime import Array


@dataclass(frozen=True)
class Kernel(OneStrength):
    """Kernel density estimate: a Gaussian at every point, reflected at the faces of the box.

    Parameters
    ----------
    strength : float, optional
        Bandwidth: the standard deviation of the Gaussians, in units of the box's sides.  None lets
        held-out samples choose it.
    """

    name = "kde"

    def strengths(self) -> Array:
        """.002 to .3 of the box by factors of 1.25."""
        return np.asarray(0.002 * 1.25 ** np.arange(23))

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log of the smoothed histogram."""
        spread = smoothed(masses, self.chosen)
        return limited(np.log(np.maximum(spread, TINY_MASS)))


def smoothed(masses: Array, bandwidth: float) -> Array:
    """Cell masses convolved with a Gaussian, its width in sides of the box, reflected at the faces.

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


@dataclass(frozen=True)
class Histogram(OneStrength):
    """Counts in the cells, with a uniform law mixed in so that no cell is empty.

    Parameters
    ----------
    strength : float, optional
        Weight of the uniform law over that of the points: the pseudo-counts of all cells together
        over the number of points.  None lets held-out samples choose it.
    """

    name = "histogram"

    def strengths(self) -> Array:
        """1e-4 ... 100 by factors of 10^{1/2}."""
        return np.logspace(-4, 2, 13)

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log of the histogram."""
        return limited(np.log(padded(masses, self.chosen)))


def padded(masses: Array, pseudo_count: float) -> Array:
    """The histogram with ``pseudo_count`` times the uniform law added, of sum 1."""
    return np.asarray((masses + pseudo_count / masses.size) / (1 + pseudo_count))
