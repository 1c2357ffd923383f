"""Sinkhorn's flow is mirror descent with eps as its step: every identity holds to rounding.

Relative to the regret of the step, eps S, where that is not itself made of rounding.
"""

import itertools
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow import theory
from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.observables import NAMES
from pma_grid.flow.sinkhorn import iterate_sinkhorn
from pma_grid.flow.state import State
from pma_grid.problem.frame import split
from pma_grid.transport.pullback import normalised

Array = np.ndarray


def _smooth(shape: tuple[int, ...]) -> pma.Problem:
    return pma.cases.manufactured(len(shape)).problem(shape)


def _random(shape: tuple[int, ...], target: tuple[int, ...], share: float) -> pma.Problem:
    """Noise with this share of zeros, on unlike boxes."""
    rng = np.random.default_rng(5)
    values = []
    for size in (shape, target):
        field = rng.uniform(0.05, 1.0, size)
        field[rng.uniform(size=size) < share] = 0.0
        values.append(field)
    dim = len(shape)
    grids = (
        pma.Grid(shape, (0.5,) * dim, (1.5, 2.0, 1.0)[:dim]),
        pma.Grid(target, (-1.0,) * dim, (0.5, 0.0, 2.0)[:dim]),
    )
    return pma.Problem(*(pma.Density(v, g) for v, g in zip(values, grids, strict=True)))


# Problem, eps, kernel, whether to start from noise that is not convex.
CASES: dict[str, tuple[pma.Problem, float, Any, bool]] = {
    "line": (_smooth((60,)), 0.01, "plain", False),
    "line, narrow": (_smooth((60,)), 1e-4, "plain", False),
    "line, reflect": (_smooth((60,)), 0.01, "reflect", False),
    "plane": (_smooth((14, 12)), 0.02, "plain", False),
    "plane, reflect": (_smooth((14, 12)), 0.02, "reflect", True),
    "plane, zeros": (_random((6, 5), (7, 4), 0.3), 0.3, "plain", True),
    "plane, narrow zeros": (_random((9, 8), (8, 10), 0.4), 0.01, "plain", True),
    "space": (_smooth((6, 5, 4)), 0.05, "plain", False),
    "space, zeros": (_random((4, 3, 5), (3, 4, 2), 0.3), 0.5, "plain", True),
}
STEPS = 8
every_case = pytest.mark.parametrize("name", CASES)


def _start(name: str) -> dict[str, Any]:
    """Options of a case."""
    problem, eps, kernel, rough = CASES[name]
    given: dict[str, Any] = {"problem": problem, "eps": eps, "kernel": kernel}
    if rough:
        rng = np.random.default_rng(11)
        u = 0.5 * np.square(problem.source.grid.coordinates()).sum(axis=0)
        given["initial"] = u + rng.normal(0.0, 0.1, problem.source.shape)
    return given


def _states(name: str, steps: int = STEPS) -> list[State]:
    return list(iterate_sinkhorn(steps=steps, **_start(name)))


def _rounding(name: str, *potentials: Array) -> float:
    """Relative error of divergences: that of the plan's weights, magnified.

    Weights are exponentials of potentials over eps, and a divergence is a mean of conditional
    variances, smaller than the squares that they are differences of by eps over the box squared.
    """
    problem, eps, _, _ = CASES[name]
    square = max(
        a * b for a, b in zip(problem.source.grid.lengths, problem.target.grid.lengths, strict=True)
    )
    exponents = 1 + max(float(np.ptp(phi)) for phi in potentials) / eps
    return max(1e-12, float(np.finfo(float).eps * exponents * square / eps))


def _kl(p: Array, q: Array) -> float:
    """KL(p|q) of masses, by its definition."""
    full = p > 0
    return float((p[full] * np.log(p[full] / q[full])).sum())


def _worth(s: Array) -> Array:
    """Steps whose regret is above the rounding of the potentials."""
    return np.asarray(s > 1e-6 * s[0])


