"""Compiled kernels against slow twins in NumPy and SciPy, and on data whose answer is known."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

import pma_grid as pma
from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import LogSpline, log_centre_values
from pma_grid.kernels.equation import DIMENSION, faces_3d, superbase_2d, superbase_3d
from pma_grid.kernels.grid import lattice as kernels
from pma_grid.kernels.records import Balance, Linearisation, Scales, Superbases
from pma_grid.linsolve import Stencil

COUNT = {1: 1, 2: 3, 3: 6}
# The two vectors whose cross product belongs to each pair 01, 02, 03, 12, 13, 23.
PAIRS_3D = (2, 1, 1, 0, 0, 0), (3, 3, 2, 3, 2, 1)
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])


def all_superbases(dim: int, reach: int) -> np.ndarray:
    """All bases of Z^d (up to signs and order) whose lattice vectors stay within ``reach``.

    In 2-D all pairs of vectors, so that each superbase and each of its faces is met; in 3-D all
    superbases reached by flips from the canonical one.  Shape (n, d, d).
    """
    if dim == 1:
        return np.ones((1, 1, 1), np.int64)
    if dim == 2:
        span = range(-reach, reach + 1)
        half = [v for v in itertools.product(span, span) if v > (0, 0) and math.gcd(*v) == 1]
        pairs = [
            (e, tuple(sign * c for c in f))
            for e, f in itertools.combinations(half, 2)
            for sign in (1, -1)
            if abs(e[0] * f[1] - e[1] * f[0]) == 1
        ]
        kept = [p for p in pairs if max(abs(a + b) for a, b in zip(*p, strict=True)) <= reach]
        return np.array(kept, np.int64)
    return _superbases_3d(reach)


def _superbases_3d(reach: int) -> np.ndarray:
    """Superbases of Z^3 by breadth-first flips, stored as their last three vectors."""
    start: tuple[tuple[int, ...], ...] = ((-1, -1, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    seen = {_canonical(start): start}
    queue = [start]
    while queue:
        base = queue.pop()
        for i, j in itertools.permutations(range(4), 2):
            rest = [k for k in range(4) if k not in (i, j)]
            flipped = [tuple(-c for c in base[i]), base[j]]
            flipped += [tuple(a + b for a, b in zip(base[k], base[i], strict=True)) for k in rest]
            base2 = tuple(flipped)
            crosses = np.cross(np.array(base2)[:, None], np.array(base2)[None])
            key = _canonical(base2)
            if np.abs(crosses).max() <= reach and key not in seen:
                seen[key] = base2
                queue.append(base2)
    return np.array([b[1:] for b in seen.values()], np.int64)


def _canonical(base: tuple[tuple[int, ...], ...]) -> frozenset[tuple[int, ...]]:
    """The set of lattice vectors of a superbase, up to sign."""
    vectors = [np.cross(a, b) for a, b in itertools.combinations(np.array(base), 2)]
    return frozenset(max(tuple(map(int, v)), tuple(map(int, -v))) for v in vectors)


def _tensors(count: int, dim: int, spread: float, seed: int) -> np.ndarray:
    """Random symmetric positive definite matrices with eigenvalues in [1, spread]."""
    rng = np.random.default_rng(seed)
    frames = np.linalg.qr(rng.normal(size=(count, dim, dim)))[0]
    values = spread ** rng.random((count, dim))
    return np.asarray(np.einsum("nij,nj,nkj->nik", frames, values, frames))


def _packed(tensors: np.ndarray) -> np.ndarray:
    i, j = np.triu_indices(tensors.shape[-1])
    return np.ascontiguousarray(tensors[:, i, j])


def _stencil(shape: tuple[int, ...], seed: int, viscous: bool = False) -> Stencil:
    """Selling stencils of random tensors, with a random drift."""
    rng = np.random.default_rng(seed)
    lattice = Lattice(shape)
    n, dim = lattice.size, lattice.dim
    vectors = np.empty((n, COUNT[dim], dim), np.int8)
    weights = np.empty((n, COUNT[dim]))
    offsets = np.empty((n, COUNT[dim]), np.int32)
    DIMENSION[dim].decompose(_packed(_tensors(n, dim, 4.0, seed)), lattice.halo, vectors, weights)
    kernels.link(vectors, lattice.strides, offsets)
    return Stencil(
        lattice, vectors, offsets, weights, rng.normal(size=(n, dim)), rng.random(n) + 0.5,
        rng.random(n) + 0.5, 0.1 + rng.random(dim) if viscous else None,
    )  # fmt: skip


@pytest.mark.parametrize("viscous", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (1, 7), (5, 1), (6, 4), (2, 3, 4), (1, 3, 1)])
def test_stencil_equals_its_matrix_and_its_definition(
    shape: tuple[int, ...], viscous: bool
) -> None:
    stencil = _stencil(shape, 3, viscous)
    q = np.random.default_rng(5).normal(size=stencil.lattice.size)
    out = np.empty_like(q)
    stencil.apply(q, out)
    np.testing.assert_allclose(stencil.matrix() @ q, out, atol=1e-13)

    halo = stencil.lattice.halo
    padded = np.pad(q.reshape(shape), halo, mode="symmetric")
    for c, cell in enumerate(np.ndindex(*shape)):
        centre = np.array(cell) + halo

        def at(v: np.ndarray, centre: np.ndarray = centre) -> float:
            return float(padded[tuple(centre + v)])

        value = 0.0
        for e, w in zip(stencil.vectors[c].astype(int), stencil.weights[c], strict=True):
            value += w * (at(e) + at(-e) - 2 * at(0 * e))
        for i, e in enumerate(np.eye(len(shape), dtype=int)):
            value += 0.5 * stencil.drift[c, i] * (at(e) - at(-e))
            if stencil.viscosity is not None:
                value += stencil.gauge[c] * stencil.viscosity[i] * (at(e) + at(-e) - 2 * at(0 * e))
        assert out[c] == pytest.approx(value, abs=1e-12)


@DIMS
def test_constants_are_the_null_space_of_a_stencil(dim: int) -> None:
    stencil = _stencil((5, 4, 3)[:dim], 1, viscous=True)
    out = np.empty(stencil.lattice.size)
    stencil.apply(np.full(out.size, 7.0), out)
    np.testing.assert_allclose(out, 0, atol=1e-12)


@DIMS
def test_selling_decomposition_reproduces_the_tensor(dim: int) -> None:
    tensors = _tensors(300, dim, 30.0, 7)
    vectors = np.empty((300, COUNT[dim], dim), np.int8)
    weights = np.empty((300, COUNT[dim]))
    DIMENSION[dim].decompose(_packed(tensors), 100, vectors, weights)
    assert weights.min() >= 0
    e = vectors.astype(float)
    rebuilt = np.einsum("nk,nki,nkj->nij", weights, e, e)
    # in three dimensions weights below a millionth of the trace count as zero
    np.testing.assert_allclose(rebuilt, tensors, atol=2e-5 if dim == 3 else 1e-12)
    for v in e:
        dets = [abs(np.linalg.det(b)) for b in itertools.combinations(v, dim)]
        assert set(np.round(dets, 9)) <= {0.0, 1.0}
        assert max(dets) > 0.5


@pytest.mark.parametrize("dim", [2, 3])
def test_selling_decomposition_stays_within_its_reach(dim: int) -> None:
    tensors = _tensors(200, dim, 1000.0, 11)
    vectors = np.empty((200, COUNT[dim], dim), np.int8)
    weights = np.empty((200, COUNT[dim]))
    DIMENSION[dim].decompose(_packed(tensors), 2, vectors, weights)
    assert np.abs(vectors).max() == 2
    assert weights.min() >= 0


@DIMS
def test_solve_tensor_inverts(dim: int) -> None:
    tensors = _tensors(50, dim, 20.0, 2)
    right = np.random.default_rng(0).normal(size=(50, dim))
    out = np.empty_like(right)
    DIMENSION[dim].solve_tensor(_packed(tensors), right, out)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", tensors, out), right, atol=1e-11)


# Quadratics: their second differences are exact, halo included.


def _quadratic(lattice: Lattice, matrix: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Padded phi that gives u, of the quadratic part ``metric``, the Hessian ``matrix``."""
    x = np.indices(lattice.padded_shape).reshape(lattice.dim, -1) - lattice.halo
    return np.asarray(0.5 * np.einsum("in,ij,jn->n", x, matrix - np.diag(metric), x))


