"""What transport must not depend on: orientation, units, place, the constant of the potential."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pma_grid as pma

FEW = settings(max_examples=8, derandomize=True, deadline=None, database=None)
SEEDS = st.integers(0, 10**6)
SHAPES = st.sampled_from(
    [(20,), (13,), (12, 12), (11, 17), (1, 13), (14, 1), (7, 24), (6, 7, 5), (1, 8, 9), (11, 2, 4)]
)
OBLONG = [((16, 16), (3.0, 1.0)), ((9, 11), (1.0, 3.0)), ((6, 7, 8), (3.0, 1.0, 2.0))]
TOL = 1e-10
# In 3-D the walk over superbases begins with a diagonal that a mirror turns round, and may end at
# another local minimum: a difference far below the truncation error, but not rounding.
SAME = {1: 1e-6, 2: 1e-6, 3: 2e-5}
# Units change nothing but what they are multiplied by at the end.
UNITS = 1e-12
# Other orders of axes and other masses change the last digits, and these, in 3-D, where a walk
# ends.  With means over images, which depend on superbases too, up to 4e-5 is seen where an axis
# has but two cells.
ROUNDED = {False: SAME, True: {1: 1e-6, 2: 1e-6, 3: 1e-4}}


def _density(
    shape: tuple[int, ...], seed: int, box: tuple[float, ...] | None = None
) -> pma.Density:
    """exp of random low cosine modes, mixed ones included."""
    rng = np.random.default_rng(seed)
    grid = pma.Grid(shape, (0.0,) * len(shape), box or (1.0,) * len(shape))
    s = [(i + 0.5) / n for i, n in zip(np.indices(shape), shape, strict=True)]
    log = np.zeros(shape)
    for c in s:
        log += rng.uniform(-0.4, 0.4) * np.cos(np.pi * c)
        log += rng.uniform(-0.2, 0.2) * np.cos(2 * np.pi * c)
    log += rng.uniform(-0.2, 0.2) * np.prod([np.cos(np.pi * c) for c in s], axis=0)
    return pma.Density(np.exp(log), grid)


def _pair(shape: tuple[int, ...], seed: int) -> tuple[pma.Density, pma.Density]:
    return _density(shape, seed), _density(shape, seed + 1)


def _solve(source: pma.Density, target: pma.Density, *, averaging: bool = True) -> pma.Transport:
    """By Newton's method alone; in 3-D rounding may end it just above the tolerance."""
    try:
        return pma.solve(pma.Problem(source, target), tol=TOL, averaging=averaging, fallback=False)
    except pma.ConvergenceError as error:
        last = error.result
        assert isinstance(last, pma.Transport)
        assert source.dim == 3 and last.stats["residual"] < 1e-4
        return last


@FEW
@given(SHAPES, SEEDS, st.integers(0, 2))
def test_mirror(shape: tuple[int, ...], seed: int, axis: int) -> None:
    axis %= len(shape)
    source, target = _pair(shape, seed)
    ot = _solve(source, target)
    mirrored = _solve(
        pma.Density(np.flip(source.values, axis)), pma.Density(np.flip(target.values, axis))
    )
    assert mirrored.w2 == pytest.approx(ot.w2, rel=SAME[len(shape)])
    expected = np.flip(ot.displacement, axis + 1).copy()
    expected[axis] *= -1
    np.testing.assert_allclose(mirrored.displacement, expected, atol=10 * SAME[len(shape)])


@FEW
@given(SHAPES, SEEDS, st.randoms(use_true_random=False))
def test_permutation_of_the_axes(shape: tuple[int, ...], seed: int, random: object) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    source, target = _pair(shape, seed)
    ot = _solve(source, target)
    turned = _solve(
        pma.Density(source.values.transpose(order)), pma.Density(target.values.transpose(order))
    )
    same = ROUNDED[True][len(shape)]
    assert turned.w2 == pytest.approx(ot.w2, rel=same)
    expected = ot.displacement[order].transpose([0, *[k + 1 for k in order]])
    np.testing.assert_allclose(turned.displacement, expected, atol=same)


@pytest.mark.parametrize("averaging", [True, False])
@FEW
@given(SHAPES, SEEDS, st.floats(1e-3, 1e3))
def test_units_of_length(averaging: bool, shape: tuple[int, ...], seed: int, unit: float) -> None:
    source, target = _pair(shape, seed)
    ot = _solve(source, target, averaging=averaging)
    grid = pma.Grid(shape, (0.0,) * len(shape), (unit,) * len(shape))
    scaled = _solve(
        pma.Density(source.values, grid), pma.Density(target.values, grid), averaging=averaging
    )
    assert scaled.w2 == pytest.approx(unit * ot.w2, rel=UNITS)
    np.testing.assert_allclose(scaled.gradient / unit, ot.gradient, atol=UNITS)


@pytest.mark.parametrize("averaging", [True, False])
@FEW
@given(SHAPES, SEEDS)
def test_units_of_mass(averaging: bool, shape: tuple[int, ...], seed: int) -> None:
    source, target = _pair(shape, seed)
    ot = _solve(source, target, averaging=averaging)
    heavier = _solve(
        pma.Density(1e5 * source.values), pma.Density(1e-7 * target.values), averaging=averaging
    )
    assert heavier.w2 == pytest.approx(ot.w2, rel=ROUNDED[averaging][len(shape)])


