"""Mirror steps along a learned direction, with what they are off by.

A step needs log(rho_k / mu), of which rho_k is known on the grid and mu through points alone.  An
estimator learns log mu given rho_k; the direction is log rho - that.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import logsumexp

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Explicit, ImplicitEuler, parabolic, start
from pma_grid.learning.estimators.estimator import Learns
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, LostConvexityError
from pma_grid.transport.pullback import normalised


@dataclass(frozen=True, eq=False, kw_only=True)
class LearnedState(State):
    """A state of a flow that a learned step led to, with what was learned on the way.

    Attributes
    ----------
    direction : ndarray, shape ``source.shape``
        What the step moved u along, per unit of its size: log(rho / mu_hat), normalised, where
        mu_hat is the learned law.
    error : ndarray
        direction - log(rho / mu), where mu is the reference law of the operator.
    rho : ndarray
        The cell masses that both are taken at: of the new state for implicit steps, of the old one
        for explicit ones.
    learned : ndarray
        log mu_hat at the cells, up to a constant.
    inner : State or None
        The same u as a state of the flow towards mu_hat, which is the one that implicit steps
        solve; None for explicit steps.
    """

    direction: Array
    error: Array
    rho: Array
    learned: Array
    inner: State | None = None


@dataclass(frozen=True, eq=False)
class LearnedImplicit:
    """Implicit steps u_{k+1} = u_k + eta log(rho_{k+1} / mu_hat_k) along a learned direction.

    Potentials stay convex without a guard.  With the learned h_k = log(rho_k / mu_hat_k) this is
    one implicit step of the parabolic equation whose source is f_hat = h_k - log rho_k.  Noise of
    the estimate enters as a source term and is smoothed by the step; explicit steps differentiate
    it twice, step after step.

    Parameters
    ----------
    estimator : Estimator
        What learns log mu_hat; its strength must be set, see `pma_grid.learning.select`.
    masses : ndarray, shape ``source.shape``
        Shares of the points in the cells.
    relearn : bool
        Whether to learn again before every step, relative to the rho reached, or once, at the
        start.  Learning again is boosting: it overfits unless it is stopped.
    learned : ndarray, optional
        log mu_hat, learned beforehand; None: it is learned against the rho of the first state.
    solver : ImplicitEuler
        The implicit scheme that takes the steps.
    """

    estimator: Learns
    masses: Array
    relearn: bool = False
    learned: Array | None = None
    solver: ImplicitEuler = field(default_factory=ImplicitEuler)

    name = "learned_implicit"
    order = 1
    weights = (0.0, 1.0)

    def step(self, state: State, step_size: float) -> State | None:
        """One step of size eta."""
        begin, learned = self._begin(state)
        inner = self.solver.step(begin, step_size)
        if inner is None:
            return None
        reference = parabolic(state)
        reference.follow(parabolic(inner))  # rho is one, whatever it is compared with
        residual = reference.evaluate(inner.phi, inner.time)
        rho, log_ratio, _ = normalised(reference.masses, residual)
        mean = float(residual.mean())
        outer = dataclasses.replace(
            inner, residual=residual, slope=residual - mean, gauge_rate=mean,
            operator=reference, handle=None,
        )  # fmt: skip
        return _as_learned(
            outer, direction=inner.log_ratio, error=inner.log_ratio - log_ratio, rho=rho,
            learned=learned, inner=inner,
        )  # fmt: skip

    def _begin(self, state: State) -> tuple[State, Array]:
        """The state as one of the flow towards mu_hat, and log mu_hat."""
        before = None
        if isinstance(state, LearnedState):
            if state.inner is not None and not self.relearn:
                return state.inner, state.learned
            before = state.learned
        learned = self.learned
        if learned is None or self.relearn:
            grid = state.operator.problem.source.grid
            learned = self.estimator.learn(self.masses, state.masses, grid, start=before)
        operator = ParabolicOperator(towards(learned, state.operator.problem))
        operator.follow(parabolic(state))
        operator.work = state.operator.work  # one count for all flows of this one
        return start(operator, state.phi, state.offset, state.time, state.index), learned

    def __repr__(self) -> str:
        return f"LearnedImplicit({self.estimator!r}, relearn={self.relearn})"


@dataclass(frozen=True, eq=False)
class LearnedExplicit:
    """Explicit steps u_{k+1} = u_k + eta log(rho_k / mu_hat_k) along a learned direction.

    A cap on eta keeps them convex.  They are there for comparison: D2 of the learned direction is
    noise that log det D2u feeds back, so that the largest convex step soon falls to nothing.

    Parameters
    ----------
    estimator, masses
        As for `LearnedImplicit`.
    relearn : bool
        Whether to learn again before every step, which is the default here.
    """

    estimator: Learns
    masses: Array
    relearn: bool = True

    name = "learned_explicit"
    order = 1
    weights = (1.0, 0.0)

    def step(self, state: State, step_size: float) -> State | None:
        """One step of size eta, or of .9 of the largest that keeps u convex."""
        learned = state.learned if isinstance(state, LearnedState) else None
        if learned is None or self.relearn:
            grid = state.operator.problem.source.grid
            learned = self.estimator.learn(self.masses, state.masses, grid, start=learned)
        log_rho = np.log(state.operator.masses) + state.log_ratio  # masses may underflow
        direction = log_rho - (learned - logsumexp(learned))
        try:
            new = Explicit(cap="convexity").along(state, direction, step_size)
        except LostConvexityError:  # the cap looks at centred differences: a shorter step, then
            return None
        return _as_learned(
            new, direction=direction, error=direction - state.log_ratio, rho=state.masses,
            learned=learned,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"LearnedExplicit({self.estimator!r}, relearn={self.relearn})"


def towards(learned: Array, problem: Problem) -> Problem:
    """The problem whose source is exp(learned), normalised."""
    grid = problem.source.grid
    return Problem(Density(np.exp(learned - learned.max()), grid), problem.target)


def _as_learned(state: State, **learned: Any) -> LearnedState:
    """A state with what was learned on the way to it."""
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(State)}
    return LearnedState(**fields, **learned)
