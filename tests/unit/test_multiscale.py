"""The parts of the multiscale solver against plain NumPy, and what its results promise."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse as matrices
from scipy.special import logsumexp

import pma_grid as pma
from pma_grid.entropic.iteration import Iteration
from pma_grid.entropic.multiscale import candidates as lists
from pma_grid.entropic.multiscale.anderson import Anderson
from pma_grid.entropic.multiscale.candidates import Candidates, Pairs
from pma_grid.entropic.multiscale.chunks import Chunks
from pma_grid.entropic.multiscale.components import Components
from pma_grid.entropic.multiscale.pyramid import Level, pyramid
from pma_grid.entropic.multiscale.scaling import MatrixScaling
from pma_grid.grid.legendre import legendre
from pma_grid.kernels import records
from pma_grid.kernels.entropic import plans, sparse
from pma_grid.kernels.records import Entries, GroupPairs
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime.errors import InvalidInputError, Status
from pma_grid.transport.atomic_dual import from_source, transform


def _sparse_masses(shape: tuple[int, ...], seed: int, share: float = 0.6) -> np.ndarray:
    """Positive in some cells only."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape) * (rng.random(shape) < share)
    values.ravel()[0] += 0.1
    return values


def _two_discs(n: int) -> np.ndarray:
    x = (np.arange(n) + 0.5) / n
    left, right = ((x[:, None] - c) ** 2 + (x - 0.5) ** 2 < 0.15**2 for c in (0.25, 0.75))
    return np.asarray(left | right, float)


def _level(shapes: tuple[tuple[int, ...], tuple[int, ...]], seed: int = 0) -> Level:
    a, b = (_sparse_masses(s, seed + k) for k, s in enumerate(shapes))
    lengths = np.linspace(1, 1.5, len(shapes[0]))
    return pyramid(Reduced.over(a / a.sum(), b / b.sum(), lengths))[0]


def _costs(level: Level) -> np.ndarray:
    x, y = level.source.position, level.target.position
    return np.asarray(0.5 * ((x[:, None] - y) ** 2).sum(axis=2))


# ---- Legendre transforms with points left out ----------------------------------------------------


@pytest.mark.parametrize("shape", [(9,), (6, 7), (3, 4, 5)])
def test_points_of_value_infinity_do_not_exist(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    values = rng.normal(size=shape)
    values[rng.random(shape) < 0.6] = np.inf
    values[(1,) * len(shape)] = 0.3
    values[0] = np.inf  # whole lines without a point
    axes = tuple(np.sort(rng.normal(size=n)) for n in shape)
    slopes = tuple(np.sort(rng.normal(size=n + 2)) for n in shape)
    conjugate, argmax = legendre(values, axes, slopes)
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    y = np.stack(np.meshgrid(*slopes, indexing="ij"), -1)
    every = y @ x.T - values.ravel()
    np.testing.assert_allclose(conjugate, every.max(axis=-1), atol=1e-14)
    assert np.isfinite(values[tuple(argmax)]).all()
    at = np.ravel_multi_index(tuple(argmax), shape)
    picked = np.take_along_axis(every, at[..., None], -1)[..., 0]
    np.testing.assert_allclose(picked, conjugate, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-140, 1e140])
def test_units_of_length_do_not_change_who_is_largest(unit: float) -> None:
    x = np.linspace(0, 1, 30)
    values = np.random.default_rng(0).random((30, 30))
    expected = legendre(values, (x, x), (x, x))[1]
    found = legendre(unit**2 * values, (unit * x, unit * x), (unit * x, unit * x))[1]
    np.testing.assert_array_equal(found, expected)


def test_nothing_but_infinity_has_the_conjugate_minus_infinity() -> None:
    conjugate, argmax = legendre(np.full((3, 4), np.inf), (np.arange(3.0), np.arange(4.0)),
                                 (np.arange(2.0), np.arange(5.0)))  # fmt: skip
    assert (conjugate == -np.inf).all()
    assert (argmax == 0).all()


