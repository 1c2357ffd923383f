"""The equation of an implicit stage, v - beta h(v) = base: Newton's method in log form.

Every implicit scheme is made of such stages.  log det makes each solution convex, whatever the
base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.stepping.scheme import Reached
from pma_grid.linsolve import Auto, Handle, LinearSolver, Multigrid, attempt
from pma_grid.linsolve.line_search import armijo, backtrack
from pma_grid.runtime import Array

# Share of the promised fall of the defect that a Newton step must bring, and the smallest fraction
# of a step that is tried.
ARMIJO_SLOPE = 0.05
SMALLEST_FRACTION = 1.0 / 64.0
# Reduction asked of a linear solve, between these bounds: enough to end with this Newton step.
SHARPEST_REDUCTION, LOOSEST_REDUCTION = 1e-2, 0.1
# A stage that Newton cannot solve at once is approached from shorter ones: of this share of it, if
# that fails of this share of that, but not below the last.
RAMP_SHARE = 0.1
SHORTEST_RAMP_SHARE = 1e-8
# Ratio of two lengths below which the ramp gives up, and the rms defect of the stages on it.
SMALLEST_RAMP_RATIO = 1.3
RAMP_DEFECT = 1e-3
# Relative rounding error of differences of potentials: two units in the last place.
DIFFERENCE_ROUNDING = 4e-16


def default_linear_solver() -> LinearSolver:
    """Geometric multigrid with a lagged hierarchy; pyamg takes over where it is slow."""
    return Auto(direct=False, first=Multigrid(lag=True))


@dataclass(frozen=True)
class _Point:
    """A potential in Newton's iteration with h and the defect of its stage equation."""

    phi: Array
    residual: Array
    defect: Array
    gauge_rate: float
    norm: float


@dataclass(frozen=True)
class ImplicitStage:
    """The equation v - beta h(v, t) = base of the mean-free parts of v and base; beta, length^2."""

    operator: ParabolicOperator
    base: Array
    beta: float
    time: float

    def at(self, phi: Array) -> _Point:
        """h at phi, and h - (v - base) / beta without the constant that the gauge takes up."""
        residual = self.operator.evaluate(phi, self.time)
        defect = residual - (phi - self.base) / self.beta
        gauge_rate = float((self.operator.masses * defect).sum())
        defect -= gauge_rate
        norm = math.sqrt(float((defect * defect).mean()))
        return _Point(phi, residual, defect, gauge_rate, norm)

    def after(self, at: _Point, step: Array) -> _Point | None:
        """Where a Newton step leads, halved until the equilibrated defect falls, or None."""
        weights = self.operator.equation.stencil.equilibration
        assert weights is not None
        weights = weights.copy().reshape(step.shape)
        step = step - step.mean()

        def merit(point: _Point) -> float:
            return _weighted_norm(point.defect, weights) if math.isfinite(point.norm) else math.inf

        found = backtrack(
            lambda fraction: self.at(at.phi + fraction * step), merit,
            armijo(merit(at), ARMIJO_SLOPE), smallest=SMALLEST_FRACTION,
        )  # fmt: skip
        return None if found is None else found[1]

    def rounding(self, at: _Point) -> float:
        """rms of the rounding error of the defect: differences of phi carry that of its range."""
        diagonal = 2.0 * self.operator.equation.stencil.total_weights() + 1.0 / self.beta
        steepness = math.sqrt(float(np.mean(np.square(diagonal))))
        size = float(np.ptp(at.phi)) * steepness + float(np.abs(at.residual).max())
        return DIFFERENCE_ROUNDING * size


@dataclass(frozen=True)
class StageSolver:
    """Newton for the mean-free part of v - beta h(v) = base; the mean follows in closed form.

    The rms of the equation over beta ends below ``rtol`` times that of h - mean h at the step's
    start, or below ``atol`` (h is dimensionless).
    """

    linear_solver: LinearSolver
    rtol: float
    atol: float
    max_iterations: int

    def solve(
        self, stage: ImplicitStage, *, guess: Array, convex: Array, scale: float,
        handle: Handle | None,
    ) -> Reached | None:  # fmt: skip
        """The stage from ``guess``, else from ``convex``, else by a ramp in beta from there.

        ``scale`` is the rms of h - mean h at the step's start.  None where all of it fails.
        """
        tol = max(self.rtol * scale, self.atol)
        newton = linear = 0
        for begin, worst in ((guess, scale), (convex, math.inf)):
            solved, done = self._newton(stage, begin, tol, handle, worst)
            if done:
                return solved.after(newton, linear)
            newton, linear = newton + solved.newton, linear + solved.linear
            handle = handle if not solved.newton else None
        return self._ramp(stage, convex, tol, (newton, linear))

    def _ramp(
        self, stage: ImplicitStage, phi: Array, tol: float, spent: tuple[int, int]
    ) -> Reached | None:
        """Shorter stages first: each solution starts the next, up to the length asked for.

        A length that fails is approached in smaller ratios from the last that was solved.
        """
        newton, linear = spent
        beta, handle = stage.beta, None
        reached, ratio, length = 0.0, 1.0 / RAMP_SHARE, beta * RAMP_SHARE
        while True:
            enough = tol if length == beta else max(tol, RAMP_DEFECT)
            solved, done = self._newton(replace(stage, beta=length), phi, enough, handle)
            newton, linear = newton + solved.newton, linear + solved.linear
            if done and length == beta:
                return replace(solved, newton=newton, linear=linear)
            if done:
                phi, handle, reached = solved.phi, solved.handle, length
            elif reached == 0.0 and length > beta * SHORTEST_RAMP_SHARE:
                length *= RAMP_SHARE
                continue
            else:
                ratio, handle = math.sqrt(ratio), None
            if reached == 0.0 or ratio < SMALLEST_RAMP_RATIO:
                return None
            length = min(beta, reached * ratio)

    def _newton(
        self, stage: ImplicitStage, phi: Array, tol: float, handle: Handle | None,
        worst: float = math.inf,
    ) -> tuple[Reached, bool]:  # fmt: skip
        """Newton from phi, unless its defect is above ``worst``; whether the tolerance was met."""
        operator, at = stage.operator, stage.at(phi)
        newton = linear = 0
        done = False
        while math.isfinite(at.norm) and at.norm <= worst:
            done = at.norm <= tol or at.norm <= stage.rounding(at)
            if done or newton == self.max_iterations:
                break
            rtol = min(LOOSEST_REDUCTION, max(SHARPEST_REDUCTION, 0.3 * tol / at.norm))
            stencil = operator.linearise(at.residual, 1.0 / stage.beta)
            before = handle.setups if handle is not None else 0
            handle, result = attempt(self.linear_solver, stencil, handle, -at.defect.ravel(), rtol)
            operator.work["setups"] += handle.setups - before if handle is not None else 1
            if result is None:
                break
            newton, linear = newton + 1, linear + result.iterations
            operator.work["newton"] += 1
            operator.work["linear"] += result.iterations
            better = stage.after(at, result.x.reshape(phi.shape))
            if better is None:
                break
            at, worst = better, math.inf
        return Reached(at.phi, at.residual, at.gauge_rate, handle, newton, linear), done


def _weighted_norm(defect: Array, weights: Array) -> float:
    """Norm of the weighted defect without the multiple of the weights, the gauge, in it."""
    scaled = defect * weights
    square = float((scaled * scaled).sum())
    return math.sqrt(
        max(0.0, square - float((scaled * weights).sum()) ** 2 / float((weights * weights).sum()))
    )
