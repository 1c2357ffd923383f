"""Time steps: their equations, orders, error estimates and counts; what happens when they fail."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow.beginning import begin
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Scheme, linearised, start
from pma_grid.flow.stepping.explicit import convexity_limit, stability_limit
from pma_grid.flow.stepping.implicit import ImplicitScheme, ImplicitStage
from pma_grid.flow.stepping.scheme import half_oscillation
from pma_grid.linsolve import Handle, LinearResult, Stencil

SHAPES = {1: (33,), 2: (17, 16), 3: (8, 7, 9)}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])
SHARP: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-13}


def _smooth(dim: int, shape: tuple[int, ...] | None = None) -> pma.Problem:
    return pma.cases.manufactured(dim).problem(shape or SHAPES[dim])


def _contrasted(dim: int, shape: tuple[int, ...], *, wide_target: bool = False) -> pma.Problem:
    """Two narrow bumps on a low floor, to a uniform density or to a wide Gaussian."""
    x = pma.Grid(shape).coordinates()

    def square(*centre: float) -> np.ndarray:
        return np.asarray(sum((v - c) ** 2 for v, c in zip(x, centre, strict=False)))

    source = 0.03 + np.exp(-square(0.3, 0.35, 0.4) / (2 * 0.12**2))
    source += 0.6 * np.exp(-square(0.7, 0.6, 0.65) / (2 * 0.1**2))
    target = np.exp(-square(0.4, 0.5, 0.6) / (2 * 0.35**2)) if wide_target else np.ones(shape)
    return pma.Problem(source, target)


def _steps(problem: pma.Problem, scheme: Scheme, size: float, count: int, **start: Any) -> State:
    """The last of so many equal steps."""
    states = pma.iterate(
        problem, schedule=pma.schedules.constant(size), scheme=scheme, steps=count, **start
    )
    last: State = list(states)[-1]
    return last


def _defect(before: State, after: State) -> float:
    """h - (v - u) / eta in L2(mu) without its constant, for an implicit Euler step."""
    defect = after.residual - (after.phi - before.phi) / after.step.size
    return _deviation(defect, after)


def _deviation(field: np.ndarray, state: State) -> float:
    """L2(mu) norm of a field without its mean under mu."""
    masses = state.operator.masses
    return math.sqrt(float((masses * (field - (masses * field).sum()) ** 2).sum()))


# h and its linearisation


@pytest.mark.parametrize("shape", [(24,), (10, 13), (5, 6, 7), (8, 1), (1, 5, 4)])
def test_linearisation_is_the_derivative_of_h(shape: tuple[int, ...]) -> None:
    """The stencil's matrix, drift and reflections included, against differences of h."""
    problem = _contrasted(len(shape), shape, wide_target=True)
    state = _steps(problem, pma.ImplicitEuler(), 0.01, 2)
    assert isinstance(state.operator, ParabolicOperator)
    equation = state.operator.equation
    rng = np.random.default_rng(1)
    direction = rng.normal(size=shape) * equation.frame.metric[np.array(shape) > 1].min()
    slope = linearised(state).matrix() @ direction.ravel()
    s = 1e-5
    after = equation.evaluate_log(state.phi + s * direction)
    vectors = equation.stencil.vectors.copy()
    before = equation.evaluate_log(state.phi - s * direction)
    finite = ((after - before) / (2 * s)).ravel()
    same = (vectors == equation.stencil.vectors).all(axis=(1, 2))
    assert same.mean() > 0.8
    np.testing.assert_allclose(finite[same], slope[same], atol=1e-4 * np.abs(slope).max())


@DIMS
def test_h_is_log_rho_over_mu_at_the_affine_start(dim: int) -> None:
    """u = |x|^2 / 2 on equal boxes: h = log nu - log mu at the centres."""
    problem = _smooth(dim)
    h = ParabolicOperator(problem).evaluate(np.zeros(problem.source.shape), 0.0)
    direct = np.log(problem.target.values / problem.source.values)
    # centre values against cell averages: the difference is of order h^2
    assert np.abs(h - direct).max() < 0.03
    assert np.std(h) > 0.3


