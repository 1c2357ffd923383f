"""`iterate` and `evolve`: the parabolic Monge-Ampère flow, open and recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from pma_grid.flow.beginning import Initial, begin
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import Ends, gather, march
from pma_grid.flow.observables import CHEAP, Observable, resolve
from pma_grid.flow.parabolic_operator import Forcing
from pma_grid.flow.recording import Keep, Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule, check_schedule
from pma_grid.flow.state import State
from pma_grid.flow.stepping import TRBDF2, ImplicitEuler, Scheme, parabolic, start
from pma_grid.problem.problem import Problem, check_problem
from pma_grid.runtime import Array, ConvergenceError, InvalidInputError, Status, check_offers
from pma_grid.stationary.solving import solve

Side = Literal["source", "target"]

# Steps are solved to this share of the residual that the flow is to end at.
STEP_SHARE_OF_TOL = 0.1
# The potential that a flow ends in: of `solve`, then one implicit step so long that only h = const
# is left of its equation.
REFERENCE_TOLERANCE = 1e-9
REFERENCE_STEP = 1e6
REFERENCE_RESIDUAL = 1e-12


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
    """Run the parabolic Monge-Ampère flow step by step: an iterator over its states.

    The first state is the start.  Use it where `evolve`, which runs the flow to its end and keeps
    series, is not enough: to look at whole states, or to stop on a condition of your own.

    Parameters
    ----------
    problem, schedule, scheme, steps, time, tol, initial, side, forcing
        As for `evolve`; without ``steps``, ``time`` and ``tol`` the iterator has no end.

    Yields
    ------
    State
        The start, and then the state after every step.

    Raises
    ------
    LostConvexityError, ConvergenceError, InvalidInputError
        As for `evolve`; here a step that fails raises ConvergenceError.

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
    check_problem(problem)
    if problem.target_domain is not None:
        raise InvalidInputError(
            "problem has a target_domain, which flows do not take: their potentials are reflected "
            "at the faces of a box; use solve, or a target on its box"
        )
    check_schedule(schedule)
    check_offers(method, "step", "scheme", "for example pma.ImplicitEuler()")
    ends = Ends(steps, time, tol).check()
    if tol is not None and isinstance(method, ImplicitEuler | TRBDF2):
        # steps solved less sharply than the flow is to end would never get there
        method = dataclasses.replace(method, atol=min(method.atol, tol * STEP_SHARE_OF_TOL))

    def states() -> Iterator[State]:  # which begin when the first is asked for
        yield from march(begin(problem, initial, side, forcing), method, schedule, ends)

    return states()


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
    keep: Keep = (),
    side: Side = "source",
    forcing: Forcing | None = None,
    progress: bool = False,
) -> Flow:
    """Run the parabolic Monge-Ampère flow du/dt = log(rho_u / mu) and record what happens.

    The potential u deforms until its gradient maps the source mu to the target nu: rho_u is the
    pullback of nu under grad u, and the flow rests where it is mu, at the Brenier potential that
    `solve` finds.  With mu = e^{-f} and nu = e^{-g} it reads du/dt = f - g(grad u) + log det D2u.
    Its steps are those of mirror descent on KL(.|mu), with half the squared Wasserstein distance to
    nu as mirror; `pma_grid.theory` says what follows.

    Parameters
    ----------
    problem : Problem
        The source mu and the target nu.
    schedule : callable or StateSchedule
        ``schedule(k, t, residual_norm)`` gives the step size eta_k > 0, length^2; see
        `pma_grid.schedules`.
    scheme : Scheme, optional
        How a step is taken: `ImplicitEuler` (default), `TRBDF2` or `Explicit`.
    steps : int, optional
        Number of steps to take.  Of ``steps``, ``time`` and ``tol`` the first one reached ends the
        flow; at least one must be given.
    time : float, optional
        Time to end at, length^2; the last step is shortened to hit it.
    tol : float, optional
        The flow ends once (sum mu hbar^2)^{1/2} is below it, hbar = log(rho / mu); its status is
        then CONVERGED.
    initial : Transport, Flow, State or array_like of shape ``source.shape``, optional
        Convex potential to start from.  Default: that of the affine map of box to box, which for
        equal boxes is the identity.  A Transport may live on a coarser grid of the same box.  A
        State, or a Flow of the same problem, is continued: time and step count go on.
    record : sequence of str or callable
        What to record at every state: names of `pma_grid.observables`, or functions of a `State`.
        "bregman" solves for the stationary potential first.
    keep : int or sequence of float
        When to keep a snapshot of density and potential: every so many steps, or at the first step
        at or after each of these times.
    side : {"source", "target"}
        The grid to solve on: "target" evolves psi = u*, which satisfies the same equation with the
        roles of mu and nu exchanged.  Series then refer to the exchanged roles.
    forcing : callable, optional
        ``forcing(t)``, an array of ``source.shape`` that is added to h, for a time-dependent f.
        Series that compare rho with mu then mean mu e^h for rho, forcing included: record errors
        instead.
    progress : bool
        Whether to show progress and the time remaining on standard error.

    Returns
    -------
    Flow
        Its ``status`` is COMPLETED, CONVERGED if ``tol`` was reached (REGULARISED where zeros were
        raised to a floor), or STEP_FAILED or STALLED, with what there is until then.  Steps that
        could not be solved are shorter than the schedule's: see ``step_sizes`` and
        ``stats["rejected"]``.

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
    The error is of order 2 in the spacing and of the scheme's order in the step size.  An implicit
    step costs one to four Newton iterations of `solve`, and as much memory.

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
    ends = Ends(steps, time, tol)
    ends.check_one_is_given()
    method = ImplicitEuler() if scheme is None else scheme
    functions = resolve(record)
    if forcing is not None and functions.get("bregman", math.inf) is None:
        raise InvalidInputError(
            "record has 'bregman' with a forcing; a forced flow has no stationary potential to "
            "compare with: leave it out, or pass observables.bregman(reference)"
        )
    recorder = Recorder(
        problem, method, schedule, side=side, record=functions, keep=keep, stationary=stationary_phi
    )
    states = iterate(
        problem, schedule=schedule, scheme=method, steps=steps, time=time, tol=tol, initial=initial,
        side=side, forcing=forcing,
    )  # fmt: skip
    return gather(states, recorder, ends, met=_met, progress=progress)


def stationary_phi(state: State) -> Array:
    """phi of the discrete stationary solution, where h is constant to 1e-12, or the error of it."""
    operator = parabolic(state)
    failure: ConvergenceError | None = None
    try:
        # the flow takes point values of the target
        phi = solve(operator.problem, tol=REFERENCE_TOLERANCE, averaging=False, fallback=False).phi
    except ConvergenceError as error:
        # close to a solution, perhaps: the implicit step decides
        failure, phi = error, error.result.phi
    scheme = ImplicitEuler(rtol=0.0, atol=REFERENCE_RESIDUAL)
    first = start(operator, np.array(phi), 0.0, state.time)
    polished = scheme.step(first, REFERENCE_STEP * operator.frame.unit)
    if polished is None and failure is not None:
        raise failure
    return first.phi if polished is None else polished.phi


def _met(last: State) -> Status:
    """How a flow ended that reached its tolerance."""
    floored = any(floor["cells"] for floor in last.operator.floors.values())
    return Status.REGULARISED if floored else Status.CONVERGED
