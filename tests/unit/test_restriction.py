"""Targets continued beyond their domain: log-linear densities exactly, zeros, rough data."""

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.problem.floors import continued

GRID = pma.Grid((32, 27))
EGG = pma.Ellipse((0.5, 0.45), axes=(0.4, 0.3))


def _log_linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(x + 2 * y))


def test_a_log_linear_density_goes_on_as_it_is() -> None:
    averages = EGG.averages(_log_linear, GRID, quadrature=4)
    values, report = continued(pma.Density(averages, GRID), EGG, 1e-3)
    x, y = GRID.coordinates()
    ratio = values / _log_linear(x, y)
    assert np.ptp(ratio[EGG.fractions(GRID) > 0]) / ratio.mean() < 1e-12
    assert values.min() > 0 and report.cells == 0
    # the mass is that of the domain, whatever stands outside
    inside = (values * EGG.fractions(GRID)).sum() * GRID.cell_volume
    assert inside == pytest.approx(1.0, rel=2e-3)


def test_values_of_cut_cells_do_not_matter() -> None:
    parts = EGG.fractions(GRID)
    values = parts.copy()
    values[(parts > 0) & (parts < 1)] = 0.1
    density, _ = continued(pma.Density(values, GRID), EGG, 1e-3)
    np.testing.assert_allclose(density, density[16, 13], rtol=1e-12)


def test_zeros_inside_are_floored_and_reported() -> None:
    values = EGG.fractions(GRID)
    values[16, 13] = 0.0
    density, report = continued(pma.Density(values, GRID), EGG, 1e-3)
    mean = 1 / (EGG.fractions(GRID).sum() * GRID.cell_volume)
    assert report.cells == 1 and report.relative == 1e-3
    assert density[16, 13] == pytest.approx(1e-3 * mean)
    chosen, report = continued(pma.Density(values, GRID, floor=0.5), EGG, 1e-3)
    assert report.relative == 0.5 and chosen.min() == pytest.approx(0.5 * mean)


def test_noise_is_not_continued_beyond_its_range() -> None:
    noise = np.random.default_rng(0).uniform(0.1, 1.0, GRID.shape) * EGG.fractions(GRID)
    target = pma.Density(noise, GRID)
    values, _ = continued(target, EGG, 1e-3)
    whole = target.values[EGG.fractions(GRID) == 1.0]
    # a quarter in the logarithm a layer at most
    assert whole.min() * np.exp(-0.75) <= values.min()
    assert values.max() <= whole.max() * np.exp(0.75)


def test_a_domain_within_a_cell_has_its_average() -> None:
    dot = pma.Ellipse((0.5, 0.5), axes=0.004)
    grid = pma.Grid((9, 9))
    values, _ = continued(pma.Density(dot.fractions(grid), grid), dot, 1e-3)
    np.testing.assert_allclose(values, 1 / (np.pi * 0.004**2), rtol=1e-9)