# ---- the pyramid ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shapes",
    [((2000,), (1500,)), ((50, 40), (37, 64)), ((21, 20, 5), (16, 16, 16)), ((700, 1), (90, 30))],
)
def test_pyramid_keeps_mass_means_and_families(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    a, b = (_sparse_masses(s, k) for k, s in enumerate(shapes))
    reduced = Reduced.over(a / a.sum(), b / b.sum(), np.linspace(1, 2, a.ndim))
    levels = pyramid(reduced)
    assert len(levels) > 1
    assert levels[-1].pairs <= 2**13 < levels[-2].pairs
    assert levels[0].cell == pytest.approx(reduced.cell, rel=1e-12)
    np.testing.assert_array_equal(levels[0].source.mass, reduced.a.ravel()[levels[0].source.flat])
    for fine, coarse in pairwise(levels):
        for child, parent in ((fine.source, coarse.source), (fine.target, coarse.target)):
            assert (np.diff(child.parent) >= 0).all()
            for i in range(parent.size):
                own = slice(parent.children[i], parent.children[i + 1])
                assert (child.parent[own] == i).all()
                mass = child.mass[own]
                assert mass.sum() == pytest.approx(parent.mass[i], rel=1e-13)
                np.testing.assert_allclose(
                    mass @ child.position[own] / mass.sum(), parent.position[i], atol=1e-13
                )
                ratio = (np.array(child.shape) + 1) // np.array(parent.shape)
                assert set(ratio) <= {1, 2} or min(child.shape) == 1
    for side in (levels[-1].source, levels[-1].target):
        found = side.number[tuple(side.cell.T)]
        np.testing.assert_array_equal(found, np.arange(side.size))
        assert (side.number >= 0).sum() == side.size


def test_only_the_finest_axes_are_coarsened() -> None:
    """The source's second axis is four times coarser than the others: it waits for them."""
    reduced = Reduced.over(np.full((64, 16), 1 / 1024), np.full((64, 64), 1 / 4096), np.ones(2))
    shapes = [level.shapes for level in pyramid(reduced)]
    assert shapes == [
        ((64, 16), (64, 64)), ((32, 16), (32, 32)), ((16, 16), (16, 16)), ((8, 8), (8, 8)),
    ]  # fmt: skip


# ---- lists of pairs ------------------------------------------------------------------------------


SHAPES = [((9,), (11,)), ((5, 4), (4, 6)), ((3, 4, 2), (2, 3, 3))]


@pytest.mark.parametrize("shapes", SHAPES)
def test_soft_transforms(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    level, eps = _level(shapes), 0.03
    rng = np.random.default_rng(1)
    f, g = rng.normal(size=level.source.size), rng.normal(size=level.target.size)
    every = Candidates.all(level, Chunks())
    cost = _costs(level)
    expected = -eps * logsumexp((g - cost) / eps + level.target.log_mass, axis=1)
    np.testing.assert_allclose(every.source_transform(g, eps), expected, rtol=1e-13, atol=1e-13)
    expected = -eps * logsumexp((f - cost.T) / eps + level.source.log_mass, axis=1)
    np.testing.assert_allclose(every.target_transform(f, eps), expected, rtol=1e-13, atol=1e-13)


def test_soft_transform_over_groups() -> None:
    """Rows of a list of groups stand for their atoms; an empty pair does not count."""
    level, eps = _level(((6, 6), (5, 5))), 0.1
    n, m = level.source.size, level.target.size
    rows, columns = np.array([0, 2, n]), np.array([0, 3, 4, m])
    pairs = Pairs(np.array([0, 2, 4]), np.array([2, 0, 1, 2], np.int32), 3)
    group = Candidates(level, pairs, rows, columns, Chunks())
    allowed = np.zeros((n, m), bool)
    allowed[:2, :3] = allowed[:2, 4:] = allowed[2:, 3:] = True
    g = np.random.default_rng(0).normal(size=m)
    exponent = np.where(allowed, (g - _costs(level)) / eps + level.target.log_mass, -np.inf)
    np.testing.assert_allclose(
        group.source_transform(g, eps), -eps * logsumexp(exponent, axis=1), rtol=1e-13
    )


@pytest.mark.parametrize("shapes", SHAPES)
def test_thinned_pairs(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    level, eps, delta = _level(shapes, 3), 0.01, 1e-3
    every = Candidates.all(level, Chunks())
    f = 0.01 * np.random.default_rng(2).normal(size=level.source.size)
    g = every.target_transform(f, eps)
    pairs, values = every.thinned(f, g, eps, delta)
    a, b = level.source.mass[:, None], level.target.mass
    plan = a * b * np.exp((f[:, None] + g - _costs(level)) / eps)
    kept = plan > delta * np.minimum(a, b)
    lone = ~kept.any(axis=1)
    kept[lone, plan[lone].argmax(axis=1)] = True
    found = matrices.csr_array((values, pairs.indices, pairs.pointers), shape=plan.shape).toarray()
    np.testing.assert_array_equal(found > 0, kept)
    np.testing.assert_allclose(found * np.sqrt(a * b), np.where(kept, plan, 0), rtol=1e-11)


def test_pairs_at_the_threshold_are_filled_in_as_they_were_counted() -> None:
    # atoms on a lattice: every threshold below is met by many pairs up to rounding
    rng = np.random.default_rng(0)
    n, m, eps = 40, 37, 0.01
    x, y = rng.integers(0, 8, (n, 2)) / 8, rng.integers(0, 8, (m, 2)) / 8
    f, g, log_a, log_b = np.full(n, 0.3), np.full(m, 0.1), np.full(n, -3.7), np.full(m, -3.6)
    every = Pairs.all(n, m)
    pattern = GroupPairs(every.pointers, every.indices, np.arange(n + 1), np.arange(m + 1))
    sides = records.Atoms(x, f, log_a), records.Atoms(y, g, log_b)
    costs = 0.5 * ((x[:, None] - y) ** 2).sum(axis=2)
    for threshold in np.unique((f[:, None] + g - costs) / eps + log_b):
        common = (pattern, *sides, eps, threshold)
        counts = np.zeros(n + 1, np.int64)
        plans.thin(0, n, *common, False, Entries(counts, np.empty(0, np.int32), np.empty(0)))
        for row in range(n):
            found, starts = np.full(m, -1, np.int32), np.zeros(n + 1, np.int64)
            plans.thin(row, row + 1, *common, True, Entries(starts, found, np.empty(m)))
            assert (found >= 0).sum() == counts[row + 1]


def test_a_row_keeps_its_best_pair_without_any_mass() -> None:
    level = _level(((4, 4), (4, 4)))
    every = Candidates.all(level, Chunks())
    f = np.zeros(level.source.size)
    f[2] = -1e4  # far below everything: its row has no mass at all
    g = every.target_transform(f, 1.0)
    pairs, values = every.thinned(f, g, 1.0, 1e-5)
    assert pairs.pointers[3] - pairs.pointers[2] == 1
    assert 0 < values[pairs.pointers[2]] < 1e-200
    assert np.isfinite(values).all()


def _random_pairs(seed: int, n: int = 12, m: int = 9) -> tuple[Pairs, np.ndarray]:
    dense = np.random.default_rng(seed).random((n, m)) < 0.3
    rows, columns = np.nonzero(dense)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return Pairs(pointers, columns.astype(np.int32), m), dense


def _dense(pairs: Pairs) -> np.ndarray:
    found = np.zeros((pairs.pointers.size - 1, pairs.columns), int)
    for i in range(len(found)):
        np.add.at(found[i], pairs.indices[pairs.pointers[i] : pairs.pointers[i + 1]], 1)
    return found


def test_lists_transpose_and_unite() -> None:
    (one, first), (two, second) = _random_pairs(0), _random_pairs(1)
    np.testing.assert_array_equal(_dense(one.transposed), first.T)
    np.testing.assert_array_equal(_dense(one.united(two)), first | second)


def test_lists_widen_at_tears_only() -> None:
    level = _level(((4, 3), (3, 3)), 5)
    atoms = level.source
    pairs, dense = _random_pairs(3, atoms.size, level.target.size)
    images = np.zeros((atoms.size, 2))
    images[atoms.cell[:, 0] >= 2, 0] = 1.0  # torn between the second and the third row of cells
    expected = dense.copy()
    for i, k in np.ndindex(atoms.size, atoms.size):
        near = np.abs(atoms.cell[i] - atoms.cell[k]).max() == 1
        if near and (atoms.cell[i, 0] >= 2) != (atoms.cell[k, 0] >= 2):
            expected[i] |= dense[k]
    assert expected.sum() > dense.sum()
    np.testing.assert_array_equal(_dense(pairs.widened(images, atoms, 0.9)), expected)
    np.testing.assert_array_equal(_dense(pairs.widened(images, atoms, 1.1)), dense)


def test_both_sides_widen() -> None:
    level = _level(((4, 3), (4, 4)), 5)
    pairs, _ = _random_pairs(3, level.source.size, level.target.size)
    there, back = (np.zeros((s.size, 2)) for s in (level.source, level.target))
    there[level.source.cell[:, 0] >= 2, 0] = 1e3
    back[level.target.cell[:, 1] >= 2, 0] = 1e3
    one = pairs.widened(there, level.source, 3.0)
    two = pairs.transposed.widened(back, level.target, 3.0).transposed
    found = _dense(lists.widened(pairs, level, there, back))
    np.testing.assert_array_equal(found, _dense(one) | _dense(two))


# ---- scaling -------------------------------------------------------------------------------------


def test_sweep_and_moments_of_a_plan() -> None:
    pairs, dense = _random_pairs(7)
    for i in range(12):  # a row without a pair has nothing to scale
        assert dense[i].any()
    rng = np.random.default_rng(7)
    values, a, v = rng.random(pairs.size), rng.random(12), rng.random(9)
    R = matrices.csr_array((values, pairs.indices, pairs.pointers), shape=(12, 9)).toarray()
    u, out = np.empty(12), np.zeros(9)
    matrix = Entries(pairs.pointers, pairs.indices, values)
    sparse.sweep(0, 12, matrix, a, v, u, out)
    np.testing.assert_allclose(u, a / (R @ v), rtol=1e-13)
    np.testing.assert_allclose(out, R.T @ u, rtol=1e-13)
    plan = u[:, None] * R * v
    y, x = rng.normal(size=(9, 3)), rng.normal(size=(12, 3))
    means, moments = np.empty((12, 3)), np.zeros((9, 4))
    sparse.means(0, 12, matrix, v, y, means)
    np.testing.assert_allclose(means, plan @ y / a[:, None], atol=1e-13)
    sparse.column_moments(matrix, u, x, moments)
    expected = np.concatenate([plan.sum(axis=0)[:, None], plan.T @ x], axis=1)
    np.testing.assert_allclose(moments * v[:, None], expected, atol=1e-13)
    entries = np.empty(pairs.size)
    sparse.plan_values(matrix, u, v, entries)
    cost = sparse.squared_cost(Entries(pairs.pointers, pairs.indices, entries), x, y)
    squares = ((x[:, None] - y) ** 2).sum(axis=2)
    assert cost == pytest.approx((plan * squares).sum(), rel=1e-12)


def _scaling(n: int, depth: int) -> tuple[MatrixScaling, list[Level]]:
    a, b = np.ones((n, n)), 0.2 + _sparse_masses((n, n), 1, 0.7)
    levels = pyramid(Reduced.over(a / a.sum(), b / b.sum(), np.ones(2)))[: depth + 1]
    every = Candidates.all(levels[0], Chunks())
    eps = 2.0 * levels[0].cell
    f = np.zeros(levels[0].source.size)
    pairs, values = every.thinned(f, every.target_transform(f, eps), eps, 1e-5)
    return MatrixScaling(pairs, values, levels, Chunks()), levels


def test_groups_hold_the_plan_s_sums() -> None:
    scaling, _ = _scaling(24, 1)
    v = np.random.default_rng(0).random(scaling.target.size)
    scaling.scale_rows(v)
    plan = matrices.csr_array(
        (scaling.plan(scaling.u, v), scaling.pairs.indices, scaling.pairs.pointers),
        shape=(scaling.source.size, scaling.target.size),
    ).toarray()
    scaling._correction(v)
    coarse = scaling.coarse
    assert coarse is not None
    sums = np.zeros((coarse.source.size, coarse.target.size))
    np.add.at(sums, np.ix_(scaling.source.parent, scaling.target.parent), plan)
    roots = coarse.source.root_mass[:, None] * coarse.target.root_mass
    found = matrices.csr_array(
        (coarse.values, coarse.pairs.indices, coarse.pairs.pointers), shape=sums.shape
    ).toarray()
    np.testing.assert_allclose(found * roots, sums, atol=1e-15)


def test_groups_hasten_scaling() -> None:
    """The same number of sweeps of the finest matrix, with and without coarser levels."""
    errors = []
    for depth in (0, 1):
        scaling, _ = _scaling(28, depth)
        v = scaling.target.root_mass.copy()
        scaling.scale_rows(v)
        for _ in range(20 if depth else 10):
            v = scaling.cycle(v)
            scaling.scale_rows(v)
        errors.append(scaling.error(v))
    assert errors[1] < 0.5 * errors[0]


def test_anderson_solves_linear_problems() -> None:
    """As many differences as dimensions: exact."""
    rng = np.random.default_rng(3)
    matrix = 0.9 * np.linalg.qr(rng.normal(size=(4, 4)))[0]
    shift = rng.normal(size=4)
    x, accelerate = np.zeros(4), Anderson(5)
    for _ in range(7):
        x = accelerate.mix(x, matrix @ x + shift)
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(4) - matrix, shift), atol=1e-6)


def test_anderson_survives_repeated_iterates() -> None:
    accelerate = Anderson()
    for _ in range(4):
        out = accelerate.mix(np.ones(3), np.ones(3))
    np.testing.assert_array_equal(out, np.ones(3))


def test_offsets_make_components_exchange_their_surplus() -> None:
    """Two heaps far apart, whose masses do not match on the thin list."""
    a, b = np.zeros(60), np.zeros(60)
    a[5:8], a[50:53] = 1 / 5, 2 / 15
    b[5:8], b[50:53] = 1 / 6, 1 / 6
    level = pyramid(Reduced.over(a, b, np.ones(1)))[0]
    eps = 2 * level.cell
    every = Candidates.all(level, Chunks())
    f = np.zeros(6)
    g = every.target_transform(f, eps)
    pairs, _ = every.thinned(f, g, eps, 1e-5)
    parts = Components(pairs, np.ones(pairs.size, bool), level)
    assert parts.count == 2
    assert sorted(parts.surplus) == pytest.approx([-0.1, 0.1])
    moved = f + eps * parts.offsets(every, f, g, eps)
    back = g - eps * parts.offsets(every, f, g, eps)[[0, 0, 0, 3, 3, 3]]
    plan = (
        level.source.mass[:, None]
        * level.target.mass
        * np.exp((moved[:, None] + back - _costs(level)) / eps)
    )
    away = plan[np.ix_(parts.rows == parts.rows[0], parts.columns != parts.rows[0])].sum()
    home = plan[np.ix_(parts.rows != parts.rows[0], parts.columns == parts.rows[0])].sum()
    assert away - home == pytest.approx(0.1, rel=0.02)


def test_chunks_share_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    n, per = 30_000, 10
    pointers = np.arange(n + 1) * per
    indices = rng.integers(0, 500, n * per).astype(np.int32)
    matrix = Entries(pointers, indices, rng.random(n * per))
    a, v = rng.random(n), rng.random(500)
    results = []
    for threads in (1, 3):
        with Chunks(threads) as chunks:
            u, out = np.empty(n), np.full(500, np.nan)
            chunks.columns(sparse.sweep, matrix, a, v, u, out=out)
            means = np.empty((n, 2))
            y = np.stack([v, v**2], axis=1)
            chunks.rows(sparse.means, matrix, v, y, means)
            results.append((u, out, means))
    for one, three in zip(*results, strict=True):
        np.testing.assert_allclose(three, one, rtol=1e-12)


# ---- hard potentials -----------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_transform_is_the_least_of_all(dim: int) -> None:
    shapes = ((9,), (5, 6), (3, 4, 4))[dim - 1], ((12,), (6, 4), (4, 3, 5))[dim - 1]
    a, b = (_sparse_masses(s, k, 0.5) for k, s in enumerate(shapes))
    reduced = Reduced.over(a / a.sum(), b / b.sum(), np.ones(dim))
    f = 0.1 * np.random.default_rng(dim).normal(size=shapes[0])
    g, nearest = transform(f, reduced.a > 0, reduced.x, reduced.y)
    x, y = (
        np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dim)
        for axes in (reduced.x, reduced.y)
    )
    cost = 0.5 * ((x[:, None] - y) ** 2).sum(axis=2) - f.ravel()[:, None]
    cost[a.ravel() == 0] = np.inf
    np.testing.assert_allclose(g.ravel(), cost.min(axis=0), atol=1e-15)
    assert (a[tuple(nearest)] > 0).all()


