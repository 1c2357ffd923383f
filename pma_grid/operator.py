"""The Monge-Ampère operator on a grid: residual and linearisation in monotone form.

With T = grad u pushing mu to nu, the equation is

    log det D2u(x) + log nu(grad u(x)) - log mu(x) = alpha,

alpha being the constant that makes it solvable on a grid (it goes to 0 like h^2).  The unknown is
phi in u = sum_i s_i (x_i - lower_i)^2 / 2 + (target lower) . x + phi, with s_i the ratio of the box
sides; phi reflects evenly about the faces, which is exactly the transport of box to box.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import ndimage

from pma_grid.density import Density
from pma_grid.grid import Grid
from pma_grid.kernels import DIMENSION
from pma_grid.kernels import lattice as lattice_kernels
from pma_grid.lattice import Array, Lattice
from pma_grid.linsolve import Stencil
from pma_grid.problem import Problem
from pma_grid.target import SPLINE_HALO, LogSpline, log_centre_values

# Working floors, relative to the mean density, for data with exact zeros.
WORKING_FLOORS = {"source": 1e-6, "target": 1e-3}


class Frame:
    """The quadratic part of u and the constants of one pair of grids."""

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        h, target_h = np.array(source.spacing), np.array(target.spacing)
        self.stretch = np.array(target.lengths) / np.array(source.lengths)
        self.metric = self.stretch * h * h
        self.affine = self.stretch * h / target_h
        self.slope = 0.5 / (h * target_h)
        self.per_cell = 1.0 / (h * target_h)
        self.log_cell = 2.0 * float(np.log(h).sum())

    def quadratic(self) -> Array:
        """The part of u that maps box to box affinely, at the cell centres."""
        total = np.zeros(self.source.shape)
        for i, x in enumerate(self.source.axes):
            part = 0.5 * self.stretch[i] * (x - self.source.lower[i]) ** 2
            part = part + self.target.lower[i] * x
            total += part.reshape([-1 if k == i else 1 for k in range(self.source.dim)])
        return total


class MongeAmpere:
    """The discretised equation of one pair of grids, with the buffers of its linearisation.

    ``superbase`` is state: each evaluation walks on from where the last one stood.
    """

    def __init__(
        self,
        log_source: Array,
        source: Grid,
        target: LogSpline,
        *,
        superbase: Array | None = None,
        monotone_gradient: bool = False,
    ) -> None:
        self.frame = Frame(source, target.grid)
        self.target = target
        self.lattice = lat = Lattice(source.shape)
        self.log_source = log_source.ravel()
        self._kernels = DIMENSION[lat.dim]
        n, dim = lat.size, lat.dim
        count = {1: 1, 2: 3, 3: 6}[dim]
        if superbase is None:
            superbase = np.broadcast_to(np.eye(dim, dtype=np.int8), (*source.shape, dim, dim))
        self.superbase = np.array(superbase, np.int8).reshape(n, dim, dim)
        self.padded = lat.zeros()
        self.log_target = np.empty(n)
        self.residual = np.empty(n)
        self.faces = 0
        viscosity = 0.5 * target.steepest() / np.array(source.spacing)
        self.stencil = Stencil(
            lattice=lat,
            vectors=np.empty((n, count, dim), np.int8),
            offsets=np.empty((n, count), np.int32),
            weights=np.empty((n, count)),
            drift=np.empty((n, dim)),
            gauge=np.empty(n),
            row_scale=np.empty(n),
            viscosity=viscosity if monotone_gradient else None,
        )
        self._kernels.expand(
            self.superbase, lat.strides, self.stencil.vectors, self.stencil.offsets
        )

    @classmethod
    def of(cls, problem: Problem) -> MongeAmpere:
        """The equation of a problem, its exact zeros raised to the working floors."""
        source, target, _ = positive(problem)
        spline = LogSpline(log_centre_values(target), problem.target.grid)
        return cls(log_centre_values(source), problem.source.grid, spline)

    def restart(self, superbase: Array) -> None:
        """Take over the superbases of another equation on the same grid."""
        self.superbase[:] = superbase.reshape(self.superbase.shape)
        self._kernels.expand(
            self.superbase, self.lattice.strides, self.stencil.vectors, self.stencil.offsets
        )

    def superbase_field(self) -> Array:
        """The superbases as a field, shape (*shape, d, d)."""
        return self.superbase.reshape(*self.lattice.shape, *self.superbase.shape[1:])

    def evaluate(self, phi: Array, alpha: float) -> float:
        """Fill ``residual`` and ``stencil`` at (phi, alpha); returns the rms residual.

        The residual is that of the shift form, r = d c / b: to first order eta (log mu(x) + alpha
        - log nu(grad u) - log det D2u) with eta <= 1, finite for any phi.
        """
        lat, frame, stencil = self.lattice, self.frame, self.stencil
        self._evaluate_target(phi)
        self.faces = self._kernels.shift_form(
            self.padded, lat.row_start, lat.n_last, lat.strides, lat.halo, frame.metric,
            self.log_source, self.log_target, alpha + frame.log_cell, frame.per_cell,
            self.superbase, stencil.vectors, stencil.offsets, stencil.weights, stencil.drift,
            stencil.gauge, self.residual,
        )  # fmt: skip
        return math.sqrt(float(self.residual @ self.residual) / lat.size)

    def _evaluate_target(self, phi: Array) -> None:
        """log nu at the gradient, and its derivative into the drift buffer."""
        lat, frame = self.lattice, self.frame
        lat.fill(phi, self.padded)
        self._kernels.target_at_gradient(
            self.padded, lat.row_start, lat.n_last, lat.strides, lat.shape_array, frame.affine,
            frame.slope, self.target.coefficients, SPLINE_HALO, self.log_target,
            self.stencil.drift,
        )  # fmt: skip
        if self.stencil.viscosity is not None:
            lattice_kernels.add_viscosity(
                self.padded, lat.row_start, lat.n_last, lat.strides, self.stencil.viscosity,
                np.ones(lat.size), self.log_target,
            )  # fmt: skip

    def linearise(self, source: Array) -> Stencil:
        """The stencil of the last evaluation, its rows weighted for symmetry (mu / eta)."""
        np.divide(source.ravel(), self.stencil.gauge, out=self.stencil.row_scale)
        return self.stencil

    def evaluate_log(self, phi: Array) -> Array:
        """h = log nu(grad u) + log det D2u - log mu, NaN where u is not convex; fills ``stencil``.

        The stencil is then the derivative of h itself, its gauge the constant 1.
        """
        lat, frame, stencil = self.lattice, self.frame, self.stencil
        self._evaluate_target(phi)
        residual = np.empty(lat.size)
        self._kernels.log_det(
            self.padded, lat.row_start, lat.n_last, lat.strides, lat.halo, frame.metric,
            self.superbase, stencil.vectors, stencil.offsets, stencil.weights, residual,
        )  # fmt: skip
        stencil.gauge[:] = 1.0
        stencil.drift *= frame.per_cell
        residual -= frame.log_cell
        residual += self.log_target
        residual -= self.log_source
        return residual.reshape(lat.shape)

    def hessian(self) -> Array:
        """D2u at the last evaluation, (d, d, *shape): inverse of D, so that its det solves the row.

        Symmetric positive definite even where the minimiser lies on a face.
        """
        lat, stencil = self.lattice, self.stencil
        tensor = stencil.tensor(self.frame.source.spacing) / stencil.gauge[:, None, None]
        inverse = np.linalg.inv(tensor)
        return np.moveaxis(inverse.reshape(*lat.shape, lat.dim, lat.dim), (-2, -1), (0, 1))

    def scan(self, phi: Array, alpha: float) -> tuple[int, float]:
        """Scan over superbases: how many cells it improves on, and at most by how much in r."""
        self.evaluate(phi, alpha)
        lat, frame = self.lattice, self.frame
        best = np.empty(lat.size)
        self._kernels.scan(
            self.padded, lat.row_start, lat.n_last, lat.strides, frame.metric,
            all_superbases(lat.dim, min(lat.halo, SCAN_REACH[lat.dim])), self.log_source,
            self.log_target, alpha + frame.log_cell, best,
        )  # fmt: skip
        gain = best - self.residual
        return int(np.count_nonzero(gain > SCAN_TOLERANCE)), max(0.0, float(gain.max()))


# Reach of the superbases that a full scan compares, and the difference in r that counts.
SCAN_REACH = {1: 1, 2: 5, 3: 1}
SCAN_TOLERANCE = 1e-8


def all_superbases(dim: int, reach: int) -> Array:
    """All bases of Z^d (up to signs and order) whose lattice vectors stay within ``reach``.

    In 2-D all pairs of vectors, so that each superbase and each of its faces is met; in 3-D all
    superbases reached by flips from the canonical one.  Shape (n, d, d).
    """
    if dim == 1:
        return np.ones((1, 1, 1), np.int64)
    if dim == 2:
        span = range(-reach, reach + 1)
        half = [v for v in itertools.product(span, span) if v > (0, 0) and math.gcd(*v) == 1]
        pairs = [
            (e, tuple(sign * c for c in f))
            for e, f in itertools.combinations(half, 2)
            for sign in (1, -1)
            if abs(e[0] * f[1] - e[1] * f[0]) == 1
        ]
        kept = [p for p in pairs if max(abs(a + b) for a, b in zip(*p, strict=True)) <= reach]
        return np.array(kept, np.int64)
    return _superbases_3d(reach)


def _superbases_3d(reach: int) -> Array:
    """Superbases of Z^3 by breadth-first flips, stored as their last three vectors."""
    start: tuple[tuple[int, ...], ...] = ((-1, -1, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    seen = {_canonical(start): start}
    queue = [start]
    while queue:
        base = queue.pop()
        for i, j in itertools.permutations(range(4), 2):
            rest = [k for k in range(4) if k not in (i, j)]
            flipped = [tuple(-c for c in base[i]), base[j]]
            flipped += [tuple(a + b for a, b in zip(base[k], base[i], strict=True)) for k in rest]
            base2 = tuple(flipped)
            crosses = np.cross(np.array(base2)[:, None], np.array(base2)[None])
            key = _canonical(base2)
            if np.abs(crosses).max() <= reach and key not in seen:
                seen[key] = base2
                queue.append(base2)
    return np.array([b[1:] for b in seen.values()], np.int64)


def _canonical(base: tuple[tuple[int, ...], ...]) -> frozenset[tuple[int, ...]]:
    """The set of lattice vectors of a superbase, up to sign."""
    vectors = [np.cross(a, b) for a, b in itertools.combinations(np.array(base), 2)]
    return frozenset(max(tuple(map(int, v)), tuple(map(int, -v))) for v in vectors)


def floored(density: Density, default: float) -> tuple[Array, dict[str, float]]:
    """Working copy of a density for taking logarithms, and what the floor changed."""
    values, report = density.working(default)
    return values, {
        "relative": report.relative,
        "cells": report.cells,
        "mass_added": report.mass_added,
    }


def positive(problem: Problem) -> tuple[Array, Array, dict[str, dict[str, float]]]:
    """Working copies of source and target, zeros raised to the working floors, and what changed."""
    source, source_floor = floored(problem.source, WORKING_FLOORS["source"])
    target, target_floor = floored(problem.target, WORKING_FLOORS["target"])
    return source, target, {"source": source_floor, "target": target_floor}


def blurred(values: Array, passes: int) -> Array:
    """[1 2 1]/4 along every axis, ``passes`` times, evenly reflected."""
    for _ in range(passes):
        for axis in range(values.ndim):
            values = ndimage.correlate1d(values, (0.25, 0.5, 0.25), axis, mode="reflect")
    return values


def split(problem: Problem, potential: Array) -> tuple[Array, float]:
    """phi of a potential u, what remains without the quadratic part and its mean, and that mean."""
    frame = Frame(problem.source.grid, problem.target.grid)
    phi = np.asarray(potential, float) - frame.quadratic()
    mean = float(phi.mean())
    return phi - mean, mean
