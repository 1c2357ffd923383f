"""Laws on [0, 1] with known distribution functions and quantiles: products of them have exact maps.

For product densities the Brenier map acts axis by axis, T_i = G_i^{-1} o F_i with F_i, G_i the
distribution functions, and W2^2 is the sum over axes of int_0^1 (F^{-1} - G^{-1})^2 dp.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array


class Law(Protocol):
    """A law on [0, 1], whose quantile is smooth unless it says otherwise."""

    def below(self, x: Array) -> Array:
        """Distribution function F at points of [0, 1]."""

    def quantile(self, p: Array) -> Array:
        """F^{-1} at probabilities in [0, 1]; at a gap the lower end."""

    def kinks(self) -> tuple[float, ...]:
        """Probabilities in (0, 1) where the quantile is not smooth."""
        return ()

    def jumps(self) -> tuple[float, ...]:
        """Those where it jumps: a gap of the support carries no mass."""
        return ()


@dataclass(frozen=True)
class Power(Law):
    """Density (k + 1) x^k, k >= 0: zero at the face x = 0; k = 0 is the uniform law."""

    k: float

    def below(self, x: Array) -> Array:
        """x^(k + 1)."""
        return np.asarray(x ** (self.k + 1))

    def quantile(self, p: Array) -> Array:
        """p^(1 / (k + 1))."""
        return np.asarray(p ** (1 / (self.k + 1)))


@dataclass(frozen=True)
class Exponential(Law):
    """Density proportional to exp(rate x), rate not 0: contrast exp(|rate|) from face to face."""

    rate: float

    def below(self, x: Array) -> Array:
        """(e^(rate x) - 1) / (e^rate - 1)."""
        return np.asarray(np.expm1(self.rate * x) / math.expm1(self.rate))

    def quantile(self, p: Array) -> Array:
        """log(1 + p (e^rate - 1)) / rate."""
        return np.asarray(np.log1p(p * math.expm1(self.rate)) / self.rate)


@dataclass(frozen=True)
class Steps(Law):
    """Uniform on disjoint intervals: ``ends`` are (lower, upper) in order, ``masses`` sum to 1."""

    ends: tuple[tuple[float, float], ...]
    masses: tuple[float, ...]

    def _corners(self) -> tuple[Array, Array]:
        """Corners of the graph of F: both ends of every interval."""
        p = np.concatenate([[0.0], np.cumsum(self.masses)])
        p[-1] = 1.0
        return np.array(self.ends).ravel(), np.stack([p[:-1], p[1:]], axis=1).ravel()

    def below(self, x: Array) -> Array:
        """Piecewise linear."""
        corners, p = self._corners()
        return np.asarray(np.interp(x, corners, p))

    def quantile(self, p: Array) -> Array:
        """Piecewise linear with jumps; what is left of a jump belongs to the lower interval."""
        which = np.searchsorted(np.cumsum(self.masses)[:-1], p)
        lower, upper = (np.array(end)[which] for end in zip(*self.ends, strict=True))
        before = np.concatenate([[0.0], np.cumsum(self.masses)[:-1]])[which]
        return np.asarray(lower + (upper - lower) * (p - before) / np.array(self.masses)[which])

    def kinks(self) -> tuple[float, ...]:
        """Between any two intervals."""
        return tuple(float(p) for p in np.cumsum(self.masses)[:-1])

    def jumps(self) -> tuple[float, ...]:
        """Between intervals that do not touch."""
        touching = [a[1] == b[0] for a, b in itertools.pairwise(self.ends)]
        return tuple(p for p, touch in zip(self.kinks(), touching, strict=True) if not touch)


UNIFORM = Power(0.0)


def product_averages(laws: tuple[Law, ...], grid: Grid) -> Array:
    """Exact cell averages of a product of laws on the unit box, up to rounding of F."""
    values = np.ones(grid.shape)
    for axis, (law, faces, h) in enumerate(zip(laws, grid.faces, grid.spacing, strict=True)):
        line = np.diff(law.below(faces)) / h
        values *= along(np.maximum(line, 0.0), axis, grid.dim)
    return values


def squared_distance(mu: Law, nu: Law) -> float:
    """W2^2 of two laws by quantiles, to about 1e-14.

    Tanh-sinh quadrature between the kinks: the quantile of x^k is singular at an end.
    """
    ends = sorted({0.0, 1.0, *mu.kinks(), *nu.kinks()})
    return sum(_tanh_sinh(mu, nu, a, b) for a, b in itertools.pairwise(ends))


def _tanh_sinh(mu: Law, nu: Law, a: float, b: float) -> float:
    """int_a^b (F^{-1} - G^{-1})^2 dp by the double exponential rule (Takahasi, Mori 1974)."""
    step = 1 / 32
    t = np.arange(-110, 111) * step
    bend = 0.5 * np.pi * np.sinh(t)
    # the share of the interval below a node, small without cancellation on the left
    share = 1 / (1 + np.exp(-2 * bend))
    weight = 0.25 * np.pi * np.cosh(t) / np.cosh(bend) ** 2
    # strictly inside, so that a node does not fall on the other side of a jump
    p = np.clip(a + (b - a) * share, np.nextafter(a, b), np.nextafter(b, a))
    gap = mu.quantile(p) - nu.quantile(p)
    return float((b - a) * step * (weight * gap**2).sum())
