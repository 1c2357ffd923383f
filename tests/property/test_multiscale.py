"""What sparse entropic transport must not depend on, and what it must give back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pma_grid as pma

FEW = settings(max_examples=8, derandomize=True, deadline=None, database=None)
SEEDS = st.integers(0, 10**6)
SHAPES = st.sampled_from(
    [(40,), (300,), (18, 18), (15, 23), (1, 30), (30, 1), (40, 36), (8, 9, 10), (1, 9, 8)]
)
# tight enough that two runs of the same problem agree to rounding of the potentials
TOL = 1e-7


def _masses(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Rough, with zeros; on some seeds over many decades."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape) * (rng.random(shape) < 0.7)
    if seed % 3 == 0:
        values = np.exp(2 * rng.normal(size=shape))
    values.ravel()[0] += 0.1
    return values


def _pair(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    other = (*shape[:-1], max(1, shape[-1] - seed % 3))
    return _masses(shape, seed), _masses(other, seed + 1)


def _in_box(masses: np.ndarray, side: float) -> pma.Density:
    """On a cube of that side."""
    dim = masses.ndim
    return pma.Density(masses, pma.Grid(masses.shape, (0.0,) * dim, (side,) * dim))


def _solve(
    source: pma.Density | np.ndarray,
    target: pma.Density | np.ndarray,
    eps: float | None = None,
    tol: float = TOL,
) -> pma.EntropicTransport:
    problem = pma.Problem(source, target)
    transport = pma.sinkhorn(problem, eps, method="multiscale", tol=tol, max_iterations=2000)
    assert transport.converged
    return transport


def _gap(
    one: pma.EntropicTransport, other: pma.EntropicTransport, *, swapped: bool = False
) -> float:
    """L1 distance of two plans."""
    assert one.plan is not None
    assert other.plan is not None
    return float(np.abs(one.plan - (other.plan.T if swapped else other.plan)).sum())


@FEW
@given(SHAPES, SEEDS)
def test_swap(shape: tuple[int, ...], seed: int) -> None:
    source, target = _pair(shape, seed)
    there, back = _solve(source, target), _solve(target, source)
    cell = there.stats["cell"]
    assert back.stats["hard_dual"] == pytest.approx(there.stats["hard_dual"], abs=1e-6 * cell)
    assert back.stats["dual"] == pytest.approx(there.stats["dual"], abs=1e-6 * cell)
    assert _gap(there, back, swapped=True) < 1e-5
    kept = source > 0
    close = np.abs(there.gradient - back.inverse_gradient)[:, kept]
    assert (close * source[kept] / source.sum()).sum() < 1e-5


@FEW
@given(SHAPES, SEEDS, st.integers(0, 2))
def test_mirror(shape: tuple[int, ...], seed: int, axis: int) -> None:
    axis %= len(shape)
    source, target = _pair(shape, seed)
    here, there = _solve(source, target), _solve(np.flip(source, axis), np.flip(target, axis))
    assert there.stats["hard_dual"] == pytest.approx(
        here.stats["hard_dual"], abs=1e-6 * here.stats["cell"]
    )
    expected = np.flip(here.gradient, axis + 1).copy()
    expected[axis] = 1 - expected[axis]
    kept = np.flip(source, axis) > 0
    np.testing.assert_allclose(there.gradient[:, kept], expected[:, kept], atol=1e-4)


@FEW
@given(SHAPES, SEEDS, st.randoms(use_true_random=False))
def test_permutation_of_the_axes(shape: tuple[int, ...], seed: int, random: object) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    source, target = _pair(shape, seed)
    here, there = _solve(source, target), _solve(source.transpose(order), target.transpose(order))
    assert there.stats["hard_dual"] == pytest.approx(
        here.stats["hard_dual"], abs=1e-6 * here.stats["cell"]
    )
    expected = here.gradient[order].transpose([0, *[k + 1 for k in order]])
    kept = source.transpose(order) > 0
    np.testing.assert_allclose(there.gradient[:, kept], expected[:, kept], atol=1e-4)


@FEW
@given(SHAPES, SEEDS, st.floats(1e-6, 1e6))
def test_units_of_length(shape: tuple[int, ...], seed: int, unit: float) -> None:
    source, target = _pair(shape, seed)
    here = _solve(source, target)
    scaled = _solve(_in_box(source, unit), _in_box(target, unit))
    cell = here.stats["cell"]
    assert scaled.stats["cell"] == pytest.approx(unit**2 * cell)
    assert scaled.eps == pytest.approx(unit**2 * here.eps)
    assert scaled.stats["hard_dual"] == pytest.approx(
        unit**2 * here.stats["hard_dual"], abs=1e-6 * unit**2 * cell
    )
    assert _gap(scaled, here) < 1e-5


@FEW
@given(SHAPES, SEEDS)
def test_units_of_mass(shape: tuple[int, ...], seed: int) -> None:
    source, target = _pair(shape, seed)
    here, heavier = _solve(source, target), _solve(1e5 * source, 1e-7 * target)
    assert heavier.stats["hard_dual"] == pytest.approx(
        here.stats["hard_dual"], abs=1e-6 * here.stats["cell"]
    )


@FEW
@given(SHAPES, SEEDS, st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_place_of_the_target(shape: tuple[int, ...], seed: int, move: list[float]) -> None:
    """W2^2(mu, nu(. - s)) = W2^2 + 2 s.(mean nu - mean mu) + |s|^2, the plan is the same."""
    s = np.array(move[: len(shape)])
    source, target = (pma.Density(m) for m in _pair(shape, seed))
    moved = pma.Density(target.values, pma.Grid(target.shape, tuple(s), tuple(1 + s)))
    here, there = _solve(source, target), _solve(source, moved)
    expected = here.stats["hard_dual"] + 2 * float(s @ (target.mean() - source.mean())) + s @ s
    cell = here.stats["cell"]
    assert there.stats["hard_dual"] == pytest.approx(expected, abs=1e-6 * cell + 1e-13)
    assert _gap(here, there) < 1e-5
    shift = s.reshape(-1, *[1] * len(shape))
    kept = source.values > 0
    np.testing.assert_allclose((there.gradient - shift)[:, kept], here.gradient[:, kept], atol=1e-4)


@FEW
@given(st.sampled_from([(40,), (12, 13)]), SEEDS, st.integers(0, 2))
def test_axes_of_one_cell_do_not_count(shape: tuple[int, ...], seed: int, axis: int) -> None:
    axis %= len(shape) + 1
    source, target = _pair(shape, seed)
    plain = _solve(source, target)
    thick = _solve(np.expand_dims(source, axis), np.expand_dims(target, axis))
    cell = plain.stats["cell"]
    assert thick.stats["cell"] == pytest.approx(cell)
    assert thick.stats["hard_dual"] == pytest.approx(plain.stats["hard_dual"], abs=1e-6 * cell)
    assert _gap(thick, plain) < 1e-5
    np.testing.assert_allclose(thick.gradient[axis], 0.5, atol=1e-12)


@FEW
@given(SEEDS)
def test_a_constant_axis_adds_nothing(seed: int) -> None:
    """Product with a uniform line on both sides: mass need not move along it."""
    source, target = _pair((10, 11), seed)
    flat = _solve(source, target, eps=0.03 / 110, tol=1e-5)
    source, target = (np.repeat(m[..., None], 3, axis=2) for m in (source, target))
    thick = _solve(source, target, eps=0.03 / 110, tol=1e-5)
    # the unregularised values agree; each lies below it by at most its own loss
    loss = 0.05 / 110
    assert thick.stats["hard_dual"] == pytest.approx(flat.stats["hard_dual"], abs=loss)


@FEW
@given(SHAPES, SEEDS)
def test_identical_densities(shape: tuple[int, ...], seed: int) -> None:
    masses = _masses(shape, seed)
    still = _solve(masses, masses, tol=1e-5)
    assert 0 <= still.stats["hard_dual"] < 1e-12
    sharp = _solve(masses, masses, eps=0.03 * still.stats["cell"], tol=1e-5)
    assert 0 <= sharp.stats["hard_dual"] < 1e-12
    kept = masses > 0
    error = np.abs(sharp.gradient - sharp.problem.source.grid.coordinates())[:, kept]
    assert (error * masses[kept] / masses.sum()).sum() < 1e-3 * np.sqrt(still.stats["cell"])
    # every atom may stay, |D(x) - D(y)| <= |x - y|^2/2: the identity is optimal for the potential
    points = still.problem.source.grid.coordinates()[:, kept].T
    rest = (still.potential - 0.5 * (still.problem.source.grid.coordinates() ** 2).sum(axis=0))[
        kept
    ]
    room = 0.5 * ((points[:, None] - points) ** 2).sum(axis=2)
    assert (np.abs(rest[:, None] - rest) <= room + 1e-12).all()


@FEW
@given(st.sampled_from([(40,), (16, 17), (7, 8, 9)]), SEEDS)
def test_nearly_identical_densities(shape: tuple[int, ...], seed: int) -> None:
    """The bound stays within the gap between the means and what the difference could cost."""
    rng = np.random.default_rng(seed)
    source = 0.5 + rng.random(shape)
    for size in (1e-3, 1e-9):
        target = source * (1 + size * rng.normal(size=shape))
        stats = _solve(source, target, tol=1e-4).stats
        pair = [pma.Density(m) for m in (source, target)]
        gap = float(((pair[0].mean() - pair[1].mean()) ** 2).sum())
        moved = 0.5 * float(np.abs(source / source.sum() - target / target.sum()).sum())
        assert gap * (1 - 1e-9) <= stats["hard_dual"] <= len(shape) * moved
        assert stats["hard_dual"] > 0


@FEW
@given(SHAPES, SEEDS, st.sampled_from([0.1, 2.0, 10.0]))
def test_bounds_are_ordered(shape: tuple[int, ...], seed: int, share: float) -> None:
    source, target = _pair(shape, seed)
    cell = _solve(source, target).stats["cell"]
    transport = _solve(source, target, eps=share * cell)
    stats = transport.stats
    assert stats["hard_dual_other"] <= stats["hard_dual"]
    assert stats["hard_dual"] <= stats["transport_cost"] + 1e-7
    # primal and dual of the entropic problem close the gap
    assert stats["primal"] == pytest.approx(stats["dual"], abs=1e-6)
    problem, u = transport.problem, transport.potential
    points = problem.source.grid.coordinates().reshape(len(shape), -1).T
    slopes = transport.gradient.reshape(len(shape), -1).T
    kept = source.ravel() > 0
    hull = problem.target.grid.coordinates().reshape(len(shape), -1).T[target.ravel() > 0]
    assert (slopes[kept] >= hull.min(axis=0) - 1e-12).all()
    assert (slopes[kept] <= hull.max(axis=0) + 1e-12).all()
    # u is convex: above its tangents at cells off the support
    for i in np.flatnonzero(~kept)[:5]:
        assert (u.ravel() >= u.ravel()[i] + (points - points[i]) @ slopes[i] - 1e-12).all()
