"""Implicit schemes: every step is convex, whatever its size; made of log-det stages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pma_grid.flow.state import State
from pma_grid.flow.stepping.scheme import advance, parabolic
from pma_grid.flow.stepping.stage import ImplicitStage, StageSolver, default_linear_solver
from pma_grid.linsolve import LinearSolver
from pma_grid.runtime import Array, check_not_negative, check_offers, check_whole

# Place of the inner stage of TR-BDF2 in its step: both stages then have the same coefficient.
GAMMA = 2.0 - math.sqrt(2.0)
# A start is extrapolated over at most so many of the last steps, and through two of them where they
# do not grow faster.
LONGEST_EXTRAPOLATION_STEPS = 4.0


@dataclass(frozen=True)
class _Implicit:
    """Configuration that implicit schemes share; see `ImplicitEuler`."""

    linear_solver: LinearSolver = field(default_factory=default_linear_solver)
    rtol: float = 1e-4
    atol: float = 1e-10
    max_iterations: int = 20

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            check_not_negative(getattr(self, name), name, "for example 1e-4")
        check_whole(self.max_iterations, 1, "max_iterations", "leave it at 20")
        check_offers(self.linear_solver, "setup", "linear_solver", "for example pma.AMG()")

    @property
    def _stages(self) -> StageSolver:
        return StageSolver(self.linear_solver, self.rtol, self.atol, self.max_iterations)


@dataclass(frozen=True)
class ImplicitEuler(_Implicit):
    """The implicit mirror step u_{k+1} - eta h(u_{k+1}) = u_k: first order, unconditionally stable.

    It is the default scheme of `evolve`.  Steps may have any size: with each of them KL(rho|mu),
    KL(mu|rho) and max h fall and min h rises, as long as log nu changes by less than 2 across the
    image of a cell and steps are solved sharply.

    Parameters
    ----------
    linear_solver : LinearSolver
        What solves the linear systems of Newton's method.  Default: geometric multigrid with a
        lagged hierarchy, and pyamg where that is slow.
    rtol : float
        How sharply a step is solved: rms of its equation, relative to that of h - mean h before it.
    atol : float
        The same, absolute; the larger of both counts.
    max_iterations : int
        Newton iterations allowed.  Beyond them a step is approached through shorter ones, and
        halved where that fails too.

    Notes
    -----
    Newton's method runs in log form with backtracking, from an extrapolated start; its matrix
    1/eta - L, L the linearisation of h, is an M-matrix up to the centred gradient.  The local error
    of a step is estimated by (eta/2) (h_{k+1} - h_k).
    """

    name = "implicit_euler"
    order = 1
    weights = (0.0, 1.0)

    def step(self, state: State, step_size: float) -> State | None:
        """One step of size eta."""
        stage = ImplicitStage(parabolic(state), state.phi, step_size, state.time + step_size)
        reached = self._stages.solve(
            stage, guess=state.phi + step_size * _predicted(state, step_size), convex=state.phi,
            scale=_norm(state), handle=state.handle,
        )  # fmt: skip
        if reached is None:
            return None
        slope = (reached.phi - state.phi) / step_size
        return advance(
            state, step_size, reached, offset=state.offset + step_size * reached.gauge_rate,
            slope=slope, error=0.5 * step_size * (slope - state.slope), order=self.order,
        )  # fmt: skip


@dataclass(frozen=True)
class TRBDF2(_Implicit):
    """The trapezoidal rule to t + gamma eta, then BDF2: second order in time, L-stable.

    Use it for flows that are accurate in time, with `pma_grid.schedules.adaptive`.  A step costs
    two stages of `ImplicitEuler`: gamma = 2 - sqrt 2 gives both the coefficient gamma eta / 2, so
    that one hierarchy of grids serves both.

    Parameters
    ----------
    linear_solver, rtol, atol, max_iterations
        As for `ImplicitEuler`; ``rtol`` is smaller, for the estimate to see the error in time.

    Notes
    -----
    The third-order quadrature of h over the nodes 0, gamma, 1 estimates the local error.

    References
    ----------
    Hosea & Shampine (1996), Analysis and implementation of TR-BDF2, Appl. Numer. Math. 20, 21-37.
    doi:10.1016/0168-9274(95)00115-8
    """

    rtol: float = 1e-6

    name = "trbdf2"
    order = 2
    weights = (0.5, 0.5)

    def step(self, state: State, step_size: float) -> State | None:
        """One step of size eta."""
        beta, middle = 0.5 * GAMMA * step_size, GAMMA * step_size
        operator, stages = parabolic(state), self._stages
        phi0, h0, scale = state.phi, state.slope, _norm(state)
        base = phi0 + beta * h0
        first = stages.solve(
            ImplicitStage(operator, base, beta, state.time + middle),
            guess=base + beta * _predicted(state, middle), convex=phi0, scale=scale,
            handle=state.handle,
        )  # fmt: skip
        if first is None:
            return None
        h1 = (first.phi - base) / beta
        new, old = 1 / (GAMMA * (2 - GAMMA)), (1 - GAMMA) ** 2 / (GAMMA * (2 - GAMMA))
        base = new * first.phi - old * phi0
        second = stages.solve(
            ImplicitStage(operator, base, beta, state.time + step_size),
            guess=base + beta * (h1 + (1 / GAMMA - 1) * (h1 - h0)), convex=first.phi, scale=scale,
            handle=first.handle,
        )  # fmt: skip
        if second is None:
            return None
        h2 = (second.phi - base) / beta
        c0 = state.offset
        c1 = c0 + beta * (state.gauge_rate + first.gauge_rate)
        c2 = new * c1 - old * c0 + beta * second.gauge_rate
        w1 = 1 / (6 * GAMMA * (1 - GAMMA))
        w2 = 0.5 - GAMMA * w1
        quadrature = step_size * ((1 - w1 - w2) * h0 + w1 * h1 + w2 * h2)
        return advance(
            state, step_size, second.after(first.newton, first.linear), offset=c2, slope=h2,
            error=quadrature - (second.phi - phi0), order=self.order,
        )  # fmt: skip


def _predicted(state: State, ahead: float) -> Array:
    """h - mean h a time ``ahead`` of the state, extrapolated through the last steps."""
    last = state.step
    if last.size == 0.0 or ahead > LONGEST_EXTRAPOLATION_STEPS * last.size:
        return state.slope
    change = (state.slope - last.slope) / last.size
    value = state.slope + ahead * change
    older = state.older
    if older is not None and last.size <= LONGEST_EXTRAPOLATION_STEPS * older.size:
        before = (last.slope - older.slope) / older.size
        bend = (change - before) / (last.size + older.size)
        value = value + ahead * (ahead + last.size) * bend
    return np.asarray(value)


def _norm(state: State) -> float:
    """rms of h - mean h."""
    return float(np.sqrt(np.mean(np.square(state.slope))))
