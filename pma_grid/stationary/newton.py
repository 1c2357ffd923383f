"""Newton's method for the shift form on one grid: inexact solves, backtracking line search."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.images import Renewal
from pma_grid.grid.lattice import Share
from pma_grid.linsolve import Handle, LinearResult, LinearSolver, attempt
from pma_grid.linsolve.line_search import armijo, backtrack
from pma_grid.runtime import Array, Status

# Reduction asked of a linear solve; Newton on these problems gains about that much a step anyway.
LINEAR_REDUCTION = 0.1
# Armijo: share of the fall promised by the linearisation that a step must bring.
ARMIJO_SLOPE = 0.05
SMALLEST_STEP = 1.0 / 40.0
# Linear solves of a grid that may miss their tolerance: their steps lead nowhere, and cost most.
MOST_UNSOLVED = 1
# Relative rise of a residual, measured again, that makes a search worth repeating.
REMEASURED_RISE = 1e-3
# Stands for a residual that is no number: starts may be so wild that the shift form finds none.
NO_RESIDUAL = sys.float_info.max
# Images are settled after so many steps, or below this residual: from then on they keep their
# superbases, and are renewed only as long as that leaves no more than this share of the residual.
SETTLED_AFTER_STEPS = 8
SETTLED_RESIDUAL = 1e-2
RENEWAL_SHARE = 0.3


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
    settled: bool = False
    renewing: bool = True
    linear_iterations: int = 0
    status: Status = Status.CONVERGED
    handle: Handle | None = None
    solvers: tuple[str, ...] = ()

    @property
    def renewal(self) -> Renewal:
        """What evaluations make anew of the images."""
        return Renewal.SAMPLES if self.settled else Renewal.BASES


@dataclass(frozen=True)
class Newton:
    """Configuration of the iteration; `run` carries an `Iterate` to the tolerance."""

    linear_solver: LinearSolver
    max_iterations: int
    report: Callable[[Record], None]
    started: float

    def run(
        self, evaluation: Evaluation, state: Iterate, tol: float, *, tails: float = 0.0
    ) -> Iterate:
        """Iterate until the rms residual is below ``tol`` or a reason to stop is found.

        Where it is below ``tails``, ``tol`` is asked of the residual weighted by mass.
        """
        state.residual = _rms(evaluation, state)
        if evaluation.averaging:
            # images by the superbases of this potential, not of the one before
            state.residual = _rms(evaluation, state)
        self._record(evaluation, state, 0, 1.0)

        def solved() -> bool:
            here = state.residual
            return here <= tol or (here <= tails and evaluation.weighted_rms() <= tol)

        unsolved = 0
        for _ in range(self.max_iterations):
            if solved():
                break
            if state.residual == NO_RESIDUAL:
                return _stopped(state, Status.LINE_SEARCH_STALLED)
            result = self._linear_solve(evaluation, state, tol)
            unsolved += result is not None and not result.converged
            if result is None or unsolved > MOST_UNSOLVED:
                evaluation.evaluate(state.phi, state.alpha, state.renewal)
                return _stopped(state, Status.LINEAR_SOLVER_STALLED)
            direction = result.x.reshape(state.phi.shape)
            direction -= direction.mean()
            step = direction, -result.multiplier
            size = _search(evaluation, state, step, tol)
            if size == 0 and _rose(evaluation, state):
                size = _search(evaluation, state, step, tol)
            state.steps += 1
            self._record(evaluation, state, result.iterations, size)
            if size == 0:
                return _stopped(state, Status.LINE_SEARCH_STALLED)
        return _stopped(state, Status.CONVERGED if solved() else Status.MAX_ITERATIONS)

    def _linear_solve(
        self, evaluation: Evaluation, state: Iterate, tol: float
    ) -> LinearResult | None:
        """The Newton direction, or None where the matrix is beyond the linear solver."""
        rtol = max(LINEAR_REDUCTION, min(0.5, 0.5 * tol / state.residual))
        with np.errstate(all="ignore"):  # an eta of zero: seen by the solver
            stencil = evaluation.linearise()
        state.handle, result = attempt(
            self.linear_solver, stencil, state.handle, evaluation.residual, rtol
        )
        if state.handle is not None and state.handle.name not in state.solvers:
            state.solvers += (state.handle.name,)
        if result is not None:
            state.linear_iterations += result.iterations
        return result

    def _record(self, evaluation: Evaluation, state: Iterate, linear: int, size: float) -> None:
        self.report(
            Record(
                level=evaluation.lattice.shape,
                step=state.steps,
                residual=state.residual,
                linear_iterations=linear,
                step_size=size,
                seconds=time.perf_counter() - self.started,
            )
        )


def _stopped(state: Iterate, status: Status) -> Iterate:
    """The iterate with the reason why it ends there."""
    state.status = status
    return state


def _search(evaluation: Evaluation, state: Iterate, step: tuple[Array, float], tol: float) -> float:
    """Take as much of a Newton step as lowers the residual; returns the fraction, 0 for none.

    Every trial walks on from the superbases of the state: walks depend on where they begin.
    """
    direction, change = step
    superbase = evaluation.superbase.copy()

    def trial(size: float) -> tuple[Array, float, float]:
        if size < 1.0:
            evaluation.restart(superbase)
        phi = _moved(evaluation, state.phi, direction, size)
        alpha = state.alpha + size * change
        # where no image counted, look whether one does now; else they are fixed in the search
        renew = Renewal.NOTHING if evaluation.averaging else state.renewal
        return phi, alpha, evaluation.evaluate(phi, alpha, renew)

    found = backtrack(
        trial, itemgetter(2), armijo(state.residual, ARMIJO_SLOPE), smallest=SMALLEST_STEP
    )
    if found is None:
        evaluation.restart(superbase)
        return 0.0
    size, (state.phi, state.alpha, residual) = found
    _accept(evaluation, state, residual, tol)
    return size


def _accept(evaluation: Evaluation, state: Iterate, residual: float, tol: float) -> None:
    """The residual that counts after a step: with images renewed, while that still helps."""
    state.settled = state.steps >= SETTLED_AFTER_STEPS or (
        residual < SETTLED_RESIDUAL and state.steps > 0
    )
    if evaluation.averaging and state.renewing and not (state.settled and residual <= tol):
        residual = _rms(evaluation, state)
        state.renewing = not state.settled or residual <= RENEWAL_SHARE * state.residual
    state.residual = residual


def _rose(evaluation: Evaluation, state: Iterate) -> bool:
    """Whether the residual to fall below is larger with images as the search has them."""
    before = state.residual
    state.residual = evaluation.evaluate(state.phi, state.alpha, Renewal.NOTHING)
    return state.residual > (1 + REMEASURED_RISE) * before


def _rms(evaluation: Evaluation, state: Iterate) -> float:
    """The rms residual with images renewed, a finite number."""
    residual = evaluation.evaluate(state.phi, state.alpha, state.renewal)
    return residual if math.isfinite(residual) else NO_RESIDUAL


def _moved(evaluation: Evaluation, phi: Array, direction: Array, size: float) -> Array:
    """phi + size direction, by shares of the rows."""
    out, values, change = np.empty_like(direction), phi.ravel(), direction.ravel()
    flat = out.ravel()

    def task(share: Share) -> None:
        np.multiply(change[share.cells], size, out=flat[share.cells])
        flat[share.cells] += values[share.cells]

    evaluation.lattice.share(task)
    return out
