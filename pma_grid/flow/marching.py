"""The one time loop of all flows, its `Ends`, and what folds it into a `Flow` (`gather`)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pma_grid.flow.flow import Flow
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Scheme
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import (
    ConvergenceError,
    EvolutionInterrupted,
    InvalidInputError,
    LostConvexityError,
    Status,
    check_not_negative,
    check_whole,
    is_number,
)
from pma_grid.runtime.progress import time_bar

# A step that cannot be solved is halved this often before the flow gives up.
MOST_HALVINGS = 30
# Factor by which a step may exceed the last one, where that had to be shortened.
REGROWTH = 4.0
# A step below this share of what the schedule asks for means that the flow gets nowhere.
SMALLEST_SHARE = 1e-4
# A step that ends this close to the final time, in steps, ends there: times are rounded sums.
END_SLACK_STEPS = 1e-9
# A flow that is to end at a residual gives up after so many steps in a row that do not lower it by
# this share: what is left then is rounding.
PATIENCE_STEPS, LEAST_FALL = 100, 1e-9
# Longest step, in units of potentials, the product of the longest sides of both boxes: all that
# happens has happened long before.
LONGEST_STEP_UNITS = 1e15


@dataclass(frozen=True)
class Ends:
    """The ends of a flow as `evolve` takes them: the first one reached counts, None is no end."""

    steps: int | None = None
    time: float | None = None
    tol: float | None = None

    def check(self) -> Ends:
        """The ends themselves, if their kinds and ranges are right."""
        steps = self.steps
        if isinstance(steps, float) and steps.is_integer():
            steps = int(steps)  # 1e3 is as good as 1000
        if steps is not None:
            check_whole(steps, 0, "steps", "say 100")
        for name, value in (("time", self.time), ("tol", self.tol)):
            if value is not None:
                check_not_negative(value, name, "say 0.1")
        return self

    def check_one_is_given(self) -> None:
        """Refuse ends that are none: a recorded flow has to stop."""
        if self == Ends():
            raise InvalidInputError(
                "steps, time and tol are all None; the flow needs an end: pass for example "
                "steps=200"
            )

    def at_rest(self, state: State) -> bool:
        """Whether the residual of a state is as small as asked for."""
        return self.tol is not None and state.residual_norm <= self.tol

    def reached(self, state: State, first: int) -> bool:
        """Whether a flow that began at the index ``first`` ends at this state."""
        return (
            (self.steps is not None and state.index - first >= self.steps)
            or (self.time is not None and state.time >= self.time)
            or self.at_rest(state)
        )


def march(
    state: State, method: Scheme, schedule: Schedule | StateSchedule, ends: Ends
) -> Iterator[State]:
    """States from ``state`` on, that one first, until the first of the ends is reached."""
    if ends.time is not None and ends.time < state.time:
        raise too_late(ends.time, state)
    first, lowest, idle = state.index, math.inf, 0
    yield state
    while not ends.reached(state, first):
        state = _advance(state, method, schedule, ends.time)
        yield state
        idle = 0 if state.residual_norm < lowest * (1 - LEAST_FALL) else idle + 1
        lowest = min(lowest, state.residual_norm)
        if ends.tol is not None and idle >= PATIENCE_STEPS:
            raise _StalledError(Status.STALLED.value)


def too_late(time: float, state: State) -> InvalidInputError:
    """The error of an end that lies before the state that a flow continues."""
    return InvalidInputError(
        f"time is {time!r}, before the {state.time!r} that the flow has reached; it is the "
        "time to end at: give a later one"
    )


class _StalledError(ConvergenceError):
    """The residual or the time no longer moves."""


def gather(
    states: Iterator[State],
    recorder: Recorder,
    ends: Ends,
    *,
    met: Callable[[State], Status] = lambda _: Status.CONVERGED,
    progress: bool = False,
) -> Flow:
    """The flow of all states; ``met`` says how one ended that came to rest."""
    with recorder.clock, time_bar(progress, ends.steps, ends.time, ends.tol) as show:
        try:
            for state in states:
                recorder.add(state)
                show(state.index, state.time, state.residual_norm)
        except (ConvergenceError, KeyboardInterrupt) as error:
            if recorder.state is None:
                # before the first state: the stationary potential of "bregman", not a step
                raise
            return _stopped(recorder, error)
    last = recorder.state
    assert last is not None
    return recorder.flow(met(last) if ends.at_rest(last) else Status.COMPLETED)


def _stopped(recorder: Recorder, error: BaseException) -> Flow:
    """The flow up to where an error ended it, returned or carried by an error of our own."""
    if isinstance(error, LostConvexityError):
        result = recorder.flow(Status.LOST_CONVEXITY)
        raise LostConvexityError(str(error), result=result) from None
    if isinstance(error, KeyboardInterrupt):
        raise EvolutionInterrupted(recorder.flow(Status.INTERRUPTED)) from None
    return recorder.flow(Status.STALLED if isinstance(error, _StalledError) else Status.STEP_FAILED)


def _advance(
    state: State, scheme: Scheme, schedule: Schedule | StateSchedule, end: float | None
) -> State:
    """One accepted step: retried smaller where it cannot be solved or the schedule asks for it."""
    longest = longest_step(state.operator.problem)
    asked = size = proposed(schedule, state, longest)
    if state.step.attempts > 1:
        # where the last step had to be shortened, do not begin from the full size again
        size = min(size, REGROWTH * state.step.size)
    for attempt in range(1, MOST_HALVINGS + 2):
        if size < SMALLEST_SHARE * asked:
            break
        last = end is not None and state.time + size * (1 + END_SLACK_STEPS) >= end
        if last and end is not None:
            size = end - state.time
        if state.time + size == state.time:
            raise _StalledError(Status.STALLED.value)
        trial = _tried(state, scheme, schedule, size)
        if trial is None:
            size *= 0.5
            continue
        step = replace(trial.step, attempts=attempt)
        arrived = end if last and end is not None and trial.step.size == size else trial.time
        trial = replace(trial, step=step, time=arrived)
        smaller = schedule.review(state, trial) if isinstance(schedule, StateSchedule) else None
        if smaller is None:
            return trial
        size = checked_size(smaller, state, schedule, longest)
    raise ConvergenceError(
        f"{Status.STEP_FAILED.value} (step {state.index} at t = {state.time:g}, last size tried "
        f"{size:.1e})"
    )


def longest_step(problem: Problem) -> float:
    """The longest step of a flow, length^2."""
    return LONGEST_STEP_UNITS * Frame(problem.source.grid, problem.target.grid).unit


def proposed(schedule: Schedule | StateSchedule, state: Any, longest: float = math.inf) -> float:
    """The step size that a schedule asks for at a state of a flow or an oracle."""
    if isinstance(schedule, StateSchedule):
        return checked_size(schedule.propose(state), state, schedule, longest)
    return checked_size(_called(schedule, state), state, schedule, longest)


def _called(schedule: Schedule, state: Any) -> float:
    """The step size of a plain schedule, or the error of one that cannot be called so."""
    try:
        inspect.signature(schedule).bind(state.index, state.time, state.residual_norm)
    except TypeError as error:
        raise InvalidInputError(
            f"schedule {schedule!r} does not take (k, t, residual_norm): {error}; pass a made "
            "schedule, for example pma.schedules.constant(0.1)"
        ) from None
    except ValueError:  # a builtin without a signature
        pass
    return schedule(state.index, state.time, state.residual_norm)


def _tried(
    state: State, scheme: Scheme, schedule: Schedule | StateSchedule, size: float
) -> State | None:
    """One step; a schedule that looks at states shortens one that would lose convexity."""
    try:
        return scheme.step(state, size)
    except LostConvexityError:
        if not isinstance(schedule, StateSchedule):
            raise
        return None


def checked_size(size: float, state: Any, schedule: object, longest: float = math.inf) -> float:
    """The step size of a schedule, which may be a user's function."""
    if not (is_number(size) and 0 < size <= longest and size < math.inf):
        raise InvalidInputError(
            f"schedule {schedule!r} returned {size!r} at step {state.index} (t = {state.time:g}); "
            f"step sizes must be positive and at most {longest:.0e}, in length^2: change the "
            "schedule"
        )
    return float(size)
