"""Input at the ends of what densities can be: points, lines, subnormals, thousands of nats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special

import pma_grid as pma
from pma_grid import Polygon

Array = np.ndarray
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])
CELLS = {1: 64, 2: 32, 3: 12}


def _bell(n: int, sigma: float, centre: float = 0.5) -> Array:
    """Averages of a Gaussian over n cells of [0, 1]."""
    faces = (np.linspace(0, 1, n + 1) - centre) / sigma
    below, above = special.ndtr(faces), special.ndtr(-faces)
    masses = np.where(faces[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    return np.asarray(n * masses)


def _one_cell(dim: int) -> tuple[Array, float]:
    """All mass in a cell off the centre, and where that cell is along every axis."""
    n = CELLS[dim]
    values = np.zeros((n,) * dim)
    values[(n // 3,) * dim] = 1.0
    return values, (n // 3 + 0.5) / n


def _solved(source: Any, target: Any, **options: Any) -> pma.Transport:
    """A success whose fields are finite."""
    ot = pma.solve(pma.Problem(source, target, **options))
    assert ot.converged
    for field in (ot.potential, ot.gradient, ot.w2):
        assert np.isfinite(field).all()
    return ot


# ---- points --------------------------------------------------------------------------------------


@DIMS
@pytest.mark.parametrize("spread_first", [False, True])
def test_one_cell_to_everywhere(dim: int, spread_first: bool) -> None:
    """Between the laws that are constant on the cell and that of its centre."""
    one, at = _one_cell(dim)
    pair = (np.ones(one.shape), one) if spread_first else (one, np.ones(one.shape))
    ot = _solved(*pair)
    atom = dim * ((at - 0.5) ** 2 + 1 / 12)
    cell = dim * ((at - 0.5) ** 2 + (1 - 1 / CELLS[dim]) ** 2 / 12)
    assert 0.98 * cell <= ot.w2**2 <= 1.02 * atom


@DIMS
def test_one_cell_to_another(dim: int) -> None:
    one, at = _one_cell(dim)
    ot = _solved(one, np.ascontiguousarray(one[(slice(None, None, -1),) * dim]))
    assert ot.w2 == pytest.approx(math.sqrt(dim) * (1 - 2 * at), rel=5e-3)


# ---- lines: covariances are singular -------------------------------------------------------------


def _line(n: int, axis: int) -> Array:
    """A Gaussian of sigma .1 along the middle column or row."""
    values = np.zeros((n, n))
    values[(slice(None), n // 2) if axis == 0 else (n // 2, slice(None))] = _bell(n, 0.1)
    return values


def test_a_line_moves_sideways() -> None:
    ot = _solved(_line(32, 0), np.roll(_line(32, 0), -8, axis=1))
    assert ot.w2 == pytest.approx(0.25, rel=2e-3)


def test_a_line_turns() -> None:
    """Onto the one across: both sides' variances, .01 each, and the width of a cell."""
    ot = _solved(_line(32, 0), _line(32, 1))
    # the middle of a cell is half a cell off that of the box, on both sides
    assert ot.w2**2 == pytest.approx(2 * (0.01 + (0.5 / 32) ** 2), rel=0.05)


def test_a_diagonal_onto_a_line() -> None:
    """(t, t) to (t, 1/2): the variance of t, and half a cell."""
    ot = _solved(np.diag(_bell(32, 0.1)), _line(32, 0))
    assert ot.w2**2 == pytest.approx(0.01 + (0.5 / 32) ** 2, rel=0.05)


# ---- ranges --------------------------------------------------------------------------------------


def test_subnormals_are_numbers_like_others() -> None:
    """A bell as wide as a cell, tails as small as numbers can be, onto everywhere."""
    sigma, at = 0.02, 0.4
    values = np.outer(_bell(48, sigma, at), _bell(48, sigma, at))
    ot = _solved(np.maximum(values, 5e-324), np.ones((48, 48)))
    line = (at - 0.5) ** 2 + 1 / 12 + sigma**2 - sigma / math.sqrt(math.pi)
    assert ot.w2**2 == pytest.approx(2 * line, rel=3e-3)


def test_units_of_subnormal_densities_do_not_matter() -> None:
    values = np.outer(_bell(16, 0.2), _bell(16, 0.15))
    ordinary, small = (_solved(values * unit, np.ones((16, 16))) for unit in (1.0, 2.0**-1000))
    np.testing.assert_array_equal(ordinary.gradient, small.gradient)


@pytest.mark.parametrize(("a", "b"), [(0.04, 0.06), (0.012, 0.013)])
def test_thousands_of_nats(a: float, b: float) -> None:
    """Gaussians by their logarithms; no double holds what lies between."""
    grid = pma.Grid((64, 64))

    def bell(centre: float, sigma: float) -> pma.Density:
        return pma.Density.from_log(
            lambda x, y: -0.5 * ((x - centre) ** 2 + (y - centre) ** 2) / sigma**2, grid
        )

    ot = _solved(bell(0.4, a), bell(0.6, b))
    assert ot.w2**2 == pytest.approx(2 * (0.04 + (a - b) ** 2), rel=1e-4)


# ---- boxes ---------------------------------------------------------------------------------------


