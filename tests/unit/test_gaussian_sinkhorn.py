"""Sinkhorn between Gaussians: against quadrature, brute force, the fixed point and the flow."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from pma_grid.cases.oracles import GaussianPair, GaussianSinkhorn, Quadratic
from pma_grid.flow import theory
from pma_grid.runtime.errors import InvalidInputError, LostConvexityError

LINE = GaussianPair([0.4], [[0.81]], [-0.3], [[1.96]])
# S and T do not commute
PLANE = GaussianPair([0.3, -0.2], [[0.6, 0.2], [0.2, 0.5]], [-0.1, 0.4], [[0.9, -0.3], [-0.3, 0.4]])
START = {
    1: Quadratic(0.2, [0.5], [[0.7]], [0.1]),
    2: Quadratic(-0.3, [0.2, 0.1], [[1.2, 0.3], [0.3, 0.6]], [0.2, 0.0]),
}
BOTH = pytest.mark.parametrize("pair", [LINE, PLANE], ids=["1d", "2d"])


def _nodes(mean: np.ndarray, cov: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes (m, d) and weights of a Gaussian."""
    z, w = np.polynomial.hermite_e.hermegauss(n)
    grid = np.array(list(itertools.product(z, repeat=len(mean))))
    weights = np.array([math.prod(p) for p in itertools.product(w, repeat=len(mean))])
    return mean + grid @ np.linalg.cholesky(cov).T, weights / weights.sum()


class BruteForce:
    """The same objects by quadrature over a product of Gauss-Hermite nodes."""

    def __init__(self, pair: GaussianPair, eps: float) -> None:
        n = 120 if pair.dim == 1 else 40
        self.eps = eps
        self.x, self.a = _nodes(pair.source_mean, pair.source_cov, n)
        self.y, self.b = _nodes(pair.target_mean, pair.target_cov, n)
        self.xy = self.x @ self.y.T

    def at(self, u: Quadratic, points: np.ndarray) -> np.ndarray:
        return u.potential(*points.T)

    def conjugate(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self.eps * _logsum((self.xy - u[:, None]) / self.eps, self.a, 0))

    def back(self, v: np.ndarray) -> np.ndarray:
        return np.asarray(self.eps * _logsum((self.xy - v) / self.eps, self.b, 1))

    def dual(self, u: np.ndarray) -> float:
        return float(self.a @ u + self.b @ self.conjugate(u))

    def plan(self, u: np.ndarray) -> np.ndarray:
        v = self.conjugate(u)
        density = np.exp((self.xy - u[:, None] - v) / self.eps)
        return np.asarray(self.a[:, None] * density * self.b)


