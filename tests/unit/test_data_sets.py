"""Laws for generative modelling: densities against quadrature, samples against densities."""

import math
from functools import cache, reduce
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, chi2

import pma_grid as pma
from pma_grid.cases import DATA_SETS, DataSet, data_set, gaussian_mixture

NAMES = [*DATA_SETS, "mixture_1d", "mixture_2d", "mixture_3d"]


@cache
def _case(name: str) -> DataSet:
    return gaussian_mixture(int(name[-2])) if name.startswith("mixture") else data_set(name)


every = pytest.mark.parametrize("name", NAMES)


def _gauss(case: DataSet, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (d, m) and weights of three Gauss points an axis in each cell, not the midpoints."""
    nodes, weights = np.polynomial.legendre.leggauss(3)
    axes, sides = [], []
    for low, high in case.box:
        h = (high - low) / cells
        axes.append((low + h * (np.arange(cells)[:, None] + 0.5 * (nodes + 1))).ravel())
        sides.append(np.tile(weights * h / 2, cells))
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(case.dim, -1)
    return points, reduce(np.multiply.outer, sides).ravel()


@every
def test_densities_integrate_to_one(name: str) -> None:
    case = _case(name)
    points, weights = _gauss(case, {1: 200, 2: 160, 3: 40}[case.dim])
    values = np.exp(case.log_density(*points))
    assert float((weights * values).sum()) == pytest.approx(1, abs=2e-6)


@every
def test_cell_averages_are_those_of_the_density(name: str) -> None:
    case = _case(name)
    n = {1: 32, 2: 32, 3: 16}[case.dim]
    grid = case.grid(n)
    points, weights = _gauss(case, {1: 10, 2: 5, 3: 3}[case.dim] * n)
    masses = weights * np.exp(case.log_density(*points))
    flat = np.ravel_multi_index(tuple(grid.cell_index(points.T).T), grid.shape)
    exact = np.bincount(flat, masses, minlength=grid.size).reshape(grid.shape)
    found = case.density(grid, quadrature=8).values * grid.cell_volume
    assert np.abs(found - exact).sum() < 1e-4


@every
def test_samples_have_the_density(name: str) -> None:
    case = _case(name)
    grid = case.grid({1: 64, 2: 32, 3: 12}[case.dim])
    points = case.sample(50_000, 1)
    assert grid.contains(points).all()
    expected = case.density(grid, quadrature=8).values.ravel() * grid.cell_volume * len(points)
    counts = pma.Samples(points, grid=grid).masses().ravel() * len(points)

    def p_value(counts: np.ndarray) -> float:
        many = expected >= 5
        few = counts[~many].sum(), expected[~many].sum()
        statistic = ((counts - expected)[many] ** 2 / expected[many]).sum()
        statistic += (few[0] - few[1]) ** 2 / max(few[1], 1.0)
        return float(chi2.sf(statistic, many.sum()))

    assert p_value(counts) > 1e-3
    moved = points + 0.3 * np.array(grid.spacing)  # of which the test must be aware
    shifted = pma.Samples(moved[grid.contains(moved)], grid=grid).masses().ravel()
    assert p_value(shifted * len(points)) < 1e-6


@every
def test_mean_log_density_is_minus_the_entropy(name: str) -> None:
    case = _case(name)
    found = pma.quality.log_likelihood(lambda p: case.log_density(*p.T), case.sample(50_000, 2))
    assert abs(found.value + case.entropy()) <= 4 * found.error + 1e-12


@every
def test_modes_have_their_masses(name: str) -> None:
    case = _case(name)
    assert case.mode_masses.shape == (case.modes,)
    assert case.mode_masses.sum() == pytest.approx(1, abs=1e-5)
    counts = pma.quality.mode_masses(case.sample(50_000, 3), case.mode_of, case.modes) * 50_000
    low, high = binom.interval(1 - 1e-4, 50_000, case.mode_masses)
    assert ((low <= counts) & (counts <= high)).all()


def test_entropies_in_closed_form() -> None:
    assert data_set("checkerboard").entropy() == pytest.approx(math.log(32), abs=1e-12)
    apart = math.log(8) + 1 + math.log(2 * math.pi * 0.25**2)  # as if none overlapped
    assert data_set("eight_gaussians").entropy() == pytest.approx(apart, abs=2e-3)


def test_rings_are_means_over_the_angle() -> None:
    case = data_set("circles")
    x = np.array([[0.0, 1.4, -2.0, 3.3], [0.0, 0.3, 1.1, -0.5]])
    angle = 2 * np.pi * np.arange(4096) / 4096
    total = np.zeros(4)
    for radius in (1.5, 3.0):
        on = radius * np.stack([np.cos(angle), np.sin(angle)])
        squares = ((x[:, :, None] - on[:, None, :]) ** 2).sum(axis=0)
        total += 0.5 * np.exp(-squares / 0.08).mean(axis=1) / (0.08 * np.pi)
    np.testing.assert_allclose(case.log_density(*x), np.log(total), atol=1e-5)


def test_moons_are_means_over_their_arcs() -> None:
    case = data_set("two_moons")
    x = np.array([[-3.0, 1.0, 0.0, 2.9, 3.5], [-0.5, -1.4, 0.2, 0.6, -3.0]])
    angle = np.pi * (np.arange(20_000) + 0.5) / 20_000
    total = np.zeros(5)
    for centre, sign in (((-1.0, -0.5), 1), ((1.0, 0.5), -1)):
        on = np.array(centre)[:, None] + 2 * sign * np.stack([np.cos(angle), np.sin(angle)])
        squares = ((x[:, :, None] - on[:, None, :]) ** 2).sum(axis=0)
        total += 0.5 * np.exp(-squares / 0.08).mean(axis=1) / (0.08 * np.pi)
    np.testing.assert_allclose(case.log_density(*x), np.log(total), atol=1e-5)


def test_labels_follow_the_parts_that_points_come_from() -> None:
    arms = data_set("pinwheel")
    first = arms.sample(2000, 4)
    turn = 2 * np.pi / arms.modes
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = arms.mode_of(first @ rotation.T)
    np.testing.assert_array_equal(turned, (arms.mode_of(first) + 1) % arms.modes)
    inner = data_set("circles").mode_of([[1.4, 0.0], [0.0, 3.3], [0.1, 0.0]])
    assert inner.tolist() == [0, 1, 0]


@every
def test_same_seed_same_points(name: str) -> None:
    case = _case(name)
    np.testing.assert_array_equal(case.sample(50, 3), case.sample(50, 3))
    assert not np.array_equal(case.sample(50, 3), case.sample(50, 4))
    assert case.sample(0, 3).shape == (0, case.dim)


@pytest.mark.parametrize(("n", "seed", "named"), [(-1, 0, "n is"), (5, None, "seed is")])
def test_counts_and_seeds_are_checked(n: int, seed: Any, named: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=named):
        data_set("circles").sample(n, seed)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(pma.InvalidInputError, match="spiral"):
        data_set("spiral")