@every_case
def test_evi_and_regret(name: str) -> None:
    """D_{k+1} - D_k = -eps S_k + D(rho_k|rho_{k+1}), and its sum over the steps."""
    flow = pma.sinkhorn_flow(steps=STEPS, record=theory.SERIES, **_start(name))
    worth = _worth(flow["symmetrised_kl"][:-1])
    assert worth[:2].all()
    phis = [state.phi for state in _states(name)]
    operator = _states(name, 0)[0].operator
    assert isinstance(operator, EntropicOperator)
    phis.append(operator.fixed_point(phis[-1]))
    rounding = _rounding(name, *phis)
    assert np.abs(theory.evi_residual(flow)[worth]).max() < 10 * rounding
    assert np.abs(theory.regret_residual(flow)).max() < rounding
    assert (flow["forward_divergence"][1:][worth] > 0).all()
    assert (flow["backward_divergence"][1:][worth] > 0).all()
    assert (np.diff(flow["bregman"]) <= 0).all()
    exponents = 1 + max(np.ptp(phi) for phi in phis) / CASES[name][1]
    assert np.abs(flow["mass_constant"]).max() < 2e-15 * exponents


@every_case
def test_three_points_and_evi_at_any_law(name: str) -> None:
    """With pi = rho_w of any potential w, for which D(pi|rho_k) compares w with u_k."""
    states = _states(name, 3)
    operator = states[0].operator
    rng = np.random.default_rng(2)
    w = states[0].phi + 0.1 * rng.normal(size=states[0].phi.shape)
    pi, _, _ = normalised(operator.masses, operator.evaluate(w, 0.0))
    for old, new in itertools.pairwise(states):
        ends = [operator.divergence(w, state.phi, 0.0) for state in (old, new)]
        gain = ends[1] - ends[0]
        forward = operator.divergence(old.phi, new.phi, 0.0)
        step = new.phi - old.phi
        slack = _rounding(name, w, old.phi) * max(ends)
        pairing = float((step * (pi - old.masses)).sum())
        assert gain - forward == pytest.approx(pairing, abs=slack)
        mu, rho = operator.masses, old.masses
        entropies = _kl(pi, mu) - _kl(rho, mu) - _kl(pi, rho)
        assert gain == pytest.approx(new.step.size * entropies + forward, abs=10 * slack)


@every_case
def test_both_halves_of_the_semidual_fall_by_entropies(name: str) -> None:
    """sum mu (u' - u) = -eps KL(mu|rho), sum nu (v' - v) = -eps KL(nu|sigma), and what follows.

    sigma is the target's marginal of the plan of (u', v): the same sweep of the swapped problem.
    """
    problem, eps, kernel, _ = CASES[name]
    mu = _states(name, 0)[0].operator.masses
    nu = problem.target.values / problem.target.values.sum()
    other = EntropicOperator(problem.swapped(), eps, kernel=kernel)
    for old, new in itertools.pairwise(_states(name, 4)):
        operator = old.operator
        assert isinstance(operator, EntropicOperator)
        reverse = _kl(mu, old.masses)
        gain = float((mu * (new.potential - old.potential)).sum())
        assert gain == pytest.approx(-eps * reverse, rel=1e-9, abs=1e-15)
        psi, _ = operator.conjugate(old.phi, old.offset)
        sigma, _, _ = normalised(nu, other.evaluate(psi, 0.0))
        turn = _kl(nu, sigma)
        fall = operator.conjugate_integral(new.phi, new.offset)
        fall -= operator.conjugate_integral(old.phi, old.offset)
        assert fall == pytest.approx(-eps * turn, rel=1e-9, abs=2e-15)
        # so D(rho_k|rho_{k+1}) = eps (KL(rho_k|mu) - KL(nu|sigma_k)): without a conjugate
        forward = operator.divergence(old.phi, new.phi, 0.0)
        entropies = eps * (_kl(old.masses, mu) - turn)
        assert forward == pytest.approx(entropies, abs=1e-12 * eps * old.symmetrised_kl + 1e-16)


