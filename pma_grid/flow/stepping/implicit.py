"""Implicit schemes: every step is convex, whatever its size.

They are made of stages v - beta h(v) = base, solved by Newton's method in log form: log det makes
each solution convex, whatever the base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping.scheme import Reached, advance, parabolic
from pma_grid.linsolve import Auto, Handle, LinearSolver, Multigrid, attempt
from pma_grid.linsolve.line_search import armijo, backtrack
from pma_grid.runtime import Array, check_not_negative, check_offers, check_whole

# Place of the inner stage of TR-BDF2 in its step: both stages then have the same coefficient.
GAMMA = 2.0 - math.sqrt(2.0)
# A start is extrapolated over at most so many of the last steps, and through two of them where they
# do not grow faster.
LONGEST_EXTRAPOLATION_STEPS = 4.0
# Share of the promised fall of the defect that a Newton step must bring, and the smallest fraction
# of a step that is tried.
ARMIJO_SLOPE = 0.05
SMALLEST_FRACTION = 1.0 / 64.0
# Reduction asked of a linear solve, between these bounds: enough to end with this Newton step.
SHARPEST_REDUCTION, LOOSEST_REDUCTION = 1e-2, 0.1
# A stage that Newton cannot solve at once is approached from shorter ones: of this share of it, if
# that fails of this share of that, but not below the last.
RAMP_SHARE = 0.1
SHORTEST_RAMP_SHARE = 1e-8
# Ratio of two lengths below which the ramp gives up, and the rms defect of the stages on it.
SMALLEST_RAMP_RATIO = 1.3
RAMP_DEFECT = 1e-3
# Relative rounding error of differences of potentials: two units in the last place.
DIFFERENCE_ROUNDING = 4e-16


def default_linear_solver() -> LinearSolver:
    """Geometric multigrid with a lagged hierarchy; pyamg takes over where it is slow."""
    return Auto(direct=False, first=Multigrid(lag=True))


@dataclass(frozen=True)
class _Point:
    """A potential in Newton's iteration with h and the defect of its stage equation."""

    phi: Array
    residual: Array
    defect: Array
    gauge_rate: float
    norm: float


@dataclass(frozen=True)
class ImplicitStage:
    """The equation v - beta h(v, t) = base of the mean-free parts of v and base; beta, length^2."""

    operator: ParabolicOperator
    base: Array
    beta: float
    time: float

    @property
    def reaction(self) -> float:
        """1 / beta in the unit of potentials of the frame, as the operator's stencil is."""
        return self.operator.frame.unit / self.beta

    def at(self, phi: Array) -> _Point:
        """h at phi, and h - (v - base) / beta without the constant that the gauge takes up."""
        residual = self.operator.evaluate(phi, self.time)
        defect = residual - (phi - self.base) / self.beta
        gauge_rate = float((self.operator.masses * defect).sum())
        defect -= gauge_rate
        norm = math.sqrt(float((defect * defect).mean()))
        return _Point(phi, residual, defect, gauge_rate, norm)

    def after(self, at: _Point, step: Array) -> _Point | None:
        """Where a Newton step leads, halved until the equilibrated defect falls, or None."""
        weights = self.operator.equation.stencil.equilibration
        assert weights is not None
        weights = weights.copy().reshape(step.shape)
        step = step - step.mean()

        def merit(point: _Point) -> float:
            return _weighted_norm(point.defect, weights) if math.isfinite(point.norm) else math.inf

        found = backtrack(
            lambda fraction: self.at(at.phi + fraction * step), merit,
            armijo(merit(at), ARMIJO_SLOPE), smallest=SMALLEST_FRACTION,
        )  # fmt: skip
        return None if found is None else found[1]

    def rounding(self, at: _Point) -> float:
        """rms of the rounding error of the defect: differences of phi carry that of its range."""
        diagonal = 2.0 * self.operator.equation.stencil.total_weights() + self.reaction
        steepness = math.sqrt(float(np.mean(np.square(diagonal))))
        range_of_phi = float(np.ptp(at.phi)) / self.operator.frame.unit
        size = range_of_phi * steepness + float(np.abs(at.residual).max())
        return DIFFERENCE_ROUNDING * size


