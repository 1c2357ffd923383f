"""`solve` onto convex sets: affine maps, a disc, equality with the box, an exact plan."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import ot as pot
import pytest

import pma_grid as pma

MATRIX = np.array([[0.55, 0.2], [0.2, 0.45]])
SHIFT = np.array([0.1, 0.15])
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ MATRIX + SHIFT
PARALLELOGRAM = pma.Polygon(CORNERS)
DISC = pma.Ellipse((0.5, 0.5), axes=0.4)


def _uniform(n: int) -> pma.Density:
    return pma.Density(np.ones((n, n)))


def _onto(domain: pma.Polygon | pma.Ellipse, n: int, **source: np.ndarray) -> pma.Problem:
    """Uniform target on a domain in a grid around it."""
    grid = pma.Grid((n, n), *domain.bounds())
    values = source.get("source", np.ones((n, n)))
    return pma.Problem(
        pma.Density(values), pma.Density(domain.fractions(grid), grid), target_domain=domain
    )


def _affine(problem: pma.Problem, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    x = problem.source.grid.coordinates()
    return np.asarray(np.einsum("ij,j...->i...", matrix, x) + shift[:, None, None])


@cache
def _parallelogram(n: int) -> pma.Transport:
    return pma.solve(_onto(PARALLELOGRAM, n), tol=1e-9, fallback=False)


def test_an_affine_map_is_exact() -> None:
    for n in (16, 33, 64):
        ot = _parallelogram(n)
        assert ot.status is pma.Status.CONVERGED
        error = ot.gradient - _affine(ot.problem, MATRIX, SHIFT)
        assert np.abs(error).max() < 1e-6
        assert abs(ot.stats["mass_constant"]) < 1e-7
    # int |(A - 1) x + b|^2 over the square, by centroids of cut cells
    assert ot.w2_squared == pytest.approx(0.05, rel=2e-4)


SIZE = 0.006


def _bent_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad of the affine potential + SIZE sin^2(pi x) sin^2(pi y), which keeps the boundary."""
    bump = [
        SIZE * np.pi * np.sin(2 * np.pi * a) * np.sin(np.pi * b) ** 2 for a, b in ((x, y), (y, x))
    ]
    affine = np.einsum("ij,j...->i...", MATRIX, np.stack([x, y])) + SHIFT[:, None, None]
    return np.asarray(affine + np.stack(bump))


