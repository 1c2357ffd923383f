"""The one time loop of all flows, open (`march`) and folded into a `Flow` (`gather`)."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator

from pma_grid.flow.flow import Flow
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Scheme
from pma_grid.runtime.checks import check_not_negative, check_whole, is_number
from pma_grid.runtime.errors import (
    ConvergenceError,
    EvolutionInterrupted,
    InvalidInputError,
    LostConvexityError,
    Status,
)
from pma_grid.runtime.progress import time_bar

# A step that cannot be solved is halved this often before the flow gives up.
HALVINGS = 30
# A step after a shortened one may grow by this factor; one below this share of what the schedule
# asks for means that the flow gets nowhere.
GROWTH = 4.0
SMALLEST_SHARE = 1e-4
# A step that ends this close to the final time, relative to itself, ends there.
LAST = 1e-9
# A flow that is to end at a residual gives up after so many steps that do not lower it by FALL.
PATIENCE, FALL = 100, 1e-9
# Longest step, in squares of the longest side: all that happens has happened long before.
LONGEST = 1e15


def march(
    state: State,
    method: Scheme,
    schedule: Schedule | StateSchedule,
    *,
    steps: int | None,
    time: float | None,
    tol: float | None,
) -> Iterator[State]:
    """States from ``state`` on, that one first, until the first of the ends given is reached.

    Raises
    ------
    InvalidInputError
        ``time`` lies before the state, or the schedule returns no step size.
    LostConvexityError, ConvergenceError
        A step cannot be taken.
    """
    if time is not None and time < state.time:
        raise InvalidInputError(
            f"time is {time!r}, before the {state.time!r} that the flow has reached; it is the "
            "time to end at: give a later one"
        )
    first, lowest, idle = state.index, math.inf, 0
    yield state
    while not _done(state, first, steps, time, tol):
        state = _advance(state, method, schedule, time)
        yield state
        idle = 0 if state.residual_norm < lowest * (1 - FALL) else idle + 1
        lowest = min(lowest, state.residual_norm)
        if tol is not None and idle >= PATIENCE:
            raise _StalledError(Status.STALLED.value)


def while_easy(states: Iterator[State], halvings: int) -> Iterator[State]:
    """States up to the first step that had to be halved more often, where the flow gives up.

    Raises
    ------
    ConvergenceError
        After that state.
    """
    for state in states:
        yield state
        if state.step.attempts > 1 + halvings:
            raise ConvergenceError(Status.STEP_FAILED.value)


class _StalledError(ConvergenceError):
    """The residual or the time no longer moves."""


def gather(
    states: Iterator[State],
    recorder: Recorder,
    *,
    steps: int | None,
    time: float | None,
    tol: float | None,
    progress: bool,
    met: Callable[[State], Status],
) -> Flow:
    """The flow of all states; ``met`` says how one ended that reached ``tol``.

    Raises
    ------
    LostConvexityError, EvolutionInterrupted
        With the flow until then as ``result``.
    """
    with recorder.clock, time_bar(progress, steps, time, tol) as show:
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
    reached = tol is not None and last.residual_norm <= tol
    return recorder.flow(met(last) if reached else Status.COMPLETED)


def _stopped(recorder: Recorder, error: BaseException) -> Flow:
    """The flow up to where an error ended it, returned or carried by an error of our own."""
    if isinstance(error, LostConvexityError):
        result = recorder.flow(Status.LOST_CONVEXITY)
        raise LostConvexityError(str(error), result=result) from None
    if isinstance(error, KeyboardInterrupt):
        raise EvolutionInterrupted(recorder.flow(Status.INTERRUPTED)) from None
    return recorder.flow(Status.STALLED if isinstance(error, _StalledError) else Status.STEP_FAILED)


def _done(
    state: State, first: int, steps: int | None, time: float | None, tol: float | None
) -> bool:
    """Whether one of the ends is reached."""
    return (
        (steps is not None and state.index - first >= steps)
        or (time is not None and state.time >= time)
        or (tol is not None and state.residual_norm <= tol)
    )


def _advance(
    state: State, scheme: Scheme, schedule: Schedule | StateSchedule, end: float | None
) -> State:
    """One accepted step: retried smaller where it cannot be solved or the schedule asks for it."""
    if isinstance(schedule, StateSchedule):
        size = schedule.propose(state)
    else:
        size = _called(schedule, state)
    asked = size = _checked_size(size, state, schedule)
    if state.step.attempts > 1:
        # where the last step had to be shortened, do not begin from the full size again
        size = min(size, GROWTH * state.step.size)
    for attempt in range(1, HALVINGS + 2):
        if size < SMALLEST_SHARE * asked:
            break
        last = end is not None and state.time + size * (1 + LAST) >= end
        if last and end is not None:
            size = end - state.time
        if state.time + size == state.time:
            raise _StalledError(Status.STALLED.value)
        trial = _tried(state, scheme, schedule, size)
        if trial is None:
            size *= 0.5
            continue
        step = dataclasses.replace(trial.step, attempts=attempt)
        arrived = end if last and end is not None and trial.step.size == size else trial.time
        trial = dataclasses.replace(trial, step=step, time=arrived)
        smaller = schedule.review(state, trial) if isinstance(schedule, StateSchedule) else None
        if smaller is None:
            return trial
        size = _checked_size(smaller, state, schedule)
    raise ConvergenceError(
        f"{Status.STEP_FAILED.value} (step {state.index} at t = {state.time:g}, last size tried "
        f"{size:.1e})"
    )


def _called(schedule: Schedule, state: State) -> float:
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


def _checked_size(size: float, state: State, schedule: object) -> float:
    """The step size of a schedule, which may be a user's function."""
    longest = LONGEST * max(state.operator.problem.source.grid.lengths) ** 2
    if not (is_number(size) and 0 < size <= longest):
        raise InvalidInputError(
            f"schedule {schedule!r} returned {size!r} at step {state.index} (t = {state.time:g}); "
            f"step sizes must be positive and at most {longest:.0e}, in length^2: change the "
            "schedule"
        )
    return float(size)


def check_ends(steps: object, time: object, tol: object) -> None:
    """Kinds and ranges of the ends of a flow."""
    if isinstance(steps, float) and steps.is_integer():
        steps = int(steps)  # 1e3 is as good as 1000
    if steps is not None:
        check_whole(steps, 0, "steps", "say 100")
    for name, value in (("time", time), ("tol", tol)):
        if value is not None:
            check_not_negative(value, name, "say 0.1")
