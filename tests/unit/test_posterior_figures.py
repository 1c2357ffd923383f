"""Moments, quantiles and importance weights of posteriors, each against what is known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import pma_grid as pma
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.integrals import log_cell_masses
from pma_grid.inference.posterior import log_push_forward

CORRELATION = 0.6


def normal(x: Any, y: Any) -> Any:
    """Means 1 and -2, standard deviations 1 and 3."""
    a, b = x - 1, (y + 2) / 3
    return -0.5 * (a * a - 2 * CORRELATION * a * b + b * b) / (1 - CORRELATION**2)


@pytest.fixture(scope="module")
def posterior() -> pma.Posterior:
    return pma.infer(normal, box=[(-30, 30)] * 2, shape=48)


def test_moments_are_of_fourth_order(posterior: pma.Posterior) -> None:
    # the widths of the cells alone would add h^2 / 12, 6e-3 and 5e-2
    assert np.allclose(posterior.mean, [1, -2], atol=1e-4)
    exact = np.array([[1, 3 * CORRELATION], [3 * CORRELATION, 9]])
    assert np.allclose(posterior.covariance, exact, rtol=1e-4)
    assert np.allclose(posterior.std, [1, 3], rtol=1e-4)


def test_quantiles_are_exact_to_a_thousandth(posterior: pma.Posterior) -> None:
    levels = [0.01, 0.2, 0.5, 0.9, 0.975]
    found = posterior.quantile(levels, 0)
    assert np.allclose(found, 1 + stats.norm.ppf(levels), atol=2e-3)
    assert np.all(np.diff(posterior.quantile(np.linspace(0, 1, 200), 1)) >= 0)
    with pytest.raises(pma.InvalidInputError, match=r"p is 1\.5"):
        posterior.quantile(1.5, 0)


def test_density_of_draws_integrates_to_one_over_the_box(posterior: pma.Posterior) -> None:
    # by the change of variables, and not because anything was normalised
    grid = pma.Grid((300, 300), posterior.grid.lower, posterior.grid.upper)
    x = grid.coordinates().reshape(2, -1).T
    logs, found = log_push_forward(posterior.transport, posterior.transport.map(x), x)
    assert found.mean() > 0.9  # the map is clipped near corners, where nothing is
    assert np.exp(logs[found]).sum() * grid.cell_volume == pytest.approx(1, abs=2e-3)


def test_importance_weights_give_the_evidence_and_bound_it_from_below(
    posterior: pma.Posterior,
) -> None:
    exact = np.log(2 * np.pi * 3 * np.sqrt(1 - CORRELATION**2))
    for seed in range(3):
        check = posterior.importance(4000, seed=seed)
        assert abs(check.log_evidence - exact) < 4 * check.standard_error
        assert check.standard_error < 3e-3
        assert check.elbo - 4 * check.elbo_standard_error < exact
        assert check.elbo <= check.log_evidence
        assert 3000 < check.effective_sample_size <= 4000
    again = posterior.importance(4000, seed=2)
    assert again == check


def test_importance_needs_the_function_and_draws(posterior: pma.Posterior, tmp_path: Any) -> None:
    posterior.save(tmp_path / "p.npz")
    loaded = pma.load(tmp_path / "p.npz")
    assert isinstance(loaded, pma.Posterior)
    assert np.array_equal(loaded.covariance, posterior.covariance)
    with pytest.raises(pma.InvalidInputError, match="files do not hold functions"):
        loaded.importance(100, seed=0)
    with pytest.raises(pma.InvalidInputError, match="n is .*integer >= 2"):
        posterior.importance(1, seed=0)
    with pytest.raises(pma.InvalidInputError, match="n is 2.5"):
        posterior.importance(2.5, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("points, order", [(1, 2.0), (2, 4.0)])
def test_evidence_is_of_second_order_and_better(points: int, order: float) -> None:
    # cut at faces where it is not flat: in the middle of space any rule is exact
    f = LogFunction(lambda x, y: -0.5 * (x * x + y * y) - x - 0.5 * y)
    cdf = stats.norm.cdf
    exact = sum(
        0.5 * a * a + 0.5 * np.log(2 * np.pi) + np.log(cdf(2 + a) - cdf(a)) for a in (1.0, 0.5)
    )
    errors = [
        abs(float(logsumexp(log_cell_masses(f, pma.Grid((n, n), 0.0, 2.0), points))) - exact)
        for n in (8, 16, 32)
    ]
    slopes = -np.diff(np.log2(errors))
    assert np.allclose(slopes, order, atol=0.15)
