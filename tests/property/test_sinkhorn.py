"""What entropic transport must not depend on, and what holds for any densities and any eps."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

import pma_grid as pma
from pma_grid.problem.reduction import Reduced

FEW = settings(max_examples=12, derandomize=True, deadline=None, database=None)
MANY = settings(max_examples=60, derandomize=True, deadline=None, database=None)
SEEDS = st.integers(0, 10**6)
SHAPES = st.sampled_from(
    [(20,), (13,), (1,), (12, 12), (7, 17), (1, 13), (14, 1), (5, 6, 7), (1, 8, 9), (7, 2, 4)]
)
KERNELS = st.sampled_from(["plain", "reflect"])
KINDS = st.sampled_from(["rough", "empty", "concentrated"])
# eps in cells squared: a quarter to a hundred.
WIDTHS = st.floats(np.log10(0.25), 2).map(lambda k: 10.0**k)
TOL = 1e-12

# nothing may overflow, divide by zero or be invalid, here or in what is called
pytestmark = pytest.mark.filterwarnings("error")


def _values(shape: tuple[int, ...], seed: int, kind: str = "rough") -> np.ndarray:
    """White noise; the same with empty cells; a bump over ten orders of magnitude."""
    rng = np.random.default_rng(seed)
    if kind == "concentrated":
        centre, width = rng.random(len(shape)), rng.uniform(0.05, 0.2)
        places = zip(np.indices(shape), shape, centre, strict=True)
        square = np.sum([((i + 0.5) / n - c) ** 2 for i, n, c in places], axis=0)
        return np.asarray(np.exp(-0.5 * square / width**2) + 1e-10)
    values = rng.random(shape) + 0.02
    if kind == "empty":
        values[rng.random(shape) < 0.5] = 0.0
        values.ravel()[rng.integers(values.size)] = 1.0
    return values


def _pair(shape: tuple[int, ...], seed: int, kind: str = "rough") -> tuple[np.ndarray, np.ndarray]:
    return _values(shape, seed, kind), _values(shape, seed + 1, kind)


def _solve(problem: pma.Problem, eps: float, kernel: Any = "plain") -> pma.EntropicTransport:
    return pma.sinkhorn(problem, eps, tol=TOL, kernel=kernel)


def _cell(problem: pma.Problem) -> float:
    return float(Reduced.of(problem).cell)


def _total(sk: pma.EntropicTransport) -> np.ndarray:
    """f + g, free of their common constant, where both have mass."""
    rows, columns = (d.values.ravel() > 0 for d in (sk.problem.source, sk.problem.target))
    return np.asarray(
        sk.source_potential.ravel()[rows, None] + sk.target_potential.ravel()[columns]
    )


def _cost(problem: pma.Problem) -> np.ndarray:
    x, y = (d.grid.coordinates().reshape(d.dim, -1) for d in (problem.source, problem.target))
    return np.asarray(0.5 * ((x[:, :, None] - y[:, None]) ** 2).sum(axis=0))


# --- symmetries


@FEW
@given(SHAPES, SEEDS, KINDS, KERNELS, WIDTHS)
def test_swap_exchanges_both_sides(
    shape: tuple[int, ...], seed: int, kind: str, kernel: str, width: float
) -> None:
    problem = pma.Problem(*_pair(shape, seed, kind))
    eps = width * _cell(problem)
    there = _solve(problem, eps, kernel)
    back = _solve(pma.Problem(problem.target, problem.source), eps, kernel)
    assert back.value == pytest.approx(there.value, abs=1e-9)
    np.testing.assert_allclose(_total(back).T, _total(there), atol=1e-6 * eps)
    for mine, yours, density in (
        (there.gradient, back.inverse_gradient, problem.source),
        (there.inverse_gradient, back.gradient, problem.target),
    ):
        heavy = density.values > 1e-6 * density.values.max()
        np.testing.assert_allclose(mine[:, heavy], yours[:, heavy], atol=1e-6)


@FEW
@given(SHAPES, SEEDS, KINDS, KERNELS, WIDTHS, st.integers(0, 2))
def test_mirror(
    shape: tuple[int, ...], seed: int, kind: str, kernel: str, width: float, axis: int
) -> None:
    axis %= len(shape)
    problem = pma.Problem(*_pair(shape, seed, kind))
    mirrored = pma.Problem(*(np.flip(d.values, axis) for d in (problem.source, problem.target)))
    eps = width * _cell(problem)
    one, other = (_solve(p, eps, kernel) for p in (problem, mirrored))
    assert other.value == pytest.approx(one.value, abs=1e-10)
    expected = np.flip(one.displacement, axis + 1).copy()
    expected[axis] *= -1
    np.testing.assert_allclose(other.displacement, expected, atol=1e-7)
    np.testing.assert_allclose(np.flip(other.source_potential, axis) - one.source_potential,
                               (other.source_potential - one.source_potential).mean(),
                               atol=1e-6 * eps)  # fmt: skip


@FEW
@given(SHAPES, SEEDS, KINDS, KERNELS, WIDTHS, st.randoms(use_true_random=False))
def test_permutation_of_the_axes(
    shape: tuple[int, ...], seed: int, kind: str, kernel: str, width: float, random: object
) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    problem = pma.Problem(*_pair(shape, seed, kind))
    turned = pma.Problem(*(d.values.transpose(order) for d in (problem.source, problem.target)))
    eps = width * _cell(problem)
    one, other = (_solve(p, eps, kernel) for p in (problem, turned))
    assert other.value == pytest.approx(one.value, abs=1e-10)
    expected = one.displacement[order].transpose([0, *[k + 1 for k in order]])
    np.testing.assert_allclose(other.displacement, expected, atol=1e-7)


@FEW
@given(SHAPES, SEEDS, KERNELS, WIDTHS, st.floats(1e-3, 1e3))
def test_units_of_length(
    shape: tuple[int, ...], seed: int, kernel: str, width: float, unit: float
) -> None:
    values = _pair(shape, seed)
    d = len(shape)
    grid = pma.Grid(shape, (0.0,) * d, (unit,) * d)
    problem = pma.Problem(*values)
    eps = width * _cell(problem)
    one = _solve(problem, eps, kernel)
    other = _solve(pma.Problem(*(pma.Density(v, grid) for v in values)), eps * unit**2, kernel)
    assert other.value / unit**2 == pytest.approx(one.value, abs=1e-10)
    np.testing.assert_allclose(other.gradient / unit, one.gradient, atol=1e-8)
    np.testing.assert_allclose(_total(other) / unit**2, _total(one), atol=1e-6 * eps + 1e-12)
    assert other.stats["eps_over_h2"] == pytest.approx(one.stats["eps_over_h2"], rel=1e-9)


@FEW
@given(SHAPES, SEEDS, KERNELS, WIDTHS, st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_place_of_the_target(
    shape: tuple[int, ...], seed: int, kernel: str, width: float, move: list[float]
) -> None:
    """The plan is the same, E|x - y|^2 of nu moved by s larger by 2 s.(mean nu - mean mu) + s^2."""
    s = np.array(move[: len(shape)])
    problem = pma.Problem(*_pair(shape, seed))
    away = pma.Grid(shape, tuple(s), tuple(1 + s))
    moved = pma.Problem(problem.source, pma.Density(problem.target.values, away))
    eps = width * _cell(problem)
    here, there = (_solve(p, eps, kernel) for p in (problem, moved))
    np.testing.assert_allclose(
        there.gradient - s.reshape(-1, *[1] * len(shape)), here.gradient, atol=1e-8
    )
    means = [
        (d.grid.coordinates() * d.values).sum(axis=tuple(range(1, d.dim + 1))) / d.values.sum()
        for d in (problem.source, problem.target)
    ]
    change = float(2 * s @ (means[1] - means[0]) + s @ s)
    assert there.stats["transport_cost"] - here.stats["transport_cost"] == pytest.approx(
        change, abs=1e-8
    )
    assert there.value - here.value == pytest.approx(change / 2, abs=1e-8)


@FEW
@given(SHAPES, SEEDS, KERNELS, WIDTHS)
def test_units_of_mass(shape: tuple[int, ...], seed: int, kernel: str, width: float) -> None:
    values = _pair(shape, seed)
    problem = pma.Problem(*values)
    eps = width * _cell(problem)
    heavier = pma.Problem(1e5 * values[0], 1e-7 * values[1])
    one, other = (_solve(p, eps, kernel) for p in (problem, heavier))
    np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-9)
    assert other.value == pytest.approx(one.value, abs=1e-11)


@FEW
@given(st.sampled_from([13, 16, 23]), SEEDS, KINDS, KERNELS, st.floats(0.3, 30))
def test_axes_of_one_cell_do_not_count(
    n: int, seed: int, kind: str, kernel: str, width: float
) -> None:
    values = _pair((n,), seed, kind)
    eps = width / n**2
    line = _solve(pma.Problem(*values), eps, kernel)
    for shape in ((1, n), (n, 1), (1, n, 1), (n, 1, 1)):
        other = _solve(pma.Problem(*(v.reshape(shape) for v in values)), eps, kernel)
        along = shape.index(n)
        np.testing.assert_allclose(
            other.displacement[along].ravel(), line.displacement[0], atol=1e-7
        )
        for axis in set(range(len(shape))) - {along}:
            np.testing.assert_allclose(other.displacement[axis], 0, atol=1e-9)
        if kernel == "plain":
            assert other.value == pytest.approx(line.value, abs=1e-10)


@FEW
@given(
    st.sampled_from([((9,), (7,)), ((8, 1), (6, 3)), ((6, 5), (5, 7)), ((4, 3, 5), (5, 4, 3))]),
    SEEDS, KERNELS, st.floats(0.3, 30),
)  # fmt: skip
def test_products_of_densities_move_axis_by_axis(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], seed: int, kernel: str, width: float
) -> None:
    """An axis with constant densities on both sides is one of them."""
    factors = [
        [_values((n,), seed + 2 * axis + side) for axis, n in enumerate(shape)]
        for side, shape in enumerate(shapes)
    ]
    factors[0][-1][:], factors[1][-1][:] = 1.0, 1.0
    values = []
    for side in factors:
        total = np.ones(())
        for line in side:
            total = np.multiply.outer(total, line)
        values.append(total)
    problem = pma.Problem(*values)
    eps = width * _cell(problem)
    whole = _solve(problem, eps, kernel)
    lines = [_solve(pma.Problem(a, b), eps, kernel) for a, b in zip(*factors, strict=True)]
    assert whole.value == pytest.approx(sum(line.value for line in lines), abs=1e-9)
    d = problem.dim
    for axis, one in enumerate(lines):
        expected = one.gradient[0].reshape([-1 if k == axis else 1 for k in range(d)])
        error = whole.gradient[axis] - expected
        np.testing.assert_allclose(error, 0, atol=1e-7)


# --- what holds for all densities


@MANY
@given(SHAPES, SHAPES, SEEDS, KINDS, WIDTHS)
def test_marginals_and_potentials(
    shape: tuple[int, ...], other: tuple[int, ...], seed: int, kind: str, width: float
) -> None:
    """Of unlike grids too: the plan from the potentials, and the soft conjugate off the support."""
    other = tuple((other * 3)[: len(shape)])
    problem = pma.Problem(_values(shape, seed, kind), _values(other, seed + 1, kind))
    eps = width * _cell(problem)
    sk = _solve(problem, eps)
    assert sk.converged, sk.stats
    f, g = sk.source_potential.ravel(), sk.target_potential.ravel()
    a, b = (d.values.ravel() / d.values.sum() for d in (problem.source, problem.target))
    exponent = (f[:, None] + g - _cost(problem)) / eps
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        soft = logsumexp(exponent + np.log(b), axis=1)
        plan = np.exp(exponent + np.log(a)[:, None] + np.log(b))
    # f is the soft conjugate of g everywhere, with and without mass
    np.testing.assert_allclose(soft, 0, atol=1e-8)
    assert np.abs(plan.sum(axis=1) - a).sum() < 1e-8
    assert np.abs(plan.sum(axis=0) - b).sum() < 1e-8
    assert sk.stats["marginal_error"] <= TOL


@MANY
@given(SHAPES, SEEDS, KINDS, WIDTHS)
def test_the_potential_is_convex_and_the_map_monotone(
    shape: tuple[int, ...], seed: int, kind: str, width: float
) -> None:
    """u(x) = eps log sum exp((<x, y> - v(y)) / eps) is convex whatever v is."""
    problem = pma.Problem(*_pair(shape, seed, kind))
    sk = _solve(problem, width * _cell(problem))
    points = problem.source.grid.coordinates().reshape(len(shape), -1)
    u, image = sk.potential.ravel(), sk.gradient.reshape(len(shape), -1)
    # E[y | x] is the gradient: every tangent plane lies below u
    tangent = u + np.einsum("dj,dij->ij", image, points[:, :, None] - points[:, None])
    assert (u[:, None] - tangent).min() > -1e-9
    steps = points[:, :, None] - points[:, None], image[:, :, None] - image[:, None]
    assert (steps[0] * steps[1]).sum(axis=0).min() > -1e-10


@MANY
@given(SHAPES, SEEDS, KINDS, KERNELS, st.floats(0, 1), st.sampled_from(["float64", "float32"]),
       st.sampled_from(["barycentric", "debiased"]))  # fmt: skip
def test_every_number_is_finite(
    shape: tuple[int, ...], seed: int, kind: str, kernel: Any, place: float, dtype: Any, map: Any
) -> None:
    """eps from the whole box to a quarter of a cell, mass in opposite corners or nearly nowhere."""
    problem = pma.Problem(*_pair(shape, seed, kind))
    eps = (_cell(problem) / 4) ** place
    sk = pma.sinkhorn(
        problem, eps, kernel=kernel, dtype=dtype, map=map, max_iterations=300,
    )  # fmt: skip
    for field in (
        sk.potential, sk.gradient, sk.inverse_gradient, sk.source_potential, sk.target_potential,
    ):  # fmt: skip
        assert np.isfinite(field).all()
    for key in ("primal", "dual", "transport_cost", "marginal_error", "omega"):
        assert np.isfinite(sk.stats[key]), key
    assert np.isfinite(sk.stats["history"]).all()
    assert 0 <= sk.w2 < 2 * len(shape)
    # a coupling costs at least the way between the means; its marginal may still be wrong
    least = float(((problem.source.mean() - problem.target.mean()) ** 2).sum())
    slack = 2 * len(shape) * sk.stats["marginal_error"] + 1e-5
    assert sk.stats["transport_cost"] > least - slack
    assert np.isfinite(sk.interpolate(0.5).values).all()


@FEW
@given(SHAPES, SEEDS, st.floats(0.3, 30))
def test_eps_spreads_the_plan(shape: tuple[int, ...], seed: int, width: float) -> None:
    """E|x - y|^2 rises with eps, from W2^2 of the atoms to that of independent ones."""
    problem = pma.Problem(*_pair(shape, seed))
    eps = width * _cell(problem)
    costs = [_solve(problem, k * eps).stats["transport_cost"] for k in (1, 3, 1e4)]
    assert costs[0] <= costs[1] + 1e-10 <= costs[2] + 2e-10
    a, b = (d.values.ravel() / d.values.sum() for d in (problem.source, problem.target))
    independent = float(a @ (2 * _cost(problem)) @ b)
    assert costs[2] <= independent + 1e-10