def test_hard_pair_is_feasible_and_tight() -> None:
    a, b = _sparse_masses((7, 6), 0), _sparse_masses((6, 8), 1)
    reduced = Reduced.over(a / a.sum(), b / b.sum(), np.array([1.0, 2.0]))
    pair = from_source(reduced, np.random.default_rng(0).normal(size=a.shape))
    x, y = (
        np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        for axes in (reduced.x, reduced.y)
    )
    slack = 0.5 * ((x[:, None] - y) ** 2).sum(axis=2) - pair.f.ravel()[:, None] - pair.g.ravel()
    mine, theirs = a.ravel() > 0, b.ravel() > 0
    assert slack[:, theirs].min() > -1e-14
    assert slack[mine].min() > -1e-14
    at = np.ravel_multi_index(tuple(pair.nearest[0]), b.shape).ravel()
    np.testing.assert_allclose(slack[np.arange(at.size), at], 0, atol=1e-14)
    assert theirs[at].all()


# ---- the solver ----------------------------------------------------------------------------------


_multiscale = partial(pma.sinkhorn, method="multiscale")


def _solve(source: np.ndarray, target: np.ndarray, **options: object) -> pma.EntropicTransport:
    return _multiscale(pma.Problem(source, target), **options)  # type: ignore[arg-type]