def _axes_first(lattice: Lattice) -> np.ndarray:
    dim = lattice.dim
    return np.broadcast_to(np.eye(dim, dtype=np.int8), (lattice.size, dim, dim)).copy()


def _log_form(
    lattice: Lattice,
    padded: np.ndarray,
    metric: np.ndarray,
    reach: int,
    superbase: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log det, its weights and the vectors they belong to, walked to from the axes by default."""
    n, dim = lattice.size, lattice.dim
    superbase = _axes_first(lattice) if superbase is None else superbase
    vectors = np.empty((n, COUNT[dim], dim), np.int8)
    offsets = np.empty((n, COUNT[dim]), np.int32)
    weights, out = np.empty((n, COUNT[dim])), np.empty(n)
    bases = Superbases(superbase, vectors, offsets, reach)
    DIMENSION[dim].expand(bases, lattice.strides)
    assert np.abs(vectors).max() <= reach
    DIMENSION[dim].log_det(padded, lattice.layout(), metric, bases, weights, out)
    np.testing.assert_array_equal(offsets, vectors.astype(int) @ lattice.strides)
    return out, weights, vectors


def _shift_form(
    lattice: Lattice,
    padded: np.ndarray,
    metric: np.ndarray,
    log_b: np.ndarray,
    reach: int,
    superbase: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Residual, eta, weights, vectors and the number of faces; no drift."""
    n, dim = lattice.size, lattice.dim
    superbase = _axes_first(lattice) if superbase is None else superbase
    vectors = np.empty((n, COUNT[dim], dim), np.int8)
    offsets = np.empty((n, COUNT[dim]), np.int32)
    weights, eta, residual = np.empty((n, COUNT[dim])), np.empty(n), np.empty(n)
    module = DIMENSION[dim]
    bases = Superbases(superbase, vectors, offsets, reach)
    module.expand(bases, lattice.strides)
    ones = np.ones(dim)
    faces = module.shift_form(
        padded, lattice.layout(), Scales(metric, ones, ones, ones),
        Balance(log_b, np.zeros(n), 0.0), bases,
        Linearisation(weights, np.zeros((n, dim)), eta), residual,
    )  # fmt: skip
    np.testing.assert_array_equal(offsets, vectors.astype(int) @ lattice.strides)
    return residual, eta, weights, vectors, int(faces)


def _best_of_all(
    lattice: Lattice, padded: np.ndarray, metric: np.ndarray, log_b: np.ndarray, reach: int
) -> np.ndarray:
    """The largest r over all superbases within a reach.

    log det M = min over D, so the true shift is the largest of all; a walk that stopped at a local
    optimum has a smaller one.
    """
    best = np.full(lattice.size, -np.inf)
    for base in all_superbases(lattice.dim, reach):
        best = np.maximum(best, _of_one_superbase(lattice, padded, metric, log_b, base))
    return best


def _of_one_superbase(
    lattice: Lattice, padded: np.ndarray, metric: np.ndarray, log_b: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """r of all cells with one superbase, by scalar code: c = max over w >= 0, det D = 1 / B."""
    dim = lattice.dim
    if dim == 1:
        a = _second_differences(lattice, padded, metric, base)[:, 0]
        return np.asarray(1 - a * np.exp(-log_b))
    radius = np.exp((log_b - np.log(metric.prod())) / dim)
    if dim == 2:
        e = np.vstack([base, -base.sum(axis=0)])
        a, a0 = _second_differences(lattice, padded, metric, e), e**2 @ metric
        return np.array(
            [_shift_2d(base, *cell, a0, metric) for cell in zip(a, radius, strict=True)]
        )
    v = np.vstack([-base.sum(axis=0), base])
    e = np.array([np.cross(v[k], v[l]) for k, l in zip(*PAIRS_3D, strict=True)])
    a, a0 = _second_differences(lattice, padded, metric, e), e.astype(float) ** 2 @ metric
    det0, w, room = float(metric.prod()), np.empty(6), faces_3d.room()
    out = np.empty(lattice.size)
    for c in range(lattice.size):
        shift = superbase_3d.root(a[c], a0, radius[c], det0, w)
        if w.min() < 0:
            shift = faces_3d.face(a[c], a0, radius[c], det0, w, shift, room)
        out[c] = 3 * shift / radius[c]
    return out


def _shift_2d(
    base: np.ndarray, a: np.ndarray, radius: float, a0: np.ndarray, metric: np.ndarray
) -> float:
    """r of a cell with one superbase, on its better face where a weight is negative."""
    four = tuple(int(x) for x in base.ravel())
    inverse = superbase_2d.inverse_metric(*metric)
    shift, _, *weights = superbase_2d.root(four, tuple(a), radius**2, inverse)
    if min(weights) < 0:
        i, j = (k for k in range(3) if k != int(np.argmin(weights)))
        b2 = radius**2 * metric.prod()
        shift = superbase_2d.face(a[i], a[j], float(a0[i]), float(a0[j]), b2)[0]
    return float(2 * shift / radius)


SHAPES = {1: (5,), 2: (4, 5), 3: (3, 4, 2)}


@DIMS
@pytest.mark.parametrize("seed", range(4))
def test_log_det_is_exact_on_quadratics(dim: int, seed: int) -> None:
    lattice = Lattice(SHAPES[dim])
    matrix = _tensors(1, dim, {1: 50.0, 2: 50.0, 3: 6.0}[dim], seed)[0]
    metric = np.array([0.7, 1.3, 2.1])[:dim]
    value = _log_form(lattice, _quadratic(lattice, matrix, metric), metric, lattice.halo)[0]
    np.testing.assert_allclose(value, np.linalg.slogdet(matrix)[1], atol=1e-10)


@DIMS
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_shift_form_is_exact_on_quadratics(dim: int, seed: int, factor: float) -> None:
    """r is the shift c with det(A + c M0) = B in units of b / d, and the weights are eta D."""
    lattice = Lattice(SHAPES[dim])
    matrix = _tensors(1, dim, {1: 20.0, 2: 20.0, 3: 4.0}[dim], seed)[0]
    metric = np.array([0.7, 1.3, 2.1])[:dim]
    target = factor * np.linalg.det(matrix)
    log_b = np.full(lattice.size, np.log(target))
    residual, eta, weights, vectors, faces = _shift_form(
        lattice, _quadratic(lattice, matrix, metric), metric, log_b, lattice.halo
    )
    assert faces == 0
    if dim == 1:
        np.testing.assert_allclose(residual, 1 - 1 / factor, atol=1e-12)
        np.testing.assert_allclose(weights, 1 / target, rtol=1e-12)
        return
    base = np.diag(metric)
    # det(A + c M0) - B is a polynomial in c; its largest root is wanted
    nodes = np.arange(dim + 1.0)
    dets = [np.linalg.det(matrix + c * base) - target for c in nodes]
    shift = max(r.real for r in np.roots(np.polyfit(nodes, dets, dim)) if abs(r.imag) < 1e-7)
    radius = (target / metric.prod()) ** (1 / dim)
    np.testing.assert_allclose(residual, dim * shift / radius, atol=1e-8)
    tensor = np.linalg.inv(matrix + shift * base)
    np.testing.assert_allclose(eta, dim / radius / np.trace(tensor @ base), rtol=1e-7)
    assert eta.max() <= 1 + 1e-12
    e = vectors.astype(float)
    rebuilt = np.einsum("nk,nki,nkj->nij", weights, e, e)
    np.testing.assert_allclose(rebuilt, np.broadcast_to(eta[0] * tensor, rebuilt.shape), atol=1e-7)
    assert weights.min() >= 0


@pytest.mark.parametrize("dim", [2, 3])
def test_narrow_reach_overestimates_the_determinant(dim: int) -> None:
    """The minimum over fewer tensors is larger: the scheme stays elliptic, not exact."""
    direction = np.array([3.0, 1.0, 0.0])[:dim]
    direction /= np.linalg.norm(direction)
    matrix = 0.02 * np.eye(dim) + np.outer(direction, direction)
    lattice, metric = Lattice(SHAPES[dim]), np.ones(dim)
    padded = _quadratic(lattice, matrix, metric)
    exact = np.linalg.slogdet(matrix)[1]
    narrow, wide = (_log_form(lattice, padded, metric, reach)[0] for reach in (1, 3))
    assert narrow.min() > exact + 0.1
    assert (wide <= narrow + 1e-12).all() and wide.min() >= exact - 1e-9
    residual, eta, weights, _, faces = _shift_form(
        lattice, padded, metric, np.full(lattice.size, exact), 1
    )
    assert faces == lattice.size
    assert residual.max() < -0.05 and weights.min() >= 0 and eta.max() <= 1 + 1e-9


@pytest.mark.parametrize("along", list(itertools.permutations(range(3))))
def test_rounding_of_a_zero_weight_starts_no_walk(along: tuple[int, int, int]) -> None:
    """Along the vector that a flip would bring in u bends less: a walk would end elsewhere."""
    lattice, metric = Lattice((3, 3, 3)), np.ones(3)
    a, b, c = lattice.strides[list(along)]
    centre, found = (lattice.halo + 1) * lattice.strides.sum(), []
    for rounding in (-1e-15, 0.0, 1e-15):
        padded = lattice.zeros()
        padded[centre + a + b - c] -= 0.1
        padded[centre + a - b] += rounding
        residual = _shift_form(lattice, padded, metric, np.zeros(27), 1)[0]
        found.append(residual[13])
    np.testing.assert_allclose(found, 0.0, atol=1e-13)


@DIMS
def test_log_det_is_nan_where_u_is_not_convex(dim: int) -> None:
    lattice, metric = Lattice(SHAPES[dim]), np.ones(dim)
    matrix = np.diag([-1.0, 2.0, 1.0][:dim])
    assert np.isnan(_log_form(lattice, _quadratic(lattice, matrix, metric), metric, 1)[0]).all()


def _wavy(lattice: Lattice, size: float, seed: int) -> np.ndarray:
    """Padded phi of a few random cosine modes, second differences up to about ``size``."""
    rng = np.random.default_rng(seed)
    values = np.zeros(lattice.shape)
    for modes in itertools.product(range(3), repeat=lattice.dim):
        frequency = np.pi * np.array(modes) / np.array(lattice.shape)
        if any(modes):
            wave = np.ones(lattice.shape)
            for f, i in zip(frequency, np.indices(lattice.shape), strict=True):
                wave = wave * np.cos(f * (i + 0.5))
            values += rng.normal() / (frequency**2).sum() / 3**lattice.dim * wave
    padded = lattice.zeros()
    lattice.fill(size * values, padded)
    return padded


@pytest.mark.parametrize("seed", range(3))
def test_log_det_walks_to_the_minimum_over_all_superbases(seed: int) -> None:
    """The walk ends at a local minimum: never below the global one, and rarely above it."""
    lattice = Lattice((19, 17), 3)
    padded = _wavy(lattice, 0.6, seed)
    bases = all_superbases(2, 3)
    vectors = bases[:, 0], bases[:, 1], bases.sum(axis=1)
    a = np.sort([_second_differences(lattice, padded, np.ones(2), v) for v in vectors], axis=0)
    x, y, z = a
    inner = 0.25 * ((x + y - z) * (x + z - y) + (x + y - z) * (y + z - x)
                    + (x + z - y) * (y + z - x))  # fmt: skip
    values = np.where(z >= x + y, x * y, inner)
    assert a.min() > 0
    value = _log_form(lattice, padded, np.ones(2), 3)[0]
    excess = value - np.log(values.min(axis=1))
    assert excess.min() > -1e-12 and excess.max() < 1e-4
    assert np.mean(excess < 1e-12) > 0.95


def _minimum(a: np.ndarray, e: np.ndarray) -> np.ndarray:
    """min over w >= 0 of sum w a - log det sum w e e^T - 3, by coordinate descent: (cells, 6)."""
    w = 0.3 / a
    outer = e[:, :, None] * e[:, None, :]
    for _ in range(100):
        for m in range(6):
            inverse = np.linalg.inv(np.einsum("nk,kij->nij", w, outer))
            size = np.einsum("i,nij,j->n", e[m], inverse, e[m])
            w[:, m] = np.maximum(0.0, w[:, m] + 1 / a[:, m] - 1 / size)
    log_det = np.linalg.slogdet(np.einsum("nk,kij->nij", w, outer))[1]
    return np.asarray((w * a).sum(axis=1) - log_det - 3)


@pytest.mark.parametrize("seed", range(2))
def test_log_det_3d_walks_to_the_minimum_over_all_superbases(seed: int) -> None:
    """As in 2-D, the minimum over the weights of each superbase found by brute force."""
    lattice = Lattice((5, 4, 4), 1)
    padded = _wavy(lattice, 0.5, seed)
    value = _log_form(lattice, padded, np.ones(3), 1)[0]
    best = np.full(lattice.size, np.inf)
    for v1, v2, v3 in all_superbases(3, 1):
        v0 = -(v1 + v2 + v3)
        e = np.array([np.cross(a, b) for a, b in itertools.combinations((v0, v1, v2, v3), 2)])
        a = _second_differences(lattice, padded, np.ones(3), e)
        assert a.min() > 0
        best = np.minimum(best, _minimum(a, e.astype(float)))
    excess = value - best
    assert excess.min() > -1e-6 and excess.max() < 1e-3
    assert np.median(excess) < 1e-9


def _equation(
    shape: tuple[int, ...], seed: int = 0, *, viscous: bool = False, mixed: bool = False
) -> Evaluation:
    """An equation between random smooth densities on boxes of different size.

    Where they are not ``mixed`` a solution has no mixed derivatives, and its diagonals are tied.
    """
    rng = np.random.default_rng(seed)
    dim = len(shape)
    source = pma.Grid(shape, (0.0,) * dim, tuple(rng.random(dim) + 0.6))
    target = pma.Grid(tuple(n + 3 for n in shape), (-1.0,) * dim, tuple(rng.random(dim)))
    densities = []
    for grid in (source, target):
        log, wave = np.zeros(grid.shape), np.ones(grid.shape)
        for x, lo, side in zip(grid.coordinates(), grid.lower, grid.lengths, strict=True):
            log += 0.4 * rng.normal() * np.cos(np.pi * (x - lo) / side)
            log += 0.2 * rng.normal() * np.cos(2 * np.pi * (x - lo) / side)
            wave *= np.cos(np.pi * (x - lo) / side)
        if mixed:
            log += 0.5 * wave
        densities.append(pma.Density(np.exp(log), grid).values)
    rule = TargetRule.LAX_FRIEDRICHS if viscous else TargetRule.POINT
    return Evaluation(MongeAmpere.between((densities[0], densities[1]), (source, target), rule))


def _newton(equation: Evaluation) -> tuple[np.ndarray, float]:
    """A solution by undamped Newton steps with sparse LU."""
    phi, alpha = np.zeros(equation.lattice.shape), 0.0
    for _ in range(30):
        if equation.evaluate(phi, alpha) < 1e-12:
            return phi, alpha
        handle = pma.Direct().setup(equation.linearise())
        result = handle.solve(equation.residual, rtol=1e-12)
        phi = phi + result.x.reshape(phi.shape)
        alpha -= result.multiplier
    raise AssertionError("no solution found")


@pytest.mark.parametrize("viscous", [False, True])
@pytest.mark.parametrize("shape", [(24,), (10, 13), (5, 6, 7), (8, 1)])
def test_jacobian_is_the_derivative_of_the_residual(shape: tuple[int, ...], viscous: bool) -> None:
    """At a solution dr = -J dphi + eta dalpha."""
    equation = _equation(shape, 4, viscous=viscous, mixed=len(shape) > 1)
    phi, alpha = _newton(equation)
    equation.evaluate(phi, alpha)
    rng = np.random.default_rng(1)
    # relative to the second differences that the equation is about
    direction = rng.normal(size=shape) * equation.frame.metric.min()
    change = 0.7
    slope = -equation.linearise().matrix() @ direction.ravel()
    slope += equation.stencil.gauge * change
    s = 1e-5
    equation.evaluate(phi + s * direction, alpha + s * change)
    after, vectors = equation.residual.copy(), equation.stencil.vectors.copy()
    equation.evaluate(phi - s * direction, alpha - s * change)
    finite = (after - equation.residual) / (2 * s)
    # walks may end on other superbases that differ by 1e-7 in r: too much for this quotient
    same = (vectors == equation.stencil.vectors).all(axis=(1, 2))
    assert same.mean() > 0.85
    np.testing.assert_allclose(finite[same], slope[same], atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("shape", [(24,), (10, 13), (5, 6, 7)])
def test_newton_converges_quadratically(shape: tuple[int, ...]) -> None:
    equation = _equation(shape, 2)
    phi, alpha = np.zeros(shape), 0.0
    residuals = []
    for _ in range(7):
        residuals.append(equation.evaluate(phi, alpha))
        result = pma.Direct().setup(equation.linearise()).solve(equation.residual, rtol=1e-12)
        phi = phi + result.x.reshape(shape)
        alpha -= result.multiplier
    assert residuals[-1] < 1e-12
    small = next(r for r in residuals if r < 1e-2)
    following = residuals[residuals.index(small) + 1]
    assert following < 10 * small**2


# Reach of the superbases that are compared.
SCAN_REACH = {1: 1, 2: 5, 3: 1}


@pytest.mark.parametrize("shape", [(24,), (10, 13), (12, 13, 11)])
def test_the_walk_ends_at_the_best_of_all_superbases(shape: tuple[int, ...]) -> None:
    evaluation = _equation(shape, 3)
    phi, alpha = _newton(evaluation)
    evaluation.evaluate(phi, alpha)
    lat, frame, dim = evaluation.lattice, evaluation.frame, len(shape)
    log_b = evaluation.equation.log_source - evaluation.log_target + alpha + frame.log_cell
    reach = min(lat.halo, SCAN_REACH[dim])
    best = _best_of_all(lat, evaluation.padded, frame.metric, log_b, reach)
    assert (best - evaluation.residual).max() < 1e-8


def test_scan_reports_a_walk_that_stopped_early() -> None:
    """The largest r over wide superbases exceeds that of a walk confined to narrow ones."""
    lattice, metric = Lattice((4, 4)), np.ones(2)
    direction = np.array([3.0, 1.0]) / np.sqrt(10.0)
    matrix = 0.02 * np.eye(2) + np.outer(direction, direction)
    padded = _quadratic(lattice, matrix, metric)
    log_b = np.full(lattice.size, np.linalg.slogdet(matrix)[1])
    residual = _shift_form(lattice, padded, metric, log_b, 1)[0]
    best = _best_of_all(lattice, padded, metric, log_b, 4)
    assert (best > residual + 0.05).all()
    np.testing.assert_allclose(best, 0, atol=1e-9)


@pytest.mark.parametrize("shape", [(15,), (30,), (14, 23), (13, 14, 15)])
def test_spline_equals_scipy(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(8).normal(size=shape)
    grid = pma.Grid(shape, (0.0,) * len(shape), tuple(float(n) for n in shape))
    spline = LogSpline(values, grid)
    inner = tuple(slice(2, -2) for _ in shape)
    filtered = ndimage.spline_filter(values, 3, mode="reflect")
    np.testing.assert_allclose(spline.coefficients[inner], filtered, atol=1e-11)
    points = np.random.default_rng(9).random((200, len(shape))) * shape
    expected = ndimage.map_coordinates(values, points.T - 0.5, order=3, mode="reflect")
    np.testing.assert_allclose(spline(points), expected, atol=1e-11)


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (5, 2), (19, 20), (21, 1), (5, 3, 6)])
def test_spline_coefficients_solve_the_interpolation_equations(shape: tuple[int, ...]) -> None:
    """(c(i-1) + 4 c(i) + c(i+1)) / 6 = value along every axis, reflected: short axes too."""
    values = np.random.default_rng(8).normal(size=shape)
    coefficients = LogSpline(values, pma.Grid(shape)).coefficients
    for axis, n in enumerate(shape):
        left, middle, right = (np.take(coefficients, range(k, k + n), axis) for k in (1, 2, 3))
        coefficients = (left + 4 * middle + right) / 6
    np.testing.assert_allclose(coefficients, values, atol=1e-13)


def test_spline_passes_through_its_nodes_and_is_constant_on_one_cell() -> None:
    for shape in ((1,), (1, 6), (7, 5)):
        values = np.random.default_rng(0).normal(size=shape)
        grid = pma.Grid(shape)
        centres = grid.coordinates().reshape(len(shape), -1).T
        np.testing.assert_allclose(LogSpline(values, grid)(centres), values.ravel(), atol=1e-12)
    line = LogSpline(np.array([2.5]), pma.Grid((1,)))
    np.testing.assert_allclose(line(np.array([[0.0], [0.3], [1.0]])), 2.5, rtol=1e-13)


@DIMS
def test_centre_values_from_averages_are_fourth_order(dim: int) -> None:
    errors = []
    for n in (8, 16, 32):
        grid = pma.Grid((n,) * dim)

        def log(*x: np.ndarray) -> np.ndarray:
            return np.asarray(0.3 * np.prod([np.cos(np.pi * c) for c in x], axis=0))

        density = pma.Density.from_log(log, grid, quadrature=4)
        difference = log_centre_values(density.values) - log(*grid.coordinates())
        inner = (slice(1, -1),) * dim
        errors.append(np.ptp(difference[inner]))
    assert np.log2(errors[0] / errors[1]) > 3.6
    assert np.log2(errors[1] / errors[2]) > 3.8


def test_centre_values_leave_rough_averages_alone() -> None:
    """A correction that would be large is damped to at most half of the roughness."""
    averages = np.random.default_rng(0).random((30, 30)) + 0.01
    correction = log_centre_values(averages) - np.log(averages)
    assert 0.001 < np.abs(correction).max() <= 0.01 + 1e-12
    assert np.isfinite(log_centre_values(np.array([1e-300, 1.0, 1e-310, 1.0]))).all()


def test_steepest_bounds_the_slope_of_the_spline() -> None:
    grid = pma.Grid((9, 6), (0.0, 0.0), (2.0, 0.5))
    spline = LogSpline(np.random.default_rng(3).normal(size=(9, 6)), grid)
    points = np.random.default_rng(4).random((500, 2)) * [2.0, 0.5] * 0.98 + [0.02, 0.005]
    for axis, bound in enumerate(spline.steepest()):
        step = np.zeros(2)
        step[axis] = 1e-6
        slopes = np.abs(spline(points + step) - spline(points - step)) / 2e-6
        assert 0.2 * bound < slopes.max() <= bound * (1 + 1e-6)


# The log form and its derivative.


def _rough(lattice: Lattice, seed: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Padded phi of a random Hessian with reflected roughness, and the metric."""
    rng = np.random.default_rng(seed)
    dim = lattice.dim
    metric = rng.uniform(0.7, 1.5, dim)
    values = np.zeros(lattice.shape)
    for i, m in zip(np.indices(lattice.shape), lattice.shape, strict=True):
        values += 0.2 * rng.uniform(-1, 1) * (m / np.pi) ** 2 * np.cos(np.pi * (i + 0.5) / m)
    padded = lattice.zeros()
    lattice.fill(values + size * rng.uniform(-1, 1, lattice.shape), padded)
    return padded, metric


def _second_differences(
    lattice: Lattice, padded: np.ndarray, metric: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """a_e of u, (N, m), for each cell's own vectors (N, m, d) or the same everywhere (m, d)."""
    e = vectors.astype(float)
    p = (lattice.row_start[:, None] + np.arange(lattice.n_last)).reshape(-1, 1)
    o = vectors.astype(int) @ lattice.strides
    quadratic = (e**2 * metric).sum(axis=-1)
    return np.asarray(quadratic + padded[p + o] + padded[p - o] - 2 * padded[p])


@DIMS
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [0.02, 0.1])
def test_log_det_weights_are_its_derivative(dim: int, seed: int, size: float) -> None:
    """Against differences of the value in the data, at interior cells and on faces of the cone."""
    lattice = Lattice({1: (9,), 2: (8, 9), 3: (5, 6, 4)}[dim])
    padded, metric = _rough(lattice, seed, size)
    value, weights, vectors = _log_form(lattice, padded, metric, lattice.halo)
    assert np.isfinite(value).all()
    assert weights.min() >= 0
    direction = lattice.zeros()
    lattice.fill(np.random.default_rng(seed).uniform(-1, 1, lattice.shape), direction)
    zero = np.zeros(dim)
    slope = (weights * _second_differences(lattice, direction, zero, vectors)).sum(axis=1)
    s = 1e-6
    after, _, ahead = _log_form(lattice, padded + s * direction, metric, lattice.halo)
    before, _, behind = _log_form(lattice, padded - s * direction, metric, lattice.halo)
    same = (ahead == behind).all(axis=(1, 2)) & (ahead == vectors).all(axis=(1, 2))
    assert same.mean() > 0.9
    finite = (after - before) / (2 * s)
    np.testing.assert_allclose(finite[same], slope[same], atol=2e-5 * np.abs(slope).max())
    if dim > 1 and size == 0.1:
        on_faces = same & (weights <= 1e-12).any(axis=1)
        assert on_faces.any() and (same & ~on_faces).any()


@DIMS
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [0.02, 0.1])
def test_log_det_is_homogeneous(dim: int, seed: int, size: float) -> None:
    """log det(c M) = d log c + log det M, hence sum w a = d: in the interior and on the faces."""
    lattice = Lattice({1: (9,), 2: (8, 9), 3: (5, 6, 4)}[dim])
    padded, metric = _rough(lattice, seed, size)
    value, weights, vectors = _log_form(lattice, padded, metric, lattice.halo)
    a = _second_differences(lattice, padded, metric, vectors)
    np.testing.assert_allclose((weights * a).sum(axis=1), dim, rtol=1e-9)
    # a power of two: the walk takes the same path, bit for bit
    scaled = _log_form(lattice, 4.0 * padded, 4.0 * metric, lattice.halo)[0]
    np.testing.assert_allclose(scaled, value + dim * np.log(4.0), atol=1e-9)


@DIMS
def test_log_det_falls_with_the_data(dim: int) -> None:
    """The smallest second difference bounds it: det M_h <= prod of the axes' differences."""
    lattice = Lattice({1: (9,), 2: (8, 9), 3: (5, 6, 4)}[dim])
    padded, metric = _rough(lattice, 5, 0.02)
    value = _log_form(lattice, padded, metric, lattice.halo)[0]
    axes = np.broadcast_to(np.eye(dim, dtype=np.int8), (lattice.size, dim, dim))
    a = _second_differences(lattice, padded, metric, axes)
    assert (value <= np.log(a).sum(axis=1) + 1e-12).all()


# Superbases, by their last vectors, far from the axes.
FAR: dict[int, list[list[list[int]]]] = {
    2: [[[3, 1], [2, 1]], [[1, -4], [0, 1]], [[-5, 2], [2, -1]]],
    3: [
        [[1, 1, -1], [0, 1, 0], [0, 1, 1]],
        [[1, 0, 2], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], [0, 1, 2], [0, 0, 1]],
        [[1, -2, 0], [0, 1, 0], [0, 1, 1]],
    ],
}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [0.0, 0.002, 0.02])
def test_log_det_hardly_depends_on_where_the_walk_starts(dim: int, seed: int, size: float) -> None:
    """Not at all on quadratics; local minima of rough data differ at second order in the roughness.

    Roughness is measured against a Hessian of order one.
    """
    lattice = Lattice({2: (8, 9), 3: (6, 5, 7)}[dim])
    padded, metric = _rough(lattice, seed, size)
    if size == 0.0:
        matrix = _tensors(1, dim, {2: 20.0, 3: 4.0}[dim], seed)[0]
        padded = _quadratic(lattice, matrix, metric)
    value = _log_form(lattice, padded, metric, lattice.halo)[0]
    for base in FAR[dim]:
        everywhere = np.tile(np.array(base, np.int8), (lattice.size, 1, 1))
        out = _log_form(lattice, padded, metric, lattice.halo, everywhere)[0]
        np.testing.assert_allclose(out, value, rtol=0, atol=10 * size**2 + 1e-11)