@every_case
def test_entropies_fall_by_the_identity_of_mirror_steps(name: str) -> None:
    """KL(rho_{k+1}|mu) - KL(rho_k|mu) = KL(rho_{k+1}|rho_k) - (D + D reversed) / eps."""
    eps = CASES[name][1]
    for old, new in itertools.pairwise(_states(name, 4)):
        mu = old.operator.masses
        gain = _kl(new.masses, mu) - _kl(old.masses, mu)
        both = new.forward_divergence + new.backward_divergence
        expected = _kl(new.masses, old.masses) - both / eps
        assert gain == pytest.approx(expected, abs=1e-11 * old.symmetrised_kl + 1e-15)
        assert both == pytest.approx(
            float(((old.masses - new.masses) * (new.phi - old.phi)).sum()), rel=1e-9, abs=1e-16
        )


@every_case
def test_what_falls_with_every_step(name: str) -> None:
    """KL both ways, total variation, chi^2, max h and -min h; and the last iterate's bound."""
    record = ("kl", "reverse_kl", "tv", "chi2", "max_h", "min_h", "bregman")
    flow = pma.sinkhorn_flow(steps=40, record=record, **_start(name))
    signs = {"kl": 1, "reverse_kl": 1, "tv": 1, "chi2": 1, "max_h": 1, "min_h": -1}
    for series, sign in signs.items():
        values = sign * flow[series]
        slack = 1e-15 + 1e-12 * abs(values[0])
        assert np.diff(values).max() <= slack, series
    elapsed = flow.times[1:]
    assert (flow["kl"][1:] <= flow["bregman"][0] / elapsed + 1e-15).all()


@every_case
def test_sweeps_keep_order_distance_and_constants(name: str) -> None:
    """u <= w stays so, sup |u - w| never grows, and u + c goes to u' + c."""
    given = _start(name)
    problem = given["problem"]
    rng = np.random.default_rng(1)
    u = given.pop("initial", 0.5 * np.square(problem.source.grid.coordinates()).sum(axis=0))
    w = u + rng.uniform(0.0, 0.2, u.shape)
    runs = [
        [s.potential for s in iterate_sinkhorn(steps=5, initial=start, **given)]
        for start in (u, w, u + 0.7)
    ]
    distances = [float(np.abs(b - a).max()) for a, b, _ in zip(*runs, strict=True)]
    assert (np.diff(distances) <= 1e-14).all() and distances[-1] < 0.9 * distances[0]
    for a, b, lifted in zip(*runs, strict=True):
        assert (b - a).min() >= -1e-14
        np.testing.assert_allclose(lifted, a + 0.7, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(24))
def test_random_problems_of_any_kind(seed: int) -> None:
    """Shapes with axes of one cell, masses over decades, zeros, any eps, starts from noise."""
    rng = np.random.default_rng(seed)
    dim = 1 + seed % 3
    shapes = [tuple(rng.integers(1, (30, 8, 4)[dim - 1] + 1, dim)) for _ in range(2)]
    fields = [rng.lognormal(0.0, rng.uniform(0, 4), shape) for shape in shapes]
    for field in fields:
        field[rng.uniform(size=field.shape) < 0.4 * (seed % 2)] = 0.0
        field.ravel()[0] = 1.0
    eps = 10 ** rng.uniform(-5, 1)
    u = rng.normal(0.0, 10 ** rng.uniform(-3, 0), shapes[0])
    kernel: Any = ("plain", "reflect")[int(rng.integers(2))]
    problem = pma.Problem(*fields)
    flow = pma.sinkhorn_flow(problem, eps, steps=12, initial=u, kernel=kernel, record=NAMES)
    assert all(np.isfinite(values).all() for values in flow.series.values())
    # logarithms of masses, and potentials over eps: what exponentials are taken of
    size = np.ptp(u) + np.ptp(split(problem, flow.potential)[0])
    rounding = float(np.finfo(float).eps) * (30 + size / eps)
    for series in ("kl", "reverse_kl", "tv", "chi2", "max_h", "min_h", "semidual", "bregman"):
        values = flow[series] * (-1 if series == "min_h" else 1)
        assert np.diff(values).max() <= 4 * rounding * (1 + np.abs(values[0])), series
    largest = max(flow["max_h"].max(), -flow["min_h"].min())
    for series in ("forward_divergence", "backward_divergence"):
        assert flow[series][2:].min() >= -rounding * eps * (1 + largest) ** 2, series
    assert flow["bregman"].min() >= -rounding * (eps + size) and flow["dissipation"].min() >= 0
    assert np.abs(flow["mass_constant"]).max() < 4 * rounding


