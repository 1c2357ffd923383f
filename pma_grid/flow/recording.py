"""`Recorder`: the fold that turns the states of a flow into a `Flow`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pma_grid.flow.flow import Flow, FlowReport, Snapshot
from pma_grid.flow.observables import Observable, bregman
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Explicit, Scheme
from pma_grid.kernels.compilation import CompileClock
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, Status, is_number, is_whole, versions

# Snapshots: every so many steps, or at given times.
Keep = int | np.integer[Any] | Sequence[float] | Array
# A snapshot is due this close before its time, relative to it: times are sums of steps.
TIME_ROUNDING = 1e-12


class _Album:
    """The snapshots of a flow: every so many steps, or at given times."""

    def __init__(self, keep: Keep) -> None:
        self._every, self._due = _checked_keep(keep)
        self.taken: list[Snapshot] = []

    def look_at(self, state: State, first: int) -> None:
        """Take a snapshot if one is due at this state of a flow that began at ``first``."""
        if self._is_due(state, first):
            volume = state.operator.problem.source.grid.cell_volume
            self.taken.append(Snapshot(state.time, state.masses / volume, state.potential))

    def _is_due(self, state: State, first: int) -> bool:
        if self._every:
            return (state.index - first) % self._every == 0
        due = False
        while self._due and state.time >= self._due[0] * (1 - TIME_ROUNDING):
            self._due.pop(0)
            due = True
        return due


class Recorder:
    """Takes the states of a flow one by one; `flow` gives what was recorded up to now.

    ``problem`` is the one given, whatever the side; ``record`` is what `observables.resolve` gives;
    ``stationary`` finds phi of the potential that the flow of a state ends in, for "bregman".
    ``state`` is the last one taken, and ``clock`` has to be entered while the flow runs.
    """

    def __init__(
        self,
        problem: Problem,
        scheme: Scheme,
        schedule: object,
        *,
        record: Mapping[str, Observable | None],
        stationary: Callable[[State], Array],
        side: str = "source",
        keep: Keep = (),
    ) -> None:
        self.problem, self.scheme, self.schedule, self.side = problem, scheme, schedule, side
        self._observables, self._stationary = dict(record), stationary
        self._times, self._step_sizes, self._rejected = list[float](), list[float](), 0
        self._series: dict[str, list[float]] = {name: [] for name in record}
        self._limits: dict[str, list[float]] = {}
        self._album = _Album(keep)
        # sums over the states where the steps evaluate h, weighted by the steps
        self._masses: Array | float = 0.0
        self._potential: Array | float = 0.0
        self._first, self._work_before, self._unit = 0, dict[str, int](), 1.0
        self.state: State | None = None
        self.clock, self._began = CompileClock(), time.perf_counter()

    def add(self, state: State) -> None:
        """Record a state."""
        before = self.state
        if before is None:
            self._begin(state)
        # first all that may raise or be interrupted, so that the series keep one length
        values = {name: _value(name, f, state) for name, f in self._observables.items()}
        for name, value in values.items():
            self._series[name].append(value)
        self._times.append(state.time)
        if before is not None:
            self._step_sizes.append(state.step.size)
            self._rejected += state.step.attempts - 1
            for weight, counted in zip(self.scheme.weights, (before, state), strict=True):
                if weight:
                    share = weight * state.step.size / self._unit
                    self._masses += share * counted.masses
                    self._potential += share * counted.potential
        self._album.look_at(state, self._first)
        if before is None:
            self._measure_limits(state)
        self.state = state

    def _begin(self, state: State) -> None:
        """Where counting starts, and the stationary potential if divergences to it are recorded."""
        self._first = state.index
        if "bregman" in self._observables and self._observables["bregman"] is None:
            self._observables["bregman"] = bregman(self._stationary(state))
        self._work_before = dict(state.operator.work)
        self._unit = state.operator.frame.unit  # of steps: their products with u stay in range

    def _measure_limits(self, state: State) -> None:
        """The two limits of explicit steps at a state."""
        if isinstance(self.scheme, Explicit):
            limits = self.scheme.limits(state)
            for name, value in zip(("convexity_limit", "stability_limit"), limits, strict=True):
                self._limits.setdefault(name, []).append(value)

    def flow(self, status: Status) -> Flow:
        """The flow up to the last state added."""
        state = self.state
        assert state is not None
        density = potential = None
        if self._step_sizes:
            total = sum(self._step_sizes) / self._unit
            volume = state.operator.problem.source.grid.cell_volume
            density = self._masses / total / volume
            potential = self._potential / total
            self._measure_limits(state)
        return Flow(
            scheme=self.scheme.name,
            times=np.array(self._times),
            step_sizes=np.array(self._step_sizes),
            series={name: np.array(values) for name, values in self._series.items()},
            status=status,
            problem=self.problem,
            side=self.side,
            first=self._first,
            weights=self.scheme.weights,
            smoothing=self._smoothing,
            eps=state.operator.eps,
            kernel=state.operator.kernel,
            potential=state.potential,
            average_density=density,
            average_potential=potential,
            snapshots=tuple(self._album.taken),
            stats=self._report(state),
        )

    @property
    def _smoothing(self) -> float:
        return float(self.scheme.smoothing) if isinstance(self.scheme, Explicit) else 0.0

    def _report(self, state: State) -> FlowReport:
        operator, handle = state.operator, state.handle
        measured: dict[str, Any] = {
            name: count - self._work_before[name] for name, count in operator.work.items()
        }
        measured |= self._limits
        return FlowReport(
            **measured,
            rejected=self._rejected,
            first_step=self._first,
            schedule=repr(self.schedule),
            scheme=repr(self.scheme),
            side=self.side,
            weights=list(self.scheme.weights),
            smoothing=self._smoothing,
            linear_solver="none" if handle is None else handle.name,
            eps=operator.eps,
            kernel=operator.kernel,
            narrow_kernel=operator.narrow_kernel,
            residual_norm=state.residual_norm,
            mass_constant=state.mass_constant,
            floors=operator.floors,
            seconds=time.perf_counter() - self._began - self.clock.seconds,
            compile_seconds=self.clock.seconds,
            versions=versions("pyamg"),
        )


def _value(name: str, function: Observable | None, state: State) -> float:
    """What an observable, which may be a user's function, says of a state."""
    assert function is not None
    value = function(state)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"record has {name}, which returned {value!r} at step {state.index}; observables "
            "return one number: reduce it, for example with .max()"
        ) from None


def _checked_keep(keep: Keep) -> tuple[int, list[float]]:
    """Every so many steps, or a list of times."""
    if is_whole(keep, 1):
        return int(keep), []  # type: ignore[arg-type]
    times: list[Any] = list(keep) if isinstance(keep, Iterable) else [None]
    if not all(is_number(t) and np.isfinite(t) for t in times):
        raise InvalidInputError(
            f"keep is {keep!r}; it must be a number of steps >= 1 or a sequence of times: "
            "for example keep=10 or keep=(0, 0.1, 1)"
        )
    return 0, sorted(times)
