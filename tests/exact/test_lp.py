"""Distances against exact transport: the linear programme between pixels, quantiles in 1-D."""

import numpy as np
import ot
import pytest

import pma_grid as pma


def _values(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A smooth positive density on the unit box."""
    rng = np.random.default_rng(seed)
    log = np.zeros(shape)
    for i, n in zip(np.indices(shape), shape, strict=True):
        s = (i + 0.5) / n
        log += 0.9 * rng.uniform(-1, 1) * np.cos(np.pi * s)
        log += 0.4 * rng.uniform(-1, 1) * np.cos(2 * np.pi * s)
    return np.exp(log)


def _programme(problem: pma.Problem) -> float:
    """W2^2 between the atoms at the cell centres."""
    masses, points = [], []
    for density in (problem.source, problem.target):
        mass = density.values.ravel() * density.grid.cell_volume
        masses.append(mass / mass.sum())
        points.append(density.grid.coordinates().reshape(density.dim, -1).T.copy())
    return float(ot.emd2(*masses, ot.dist(*points)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(48,), (12, 12), (12, 9), (6, 5, 6)])
def test_linear_programme_of_smooth_pixels(shape: tuple[int, ...], seed: int) -> None:
    """Atoms instead of cells: each side adds up to the variance of a cell, h^2 / 12 an axis.

    A tenth of it is left for the curvature of the densities within a cell.
    """
    problem = pma.Problem(_values(shape, 2 * seed), _values(shape, 2 * seed + 1))
    ours, theirs = pma.solve(problem).w2_squared, _programme(problem)
    bound = sum(h**2 for h in problem.source.grid.spacing) / 6
    assert -0.1 * bound < theirs - ours < 1.1 * bound


@pytest.mark.parametrize("seed", range(3))
def test_linear_programme_converges_to_our_distance(seed: int) -> None:
    differences = []
    for n in (8, 16, 32):
        problem = pma.Problem(_values((n, n), 2 * seed), _values((n, n), 2 * seed + 1))
        differences.append(abs(pma.solve(problem).w2_squared - _programme(problem)))
    assert differences[2] < differences[0] / 6


@pytest.mark.parametrize("seed", range(3))
def test_linear_programme_of_random_pixels(seed: int) -> None:
    """No smoothness to rely on: still within half a cell."""
    rng = np.random.default_rng(seed)
    problem = pma.Problem(*(0.3 + rng.random((12, 12)) for _ in range(2)))
    ours = pma.solve(problem).w2
    assert ours == pytest.approx(np.sqrt(_programme(problem)), abs=0.5 / 12)


def _staircase(source: np.ndarray, target: np.ndarray) -> float:
    """W2^2 of two piecewise-constant densities on [0, 1]: quantiles are piecewise linear."""
    cumulated = [np.concatenate([[0], np.cumsum(v / v.sum())]) for v in (source, target)]
    for c in cumulated:
        c[-1] = 1.0
    p = np.union1d(*cumulated)
    gaps = [np.interp(p, c, np.linspace(0, 1, c.size)) for c in cumulated]
    d = gaps[0] - gaps[1]
    a, b = d[:-1], d[1:]
    return float((np.diff(p) * (a * a + a * b + b * b) / 3).sum())


def _wave(a: float, b: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Density 1 + a cos(pi x) + b cos(2 pi x) and its distribution function."""
    density = 1 + a * np.cos(np.pi * x) + b * np.cos(2 * np.pi * x)
    return density, x + a * np.sin(np.pi * x) / np.pi + b * np.sin(2 * np.pi * x) / (2 * np.pi)


def _quantile(a: float, b: float, p: np.ndarray) -> np.ndarray:
    x = p.copy()
    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(60):
        below = _wave(a, b, x)[1] < p
        low, high = np.where(below, x, low), np.where(below, high, x)
        x = 0.5 * (low + high)
    return x


@pytest.mark.parametrize(
    "case", [((0.5, 0.1), (-0.4, 0.2)), ((0.0, 0.0), (0.7, 0.0)), ((0.3, -0.3), (0.3, 0.3))]
)
def test_quantiles_of_smooth_densities(
    case: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    (a, b), (c, d) = case
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = 0.5 * (nodes + 1)
    density, cumulated = _wave(a, b, x)
    image = _quantile(c, d, cumulated)
    exact = float((0.5 * weights * density * (image - x) ** 2).sum())
    faces = np.linspace(0, 1, 257)
    averages = [np.diff(_wave(*k, faces)[1]) for k in case]
    transport = pma.solve(pma.Problem(*averages), tol=1e-10)
    assert transport.w2_squared == pytest.approx(exact, rel=2e-7)
    assert np.abs(transport.map(x[:, None])[:, 0] - image).max() < 2e-4


@pytest.mark.parametrize("seed", range(4))
def test_quantiles_of_staircases(seed: int) -> None:
    """Cells that jump: the densities between the averages differ, W2 by less than half a cell."""
    rng = np.random.default_rng(seed)
    source, target = 0.3 + rng.random(64), 0.3 + np.sort(rng.random(64))
    ours = pma.solve(pma.Problem(source, target)).w2
    exact = np.sqrt(_staircase(source, target))
    assert exact > 0.05
    assert ours == pytest.approx(exact, abs=0.5 / 64)