def _stretching(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """det D2u of `_bent_map`."""
    s, c = SIZE * 2 * np.pi**2, 2 * np.pi
    xx = MATRIX[0, 0] + s * np.cos(c * x) * np.sin(np.pi * y) ** 2
    yy = MATRIX[1, 1] + s * np.cos(c * y) * np.sin(np.pi * x) ** 2
    xy = MATRIX[0, 1] + 0.5 * s * np.sin(c * x) * np.sin(c * y)
    return np.asarray(xx * yy - xy**2)


def test_second_order_onto_a_parallelogram() -> None:
    largest, mean, constants = [], [], []
    for n in (32, 64, 128):
        source = pma.Density.from_function(_stretching, pma.Grid((n, n)), quadrature=3)
        problem = _onto(PARALLELOGRAM, n, source=source.values)
        ot = pma.solve(problem, tol=1e-9, fallback=False)
        error = np.linalg.norm(ot.gradient - _bent_map(*source.grid.coordinates()), axis=0)
        largest.append(error.max())
        mean.append(np.sqrt((error**2).mean()))
        constants.append(abs(ot.stats["mass_constant"]))
    for errors in (largest, mean, constants):
        assert np.log2(np.divide(errors[:-1], errors[1:])).min() > 1.8
    assert largest[-1] < 3e-5 and mean[-1] < 1e-5


def test_few_steps_on_every_grid() -> None:
    levels = pma.solve(_onto(DISC, 128)).stats["levels"]
    assert max(level["newton"] for level in levels[1:]) <= 4
    assert max(level["linear"] / level["newton"] for level in levels) <= 4


def test_images_stay_in_the_domain_and_are_inverted() -> None:
    ot = _parallelogram(64)
    points = np.random.default_rng(0).random((500, 2))
    images = ot.map(points)
    assert PARALLELOGRAM.contains(images).all()
    assert PARALLELOGRAM.contains(ot.gradient.reshape(2, -1).T).all()
    inner = (np.abs(points - 0.5) < 0.45).all(axis=1)
    assert np.abs(ot.inverse(images) - points)[inner].max() < 0.1 / 64


def test_swapping_axes_swaps_the_map() -> None:
    ot = _parallelogram(32)
    swapped = pma.Polygon(CORNERS[:, ::-1])
    other = pma.solve(_onto(swapped, 32), tol=1e-9, fallback=False)
    np.testing.assert_allclose(other.gradient[::-1], ot.gradient.transpose(0, 2, 1), atol=1e-8)
    assert other.w2_squared == pytest.approx(ot.w2_squared, rel=1e-6)


def test_translation_moves_the_image() -> None:
    ot, by = _parallelogram(32), np.array([3.0, -2.0])
    other = pma.solve(_onto(pma.Polygon(CORNERS + by), 32), tol=1e-9, fallback=False)
    np.testing.assert_allclose(other.gradient - by[:, None, None], ot.gradient, atol=1e-8)


@pytest.mark.parametrize("solver", [pma.AMG(), pma.Direct(), pma.Multigrid()])
def test_every_linear_solver_reaches_the_solution(solver: pma.AMG) -> None:
    ot = pma.solve(_onto(PARALLELOGRAM, 32), tol=1e-9, linear_solver=solver, fallback=False)
    np.testing.assert_allclose(ot.gradient, _parallelogram(32).gradient, atol=1e-7)


def test_monotone_ghosts_are_first_order() -> None:
    """So is the mass constant, which says that 32 cells do not resolve what 128 do."""
    errors = []
    for n in (32, 64):
        problem = _onto(PARALLELOGRAM, n)
        try:
            ot = pma.solve(problem, tol=1e-9, monotone_gradient=True, fallback=False)
        except pma.ConvergenceError as error:
            ot = error.result
            assert ot.status is pma.Status.UNRESOLVED and abs(ot.mass_constant) > 1e-2
        errors.append(np.abs(ot.gradient - _affine(problem, MATRIX, SHIFT)).max())
    assert 2e-3 < errors[0] < 1e-2
    assert 1.6 < errors[0] / errors[1] < 2.6


def test_a_box_as_domain_changes_nothing() -> None:
    x, y = np.meshgrid(*2 * [(np.arange(24) + 0.5) / 24], indexing="ij")
    source, target = 1 + x * y, np.exp(-3 * ((x - 0.4) ** 2 + (y - 0.6) ** 2))
    plain = pma.solve(pma.Problem(source, target), tol=1e-9)
    square = pma.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
    ot = pma.solve(pma.Problem(source, target, target_domain=square), tol=1e-9)
    np.testing.assert_allclose(ot.gradient, plain.gradient, atol=1e-8)
    assert ot.w2_squared == pytest.approx(plain.w2_squared, rel=2e-4)


def test_square_onto_disc() -> None:
    ot = pma.solve(_onto(DISC, 64))
    assert ot.converged
    radius = np.linalg.norm(ot.gradient - 0.5, axis=0)
    assert 0.398 < radius.max() <= 0.4 * (1 + 1e-6)
    # the symmetries of the square
    for image in (ot.gradient[:, ::-1], ot.gradient[:, :, ::-1]):
        mirrored = np.linalg.norm(image - 0.5, axis=0)
        np.testing.assert_allclose(mirrored, radius, atol=1e-6)
    diagonal = np.diagonal(ot.gradient, axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal[0], diagonal[1], atol=1e-6)
    assert ot.w2_squared == pytest.approx(0.0170391, rel=4e-4)  # 0.01703924 at 256


def test_second_order_onto_a_disc_with_a_density() -> None:
    def bump(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-3 * (x - 0.3) ** 2 - 2 * (y - 0.6) ** 2))

    points = np.random.default_rng(0).uniform(0.1, 0.9, (1000, 2))
    images = []
    for n in (32, 64, 128):
        grid = pma.Grid((n, n))
        target = pma.Density(DISC.averages(bump, grid), grid)
        ot = pma.solve(pma.Problem(_uniform(n), target, target_domain=DISC), tol=1e-8)
        images.append(ot.map(points))
    steps = [np.sqrt(((a - b) ** 2).mean()) for a, b in pairwise(images)]
    assert np.log2(steps[0] / steps[1]) > 1.8 and steps[1] < 2e-4