def test_result_is_complete() -> None:
    seen: list[Iteration] = []
    transport = _solve(np.ones((24, 24)), _two_discs(24), callback=seen.append)
    stats = transport.stats
    assert transport.status is Status.ENTROPIC
    assert stats["eps_over_h2"] == pytest.approx(0.5)
    assert len(seen) == sum(level["iterations"] for level in stats["levels"])
    assert stats["levels"][-1]["entries"] == stats["entries"]
    assert stats["primal"] == pytest.approx(stats["dual"], rel=1e-3)
    assert stats["hard_dual"] <= stats["transport_cost"] * (1 + 1e-3)
    assert transport.w2_squared == stats["hard_dual"] >= stats["hard_dual_other"]
    for field in (
        transport.potential, transport.gradient, transport.inverse_gradient,
        transport.source_potential, transport.target_potential,
    ):  # fmt: skip
        assert np.isfinite(field).all()
    assert abs(transport.phi.mean()) < 1e-12


def test_plan_has_the_source_for_rows() -> None:
    source, target = _sparse_masses((16, 15), 0), _sparse_masses((13, 17), 1)
    transport = _solve(source, target)
    plan, problem = transport.plan, transport.problem
    assert plan is not None
    assert plan.shape == (240, 221)
    a, b = source.ravel() / source.sum(), target.ravel() / target.sum()
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-15)
    assert np.abs(plan.sum(axis=0) - b).sum() < 1e-4
    assert (plan.data > 0).all()
    x, y = (d.grid.coordinates().reshape(2, -1).T for d in (problem.source, problem.target))
    forward = transport.gradient.reshape(2, -1).T
    np.testing.assert_allclose(forward[a > 0], (plan @ y)[a > 0] / a[a > 0, None], atol=1e-12)
    backward = transport.inverse_gradient.reshape(2, -1).T
    reached = np.asarray(plan.sum(axis=0))
    expected = (plan.T @ x)[b > 0] / reached[b > 0, None]
    np.testing.assert_allclose(backward[b > 0], expected, atol=1e-12)
    # the potentials give the plan back
    f, g = transport.source_potential.ravel(), transport.target_potential.ravel()
    entries = plan.tocoo()
    cost = 0.5 * ((x[entries.row] - y[entries.col]) ** 2).sum(axis=1)
    exponent = (f[entries.row] + g[entries.col] - cost) / transport.eps
    np.testing.assert_allclose(
        a[entries.row] * b[entries.col] * np.exp(exponent), entries.data, rtol=1e-8
    )


