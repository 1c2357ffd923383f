"""Newton's method for the shift form on one grid: inexact solves, backtracking line search."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.grid.lattice import Share
from pma_grid.linsolve import Handle, LinearResult, LinearSolver, attempt
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.errors import Status

# Reduction asked of a linear solve; Newton on these problems gains about that much a step anyway.
FORCING = 0.1
# Armijo: a step s must bring the rms residual below (1 - SLOPE s) of the last.
SLOPE = 0.05
SMALLEST_STEP = 1.0 / 40.0
# Linear solves of a grid that may miss their tolerance: their steps lead nowhere, and cost most.
UNSOLVED = 1
# Relative change of a residual, measured again, that makes a search worth repeating.
WALKED = 1e-3
# Stands for a residual that is no number: starts may be so wild that the shift form finds none.
BEYOND = sys.float_info.max
# After so many steps, or below this residual, images keep their superbases, and are renewed only as
# long as that leaves no more than this share of the residual before.
FREEZE_AFTER = 8
SETTLED = 1e-2
RENEWAL = 0.3


@dataclass(frozen=True)
class Record:
    """One Newton step (or the start of a level), as callbacks receive it.

    Attributes
    ----------
    level : tuple of int
        Shape of the grid.
    step : int
        0 is the state a level starts from.
    residual : float
        rms residual after the step.
    linear_iterations : int
    step_size : float
        Fraction of the Newton step taken.
    seconds : float
        Wall time since the solve began.
    """

    level: tuple[int, ...]
    step: int
    residual: float
    linear_iterations: int
    step_size: float
    seconds: float


@dataclass
class Iterate:
    """What evolves on one grid: potential, mass constant, linear-solver handle, how it ended."""

    phi: Array
    alpha: float
    residual: float = math.inf
    steps: int = 0
    renewing: bool = True
    linear_iterations: int = 0
    status: Status = Status.CONVERGED
    handle: Handle | None = None
    solvers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Newton:
    """Configuration of the iteration; `run` carries an `Iterate` to the tolerance."""

    linear_solver: LinearSolver
    max_iterations: int
    report: Callable[[Record], None]
    started: float

    def run(self, equation: MongeAmpere, source: Array, state: Iterate, tol: float) -> Iterate:
        """Iterate until the rms residual is below ``tol`` or a reason to stop is found."""
        state.residual = _rms(equation, state.phi, state.alpha)
        if equation.averaging:
            # images by the superbases of this potential, not of the one before
            state.residual = _rms(equation, state.phi, state.alpha)
        self._record(equation, state, 0, 1.0)
        unsolved = 0
        for _ in range(self.max_iterations):
            if state.residual <= tol:
                state.status = Status.CONVERGED
                return state
            if state.residual == BEYOND:
                state.status = Status.LINE_SEARCH_STALLED
                return state
            result = self._linear_solve(equation, source, state, tol)
            unsolved += result is not None and not result.converged
            if result is None or unsolved > UNSOLVED:
                equation.evaluate(state.phi, state.alpha)
                state.status = Status.LINEAR_SOLVER_STALLED
                return state
            direction = result.x.reshape(state.phi.shape)
            direction -= direction.mean()
            size = self._backtrack(equation, state, direction, -result.multiplier, tol)
            if size == 0 and self._measured_again(equation, state):
                size = self._backtrack(equation, state, direction, -result.multiplier, tol)
            state.steps += 1
            self._record(equation, state, result.iterations, size)
            if size == 0:
                state.status = Status.LINE_SEARCH_STALLED
                return state
        state.status = Status.CONVERGED if state.residual <= tol else Status.MAX_ITERATIONS
        return state

    def _linear_solve(
        self, equation: MongeAmpere, source: Array, state: Iterate, tol: float
    ) -> LinearResult | None:
        """The Newton direction, or None where the matrix is beyond the linear solver."""
        rtol = max(FORCING, min(0.5, 0.5 * tol / state.residual))
        with np.errstate(all="ignore"):  # an eta of zero: seen by the solver
            stencil = equation.linearise(source)
        state.handle, result = attempt(
            self.linear_solver, stencil, state.handle, equation.residual, rtol
        )
        if state.handle is not None and state.handle.name not in state.solvers:
            state.solvers += (state.handle.name,)
        if result is not None:
            state.linear_iterations += result.iterations
        return result

    def _backtrack(
        self, equation: MongeAmpere, state: Iterate, direction: Array, change: float, tol: float
    ) -> float:
        """Halve the step until the residual falls; returns the step taken, 0 if none was.

        Every trial walks on from the superbases of the state: walks depend on where they begin.
        """
        size, superbase = 1.0, equation.superbase.copy()
        while size >= SMALLEST_STEP:
            if size < 1.0:
                equation.restart(superbase)
            phi = _moved(equation, state.phi, direction, size)
            alpha = state.alpha + size * change
            # where no image counted, look whether one does now; else they are fixed in the search
            residual = equation.evaluate(phi, alpha, refresh=not equation.averaging)
            if residual <= (1 - SLOPE * size) * state.residual:
                settled = self._settled(state, residual)
                if equation.images is not None:
                    equation.images.settled = settled
                if equation.averaging and state.renewing and not (settled and residual <= tol):
                    residual = _rms(equation, phi, alpha)
                    state.renewing = not settled or residual <= RENEWAL * state.residual
                state.phi, state.alpha, state.residual = phi, alpha, residual
                return size
            size *= 0.5
        equation.restart(superbase)
        return 0.0

    @staticmethod
    def _measured_again(equation: MongeAmpere, state: Iterate) -> bool:
        """Whether the residual to fall below is larger with images as the search has them."""
        before = state.residual
        state.residual = equation.evaluate(state.phi, state.alpha, refresh=False)
        return state.residual > (1 + WALKED) * before

    @staticmethod
    def _settled(state: Iterate, residual: float) -> bool:
        """Whether images may stay as they are, if renewing them adds more than a step gains."""
        return state.steps >= FREEZE_AFTER or (residual < SETTLED and state.steps > 0)

    def _record(self, equation: MongeAmpere, state: Iterate, linear: int, size: float) -> None:
        self.report(
            Record(
                level=equation.lattice.shape,
                step=state.steps,
                residual=state.residual,
                linear_iterations=linear,
                step_size=size,
                seconds=time.perf_counter() - self.started,
            )
        )


def _rms(equation: MongeAmpere, phi: Array, alpha: float) -> float:
    """The rms residual with images renewed, a finite number."""
    residual = equation.evaluate(phi, alpha)
    return residual if math.isfinite(residual) else BEYOND


def _moved(equation: MongeAmpere, phi: Array, direction: Array, size: float) -> Array:
    """phi + size direction, by shares of the rows."""
    out, values, change = np.empty_like(direction), phi.ravel(), direction.ravel()
    flat = out.ravel()

    def task(share: Share) -> None:
        np.multiply(change[share.cells], size, out=flat[share.cells])
        flat[share.cells] += values[share.cells]

    equation.lattice.share(task)
    return out
