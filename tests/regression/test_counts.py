"""Iteration counts and distances of a fixed problem: what a change must not worsen unnoticed."""

import numpy as np
import pytest

import pma_grid as pma

SOURCE = ((1.0, 0.30, 0.35, 0.13), (0.7, 0.70, 0.60, 0.10))
TARGET = ((1.1, 0.65, 0.30, 0.14), (0.8, 0.35, 0.72, 0.12))
# size: (Newton steps, linear iterations) over all grids, on the finest grid; W2^2
MEASURED = {
    64: ((11, 18), (3, 6), 0.0252214055),
    128: ((12, 19), (2, 4), 0.0252215745),
}
REFERENCE = 0.02522156


def _problem(n: int) -> pma.Problem:
    """Mixtures of two Gaussians each on a floor of 0.1."""
    grid = pma.Grid((n, n))
    densities = []
    for parts in (SOURCE, TARGET):

        def mixture(
            x: np.ndarray, y: np.ndarray, parts: tuple[tuple[float, ...], ...] = parts
        ) -> np.ndarray:
            total = np.full(x.shape, 0.1)
            for weight, a, b, width in parts:
                total += weight * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2))
            return total

        densities.append(pma.Density.from_function(mixture, grid))
    return pma.Problem(*densities)


@pytest.mark.parametrize("n", MEASURED)
def test_counts_of_the_gaussian_mixtures(n: int) -> None:
    (newton, linear), (last_newton, last_linear), _ = MEASURED[n]
    stats = pma.solve(_problem(n)).stats
    assert stats["iterations"] <= newton + 2
    assert stats["linear_iterations"] <= linear + 5
    assert stats["levels"][-1]["newton"] <= last_newton + 1
    assert stats["levels"][-1]["linear"] <= last_linear + 2
    assert stats["linear_solver"] == ["multigrid"]


@pytest.mark.parametrize("n", MEASURED)
def test_distance_of_the_gaussian_mixtures(n: int) -> None:
    w2_squared = pma.solve(_problem(n), tol=1e-9).w2_squared
    assert w2_squared == pytest.approx(MEASURED[n][2], rel=1e-7)
    assert w2_squared == pytest.approx(REFERENCE, rel=1e-5 if n == 64 else 1e-6)


def test_steps_taken_are_full_newton_steps() -> None:
    history = pma.solve(_problem(64)).stats["history"]
    assert all(record["step_size"] == 1 for record in history if record["level"][0] > 8)