def test_entropic_values_of_the_dense_problem() -> None:
    """Small enough for plain Sinkhorn in logarithms, truncated nowhere."""
    source, target = _sparse_masses((9, 8), 0), _sparse_masses((8, 9), 1)
    transport = _solve(source, target, tol=1e-10)
    reduced, eps = Reduced.of(transport.problem), transport.eps
    level = pyramid(reduced)[0]
    cost, a, b = _costs(level), level.source.log_mass, level.target.log_mass
    f = np.zeros(a.size)
    for _ in range(3000):
        g = -eps * logsumexp((f[:, None] - cost) / eps + a[:, None], axis=0)
        f = -eps * logsumexp((g - cost) / eps + b, axis=1)
    plan = np.exp((f[:, None] + g - cost) / eps + a[:, None] + b)
    squares = 2 * (plan * cost).sum()
    dual = np.exp(a) @ f + np.exp(b) @ g
    # equal boxes: reduced coordinates are shifted ones
    assert transport.stats["dual"] == pytest.approx(dual, abs=1e-9)
    assert transport.stats["transport_cost"] == pytest.approx(squares, abs=1e-7)
    assert transport.value == transport.stats["dual"]


def test_off_the_support_the_map_is_a_subgradient() -> None:
    n = 24
    transport = _solve(_two_discs(n), np.ones((n, n)))
    u, points = transport.potential, transport.problem.source.grid.coordinates()
    v = transport.problem.source.values
    rng = np.random.default_rng(0)
    for i in rng.permutation(np.argwhere(v == 0))[:60]:
        x, slope = points[:, *i], transport.gradient[:, *i]
        below = u[*i] + np.tensordot(slope, points - x[:, None, None], 1)
        assert (below <= u + 1e-12).all()


