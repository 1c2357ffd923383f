"""The target density between its cell centres: splines of its logarithm, means over images."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.grid import Grid
from pma_grid.kernels import interpolation, transfer
from pma_grid.lattice import Array, Lattice

SPLINE_HALO = 2
# Relative difference of centre value and cell average beyond which the data count as rough.
ROUGH = 0.02


def log_centre_values(averages: Array) -> Array:
    """log of the density at the cell centres from its cell averages.

    The centre value is the average minus sum_i (second difference)_i / 24, to fourth order for
    smooth densities.  Where that correction is not small the data are rough, and it is damped out.
    """
    correction = np.zeros_like(averages)
    for axis, n in enumerate(averages.shape):
        if n > 2:
            outer = math.prod(averages.shape[:axis])
            transfer.add_second_difference(
                averages.reshape(outer, n, -1), correction.reshape(outer, n, -1)
            )
    with np.errstate(over="ignore"):
        correction /= -24.0 * averages
    np.clip(correction, -1e100, 1e100, out=correction)  # thin tails: the square must not overflow
    correction /= 1.0 + (correction / ROUGH) ** 2
    correction += np.log(averages)
    return correction


class LogSpline:
    """C2 cubic spline through logarithms at the cell centres, evenly reflected at the faces."""

    def __init__(self, logarithms: Array, grid: Grid) -> None:
        self.grid = grid
        coefficients = logarithms.copy()
        for axis, n in enumerate(grid.shape):
            outer = math.prod(grid.shape[:axis])
            interpolation.prefilter_axis(coefficients.reshape(outer, n, -1))
        lattice = Lattice(grid.shape, SPLINE_HALO)
        padded = lattice.zeros()
        lattice.fill(coefficients, padded)
        self.coefficients = padded.reshape(lattice.padded_shape)

    def __call__(self, points: Array) -> Array:
        """The spline at points (m, d) of the box."""
        positions = (points - np.array(self.grid.lower)) / np.array(self.grid.spacing) - 0.5
        values, slopes = np.empty(len(points)), np.empty(points.shape)
        columns = [np.ascontiguousarray(c) for c in positions.T]
        spline = interpolation.SPLINE[self.grid.dim]
        spline(self.coefficients, SPLINE_HALO, *columns, 0, values, slopes)
        return values

    def steepest(self) -> Array:
        """Bound of |d log nu / dy_i| per axis: the derivative averages coefficient differences."""
        slopes = [np.abs(np.diff(self.coefficients, axis=i)).max() for i in range(self.grid.dim)]
        bound: Array = np.array(slopes) / np.array(self.grid.spacing)
        return bound
