"""Distances between samples against closed forms."""

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import quality


def test_mmd_of_shifted_gaussians() -> None:
    """E k(x, y) of normal laws is normal again: (s^2/(s^2+2))^{d/2} exp(-|m|^2 / 2(s^2+2))."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(4000, 2)), generator.normal((0.8, 0.0), size=(4000, 2))
    exact = (1 / 3) * 2 * (1 - np.exp(-0.64 / 6))
    assert quality.mmd(x, y, bandwidth=1.0) == pytest.approx(exact, abs=6e-3)
    assert abs(quality.mmd(x, generator.normal(size=(4000, 2)), bandwidth=1.0)) < 2e-3


def test_energy_distance_of_points() -> None:
    """Two atoms each: 2 E|X-Y| - E|X-X'| - E|Y-Y'| by hand."""
    assert quality.energy_distance([0.0, 1.0], [0.0, 1.0]) == pytest.approx(0)
    assert quality.energy_distance([0.0, 0.0], [3.0, 3.0]) == pytest.approx(6)


def test_energy_threshold_tells_laws_apart() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(500, 2)), generator.normal(size=(500, 2))
    threshold = quality.energy_threshold(x, y, seed=0)
    assert quality.energy_distance(x, y) < threshold
    assert quality.energy_distance(x, y + 0.4) > 3 * threshold
    assert threshold == quality.energy_threshold(x, y, seed=0)
    with pytest.raises(pma.InvalidInputError, match="permutations"):
        quality.energy_threshold(x, y, seed=0, permutations=10)


def test_w2_of_a_shift() -> None:
    x = np.random.default_rng(2).normal(size=(3000, 2)).clip(-3, 3)
    grid = pma.Grid((48, 48), (-4, -4), (5, 4))
    # eight cells of 3/16 are 1.5: the histograms are shifted by whole cells
    assert quality.w2(x, x + np.array([1.5, 0.0]), grid) == pytest.approx(1.5, rel=2e-2)


def test_likelihoods_modes_and_coverage() -> None:
    mean = quality.log_likelihood(lambda x: x[:, 0], [[1.0], [3.0]])
    assert (mean.value, mean.error) == (2.0, 1.0)
    lost = quality.log_likelihood(lambda x: np.array([0.0, -np.inf]), [[1.0], [3.0]])
    assert lost.value == -np.inf
    gain = quality.paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert (gain.value, gain.error) == (1.0, 0.0)
    masses = quality.mode_masses([[0.1], [0.2], [0.9]], lambda x: (x[:, 0] > 0.5).astype(int), 3)
    assert masses.tolist() == [2 / 3, 1 / 3, 0.0]
    assert quality.coverage(masses, np.array([0.5, 0.3, 0.2])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("call", [quality.mmd, quality.energy_distance])
def test_bad_points_are_refused(call: object) -> None:
    assert callable(call)
    for x, y, message in (
        ([1.0], [1.0, 2.0], "x has shape"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], "not finite"),
        ([[1.0], [2.0]], [[1.0, 2.0], [2.0, 3.0]], "coordinates"),
    ):
        with pytest.raises(pma.InvalidInputError, match=message):
            call(x, y)
    with pytest.raises(pma.InvalidInputError, match="same points"):
        quality.paired_difference([1.0], [1.0, 2.0])
