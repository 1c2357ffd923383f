"""Manufactured cases of `tails.py`: a convex potential onto kernels, one or many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tail_cases import Array, Family, Given, moments, quadrature_points
from tail_laws import Mixture

import pma_grid as pma
from pma_grid.cases.stationary import cosine_hessian, cosine_product

AMPLITUDE = 0.35  # of either part of the potential: the eigenvalues of D2u lie in 1 -+ .7
DARK = 1e-11  # share of the mass that is spread over the dark of an image
SEED = 20417


@dataclass(frozen=True)
class Kernels:
    """A mixture of Gaussians (K, d) of one deviation each, cut to the unit box, plus a level."""

    centres: Array
    deviations: Array
    weights: Array
    level: float = 0.0

    def _share(self) -> float:
        ends = [self._masses(np.array([0.0, 1.0]), k) for k in range(self.centres.shape[1])]
        return float((self.weights * math.prod(line[:, 0] for line in ends)).sum())

    def _masses(self, faces: Array, axis: int) -> Array:
        """Masses (K, n) of intervals between faces along an axis."""
        return np.stack([
            Mixture(0.0, 1.0, ((1.0, c, s),)).raw_mass(faces[:-1], faces[1:])
            for c, s in zip(self.centres[:, axis], self.deviations, strict=True)
        ])  # fmt: skip

    def density(self, *x: Array) -> Array:
        """At points of the unit box."""
        total, dim = np.zeros(np.shape(x[0])), len(x)
        for centre, s, w in zip(self.centres, self.deviations, self.weights, strict=True):
            square = sum((v - c) ** 2 for v, c in zip(x, centre, strict=True))
            total += w * (2 * math.pi * s * s) ** (-dim / 2) * np.exp(-0.5 * square / s**2)
        return (1 - self.level) * total / self._share() + self.level

    def averages(self, n: int) -> Array:
        """Exact means over the cells of the unit box."""
        dim = self.centres.shape[1]
        lines = [self._masses(np.linspace(0, 1, n + 1), axis) * n for axis in range(dim)]
        letters = "ijk"[:dim]
        terms = ",".join("w" + letter for letter in letters)
        total = np.einsum(f"w,{terms}->{letters}", self.weights, *lines, optimize=True)
        return (1 - self.level) * total / self._share() + self.level


def manufactured(name: str, kind: str, dim: int, nu: Kernels) -> Family:
    """grad u of u = |x|^2/2 + (a/pi^2) (prod cos(pi x_i) + sum cos(pi x_i)), onto kernels.

    It maps the unit box onto itself; mu = nu(grad u) det D2u is known at every point, of mass 1.
    """
    a = AMPLITUDE

    def gradient(*x: Array) -> Array:
        bend = (cosine_product(x, (i,)) + np.sin(np.pi * v) for i, v in enumerate(x))
        return np.stack([v - a / np.pi * part for v, part in zip(x, bend, strict=True)])

    def mu(*x: Array) -> Array:
        matrices = a * cosine_hessian(x)
        for i, v in enumerate(x):
            matrices[i, i] += 1 - a * np.cos(np.pi * v)
        matrices = np.moveaxis(matrices, (0, 1), (-2, -1))
        return nu.density(*gradient(*x)) * np.linalg.det(matrices)

    def build(n: int) -> Given:
        grid = pma.Grid((n,) * dim)
        count = quadrature_points(nu.deviations.min() * n / (1 + 2 * a))
        source, means, w2 = moments(grid, count, mu, gradient)
        problem = pma.Problem(pma.Density(source, grid), pma.Density(nu.averages(n), grid))
        return Given(problem, gradient(*grid.coordinates()), means, w2)

    return Family(name, kind, dim, build)


def even(points: Array, deviation: float, level: float = 0.0) -> Kernels:
    """Kernels of one width and weight about points."""
    count = len(points)
    return Kernels(points, np.full(count, deviation), np.full(count, 1 / count), level)


def curve(count: int, dim: int, rng: np.random.Generator) -> Array:
    """Points about a bent line in the middle of the unit box."""
    t = rng.uniform(-1, 1, count)
    line = np.stack([0.22 * t, 0.2 * np.cos(2.5 * t) - 0.08, 0.15 * np.sin(2 * t)])[:dim].T
    return 0.5 + line + 0.02 * rng.normal(size=(count, dim))


def targets(dim: int) -> Iterator[tuple[str, str, Kernels]]:
    """Names, kinds and densities that manufactured potentials map onto."""
    rng = np.random.default_rng([SEED, dim])
    three = np.array([(0.35, 0.4, 0.45), (0.62, 0.6, 0.55), (0.45, 0.68, 0.6)])[:, :dim]
    wide = {1: 0.06, 2: 0.06, 3: 0.075}[dim]
    yield "man_g", "man", even(three[:1] + 0.1, wide)
    yield (
        "man_mix",
        "man",
        Kernels(three, wide * np.array([1.0, 0.9, 1.1]), np.array([0.4, 0.35, 0.25])),
    )
    yield "man_kde", "man", even(curve(40 if dim < 3 else 12, dim, rng), 0.75 * wide)
    if dim < 3:
        count = 40 if dim == 1 else 300
        yield "man_kden", "narrow", even(rng.uniform(0.1, 0.9, (count, dim)), 1.4 / 128)
    yield (
        "man_dark",
        "man",
        Kernels(
            three, np.array([0.05, 0.07, 0.06]) * wide / 0.06, np.array([0.4, 0.35, 0.25]), DARK
        ),
    )
