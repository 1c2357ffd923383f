"""`LogDensity`: a density on a grid between its cell centres, for likelihoods of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.averaging import gauss_points
from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import LogSpline, log_centre_values
from pma_grid.problem.density import Density
from pma_grid.runtime import Array

# Gauss points an axis in a cell for the total mass: the spline is a cubic, its exponential smooth.
GAUSS_POINTS_PER_AXIS = 3
# Points that are evaluated at a time, which bounds the memory for their stencils.
POINTS_AT_A_TIME = 1 << 18
# Cells without mass count with this share of the mean density, 28 nats below it, where a logarithm
# is taken.
EMPTY_CELL_SHARE = 1e-12


class LogDensity:
    """log of a density by cubic splines through its values at the cell centres, normalised.

    Made of the log-density at the cell centres, finite, up to a constant.  An object is called with
    points, (m, d), and gives their log-likelihoods.  Interpolating the density linearly instead
    would cost (h^2/12) tr D^2 log mu nats a point, which is more than what good estimators differ
    by.

    Attributes
    ----------
    grid : Grid
    log_mass : float
        log of the integral over the box before normalising, by 3 Gauss points an axis in each cell.

    Notes
    -----
    Fourth order in the spacing where the log-density is smooth and flat at the faces, second where
    it is not flat there: splines are reflected evenly.
    """

    def __init__(self, logarithms: ArrayLike, grid: Grid) -> None:
        self.grid = grid
        self._spline = LogSpline(np.ascontiguousarray(logarithms, float), grid)
        self.log_mass = self._log_integral()

    @classmethod
    def of(cls, density: Density) -> LogDensity:
        """Of a density, which must be positive: give one with zeros a floor first.

        Examples
        --------
        >>> log_density = LogDensity.of(Density([1.0, 1.0], Grid(2, 0.0, 4.0)))
        >>> bool(np.allclose(log_density([[1.3], [5.0]]), [-np.log(4.0), -np.inf]))
        True
        """
        return cls(log_centre_values(density.relative), density.grid)

    @classmethod
    def with_empty_cells(cls, density: Density) -> LogDensity:
        """Of a density whose zeros are raised to `EMPTY_CELL_SHARE` of its mean."""
        return cls.of(Density(np.maximum(density.relative, EMPTY_CELL_SHARE), density.grid))

    @classmethod
    def of_logs(cls, logarithms: Array, grid: Grid) -> LogDensity:
        """Of the logarithms of cell averages, up to a constant, finite."""
        return cls(log_centre_values(np.exp(logarithms - logarithms.max())), grid)

    def __call__(self, points: ArrayLike) -> Array:
        """log of the density at points (m, d), 1/length^d; -inf outside the box."""
        x = self.grid.as_points(points, "points")
        out = np.full(len(x), -np.inf)
        inside = self.grid.contains(x)
        out[inside] = self._inside(x[inside]) - self.log_mass
        return out

    def _inside(self, points: Array) -> Array:
        """The spline at points of the box, in pieces."""
        starts = range(0, len(points), POINTS_AT_A_TIME)
        parts = [self._spline(points[k : k + POINTS_AT_A_TIME]) for k in starts]
        return np.concatenate(parts) if parts else np.empty(0)

    def _log_integral(self) -> float:
        """log of the integral of the exponential, the maximum taken out."""
        centres, spacing = self.grid.points, np.array(self.grid.spacing)
        values = [
            (weight, self._inside(centres + offset * spacing))
            for weight, offset in gauss_points(GAUSS_POINTS_PER_AXIS, self.grid.dim)
        ]
        top = max(float(v.max()) for _, v in values)
        total = sum(w * float(np.exp(v - top).sum()) for w, v in values)
        return top + float(np.log(total * self.grid.cell_volume))
