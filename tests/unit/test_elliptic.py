"""Positive definite problems on grids: against dense solves, cosines, and counts of iterations."""

import numpy as np
import pytest
from scipy import fft, sparse

from pma_grid.linsolve.elliptic import (
    Biharmonic,
    Screened,
    difference,
    differences,
    laplacian,
    poisson,
)

SHAPES = [(60,), (1, 40), (12, 1, 9), (23, 7), (6, 5, 7)]


def _symbol(shape: tuple[int, ...]) -> np.ndarray:
    """Eigenvalues of K on the cosines of `scipy.fft.dctn`."""
    waves = [(2 * n * np.sin(np.pi * np.arange(n) / (2 * n))) ** 2 for n in shape]
    return np.asarray(sum(np.meshgrid(*waves, indexing="ij")))


def _weights(size: int, spread: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.exp(spread * rng.normal(size=size)) / size


@pytest.mark.parametrize("shape", SHAPES)
def test_laplacian_is_diagonal_in_cosines(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    expected = fft.idctn(_symbol(shape) * fft.dctn(x, norm="ortho"), norm="ortho")
    assert np.allclose(laplacian(shape) @ x.ravel(), expected.ravel(), atol=1e-9 * max(shape) ** 2)


def test_differences_are_per_side_of_the_box_and_skip_axes_of_one_cell() -> None:
    slope = np.arange(4.0)[:, None] * np.ones((4, 1))
    assert np.allclose(difference((4, 1), 0) @ slope.ravel(), 4.0)
    assert difference((4, 1), 1).shape == (0, 4)
    assert differences((4, 1)).shape == (3, 4)
    assert differences((3, 5)).shape == (2 * 5 + 3 * 4, 15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coefficient", [1e-7, 1e-2])
def test_solutions_are_those_of_dense_matrices(shape: tuple[int, ...], coefficient: float) -> None:
    k = laplacian(shape)
    n = k.shape[0]
    w, rhs = _weights(n), np.random.default_rng(1).normal(size=n)
    for solver, power in ((Screened(k, w, coefficient), k), (Biharmonic(k, w, coefficient), k @ k)):
        found = solver.solve(rhs, rtol=1e-10)
        matrix = np.diag(w) + coefficient * power.toarray()
        exact = np.linalg.solve(matrix, rhs)
        assert found.converged
        assert found.residual <= 2e-10
        assert np.abs(found.x - exact).max() < 1e-7 * np.abs(exact).max()


@pytest.mark.parametrize("kind", [Screened, Biharmonic])
def test_preconditioners_are_symmetric_and_positive(
    kind: type[Screened] | type[Biharmonic],
) -> None:
    """Conjugate gradients need it; 20 x 20 cells make two levels."""
    k = laplacian((20, 20))
    cycle = kind(k, _weights(400), 1e-5)
    inverse = np.stack([cycle(e) for e in np.eye(400)], axis=1)
    scale = np.abs(inverse).max()
    assert np.abs(inverse - inverse.T).max() < 1e-9 * scale
    assert np.linalg.eigvalsh(0.5 * (inverse + inverse.T)).min() > 0


def test_square_of_the_root_is_within_a_factor_of_two() -> None:
    """a^2 + b^2 <= (a + b)^2 <= 2 (a^2 + b^2), with constant weights and exact solves."""
    k = laplacian((9, 8)).toarray()
    eye = np.eye(72)
    root = np.sqrt(0.3) * eye + np.sqrt(1e-4) * k
    ratio = np.linalg.eigvals(np.linalg.solve(root @ root, 0.3 * eye + 1e-4 * k @ k)).real
    assert ratio.min() > 0.5 - 1e-12 and ratio.max() < 1 + 1e-12


def _counts_like(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a logistic fit, noisy as counts are, and their expectation, down to e^-9."""
    x = (np.arange(n) + 0.5) / n
    smooth = np.exp(-9 * np.minimum((x[:, None] - 0.3) ** 2 + (x - 0.6) ** 2, 0.1) / 0.1).ravel()
    smooth /= smooth.sum()
    noisy = 0.5 * smooth + 0.5 * np.random.default_rng(5).poisson(4000 * smooth) / 4000
    return noisy, smooth


@pytest.mark.parametrize("relative", [1e-9, 1e-6, 1e-3])
def test_iterations_do_not_grow_with_the_grid(relative: float) -> None:
    counts = []
    for n in (32, 64, 128):
        noisy, smooth = _counts_like(n)
        k = laplacian((n, n))
        rhs = np.random.default_rng(2).normal(size=n * n) * np.sqrt(noisy + 1e-3 / n**2)
        solver = Biharmonic(k, noisy, relative / n**2, smooth)
        counts.append(solver.solve(rhs, rtol=1e-6).iterations)
    assert max(counts) <= 60, counts
    assert counts[-1] <= 1.5 * counts[0] + 5, counts


def test_screened_iterations_do_not_grow_with_the_grid() -> None:
    rhs = {n: np.random.default_rng(1).normal(size=n * n) for n in (32, 128)}
    counts = [
        Screened(laplacian((n, n)), _weights(n * n), 1e-6).solve(rhs[n]).iterations for n in rhs
    ]
    assert max(counts) <= 8, counts


@pytest.mark.parametrize("spread, most", [(0.0, 9), (1.0, 13)])
def test_poisson_iterations_do_not_grow_with_the_grid(spread: float, most: int) -> None:
    """Nor where the weights jump from face to face, if coarse points are chosen in two passes."""
    counts = []
    for n in (32, 128):
        d = differences((n, n))
        faces = np.exp(spread * np.random.default_rng(0).normal(size=d.shape[0]))
        weighted = sparse.csr_array(d.T @ (sparse.diags_array(faces) @ d))
        counts.append(poisson(weighted, np.random.default_rng(1).normal(size=n * n)).iterations)
    assert max(counts) <= most, counts


def test_poisson_solves_with_mean_zero_up_to_the_mean_of_its_right_side() -> None:
    d = differences((11, 14))
    faces = np.exp(np.random.default_rng(0).normal(size=d.shape[0]))
    weighted = sparse.csr_array(d.T @ (sparse.diags_array(faces) @ d))
    rhs = np.random.default_rng(1).normal(size=154) + 3.0
    found = poisson(weighted, rhs)
    assert found.converged
    assert abs(found.x.mean()) < 1e-12 * np.abs(found.x).max()
    assert np.abs(weighted @ found.x - (rhs - rhs.mean())).max() < 1e-8


def test_what_is_not_reached_is_said() -> None:
    k = laplacian((64, 64))
    noisy, smooth = _counts_like(64)
    solver = Biharmonic(k, noisy, 1e-12, smooth)
    below_rounding = solver.solve(np.ones(64 * 64), rtol=1e-18)
    assert not below_rounding.converged
    assert 1e-18 < below_rounding.residual < 1e-9
    assert solver.solve(np.ones(64 * 64), rtol=1e-6).converged


def test_solutions_repeat_whatever_the_global_generator_and_leave_it_alone() -> None:
    k, w, rhs = laplacian((40, 40)), _weights(1600), np.sin(np.arange(1600.0))
    answers = []
    for seed in (1, 2):
        np.random.seed(seed)
        expected = np.random.RandomState(seed).random(3)
        answers.append(Biharmonic(k, w, 1e-6).solve(rhs).x)
        assert np.array_equal(np.random.random(3), expected)
    assert np.array_equal(answers[0], answers[1])