def test_ellipse_onto_ellipse_from_a_source_with_zeros() -> None:
    radius, n = 0.35, 64
    source = pma.Ellipse((0.5, 0.5), axes=radius)
    image = pma.Ellipse((0.5, 0.5), matrix=radius * MATRIX)
    problem = _onto(image, n, source=source.fractions(pma.Grid((n, n))))
    try:
        ot = pma.solve(problem, fallback=False)
    except pma.ConvergenceError as stalled:
        assert isinstance(stalled.result, pma.Transport)
        ot = stalled.result
    exact = _affine(problem, MATRIX, np.array([0.5, 0.5]) - MATRIX.sum(axis=1) / 2)
    x = problem.source.grid.coordinates()
    inside = np.linalg.norm(x - 0.5, axis=0) < 0.8 * radius
    error = np.linalg.norm(ot.gradient - exact, axis=0)[inside]
    # first order: cells that the edge of the source cuts
    assert error.max() < 1e-3
    change = MATRIX - np.eye(2)
    assert ot.w2_squared == pytest.approx(radius**2 / 4 * np.trace(change @ change), rel=5e-4)


def test_cost_against_exact_plans() -> None:
    triangle = pma.Polygon([(0.1, 0.1), (0.95, 0.3), (0.4, 0.9)])
    ours, exact = [], []
    for n in (16, 32):
        grid = pma.Grid((n, n))
        target = pma.Density(triangle.fractions(grid), grid)
        ours.append(pma.solve(pma.Problem(_uniform(n), target, target_domain=triangle)).w2_squared)
        x = grid.coordinates().reshape(2, -1).T
        y, b = triangle.centroids(grid).reshape(-1, 2), target.values.ravel()
        costs = ((x[:, None] - y[b > 0]) ** 2).sum(axis=-1)
        a = np.full(len(x), 1 / len(x))
        exact.append(pot.emd2(a, b[b > 0] / b.sum(), costs, numItermax=10**6))
    # atoms at centroids miss by O(h^2): 1 % at this size, extrapolated away on both sides
    limits = [(4 * fine - coarse) / 3 for coarse, fine in (ours, exact)]
    assert limits[0] == pytest.approx(limits[1], rel=4e-3)


def test_interval() -> None:
    n = 64
    grid = pma.Grid(n)
    interval = pma.Ellipse(0.45, axes=0.21)
    target = pma.Density(interval.averages(lambda y: 1 + y, grid), grid)
    ot = pma.solve(pma.Problem(np.ones(n), target, target_domain=interval), tol=1e-10)
    low, high = 0.24, 0.66
    ends = (1 + low) ** 2, (1 + high) ** 2
    exact = np.sqrt(ends[0] + (ends[1] - ends[0]) * grid.axes[0]) - 1
    assert np.abs(ot.gradient[0] - exact).max() < 1e-4
    assert ot.w2_squared == pytest.approx(((exact - grid.axes[0]) ** 2).mean(), rel=1e-3)


def test_storing_keeps_the_domain(tmp_path: Path) -> None:
    ot = _parallelogram(32)
    ot.save(tmp_path / "ot.npz")
    back = pma.load(tmp_path / "ot.npz")
    np.testing.assert_array_equal(back.gradient, ot.gradient)
    assert back.w2_squared == pytest.approx(ot.w2_squared, rel=1e-12)


def test_interpolation_runs_from_source_to_target() -> None:
    ot = _parallelogram(32)
    half = ot.interpolate(0.5)
    # the image of the square under (1 + A) / 2, where the density is constant
    matrix = (np.eye(2) + MATRIX) / 2
    image = pma.Polygon(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ matrix + SHIFT / 2)
    parts = image.fractions(half.grid)
    expected = 1 / np.linalg.det(matrix)
    whole = parts == 1.0
    assert np.median(np.abs(half.values[whole] / expected - 1)) < 0.03
    assert half.values[parts == 0].max() == 0


def test_residual_and_hessian_see_the_domain() -> None:
    ot = _parallelogram(32)
    assert np.abs(ot.residual - ot.stats["mass_constant"]).max() < 1e-6
    inner = ot.hessian[:, :, 4:-4, 4:-4]
    assert np.abs(inner - MATRIX[:, :, None, None]).max() < 0.02