@dataclass(frozen=True)
class ImplicitScheme:
    """What implicit schemes share: Newton for a stage, as `ImplicitEuler` documents its options.

    It finds the mean-free part of v; the mean follows in closed form.
    """

    linear_solver: LinearSolver = field(default_factory=default_linear_solver)
    rtol: float = 1e-4
    atol: float = 1e-10
    max_iterations: int = 20

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            check_not_negative(getattr(self, name), name, "for example 1e-4")
        check_whole(self.max_iterations, 1, "max_iterations", "leave it at 20")
        check_offers(self.linear_solver, "setup", "linear_solver", "for example pma.AMG()")

    def _solve(
        self, stage: ImplicitStage, *, guess: Array, convex: Array, scale: float,
        handle: Handle | None,
    ) -> Reached | None:  # fmt: skip
        """The stage from ``guess``, else ``convex``, else by a ramp; ``scale``: rms(h - mean h)."""
        tol = max(self.rtol * scale, self.atol)
        newton = linear = 0
        for begin, worst in ((guess, scale), (convex, math.inf)):
            solved, done = self._newton(stage, begin, tol, handle, worst)
            if done:
                return solved.after(newton, linear)
            newton, linear = newton + solved.newton, linear + solved.linear
            handle = handle if not solved.newton else None
        return self._ramp(stage, convex, tol, (newton, linear))

    def _ramp(
        self, stage: ImplicitStage, phi: Array, tol: float, spent: tuple[int, int]
    ) -> Reached | None:
        """Shorter stages first: each solution starts the next, up to the length asked for."""
        newton, linear = spent
        beta, handle = stage.beta, None
        reached, ratio, length = 0.0, 1.0 / RAMP_SHARE, beta * RAMP_SHARE
        while True:
            enough = tol if length == beta else max(tol, RAMP_DEFECT)
            solved, done = self._newton(replace(stage, beta=length), phi, enough, handle)
            newton, linear = newton + solved.newton, linear + solved.linear
            if done and length == beta:
                return replace(solved, newton=newton, linear=linear)
            if done:
                phi, handle, reached = solved.phi, solved.handle, length
            elif reached == 0.0 and length > beta * SHORTEST_RAMP_SHARE:
                length *= RAMP_SHARE
                continue
            else:  # in smaller ratios from the last length that was solved
                ratio, handle = math.sqrt(ratio), None
            if reached == 0.0 or ratio < SMALLEST_RAMP_RATIO:
                return None
            length = min(beta, reached * ratio)

    def _newton(
        self, stage: ImplicitStage, phi: Array, tol: float, handle: Handle | None,
        worst: float = math.inf,
    ) -> tuple[Reached, bool]:  # fmt: skip
        """Newton from phi, unless its defect is above ``worst``; whether the tolerance was met."""
        operator, at = stage.operator, stage.at(phi)
        newton = linear = 0
        done = False
        while math.isfinite(at.norm) and at.norm <= worst:
            done = at.norm <= tol or at.norm <= stage.rounding(at)
            if done or newton == self.max_iterations:
                break
            rtol = min(LOOSEST_REDUCTION, max(SHARPEST_REDUCTION, 0.3 * tol / at.norm))
            stencil = operator.linearise(at.residual, stage.reaction)
            before = handle.setups if handle is not None else 0
            handle, result = attempt(self.linear_solver, stencil, handle, -at.defect.ravel(), rtol)
            operator.work["setups"] += handle.setups - before if handle is not None else 1
            if result is None:
                break
            newton, linear = newton + 1, linear + result.iterations
            operator.work["newton"] += 1
            operator.work["linear"] += result.iterations
            step = operator.frame.unit * result.x
            better = stage.after(at, step.reshape(phi.shape))
            if better is None:
                break
            at, worst = better, math.inf
        return Reached(at.phi, at.residual, at.gauge_rate, handle, newton, linear), done


@dataclass(frozen=True)
class ImplicitEuler(ImplicitScheme):
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
        reached = self._solve(
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
class TRBDF2(ImplicitScheme):
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
        operator = parabolic(state)
        phi0, h0, scale = state.phi, state.slope, _norm(state)
        base = phi0 + beta * h0
        first = self._solve(
            ImplicitStage(operator, base, beta, state.time + middle),
            guess=base + beta * _predicted(state, middle), convex=phi0, scale=scale,
            handle=state.handle,
        )  # fmt: skip
        if first is None:
            return None
        h1 = (first.phi - base) / beta
        new, old = 1 / (GAMMA * (2 - GAMMA)), (1 - GAMMA) ** 2 / (GAMMA * (2 - GAMMA))
        base = new * first.phi - old * phi0
        second = self._solve(
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
    unit = state.operator.frame.unit  # of times: squares of steps may leave the range of floats
    ahead, size = ahead / unit, last.size / unit
    change = (state.slope - last.slope) / size
    value = state.slope + ahead * change
    older = state.older
    if older is not None and last.size <= LONGEST_EXTRAPOLATION_STEPS * older.size:
        before = (last.slope - older.slope) / (older.size / unit)
        bend = (change - before) / (size + older.size / unit)
        value = value + ahead * (ahead + size) * bend
    return np.asarray(value)


def _norm(state: State) -> float:
    """rms of h - mean h."""
    return float(np.sqrt(np.mean(np.square(state.slope))))


def _weighted_norm(defect: Array, weights: Array) -> float:
    """Norm of the weighted defect without the multiple of the weights, the gauge, in it."""
    scaled = defect * weights
    square = float((scaled * scaled).sum())
    return math.sqrt(
        max(0.0, square - float((scaled * weights).sum()) ** 2 / float((weights * weights).sum()))
    )
