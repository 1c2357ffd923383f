"""`Histogram`: a density from counts in the cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.learning.estimators.estimator import OneStrength, limited
from pma_grid.runtime import Array


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
