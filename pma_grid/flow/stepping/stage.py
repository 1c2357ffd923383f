"""The equation of an implicit stage, v - beta h(v) = base: Newton's method in log form.

Every implicit scheme is made of such stages.  log det makes each solution convex, whatever the
base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.linsolve import Auto, Handle, LinearSolver, Multigrid, attempt
from pma_grid.runtime.arrays import Array

# Backtracking: a step s must bring the rms residual below (1 - SLOPE s) of the last.
SLOPE = 0.05
SMALLEST_STEP = 1.0 / 64.0
# Reduction asked of a linear solve, between these bounds: enough to end with this Newton step.
SHARPEST, LOOSEST = 1e-2, 0.1
# A stage that Newton cannot solve at once is approached from stages RAMP times shorter.
RAMP = 0.1
SHORTEST_RAMP = 1e-8
SMALLEST_RATIO = 1.3
RAMP_TOLERANCE = 1e-3
ROUNDING = 4e-16


def default_linear_solver() -> LinearSolver:
    """Geometric multigrid with a lagged hierarchy; pyamg takes over where it is slow."""
    return Auto(direct=False, first=Multigrid(lag=True))


@dataclass(frozen=True)
class Solved:
    """Solution of a stage: v = phi + mean, h there, and what it took.

    ``alpha`` is the constant of the equation of the mean-free parts: the mean of v is that of the
    base plus beta alpha.
    """

    phi: Array
    residual: Array
    alpha: float
    handle: Handle | None
    newton: int
    linear: int

    def then(self, newton: int, linear: int) -> Solved:
        """The same with earlier work counted in."""
        return replace(self, newton=self.newton + newton, linear=self.linear + linear)


@dataclass(frozen=True)
class _Point:
    """A potential in Newton's iteration with h and the defect of its stage equation."""

    phi: Array
    residual: Array
    defect: Array
    alpha: float
    norm: float


@dataclass(frozen=True)
class StageSolver:
    """Newton for the mean-free part of v - beta h(v) = base; the mean follows in closed form.

    Parameters
    ----------
    linear_solver : LinearSolver
    rtol : float
        rms of the stage equation over beta, relative to that of h - mean h at the step's start.
    atol : float
        The same, absolute (h is dimensionless).
    max_iterations : int
    """

    linear_solver: LinearSolver
    rtol: float
    atol: float
    max_iterations: int

    def solve(
        self,
        operator: ParabolicOperator,
        base: Array,
        beta: float,
        time: float,
        *,
        guess: Array,
        convex: Array,
        scale: float,
        handle: Handle | None,
    ) -> Solved | None:
        """The stage from ``guess``, else from ``convex``, else by a ramp in beta from there.

        ``scale`` is the rms of h - mean h at the step's start.  None where all of it fails.
        """
        tol = max(self.rtol * scale, self.atol)
        newton = linear = 0
        for begin, worst in ((guess, scale), (convex, math.inf)):
            solved, done = self._newton(operator, base, beta, time, begin, tol, handle, worst)
            if done:
                return solved.then(newton, linear)
            newton, linear = newton + solved.newton, linear + solved.linear
            handle = handle if not solved.newton else None
        return self._ramp(operator, base, beta, time, convex, tol, (newton, linear))

    def _ramp(
        self, operator: ParabolicOperator, base: Array, beta: float, time: float, phi: Array,
        tol: float, spent: tuple[int, int],
    ) -> Solved | None:  # fmt: skip
        """Shorter stages first: each solution starts the next, up to the length asked for.

        A length that fails is approached in smaller ratios from the last that was solved.
        """
        newton, linear = spent
        reached, ratio, length, handle = 0.0, 1.0 / RAMP, beta * RAMP, None
        while True:
            enough = tol if length == beta else max(tol, RAMP_TOLERANCE)
            solved, done = self._newton(operator, base, length, time, phi, enough, handle)
            newton, linear = newton + solved.newton, linear + solved.linear
            if done and length == beta:
                return replace(solved, newton=newton, linear=linear)
            if done:
                phi, handle, reached = solved.phi, solved.handle, length
            elif reached == 0.0 and length > beta * SHORTEST_RAMP:
                length *= RAMP
                continue
            else:
                ratio, handle = math.sqrt(ratio), None
            if reached == 0.0 or ratio < SMALLEST_RATIO:
                return None
            length = min(beta, reached * ratio)

    def _newton(
        self, operator: ParabolicOperator, base: Array, beta: float, time: float, phi: Array,
        tol: float, handle: Handle | None, worst: float = math.inf,
    ) -> tuple[Solved, bool]:  # fmt: skip
        """Newton from phi, unless its defect is above ``worst``; whether the tolerance was met."""
        at = _point(operator, base, beta, time, phi)
        newton = linear = 0
        done = False
        while math.isfinite(at.norm) and at.norm <= worst:
            done = at.norm <= tol or at.norm <= _rounding(operator, beta, at)
            if done or newton == self.max_iterations:
                break
            rtol = min(LOOSEST, max(SHARPEST, 0.3 * tol / at.norm))
            stencil = operator.linearise(at.residual, 1.0 / beta)
            before = handle.setups if handle is not None else 0
            handle, result = attempt(self.linear_solver, stencil, handle, -at.defect.ravel(), rtol)
            operator.work["setups"] += handle.setups - before if handle is not None else 1
            if result is None:
                break
            newton, linear = newton + 1, linear + result.iterations
            operator.work["newton"] += 1
            operator.work["linear"] += result.iterations
            better = _backtrack(operator, base, beta, time, at, result.x.reshape(phi.shape))
            if better is None:
                break
            at, worst = better, math.inf
        return Solved(at.phi, at.residual, at.alpha, handle, newton, linear), done


def _point(
    operator: ParabolicOperator, base: Array, beta: float, time: float, phi: Array
) -> _Point:
    """h at phi, and h - (v - base) / beta without the constant that the gauge takes up."""
    residual = operator.evaluate(phi, time)
    defect = residual - (phi - base) / beta
    alpha = float((operator.masses * defect).sum())
    defect -= alpha
    norm = math.sqrt(float((defect * defect).mean()))
    return _Point(phi, residual, defect, alpha, norm)


def _backtrack(
    operator: ParabolicOperator, base: Array, beta: float, time: float, at: _Point, step: Array
) -> _Point | None:
    """Halve the Newton step until the equilibrated defect falls; None where it never does."""
    weights = operator.equation.stencil.equilibration
    assert weights is not None
    weights = weights.copy().reshape(step.shape)
    step = step - step.mean()
    first, size = _merit(at.defect, weights), 1.0
    while size >= SMALLEST_STEP:
        trial = _point(operator, base, beta, time, at.phi + size * step)
        share = 1 - SLOPE * size
        if math.isfinite(trial.norm) and _merit(trial.defect, weights) <= share * first:
            return trial
        size *= 0.5
    return None


def _merit(defect: Array, weights: Array) -> float:
    """Norm of the weighted defect without the multiple of the weights, the gauge, in it."""
    scaled = defect * weights
    square = float((scaled * scaled).sum())
    return math.sqrt(
        max(0.0, square - float((scaled * weights).sum()) ** 2 / float((weights * weights).sum()))
    )


def _rounding(operator: ParabolicOperator, beta: float, at: _Point) -> float:
    """rms of the rounding error of the defect: differences of phi carry about eps its range."""
    diagonal = 2.0 * operator.equation.stencil.total_weights() + 1.0 / beta
    steepness = math.sqrt(float(np.mean(np.square(diagonal))))
    return ROUNDING * (float(np.ptp(at.phi)) * steepness + float(np.abs(at.residual).max()))
