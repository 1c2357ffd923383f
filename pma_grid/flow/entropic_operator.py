"""`EntropicOperator`: Sinkhorn's iteration as a mirror flow.

With the soft conjugate

    v(y) = eps log sum_x mu(x) exp((<x, y> - u(x)) / eps)

J(u) = sum mu u + sum nu v[u] is convex with derivative mu - rho_u, rho_u the source's marginal of
the plan of (u, v[u]).  One sweep of Sinkhorn's algorithm is u + eps h with h = log(rho_u / mu)
exactly: the explicit mirror step of size eps.  Divergences and curvatures below are those of J,
without quadrature: every identity of mirror steps holds to rounding.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.entropic.dense.relaxation import Potentials, sweeps
from pma_grid.flow.state import MirrorOperator
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced, Reduction
from pma_grid.runtime import Array, ConvergenceError

# Sweeps kept: the fixed point, the last state and the present one, which divergences compare.
SWEEPS_KEPT = 3
# L1 error of the marginals at the fixed point: this, or so many roundings of the largest exponent.
FIXED_POINT_ERROR, EXPONENT_ROUNDINGS = 1e-13, 8.0
# Sweeps allowed on the way there, and those after which the exponents are measured again.
MOST_SWEEPS, SWEEPS_AT_ONCE = 200_000, 1000
# Rounding error of a variance, in roundings of the squared box.
VARIANCE_ROUNDINGS = 16.0
# Power series are summed up to this argument, so many terms of them: what is left out is below
# rounding.  Beyond it the closed forms lose no digits that count.
SERIES_RADIUS, SERIES_TERMS = 0.3, 16
# An eps of exactly one cell squared is not narrow, whatever its rounding.
CELL_SLACK = 1e-9


class Sweep:
    """One sweep from a potential: its soft conjugate, and the potential after it."""

    def __init__(self, phi: Array, eps: float, kernel: SeparableKernel, logs: tuple[Array, Array]):
        self.phi, self._kernel, self._log_b = phi, kernel, logs[1]
        self.weights = logs[0] - phi / eps

    @cached_property
    def dual(self) -> Array:
        """G = -log sum_x a e^F k on the target's grid, F = -phi / eps."""
        return -self._kernel.to_target(self.weights)

    @property
    def dual_weights(self) -> Array:
        """log b + G, the weights of the plan's columns."""
        return np.asarray(self._log_b + self.dual)

    @cached_property
    def image(self) -> Array:
        """phi / eps one sweep later, its mean not taken out."""
        return self._kernel.to_source(self.dual_weights)