@FEW
@given(SHAPES, SEEDS, st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_place_of_the_target(shape: tuple[int, ...], seed: int, move: list[float]) -> None:
    """W2^2(mu, nu(. - s)) = W2^2 + 2 s.(mean nu - mean mu) + |s|^2."""
    dim = len(shape)
    s = np.array(move[:dim])
    source, target = _pair(shape, seed)

    def moved(sign: float) -> pma.Transport:
        grid = pma.Grid(shape, tuple(sign * s), tuple(1 + sign * s))
        return _solve(source, pma.Density(target.values, grid))

    here, there, back = _solve(source, target), moved(1.0), moved(-1.0)
    size = 1 + float(s @ s)
    even = there.w2_squared + back.w2_squared - 2 * here.w2_squared
    assert even == pytest.approx(2 * float(s @ s), abs=1e-8 * size)
    # means of the smooth densities: the linear variation within a cell is not in Density.mean
    h = np.array(source.grid.spacing)
    odd = (there.w2_squared - back.w2_squared) / 4
    error = 0.3 * np.abs(s) @ h**2
    assert odd == pytest.approx(float(s @ (target.mean() - source.mean())), abs=error + 1e-8)
    shift = s.reshape(-1, *[1] * dim)
    np.testing.assert_allclose(there.gradient - shift, here.gradient, atol=1e-6)


@FEW
@given(st.sampled_from([(24,), (20, 21), (24, 16), (12, 10, 11)]), SEEDS)
def test_swap_gives_the_inverse_map(shape: tuple[int, ...], seed: int) -> None:
    source, target = _pair(shape, seed)
    ot, back = _solve(source, target), _solve(target, source)
    h = max(source.grid.spacing)
    assert back.w2_squared == pytest.approx(ot.w2_squared, abs=0.02 * h**2)
    points = 0.02 + 0.96 * np.random.default_rng(seed).random((200, len(shape)))
    assert np.abs(back.map(ot.map(points)) - points).max() < 1.5 * h**2
    assert np.abs(back.map(points) - ot.inverse(points)).max() < 1.5 * h**2


@FEW
@given(SHAPES, SEEDS, st.floats(-1e3, 1e3))
def test_constant_of_the_potential(shape: tuple[int, ...], seed: int, constant: float) -> None:
    found = _solve(*_pair(shape, seed))
    ot, shifted = (
        pma.Transport.from_potential(found.problem, found.potential + more)
        for more in (0.0, constant)
    )
    assert shifted.w2_squared == pytest.approx(ot.w2_squared, abs=1e-10)
    np.testing.assert_allclose(shifted.gradient, ot.gradient, atol=1e-9)


@FEW
@given(st.sampled_from([13, 16, 23]), SEEDS, st.booleans())
def test_axes_of_one_cell_do_not_count(n: int, seed: int, first: bool) -> None:
    source, target = _pair((n,), seed)
    line = _solve(source, target, averaging=False)
    shape = (1, n) if first else (n, 1)
    plane, space = (
        _solve(
            pma.Density(source.values.reshape(s)),
            pma.Density(target.values.reshape(s)),
            averaging=False,
        )
        for s in (shape, (1, *shape))
    )
    assert plane.w2 == pytest.approx(line.w2, rel=1e-6)
    assert space.w2 == pytest.approx(line.w2, rel=1e-6)
    moved = plane.displacement[1 if first else 0].ravel()
    np.testing.assert_allclose(moved, line.displacement[0], atol=1e-6)
    np.testing.assert_allclose(plane.displacement[0 if first else 1], 0, atol=1e-6)


@FEW
@given(st.sampled_from([13, 16, 23]), SEEDS)
def test_axes_of_one_cell_hardly_count_with_means(n: int, seed: int) -> None:
    """Those on one axis are of every image, without a blend: another second-order scheme."""
    source, target = _pair((n,), seed)
    line = _solve(source, target)
    plane = _solve(
        pma.Density(source.values.reshape(n, 1)), pma.Density(target.values.reshape(n, 1))
    )
    assert plane.w2_squared == pytest.approx(line.w2_squared, abs=2e-3 / n**2)
    np.testing.assert_allclose(plane.displacement[0].ravel(), line.displacement[0], atol=0.3 / n**2)


@FEW
@given(st.sampled_from([((16,), (21,)), ((13, 18), (24, 11)), ((9, 8, 7), (7, 10, 6))]), SEEDS)
def test_shapes_may_differ(shapes: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
    """The target on another grid of cells is nearly the same density."""
    source = _density(shapes[0], seed)
    same, other = (_solve(source, _density(shape, seed + 1)) for shape in shapes)
    h = 1 / min(min(s) for s in shapes)
    assert other.w2_squared == pytest.approx(same.w2_squared, abs=0.05 * h**2)
    assert np.abs(other.gradient - same.gradient).max() < h**2


@FEW
@given(st.sampled_from(OBLONG), SEEDS)
def test_product_densities_move_axis_by_axis(
    case: tuple[tuple[int, ...], tuple[float, ...]], seed: int
) -> None:
    """On oblong cells too, W2^2 of a product is the sum over its factors."""
    shape, box = case
    factors = [
        (_density((n,), seed + 2 * k, (side,)), _density((n,), seed + 2 * k + 1, (side,)))
        for k, (n, side) in enumerate(zip(shape, box, strict=True))
    ]
    grid = pma.Grid(shape, (0.0,) * len(shape), box)

    def product(which: int) -> pma.Density:
        values = np.ones(())
        for pair in factors:
            values = np.multiply.outer(values, pair[which].values)
        return pma.Density(values, grid)

    whole = _solve(product(0), product(1))
    lines = [_solve(a, b) for a, b in factors]
    total = sum(line.w2_squared for line in lines)
    assert whole.w2_squared == pytest.approx(total, rel=1e-3, abs=1e-5)
    for axis, line in enumerate(lines):
        expected = line.gradient[0].reshape([-1 if k == axis else 1 for k in range(len(shape))])
        error = np.abs(whole.gradient[axis] - expected).max()
        assert error < 0.5 * line.problem.source.grid.spacing[0] ** 2
