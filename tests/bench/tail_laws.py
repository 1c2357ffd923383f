"""Laws on intervals with exact masses, quantiles and monotone maps between them, for `tails.py`.

Everything keeps its relative precision in the tails: masses of intervals are differences of the
smaller of the two distribution functions, and quantiles are matched from the nearer end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special

Array = np.ndarray

HALVINGS = 64  # of an interval: to the last digit of a double
PIECES = 512  # of the graph of a map, along either axis, for W2: 14 digits are the same with 4096
IMAGE_PANELS, IMAGE_NODES = 64, 6  # quadrature over the image of a cell, which may span gaps


class Shape(Protocol):
    """A law on the line that is symmetric about 0, of scale 1."""

    def __call__(self, z: Array) -> Array:
        """Density."""

    @staticmethod
    def below(z: Array) -> Array:
        """Distribution function, to full relative precision for z <= 0."""


@dataclass(frozen=True)
class Gaussian:
    """exp(-z^2 / 2)."""

    def __call__(self, z: Array) -> Array:
        return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)

    @staticmethod
    def below(z: Array) -> Array:
        return special.ndtr(z)


@dataclass(frozen=True)
class Logistic:
    """1 / (4 cosh^2(z / 2))."""

    def __call__(self, z: Array) -> Array:
        return special.expit(z) * special.expit(-z)

    @staticmethod
    def below(z: Array) -> Array:
        return special.expit(z)


@dataclass(frozen=True)
class Laplace:
    """exp(-|z|) / 2."""

    def __call__(self, z: Array) -> Array:
        return 0.5 * np.exp(-abs(z))

    @staticmethod
    def below(z: Array) -> Array:
        tail = 0.5 * np.exp(-abs(z))
        return np.where(z < 0, tail, 1 - tail)


class Law(Protocol):
    """A law on an interval."""

    lower: float
    upper: float

    def density(self, x: Array) -> Array:
        """At points of the interval, 1/length."""

    def mass(self, a: Array, b: Array) -> Array:
        """Of intervals [a, b]."""


@dataclass(frozen=True)
class Mixture(Law):
    """Weighted copies of symmetric shapes, cut to an interval.

    ``parts`` are (weight, centre, scale); ``level`` is the share of a uniform part.
    """

    lower: float
    upper: float
    parts: tuple[tuple[float, float, float], ...]
    shape: Shape = Gaussian()
    level: float = 0.0

    def _total(self) -> float:
        return float(self.raw_mass(np.array(self.lower), np.array(self.upper)))

    def raw_mass(self, a: Array, b: Array) -> Array:
        """Of the shapes before they are cut and normalised."""
        total: Array | float = 0.0
        for weight, centre, scale in self.parts:
            left, right = (a - centre) / scale, (b - centre) / scale
            mirrored = left + right > 0
            low, high = np.where(mirrored, -right, left), np.where(mirrored, -left, right)
            total = total + weight * (self.shape.below(high) - self.shape.below(low))
        return total

    def density(self, x: Array) -> Array:
        parts = sum(w * self.shape((x - c) / s) / s for w, c, s in self.parts)
        flat = self.level / (self.upper - self.lower)
        return (1 - self.level) * parts / self._total() + flat

    def mass(self, a: Array, b: Array) -> Array:
        flat = self.level / (self.upper - self.lower)
        return (1 - self.level) * self.raw_mass(a, b) / self._total() + flat * (b - a)


@dataclass(frozen=True)
class Exponential(Law):
    """exp(rate x) on [0, 1]; rate 0 is the uniform law."""

    rate: float = 0.0
    lower: float = 0.0
    upper: float = 1.0

    def density(self, x: Array) -> Array:
        return np.exp(self.rate * x) / self._integral(1.0)

    def mass(self, a: Array, b: Array) -> Array:
        return np.exp(self.rate * a) * self._integral(b - a) / self._integral(1.0)

    def _integral(self, length: Array | float) -> Array | float:
        """int_0^length exp(rate x) dx."""
        return np.expm1(self.rate * length) / self.rate if self.rate else length


def averages(law: Law, n: int) -> Array:
    """Of the density over n equal cells, times the length of the interval: 1 in the mean."""
    faces = np.linspace(law.lower, law.upper, n + 1)
    return law.mass(faces[:-1], faces[1:]) * n


def quantile(law: Law, below: Array, above: Array) -> Array:
    """The point with the mass ``below`` to its left and ``above`` to its right, by bisection."""
    from_left = below <= above
    low = np.full(np.shape(below), law.lower)
    high = np.full(np.shape(below), law.upper)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        left = law.mass(np.full_like(middle, law.lower), middle)
        right = law.mass(middle, np.full_like(middle, law.upper))
        short = np.where(from_left, left < below, right > above)
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return 0.5 * (low + high)


def monotone(mu: Law, nu: Law, x: Array) -> Array:
    """T(x) with nu(-inf, T(x)) = mu(-inf, x)."""
    x = np.asarray(x, float)
    below = mu.mass(np.full_like(x, mu.lower), x)
    above = mu.mass(x, np.full_like(x, mu.upper))
    y = quantile(nu, below, above)
    y = np.where(x <= mu.lower, nu.lower, y)
    return np.where(x >= mu.upper, nu.upper, y)


@lru_cache(maxsize=256)
def at_centres(mu: Law, nu: Law, n: int) -> Array:
    """T at the centres of n cells."""
    edge = np.linspace(mu.lower, mu.upper, 2 * n + 1)
    return monotone(mu, nu, edge[1::2])


@lru_cache(maxsize=256)
def cell_means(mu: Law, nu: Law, n: int) -> Array:
    """Means of T over the mass of n cells: of y under nu over the images of the cells."""
    ends = monotone(mu, nu, np.linspace(mu.lower, mu.upper, n + 1))
    nodes, weights = np.polynomial.legendre.leggauss(IMAGE_NODES)
    panel = (np.arange(IMAGE_PANELS)[:, None] + 0.5 + 0.5 * nodes).ravel() / IMAGE_PANELS
    weights = np.tile(weights, IMAGE_PANELS)
    y = ends[:-1, None] + np.diff(ends)[:, None] * panel
    mass = nu.density(y) * weights
    return (mass * y).sum(axis=1) / mass.sum(axis=1)


@lru_cache(maxsize=256)
def squared_distance(mu: Law, nu: Law) -> float:
    """W2^2 = int (y - x)^2 along the graph of T.

    The graph is cut at equal steps of x and of y; a piece is integrated over the coordinate along
    which it is longer, in which the other one changes slowly: tears and their reverses are as
    harmless as smooth maps.
    """
    x = np.linspace(mu.lower, mu.upper, PIECES + 1)
    y = np.linspace(nu.lower, nu.upper, PIECES + 1)
    x, y = (
        np.sort(np.concatenate([x, monotone(nu, mu, y)])),
        np.sort(np.concatenate([monotone(mu, nu, x), y])),
    )
    flat = np.diff(x) >= np.diff(y)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    total = 0.0
    for law, other, ends, use in ((mu, nu, x, flat), (nu, mu, y, ~flat)):
        start, step = ends[:-1][use], np.diff(ends)[use]
        points = start[:, None] + step[:, None] * (0.5 + 0.5 * nodes)
        square = (monotone(law, other, points) - points) ** 2
        total += float((law.density(points) * square * (0.5 * weights) * step[:, None]).sum())
    return total