def test_tears_are_where_the_map_jumps() -> None:
    n = 32
    transport = _solve(np.ones((n, n)), _two_discs(n))
    assert transport.tears is not None
    rows = np.flatnonzero(transport.tears.any(axis=1))
    np.testing.assert_array_equal(rows, [15, 16])
    assert transport.tears.sum() > 50
    smooth = _solve(np.ones((n, n)), 1 + np.linspace(0, 1, n)[:, None] + np.zeros((n, n)))
    assert smooth.tears is not None
    assert not smooth.tears.any()


def test_default_and_larger_eps() -> None:
    n = 20
    values = 0.2 + np.random.default_rng(0).random((2, n, n))
    default, small, large = (_solve(*values, eps=eps) for eps in (None, 0.03 / n**2, 20 / n**2))
    assert default.eps == pytest.approx(0.5 / n**2)
    assert small.stats["entries"] < default.stats["entries"] < large.stats["entries"]
    duals = [t.stats["hard_dual"] for t in (large, default, small)]
    assert duals == sorted(duals)
    assert all(t.converged for t in (default, small, large))


def test_too_few_cycles_say_so() -> None:
    transport = _solve(np.ones((24, 24)), _two_discs(24), max_iterations=2, tol=1e-7)
    assert transport.status is Status.MAX_ITERATIONS
    assert not transport.converged
    assert 1e-7 < transport.stats["marginal_error"] < 1
    assert transport.stats["hard_dual"] > 0