def _logsum(exponents: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    top = exponents.max(axis, keepdims=True)
    terms = np.exp(exponents - top) * (weights[:, None] if axis == 0 else weights)
    return np.asarray(np.log(terms.sum(axis)) + top.squeeze(axis))


def _cases() -> list[Any]:
    return [
        pytest.param(pair, eps, id=f"{pair.dim}d-{eps}")
        for pair in (LINE, PLANE)
        for eps in (0.5, 2.0)
    ]


@pytest.mark.parametrize("pair, eps", _cases())
def test_a_sweep_is_that_of_quadrature(pair: GaussianPair, eps: float) -> None:
    exact, brute = pair.entropic(eps), BruteForce(pair, eps)
    u = START[pair.dim]
    v = exact.conjugate(u)
    # nodes far out carry no weight and have few neighbours: compare near the means
    near = np.linalg.norm(brute.y - pair.target_mean, axis=1) < 1.5
    found = brute.conjugate(brute.at(u, brute.x))
    np.testing.assert_allclose(found[near], brute.at(v, brute.y)[near], atol=1e-8)
    near = np.linalg.norm(brute.x - pair.source_mean, axis=1) < 1.0
    found = brute.back(brute.at(v, brute.y))
    np.testing.assert_allclose(found[near], brute.at(exact.step(u), brute.x)[near], atol=1e-8)
    assert exact.dual(u) == pytest.approx(brute.dual(brute.at(u, brute.x)), abs=1e-9)


@pytest.mark.parametrize("pair, eps", _cases())
def test_marginals_and_entropies_are_those_of_the_plan(pair: GaussianPair, eps: float) -> None:
    exact, brute = pair.entropic(eps), BruteForce(pair, eps)
    u = START[pair.dim]
    plan = brute.plan(brute.at(u, brute.x))
    rho = plan.sum(axis=1)
    mean, cov = exact.pullback(u)
    np.testing.assert_allclose(rho @ brute.x, mean, atol=1e-9)
    centred = brute.x - mean
    np.testing.assert_allclose((centred * rho[:, None]).T @ centred, cov, atol=1e-8)
    h = (brute.at(exact.step(u), brute.x) - brute.at(u, brute.x)) / eps
    # log(rho/mu) is the increment over eps, so these are the entropies
    assert exact.kl(u) == pytest.approx(rho @ h, abs=1e-8)
    assert exact.reverse_kl(u) == pytest.approx(-brute.a @ h, rel=1e-9)
    assert exact.residual_norm(u) == pytest.approx(math.sqrt(brute.a @ h**2), rel=1e-9)
    given = plan / plan.sum(axis=0)
    variance = h**2 @ given - (h @ given) ** 2
    assert exact.dissipation(u) == pytest.approx(brute.b @ variance / eps, rel=1e-7)


@pytest.mark.parametrize("pair, eps", _cases())
def test_divergences_are_gaps_of_the_dual(pair: GaussianPair, eps: float) -> None:
    exact, brute = pair.entropic(eps), BruteForce(pair, eps)
    u, w = START[pair.dim], pair.identity()
    values = [brute.at(q, brute.x) for q in (u, w)]
    rho = brute.plan(values[0]).sum(axis=1)
    gap = brute.dual(values[1]) - brute.dual(values[0])
    gap -= float((brute.a - rho) @ (values[1] - values[0]))
    assert exact.divergence(u, w) == pytest.approx(gap, rel=1e-7)
    gap = exact.dual(u) - exact.dual(exact.stationary())
    assert exact.bregman(u) == pytest.approx(gap, rel=1e-10)


@BOTH
def test_divergences_keep_their_relative_precision(pair: GaussianPair) -> None:
    exact = pair.entropic(0.7)
    still = exact.stationary()
    small = [
        exact.bregman(Quadratic(0.0, still.q + t, still.B + t * np.eye(pair.dim), still.centre))
        for t in (1e-6, 1e-7)
    ]
    assert small[0] / small[1] == pytest.approx(100, rel=1e-4)


@BOTH
@pytest.mark.parametrize("eps", [1e-3, 0.3, 50.0])
def test_the_fixed_point_stays(pair: GaussianPair, eps: float) -> None:
    exact = pair.entropic(eps)
    still = exact.stationary()
    moved = exact.step(still)
    np.testing.assert_allclose(moved.B, still.B, rtol=0, atol=2e-12)
    np.testing.assert_allclose(moved.q, still.q, rtol=0, atol=2e-12)
    assert moved.a == pytest.approx(still.a, abs=2e-11)
    assert exact.kl(still) < 1e-20
    mean, cov = exact.pullback(still)
    np.testing.assert_allclose(mean, pair.source_mean, atol=1e-11)
    np.testing.assert_allclose(cov, pair.source_cov, atol=1e-11)


@pytest.mark.parametrize("eps", [1e-6, 0.01, 1.0, 30.0])
def test_the_fixed_point_in_one_dimension(eps: float) -> None:
    s, limit = 0.81, 1.4 / 0.9
    b = -eps / (2 * s) + math.sqrt(limit**2 + eps**2 / (4 * s**2))
    assert LINE.entropic(eps).stationary().B[0, 0] == pytest.approx(b, rel=1e-12)


@BOTH
def test_iterates_reach_the_fixed_point_from_anywhere(pair: GaussianPair) -> None:
    exact = pair.entropic(1.5)
    *_, last = itertools.islice(exact.iterates(START[pair.dim]), 60)
    np.testing.assert_allclose(last.B, exact.stationary().B, atol=1e-12)
    np.testing.assert_allclose(last.q, exact.stationary().q, atol=1e-12)


@BOTH
def test_the_fixed_point_comes_near_the_brenier_potential(pair: GaussianPair) -> None:
    limit = pair.stationary().B
    gaps = [np.abs(pair.entropic(eps).stationary().B - limit).max() for eps in (0.02, 0.01)]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.02)


