"""How good generated points are: likelihoods of held-out data, distances between two samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from pma_grid.density import Density
from pma_grid.errors import InvalidInputError
from pma_grid.grid import Grid
from pma_grid.lattice import Array
from pma_grid.problem import Problem
from pma_grid.samples import check_seed
from pma_grid.stationary import solve

# Rows of a matrix of distances held at a time.
ROWS = 1024
# Points of which the median distance sets the width of a kernel.
MEDIAN_OF = 1000


@dataclass(frozen=True)
class Mean:
    """A mean over points with its standard error."""

    value: float
    error: float


def log_likelihood(log_density: Callable[[Array], Array], points: ArrayLike) -> Mean:
    """Mean log-likelihood of held-out points, nats a point; -inf if one has no density at all.

    Parameters
    ----------
    log_density : callable
        Points (m, d) to logs (m,): for example `Model.log_density`.
    points : array_like, shape (m, d)
    """
    return _mean(np.asarray(log_density(_points(points, "points")), float))


def paired_difference(first: ArrayLike, second: ArrayLike) -> Mean:
    """Mean of first - second, log-likelihoods of the same points: most of their noise cancels."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise InvalidInputError(
            f"first has shape {a.shape} and second {b.shape}; they must be log-likelihoods of the "
            "same points, at least two: pass the arrays that two log_density calls returned"
        )
    return _mean(a - b)


def mmd(x: ArrayLike, y: ArrayLike, *, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy of two samples with a Gaussian kernel, unbiased.

    Parameters
    ----------
    x : array_like, shape (m, d)
    y : array_like, shape (n, d)
    bandwidth : float, optional
        Standard deviation of the kernel, length; default: the median distance within the two.

    Returns
    -------
    float
        mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over different points: about 0, and of either
        sign, for equal laws.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, J. Mach. Learn. Res. 13, 723-773, eq. (3).
    """
    x, y = _two(x, y)
    if bandwidth is None:
        both = np.concatenate([x[: MEDIAN_OF // 2], y[: MEDIAN_OF // 2]])
        distances = cdist(both, both)
        bandwidth = float(np.median(distances[np.triu_indices(len(both), 1)]))
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise InvalidInputError(
            f"bandwidth is {bandwidth!r}; it must be a length > 0, or None for the median distance"
        )
    scale = -0.5 / bandwidth**2

    def kernel(squares: Array) -> Array:
        return np.asarray(np.exp(scale * squares))

    m, n = len(x), len(y)
    within_x = (_total(x, x, kernel, "sqeuclidean") - m) / (m * (m - 1))
    within_y = (_total(y, y, kernel, "sqeuclidean") - n) / (n * (n - 1))
    return within_x + within_y - 2 * _total(x, y, kernel, "sqeuclidean") / (m * n)


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two samples, length; >= 0, and 0 for equal ones.

    References
    ----------
    Székely & Rizzo (2013), Energy statistics: a class of statistics based on distances, J. Stat.
    Plan. Inference 143, 1249-1272. doi:10.1016/j.jspi.2013.03.018
    """
    x, y = _two(x, y)
    m, n = len(x), len(y)
    between = _total(x, y, _same, "euclidean") / (m * n)
    within = _total(x, x, _same, "euclidean") / m**2 + _total(y, y, _same, "euclidean") / n**2
    return 2 * between - within


def energy_threshold(
    x: ArrayLike, y: ArrayLike, *, seed: int, permutations: int = 200, level: float = 0.01
) -> float:
    """The energy distance that samples of one law exceed with probability ``level``.

    Parameters
    ----------
    x, y : array_like, shape (m, d) and (n, d)
    seed : int
    permutations : int
        Divisions of all points into two parts at random, whose distances are those of one law.
    level : float
        At least 1 / permutations.
    """
    x, y = _two(x, y)
    if not level * permutations >= 1:
        raise InvalidInputError(
            f"permutations is {permutations} for a level of {level:g}; at least 1 / level are "
            "needed: raise either"
        )
    both, m = np.concatenate([x, y]), len(x)
    n = len(both) - m
    distances, generator = cdist(both, both), check_seed(seed)
    whole = float(distances.sum())
    values = []
    for _ in range(permutations):
        first = np.zeros(len(both))
        first[generator.permutation(len(both))[:m]] = 1.0
        rows = distances @ first
        xx = float(first @ rows)
        xy = float(rows.sum()) - xx
        values.append(2 * xy / (m * n) - xx / m**2 - (whole - xx - 2 * xy) / n**2)
    return float(np.quantile(values, 1 - level))


def w2(x: ArrayLike, y: ArrayLike, grid: Grid) -> float:
    """W2 between two samples as densities on a grid, by `solve`, length.

    Notes
    -----
    Points are shared among the cells that hold them: the distance is right to about the spacing,
    and two samples of n points of one law are n^{-1/2} (up to two dimensions) apart.

    Raises
    ------
    InvalidInputError
        A point lies outside the grid.
    """
    pair = []
    for name, points in (("x", x), ("y", y)):
        cells = grid.cell_index(grid.check_points(_points(points, name), name))
        flat = np.ravel_multi_index(tuple(cells.T), grid.shape)
        pair.append(Density(np.bincount(flat, minlength=grid.size).reshape(grid.shape), grid))
    return solve(Problem(*pair)).w2


def mode_masses(points: ArrayLike, mode_of: Callable[[Array], Array], modes: int) -> Array:
    """Shares of the points in the modes that ``mode_of`` tells apart, (modes,)."""
    labels = np.asarray(mode_of(_points(points, "points")))
    return np.asarray(np.bincount(labels, minlength=modes) / labels.size)


def coverage(masses: Array, true_masses: Array, *, share: float = 0.5) -> float:
    """Share of the modes that got at least ``share`` of their true mass."""
    return float((np.asarray(masses) >= share * np.asarray(true_masses)).mean())


def _same(distances: Array) -> Array:
    return distances


def _total(x: Array, y: Array, function: Callable[[Array], Array], metric: str) -> float:
    """Sum of a function of all distances between x and y, rows in blocks."""
    return sum(
        float(function(cdist(x[k : k + ROWS], y, metric)).sum()) for k in range(0, len(x), ROWS)
    )


def _mean(values: Array) -> Mean:
    """Mean and standard error."""
    if not np.isfinite(values).all():
        return Mean(float(values.mean()), math.inf)
    return Mean(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)))


def _two(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Two samples of as many coordinates."""
    a, b = _points(x, "x"), _points(y, "y")
    if a.shape[1] != b.shape[1]:
        raise InvalidInputError(
            f"x has {a.shape[1]} coordinates and y {b.shape[1]}; they must agree: choose columns"
        )
    return a, b


def _points(points: ArrayLike, name: str) -> Array:
    """At least two finite points, (m, d)."""
    array = np.asarray(points)
    if array.ndim == 1:
        array = array[:, None]
    good = array.dtype.kind in "biuf" and array.ndim == 2 and len(array) >= 2
    if not good or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}, or values not finite; "
            "at least two points of real coordinates are needed, one row each: drop bad rows"
        )
    return array.astype(float)
