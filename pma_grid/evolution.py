"""`iterate`, the one time loop, and `evolve`, a fold over it that records a `Flow`."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from pma_grid.beginning import begin
from pma_grid.equilibrium import stationary_phi
from pma_grid.errors import (
    ConvergenceError,
    EvolutionInterrupted,
    InvalidInputError,
    LostConvexityError,
    Status,
)
from pma_grid.flow import Flow, State
from pma_grid.observables import CHEAP, Observable, resolve
from pma_grid.parabolic import Forcing
from pma_grid.problem import Problem
from pma_grid.progress import time_bar
from pma_grid.recording import Recorder
from pma_grid.schedules import Schedule, StateSchedule
from pma_grid.stepping import TRBDF2, ImplicitEuler, Scheme
from pma_grid.transport import Transport
from pma_grid.validation import is_number

Initial = Transport | Flow | State | ArrayLike
Side = Literal["source", "target"]

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


def iterate(
    problem: Problem,
    *,
    schedule: Schedule | StateSchedule,
    scheme: Scheme | None = None,
    steps: int | None = None,
    time: float | None = None,
    tol: float | None = None,
    initial: Initial | None = None,
    side: Side = "source",
    forcing: Forcing | None = None,
) -> Iterator[State]:
    """States of the parabolic Monge-Ampère flow, the start first, one a step: the loop, open.

    Parameters
    ----------
    problem, schedule, scheme, steps, time, tol, initial, side, forcing
        See `evolve`; without ``steps``, ``time`` and ``tol`` the iterator has no end.

    Yields
    ------
    State

    Raises
    ------
    LostConvexityError, ConvergenceError, InvalidInputError
        See `evolve`; here a step that fails raises ConvergenceError.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> for state in pma.iterate(problem, schedule=pma.schedules.constant(0.1), steps=2):
    ...     print(state.index, round(state.time, 2), f"{pma.observables.kl(state):.1e}")
    0 0.0 2.0e-02
    1 0.1 4.9e-03
    2 0.2 1.2e-03
    """
    method = ImplicitEuler() if scheme is None else scheme
    _check(problem, schedule, method, steps, time, tol)
    return _states(problem, schedule, method, steps, time, tol, initial, side, forcing)


def _states(
    problem: Problem, schedule: Schedule | StateSchedule, method: Scheme, steps: int | None,
    time: float | None, tol: float | None, initial: Initial | None, side: Side,
    forcing: Forcing | None,
) -> Iterator[State]:  # fmt: skip
    """The loop itself, a generator: `iterate` checks kinds and ranges when it is called."""
    if tol is not None and isinstance(method, ImplicitEuler | TRBDF2):
        # steps solved less sharply than the flow is to end would never get there
        method = dataclasses.replace(method, atol=min(method.atol, 0.1 * tol))
    state = begin(problem, initial, side, forcing)
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


class _StalledError(ConvergenceError):
    """The residual or the time no longer moves."""


def evolve(
    problem: Problem,
    *,
    schedule: Schedule | StateSchedule,
    scheme: Scheme | None = None,
    steps: int | None = None,
    time: float | None = None,
    tol: float | None = None,
    initial: Initial | None = None,
    record: Sequence[str | Observable] = CHEAP,
    keep: int | Sequence[float] = (),
    side: Side = "source",
    forcing: Forcing | None = None,
    progress: bool = False,
) -> Flow:
    """The parabolic Monge-Ampère flow du/dt = log(rho_u / mu) with what was recorded along it.

    rho_u is the pullback of nu under grad u, so that du/dt = f - g(grad u) + log det D2u for
    mu = e^{-f}, nu = e^{-g}; it converges to the Brenier potential that `solve` finds.

    Parameters
    ----------
    problem : Problem
    schedule : callable or StateSchedule
        ``schedule(k, t, residual_norm)`` gives the step size eta_k > 0, length^2; see
        `pma_grid.schedules`.
    scheme : Scheme, optional
        `ImplicitEuler` (default), `TRBDF2` or `Explicit`.
    steps : int, optional
        Steps to take.
    time : float, optional
        Time to end at, length^2; the last step is shortened to hit it.
    tol : float, optional
        Stop once (sum mu hbar^2)^{1/2} is below it; the status is then CONVERGED.
    initial : Transport, Flow, State or array_like of shape ``source.shape``, optional
        Convex potential to start from; default the affine map of box to box (the identity for equal
        boxes).  A Transport may live on a coarser grid of the same box.  A State, or a Flow of the
        same problem, is continued: time and step count go on.
    record : sequence of str or callable
        Names of `pma_grid.observables`, or functions of a `State`.  "bregman" solves for the
        stationary potential first.
    keep : int or sequence of float
        Snapshots: every so many steps, or at the first step at or after each of these times.
    side : {"source", "target"}
        The grid to solve on: "target" evolves psi = u*, which satisfies the same equation with the
        roles of mu and nu exchanged.  Series then refer to the exchanged roles.
    forcing : callable, optional
        ``forcing(t)``, an array of ``source.shape`` added to h, for a time-dependent f.  Series
        that compare rho with mu then mean mu e^h for rho, forcing included: record errors instead.
    progress : bool
        Show progress and the time remaining on standard error.

    Returns
    -------
    Flow
        ``status`` COMPLETED, CONVERGED (REGULARISED where zeros were raised to a floor) if ``tol``
        was reached, or STEP_FAILED or STALLED with what there is until then.  Steps that could not
        be solved are shorter than the schedule's: see ``step_sizes`` and ``stats["rejected"]``.

    Raises
    ------
    InvalidInputError
        A schedule that returns a step <= 0 or NaN, an initial potential that is not convex, a
        record name that does not exist, and other arguments out of range.
    LostConvexityError
        An explicit step left the convex potentials; its ``result`` is the flow until then.
    ConvergenceError
        "bregman" is recorded and `solve` does not find the stationary potential.
    EvolutionInterrupted
        Ctrl-C (a KeyboardInterrupt); its ``result`` is the flow until then.

    Notes
    -----
    Order 2 in space and the scheme's order in time.  An implicit step costs one to four Newton
    iterations of `solve`; memory as `solve`.

    References
    ----------
    Deb & Liang (2025), No-Regret Generative Modeling via Parabolic Monge-Ampère PDE,
    arXiv:2504.09279.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> flow = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=20)
    >>> len(flow), bool(flow["kl"][-1] < 1e-12), flow.status.name
    (20, True, 'COMPLETED')
    """
    if steps is None and time is None and tol is None:
        raise InvalidInputError(
            "steps, time and tol are all None; the flow needs an end: pass for example steps=200"
        )
    method = ImplicitEuler() if scheme is None else scheme
    functions = resolve(record)
    if forcing is not None and functions.get("bregman", math.inf) is None:
        raise InvalidInputError(
            "record has 'bregman' with a forcing; a forced flow has no stationary potential to "
            "compare with: leave it out, or pass observables.bregman(reference)"
        )
    recorder = Recorder(
        problem, method, repr(schedule), side, functions, keep, stationary=stationary_phi
    )
    states = iterate(
        problem, schedule=schedule, scheme=method, steps=steps, time=time, tol=tol, initial=initial,
        side=side, forcing=forcing,
    )  # fmt: skip
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
    return recorder.flow(_final_status(recorder.state, tol))


def _stopped(recorder: Recorder, error: BaseException) -> Flow:
    """The flow up to where an error ended it, returned or carried by an error of our own."""
    if isinstance(error, LostConvexityError):
        result = recorder.flow(Status.LOST_CONVEXITY)
        raise LostConvexityError(str(error), result=result) from None
    if isinstance(error, KeyboardInterrupt):
        raise EvolutionInterrupted(recorder.flow(Status.INTERRUPTED)) from None
    return recorder.flow(Status.STALLED if isinstance(error, _StalledError) else Status.STEP_FAILED)


def _final_status(last: State | None, tol: float | None) -> Status:
    """How a flow ended that nothing stopped."""
    assert last is not None
    if tol is None or last.residual_norm > tol:
        return Status.COMPLETED
    floored = any(floor["cells"] for floor in last.operator.floors.values())
    return Status.REGULARISED if floored else Status.CONVERGED


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
    if not (_is_range(size) and 0 < size <= longest):
        raise InvalidInputError(
            f"schedule {schedule!r} returned {size!r} at step {state.index} (t = {state.time:g}); "
            f"step sizes must be positive and at most {longest:.0e}, in length^2: change the "
            "schedule"
        )
    return float(size)


def _check(
    problem: object, schedule: object, scheme: object, steps: object, time: object, tol: object
) -> None:
    """Kinds and ranges of the arguments of the loop."""
    if not isinstance(problem, Problem):
        raise InvalidInputError(
            f"problem is of type {type(problem).__name__}; it must be a Problem: pass "
            "pma.Problem(source, target)"
        )
    if isinstance(schedule, type) or not callable(getattr(schedule, "propose", schedule)):
        raise InvalidInputError(
            f"schedule is {schedule!r}; it must be a callable (k, t, residual_norm) -> step size: "
            "for example pma.schedules.constant(0.1)"
        )
    if isinstance(scheme, type) or not callable(getattr(scheme, "step", None)):
        raise InvalidInputError(
            f"scheme is {scheme!r}; it must be an object with a step: for example "
            "pma.ImplicitEuler()"
        )
    if steps is not None and not (_is_range(steps) and _is_whole(steps)):
        raise InvalidInputError(f"steps is {steps!r}; it must be an integer >= 0: say 100")
    for name, value in (("time", time), ("tol", tol)):
        if value is not None and not _is_range(value):
            raise InvalidInputError(f"{name} is {value!r}; it must be a number >= 0: say 0.1")


def _is_whole(value: Any) -> bool:
    """Whether a number is an integer."""
    return float(value).is_integer()


def _is_range(value: Any) -> bool:
    """Whether it is one finite number >= 0."""
    return is_number(value) and math.isfinite(value) and value >= 0