def test_h_is_evaluated_once_a_potential() -> None:
    """The cache is by identity and time; a forcing at another time is not served from it."""
    problem = _smooth(1)
    shape = problem.source.shape
    operator = ParabolicOperator(problem, lambda t: np.full(shape, t))
    phi = np.zeros(shape)
    first = operator.evaluate(phi, 1.0)
    assert operator.evaluate(phi, 1.0) is first
    np.testing.assert_allclose(operator.evaluate(phi, 3.0), first + 2.0, atol=1e-14)


# implicit steps


@DIMS
@pytest.mark.parametrize("size", [1e-3, 1e-1, 10.0, 1e3])
def test_implicit_euler_solves_its_equation_gauge_included(dim: int, size: float) -> None:
    """u_{k+1} - eta h(u_{k+1}) = u_k, mean and all."""
    scheme = pma.ImplicitEuler(rtol=1e-9, atol=1e-12)
    states = list(pma.iterate(
        _smooth(dim), schedule=pma.schedules.constant(size), scheme=scheme, steps=3
    ))  # fmt: skip
    scale = np.std(states[0].residual)
    for before, after in itertools.pairwise(states):
        left = (after.potential - before.potential) / size - after.residual
        assert np.abs(left).max() < 1e-7 * scale + 1e-12
        assert abs((after.operator.masses * left).sum()) < 1e-11
        assert abs(after.phi.mean()) < 1e-16
        assert after.time == before.time + size and after.index == before.index + 1


@pytest.mark.parametrize("scheme", [pma.ImplicitEuler(), pma.TRBDF2()])
def test_default_tolerance_is_kept_by_every_step(scheme: Any) -> None:
    states = list(pma.iterate(
        _contrasted(2, (20, 21)), schedule=pma.schedules.constant(0.02), scheme=scheme, steps=12
    ))  # fmt: skip
    if scheme.name == "implicit_euler":
        for before, after in itertools.pairwise(states):
            scale = max(float(np.std(before.residual)), _deviation(before.residual, before))
            assert _defect(before, after) <= scheme.rtol * scale + scheme.atol
    assert [s.step.attempts for s in states[1:]] == [1] * 12


def test_the_gauge_does_not_enter_the_second_differences() -> None:
    """A start shifted by 10^6 takes the same steps: phi to the last bit, the offset apart."""
    problem = _smooth(2)
    scheme = pma.ImplicitEuler()
    one = scheme.step(begin(problem, None, "source", None), 0.1)
    state = begin(problem, None, "source", None)
    other = scheme.step(dataclasses.replace(state, offset=1e6), 0.1)
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.phi, other.phi)
    assert other.offset == pytest.approx(1e6 + one.offset, abs=1e-8)


def test_the_gauge_drifts_with_the_mass_constant_only() -> None:
    """At equilibrium h = alpha: long steps move u by eta alpha and nothing else."""
    problem = _smooth(1)
    state = _steps(problem, pma.ImplicitEuler(), 1e3, 5)
    after = pma.ImplicitEuler().step(state, 1e3)
    assert after is not None
    drift = after.potential - state.potential
    assert state.mass_constant != 0
    np.testing.assert_allclose(drift, 1e3 * state.mass_constant, rtol=1e-6)
    np.testing.assert_allclose(after.phi, state.phi, atol=1e-12)


# order in time and error estimates


def _started(dim: int, shape: tuple[int, ...]) -> tuple[pma.Problem, State]:
    """A problem and a state past the initial layer, where h is even about the faces."""
    problem = _smooth(dim, shape)
    return problem, _steps(problem, pma.TRBDF2(**SHARP), 0.05 / 32, 32)


