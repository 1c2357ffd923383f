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
# Gauss points between faces, where quantile functions are smooth.
GAUSS_POINTS = 4
# Density over its mean in empty cells: below the rounding of any sum of masses.
EMPTY_SHARE = 1e-30


def rearranged(
    source: Array, source_grid: Grid, target: Array, target_grid: Grid, *, exact: bool = False
) -> Array:
    """phi of the map (T_1(x_1), ..., T_d(x_d)) that rearranges one marginal to the other each.

    ``source`` and ``target`` are cell averages, zeros included, in any unit; phi is in the unit of
    potentials of the `Frame`.  On one axis this solves the equation of means over images, with the
    mass constant 0; so it nearly does for densities that are products.  ``exact``: for laws with
    the very averages, `Quantiles`.
    """
    parts, sides = [], Frame(source_grid, target_grid).sides
    for axis in range(source_grid.dim):
        others = tuple(i for i in range(source_grid.dim) if i != axis)
        laws = [Quantiles.of(values.mean(others), exact=exact) for values in (source, target)]
        parts.append(_one_axis(laws[0], laws[1], float(np.prod(sides[:, axis]))))
    return outer_sum(parts)


def means_on_line(source: Quantiles, target: Quantiles) -> Array:
    """Means of the rearrangement over the source's cells, in target cells from the first face.

    NaN where a cell holds no mass.
    """
    masses, weights = _between_faces(source, target)
    positions = target.position(masses.ravel()).reshape(masses.shape)
    cells = np.searchsorted(source.cumulative, masses[:, 0], side="right") - 1
    count = source.cumulative.size - 1
    total = np.bincount(cells, (weights * positions).sum(axis=1), count)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.bincount(cells, weights.sum(axis=1), count))


def masses_up_to(
    laws: tuple[Quantiles, Quantiles], grids: tuple[Grid, Grid], t: float, ends: Array
) -> Array:
    """P((1 - t) X + t T(X) <= z) at the points ``ends``, by bisection over probabilities."""
    low, high = np.zeros(ends.shape), np.ones(ends.shape)
    for _ in range(QUANTILE_BISECTIONS):
        p = 0.5 * (low + high)
        x, y = (
            grid.lower[0] + grid.spacing[0] * law.position(p)
            for law, grid in zip(laws, grids, strict=True)
        )
        short = (1 - t) * x + t * y <= ends
        low, high = np.where(short, p, low), np.where(short, high, p)
    return np.asarray(0.5 * (low + high))


def squared_distance_on_line(
    source: Array, source_grid: Grid, target: Array, target_grid: Grid
) -> float:
    """W2^2 = int_0^1 (F^-1 - G^-1)^2 of the rearrangement on one axis, length^2.

    To rounding for the laws of `Quantiles` with the given averages.
    """
    laws = Quantiles.of(source, exact=True), Quantiles.of(target, exact=True)
    masses, weights = _between_faces(*laws)
    z, w = (
        grid.spacing[0] * law.position(masses.ravel())  # from the lower face
        for law, grid in zip(laws, (source_grid, target_grid), strict=True)
    )
    shift = target_grid.lower[0] - source_grid.lower[0]
    square = np.square(z - w - shift).reshape(masses.shape)
    return float((weights * square).sum())


def _between_faces(*laws: Quantiles) -> tuple[Array, Array]:
    """Nodes and weights of Gauss's rule between the masses up to the faces of all grids, (k, m).

    Within them all quantile functions invert a cubic.
    """
    ends = np.unique(np.concatenate([law.cumulative for law in laws]))
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS_POINTS)
    widths = np.diff(ends)[:, None]
    return ends[:-1, None] + widths * (0.5 + 0.5 * nodes), widths * (0.5 * weights)


@dataclass(frozen=True, eq=False)
class Quantiles:
    """The quantile function of the positive quadratic B-spline with given cell averages.

    Where such a spline would overshoot, the one that `histospline` makes has other averages.  The
    equation of means over images is that of this spline; the *exact* law has the given averages,
    its pieces scaled cell by cell.

    Attributes
    ----------
    coefficients : ndarray, shape (n + 2,)
        Of the spline, reflected at the ends.
    shares : ndarray, shape (n,)
        Mass of a cell over that of the spline, the whole mass being one.
    cumulative : ndarray, shape (n + 1,)
        Masses up to the faces, from 0 to 1.
    missed : float
        The largest share of its average by which the spline misses that of a cell.
    """

    coefficients: Array
    shares: Array
    cumulative: Array
    missed: float

    @classmethod
    def of(cls, values: Array, *, exact: bool = False) -> Quantiles:
        """Of cell averages along one axis, zeros included."""
        positive = np.maximum(values, EMPTY_SHARE * values.mean())
        coefficients = np.pad(histospline(positive), 1, mode="symmetric")
        means = cell_means(coefficients)[1:-1]
        masses = positive if exact else means
        cumulative = np.concatenate([[0.0], np.cumsum(masses)])
        whole = cumulative[-1]
        missed = float(np.abs(means / positive - 1).max())
        return cls(coefficients, masses / (means * whole), cumulative / whole, missed)

    def mass(self, positions: Array) -> Array:
        """Masses up to points, in cells from the first face."""
        cells, s = self._located(positions)
        return np.asarray(self.cumulative[cells] + self._within(cells, s))

    def density(self, positions: Array) -> Array:
        """Masses a cell at points, in cells from the first face."""
        cells, s = self._located(positions)
        before, here, after = (self.coefficients[cells + k] for k in range(3))
        value = 0.5 * (before * (0.5 - s) ** 2 + after * (0.5 + s) ** 2) + here * (0.75 - s * s)
        return np.asarray(self.shares[cells] * value)

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

    def _located(self, positions: Array) -> tuple[Integers, Array]:
        """The cells of points, and offsets from their centres."""
        cells = np.clip(np.floor(positions).astype(int), 0, self.cumulative.size - 2)
        return cells, positions - cells - 0.5

    def _within(self, cells: Integers, s: Array) -> Array:
        """Masses of cells from their left faces to offsets s in [-1/2, 1/2] from the centres."""
        before, here, after = (self.coefficients[cells + k] for k in range(3))
        sides = before * (1 - (0.5 - s) ** 3) + after * (0.5 + s) ** 3
        mass = sides / 6 + here * (0.75 * (s + 0.5) - (s**3 + 0.125) / 3)
        return np.asarray(self.shares[cells] * mass)


def _one_axis(source: Quantiles, target: Quantiles, area: float) -> Array:
    """phi with F_target(T) = F_source at the faces between cells of one axis, of mean zero.

    ``area``: the product of the lengths of both sides.
    """
    cells, others = (law.cumulative.size - 1 for law in (source, target))
    moved = target.position(source.cumulative[1:-1]) / others
    moved -= np.arange(1, cells) / cells
    phi = np.cumsum(np.concatenate([[0.0], moved])) * (area / cells)
    return np.asarray(phi - phi.mean())
