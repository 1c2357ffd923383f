"""Oracles: Gaussian flows against the matrix exponential, exact identities, and planted errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm, sqrtm

import pma_grid as pma
from pma_grid.cases.oracles import GaussianPair, LaguerreScheme, Quadratic
from pma_grid.cases.oracles.mirror_steps import excess
from pma_grid.flow import schedules
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.runtime.errors import InvalidInputError, LostConvexityError

Array = np.ndarray
dims = pytest.mark.parametrize("dim", [1, 2, 3])
schemes = pytest.mark.parametrize("scheme", ["explicit", "implicit"])


def _spd(rng: np.random.Generator, dim: int) -> Array:
    half = rng.normal(size=(dim, dim))
    return np.asarray(half @ half.T + 0.3 * np.eye(dim))


def _pair(dim: int) -> tuple[GaussianPair, Quadratic]:
    """Non-commuting covariances, and a start about another centre."""
    rng = np.random.default_rng(dim)
    pair = GaussianPair(rng.normal(size=dim), _spd(rng, dim), rng.normal(size=dim), _spd(rng, dim))
    start = Quadratic(0.3, rng.normal(size=dim), 2 * _spd(rng, dim), rng.normal(size=dim))
    return pair, start


def _kl(m1: Array, C1: Array, m2: Array, C2: Array) -> float:
    """KL(N(m1, C1) | N(m2, C2)) as the textbooks write it."""
    shift = m2 - m1
    logs = np.linalg.slogdet(C2)[1] - np.linalg.slogdet(C1)[1]
    trace = np.trace(np.linalg.solve(C2, C1))
    return float(0.5 * (trace + shift @ np.linalg.solve(C2, shift) - len(m1) + logs))


def _slope(f: Callable[[float], float], t: float, step: float = 1e-3) -> float:
    """df/dt by sixth-order differences."""
    return sum(
        w * (f(t + k * step) - f(t - k * step)) / (60 * step) for k, w in ((1, 45), (2, -9), (3, 1))
    )


# -- Gaussian pairs ---------------------------------------------------------------------------


@dims
@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 4.0])
def test_the_solution_is_that_of_the_matrix_exponential(dim: int, t: float) -> None:
    pair, start = _pair(dim)
    about = start.about(pair.source_mean)
    S, T, n = pair.source_cov, pair.target_cov, pair.target_mean
    zero = np.zeros((dim, dim))
    flow = expm(t * np.block([[zero, np.linalg.inv(T)], [np.linalg.inv(S), zero]]))
    both = flow @ np.vstack([np.eye(dim), about.B])
    xi, y = both[:dim], both[dim:]
    u = pair.at(t, start)
    np.testing.assert_allclose(u.B, y @ np.linalg.inv(xi), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(u.q, n + np.linalg.solve(xi.T, about.q - n), rtol=1e-11, atol=1e-11)


@dims
@pytest.mark.parametrize("t", [0.01, 0.5, 3.0])
def test_the_potential_solves_the_equation(dim: int, t: float) -> None:
    """du/dt = log nu(grad u) + log det D2u - log mu at points, constant included."""
    pair, start = _pair(dim)
    x = np.random.default_rng(5).normal(size=(dim, 7))
    u = pair.at(t, start)
    nu = _log_gaussian(u.gradient(*x), pair.target_mean, pair.target_cov)
    mu = _log_gaussian(x, pair.source_mean, pair.source_cov)
    h = nu + np.linalg.slogdet(u.B)[1] - mu
    for k in range(x.shape[1]):
        dudt = _slope(lambda s, k=k: float(pair.at(s, start).potential(*x[:, k])), t)  # type: ignore[misc]
        assert dudt == pytest.approx(h[k], rel=2e-6, abs=1e-8)


def _log_gaussian(x: Array, mean: Array, cov: Array) -> Array:
    z = x - mean[:, None]
    logs = np.linalg.slogdet(2 * math.pi * cov)[1]
    return np.asarray(-0.5 * (z * np.linalg.solve(cov, z)).sum(axis=0) - 0.5 * logs)


def test_one_dimension_in_hyperbolic_functions() -> None:
    S, T, m, n, t = 1.0, 0.49, 0.3, -0.2, 0.7
    u = GaussianPair([m], [[S]], [n], [[T]]).at(t)
    lam, b = 1 / math.sqrt(S * T), math.sqrt(T / S)
    xi = math.cosh(lam * t) + math.sinh(lam * t) / b
    assert u.B[0, 0] == pytest.approx(b * (1 + b * math.tanh(lam * t)) / (b + math.tanh(lam * t)))
    assert u.q[0] == pytest.approx(n + (m - n) / xi, rel=1e-14)


@dims
def test_the_limit_is_the_brenier_potential(dim: int) -> None:
    pair, start = _pair(dim)
    S, T = pair.source_cov, pair.target_cov
    root = np.real(sqrtm(S))
    middle = np.real(sqrtm(root @ T @ root))
    B = np.linalg.solve(root, np.linalg.solve(root, middle).T)
    u = pair.stationary(start)
    np.testing.assert_allclose(u.B, B, rtol=1e-10)
    np.testing.assert_allclose(u.q, pair.target_mean, rtol=1e-14)
    assert pair.at(80.0 / pair.rates()[0], start).a == pytest.approx(u.a, rel=1e-14)
    rates = np.sort(np.linalg.eigvals(B @ np.linalg.inv(T)).real)
    np.testing.assert_allclose(pair.rates(), rates, rtol=1e-10)
    assert pair.symmetrised_kl(u) < 1e-26
    assert pair.dissipation(u) < 1e-26


@dims
def test_the_mean_decays_at_the_slowest_rate(dim: int) -> None:
    pair, start = _pair(dim)
    t = 12.0 / pair.rates()[0]
    shift = [float(np.linalg.norm(pair.at(s, start).q - pair.target_mean)) for s in (t, t + 1)]
    assert math.log(shift[0] / shift[1]) == pytest.approx(pair.rates()[0], rel=1e-3)


@dims
def test_entropies_and_divergences_are_those_of_the_textbook(dim: int) -> None:
    pair, start = _pair(dim)
    S, T, n = pair.source_cov, pair.target_cov, pair.target_mean
    u = pair.at(0.3, start)
    mean, cov = pair.pullback(u)
    np.testing.assert_allclose(u.gradient(*mean), n, atol=1e-13)
    assert pair.kl(u) == pytest.approx(_kl(mean, cov, pair.source_mean, S), rel=1e-11)
    assert pair.reverse_kl(u) == pytest.approx(_kl(pair.source_mean, S, mean, cov), rel=1e-11)
    assert pair.symmetrised_kl(u) == pytest.approx(pair.kl(u) + pair.reverse_kl(u), rel=1e-15)
    root = np.real(sqrtm(S))
    gap = n - u.q
    half = np.trace(u.B @ S) + np.trace(np.linalg.solve(u.B, T)) + gap @ np.linalg.solve(u.B, gap)
    least = np.trace(np.real(sqrtm(root @ T @ root)))
    assert pair.bregman(u) == pytest.approx(0.5 * half - least, rel=1e-11)


@dims
def test_divergences_along_the_flow_have_their_slopes(dim: int) -> None:
    """dD(mu|rho)/dt = -S and dKL(rho|mu)/dt = -I."""
    pair, start = _pair(dim)
    u = pair.at(0.5, start)
    slope = _slope(lambda s: pair.bregman(pair.at(s, start)), 0.5)
    assert slope == pytest.approx(-pair.symmetrised_kl(u), rel=1e-8)
    slope = _slope(lambda s: pair.kl(pair.at(s, start)), 0.5)
    assert slope == pytest.approx(-pair.dissipation(u), rel=1e-8)


@dims
def test_small_divergences_keep_their_digits(dim: int) -> None:
    """Near equilibrium D falls by e^{-2 lam} a unit of time down to 1e-24 and S = 2 lam D."""
    pair, start = _pair(dim)
    lam = pair.rates()[0]
    early, late = (pair.at(t / lam, start) for t in (22.0, 24.0))
    assert 1e-26 < pair.bregman(late) < 1e-17
    assert pair.bregman(early) / pair.bregman(late) == pytest.approx(math.exp(4), rel=1e-2)
    assert pair.symmetrised_kl(late) / pair.bregman(late) == pytest.approx(2 * lam, rel=1e-2)


@dims
def test_steps_solve_their_equations(dim: int) -> None:
    """The explicit step from v lands as far above v as v lies above u, if v is implicit from u."""
    pair, start = _pair(dim)
    u = pair.at(0.4, start)
    v = pair.implicit_step(u, 0.05)
    w = pair.explicit_step(v, 0.05)
    x = np.random.default_rng(2).normal(size=(dim, 9))
    back = 2 * v.potential(*x) - w.potential(*x)
    np.testing.assert_allclose(back, u.potential(*x), atol=1e-12)
    # and both are first-order steps of the flow
    near = pair.at(0.4 + 1e-4, start)
    for step in (pair.explicit_step, pair.implicit_step):
        np.testing.assert_allclose(step(u, 1e-4).B, near.B, atol=3e-6)


def test_implicit_steps_of_any_size_reach_equilibrium() -> None:
    pair, start = _pair(3)
    flow = pair.mirror_flow(schedules.constant(1e6), 3, "implicit", start)
    assert flow["kl"][-1] < 1e-20
    assert np.isfinite(flow["bregman"]).all()


def test_a_quadratic_is_the_same_about_any_centre() -> None:
    _, u = _pair(2)
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    moved = u.about([1.0, -2.0])
    np.testing.assert_allclose(u.potential(*x), moved.potential(*x), atol=1e-12)
    np.testing.assert_allclose(u.gradient(*x), moved.gradient(*x), atol=1e-12)
    step = 1e-5
    slope = (u.potential(x[0] + step, x[1]) - u.potential(x[0] - step, x[1])) / (2 * step)
    np.testing.assert_allclose(u.gradient(*x)[0], slope, atol=1e-8)


def test_excess_is_smooth_where_its_formulas_meet() -> None:
    x = np.array([-0.5, -0.05, -1e-9, 0.0, 1e-9, 0.0499999, 0.0500001, 2.0])
    want = [_excess_in_long(v) for v in x]
    np.testing.assert_allclose(excess(x), want, rtol=1e-13)


def _excess_in_long(x: float) -> float:
    if abs(x) > 0.1:
        return x - math.log1p(x)
    return math.fsum((-x) ** k / k for k in range(2, 40))


# -- identities of mirror steps, for both oracles ---------------------------------------------


def _density(n: int, *bumps: tuple[float, float, float]) -> Array:
    x = (np.arange(n) + 0.5) / n
    total = np.full(n, 0.15)
    for weight, centre, width in bumps:
        total += weight * np.exp(-0.5 * ((x - centre) / width) ** 2)
    return total


def _laguerre(n: int = 48, refinement: int = 2) -> LaguerreScheme:
    source = _density(n, (1.0, 0.3, 0.08), (0.7, 0.7, 0.1))
    target = _density(refinement * n - 5, (1.0, 0.4, 0.35))
    return LaguerreScheme(pma.Problem(source, target))


ORACLES: dict[str, Callable[[], Any]] = {
    "gaussian-1": lambda: _pair(1)[0],
    "gaussian-2": lambda: _pair(2)[0],
    "gaussian-3": lambda: _pair(3)[0],
    "laguerre": _laguerre,
}
# explicit steps of the second are bound by h^2
SIZES = {"explicit": {"gaussian": 0.02, "laguerre": 1e-4}, "implicit": dict.fromkeys(
    ("gaussian", "laguerre"), 0.02)}  # fmt: skip
oracles = pytest.mark.parametrize("name", ORACLES)


def _run(oracle: Any, schedule: Any, steps: int, scheme: Any) -> pma.Flow:
    run = oracle.run if isinstance(oracle, LaguerreScheme) else oracle.mirror_flow
    flow = run(schedule, steps, scheme)
    assert isinstance(flow, pma.Flow)
    return flow


def _gaps(flow: pma.Flow) -> Array:
    """Residuals of the discrete EVI with comparator mu, relative to D_0."""
    eta, S, D = flow.step_sizes, flow["symmetrised_kl"], flow["bregman"]
    if flow.stats["weights"][0]:
        gap = np.diff(D) + eta * S[:-1] - flow["forward_divergence"][1:]
    else:
        gap = np.diff(D) + eta * S[1:] + flow["backward_divergence"][1:]
    return np.asarray(np.abs(gap) / D[0])


def _size(name: str, scheme: str) -> float:
    return SIZES[scheme][name.split("-")[0]]


@oracles
@schemes
def test_the_evi_holds_to_rounding(name: str, scheme: Any) -> None:
    flow = _run(ORACLES[name](), schedules.inverse_sqrt(_size(name, scheme)), 25, scheme)
    assert len(flow) == 25
    assert flow.status is pma.Status.COMPLETED
    assert _gaps(flow).max() < 1e-14
    # a large share of D_0 is spent, so that the test has something to see
    assert flow["bregman"][-1] < 0.95 * flow["bregman"][0]


@oracles
@schemes
def test_kl_falls_by_the_divergences(name: str, scheme: Any) -> None:
    """KL falls; in implicit steps by (D forward + D backward)/eta + KL(rho_k|rho_{k+1})."""
    oracle = ORACLES[name]()
    flow = _run(oracle, schedules.constant(_size(name, scheme)), 12, scheme)
    kl = flow["kl"]
    both = flow["forward_divergence"] + flow["backward_divergence"]
    assert (both[1:] > 0).all()
    assert (np.diff(kl) < 0).all()
    if scheme == "implicit":
        # KL falls by at least the divergences over eta: the rest is KL(rho_k | rho_{k+1}) >= 0
        assert (-np.diff(kl) >= both[1:] / flow.step_sizes * (1 - 1e-12)).all()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_evi_holds_for_other_comparators(dim: int) -> None:
    """D(pi|u1) - D(pi|u0) = eta (KL(pi|mu) - KL(rho|mu) - KL(pi|rho)) + D(rho|rho_1)."""
    pair, start = _pair(dim)
    other = pair.at(0.2, start)
    u = pair.at(0.6, start)
    v = pair.explicit_step(u, 0.05)
    pi, rho = pair.pullback(other), pair.pullback(u)
    entropies = pair.kl(other) - pair.kl(u) - _kl(*pi, *rho)
    gap = pair.divergence(other, v) - pair.divergence(other, u)
    assert gap == pytest.approx(0.05 * entropies + pair.divergence(u, v), abs=1e-13)


class _Wrong(LaguerreScheme):
    """A scheme with one planted error."""

    def __init__(self, error: str) -> None:
        super().__init__(_laguerre().problem)
        self.error = error

    def log_ratio(self, potential: Array) -> Array:
        h = super().log_ratio(potential)
        return {"sign": -h, "factor": 1.001 * h}.get(self.error, h)

    def divergence(self, first: Array, second: Array) -> float:
        value = super().divergence(first, second)
        return 0.5 * value if self.error == "half" else value

    def pullback(self, potential: Array) -> Array:
        rho = super().pullback(potential)
        # cells half a cell off: what h would be with a one-sided gradient
        return 0.5 * (rho + np.roll(rho, 1)) if self.error == "shift" else rho


@pytest.mark.parametrize("error", ["sign", "factor", "half", "shift"])
def test_planted_errors_break_the_evi(error: str) -> None:
    flow = _Wrong(error).run(schedules.constant(1e-4), 8)
    assert _gaps(flow).max() > 1e-6


# -- the Laguerre scheme ----------------------------------------------------------------------


def test_the_gradient_of_the_semidual_is_mu_minus_rho() -> None:
    scheme = _laguerre(16)
    u = scheme.affine() + 0.01 * np.cos(3 * np.linspace(0, 1, 16))
    rho = scheme.pullback(u)
    assert rho.sum() == pytest.approx(1.0, abs=1e-15)
    step = 1e-6
    for i in range(16):
        move = np.where(np.arange(16) == i, step, 0.0)
        slope = (scheme.semidual(u + move) - scheme.semidual(u - move)) / (2 * step)
        assert slope == pytest.approx(scheme.masses[i] - rho[i], abs=1e-9)


def test_conjugate_integral_is_that_of_the_largest_affine_function() -> None:
    scheme = _laguerre(16)
    u = scheme.affine() + 0.01 * np.cos(3 * np.linspace(0, 1, 16))
    target = scheme.problem.target
    x = scheme.problem.source.grid.axes[0]
    fine = (np.arange(270_000) + 0.5) / 270_000
    conjugate = (np.multiply.outer(fine, x) - u).max(axis=1)
    nu = target.values[np.minimum((fine * target.shape[0]).astype(int), target.shape[0] - 1)]
    assert scheme.conjugate_integral(u) == pytest.approx((conjugate * nu).mean(), abs=1e-9)


@schemes
def test_both_forms_of_the_divergence_agree(scheme: Any) -> None:
    oracle = _laguerre()
    least = oracle.semidual(oracle.stationary)
    flow = oracle.run(schedules.constant(_size("laguerre", scheme)), 20, scheme)
    np.testing.assert_allclose(flow["semidual"] - least, flow["bregman"], atol=1e-15)
    # the divergence of any two states: J of rho_a instead of mu
    a, b = oracle.affine(), oracle.stationary
    rho = oracle.pullback(a)
    gap = rho @ (b - a) + oracle.conjugate_integral(b) - oracle.conjugate_integral(a)
    assert oracle.divergence(a, b) == pytest.approx(gap, abs=1e-15)
    # and the split of J: int u* dnu falls by eta KL(rho|mu), up to the divergence
    k = int(scheme == "implicit")
    spent = -flow.step_sizes * flow["kl"][k : len(flow) + k]
    between = flow["forward_divergence"] if k == 0 else -flow["backward_divergence"]
    gaps = np.diff(flow["conjugate_integral"]) - spent - between[1:]
    assert np.abs(gaps).max() < 1e-14


def test_the_quantile_map_is_stationary() -> None:
    scheme = _laguerre()
    assert scheme.kl(scheme.stationary) < 1e-25
    assert scheme.dissipation(scheme.stationary) < 1e-20
    for move in np.random.default_rng(4).normal(size=(20, 48)) * 1e-5:
        assert scheme.semidual(scheme.stationary + move) > scheme.semidual(scheme.stationary)


def test_laguerre_masses_converge_to_finite_differences() -> None:
    """h of the two schemes agrees to order 2: signs and factors of the package's h are right."""
    gaps = []
    for n in (32, 64, 128):
        oracle = _laguerre(n, 40)
        operator = ParabolicOperator(oracle.problem)
        x = oracle.problem.source.grid.axes[0]
        phi = 0.03 * np.cos(np.pi * x)
        h = operator.evaluate(phi - phi.mean(), 0.0)
        gaps.append(float(np.abs(h - oracle.log_ratio(oracle.affine() + phi))[1:-1].max()))
    slope = math.log(gaps[0] / gaps[2]) / math.log(4)
    assert 1.75 < slope < 2.5
    assert gaps[-1] < 2e-3


