"""Families of laws with light tails, gaps and tears whose optimal maps are known in closed form.

Every case gives cell averages (exact by masses of intervals in products, else by Gauss points), the
map at the centres of the source's cells, its means over their mass, and W2.

affine        Gaussians of any covariances: linear maps.
products      of 1-D laws cut to intervals (`tail_laws`): monotone maps along every axis.
manufactured  grad u of a convex u onto a given density, from the one that it pulls back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tail_laws
from manufactured_tails import manufactured, targets
from tail_cases import Array, Family, Field, Given, cell_points, moments, quadrature_points
from tail_laws import Exponential, Laplace, Law, Logistic, Mixture

import pma_grid as pma

# ---- affine Gaussians ----------------------------------------------------------------------------


def covariance(deviations: tuple[float, ...], angle: float) -> Array:
    """R diag(deviations^2) R', turned by degrees in every plane of two axes that follow."""
    matrix = np.diag(np.square(deviations))
    for i in range(len(deviations) - 1):
        turn = np.eye(len(deviations))
        turn[i, i] = turn[i + 1, i + 1] = math.cos(math.radians(angle))
        turn[i + 1, i] = math.sin(math.radians(angle))
        turn[i, i + 1] = -turn[i + 1, i]
        matrix = turn @ matrix @ turn.T
    return matrix