ORDERS: dict[str, tuple[Scheme, int]] = {
    "euler": (pma.ImplicitEuler(**SHARP), 1),
    "trbdf2": (pma.TRBDF2(**SHARP), 2),
    "explicit": (pma.Explicit(), 1),
}
# Steps of the coarsest run; explicit ones must be stable.
COUNTS = {"euler": (16, 16, 16), "trbdf2": (8, 8, 8), "explicit": (512, 256, 128)}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize(("dim", "shape"), [(1, (24,)), (2, (12, 11)), (3, (7, 7, 7))])
def test_order_in_time(name: str, dim: int, shape: tuple[int, ...]) -> None:
    """Differences of successive halvings fall by 2^order: potentials, and their means apart."""
    (scheme, order), count = ORDERS[name], COUNTS[name][dim - 1]
    problem, begun = _started(dim, shape)
    ends = [_steps(problem, scheme, 0.1 / n, n, initial=begun) for n in
            (count, 2 * count, 4 * count)]  # fmt: skip
    coarse, fine = (
        half_oscillation(a.potential - b.potential) for a, b in itertools.pairwise(ends)
    )
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)
    means = [abs(a.offset - b.offset) for a, b in itertools.pairwise(ends)]
    if dim == 1:
        assert math.log2(means[0] / means[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", ["euler", "trbdf2"])
@pytest.mark.parametrize("size", [0.005, 0.02])
@pytest.mark.parametrize(("dim", "shape"), [(1, (24,)), (2, (12, 11)), (3, (7, 7, 7))])
def test_error_estimate_is_the_local_error(
    name: str, dim: int, shape: tuple[int, ...], size: float
) -> None:
    """Within a factor of two, and above rather than below."""
    problem, begun = _started(dim, shape)
    one = _steps(problem, ORDERS[name][0], size, 1, initial=begun)
    truth = _steps(problem, pma.TRBDF2(**SHARP), size / 32, 32, initial=begun)
    error = half_oscillation(one.potential - truth.potential)
    assert 0.9 < one.step.error / error < 2
    assert one.order == ORDERS[name][1]


def test_explicit_error_estimate_is_the_local_error() -> None:
    problem, begun = _started(1, (16,))
    size = 0.3 * stability_limit(begun)
    one = _steps(problem, pma.Explicit(), size, 1, initial=begun)
    truth = _steps(problem, pma.TRBDF2(**SHARP), size / 8, 8, initial=begun)
    error = half_oscillation(one.potential - truth.potential)
    assert 0.5 < one.step.error / error < 2


# what steps cost

SOLVERS = {"geometric": pma.ImplicitEuler(), "amg": pma.ImplicitEuler(linear_solver=pma.AMG())}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize(
    ("case", "shape"),
    [
        (pma.cases.manufactured(1), (128,)),
        (pma.cases.gaussian_mixtures(), (48, 48)),
        (pma.cases.manufactured(2), (48, 48)),
        (pma.cases.manufactured(3), (9, 10, 11)),
    ],
)
@pytest.mark.parametrize("size", [0.002, 0.01])
def test_extrapolated_starts_leave_one_newton_step(
    name: str, case: pma.cases.Case, shape: tuple[int, ...], size: float
) -> None:
    flow = pma.evolve(
        case.problem(shape), schedule=pma.schedules.constant(size), scheme=SOLVERS[name],
        steps=100, record=("kl",),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED and flow.stats["rejected"] == 0
    assert flow.stats["newton"] <= 2 * 100
    assert flow.stats["linear"] <= 8 * 100
    assert (np.diff(flow["kl"]) < 0).all()
    if len(shape) > 1 or name == "amg":
        # one hierarchy serves many steps; in one dimension each factorisation is its own
        assert flow.stats["setups"] <= 5


def test_trbdf2_has_two_stages_a_step() -> None:
    flow = pma.evolve(
        _smooth(2, (32, 32)), schedule=pma.schedules.constant(0.005), scheme=pma.TRBDF2(),
        steps=40, record=(),
    )  # fmt: skip
    assert flow.stats["newton"] <= 6 * 40
    assert flow.stats["setups"] <= 4


def test_extrapolation_does_not_trust_much_longer_steps() -> None:
    """A step 10^4 times the last starts from the state itself and still converges."""
    states = list(pma.iterate(
        _smooth(2), schedule=lambda k, t, r: (1e-4, 1e-4, 1.0)[k], steps=3, scheme=SOLVERS["amg"]
    ))  # fmt: skip
    assert [s.step.attempts for s in states[1:]] == [1, 1, 1]
    assert states[-1].step.newton <= 8


# monotone quantities

NAMES = ("kl", "reverse_kl", "tv", "chi2", "max_h")


def _assert_monotone(flow: pma.Flow, slack: float) -> None:
    """KL both ways, TV, chi^2 and max h fall; min h rises."""
    for name in NAMES:
        assert np.diff(flow[name]).max(initial=-1) <= slack, name
    assert np.diff(flow["min_h"]).min(initial=1) >= -slack


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("size", [1e-3, 1e-1, 10.0, 1e3])
@pytest.mark.parametrize("shape", [(64,), (22, 23)])
def test_implicit_steps_of_any_size_are_monotone(
    name: str, shape: tuple[int, ...], size: float, wide: bool
) -> None:
    """Contrasted sources.  The slack is that of ties between superbases."""
    scheme = dataclasses.replace(SOLVERS[name], rtol=1e-8)
    flow = pma.evolve(
        _contrasted(len(shape), shape, wide_target=wide), schedule=pma.schedules.constant(size),
        scheme=scheme, steps=6, record=(*NAMES, "min_h", "convexity_margin"),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED
    assert flow["kl"][0] > 0.1 and flow["kl"][-1] < 0.8 * flow["kl"][0]
    assert flow["convexity_margin"].min() > 0
    _assert_monotone(flow, 5e-6)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("size", [1e-3, 1e-1, 10.0, 1e3])
def test_implicit_steps_in_three_dimensions_are_monotone(name: str, size: float) -> None:
    """Local minima of the determinant over superbases move h by 1e-4 at equilibrium."""
    flow = pma.evolve(
        _contrasted(3, (10, 11, 12)), schedule=pma.schedules.constant(size),
        scheme=SOLVERS[name], steps=6, record=(*NAMES, "min_h"),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED
    assert flow["kl"][0] > 0.1 and flow["kl"][-1] < 0.8 * flow["kl"][0]
    _assert_monotone(flow, 3e-4)
    assert np.diff(flow["kl"]).max() < 1e-10


def test_three_dimensional_steps_do_not_hide_lost_convexity() -> None:
    """Ten cells an axis under two bumps: a walk that overlooked a dent let max h rise to 2.1."""
    flow = pma.evolve(
        _contrasted(3, (10, 10, 10), wide_target=True), schedule=pma.schedules.constant(0.01),
        scheme=pma.TRBDF2(), steps=5, record=("max_h", "min_h", "kl"),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED
    assert np.diff(flow["max_h"]).max() < 0 < np.diff(flow["min_h"]).min()
    # and a fresh evaluation, which walks from the axes, agrees on where u is convex
    assert np.isfinite(flow.transport.residual).all()


# steps that cannot be solved at once


def _narrow(n: int, width: float = 0.03, floor: float = 0.01) -> pma.Problem:
    """Uniform to a bump of width .03 on a floor of .01: Newton from the identity fails at .1."""
    x = pma.Grid((n,)).coordinates()[0]
    return pma.Problem(np.ones(n), floor + np.exp(-((x - 0.35) ** 2) / (2 * width**2)))


@pytest.mark.parametrize(("n", "size"), [(64, 1e3), (256, 1.0)])
def test_hard_steps_are_ramped_and_always_solved(n: int, size: float) -> None:
    """The maximum principle needs log nu to change by less than 2 across a stencil: 256 cells."""
    scheme = pma.ImplicitEuler()
    states = list(
        pma.iterate(_narrow(n), schedule=pma.schedules.constant(size), scheme=scheme, steps=4)
    )
    # the first one cannot be solved at once, the last is easy
    assert states[1].step.newton > 2 * scheme.max_iterations
    assert states[-1].step.newton <= scheme.max_iterations
    for before, after in itertools.pairwise(states):
        scale = max(float(np.std(before.residual)), _deviation(before.residual, before))
        tol = scheme.rtol * scale + 1e-9
        assert _defect(before, after) <= tol
        assert after.step.size == size and after.step.attempts == 1
        assert pma.observables.kl(after) <= pma.observables.kl(before)
        assert n < 256 or after.residual.max() <= before.residual.max() + tol


def test_steps_that_no_ramp_solves_are_halved() -> None:
    """Two Newton iterations a stage are too few for a long step, and enough for a short one."""
    scheme = pma.ImplicitEuler(max_iterations=2, rtol=1e-6)
    size = 0.3
    schedule = pma.schedules.constant(size)
    states = list(pma.iterate(_narrow(64), schedule=schedule, scheme=scheme, steps=3))
    made = states[1].step
    assert made.attempts > 1 and made.size == size * 0.5 ** (made.attempts - 1)
    # the next step does not begin from the full size again
    second = states[2].step
    assert second.size == 4 * made.size * 0.5 ** (second.attempts - 1)
    for before, after in itertools.pairwise(states):
        assert _defect(before, after) <= 1e-6 * np.std(before.residual) + 1e-9


def _solver(**other: Any) -> ImplicitScheme:
    options: dict[str, Any] = {
        "linear_solver": pma.Direct(),
        "rtol": 1e-8,
        "atol": 1e-12,
        "max_iterations": 20,
    }
    return ImplicitScheme(**(options | other))


def test_ramp_reaches_the_solution_of_the_stage() -> None:
    """The way does not matter: through shorter stages, or at once."""
    operator = ParabolicOperator(_smooth(1))
    phi = np.zeros(operator.problem.source.shape)
    stage = ImplicitStage(operator, phi, 0.3, 0.0)
    direct = _solver()._solve(stage, guess=phi, convex=phi, scale=1.0, handle=None)
    ramped = _solver()._ramp(stage, phi, 1e-8, (5, 7))
    assert direct is not None and ramped is not None
    np.testing.assert_allclose(ramped.phi, direct.phi, atol=1e-9)
    # what was spent before is counted in
    assert ramped.newton > direct.newton + 5 and ramped.linear >= 7 + ramped.newton - 5


def test_ramp_rescues_a_stage_that_newton_cannot_solve() -> None:
    """A bump of width .04: neither start converges in 20 iterations, shorter stages do."""
    operator = ParabolicOperator(_narrow(128, 0.04, 0.02))
    phi, beta = np.zeros(128), 0.5
    scale = float(np.std(operator.evaluate(phi, 0.0)))
    stage, solver = ImplicitStage(operator, phi, beta, 0.0), _solver(rtol=1e-6)
    assert not solver._newton(stage, phi, 1e-6 * scale, None)[1]
    solved = solver._solve(stage, guess=phi, convex=phi, scale=scale, handle=None)
    assert solved is not None and solved.newton > 3 * 20
    defect = solved.residual - (solved.phi - phi) / beta
    assert np.std(defect) <= 1e-5 * scale
    assert np.isfinite(solved.residual).all() and abs(solved.phi.mean()) < 1e-16


def test_one_newton_step_is_not_enough_and_is_not_accepted() -> None:
    scheme = pma.ImplicitEuler(max_iterations=1)
    state = begin(_narrow(64), None, "source", None)
    assert scheme.step(state, 1.0) is None
    flow = pma.evolve(
        _narrow(64), schedule=pma.schedules.constant(1.0), scheme=scheme, steps=2, record=()
    )
    assert flow.status in (pma.Status.STEP_FAILED, pma.Status.COMPLETED)
    assert flow.stats["rejected"] > 0 or len(flow) == 0


class Stubborn:
    """Implicit Euler that cannot take the step from index 2 on."""

    name, order, weights = "stubborn", 1, (0.0, 1.0)

    def __init__(self) -> None:
        self.sizes: list[float] = []

    def step(self, state: State, step_size: float) -> State | None:
        if state.index < 2:
            taken: State | None = pma.ImplicitEuler().step(state, step_size)
            return taken
        self.sizes.append(step_size)
        return None


def test_steps_that_no_halving_helps_give_step_failed_and_what_there_is() -> None:
    scheme = Stubborn()
    flow = pma.evolve(
        _smooth(1), schedule=pma.schedules.constant(0.1), scheme=scheme, steps=5, record=("kl",)
    )
    assert flow.status is pma.Status.STEP_FAILED and not flow.status.succeeded
    assert len(flow) == 2 and flow["kl"].shape == (3,)
    assert scheme.sizes[:3] == [0.1, 0.05, 0.025] and len(scheme.sizes) == 14
    with pytest.raises(pma.ConvergenceError, match=r"step 2 at t = 0.2, last size tried"):
        list(pma.iterate(_smooth(1), schedule=lambda k, t, r: 0.1, scheme=Stubborn(), steps=3))


def test_broken_linear_solvers_raise_nothing() -> None:
    """Newton's method without directions: only steps that the extrapolation solves remain."""

    class Broken:
        def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
            raise np.linalg.LinAlgError("singular")

    scheme = pma.ImplicitEuler(linear_solver=Broken())
    assert scheme.step(begin(_smooth(1), None, "source", None), 0.1) is None
    flow = pma.evolve(
        _smooth(1), schedule=pma.schedules.constant(0.1), scheme=scheme, steps=1, record=("kl",)
    )
    assert flow.status is pma.Status.STEP_FAILED and flow.stats["newton"] == 0


def test_rejected_trials_say_nothing_about_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial with a vanishing second difference leaves infinite weights: no reason to accept."""
    operator = ParabolicOperator(_smooth(1))
    phi = np.zeros(operator.problem.source.shape)
    evaluate = operator.evaluate

    def dented(potential: np.ndarray, time: float) -> np.ndarray:
        value = evaluate(potential, time)
        if potential is phi:
            return value
        operator.equation.stencil.weights[0] = np.inf
        return np.full_like(value, np.nan)

    class Lazy:
        setups = 1

        def solve(self, rhs: np.ndarray, **_: object) -> LinearResult:
            return LinearResult(rhs.copy(), 0.0, 1, 0.0, True)

    class Solver:
        def setup(self, stencil: Stencil, previous: Handle | None = None) -> Any:
            return Lazy()

    monkeypatch.setattr(operator, "evaluate", dented)
    stage, solver = ImplicitStage(operator, phi, 0.1, 0.0), _solver(linear_solver=Solver())
    _, done = solver._newton(stage, phi, 1e-8, None)
    assert not done


REFUSED: list[tuple[Any, str, Any]] = [
    *itertools.product((pma.ImplicitEuler, pma.TRBDF2), ("rtol", "atol"), (-1.0, math.nan)),
    (pma.ImplicitEuler, "max_iterations", 0),
    *((pma.Explicit, "cap", value) for value in ("cfl", True, 1.0)),
]


@pytest.mark.parametrize(("kind", "name", "value"), REFUSED)
def test_settings_out_of_range(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match=f"{name} is {value!r}"):
        kind(**{name: value})


# explicit steps


@pytest.mark.parametrize(("dim", "shape"), [(1, (32,)), (2, (12, 12))])
def test_stability_limit_is_sharp(dim: int, shape: tuple[int, ...]) -> None:
    """2 / lambda_max: from noise of 1e-6, 1 % below decays and 1 % above is lost in 1000 steps."""
    problem = _smooth(dim, shape)
    u = pma.solve(problem, tol=1e-10, averaging=False, fallback=False).potential
    noise = np.random.default_rng(0).normal(size=shape)
    u = u + 1e-6 * min(problem.source.grid.spacing) ** 2 * noise
    state = begin(problem, u, "source", None)
    limit = stability_limit(state)
    largest = np.abs(np.linalg.eigvals(linearised(state).matrix().toarray())).max()
    assert limit == pytest.approx(2 / largest, rel=1e-5)
    assert limit < 0.01 * convexity_limit(state)
    below = pma.evolve(
        problem, schedule=pma.schedules.constant(0.99 * limit), scheme=pma.Explicit(), steps=1000,
        initial=u, record=("kl",),
    )  # fmt: skip
    assert below["kl"][-1] < 1e-4 * below["kl"][0]
    with pytest.raises(pma.LostConvexityError) as lost:
        pma.evolve(
            problem, schedule=pma.schedules.constant(1.01 * limit), scheme=pma.Explicit(),
            steps=1000, initial=u, record=("kl",),
        )  # fmt: skip
    assert lost.value.result["kl"][-1] > 1e6 * lost.value.result["kl"][0]


def test_convexity_limit_is_sharp_in_one_dimension() -> None:
    """1.001 of it loses convexity at once, .999 does not."""
    problem = _smooth(1, (20,))
    state = begin(problem, None, "source", None)
    limit = convexity_limit(state)
    assert np.isfinite(pma.Explicit().step(state, 0.999 * limit).residual).all()
    with pytest.raises(pma.LostConvexityError, match=r"step 0 of size .* lost convexity at \d"):
        pma.Explicit().step(state, 1.001 * limit)
    # in one dimension it is the largest ratio of second differences
    h = np.pad(state.residual, 1, mode="symmetric")
    bend = h[2:] + h[:-2] - 2 * h[1:-1]
    assert limit == pytest.approx(1 / (-bend * linearised(state).weights[:, 0]).max(), rel=1e-12)


@DIMS
def test_convexity_limit_bounds_the_steps(dim: int) -> None:
    """Steps up to it stay convex up to the wide stencils, 1.5 times it do not; inf of convex h."""
    state = begin(_smooth(dim), None, "source", None)
    limit = convexity_limit(state)
    assert np.isfinite(pma.Explicit().step(state, 0.9 * limit).residual).all()
    with pytest.raises(pma.LostConvexityError):
        pma.Explicit().step(state, 1.5 * limit)
    flat = np.ones(SHAPES[dim])
    assert convexity_limit(begin(pma.Problem(flat, flat), None, "source", None)) == math.inf


def test_lost_convexity_carries_the_flow() -> None:
    problem = _smooth(1, (32,))
    with pytest.raises(pma.LostConvexityError) as lost:
        pma.evolve(
            problem, schedule=lambda k, t, r: 1e-5 if k < 3 else 1.0, scheme=pma.Explicit(), steps=9
        )
    flow = lost.value.result
    assert flow.status is pma.Status.LOST_CONVEXITY and not flow.status.succeeded
    assert len(flow) == 3 and flow["kl"].shape == (4,)
    assert np.isfinite(flow.potential).all()
    assert "step 3 of size 1.000e+00" in str(lost.value)
    with pytest.raises(pma.LostConvexityError, match="step 0"):
        list(pma.iterate(problem, schedule=lambda k, t, r: 1.0, scheme=pma.Explicit(), steps=1))


@pytest.mark.parametrize(("dim", "shape"), [(1, (24,)), (2, (10, 11)), (3, (6, 5, 5))])
def test_capped_steps_stay_below_the_limits(dim: int, shape: tuple[int, ...]) -> None:
    problem = _contrasted(dim, shape)
    states = list(pma.iterate(
        problem, schedule=pma.schedules.constant(1.0), scheme=pma.Explicit(cap="stability"),
        steps=40,
    ))  # fmt: skip
    for before, after in itertools.pairwise(states):
        assert after.step.size < stability_limit(before)
        assert after.step.size < convexity_limit(before)
        assert after.time == before.time + after.step.size
        assert pma.observables.kl(after) < pma.observables.kl(before)
    # the cap is not far below: a share of Gershgorin's bound
    assert states[1].step.size > 0.2 * min(
        stability_limit(states[0]), convexity_limit(states[0])
    )  # fmt: skip


def test_convexity_cap_shortens_to_its_limit_only() -> None:
    state = begin(_smooth(1), None, "source", None)
    capped = pma.Explicit(cap="convexity").step(state, 1.0)
    assert capped.step.size == pytest.approx(0.9 * convexity_limit(state))
    small = 1e-6
    assert pma.Explicit(cap="convexity").step(state, small).step.size == small


def test_limits_of_a_single_cell_are_infinite() -> None:
    state = begin(pma.Problem(np.ones((1, 1)), np.ones((1, 1))), None, "source", None)
    assert stability_limit(state) == math.inf and convexity_limit(state) == math.inf


# where all of them end


# superbases of corner cells are tied: which ones a walk ends at depends on where it began
SAME = {1: 1e-7, 2: 2e-5, 3: 5e-4}


@pytest.mark.parametrize("shape", [(16,), (9, 8), (8, 9, 8)])
def test_explicit_implicit_and_solve_reach_the_same_potential(shape: tuple[int, ...]) -> None:
    dim = len(shape)
    problem = _smooth(dim, shape)
    exact = pma.solve(problem, tol=1e-11, averaging=False, fallback=False).potential
    schemes: list[tuple[Scheme, float, int]] = [
        (pma.ImplicitEuler(), 10.0, 8),
        (pma.TRBDF2(), 0.5, 20),
        (pma.Explicit(cap="stability"), 1.0, 4000),
    ]
    for scheme, size, steps in schemes:
        end = pma.evolve(
            problem, schedule=pma.schedules.constant(size), scheme=scheme, steps=steps, tol=1e-8,
            record=(),
        )  # fmt: skip
        assert end.status is pma.Status.CONVERGED, scheme.name
        assert half_oscillation(end.transport.potential - exact) < SAME[dim]


def test_start_records_no_step() -> None:
    problem = _smooth(1)
    operator = ParabolicOperator(problem)
    state = start(operator, np.zeros(problem.source.shape), 3.0, 1.5, 7)
    assert (state.index, state.time, state.step.size, state.older) == (7, 1.5, 0.0, None)
    assert state.potential.mean() == pytest.approx(operator.frame.quadratic().mean() + 3.0)
    assert state.forward_divergence == state.backward_divergence == 0.0