@pytest.mark.parametrize("shape", [(8, 9), (1, 15, 1), (6, 5, 7)])
def test_log_det_of_separable_data_is_the_sum_of_the_axes(shape: tuple[int, ...]) -> None:
    """Mixed differences vanish up to rounding: a tie, from which no walk sets out."""
    lattice = Lattice(shape)
    rng = np.random.default_rng(3)
    values = np.zeros(shape)
    for i in np.indices(shape):
        values += rng.uniform(-0.12, 0.12, i.max() + 1)[i]
    padded, metric = lattice.zeros(), np.array([0.9, 1.3, 0.7])[: len(shape)]
    lattice.fill(1e3 + values, padded)
    out, weights, vectors = _log_form(lattice, padded, metric, lattice.halo)
    axes = np.broadcast_to(np.eye(len(shape), dtype=np.int8), (lattice.size, *[len(shape)] * 2))
    a = _second_differences(lattice, padded, metric, axes)
    np.testing.assert_allclose(out, np.log(a).sum(axis=1), atol=1e-10)
    assert np.abs(vectors).max() == 1 and weights.min() >= 0


@pytest.mark.parametrize("dim", [2, 3])
def test_no_start_hides_that_u_is_not_convex(dim: int) -> None:
    """Far superbases need not hold the vector along which u is dented; their dead ends look."""
    lattice, metric = Lattice({2: (9, 9), 3: (7, 7, 7)}[dim]), np.ones(dim)
    values = np.zeros(lattice.shape)
    values[(lattice.shape[0] // 2,) * dim] = 0.55
    padded = lattice.zeros()
    lattice.fill(values, padded)
    lost = np.isnan(_log_form(lattice, padded, metric, lattice.halo)[0])
    assert lost.sum() == 1
    for base in FAR[dim]:
        everywhere = np.tile(np.array(base, np.int8), (lattice.size, 1, 1))
        out = _log_form(lattice, padded, metric, lattice.halo, everywhere)[0]
        np.testing.assert_array_equal(np.isnan(out), lost)


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 7), (6, 4), (2, 3, 4)])
def test_energy_is_the_sum_over_edges(shape: tuple[int, ...]) -> None:
    stencil = _stencil(shape, 2)
    rng = np.random.default_rng(4)
    q, measure = rng.normal(size=stencil.lattice.size), rng.random(stencil.lattice.size)
    before = q.copy()
    halo, total = stencil.lattice.halo, 0.0
    field = np.pad(q.reshape(shape), halo, mode="symmetric")
    for c, cell in enumerate(np.ndindex(*shape)):
        for k in range(stencil.weights.shape[1]):
            for sign in (1, -1):
                at = tuple(np.array(cell) + halo + sign * stencil.vectors[c, k])
                total += 0.5 * measure[c] * stencil.weights[c, k] * (field[at] - q[c]) ** 2
    assert stencil.energy(q, measure) == pytest.approx(total, rel=1e-12, abs=1e-15)
    np.testing.assert_array_equal(q, before)
    assert stencil.energy(np.full_like(q, 3.0), measure) == 0.0


def test_energy_is_minus_the_quadratic_form_of_a_symmetric_stencil() -> None:
    """sum q J q = -energy for constant weights, by summation by parts with reflection."""
    lattice = Lattice((7, 6))
    n = lattice.size
    axes = np.broadcast_to(np.array([[1, 0], [0, 1], [-1, -1]], np.int8), (n, 3, 2)).copy()
    offsets = np.empty((n, 3), np.int32)
    kernels.link(axes, lattice.strides, offsets)
    weights = np.tile([0.7, 1.9, 0.0], (n, 1))
    stencil = Stencil(lattice, axes, offsets, weights, np.zeros((n, 2)), np.ones(n), np.ones(n))
    q, out = np.random.default_rng(0).normal(size=n), np.empty(n)
    stencil.apply(q, out)
    assert stencil.energy(q, np.ones(n)) == pytest.approx(-float(q @ out), rel=1e-12)
