"""Axes of few cells: the same density on more cells, solved there and given on the data's."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.entropic.coarsening import coarsened
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.refining import first_factors, has_few_cells, refined, settled

CENTRES = (np.arange(32) + 0.5) / 32
RIDGE = np.exp(-0.5 * ((CENTRES - 0.5) / 0.04) ** 2)


def _rough(shape: tuple[int, ...], seed: int) -> np.ndarray:
    values = np.exp(np.random.default_rng(seed).normal(size=shape))
    values[(0,) * len(shape)] = 0.0
    return values


@pytest.mark.parametrize("shapes", [((5,), (9,)), ((2, 9), (1, 3)), ((3, 1, 4), (9, 1, 6))])
def test_averages_stay_and_nothing_is_negative(shapes: Any) -> None:
    problem = pma.Problem(_rough(shapes[0], 0) * 7, _rough(shapes[1], 1) + 0.1)
    fine = refined(problem, first_factors(problem))
    for given, divided in ((problem.source, fine.source), (problem.target, fine.target)):
        again = divided.resampled(given.grid)
        np.testing.assert_allclose(again.values, given.values, rtol=1e-13, atol=1e-15)
        assert divided.values.min() >= 0 and divided.mass == pytest.approx(given.mass)
    assert not has_few_cells(fine)


def test_densities_between_are_smooth_and_of_second_order() -> None:
    errors = []
    for n in (4, 7):
        faces = np.linspace(0, 1, n + 1)
        averages = 1 + 0.5 * np.diff(np.sin(np.pi * faces)) / np.pi * n
        problem = pma.Problem(averages, np.ones(9))
        fine = refined(problem, ((16,), (1,))).source
        exact = 1 + 0.5 * np.cos(np.pi * fine.grid.axes[0])
        errors.append(np.abs(fine.values - exact).max())
    assert errors[0] < 0.02 and errors[0] / errors[1] > (7 / 4) ** 2


@pytest.mark.parametrize("n", [1, 2])
def test_of_one_or_two_cells_nothing_is_known_between(n: int) -> None:
    values = np.arange(1.0, n + 1)
    fine = refined(pma.Problem(values, np.ones(9)), ((4,), (1,))).source
    np.testing.assert_allclose(fine.values, (values / values.mean()).repeat(4))


def test_only_axes_of_few_cells_are_divided() -> None:
    problem = pma.Problem(np.ones((2, 1, 9)), np.ones((9, 1, 3)))
    assert first_factors(problem) == ((4, 1, 1), (1, 1, 3))
    plain = pma.Problem(np.ones((8, 1)), np.ones((9, 1)))
    assert not has_few_cells(plain) and refined(plain, first_factors(plain)).source is plain.source


def test_a_target_with_a_domain_is_not_divided() -> None:
    disc = pma.Ellipse((0.5, 0.5), axes=0.45)
    grid = pma.Grid((6, 6))
    target = pma.Density(disc.fractions(grid), grid)
    problem = pma.Problem(np.ones((4, 9)), target, target_domain=disc)
    assert first_factors(problem) == ((2, 1), (1, 1))


class _Counted:
    """Solutions of given W2^2, in order."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, problem: pma.Problem) -> Any:
        self.shapes.append(problem.source.shape)
        return SimpleNamespace(w2_squared=self.values.pop(0))


def test_cells_are_divided_until_w2_settles_at_most_twice_more() -> None:
    problem = pma.Problem(np.ones((2, 32)), np.ones((32, 32)))
    settled_at_once = _Counted(0.5, 0.5 + 0.09 / 32**2, 9.0)
    assert settled(problem, settled_at_once).w2_squared < 1
    assert settled_at_once.shapes == [(8, 32), (16, 32)]
    never = _Counted(0.5, 0.6, 0.7)
    assert settled(problem, never).w2_squared == 0.7
    assert never.shapes == [(8, 32), (16, 32), (32, 32)]


def test_a_ridge_across_two_cells_is_seen() -> None:
    problem = pma.Problem(np.ones((2, 32)), np.outer(RIDGE, np.ones(32)))
    ot = pma.solve(problem)
    assert ot.w2 == pytest.approx(0.25, rel=1e-2)
    assert ot.gradient.shape == (2, 2, 32) and ot.problem is problem
    # the halves of the source go to the halves of the ridge
    half = 0.04 * np.sqrt(2 / np.pi)
    np.testing.assert_allclose(ot.cell_means[0, :, 5], [0.5 - half, 0.5 + half], atol=1e-3)


def test_quality_is_told_on_the_finer_cells() -> None:
    ridge = np.outer(RIDGE, np.ones(32))
    few, many = (pma.assess(pma.solve(pma.Problem(np.ones((n, 32)), ridge))) for n in (2, 32))
    # on the two cells themselves the one would be 1, the other off by a tenth
    assert few["push_forward_error"] == pytest.approx(many["push_forward_error"], rel=0.2)
    assert few["transport_cost"] == pytest.approx(many["transport_cost"], rel=5e-3)


def test_one_cell_against_many_on_both_axes() -> None:
    x = (np.arange(256) + 0.5) / 256
    line = 1 + 0.5 * np.cos(np.pi * x)
    ot = pma.solve(pma.Problem(line[:, None], line[None]))
    fine = np.outer(line.reshape(32, 8).mean(axis=1), np.ones(32))
    assert ot.w2 == pytest.approx(pma.solve(pma.Problem(fine, fine.T)).w2, rel=2e-3)
    assert ot.potential.shape == (256, 1) and ot.stats["levels"][-1]["shape"] == [256, 32]


def test_answers_of_divided_data_are_saved(tmp_path: Any) -> None:
    ot = pma.solve(pma.Problem([1.0, 3.0, 2.0, 1.0], [1.0, 1.0, 4.0]))
    assert type(ot) is pma.Transport
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    assert again.w2 == ot.w2 and again.problem.source.shape == (4,)
    np.testing.assert_array_equal(again.cell_means, ot.cell_means)


def test_plans_of_finer_cells_are_summed() -> None:
    values = np.ones((64, 64))
    values[:, 0] = 0
    problem = pma.Problem(np.ones((64, 4)), values)
    sk = pma.sinkhorn(refined(problem, ((1, 4), (1, 1))), 2e-4, method="multiscale")
    found = coarsened(sk, problem)
    assert isinstance(found, EntropicTransport) and found.plan is not None and sk.plan is not None
    assert found.w2 == sk.w2 and found.potential.shape == (64, 4)
    masses = np.asarray(found.plan.sum(axis=1)).reshape(64, 4)
    np.testing.assert_allclose(masses, problem.source.values / 256, atol=1e-8)
    np.testing.assert_allclose(found.plan.sum(), sk.plan.sum())
    y = problem.target.grid.points
    expected = (found.plan @ y).reshape(64, 4, 2) / masses[..., None]
    np.testing.assert_allclose(np.moveaxis(expected, -1, 0), found.gradient, atol=1e-6)


def test_failures_carry_the_result_on_the_grid_of_the_data() -> None:
    problem = pma.Problem(_rough((5, 5), 2) + 0.1, _rough((6, 7), 3) + 0.1)
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(problem, max_iterations=1, tol=1e-12, fallback=False)
    assert caught.value.result.potential.shape == (5, 5)
