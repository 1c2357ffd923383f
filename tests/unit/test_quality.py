"""Measures of generated points: closed forms, exact sums, levels of the test, bad input."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
import scipy.spatial
import scipy.stats

import pma_grid as pma
from pma_grid.cases import eight_gaussians
from pma_grid.sampling import quality

Array = np.ndarray


def _normal(seed: int, n: int, dim: int = 2, mean: float = 0.0, spread: float = 1.0) -> Array:
    points: Array = mean + spread * np.random.default_rng(seed).normal(size=(n, dim))
    return points


def test_log_likelihood_is_a_mean_with_its_standard_error() -> None:
    x = _normal(0, 20_000, 1)
    found = quality.log_likelihood(lambda p: scipy.stats.norm.logpdf(p[:, 0]), x)
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert found.error == pytest.approx(math.sqrt(0.5 / 20_000), rel=0.05)  # Var x^2 / 2 = 1/2
    assert abs(found.value + entropy) < 4 * found.error


def test_means_of_few_points_by_hand() -> None:
    mean = quality.log_likelihood(lambda x: x[:, 0], [[1.0], [3.0]])
    assert (mean.value, mean.error) == (2.0, 1.0)
    gain = quality.paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert (gain.value, gain.error) == (1.0, 0.0)


def test_one_impossible_point_costs_everything() -> None:
    found = quality.log_likelihood(lambda p: np.where(p[:, 0] > 0, 0.0, -np.inf), [1.0, -1.0, 2.0])
    assert (found.value, found.error) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    "wrong", [lambda p: p, lambda p: p[:, 0] * np.nan, lambda p: p[:, 0] + np.inf, lambda p: 1.0]
)
def test_log_likelihoods_are_one_logarithm_a_point(wrong: Callable[[Array], Array]) -> None:
    with pytest.raises(pma.InvalidInputError, match="log_density gave"):
        quality.log_likelihood(wrong, np.ones((5, 2)))


def test_paired_differences_lose_the_common_noise() -> None:
    noise = _normal(1, 1000, 1)[:, 0]
    small = 1e-3 * _normal(2, 1000, 1)[:, 0]
    found = quality.paired_difference(noise + 0.01 + small, noise)
    assert found.error == pytest.approx(small.std(ddof=1) / math.sqrt(1000), rel=1e-9)
    assert abs(found.value - 0.01) < 4 * found.error
    with pytest.raises(pma.InvalidInputError, match="same points"):
        quality.paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])


def test_mmd_is_unbiased_for_its_closed_form() -> None:
    """E k = (b^2 / (b^2 + s^2 + t^2))^{d/2} exp(-|a - b|^2 / 2 (b^2 + s^2 + t^2)) of normals."""
    dim, shift, spread, width = 2, 0.5, 0.7, 0.8

    def expected(variance: float, distance: float) -> float:
        total = width**2 + variance
        return float((width**2 / total) ** (dim / 2) * math.exp(-(distance**2) * dim / (2 * total)))

    exact = expected(2.0, 0) + expected(2 * spread**2, 0) - 2 * expected(1 + spread**2, shift)
    found = np.array([
        quality.mmd(_normal(k, 60), _normal(1000 + k, 40, mean=shift, spread=spread),
                    bandwidth=width)
        for k in range(200)
    ])  # fmt: skip
    error = found.std(ddof=1) / math.sqrt(found.size)
    assert error < 0.05 * exact
    assert abs(found.mean() - exact) < 4 * error


def test_mmd_of_one_law_is_about_zero_and_of_either_sign() -> None:
    found = np.array([quality.mmd(_normal(k, 50), _normal(500 + k, 50)) for k in range(100)])
    assert (found < 0).any() and (found > 0).any()
    assert abs(found.mean()) < 4 * found.std() / 10


def test_the_kernel_is_as_wide_as_the_median_distance_of_sorted_points_too() -> None:
    x, y = np.sort(_normal(1, 1500, 1), axis=0), np.sort(_normal(2, 1500, 1, mean=2.0), axis=0)
    width = float(np.median(scipy.spatial.distance.pdist(np.concatenate([x, y]))))
    found = quality.mmd(x, y)
    assert found == pytest.approx(quality.mmd(x, y, bandwidth=width), rel=0.02)
    assert found != pytest.approx(quality.mmd(x, y, bandwidth=width / 2), rel=0.1)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, "wide", True])
def test_widths_are_lengths(width: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="bandwidth is"):
        quality.mmd(_normal(0, 5), _normal(1, 5), bandwidth=width)


def test_energy_distance_on_a_line_is_twice_the_distance_of_the_cdfs() -> None:
    x, y = _normal(0, 37, 1), _normal(1, 53, 1, mean=0.4)
    exact = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert quality.energy_distance(x, y) == pytest.approx(exact, rel=1e-12)
    assert quality.energy_distance(x, x) == pytest.approx(0, abs=1e-14)
    assert quality.energy_distance([0.0, 0.0], [3.0, 3.0]) == pytest.approx(6)


def test_energy_distance_of_uniform_laws_a_shift_apart() -> None:
    """2 int (F - G)^2 = 2 a^2 - 2 a^3 / 3 for U(0, 1) and U(a, 1 + a)."""
    x = (np.arange(2000) + 0.5)[:, None] / 2000
    a = 0.3
    assert quality.energy_distance(x, x + a) == pytest.approx(2 * a**2 - 2 * a**3 / 3, rel=1e-5)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _normal(0, 100), _normal(1, 90, mean=0.2)

    def all_three() -> list[float]:
        return [
            quality.mmd(x, y), quality.energy_distance(x, y),
            quality.energy_threshold(x, y, seed=0, level=0.05),
        ]  # fmt: skip

    whole = all_three()
    monkeypatch.setattr(quality, "ROWS_AT_A_TIME", 7)
    np.testing.assert_allclose(all_three(), whole, rtol=1e-10)


def test_the_threshold_is_a_distance_of_a_division() -> None:
    x, y = _normal(0, 12), _normal(1, 9)
    both, generator = np.concatenate([x, y]), np.random.default_rng(3)
    distances = []
    for _ in range(19):
        order = generator.permutation(21)
        distances.append(quality.energy_distance(both[order[:12]], both[order[12:]]))
    largest = quality.energy_threshold(x, y, seed=3, level=0.05)
    assert largest == pytest.approx(max(distances), rel=1e-10)
    third = quality.energy_threshold(x, y, seed=3, permutations=19, level=0.15)
    assert third == pytest.approx(sorted(distances)[-3], rel=1e-10)


def test_the_threshold_has_its_level_and_tells_laws_apart() -> None:
    apart = one = 0
    for k in range(200):
        x, y = _normal(k, 40), _normal(900 + k, 40)
        one += quality.energy_distance(x, y) > quality.energy_threshold(x, y, seed=k, level=0.1)
        y = y + 1.0
        apart += quality.energy_distance(x, y) > quality.energy_threshold(x, y, seed=k, level=0.1)
    low, high = scipy.stats.binom.interval(0.999, 200, 0.1)
    assert low <= one <= high
    assert apart > 190


@pytest.mark.parametrize("options", [{"level": 0.0}, {"level": 1.0}, {"level": "x"},
                                     {"permutations": 10}])  # fmt: skip
def test_levels_need_permutations(options: dict[str, Any]) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"level|permutations"):
        quality.energy_threshold(_normal(0, 5), _normal(1, 5), seed=0, **options)


def test_w2_of_a_shift_is_the_shift() -> None:
    grid = pma.Grid((40, 40), (-5.0, -5.0), (5.0, 5.0))
    x = np.clip(_normal(0, 20_000, spread=0.7), -3.4, 3.4)
    shift = np.array([1.5, -0.75])  # whole cells
    assert quality.w2(x, x + shift, grid) == pytest.approx(math.hypot(*shift), rel=1e-3)
    assert quality.w2(x, x, grid) < 1e-4


def test_w2_of_samples_is_that_of_their_points_up_to_the_bins() -> None:
    case = eight_gaussians()
    x, y = case.sample(600, 1), case.sample(600, 2)
    exact = math.sqrt(ot.emd2([], [], ot.dist(x, y)))
    assert quality.w2(x, y, case.grid(64)) == pytest.approx(exact, rel=0.05)


def test_w2_needs_a_grid_around_the_points() -> None:
    with pytest.raises(pma.InvalidInputError, match="y has point 2"):
        quality.w2([0.1, 0.2, 0.3], [0.1, 0.2, 1.3], pma.Grid(8))


def test_modes_are_counted() -> None:
    case = eight_gaussians()
    points = case.sample(4000, 0)
    masses = quality.mode_masses(points, case.mode_of, case.modes)
    assert masses.sum() == pytest.approx(1)
    np.testing.assert_allclose(masses, 1 / 8, atol=5 * math.sqrt(1 / 8 * 7 / 8 / 4000))
    assert quality.coverage(masses, case.mode_masses) == 1
    few = quality.mode_masses(points[case.mode_of(points) < 3], case.mode_of, case.modes)
    assert quality.coverage(few, case.mode_masses) == 3 / 8
    assert quality.coverage([0.04, 0.96], [0.1, 0.9]) == 0.5
    assert quality.coverage([0.04, 0.96], [0.1, 0.9], share=0.3) == 1


@pytest.mark.parametrize("wrong", [lambda p: p[:, 0], lambda p: np.full(len(p), 8), lambda p: 0])
def test_labels_of_modes_are_checked(wrong: Callable[[Array], Array]) -> None:
    with pytest.raises(pma.InvalidInputError, match="mode_of gave"):
        quality.mode_masses(np.ones((5, 2)), wrong, 8)


def test_masses_of_modes_match() -> None:
    with pytest.raises(pma.InvalidInputError, match="masses has shape"):
        quality.coverage([0.5, 0.5], [1.0])


@pytest.mark.parametrize(
    "wrong", [[[1.0, np.nan], [0.0, 0.0]], [[1.0, 2.0]], np.zeros((3, 2, 2)), ["a", "b"]]
)
def test_points_are_checked(wrong: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="x has shape"):
        quality.energy_distance(wrong, _normal(0, 5))


def test_coordinates_agree() -> None:
    with pytest.raises(pma.InvalidInputError, match="x has 2 coordinates and y 3"):
        quality.mmd(_normal(0, 5), _normal(0, 5, 3))