def test_a_tighter_tolerance_is_met() -> None:
    loose, tight = (_solve(np.ones((20, 20)), _two_discs(20), tol=tol) for tol in (1e-3, 1e-9))
    assert tight.converged
    assert tight.stats["marginal_error"] < 1e-9
    assert tight.stats["entries"] > loose.stats["entries"]
    assert tight.stats["primal"] == pytest.approx(tight.stats["dual"], rel=1e-8)


def test_warm_start_takes_fewer_cycles() -> None:
    n = 48
    problem = pma.Problem(np.ones((n, n)), _two_discs(n))
    cold = _multiscale(problem)
    for initial in (cold, cold.potential):
        warm = _multiscale(problem, initial=initial)
        assert warm.converged
        cycles = [sum(level["iterations"] for level in t.stats["levels"]) for t in (warm, cold)]
        assert cycles[0] < 0.7 * cycles[1]
        assert warm.w2_squared == pytest.approx(cold.w2_squared, abs=0.05 / n**2)


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("kind", ["noise", "huge", "flat", "steep", "opposite", "pits"])
def test_a_poor_start_does_no_harm(kind: str, n: int) -> None:
    problem = pma.Problem(np.ones((n, n)), _two_discs(n))
    cold = _multiscale(problem)
    rng = np.random.default_rng(0)
    noise, square = rng.normal(size=(n, n)), (problem.source.grid.coordinates() ** 2).sum(axis=0)
    start = {
        "noise": noise, "huge": 1e6 * noise, "flat": 0 * noise, "steep": 1e3 * square,
        "opposite": -cold.potential, "pits": cold.potential + 1e5 * (noise > 2),
    }[kind]  # fmt: skip
    warm = _multiscale(problem, initial=start)
    assert warm.converged
    assert warm.stats["iterations"] <= cold.stats["iterations"] + 5
    assert warm.w2_squared == pytest.approx(cold.w2_squared, abs=0.05 / n**2)


