"""`Recorder`: the fold that turns the states of a flow into a `Flow`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pma_grid.flow.flow import Flow, Snapshot
from pma_grid.flow.observables import Observable, bregman
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Explicit, Scheme
from pma_grid.kernels.compilation import CompileClock
from pma_grid.problem.problem import Problem
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.checks import is_number, is_whole
from pma_grid.runtime.errors import InvalidInputError, Status
from pma_grid.runtime.versions import versions

# Snapshots: every so many steps, or at given times.
Keep = int | np.integer[Any] | Sequence[float] | Array


class Recorder:
    """Takes states one by one; `flow` gives what was recorded up to now.

    ``stationary`` gives phi of the potential that the flow of a state ends in; it is called if the
    divergence to it is recorded.  ``facts`` go into the statistics as they are.
    """

    def __init__(
        self,
        problem: Problem,
        scheme: Scheme,
        schedule: str,
        side: str,
        record: Mapping[str, Observable | None],
        keep: Keep,
        *,
        stationary: Callable[[State], Array],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem, self.scheme, self.side = problem, scheme, side
        self._stationary, self._facts = stationary, dict(facts or {})
        self.clock = CompileClock()
        self.state: State | None = None
        self._first = 0
        self._schedule = schedule
        self._record = dict(record)
        self._series: dict[str, list[float]] = {name: [] for name in record}
        self._times: list[float] = []
        self._sizes: list[float] = []
        self._rejected = 0
        self._work: dict[str, int] = {}
        self._sums: tuple[Array, Array] | None = None
        self._snapshots: list[Snapshot] = []
        self._every, self._due = _checked_keep(keep)
        self._limits: dict[str, list[float]] = {}
        self._began = time.perf_counter()

    def add(self, state: State) -> None:
        """Record a state."""
        if self.state is None:
            self._first = state.index
            self._resolve_reference(state)
            self._work = dict(state.operator.work)
        # first all that may raise or be interrupted, so that the series keep one length
        values = {name: _value(name, function, state) for name, function in self._record.items()}
        for name, value in values.items():
            self._series[name].append(value)
        self._times.append(state.time)
        if self.state is not None:
            self._accumulate(self.state, state)
        if self._is_due(state):
            volume = state.operator.problem.source.grid.cell_volume
            self._snapshots.append(Snapshot(state.time, state.masses / volume, state.potential))
        if self.state is None:
            self._limit(state)
        self.state = state

    def _resolve_reference(self, state: State) -> None:
        """Find the stationary potential if the divergence to it is recorded."""
        if "bregman" in self._record and self._record["bregman"] is None:
            self._record["bregman"] = bregman(self._stationary(state))

    def _accumulate(self, old: State, new: State) -> None:
        """Counts and the weighted sums of densities and potentials."""
        step = new.step
        self._sizes.append(step.size)
        self._rejected += step.attempts - 1
        if self._sums is None:
            zeros = np.zeros(new.phi.shape)
            self._sums = (zeros, zeros.copy())
        for weight, state in zip(self.scheme.weights, (old, new), strict=True):
            if weight:
                self._sums[0][...] += weight * step.size * state.masses
                self._sums[1][...] += weight * step.size * state.potential

    def _is_due(self, state: State) -> bool:
        """Whether a snapshot is wanted here."""
        if self._every:
            return (state.index - self._first) % self._every == 0
        due = False
        while self._due and state.time >= self._due[0] * (1 - 1e-12):
            self._due.pop(0)
            due = True
        return due

    def _limit(self, state: State) -> None:
        """The two limits of explicit steps at a state."""
        if isinstance(self.scheme, Explicit):
            limits = self.scheme.limits(state)
            for name, value in zip(("convexity_limit", "stability_limit"), limits, strict=True):
                self._limits.setdefault(name, []).append(value)

    def flow(self, status: Status) -> Flow:
        """The flow up to the last state added."""
        state = self.state
        assert state is not None
        total = sum(self._sizes)
        averages: tuple[Array | None, Array | None] = (None, None)
        if self._sums is not None:
            volume = state.operator.problem.source.grid.cell_volume
            averages = self._sums[0] / (total * volume), self._sums[1] / total
        if self._sizes:
            self._limit(state)
        return Flow(
            scheme=self.scheme.name,
            times=np.array(self._times),
            step_sizes=np.array(self._sizes),
            series={name: np.array(values) for name, values in self._series.items()},
            status=status,
            problem=self.problem,
            stats=self._statistics(state),
            potential=state.potential,
            average_density=averages[0],
            average_potential=averages[1],
            snapshots=tuple(self._snapshots),
        )

    def _statistics(self, state: State) -> dict[str, Any]:
        handle = state.handle
        return {
            **{name: count - self._work[name] for name, count in state.operator.work.items()},
            "rejected": self._rejected,
            "first_step": self._first,
            "schedule": self._schedule,
            "scheme": repr(self.scheme),
            "side": self.side,
            "weights": list(self.scheme.weights),
            "smoothing": float(getattr(self.scheme, "smoothing", 0.0)),
            "linear_solver": handle.name if handle is not None else "none",
            **self._facts,
            "residual_norm": state.residual_norm,
            "mass_constant": state.mass_constant,
            **self._limits,
            "floors": state.operator.floors,
            "seconds": time.perf_counter() - self._began - self.clock.seconds,
            "compile_seconds": self.clock.seconds,
            "versions": versions("pyamg"),
        }


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