@pytest.mark.parametrize("eta", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("n", [16, 128])
def test_implicit_laguerre_steps_of_any_size(eta: float, n: int) -> None:
    oracle = _laguerre(n)
    flow = oracle.run(schedules.constant(eta), 3, "implicit")
    assert (flow.step_sizes == eta).all()
    assert _gaps(flow).max() < 3e-14
    above = flow["kl"] > 1e-24
    assert (np.diff(flow["kl"])[above[1:]] < 0).all()


def test_laguerre_flows_carry_their_potential() -> None:
    oracle = _laguerre()
    flow = oracle.run(schedules.constant(0.5), 6, "implicit")
    assert flow.problem is oracle.problem
    np.testing.assert_allclose(flow.potential - flow.potential.mean(), oracle.stationary, atol=1e-4)
    again = oracle.run(schedules.constant(0.5), 1, "implicit", start=flow.potential)
    assert again["kl"][0] == flow["kl"][-1]


# -- schedules and errors ---------------------------------------------------------------------


@dims
def test_polyak_steps_are_s_over_i(dim: int) -> None:
    pair, _ = _pair(dim)
    flow = pair.mirror_flow(schedules.polyak(), 30)
    ratio = flow["symmetrised_kl"][:-1] / flow["dissipation"][:-1]
    free = flow["kl"][:-1] > 1e-12
    halvings = np.log2((np.minimum(ratio, 1.0) / flow.step_sizes)[free])
    np.testing.assert_allclose(halvings, np.round(halvings), atol=1e-9)
    assert (np.round(halvings)[3:] == 0).all()
    assert flow["kl"][-1] < 1e-3 * flow["kl"][0]


@oracles
def test_self_bounding_steps_pass_their_test(name: str) -> None:
    theta = 0.3
    flow = _run(ORACLES[name](), schedules.self_bounding(theta), 30, "explicit")
    spent = flow.step_sizes * flow["symmetrised_kl"][:-1]
    assert (flow["forward_divergence"][1:] <= theta * spent * (1 + 1e-12) + 1e-17).all()
    assert (np.diff(flow["bregman"]) <= 1e-17).all()
    bound = flow["bregman"][0] / (1 - theta)
    assert spent.sum() <= bound


def test_the_pure_mean_mode_is_solved_in_one_polyak_step() -> None:
    pair = GaussianPair([0.0], [[1.0]], [0.7], [[1.0]])
    flow = pair.mirror_flow(schedules.polyak(), 1)
    assert flow.step_sizes[0] == pytest.approx(1.0)  # 1/lam
    assert flow["kl"][1] < 1e-28


@dims
def test_explicit_steps_end_at_the_convexity_limit(dim: int) -> None:
    pair, start = _pair(dim)
    u = Quadratic(0.0, start.q, 20 * start.B, start.centre)
    with pytest.raises(LostConvexityError, match=r"below \d\.\d+e[+-]\d+ here") as caught:
        pair.explicit_step(u, 1e3)
    limit = float(str(caught.value).split("below ")[1].split(" ")[0])
    assert np.linalg.eigvalsh(pair.explicit_step(u, 0.999 * limit).B)[0] > 0
    with pytest.raises(LostConvexityError):
        pair.explicit_step(u, 1.001 * limit)


def test_a_lost_flow_is_kept_until_then() -> None:
    pair, start = _pair(2)
    with pytest.raises(
        LostConvexityError, match=r"step 2: an explicit step of size 1\.000e\+03"
    ) as e:
        pair.mirror_flow(lambda k, t, r: 1e-3 if k < 2 else 1e3, 5, start=start)
    assert len(e.value.result) == 2
    assert e.value.result.status is pma.Status.LOST_CONVEXITY
    with pytest.raises(LostConvexityError, match=r"step 0: the Laguerre cell of atom \d+ .*empty"):
        _laguerre().run(schedules.constant(1.0), 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [[-1.0]], [0.0], [[1.0]]), "source_cov has the eigenvalue -1.*positive definite"),
        (([0.0], [[1.0]], [0.0], [[1.0, 0.0]]), r"target_cov has shape \(1, 2\)"),
        (([0.0, 0.0], np.eye(2), [0.0], [[1.0]]), "source_mean has 2 entries and target_mean 1"),
        (([np.nan], [[1.0]], [0.0], [[1.0]]), "source_mean is .*finite"),
        (([0.0, 0.0], [[1.0, 0.5], [0.4, 1.0]], [0.0, 0.0], np.eye(2)), "not symmetric"),
        (([0.0] * 4, np.eye(4), [0.0] * 4, np.eye(4)), "1 to 3"),
    ],
)
def test_bad_pairs(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        GaussianPair(*arguments)


def test_bad_arguments() -> None:
    (pair, start), scheme, rule = _pair(2), _laguerre(16), schedules.constant(0.1)
    calls: dict[str, Callable[[], object]] = {
        "t is -1": lambda: pair.at(-1),
        "not convex": lambda: pair.at(1.0, Quadratic(0.0, [0, 0], -np.eye(2), [0, 0])),
        "1 variables, the pair 2": lambda: pair.kl(Quadratic(0.0, [0], [[1]], [0])),
        "3 coordinate arrays": lambda: start.gradient(0.0, 0.0, 0.0),
        "step_size is 0": lambda: pair.implicit_step(start, 0),
        "scheme is 'euler'": lambda: pair.mirror_flow(rule, 3, "euler"),  # type: ignore[arg-type]
        r"steps is 2\.5": lambda: pair.mirror_flow(rule, 2.5),  # type: ignore[arg-type]
        "returned -1.* at step 0": lambda: pair.mirror_flow(lambda k, t, r: -1.0, 3),
        r"schedule is 0\.1": lambda: pair.mirror_flow(0.1, 3),  # type: ignore[arg-type]
        "2 axes": lambda: LaguerreScheme(pma.Problem(np.ones((4, 4)), np.ones((4, 4)))),
        "source is 0 at cell 1": lambda: LaguerreScheme(pma.Problem([1.0, 0, 1], np.ones(3))),
        "start is not usable.*empty": lambda: scheme.run(rule, 1, start=-scheme.affine()),
        r"start has shape \(3,\)": lambda: scheme.run(rule, 1, start=np.zeros(3)),
    }
    for message, call in calls.items():
        with pytest.raises(InvalidInputError, match=message):
            call()


@schemes
def test_adaptive_schedules_keep_the_error_of_exact_flows(scheme: Any) -> None:
    pair, start = _pair(2)
    coarse, fine = (
        pair.mirror_flow(schedules.adaptive(tol), 12, scheme, start) for tol in (1e-2, 1e-4)
    )
    assert len(coarse) == len(fine) == 12
    assert 0 < fine.times[-1] < coarse.times[-1]
    assert fine["kl"][-1] < fine["kl"][0]
