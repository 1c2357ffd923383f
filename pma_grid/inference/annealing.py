"""The flow of `infer`: towards laws whose thinnest cells are raised, less and less.

A posterior falls by many nats in its box.  Where det D2u must become e^{-14}, Newton's method for a
step from the affine map is lost; where all but the highest cells are raised it is not, and from
there each further nat costs a step or two.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from pma_grid import schedules
from pma_grid.beginning import begin
from pma_grid.density import Density
from pma_grid.equilibrium import stationary_phi
from pma_grid.errors import ConvergenceError, Status
from pma_grid.flow import Flow, State
from pma_grid.grid import Grid
from pma_grid.inference.evidence import bounds, conjugate_bounds
from pma_grid.lattice import Array
from pma_grid.marching import gather, march
from pma_grid.observables import CHEAP, Observable, resolve
from pma_grid.problem import Problem
from pma_grid.recording import Recorder
from pma_grid.schedules import Schedule, StateSchedule
from pma_grid.stepping import ImplicitEuler

# Cells so many nats below the largest are raised to it, stage by stage: the last leaves of a
# Gaussian in the plane 2e-5 of its mass in cells that were raised.
DEPTHS = (8.0, 9.2, 10.4, 11.6, 12.8, 14.0)
# Residual at which the next stage begins.
STAGE_TOL = 1e-3
# Step sizes over the product of the sides of the two boxes: from the affine map, and from the end
# of a stage; they grow by the factor up to the longest.
FIRST, LATER, RATIO, LONGEST = 1e-3, 0.1, 3.0, 3.0
MOST_STEPS = 60
# A stage one of whose steps was tried so often, or took so many Newton iterations, is given up: the
# one before is carried to its end.
MOST_ATTEMPTS, MOST_NEWTON = 3, 60


@dataclass(frozen=True)
class Annealed:
    """A flow, the problem that it ended with, and how that law was raised.

    Attributes
    ----------
    flow : Flow
        "evidence_lower" and "evidence_upper" are those of the law it ended with, at every step;
        "kl" and the like refer to the law of the stage.
    problem : Problem
    depth : float
        Nats below the largest cell at which cells were raised.
    limit : float
        log of the sum of the masses, raised ones included.
    """

    flow: Flow
    problem: Problem
    depth: float
    limit: float


@dataclass(eq=False)
class Annealing:
    """Log cell masses of a posterior, a base law, and how to step; `flow` runs it."""

    logs: Array
    grid: Grid
    nu: Density
    side: str = "source"
    schedule: Schedule | StateSchedule | None = None
    steps: int | None = None
    tol: float = 1e-5
    depth: float = DEPTHS[0]
    stages: list[tuple[float, int]] = field(default_factory=list)

    def raised(self, depth: float) -> Array:
        """Log masses with no cell further below the largest than ``depth``."""
        return np.maximum(self.logs, self.logs.max() - depth)

    def problem(self, depth: float) -> Problem:
        """Transport of the raised law to the base law."""
        logs = self.raised(depth)
        return Problem(Density(np.exp(logs - logs.max()), self.grid), self.nu)

    def flow(self, progress: bool) -> Annealed:
        """Run all stages, or as many as can be solved."""
        recorder = Recorder(
            self.problem(DEPTHS[-1]), ImplicitEuler(), repr(self.schedule or "annealed"), self.side,
            resolve([*CHEAP, *self._observables()]), (), stationary=stationary_phi,
        )  # fmt: skip
        flow = gather(
            self._states(), recorder, steps=self.steps, time=None, tol=self.tol, progress=progress,
            met=lambda _: Status.CONVERGED,
        )  # fmt: skip
        problem = self.problem(self.depth)
        series = {name: values for name, values in flow.series.items() if ":" not in name}
        for name in ("evidence_lower", "evidence_upper"):
            series[name] = flow.series[f"{name}:{self.depth:g}"]
        stages = [{"depth": depth, "first_step": index} for depth, index in self.stages]
        flow = dataclasses.replace(
            flow, problem=problem, series=series, stats=flow.stats | {"stages": stages}
        )
        return Annealed(flow, problem, self.depth, float(logsumexp(self.raised(self.depth))))

    def _observables(self) -> Iterator[Observable]:
        """The bounds for every depth that the flow may end with."""
        for depth in DEPTHS:
            logs = self.raised(depth)
            limit = float(logsumexp(logs))
            pair = bounds(logs) if self.side == "source" else conjugate_bounds(limit)
            for function in pair:
                function.__name__ += f":{depth:g}"
                yield function

    def _states(self) -> Iterator[State]:
        """The states of all stages, one after the other."""
        self.stages.clear()
        state: State | None = None
        for depth in DEPTHS:
            last = depth == DEPTHS[-1]
            states = self._stage(depth, state, self.tol if last else STAGE_TOL)
            if state is None:
                self.depth = depth
                self.stages.append((depth, 0))
                for state in states:
                    yield state
                continue
            solved = _solved(states)
            if solved is None:
                yield from list(self._stage(self.depth, state, self.tol))[1:]
                return
            self.depth = depth
            self.stages.append((depth, state.index))
            # the first of them is the last of the stage before
            yield from solved[1:]
            state = solved[-1]

    def _stage(self, depth: float, state: State | None, tol: float) -> Iterator[State]:
        """States towards one law."""
        first = begin(self.problem(depth), state, self.side, None)
        most = MOST_STEPS if self.steps is None else max(0, self.steps - first.index)
        scheme = ImplicitEuler()
        scheme = dataclasses.replace(scheme, atol=min(scheme.atol, 0.1 * tol))
        return march(first, scheme, self._schedule(state), steps=most, time=None, tol=tol)

    def _schedule(self, state: State | None) -> Schedule | StateSchedule:
        """The one given, or growing steps from the beginning of the stage."""
        if self.schedule is not None:
            return self.schedule
        unit = math.prod(grid.volume ** (1 / grid.dim) for grid in (self.grid, self.nu.grid))
        if state is None:
            return schedules.geometric(FIRST * unit, RATIO, LONGEST * unit)
        later, begun = schedules.geometric(LATER * unit, RATIO, LONGEST * unit), state.index
        return lambda k, t, norm: later(k - begun, t, norm)


def _solved(states: Iterator[State]) -> list[State] | None:
    """All states of a stage, or None where a step was hard or failed."""
    kept: list[State] = []
    try:
        for state in states:
            kept.append(state)
            if state.step.attempts > MOST_ATTEMPTS or state.step.newton > MOST_NEWTON:
                return None
    except ConvergenceError:
        return None
    return kept