@pytest.mark.parametrize("seed", range(6))
def test_a_poor_start_far_from_the_origin_does_no_harm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = pma.Grid((8, 15), (1e6, -1e6), (1e6 + 1, 1 - 1e6)), pma.Grid((9, 14))
    atom, spread = np.zeros(boxes[0].shape), rng.random(boxes[1].shape)
    atom[tuple(rng.integers(0, boxes[0].shape))] = 1
    problem = pma.Problem(pma.Density(atom, boxes[0]), pma.Density(spread, boxes[1]))
    square = (problem.source.grid.coordinates() ** 2).sum(axis=0)
    warm = _multiscale(problem, initial=1e3 * square)  # 2e15 has lost its last digits
    assert warm.converged
    assert np.isfinite(warm.gradient).all()


def test_threads_change_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pma_grid.entropic.multiscale.chunks.WORTHWHILE_PAIRS", 100)
    one, two = (_solve(np.ones((32, 32)), _two_discs(32), threads=k) for k in (1, 2))
    assert two.stats["threads"] == 2
    assert two.stats["entries"] == pytest.approx(one.stats["entries"], rel=1e-3)
    assert two.w2_squared == pytest.approx(one.w2_squared, rel=1e-9)


def test_a_plan_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "free_memory", lambda: 1e5)
    with pytest.raises(InvalidInputError, match=r"eps makes .*\d+ entries"):
        _solve(np.ones((20, 20)), np.ones((20, 20)), eps=1.0)


def test_free_memory_is_a_number_of_bytes() -> None:
    assert lists.free_memory() > 1e6


def test_torn_cells_of_a_line() -> None:
    means = np.array([[0.0, 0], [0.1, 0], [5.0, 0], [5.1, 0]])
    cell = np.stack([np.arange(4), np.zeros(4, int), np.zeros(4, int)], axis=1)
    out = np.zeros(4, bool)
    plans.torn(means, cell, np.arange(4, dtype=np.int32).reshape(4, 1, 1), 3.0, out)
    np.testing.assert_array_equal(out, [False, True, True, False])
