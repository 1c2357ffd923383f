"""Posteriors: evidence against closed forms, boxes that are found, functions that misbehave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

import pma_grid as pma
from pma_grid.claims.generative import POSTERIORS
from pma_grid.inference.box import find_box
from pma_grid.inference.counted import LogFunction


def mixture(x: Any, y: Any) -> Any:
    first = np.log(0.7) - 0.5 * ((x + 2) ** 2 + (y + 1) ** 2) / 0.25
    second = np.log(0.3) - 0.5 * ((x - 2) ** 2 + (y - 1.5) ** 2) / 0.16
    return np.logaddexp(first, second)


def student(x: Any, y: Any) -> Any:
    return -3.5 * np.log1p((x * x + y * y) / 5)


def poisson(a: Any, b: Any) -> Any:
    """Counts 3, 5, 9 at x = -1, 0, 1 with rates exp(a + b x) and standard normal priors."""
    rates = a[..., None] + b[..., None] * np.array([-1.0, 0.0, 1.0])
    likelihood = (np.array([3, 5, 9]) * rates - np.exp(rates)).sum(axis=-1)
    return likelihood - 0.5 * (a * a + b * b)


def high_order(f: Callable[..., Any], box: Any, n: int = 300) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    axes = [0.5 * (b - a) * nodes + 0.5 * (a + b) for a, b in box]
    logs = [np.log(0.5 * (b - a) * weights) for a, b in box]
    return float(logsumexp(f(*np.meshgrid(*axes, indexing="ij")) + sum(np.ix_(*logs))))


def beta_1d(x: Any) -> Any:
    return 1.5 * np.log(x) + 3 * np.log1p(-x)


MORE: dict[str, tuple[Callable[..., Any], dict[str, Any], float]] = {
    "mixture": (
        mixture, {"box": [(-10, 10)] * 2}, float(np.log(2 * np.pi * (0.7 * 0.25 + 0.3 * 0.16))),
    ),
    "student": (student, {"start": (0.5, 0.5)}, float(np.log(2 * np.pi))),
    "poisson": (poisson, {"start": (0.0, 0.0)}, high_order(poisson, [(-6, 6)] * 2)),
    "beta 1-D": (
        beta_1d, {"box": [(0, 1)]}, float(gammaln(2.5) + gammaln(4) - gammaln(6.5)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*POSTERIORS, *MORE])
def test_stated_error_holds_the_true_one_on_ten_posteriors(name: str) -> None:
    f, place, exact = (POSTERIORS | MORE)[name]
    dim = f.__code__.co_argcount
    posterior = pma.infer(f, shape={1: 256, 2: 48, 3: 24}[dim], **place)
    found, flow = posterior.evidence, posterior.flow
    assert abs(posterior.log_evidence - exact) <= found.error
    assert abs(posterior.log_evidence - exact) < 1e-4
    assert (flow["evidence_lower"] <= found.limit + 1e-12).all()
    assert (flow["evidence_upper"] >= found.limit - 1e-12).all()
    assert found.gap <= 1e-6
    assert posterior.converged


def test_moments_marginals_and_quantiles_of_a_normal_law() -> None:
    posterior = pma.infer(
        lambda x, y: -0.5 * (x - 1) ** 2 - 0.5 * ((y + 2) / 3) ** 2, box=[(-30, 30)] * 2,
        shape=64, names=("a", "b"),
    )  # fmt: skip
    assert np.allclose(posterior.mean, [1, -2], atol=1e-4)
    assert np.allclose(posterior.covariance, [[1, 0], [0, 9]], atol=1e-4)
    assert np.allclose(posterior.interval(0), [1 - 1.96, 1 + 1.96], atol=1e-2)
    assert np.allclose(posterior.marginal(1, 0).values.T, posterior.density.values)
    assert posterior.marginal(0).mean()[0] == pytest.approx(1, abs=1e-4)
    draws = posterior.sample(20_000, seed=0)
    assert np.allclose(draws.mean(axis=0), [1, -2], atol=0.1)
    assert np.allclose(draws.std(axis=0), [1, 3], atol=0.1)
    logs = posterior.log_density([[1.0, -2.0], [100.0, 0.0]])
    assert logs[0] == pytest.approx(-np.log(2 * np.pi * 3), abs=2e-3)
    assert logs[1] == -np.inf
    assert posterior.summary()["parameters"]["a"]["mean"] == pytest.approx(1, abs=1e-4)


def test_target_side_gives_the_same_bounds_with_its_mass_constant() -> None:
    f, place, exact = POSTERIORS["correlated"]
    posterior = pma.infer(f, shape=48, side="target", **place)
    assert posterior.flow.side == "target"
    assert abs(posterior.log_evidence - exact) < 1e-4
    assert (posterior.flow["evidence_lower"] <= posterior.evidence.limit + 1e-12).all()
    assert np.isfinite(posterior.evidence.mass_constant)
    assert np.allclose(posterior.sample(4000, seed=0).std(axis=0), 1, atol=0.1)


def test_narrow_peaks_in_generous_boxes_are_found() -> None:
    def narrow(x: Any, y: Any) -> Any:
        return -0.5 * ((x - 3.14159) ** 2 + (y + 2.71828) ** 2) / 1e-6

    found = find_box(LogFunction(narrow), np.array([[-100.0, -100.0], [100.0, 100.0]]), None)
    assert (found.upper - found.lower < 2e-2).all()
    assert (found.lower < [3.14159, -2.71828]).all() and (found.upper > [3.14159, -2.71828]).all()


def test_all_modes_of_a_scan_count() -> None:
    found = find_box(LogFunction(mixture), np.array([[-10.0, -10.0], [10.0, 10.0]]), None)
    assert found.lower[0] < -4 and found.upper[0] > 3.8
    assert not found.truncated


def test_faces_that_cut_the_density_off_are_told() -> None:
    f, place, _ = POSTERIORS["cut at a face"]
    posterior = pma.infer(f, shape=32, **place)
    assert posterior.evidence.truncated == ((0, "lower"),)


@pytest.mark.parametrize(
    "function, options, message",
    [
        (lambda x, y: np.where(x > 0, np.nan, 0.0), {"box": [(-1, 1)] * 2}, "nan at"),
        (lambda x, y: np.where(x > 0, np.inf, 0.0), {"box": [(-1, 1)] * 2}, "inf at"),
        (lambda x, y: np.zeros(3), {"box": [(-1, 1)] * 2}, "returns shape"),
        (lambda x, y: -np.inf + 0 * x, {"box": [(-1, 1)] * 2}, "-inf wherever"),
        (lambda x: x, {"box": [(-1, 1)] * 2}, "raises TypeError"),
        (lambda x, y: {"b": x}["a"], {"box": [(-1, 1)] * 2}, "raises KeyError"),
        (lambda x, y: 0 * x, {"start": (0.0, 0.0)}, "fall off"),
        (lambda x, y: -np.inf + 0 * x, {"start": (0.0, 0.0)}, "start is"),
        (
            lambda x, y: -0.5 * ((x - y) ** 2 / 1e-10 + (x + y) ** 2), {"box": [(-9, 9)] * 2},
            "rotate or rescale",
        ),
        ("f", {"box": [(-1, 1)]}, "log_density is"),
        (lambda x: -x * x, {}, "both None"),
        (lambda x: -x * x, {"box": [(1, -1)]}, "box is"),
        (lambda x: -x * x, {"box": [(-1, 1)], "start": (0.0, 0.0)}, "must agree"),
        (lambda x: -x * x, {"box": [(-9, 9)], "side": "left"}, "side is"),
        (lambda x: -x * x, {"box": [(-9, 9)], "gap": 0}, "gap is"),
        (lambda x: -x * x, {"box": [(-9, 9)], "steps": -1}, "steps is"),
        (lambda x: -x * x, {"box": [(-9, 9)], "quadrature": 9}, "quadrature is"),
        (lambda x: -x * x, {"box": [(-9, 9)], "tail_bound": -1}, "tail_bound"),
        (lambda x: -x * x, {"box": [(-9, 9)], "names": ("a", "b")}, "names"),
        (lambda x: -x * x, {"box": [(-9, 9)], "shape": (8, 8)}, "shape is"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.infer(function, **options)


def test_a_bound_of_the_tail_is_taken_as_it_is() -> None:
    posterior = pma.infer(lambda x: -0.5 * x * x, box=[(-50, 50)], shape=128, tail_bound=1e-5)
    assert posterior.evidence.tail == 0.0
    assert posterior.evidence.tail_error == pytest.approx(1e-5, rel=1e-4)


def test_posteriors_are_saved_and_loaded(tmp_path: Path) -> None:
    posterior = pma.infer(lambda x: -0.5 * x * x, box=[(-50, 50)], shape=64)
    posterior.save(tmp_path / "p.npz")
    again = pma.load(tmp_path / "p.npz")
    assert isinstance(again, pma.Posterior)
    assert again.evidence == posterior.evidence
    assert np.array_equal(again.density.values, posterior.density.values)
    assert again.density.mass == posterior.density.mass
    assert np.array_equal(again.sample(5, seed=1), posterior.sample(5, seed=1))
    assert again.summary()["evidence"] == posterior.summary()["evidence"]
    assert np.allclose(again.mean, posterior.mean, atol=1e-12) and again.names == posterior.names
