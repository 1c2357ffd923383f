"""`LearnedRun`: one learned flow, from the affine map to what is learned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pma_grid.flow import schedules
from pma_grid.flow.beginning import begin
from pma_grid.flow.evolution import stationary_phi
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import Ends, gather, march
from pma_grid.flow.observables import CHEAP, Observable, resolve
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.settling import MOST_STEPS, growing, potential_unit, while_easy
from pma_grid.flow.state import State
from pma_grid.learning import observations
from pma_grid.learning.estimators import Estimator, limited
from pma_grid.learning.estimators.estimator import TINY_MASS
from pma_grid.learning.regret import EXACT_SERIES
from pma_grid.learning.steps import LearnedExplicit, LearnedImplicit, LearnedState, towards
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.problem.samples import Samples
from pma_grid.runtime import Array, ConvergenceError, Status
from pma_grid.stationary.solving import solve

# A flow towards one learned law ends where (sum mu hbar^2)^{1/2} is below this: KL of 5e-9, far
# below the error of what was learned.
SETTLED_RESIDUAL = 1e-4
# Steps that learn anew: their size over the product of the sides of the two boxes, and how many may
# pass without a larger held-out likelihood.
RELEARNED_STEP, PATIENCE_STEPS = 0.3, 3


@dataclass(frozen=True, eq=False)
class LearningOptions:
    """How a learned flow goes: the options of `fit` by these names."""

    relearn: bool = False
    explicit: bool = False
    schedule: Schedule | StateSchedule | None = None
    steps: int | None = None
    record: tuple[str | Observable, ...] = CHEAP

    @property
    def anew(self) -> bool:
        """Whether every step learns again, so that there is no one law to settle at."""
        return self.relearn or self.explicit

    @property
    def boosts(self) -> bool:
        """Whether held-out samples are to stop the flow."""
        return self.relearn and not self.explicit


@dataclass(frozen=True)
class Ended:
    """A learned flow, the problem of the law it ended with, and whether it got there."""

    flow: Flow
    learned: Problem
    settled: bool


@dataclass(frozen=True, eq=False)
class LearnedRun:
    """Everything of a learned flow but the points that it learns from; see `fit`.

    ``nu`` is the base law; ``truth`` is mu itself where it is known.
    """

    samples: Samples
    estimator: Estimator
    nu: Density
    truth: Density | None
    options: LearningOptions

    def with_estimator(self, estimator: Estimator) -> LearnedRun:
        """The same run with another estimator."""
        return dataclasses.replace(self, estimator=estimator)

    def with_steps(self, steps: int) -> LearnedRun:
        """The same run with another number of steps at most."""
        options = dataclasses.replace(self.options, steps=steps)
        return dataclasses.replace(self, options=options)

    def uniform(self) -> Array:
        """The cell masses that log mu is learned against at first: none is empty, whatever nu."""
        grid = self.samples.grid
        return np.full(grid.shape, 1.0 / grid.size)

    def flow(
        self, masses: Array, *, held_out: Array | None = None, progress: bool = False
    ) -> Ended:
        """The flow learned from ``masses``; held-out points end it where they stop to gain."""
        options = self.options
        learned = self.estimator.learn(masses, self.uniform(), self.samples.grid)
        state = self._begin(learned)
        scheme = self._scheme(masses, learned)
        schedule = options.schedule or self._default_schedule(state.operator.problem)
        recorder = Recorder(
            state.operator.problem, scheme, schedule,
            record=resolve(self._observables(masses, state, held_out)), stationary=_stationary,
        )  # fmt: skip
        ends = Ends(MOST_STEPS if options.steps is None else int(options.steps))
        states = march(state, scheme, schedule, ends)
        if not options.explicit:
            states = while_easy(states)
        ending = _until_settled(states) if held_out is None else _until_no_gain(states, held_out)
        flow = gather(ending, recorder, ends, progress=progress)
        last = recorder.state
        settled = not options.anew and _is_settled(last)
        if settled:
            flow = dataclasses.replace(flow, status=Status.CONVERGED)
        reached = last.learned if isinstance(last, LearnedState) else learned
        return Ended(flow, towards(reached, state.operator.problem), settled)

    def _scheme(self, masses: Array, learned: Array) -> LearnedImplicit | LearnedExplicit:
        """The steps that learn from ``masses``."""
        if self.options.explicit:
            return LearnedExplicit(self.estimator, masses)
        relearn = self.options.relearn
        return LearnedImplicit(self.estimator, masses, relearn=relearn, learned=learned)

    def _begin(self, learned: Array) -> State:
        """The affine map, compared with the truth or with what is learned first."""
        logs = learned
        if self.truth is not None:
            logs = limited(np.log(np.maximum(self.truth.relative, TINY_MASS)))
        mu = Density(np.exp(logs), self.samples.grid)
        return begin(Problem(mu, self.nu), None, "source", None)

    def _default_schedule(self, problem: Problem) -> Schedule:
        """Growing steps towards one law, constant ones where each learns anew."""
        if self.options.anew:
            return schedules.constant(RELEARNED_STEP * potential_unit(problem))
        return growing(problem)

    def _observables(
        self, masses: Array, start: State, held_out: Array | None
    ) -> list[str | Observable]:
        """What is recorded: as asked for, with the no-regret sums where the truth is known."""
        functions = list(self.options.record)
        if self.truth is not None:
            functions += [name for name in EXACT_SERIES if name not in functions]
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
    return inner is not None and inner.residual_norm <= SETTLED_RESIDUAL


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
    """States until the likelihood of held-out points has not risen for some steps."""
    score, best, waited = observations.held_out(held_out), -math.inf, 0
    for state in states:
        yield state
        value = score(state)
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited >= PATIENCE_STEPS:
            return
