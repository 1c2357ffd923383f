"""Monotone rearrangements along the axes: the map in closed form where densities are products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import cell_means, histospline
from pma_grid.problem.frame import Frame
from pma_grid.runtime import Array, Integers

# Halvings of a cell until the point with a given mass to its left is known to rounding.
QUANTILE_BISECTIONS = 52
# Gauss points between faces: quantile functions are smooth there.
GAUSS_POINTS = 4
# Density over its mean in empty cells: below the rounding of any sum of masses.
EMPTY_SHARE = 1e-30


def rearranged(source: Array, source_grid: Grid, target: Array, target_grid: Grid) -> Array:
    """phi of the map (T_1(x_1), ..., T_d(x_d)) that rearranges one marginal to the other each.

    ``source`` and ``target`` are cell averages, zeros included, in any unit; phi is in the unit of
    potentials of the `Frame`.  On one axis this solves the equation of means over images, with the
    mass constant 0; so it nearly does for densities that are products.
    """
    parts, sides = [], Frame(source_grid, target_grid).sides
    for axis in range(source_grid.dim):
        others = tuple(i for i in range(source_grid.dim) if i != axis)
        part = _one_axis(
            source.mean(others), float(sides[0, axis]),
            target.mean(others), float(sides[1, axis]),
        )  # fmt: skip
        parts.append(part)
    return outer_sum(parts)


def squared_distance_on_line(
    source: Array, source_grid: Grid, target: Array, target_grid: Grid
) -> float:
    """W2^2 = int_0^1 (F^-1 - G^-1)^2 of the rearrangement on one axis, length^2.

    By Gauss's rule between the masses up to the faces of both grids: within them both quantile
    functions invert a cubic.  To rounding for the splines with the given averages.
    """
    laws = Quantiles.of(source), Quantiles.of(target)
    ends = np.unique(np.concatenate([law.cumulative for law in laws]))
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS_POINTS)
    widths = np.diff(ends)
    masses = ends[:-1, None] + widths[:, None] * (0.5 + 0.5 * nodes)
    z, w = (
        grid.spacing[0] * law.position(masses.ravel())  # from the lower face
        for law, grid in zip(laws, (source_grid, target_grid), strict=True)
    )
    shift = target_grid.lower[0] - source_grid.lower[0]
    square = np.square(z - w - shift).reshape(masses.shape)
    return float((widths[:, None] * (0.5 * weights) * square).sum())


@dataclass(frozen=True, eq=False)
class Quantiles:
    """The quantile function of the positive quadratic B-spline with given cell averages.

    Attributes
    ----------
    coefficients : ndarray, shape (n + 2,)
        Of mass one, reflected at the ends.
    cumulative : ndarray, shape (n + 1,)
        Masses up to the faces, from 0 to 1.
    """

    coefficients: Array
    cumulative: Array

    @classmethod
    def of(cls, values: Array) -> Quantiles:
        """Of cell averages along one axis, zeros included."""
        positive = np.maximum(values, EMPTY_SHARE * values.mean())
        coefficients = np.pad(histospline(positive), 1, mode="symmetric")
        cumulative = np.concatenate([[0.0], np.cumsum(cell_means(coefficients)[1:-1])])
        return cls(coefficients / cumulative[-1], cumulative / cumulative[-1])

    def mass(self, positions: Array) -> Array:
        """Masses up to points, in cells from the first face."""
        cells = np.clip(np.floor(positions).astype(int), 0, self.cumulative.size - 2)
        return np.asarray(self.cumulative[cells] + self._within(cells, positions - cells - 0.5))

    def position(self, masses: Array) -> Array:
        """Points, in cells from the first face, up to which the law has the given masses."""
        last = self.cumulative.size - 2
        cells = np.clip(np.searchsorted(self.cumulative, masses, side="right") - 1, 0, last)
        left = masses - self.cumulative[cells]
        low, high = np.full(cells.shape, -0.5), np.full(cells.shape, 0.5)
        for _ in range(QUANTILE_BISECTIONS):
            s = 0.5 * (low + high)
            short = self._within(cells, s) < left
            low, high = np.where(short, s, low), np.where(short, high, s)
        return np.asarray(cells + 0.5 + 0.5 * (low + high))

    def _within(self, cells: Integers, s: Array) -> Array:
        """Masses of cells from their left faces to offsets s in [-1/2, 1/2] from the centres."""
        before, here, after = (self.coefficients[cells + k] for k in range(3))
        sides = before * (1 - (0.5 - s) ** 3) + after * (0.5 + s) ** 3
        return np.asarray(sides / 6 + here * (0.75 * (s + 0.5) - (s**3 + 0.125) / 3))


def _one_axis(source: Array, source_length: float, target: Array, target_length: float) -> Array:
    """phi with F_target(T) = F_source at the faces between cells of one axis, of mean zero."""
    left = Quantiles.of(source).cumulative[1:-1]
    moved = Quantiles.of(target).position(left) / target.size
    moved -= np.arange(1, source.size) / source.size
    phi = np.cumsum(np.concatenate([[0.0], moved])) * (target_length * source_length / source.size)
    return np.asarray(phi - phi.mean())
