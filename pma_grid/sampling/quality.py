"""How good generated points are: likelihoods of held-out data, distances between two samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, check_inside, check_positive, check_seed
from pma_grid.stationary.solving import solve

# Rows of a matrix of distances held at a time: 80 MB for 10^4 points.
ROWS_AT_A_TIME = 1024
# Points of which the median distance sets the width of a kernel, to some per cent.
BANDWIDTH_POINTS = 1000
# Products of levels and counts are whole up to this rounding.
WHOLE_ROUNDING = 1e-9


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
        Takes points, (m, d), to the logarithms of their density, (m,): for example
        `Model.log_density`.
    points : array_like, shape (m, d)
        Points that were not learned from.

    Returns
    -------
    Mean
        The mean and its standard error.
    """
    x = _points(points, "points")
    values = np.asarray(log_density(x), float)
    if values.shape != (len(x),) or np.isnan(values).any() or np.isposinf(values).any():
        raise InvalidInputError(
            f"log_density gave shape {values.shape} for {len(x)} points, or NaN or +inf; it must "
            "give one logarithm a point, -inf at most: check the callable"
        )
    return _mean(values)


def paired_difference(first: ArrayLike, second: ArrayLike) -> Mean:
    """Mean of first - second, log-likelihoods of the same points under two models.

    Most of the noise of the two cancels in the difference.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise InvalidInputError(
            f"first has shape {a.shape} and second {b.shape}; they must be log-likelihoods of the "
            "same points, at least two: pass the arrays that two log_density calls returned"
        )
    return _mean(a - b)


def mmd(x: ArrayLike, y: ArrayLike, *, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy (MMD) of two samples with a Gaussian kernel, unbiased.

    Parameters
    ----------
    x, y : array_like, shape (m, d) and (n, d)
        The two samples.
    bandwidth : float, optional
        Standard deviation of the kernel, length; default: the median distance between 500 points
        of each.

    Returns
    -------
    float
        mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over pairs of different points: about 0, and
        of either sign, for samples of one law.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, J. Mach. Learn. Res. 13, 723-773, eq. (3).
    """
    x, y = _two(x, y)
    if bandwidth is None:
        both = np.concatenate([_spread(part, BANDWIDTH_POINTS // 2) for part in (x, y)])
        distances = cdist(both, both)
        bandwidth = float(np.median(distances[np.triu_indices(len(both), 1)]))
    check_positive(bandwidth, "bandwidth", "a length, or None for the median distance")
    scale = -0.5 / bandwidth**2

    def kernel(squares: Array) -> Array:
        return np.asarray(np.exp(scale * squares))

    m, n = len(x), len(y)
    within_x = (_total(x, x, "sqeuclidean", kernel) - m) / (m * (m - 1))
    within_y = (_total(y, y, "sqeuclidean", kernel) - n) / (n * (n - 1))
    return within_x + within_y - 2 * _total(x, y, "sqeuclidean", kernel) / (m * n)


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Energy distance of two samples, length: >= 0, and 0 for equal ones.

    It is 2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs; `energy_threshold` says how large it
    may be for two samples of one law.

    References
    ----------
    Székely & Rizzo (2013), Energy statistics: a class of statistics based on distances, J. Stat.
    Plan. Inference 143, 1249-1272. doi:10.1016/j.jspi.2013.03.018
    """
    x, y = _two(x, y)
    m, n = len(x), len(y)
    between = _total(x, y, "euclidean") / (m * n)
    within = _total(x, x, "euclidean") / m**2 + _total(y, y, "euclidean") / n**2
    return 2 * between - within


def energy_threshold(
    x: ArrayLike, y: ArrayLike, *, seed: int, permutations: int | None = None, level: float = 1e-3
) -> float:
    """The energy distance that two samples of one law exceed with probability ``level``.

    Parameters
    ----------
    x, y : array_like, shape (m, d) and (n, d)
        The two samples.
    seed : int
        Seed of the divisions.
    permutations : int, optional
        Number of divisions of all points into two parts at random, whose distances are those of one
        law; at least, and by default, 1 / level - 1.
    level : float in (0, 1)
        Probability with which two samples of one law are further apart.

    Notes
    -----
    The k-th largest of B distances, k = floor(level (B + 1)): the observed distance is above it
    with probability k / (B + 1) <= level if the law is one, whatever it is.
    Time (m + n)^2 B: 4000 points and the default take some seconds.

    References
    ----------
    Székely & Rizzo (2013), section 5, as for `energy_distance`.
    """
    x, y = _two(x, y)
    check_inside(level, 0, 1, "level", "for example 1e-3")
    count = math.ceil(1 / level - WHOLE_ROUNDING) - 1 if permutations is None else permutations
    rank = math.floor(level * (count + 1) + WHOLE_ROUNDING)
    if rank < 1:
        raise InvalidInputError(
            f"permutations is {permutations} for a level of {level:g}; at least 1 / level - 1 are "
            "needed: raise either"
        )
    both, m = np.concatenate([x, y]), len(x)
    generator, first = check_seed(seed), np.zeros((len(both), count))
    for column in first.T:
        column[generator.permutation(len(both))[:m]] = 1.0
    return float(np.sort(_divided(both, first, m))[-rank])


def _divided(points: Array, first: Array, m: int) -> Array:
    """Energy distances of divisions, (B,): ``first`` (N, B) marks the first part's m points."""
    # distances are formed in blocks of rows: of 1e4 points they do not fit in memory
    n, whole = len(points) - m, 0.0
    within, across = np.zeros(first.shape[1]), np.zeros(first.shape[1])
    for k in range(0, len(points), ROWS_AT_A_TIME):
        block = cdist(points[k : k + ROWS_AT_A_TIME], points)
        rows = block @ first
        whole += float(block.sum())
        within += (first[k : k + ROWS_AT_A_TIME] * rows).sum(axis=0)
        across += rows.sum(axis=0)
    across -= within
    return np.asarray(2 * across / (m * n) - within / m**2 - (whole - within - 2 * across) / n**2)


def w2(x: ArrayLike, y: ArrayLike, grid: Grid) -> float:
    """Wasserstein distance W2 between two samples, binned on a grid, by `solve`; a length.

    Parameters
    ----------
    x, y : array_like, shape (m, d) and (n, d)
        The two samples, all inside the grid's box.
    grid : Grid
        The grid whose cells are the bins.

    Notes
    -----
    Points count as spread over the cells that hold them, which moves each law by less than the
    diagonal of a cell, and the distance by far less where that is several cells.  It does not
    vanish for two samples of one law: they are about n^{-1/4} apart where the law has gaps, which a
    share n^{-1/2} of the points has to cross, and up to two dimensions n^{-1/2} where it has none;
    compare with the distance between two parts of the data.

    Raises
    ------
    InvalidInputError
        A point lies outside the grid.
    ConvergenceError
        As `solve`.
    """
    x, y = _two(x, y)
    pair = []
    for name, points in (("x", x), ("y", y)):
        cells = grid.cell_index(grid.check_points(points, name))
        flat = np.ravel_multi_index(tuple(cells.T), grid.shape)
        pair.append(Density(np.bincount(flat, minlength=grid.size).reshape(grid.shape), grid))
    return solve(Problem(*pair)).w2


def mode_masses(points: ArrayLike, mode_of: Callable[[Array], ArrayLike], modes: int) -> Array:
    """Shares of the points in each of several modes, (modes,).

    ``mode_of`` takes points, (m, d), to the numbers of their modes, integers from 0 to modes - 1.
    """
    x = _points(points, "points")
    labels = np.asarray(mode_of(x))
    whole = labels.shape == (len(x),) and labels.dtype.kind in "iu"
    if not whole or labels.min() < 0 or labels.max() >= modes:
        raise InvalidInputError(
            f"mode_of gave shape {labels.shape} and dtype {labels.dtype} for {len(x)} points; it "
            f"must give one integer from 0 to {modes - 1} a point: check the callable and modes"
        )
    return np.asarray(np.bincount(labels, minlength=modes) / len(x))


def coverage(masses: ArrayLike, true_masses: ArrayLike, *, share: float = 0.5) -> float:
    """Share of the modes that hold at least ``share`` of their true mass, 1 at best.

    ``masses`` are those of the samples, see `mode_masses`, ``true_masses`` those of the law.
    """
    got, true = np.asarray(masses, float), np.asarray(true_masses, float)
    if got.shape != true.shape or got.ndim != 1 or not got.size:
        raise InvalidInputError(
            f"masses has shape {got.shape} and true_masses {true.shape}; both must hold one mass "
            "a mode: pass what mode_masses returned"
        )
    return float((got >= share * true).mean())


def _total(
    x: Array, y: Array, metric: str, function: Callable[[Array], Array] = np.asarray
) -> float:
    """Sum of all distances between x and y, or of a function of them, rows in blocks."""
    return sum(
        float(function(cdist(x[k : k + ROWS_AT_A_TIME], y, metric)).sum())
        for k in range(0, len(x), ROWS_AT_A_TIME)
    )


def _spread(points: Array, count: int) -> Array:
    """At most so many of the points, evenly over the array, which may be sorted."""
    return points[:: max(1, len(points) // count)][:count]


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