@BOTH
def test_the_value_is_the_cost_of_the_plan_with_its_entropy(pair: GaussianPair) -> None:
    eps = 0.8
    exact, brute = pair.entropic(eps), BruteForce(pair, eps)
    plan = brute.plan(brute.at(exact.stationary(), brute.x))
    cost = 0.5 * ((brute.x[:, None] - brute.y) ** 2).sum(axis=-1)
    kept = plan > 0
    ratio = plan[kept] / np.outer(brute.a, brute.b)[kept]
    total = (plan * cost).sum() + eps * (plan[kept] * np.log(ratio)).sum()
    assert exact.value == pytest.approx(total, abs=1e-7)


@BOTH
def test_the_flow_lists_the_iterates(pair: GaussianPair) -> None:
    eps, start = 0.3, START[pair.dim]
    flow = pair.sinkhorn(eps, 4, start)
    exact = pair.entropic(eps)
    iterates = list(itertools.islice(exact.iterates(start), 5))
    assert (flow.scheme, flow.stats["eps"]) == ("sinkhorn", eps)
    np.testing.assert_allclose(flow.times, eps * np.arange(5), rtol=1e-15)
    np.testing.assert_allclose(flow["kl"], [exact.kl(u) for u in iterates], rtol=1e-12)
    assert len(flow.step_sizes) == 4
    assert isinstance(exact, GaussianSinkhorn)


@BOTH
def test_the_flow_obeys_the_identities_of_exact_mirror_steps(pair: GaussianPair) -> None:
    flow = pair.sinkhorn(0.3, 12, START[pair.dim])
    assert np.abs(theory.evi_residual(flow)).max() < 1e-11
    assert np.abs(theory.regret_residual(flow)).max() < 1e-12
    assert (np.diff(flow["bregman"]) < 0).all()


@BOTH
def test_first_order_in_eps_against_the_flow(pair: GaussianPair) -> None:
    time, start = 0.4, START[pair.dim]
    exact = pair.at(time, start).about(pair.source_mean)
    gaps = []
    for n in (64, 128):
        iterates = pair.entropic(time / n).iterates(start)
        u = next(itertools.islice(iterates, n, None))
        gaps.append([np.abs(u.B - exact.B).max(), np.abs(u.q - exact.q).max(), abs(u.a - exact.a)])
    np.testing.assert_allclose(np.divide(gaps[0], gaps[1]), 2.0, rtol=0.03)


def test_figures_of_the_theory() -> None:
    """|B_Sinkhorn - B_PMA| / eps settles: first order without a logarithm."""
    ratios = []
    for n in (40, 80, 160):
        u = next(itertools.islice(LINE.entropic(1.0 / n).iterates(), n, None))
        ratios.append(n * abs(u.B[0, 0] - LINE.at(1.0).B[0, 0]))
    assert ratios[1] == pytest.approx(ratios[2], rel=0.02)
    assert ratios[0] == pytest.approx(ratios[1], rel=0.04)


def test_over_relaxed_steps() -> None:
    exact, u = PLANE.entropic(0.3), START[2]
    single, double = exact.explicit_step(u, 0.3), exact.explicit_step(u, 0.6)
    start = u.about(PLANE.source_mean)
    np.testing.assert_allclose(double.B - start.B, 2 * (single.B - start.B), rtol=1e-12)
    steep = Quadratic(0.0, [0.0, 0.0], 30 * np.eye(2), PLANE.source_mean)
    with pytest.raises(LostConvexityError, match="soft conjugate; take a smaller one"):
        exact.explicit_step(steep, 60.0)
    with pytest.raises(InvalidInputError, match="explicit"):
        exact.implicit_step(u, 0.3)


def test_bad_arguments() -> None:
    with pytest.raises(InvalidInputError, match=r"eps is 0\.0.*> 0"):
        LINE.entropic(0.0)
    with pytest.raises(InvalidInputError, match="2 variables, the pair 1"):
        LINE.entropic(0.1).step(START[2])
    with pytest.raises(InvalidInputError, match="no soft conjugate"):
        LINE.entropic(0.1).step(Quadratic(0.0, [0.0], [[-1.0]], [0.0]))
