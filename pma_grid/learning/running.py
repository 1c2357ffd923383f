"""`LearnedRun`: one learned flow, from the affine map to what is learned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pma_grid.flow import schedules
from pma_grid.flow.beginning import begin
from pma_grid.flow.ends import Ends
from pma_grid.flow.equilibrium import stationary_phi
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import gather, march, while_easy
from pma_grid.flow.observables import Observable, resolve
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.state import State
from pma_grid.learning import observations
from pma_grid.learning.estimators import Estimator, limited
from pma_grid.learning.steps import LearnedExplicit, LearnedImplicit, LearnedState, towards
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.problem.samples import Samples
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.errors import ConvergenceError, Status
from pma_grid.stationary.solving import solve

# A flow towards one learned law ends where (sum mu hbar^2)^{1/2} is below this: KL of 5e-9, far
# below the error of what was learned.
SETTLED = 1e-4
# Step sizes of the default schedule over the product of the sides of the two boxes.
FIRST, RATIO, LONGEST = 1e-2, 3.0, 3.0
MOST_STEPS = 60
# A flow whose steps must be halved more often than this is left to `solve`, which takes grids from
# coarse to fine.
HALVINGS = 2
# Steps that learn anew: their size, and how many may pass without a larger held-out likelihood.
ANEW, PATIENCE = 0.3, 3
# Zeros have no logarithm.
SMALLEST = 1e-300
# Of the observables that exact flows have too, what the no-regret sums need.
SUMS = ("symmetrised_kl", "bregman", "forward_divergence", "backward_divergence")


@dataclass(frozen=True)
class Ended:
    """A learned flow, the problem of the law it ended with, and whether it got there."""

    flow: Flow
    learned: Problem
    settled: bool


@dataclass(frozen=True, eq=False)
class LearnedRun:
    """Everything of a learned flow but the points that it learns from; see `fit`."""

    samples: Samples
    estimator: Estimator
    nu: Density
    truth: Density | None = None
    relearn: bool = False
    explicit: bool = False
    schedule: Schedule | StateSchedule | None = None
    record: tuple[str | Observable, ...] = ()

    def with_estimator(self, estimator: Estimator) -> LearnedRun:
        """The same run with another estimator."""
        return dataclasses.replace(self, estimator=estimator)

    def uniform(self) -> Array:
        """The cell masses that log mu is learned against at first: none is empty, whatever nu."""
        grid = self.samples.grid
        return np.full(grid.shape, 1.0 / grid.size)

    def flow(
        self,
        masses: Array,
        *,
        held_out: Array | None = None,
        steps: int | None = None,
        progress: bool = False,
    ) -> Ended:
        """The flow learned from ``masses``; held-out points end it where they stop to gain."""
        learned = self.estimator.learn(masses, self.uniform(), self.samples.grid)
        state = self._begin(learned)
        anew = self.relearn or self.explicit
        scheme: LearnedImplicit | LearnedExplicit
        if self.explicit:
            scheme = LearnedExplicit(self.estimator, masses)
        else:
            scheme = LearnedImplicit(self.estimator, masses, relearn=anew, learned=learned)
        schedule = self.schedule or self._default_schedule(anew)
        recorder = Recorder(
            state.operator.problem, scheme, schedule,
            record=resolve(self._observables(masses, state, held_out)), stationary=_stationary,
        )  # fmt: skip
        ends = Ends(MOST_STEPS if steps is None else int(steps))
        states = march(state, scheme, schedule, ends)
        if not self.explicit:
            states = while_easy(states, HALVINGS)
        ending = _until_settled(states) if held_out is None else _until_no_gain(states, held_out)
        flow = gather(ending, recorder, ends, met=_as_it_ends, progress=progress)
        last = recorder.state
        settled = not anew and _is_settled(last)
        if settled:
            flow = dataclasses.replace(flow, status=Status.CONVERGED)
        reached = last.learned if isinstance(last, LearnedState) else learned
        return Ended(flow, towards(reached, state.operator.problem), settled)

    def _begin(self, learned: Array) -> State:
        """The affine map, compared with the truth or with what is learned first."""
        logs = learned
        if self.truth is not None:
            logs = limited(np.log(np.maximum(self.truth.values, SMALLEST)))
        mu = Density(np.exp(logs), self.samples.grid)
        return begin(Problem(mu, self.nu), None, "source", None)

    def _default_schedule(self, anew: bool) -> Schedule:
        """Steps in units of the product of the two boxes' sides, the unit of potentials."""
        grids = (self.samples.grid, self.nu.grid)
        unit = math.prod(grid.volume ** (1 / grid.dim) for grid in grids)
        if anew:
            return schedules.constant(ANEW * unit)
        return schedules.geometric(FIRST * unit, RATIO, LONGEST * unit)

    def _observables(
        self, masses: Array, start: State, held_out: Array | None
    ) -> list[str | Observable]:
        """What is recorded: as asked for, with the no-regret sums where the truth is known."""
        functions = list(self.record)
        if self.truth is not None:
            functions += [name for name in SUMS if name not in functions]
            functions += [
                observations.learned_error, observations.learned_bias,
                observations.learned_bias_bound, observations.learned_regret,
                observations.empirical_regret(masses),
                observations.semidual_fall(masses, start.phi),
            ]  # fmt: skip
        if held_out is not None:
            functions.append(observations.held_out(held_out))
        return functions


def _is_settled(state: State | None) -> bool:
    """Whether the flow towards the law learned has come to rest."""
    inner = state.inner if isinstance(state, LearnedState) else None
    return inner is not None and inner.residual_norm <= SETTLED


def _until_settled(states: Iterator[State]) -> Iterator[State]:
    """States up to the first at rest."""
    for state in states:
        yield state
        if _is_settled(state):
            return


def _stationary(state: State) -> Array:
    """phi of the reference's solution: to rounding, or as sharp as `solve` has it."""
    try:
        return stationary_phi(state)
    except ConvergenceError:
        return solve(state.operator.problem, averaging=False).phi


def _until_no_gain(states: Iterator[State], held_out: Array) -> Iterator[State]:
    """States until the likelihood of held-out points has not risen for PATIENCE steps."""
    score, best, waited = observations.held_out(held_out), -math.inf, 0
    for state in states:
        yield state
        value = score(state)
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited >= PATIENCE:
            return


def _as_it_ends(_: State) -> Status:
    """What `gather` asks where a tolerance is met; learned flows look at their inner state."""
    return Status.COMPLETED