def test_crops_that_do_not_overlap() -> None:
    first, second = (np.outer(_bell(64, 0.02, c), _bell(64, 0.02, c)) for c in (0.15, 0.85))
    ot = _solved(first, second)
    assert ot.w2 == pytest.approx(0.7 * math.sqrt(2), rel=1e-6)
    heavy = first > 1e-3 * first.max()
    x = np.stack(np.meshgrid(*[(np.arange(64) + 0.5) / 64] * 2, indexing="ij"))
    np.testing.assert_allclose((ot.gradient - x)[:, heavy], 0.7, atol=1e-3)


@pytest.mark.parametrize(("n", "bound"), [(32, 8e-3), (64, 1.2e-3)])
def test_a_bell_fills_a_convex_domain(n: int, bound: float) -> None:
    """Onto the uniform law of a disc: R sqrt(F(r)) along rays, F the mass up to r."""
    sigma, radius = 0.08, 0.4
    angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    disc = Polygon(0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    grid = pma.Grid((n, n))
    bell = np.outer(_bell(n, sigma), _bell(n, sigma))
    ot = _solved(bell, disc.fractions(grid), target_domain=disc)
    assert ot.status is pma.Status.CONVERGED

    def ray(r: float) -> float:
        density = r / sigma**2 * math.exp(-0.5 * (r / sigma) ** 2)
        return density * (radius * math.sqrt(-math.expm1(-0.5 * (r / sigma) ** 2)) - r) ** 2

    exact = integrate.quad(ray, 0, 10 * sigma)[0]
    assert ot.w2**2 == pytest.approx(exact, rel=5e-3)
    away = grid.coordinates() - 0.5
    r = np.sqrt((away**2).sum(0))
    missed = ot.gradient - 0.5 - away * (radius * np.sqrt(-np.expm1(-0.5 * (r / sigma) ** 2)) / r)
    assert (bell * (missed**2).sum(0)).mean() <= bound**2 * exact
    assert disc.contains(ot.gradient.reshape(2, -1).T).all()


def test_thin_data_on_both_sides_of_a_domain() -> None:
    """Far from the rim a domain makes no difference: Gaussians are mapped affinely."""
    n, wide, narrow = 48, 0.08, 0.06
    disc = pma.Ellipse((0.5, 0.5), axes=0.4)
    source, target = (np.outer(b, b) for b in (_bell(n, wide), _bell(n, narrow)))
    ot = _solved(source, target * disc.fractions(pma.Grid((n, n))), target_domain=disc)
    assert ot.status is pma.Status.CONVERGED
    assert ot.w2 == pytest.approx((wide - narrow) * math.sqrt(2), rel=5e-3)


@pytest.mark.parametrize("shape", [(64, 1), (1, 64), (1, 1)])
@pytest.mark.parametrize("few_first", [False, True])
def test_axes_of_one_cell(shape: tuple[int, int], few_first: bool) -> None:
    """Uniform laws, however few cells they are given on."""
    sigma = 0.05
    bell, few = np.outer(_bell(32, sigma), _bell(32, sigma)), np.ones(shape)
    ot = _solved(*((few, bell) if few_first else (bell, few)))
    exact = 2 * (1 / 12 + sigma**2 - sigma / math.sqrt(math.pi))
    assert ot.w2**2 == pytest.approx(exact, rel=5e-3)
    assert _solved(few, np.ones((32, 32))).w2 == pytest.approx(0.0, abs=1e-6)


@DIMS
def test_single_cells(dim: int) -> None:
    assert _solved(np.ones((1,) * dim), np.ones((1,) * dim)).w2 == 0.0


@pytest.mark.parametrize("shape", [(1,), (8, 1), (1, 8), (4, 1, 6), (1, 1, 1)])
def test_axes_of_one_cell_stretch_as_others_do(shape: tuple[int, ...]) -> None:
    """Uniform laws on boxes of other lengths: middles shift, stretches add (L - L0)^2 / 12."""
    lower, lengths = np.array([0.5, -1.0, 0.0])[: len(shape)], np.array([3.0, 0.2, 10.0])
    onto = pma.Grid(shape, lower, lower + lengths[: len(shape)])
    ot = _solved(np.ones(shape), pma.Density(np.ones(shape), onto))
    middles = lower + 0.5 * lengths[: len(shape)] - 0.5
    exact = (middles**2 + (lengths[: len(shape)] - 1) ** 2 / 12).sum()
    assert ot.w2**2 == pytest.approx(exact, rel=1e-12)


def test_what_rounding_keeps_from_a_tolerance_is_not_lost() -> None:
    """The potential comes with the error, and the residual that it has."""
    bell = np.outer(_bell(48, 0.05, 0.4), _bell(48, 0.05))
    problem = pma.Problem(bell, np.ones((48, 48)))
    with pytest.raises(pma.ConvergenceError) as error:
        pma.solve(problem, tol=1e-15)
    lost, ot = error.value.result, pma.solve(problem)
    assert lost.stats.residual < 1e-9
    np.testing.assert_allclose(lost.gradient, ot.gradient, atol=1e-3)
    assert len(lost.stats["candidates"]) == len(ot.stats["candidates"]) == 1
