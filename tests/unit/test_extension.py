"""Ghosts over convex sets: minima by brute force, derivatives, monotonicity, matrices."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull

import pma_grid as pma
from pma_grid.equation.ghosts import ExtendedLattice, chain, prolongations
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.transfer import Transfer
from pma_grid.kernels.equation.ghosts import nearest_nodes
from pma_grid.linsolve import Stencil

METRIC = np.array([0.013, 0.02])
SHAPE = (14, 11)


def _ring(seed: int, count: int = 12) -> np.ndarray:
    """A random convex polygon in index units, about as large as the image of the box."""
    points = np.random.default_rng(seed).random((count, 2)) * METRIC * SHAPE
    return np.asarray(points[ConvexHull(points).vertices])


def _index(shape: tuple[int, ...], halo: int = 0) -> list[np.ndarray]:
    """Coordinates of the (padded) cells in index units, 1/2 at the first one."""
    axes = [np.arange(-halo, n + halo) + 0.5 for n in shape]
    return list(np.meshgrid(*axes, indexing="ij"))


def _convex(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """phi of the convex potential max over slopes of the polygon, smoothed: grad u in Y."""
    slopes = _ring(seed, 40)
    x = np.stack([a.ravel() for a in _index(shape)], axis=1)
    plane = x @ slopes.T - np.random.default_rng(seed).random(len(slopes)) * 0.3
    u = 0.02 * np.log(np.exp(plane / 0.02).sum(axis=1))
    return np.asarray(u - 0.5 * (METRIC * x**2).sum(axis=1)).reshape(shape)


def _extended(lattice: ExtendedLattice, phi: np.ndarray, metric: np.ndarray = METRIC) -> np.ndarray:
    """u on the padded cells."""
    padded = lattice.zeros()
    lattice.extend(phi, padded)
    axes = _index(lattice.shape, lattice.halo)
    quadratic = sum(0.5 * m * a**2 for m, a in zip(metric, axes, strict=True))
    return np.asarray(padded.reshape(lattice.padded_shape) + quadratic)


@pytest.mark.parametrize("bent", [True, False])
def test_a_box_gives_even_reflection(bent: bool) -> None:
    x, y = _index(SHAPE)
    phi = 0.02 * np.cos(np.pi * x / SHAPE[0]) * np.cos(np.pi * y / SHAPE[1])
    corner = METRIC * SHAPE
    box = np.array([[0, 0], [corner[0], 0], corner, [0, corner[1]]])
    extended, plain = ExtendedLattice(SHAPE, METRIC, box, bent=bent), Lattice(SHAPE)
    ours, theirs = extended.zeros(), plain.zeros()
    extended.extend(phi, ours)
    plain.extend(phi, theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-14)


def test_a_domain_of_one_axis_gives_the_slopes_at_the_ends() -> None:
    n, metric = 9, np.array([0.02])
    lattice = ExtendedLattice((n,), metric, np.array([[0.03], [0.11]]), halo=2)
    phi = np.random.default_rng(0).normal(size=n) * 1e-3
    u = _extended(lattice, phi, metric)
    assert u[1] - u[2] == pytest.approx(-0.03)
    assert u[0] - u[3] == pytest.approx(-3 * 0.03)
    assert u[n + 2] - u[n + 1] == pytest.approx(0.11)
    assert u[n + 3] - u[n] == pytest.approx(3 * 0.11)
    direction = lattice.zeros()
    lattice.fill(phi, direction)
    np.testing.assert_array_equal(direction, np.pad(phi, 2, mode="symmetric"))


@pytest.mark.parametrize("seed", range(4))
def test_chords_give_the_minimum_over_the_mirrored_row(seed: int) -> None:
    ring, phi = _ring(seed), _convex(seed)
    lattice = ExtendedLattice(SHAPE, METRIC, ring, bent=False)
    u = _extended(lattice, phi)
    x, y = _index(SHAPE)
    inside = phi + 0.5 * METRIC[0] * x**2 + 0.5 * METRIC[1] * y**2
    kinks = chain(-ring[:, 0], ring[:, 1])[2]
    for depth in (1, 3):
        distance = 2 * depth - 1
        for j in range(SHAPE[1]):
            # of a piecewise linear function the minimum is at a node or where h has a kink
            points = np.concatenate([y[0], j + 0.5 - distance * kinks])
            points = points[(points >= 0.5) & (points <= SHAPE[1] - 0.5)]
            away = np.stack([np.full(points.size, -distance), j + 0.5 - points], axis=1)
            values = np.interp(points, y[0], inside[depth - 1]) + (away @ ring.T).max(axis=1)
            found = u[lattice.halo - depth, lattice.halo + j]
            assert found == pytest.approx(values.min(), abs=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_ghosts_of_an_affine_map_continue_its_potential(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(2, 2))
    matrix = matrix @ matrix.T + np.eye(2)
    matrix *= METRIC[0] / np.abs(matrix).max()
    n = (24, 20)
    corners = np.array([[0, 0], [n[0], 0], n, [0, n[1]]]) @ matrix
    x, y = _index(n)
    exact = 0.5 * (matrix[0, 0] * x * x + 2 * matrix[0, 1] * x * y + matrix[1, 1] * y * y)
    phi = exact - 0.5 * METRIC[0] * x**2 - 0.5 * METRIC[1] * y**2
    lattice = ExtendedLattice(n, METRIC, corners)
    u, halo = _extended(lattice, phi), lattice.halo
    x, y = _index(n, halo)
    exact = 0.5 * (matrix[0, 0] * x * x + 2 * matrix[0, 1] * x * y + matrix[1, 1] * y * y)
    # where the mirrored point lies on the row, not beyond its end
    for k in (1, 2):
        reach = int(np.ceil((2 * k - 1) * abs(matrix[0, 1] / matrix[1, 1]))) + 1
        middle = slice(halo + reach, -halo - reach)
        for row in (halo - k, halo + n[0] - 1 + k):
            np.testing.assert_allclose(u[row, middle], exact[row, middle], atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_chords_are_monotone_and_shift_with_constants(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lattice = ExtendedLattice(SHAPE, METRIC, _ring(seed), bent=False)
    phi = _convex(seed)
    low = _extended(lattice, phi)
    for scale in (1e-6, 1e-4, 1e-3):
        high = _extended(lattice, phi + scale * generator.random(SHAPE))
        assert (high - low).min() > -1e-13
        assert (high - low).max() < scale
    np.testing.assert_allclose(_extended(lattice, phi + 1.0), low + 1.0, atol=1e-12)


@pytest.mark.parametrize("bent", [True, False])
def test_directions_are_the_derivative(bent: bool) -> None:
    lattice = ExtendedLattice(SHAPE, METRIC, _ring(1), bent=bent)
    phi = _convex(1)
    direction = np.random.default_rng(0).normal(size=SHAPE)
    step = 1e-7
    up, down = (
        _extended(lattice, phi + step * direction),
        _extended(lattice, phi - step * direction),
    )
    _extended(lattice, phi)
    padded = lattice.zeros()
    lattice.fill(direction, padded)
    difference = (up - down).ravel() / (2 * step)
    # at kinks of the minimum one-sided derivatives differ: nowhere for most ghosts
    agree = np.abs(difference - padded) < 1e-4
    assert agree.mean() > 0.97
    single = lattice.zeros(np.float32)
    lattice.fill(direction, single)
    np.testing.assert_allclose(single, padded, atol=1e-5)
    np.testing.assert_allclose(lattice.ghost_matrix() @ direction.ravel(), padded, atol=1e-13)


def test_the_matrix_of_a_stencil_is_its_application() -> None:
    lattice = ExtendedLattice(SHAPE, METRIC, _ring(2))
    _extended(lattice, _convex(2))
    generator = np.random.default_rng(0)
    n = lattice.size
    vectors = generator.integers(-3, 4, (n, 3, 2)).astype(np.int8)
    stencil = Stencil(
        lattice=lattice,
        vectors=vectors,
        offsets=(vectors @ lattice.strides).astype(np.int32),
        weights=generator.random((n, 3)),
        drift=generator.normal(size=(n, 2)),
        gauge=generator.random(n),
        row_scale=np.ones(n),
        viscosity=np.array([0.1, 0.2]),
        reaction=0.5,
    )
    x, out = generator.normal(size=n), np.empty(n)
    stencil.apply(x, out)
    np.testing.assert_allclose(stencil.matrix() @ x, out, atol=1e-12)


def test_prolongation_continues_a_potential_beyond_the_box() -> None:
    matrix = np.array([[0.5, 0.2], [0.2, 0.4]])
    coarse, fine = (12, 11), (24, 21)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ matrix
    stretch = np.array([0.6, 0.7])

    def phi(shape: tuple[int, int]) -> np.ndarray:
        x = np.stack([a / n for a, n in zip(_index(shape), shape, strict=True)])
        affine = 0.5 * np.einsum("i...,ij,j...->...", x, matrix, x)
        return np.asarray(affine - 0.5 * np.einsum("i...,i->...", x**2, stretch))

    h = 1 / np.array(coarse)
    lattice = ExtendedLattice(coarse, stretch * h * h, corners * h)
    potential, direction = prolongations(lattice, Transfer(fine, coarse))
    error = np.abs(potential(phi(coarse), 6) - phi(fine))
    assert np.median(error) < 1e-12 and error.max() < 3e-4
    plain = np.abs(Transfer(fine, coarse).interpolate(phi(coarse), 6) - phi(fine))
    assert plain.max() > 5 * error.max()
    np.testing.assert_allclose(direction(np.ones(coarse), 6), 1.0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_divide_and_conquer_finds_the_nearest_nodes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 40))
    row = generator.normal(size=n)
    table = np.cumsum(np.sort(generator.normal(size=2 * n - 1)))
    argmin = np.empty(n, np.int64)
    nearest_nodes(row, table, n - 1, argmin)
    i, j = np.indices((n, n))
    values = row[j] + table[n - 1 + i - j]
    np.testing.assert_allclose(values[np.arange(n), argmin], values.min(axis=1), atol=1e-14)


@pytest.mark.parametrize("seed", range(10))
def test_chain_supports_every_direction_of_its_side(seed: int) -> None:
    ring = _ring(seed) if seed else pma.Ellipse((0.3, 0.4), axes=(0.3, 0.1)).outline
    for vertices in (ring, ring[::-1]):
        for normal, tangent in (vertices.T, vertices.T[::-1], -vertices.T):
            v, w, breaks = chain(normal, tangent)
            ratios = np.concatenate([np.linspace(-30, 30, 601), breaks])
            m = np.searchsorted(breaks, ratios)
            exact = (normal + ratios[:, None] * tangent).max(axis=1)
            np.testing.assert_allclose(v[m] + ratios * w[m], exact, atol=1e-12)