def test_gaussians_stay_gaussians() -> None:
    """The closed form of the iterates, constants included, in boxes of twelve deviations.

    u = a + c x + B x^2 / 2 and v = a' + c' y + C y^2 / 2 with C = 1 / (B + eps / S) and so on.
    """
    m, s2, n, t2, eps = 0.3, 1.0, -0.2, 0.49, 0.25
    grids = pma.Grid((300,), (m - 12.0,), (m + 12.0,)), pma.Grid((320,), (n - 8.4,), (n + 8.4,))
    x, y = (grid.axes[0] for grid in grids)
    problem = pma.Problem(
        pma.Density(np.exp(-((x - m) ** 2) / (2 * s2)), grids[0]),
        pma.Density(np.exp(-((y - n) ** 2) / (2 * t2)), grids[1]),
    )

    def half(
        a: float, c: float, b: float, mean: float, variance: float
    ) -> tuple[float, float, float]:
        """The soft conjugate of a + c x + b x^2 / 2 under N(mean, variance)."""
        p = b + eps / variance
        w = eps * mean / variance - c
        constant = -a + 0.5 * w * w / p - 0.5 * eps * mean**2 / variance
        constant += 0.5 * eps * (np.log(eps) - np.log(p) - np.log(variance))
        return constant, w / p, 1 / p

    a, c, b = 0.1, 0.2, 1.0
    inside = np.abs(x - m) < 3.0
    for state in iterate_sinkhorn(problem, eps, steps=12, initial=a + c * x + 0.5 * b * x**2):
        exact = a + c * x + 0.5 * b * x**2
        np.testing.assert_allclose(state.potential[inside], exact[inside], rtol=0, atol=1e-11)
        a, c, b = half(*half(a, c, b, m, s2), n, t2)
    fixed = -0.5 * eps / s2 + np.sqrt(t2 / s2 + 0.25 * (eps / s2) ** 2)
    assert b == pytest.approx(fixed, rel=1e-4)


def test_first_order_in_eps_against_the_flow() -> None:
    """sup |u_{t/eps} - u_t| = O(eps), up to constants; the flow in time steps far smaller."""
    problem = _smooth((200,))
    end = 0.08
    exact = pma.evolve(
        problem, schedule=pma.schedules.constant(1e-3), time=end, scheme=pma.TRBDF2(), record=()
    ).potential
    errors = []
    for eps in (0.01, 0.005, 0.0025):
        flow = pma.sinkhorn_flow(problem, eps, end, kernel="reflect", record=())
        assert flow.times[-1] == pytest.approx(end)
        errors.append(0.5 * float(np.ptp(flow.potential - exact)))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates[-1] == pytest.approx(1.0, abs=0.1) and rates[0] == pytest.approx(1.0, abs=0.15)


def test_gauge_of_the_flow_is_that_of_the_potential() -> None:
    """phi and offset together are u: the gauge is not lost over many sweeps."""
    problem = _smooth((40,))
    *_, last = iterate_sinkhorn(problem, 0.05, steps=200)
    phi, offset = split(problem, last.potential)
    np.testing.assert_allclose(phi, last.phi, atol=1e-15)
    assert offset == pytest.approx(last.offset, abs=1e-15)
    assert last.step.error < 1e-14
