"""The equation of an implicit stage, v - beta h(v) = base: Newton's method in log form.

Every implicit scheme is made of such stages.  log det makes each solution convex, whatever the
base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pma_grid.lattice import Array
from pma_grid.linsolve import Auto, Handle, LinearSolver, Multigrid, attempt
from pma_grid.parabolic import ParabolicOperator

# Backtracking: a step s must bring the rms residual below (1 - SLOPE s) of the last.
SLOPE = 0.05
SMALLEST_STEP = 1.0 / 64.0
# Reduction asked of a linear solve, between these bounds: enough to end with this Newton step.
SHARPEST, LOOSEST = 1e-3, 0.1
# A stage that Newton cannot solve at once is approached from stages RAMP times shorter.
RAMP = 0.1
LONGEST_RAMP = 8
RAMP_TOLERANCE = 1e-3
ROUNDING = 4e-16


def default_linear_solver() -> LinearSolver:
    """Geometric multigrid with a lagged hierarchy; pyamg takes over where it is slow."""
    return Auto(direct=False, first=Multigrid(lag=True))


@dataclass(frozen=True)
class Solved:
    """Solution of a stage: v = phi + its mean, h there, and what it took."""

    phi: Array
    residual: Array
    handle: Handle | None
    newton: int
    linear: int

    def then(self, newton: int, linear: int) -> Solved:
        """The same with earlier work counted in."""
        return Solved(
            self.phi, self.residual, self.handle, self.newton + newton, self.linear + linear
        )


@dataclass(frozen=True)
class StageSolver:
    """Newton for the mean-free part of v - beta h(v) = base; the mean follows in closed form.

    Parameters
    ----------
    linear_solver : LinearSolver
    rtol : float
        rms of the stage equation, over beta, relative to that of h - mean h at the step's start.
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

        ``scale`` is the rms of h - mean h at the start of the step.  None where all of it fails.
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
        """Shorter stages first: each solution starts the next, up to the length asked for."""
        newton, linear = spent
        power, reached, handle = 1, False, None
        while power >= 0:
            enough = max(tol, RAMP_TOLERANCE) if power else tol
            length = beta * RAMP**power
            solved, done = self._newton(operator, base, length, time, phi, enough, handle)
            newton, linear = newton + solved.newton, linear + solved.linear
            if done:
                phi, handle, reached, power = solved.phi, solved.handle, True, power - 1
            elif reached or power == LONGEST_RAMP:
                return None
            else:
                power += 1
        return Solved(phi, solved.residual, handle, newton, linear)

    def _newton(
        self, operator: ParabolicOperator, base: Array, beta: float, time: float, phi: Array,
        tol: float, handle: Handle | None, worst: float = math.inf,
    ) -> tuple[Solved, bool]:  # fmt: skip
        """Newton from phi, unless its defect is above ``worst``; whether the tolerance was met."""
        residual = operator.evaluate(phi, time)
        defect, norm = _defect(residual, phi, base, beta)
        newton = linear = 0
        while norm <= worst and math.isfinite(norm) and newton < self.max_iterations:
            if norm <= max(tol, _rounding(operator, phi, residual)):
                return Solved(phi, residual, handle, newton, linear), True
            rtol = min(LOOSEST, max(SHARPEST, 0.3 * tol / norm))
            stencil = operator.linearise(residual, 1.0 / beta)
            handle, result = attempt(self.linear_solver, stencil, handle, -defect.ravel(), rtol)
            if result is None:
                return Solved(phi, residual, handle, newton, linear), False
            newton, linear = newton + 1, linear + result.iterations
            direction = result.x.reshape(phi.shape)
            direction -= direction.mean()
            size, found = 1.0, False
            while size >= SMALLEST_STEP and not found:
                trial = phi + size * direction
                value = operator.evaluate(trial, time)
                rest, trial_norm = _defect(value, trial, base, beta)
                found = trial_norm <= (1 - SLOPE * size) * norm
                size *= 0.5
            if not found:
                # the stencil is that of a rejected trial: no measure of rounding at phi
                return Solved(phi, residual, handle, newton, linear), False
            phi, residual, defect, norm = trial, value, rest, trial_norm
        done = math.isfinite(norm) and norm <= max(tol, _rounding(operator, phi, residual))
        return Solved(phi, residual, handle, newton, linear), done


def _defect(residual: Array, phi: Array, base: Array, beta: float) -> tuple[Array, float]:
    """h - (v - base) / beta without its mean, which the gauge takes up, and its rms."""
    defect = residual - (phi - base) / beta
    defect -= defect.mean()
    return defect, math.sqrt(float((defect * defect).mean()))


def _rounding(operator: ParabolicOperator, phi: Array, residual: Array) -> float:
    """rms of the rounding error of h: second differences of phi carry about eps times its range."""
    weights = operator.equation.stencil.weights
    steepness = float(np.sqrt(np.mean(np.square(2.0 * weights.sum(axis=1)))))
    return ROUNDING * (float(np.ptp(phi)) * steepness + float(np.abs(residual).max()))