def root(matrix: Array) -> Array:
    """Symmetric positive square root."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


def bures(a: Array, A: Array, b: Array, B: Array) -> tuple[Array, float]:
    """The matrix of the linear map between Gaussians N(a, A), N(b, B), and W2.

    M = A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2} (Peyre, Cuturi 2019, remark 2.31).
    """
    half = root(A)
    middle = root(half @ B @ half)
    inverse = np.linalg.inv(half)
    value = ((a - b) ** 2).sum() + np.trace(A + B - 2 * middle)
    return inverse @ middle @ inverse, math.sqrt(value)


def gaussian(mean: Array, matrix: Array) -> Field:
    """exp(-(x - m)' S^-1 (x - m) / 2)."""
    inverse = np.linalg.inv(matrix)

    def density(*x: Array) -> Array:
        away = np.stack(x) - mean.reshape(-1, *[1] * np.ndim(x[0]))
        return np.exp(-0.5 * np.einsum("i...,ij,j...->...", away, inverse, away))

    return density


@dataclass(frozen=True)
class Normal:
    """Mean, standard deviations along its own axes, and the angle of these, degrees."""

    mean: tuple[float, ...]
    deviations: tuple[float, ...]
    angle: float

    def cut(self, dim: int) -> tuple[Array, Array]:
        """Mean and covariance in fewer axes."""
        return np.array(self.mean[:dim]), covariance(self.deviations[:dim], self.angle)


def affine(name: str, kind: str, dim: int, half: float, pair: tuple[Normal, Normal]) -> Family:
    """Gaussians in the box [-half, half]^d, which cuts off 1e-10 and less of their mass."""
    (a, A), (b, B) = (law.cut(dim) for law in pair)
    matrix, w2 = bures(a, A, b, B)

    def gradient(*x: Array) -> Array:
        away = np.stack(x) - a.reshape(-1, *[1] * np.ndim(x[0]))
        return b.reshape(-1, *[1] * np.ndim(x[0])) + np.tensordot(matrix, away, 1)

    def build(n: int) -> Given:
        grid = pma.Grid((n,) * dim, (-half,) * dim, (half,) * dim)
        narrow = min(min(law.deviations[:dim]) for law in pair) / grid.spacing[0]
        count = quadrature_points(narrow)
        source, means, _ = moments(grid, count, gaussian(a, A), gradient)
        target = sum(w * gaussian(b, B)(*x) for w, x in cell_points(grid, count))
        problem = pma.Problem(pma.Density(source, grid), pma.Density(target, grid))
        return Given(problem, gradient(*grid.coordinates()), means, w2)

    return Family(name, kind, dim, build)


# ---- products ------------------------------------------------------------------------------------

Laws = tuple[tuple[Law, Law], ...]


def outer(lines: list[Array]) -> Array:
    """The product of functions of one coordinate each."""
    return math.prod(np.meshgrid(*lines, indexing="ij"))


def product(name: str, kind: str, laws: Laws) -> Family:
    """Pairs of laws, one an axis; cell averages, map and means are exact."""
    dim = len(laws)

    def side(k: int, n: int) -> pma.Density:
        axes = [pair[k] for pair in laws]
        values = outer([tail_laws.averages(law, n) for law in axes])
        lower, upper = ([getattr(law, end) for law in axes] for end in ("lower", "upper"))
        return pma.Density(values, pma.Grid((n,) * dim, lower, upper))

    def build(n: int) -> Given:
        centres, means = (
            np.stack(np.meshgrid(*[known(mu, nu, n) for mu, nu in laws], indexing="ij"))
            for known in (tail_laws.at_centres, tail_laws.cell_means)
        )
        w2 = math.sqrt(sum(tail_laws.squared_distance(mu, nu) for mu, nu in laws))
        return Given(pma.Problem(side(0, n), side(1, n)), centres, means, w2)

    return Family(name, kind, dim, build)


def spot(half: float, centre: float, scale: float, shape: tail_laws.Shape | None = None) -> Law:
    """One Gaussian, or other shape, on [-half, half]."""
    return Mixture(-half, half, ((1.0, centre, scale),), shape or tail_laws.Gaussian())


def spots(half: float, *parts: tuple[float, float, float], level: float = 0.0) -> Law:
    """Several Gaussians (weight, centre, deviation) on [-half, half]."""
    return Mixture(-half, half, parts, level=level)


def unit_spot(centre: float, scale: float) -> Law:
    """One Gaussian on [0, 1]."""
    return Mixture(0.0, 1.0, ((1.0, centre, scale),))


MILD = (
    (spot(3, 0, 0.4), spot(3, 0.3, 0.3)),
    (spot(3, 0, 0.35), spot(3, -0.2, 0.45)),
    (spot(3, 0.1, 0.38), spot(3, 0.0, 0.33)),
)
FAR = (
    (spot(6, -2.5, 0.45), spot(6, 2.5, 0.35)),
    (spot(6, -2.0, 0.4), spot(6, 2.2, 0.5)),
    (spot(6, 1.5, 0.5), spot(6, -1.5, 0.45)),
)
TWELVE = (
    (spot(3, 0.0, 0.25), spot(3, 0.2, 0.23)),
    (spot(3, 0.1, 0.24), spot(3, -0.1, 0.26)),
    (spot(3, -0.1, 0.25), spot(3, 0.1, 0.24)),
)
NARROW = (
    (unit_spot(0.35, 0.05), unit_spot(0.6, 0.045)),
    (unit_spot(0.4, 0.045), unit_spot(0.65, 0.05)),
    (unit_spot(0.6, 0.05), unit_spot(0.4, 0.045)),
)
# in boxes of one half side 1: k sigma from the middle to a face
FOUR = (
    (spot(1, 0.0, 0.25), spot(1, 0.1, 0.22)),
    (spot(1, -0.1, 0.25), spot(1, 0.0, 0.25)),
    (spot(1, 0.05, 0.23), spot(1, -0.05, 0.25)),
)
FOUR_TO_EIGHT = (
    (spot(1, 0.0, 0.25), spot(1, 0.1, 0.125)),
    (spot(1, -0.1, 0.25), spot(1, 0.0, 0.125)),
    (spot(1, 0.05, 0.25), spot(1, -0.05, 0.125)),
)
EIGHT_TO_FOUR = tuple((nu, mu) for mu, nu in FOUR_TO_EIGHT)
FAR_MIXTURES = (
    (spots(3, (0.5, -0.9, 0.35), (0.5, 0.7, 0.4)), spots(3, (0.4, -0.6, 0.35), (0.6, 0.8, 0.35))),
    (spots(3, (0.6, -0.7, 0.4), (0.4, 0.8, 0.35)), spots(3, (0.5, -0.8, 0.35), (0.5, 0.6, 0.4))),
    (spots(3, (0.5, -0.7, 0.4), (0.5, 0.8, 0.35)), spots(3, (0.6, -0.6, 0.4), (0.4, 0.8, 0.4))),
)
LOGISTIC = (
    (spot(3, 0.0, 0.12, Logistic()), spot(3, 0.3, 0.1, Logistic())),
    (spot(3, 0.1, 0.1, Logistic()), spot(3, -0.2, 0.13, Logistic())),
    (spot(3, -0.1, 0.12, Logistic()), spot(3, 0.1, 0.11, Logistic())),
)
LOGISTIC_TO_GAUSSIAN = (
    (spot(3, 0.0, 0.12, Logistic()), spot(3, 0.3, 0.3)),
    (spot(3, 0.1, 0.1, Logistic()), spot(3, -0.2, 0.35)),
    (spot(3, -0.1, 0.12, Logistic()), spot(3, 0.1, 0.32)),
)
GAUSSIAN_TO_LOGISTIC = tuple((nu, mu) for mu, nu in LOGISTIC_TO_GAUSSIAN)
LAPLACE = (
    (spot(3, 0.0, 0.2, Laplace()), spot(3, 0.4, 0.15, Laplace())),
    (spot(3, 0.2, 0.17, Laplace()), spot(3, -0.3, 0.2, Laplace())),
    (spot(3, 0.0, 0.2, Laplace()), spot(3, 0.2, 0.18, Laplace())),
)
# gaps of 1e-3 of the peaks: with a level near the faces, then with tails
SPOTS_MILD = (
    (
        spots(1, (0.6, -0.4, 0.12), (0.4, 0.4, 0.12), level=2e-3),
        spots(1, (0.4, -0.45, 0.12), (0.6, 0.35, 0.14), level=2e-3),
    ),
    (
        spots(1, (0.3, -0.5, 0.12), (0.4, 0.0, 0.1), (0.3, 0.5, 0.12), level=2e-3),
        spots(1, (0.5, -0.4, 0.13), (0.5, 0.4, 0.12), level=2e-3),
    ),
    (
        spots(1, (0.5, -0.4, 0.13), (0.5, 0.4, 0.13), level=2e-3),
        spots(1, (0.6, -0.4, 0.13), (0.4, 0.4, 0.13), level=2e-3),
    ),
)
SPOTS_HARD = (
    (
        spots(3, (0.6, -1.0, 0.27), (0.4, 1.0, 0.27)),
        spots(3, (0.4, -1.1, 0.27), (0.6, 0.9, 0.27)),
    ),
    (
        spots(3, (0.3, -1.3, 0.28), (0.4, 0.0, 0.25), (0.3, 1.3, 0.28)),
        spots(3, (0.5, -0.9, 0.28), (0.5, 0.9, 0.25)),
    ),
    (
        spots(3, (0.5, -0.9, 0.28), (0.5, 0.9, 0.28)),
        spots(3, (0.6, -0.9, 0.28), (0.4, 0.9, 0.28)),
    ),
)
SPOTS_TO_ONE = (
    (spots(3, (0.6, -0.9, 0.25), (0.4, 0.9, 0.25)), spot(3, 0.1, 0.4)),
    (spot(3, 0.1, 0.35), spot(3, -0.1, 0.4)),
    (spot(3, 0.0, 0.35), spot(3, 0.1, 0.4)),
)
ONE_TO_SPOTS = tuple((nu, mu) for mu, nu in SPOTS_TO_ONE)

UNIFORM = Exponential()
PRODUCTS: dict[str, tuple[str, Laws]] = {
    "g_mild": ("gauss", MILD), "g_far": ("gauss", FAR), "g_12s": ("gauss", TWELVE),
    "g_spot": ("gauss", NARROW), "t4": ("gaps", FOUR), "t4_8": ("gaps", FOUR_TO_EIGHT),
    "t8_4": ("gaps", EIGHT_TO_FOUR), "mixfar": ("product", FAR_MIXTURES),
    "logistic": ("product", LOGISTIC), "logi2gauss": ("product", LOGISTIC_TO_GAUSSIAN),
    "gauss2logi": ("product", GAUSSIAN_TO_LOGISTIC), "laplace": ("laplace", LAPLACE),
    "spots_m": ("gaps", SPOTS_MILD), "spots_h": ("gaps", SPOTS_HARD),
    "spots2one": ("gaps", SPOTS_TO_ONE), "one2spots": ("gaps", ONE_TO_SPOTS),
}  # fmt: skip
AFFINE = {
    "g_rot": ("gauss", 3.0, (Normal((0.0, 0.1, 0.0), (0.4, 0.2, 0.3), 30.0),
                             Normal((0.2, -0.1, 0.1), (0.36, 0.22, 0.28), -40.0))),
    "g_rotx": ("rotx", 2.8, (Normal((0.0, 0.0), (0.54, 0.09), 37.5),
                             Normal((0.1, -0.1), (0.54, 0.09), -37.5))),
}  # fmt: skip


# ---- all of them ---------------------------------------------------------------------------------


def families(dim: int) -> dict[str, Family]:
    """Those of a dimension, by name."""
    found = [product(name, kind, laws[:dim]) for name, (kind, laws) in PRODUCTS.items()]
    if dim > 1:
        found += [
            affine(name, kind, dim, half, pair)
            for name, (kind, half, pair) in AFFINE.items()
            if (name, dim) != ("g_rotx", 3)  # narrower than the cells of any grid in 3-D
        ]
    found += [manufactured(name, kind, dim, nu) for name, kind, nu in targets(dim)]
    return {family.name: family for family in found}