class EntropicOperator(MirrorOperator):
    """h of Sinkhorn's iteration for one problem and one eps, with the geometry of its mirror.

    ``eps`` is that of the cost <x, y>, length^2; ``kernel`` is "plain" or "reflect", as in
    `SeparableKernel`.  Zeros of the source stay: nothing of a potential there counts.
    """

    def __init__(self, problem: Problem, eps: float, *, kernel: str = "plain") -> None:
        self.problem, self.reduced = problem, Reduced.of(problem)
        self.eps: float = float(eps)
        self.kernel: str = kernel
        self.narrow_kernel = self.eps < self.reduced.widest_cell * (1 - CELL_SLACK)
        self.masses = self.reduced.a
        self.work = {"sweeps": 0}
        unchanged = {"relative": 0.0, "cells": 0, "mass_added": 0.0}
        self.floors = {"source": dict(unchanged), "target": dict(unchanged)}
        self._kernel = SeparableKernel(self.reduced, self.eps, reflect=kernel == "reflect")
        self._logs = self.reduced.log_masses
        grids = problem.source.grid, problem.target.grid
        self.frame, self._target_frame = Frame(*grids), Frame(grids[1], grids[0])
        # stretch of the source's box + stretch of the target's - <x, y> = |x' - y'|^2/2 - corner
        self._corner = float(np.dot(grids[0].lower, grids[1].lower))
        self._sweeps: list[Sweep] = []

    def _sweep(self, phi: Array) -> Sweep:
        """The sweep from phi, kept from before where it was one of the last."""
        found = next((sweep for sweep in self._sweeps if sweep.phi is phi), None)
        if found is None:
            found = Sweep(phi, self.eps, self._kernel, self._logs)
        self._sweeps = [sweep for sweep in self._sweeps if sweep is not found][1 - SWEEPS_KEPT :]
        self._sweeps.append(found)
        return found

    def evaluate(self, phi: Array, time: float) -> Array:
        """h = log(rho_u / mu) at phi, finite for every finite phi; no function of the time."""
        sweep = self._sweep(phi)
        self.work["sweeps"] += "image" not in vars(sweep)
        return np.asarray(sweep.image - phi / self.eps)

    def step(self, phi: Array) -> tuple[Array, float]:
        """phi one sweep later, and the mean that is taken out of it."""
        after = self.eps * self._sweep(phi).image
        mean = float(after.mean())
        return after - mean, mean

    def dissipation(self, phi: Array, time: float, log_ratio: Array, rho: Array) -> float:
        """d2J along h: sum over y of nu Var(h | y) / eps under the plan."""
        sweep = self._sweep(phi)
        h = self._centred(log_ratio)
        if not h.any():
            return 0.0
        mean = self._conditional_mean(sweep, h)
        with np.errstate(divide="ignore"):
            square = np.exp(
                self._kernel.to_target(sweep.weights + 2 * np.log(np.abs(h))) + sweep.dual
            )
        variance = np.maximum(square - mean * mean, 0.0)
        return float((self.reduced.b * variance).sum()) / self.eps

    def inverse_hessian(self, phi: Array, time: float) -> Array:
        """(D2u)^{-1} at every cell, (N, d, d), of the soft biconjugate: D2u = Cov(y | x) / eps.

        The soft biconjugate is the potential one sweep later, which is smooth whatever phi is.
        Axes of one target cell carry the stretch of box to box.
        """
        covariance = self._kernel.covariance_on_source(self._sweep(phi).dual_weights)
        dim = self.problem.dim
        hessian = np.moveaxis(covariance.reshape(dim, dim, -1), -1, 0) / self.eps
        single = [i for i, n in enumerate(self.problem.target.shape) if n == 1]
        hessian[:, single, single] = 1.0
        # a kernel narrower than a cell sees one point: what is left of its variance is rounding
        least = (
            VARIANCE_ROUNDINGS * np.finfo(float).eps * float(np.square(self.reduced.lengths).max())
        )
        values, vectors = np.linalg.eigh(hessian)
        values = np.maximum(values, min(1.0, least / self.eps))
        inverse = (vectors / values[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        root = np.sqrt(self.frame.stretch)
        return np.asarray(inverse / (root[:, None] * root))

    def conditional_mean(self, phi: Array) -> Array:
        """E[y | x] of the plan after the sweep from phi: the gradient of the potential there."""
        scaled = self._kernel.mean_on_source(self._sweep(phi).dual_weights)
        return Reduction(self.problem).image(scaled)

    def conjugate(self, phi: Array, offset: float) -> tuple[Array, float]:
        """psi and offset of the soft conjugate v on the target's grid."""
        psi = -self.eps * self._sweep(phi).dual
        mean = float(psi.mean())
        return psi - mean, mean + self._corner - offset

    def conjugate_integral(self, phi: Array, offset: float) -> float:
        """sum nu v, length^2."""
        psi, mean = self.conjugate(phi, offset)
        return float((self.reduced.b * (self._target_frame.quadratic() + psi)).sum()) + mean

    def divergence(self, a: Array, b: Array, time: float) -> float:
        """D(a|b) = J_{rho_a}(b) - J_{rho_a}(a), the Bregman divergence of the entropic cost, >= 0.

        With z = (b - a) / eps and the conditional laws of x given y of the plan of a it is

            eps sum_y nu (log E[e^{-z} | y] + E[z | y]),

        every term >= 0.  Small z go through E[e^{-z} - 1 + z | y] and log(1 + t) - t, so that
        nothing of first order cancels.
        """
        sweep = self._sweep(a)
        z = self._centred((b - a) / self.eps)
        largest = float(np.abs(z).max())
        if largest == 0.0:
            return 0.0
        mean = self._conditional_mean(sweep, z)
        if largest <= 1.0:
            with np.errstate(divide="ignore"):
                above = np.log(_exponential_remainder(-z))
            excess = np.exp(self._kernel.to_target(sweep.weights + above) + sweep.dual)
            terms = excess - _logarithmic_remainder(excess - mean)
        else:
            terms = self._kernel.to_target(sweep.weights - z) + sweep.dual + mean
        return self.eps * float((self.reduced.b * terms).sum())

    def _centred(self, field: Array) -> Array:
        """A field without the middle of its range over the source's support, 0 off it."""
        full = self.masses > 0
        inside = field[full]
        return np.where(full, field - 0.5 * (inside.min() + inside.max()), 0.0)

    def _conditional_mean(self, sweep: Sweep, field: Array) -> Array:
        """E[field | y] under the plan, the field made positive for its logarithm."""
        least = float(field.min())
        with np.errstate(divide="ignore"):
            above = np.log(field - least)
        mean = np.exp(self._kernel.to_target(sweep.weights + above) + sweep.dual)
        return np.asarray(mean + least)

    def fixed_point(self, phi: Array) -> Array:
        """phi of the entropic optimum, by over-relaxed sweeps from phi, or ConvergenceError.

        There rho = mu to a marginal error of 1e-13, or of the rounding of the exponents.
        """
        # from one sweep later: phi off the support may be anything, its image is determined
        sweep = self._sweep(phi)
        at = Potentials(-sweep.image, sweep.dual.copy())
        while not at.converged and at.iterations < MOST_SWEEPS:
            size = float(np.ptp(at.F[self.masses > 0]))
            tol = max(FIXED_POINT_ERROR, EXPONENT_ROUNDINGS * np.finfo(float).eps * size)
            at = sweeps(self._kernel, at, tol=tol, max_iterations=SWEEPS_AT_ONCE)
        self.work["sweeps"] += at.iterations
        if not at.converged:
            raise ConvergenceError(
                f"the entropic optimum was not reached in {at.iterations} sweeps (marginal error "
                f"{at.error:.1e}, asked for {tol:.1e}); take a larger eps, or leave out 'bregman'"
            )
        fixed = -self.eps * at.F
        return np.asarray(fixed - fixed.mean())


def _exponential_remainder(z: Array) -> Array:
    """e^z - 1 - z >= 0, to full relative accuracy."""
    small = np.where(np.abs(z) < SERIES_RADIUS, z, 0.0)
    series = np.zeros_like(small)
    for n in range(SERIES_TERMS, 1, -1):  # 1/2! + z/3! + ... by Horner's rule
        series = (series * small + 1.0) / n
    return np.asarray(np.where(np.abs(z) < SERIES_RADIUS, series * small * small, np.expm1(z) - z))


def _logarithmic_remainder(t: Array) -> Array:
    """t - log(1 + t) >= 0, to full relative accuracy; t > -1."""
    # with s = t / (2 + t): log(1 + t) = 2 artanh s and t = 2 s / (1 - s)
    s = t / (2.0 + t)
    square = s * s
    series = np.zeros_like(s)
    for n in range(SERIES_TERMS, 0, -1):
        series = series * square + 1.0 / (2 * n + 1)
    small = np.abs(s) < SERIES_RADIUS
    return np.asarray(np.where(small, s * t - 2.0 * s * square * series, t - np.log1p(t)))
