"""`sinkhorn` against POT's in the log domain, between atoms in the user's own coordinates; OTT."""

from typing import Any, NamedTuple

import numpy as np
import ot
import pytest

import pma_grid as pma
from pma_grid.entropic import peers

# Grids of source and target: shapes, and the boxes' corners where they are not unit boxes.
PAIRS: dict[str, tuple[Any, ...]] = {
    "line": (((30,), None), ((30,), None)),
    "unlike lines": (((25,), ((0.0,), (2.0,))), ((34,), ((-1.0,), (0.5,)))),
    "plane": (((9, 8), None), ((9, 8), None)),
    "unlike planes": (((9, 6), ((0.0, 0.0), (1.0, 0.5))), ((6, 11), ((1.0, -1.0), (1.5, 1.0)))),
    "space": (((4, 5, 3), None), ((5, 3, 4), None)),
    "far boxes": (((5, 4, 3), None), ((3, 4, 5), ((2.0, 0.0, -1.0), (2.5, 2.0, 0.5)))),
}
every_pair = pytest.mark.parametrize("name", PAIRS)
# Of the mean squared side of both boxes.
EPS = (0.3, 0.03, 0.008)


class Exact(NamedTuple):
    """POT's plan, potentials f + g of the cost |x - y|^2/2, and the value relative to mu x nu."""

    plan: np.ndarray
    total: np.ndarray
    value: float


def _density(shape: tuple[int, ...], box: Any, seed: int, empty: bool) -> pma.Density:
    rng = np.random.default_rng(seed)
    values = rng.random(shape) + 0.05
    if empty:
        values[rng.random(shape) < 0.4] = 0.0
        values.ravel()[0] = 1.0
    return pma.Density(values, None if box is None else pma.Grid(shape, *box))


def _problem(name: str, empty: bool = False) -> pma.Problem:
    densities = [_density(shape, box, k, empty) for k, (shape, box) in enumerate(PAIRS[name])]
    return pma.Problem(*densities)


def _unit(problem: pma.Problem) -> float:
    """Mean squared side."""
    sides = (*problem.source.grid.lengths, *problem.target.grid.lengths)
    return float(np.mean(np.square(sides)))


def _atoms(density: pma.Density) -> tuple[np.ndarray, np.ndarray]:
    points = density.grid.coordinates().reshape(density.dim, -1).T
    return density.values.ravel() / density.values.sum(), np.ascontiguousarray(points)


def _pot(source: pma.Density, target: pma.Density, eps: float) -> Exact:
    """POT between the cells with mass; NaN elsewhere."""
    (a, x), (b, y) = _atoms(source), _atoms(target)
    rows, columns = a > 0, b > 0
    cost = ot.dist(x, y)[np.ix_(rows, columns)]
    a, b = a[rows], b[columns]
    plan, log = ot.sinkhorn(
        a, b, cost, 2 * eps, method="sinkhorn_log", numItermax=100_000, stopThr=1e-14, log=True,
    )  # fmt: skip
    # POT's reference is the counting measure
    f, g = log["log_u"] - np.log(a), log["log_v"] - np.log(b)
    exponent = f[:, None] + g - cost / (2 * eps)
    value = 0.5 * float((plan * cost).sum()) + eps * float((plan * exponent).sum())
    whole = [np.full((rows.size, columns.size), np.nan) for _ in range(2)]
    whole[0][np.ix_(rows, columns)] = plan
    whole[1][np.ix_(rows, columns)] = eps * (f[:, None] + g)
    return Exact(whole[0], whole[1], value)


@every_pair
@pytest.mark.parametrize("share", EPS)
@pytest.mark.parametrize("empty", [False, True])
def test_values_potentials_and_maps_are_pots(name: str, share: float, empty: bool) -> None:
    problem = _problem(name, empty)
    eps = share * _unit(problem)
    exact = _pot(problem.source, problem.target, eps)
    sk = pma.sinkhorn(problem, eps, tol=1e-13)
    scale = _unit(problem)
    total = sk.source_potential.reshape(-1, 1) + sk.target_potential.ravel()
    known = np.isfinite(exact.total)
    np.testing.assert_allclose(total[known], exact.total[known], atol=1e-9 * scale)
    assert sk.value == pytest.approx(exact.value, abs=1e-9 * scale)
    assert sk.stats["primal"] == pytest.approx(exact.value, abs=1e-9 * scale)
    (a, x), (b, y) = _atoms(problem.source), _atoms(problem.target)
    plan = np.nan_to_num(exact.plan)
    squares = ot.dist(x, y)
    assert sk.stats["transport_cost"] == pytest.approx(float((plan * squares).sum()),
                                                       abs=1e-9 * scale)  # fmt: skip
    d = problem.dim
    forward = sk.gradient.reshape(d, -1).T[a > 0]
    np.testing.assert_allclose(forward, (plan @ y)[a > 0] / a[a > 0, None], atol=1e-9 * scale**0.5)
    backward = sk.inverse_gradient.reshape(d, -1).T[b > 0]
    np.testing.assert_allclose(backward, (plan.T @ x)[b > 0] / b[b > 0, None],
                               atol=1e-9 * scale**0.5)  # fmt: skip


@every_pair
@pytest.mark.parametrize("share", EPS[:2])
def test_divergences_are_pots(name: str, share: float) -> None:
    problem = _problem(name)
    eps = share * _unit(problem)
    pair = problem.source, problem.target
    values = [_pot(p, q, eps).value for p, q in (pair, pair[:1] * 2, pair[1:] * 2)]
    sk = pma.sinkhorn(problem, eps, tol=1e-13, map="debiased")
    assert sk.stats["self_costs"] == pytest.approx(values[1:], abs=1e-9 * _unit(problem))
    expected = values[0] - 0.5 * (values[1] + values[2])
    assert sk.stats["divergence"] == pytest.approx(expected, abs=2e-9 * _unit(problem))
    assert sk.stats["divergence"] > 0


@pytest.mark.parametrize("name", ["line", "plane"])
@pytest.mark.parametrize("eps", [0.1, 0.02])
def test_ott_agrees(name: str, eps: float) -> None:
    pytest.importorskip("ott")
    problem = _problem(name)
    theirs = peers.solve_ott(problem, eps, 1e-11)
    ours = pma.sinkhorn(problem, eps, tol=1e-13)
    np.testing.assert_allclose(ours.gradient, theirs.gradient, atol=1e-9)
    np.testing.assert_allclose(ours.inverse_gradient, theirs.inverse_gradient, atol=1e-9)
    assert ours.value == pytest.approx(theirs.value, abs=1e-9)
    assert np.ptp(ours.potential - theirs.potential) < 1e-9
