"""`sinkhorn` on grids against the closed form between Gaussians that the boxes hardly cut."""

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.cases.oracles import GaussianPair

LINE = GaussianPair([0.4], [[0.81]], [-0.3], [[1.96]])
PLANE = GaussianPair([0.3, -0.2], [[0.6, 0.2], [0.2, 0.5]], [-0.1, 0.4], [[0.9, -0.3], [-0.3, 0.4]])
REACH = 6.5  # standard deviations to the faces


def _density(mean: np.ndarray, cov: np.ndarray, n: int) -> pma.Density:
    """The Gaussian at the centres of a box around it: a sum over a grid is exact to rounding."""
    wide = REACH * np.sqrt(np.diag(cov))
    grid = pma.Grid((n,) * len(mean), tuple(mean - wide), tuple(mean + wide))
    z = grid.coordinates() - mean.reshape(-1, *[1] * len(mean))
    square = np.einsum("i...,ij,j...->...", z, np.linalg.inv(cov), z)
    return pma.Density(np.exp(-0.5 * square), grid)


@pytest.mark.parametrize("pair, n", [(LINE, 60), (PLANE, 60)], ids=["1d", "2d"])
@pytest.mark.parametrize("eps", [0.5, 2.0])
def test_plan_potential_and_value(pair: GaussianPair, n: int, eps: float) -> None:
    problem = pma.Problem(
        _density(pair.source_mean, pair.source_cov, n),
        _density(pair.target_mean, pair.target_cov, n),
    )
    sk = pma.sinkhorn(problem, eps, tol=1e-12)
    exact = pair.entropic(eps)
    x = problem.source.grid.coordinates()
    shape = (-1, *[1] * pair.dim)
    near = np.linalg.norm(x - pair.source_mean.reshape(shape), axis=0) < 1.5
    still = exact.stationary()
    np.testing.assert_allclose(sk.gradient[:, near], still.gradient(*x)[:, near], atol=1e-8)
    difference = (sk.potential - still.potential(*x))[near]
    assert np.ptp(difference) < 1e-8
    assert sk.value == pytest.approx(exact.value, abs=1e-8)
