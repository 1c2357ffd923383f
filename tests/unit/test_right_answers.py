"""Right answers on data that make wrong ones look right, the smallest example of each kind.

Values are closed forms, or exact transport of quantiles.  A cell is the larger spacing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from scipy import optimize, special, stats

import pma_grid as pma
from pma_grid import cases
from pma_grid.stationary.candidates import sharp_eps

Array = np.ndarray[Any, np.dtype[np.float64]]
Curve = Callable[[Array], Array]

LARGEST_ALPHA = 1e-2  # of a success: beyond it the grid does not resolve the densities
DRAWS, LEAST_EXPECTED, LEAST_P = 40_000, 5.0, 1e-3  # of chi-square tests


def _answer(problem: pma.Problem) -> pma.Transport:
    """What `solve` found, by its own word or not."""
    try:
        return pma.solve(problem)
    except pma.ConvergenceError as error:
        assert isinstance(error.result, pma.Transport)
        return error.result


def _bell(n: int, sigma: float, centre: float = 0.5) -> Array:
    """Averages of a Gaussian over n cells of [0, 1]."""
    faces = (np.linspace(0, 1, n + 1) - centre) / sigma
    below, above = special.ndtr(faces), special.ndtr(-faces)
    line = np.where(faces[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    return np.asarray(n * line)


def _uniform_to_bell(sigma: float) -> float:
    """W2^2 = 1/12 + sigma^2 - sigma / sqrt(pi): E p Phi^-1(p) = 1 / (2 sqrt(pi))."""
    return 1 / 12 + sigma**2 - sigma / math.sqrt(math.pi)


def _line_value(f: Curve, g: Curve) -> float:
    """W2^2 of two densities on [0, 1], given up to factors, by quantiles."""
    x = np.linspace(0, 1, 100_001)
    middle = 0.5 * (x[1:] + x[:-1])
    below = [np.concatenate([[0.0], np.cumsum(h(middle))]) for h in (f, g)]
    p = (np.arange(200_000) + 0.5) / 200_000
    first, second = (np.interp(p, line / line[-1], x) for line in below)
    return float(((first - second) ** 2).mean())


# ---- unresolved answers --------------------------------------------------------------------------


def test_an_unresolved_result_is_no_success_and_never_nothing() -> None:
    """A gap of one cell in three: .0962 for laws constant on cells, .1925 for atoms."""
    ot = _answer(pma.Problem(np.ones((3, 1)), np.array([[1.0], [1e-8], [1.0]])))
    assert 0.95 * 0.09622 <= ot.w2 <= 1.05 * 0.19245
    assert not ot.converged or abs(ot.mass_constant) <= LARGEST_ALPHA


@pytest.mark.parametrize("last", [0.0, 1e-5])
def test_no_success_misses_the_mean_of_the_target_by_a_cell(last: float) -> None:
    """One long cell has nearly all the mass: slopes limited there move the map many short cells."""
    source = pma.Density(np.outer(np.ones(8), [0, 0, 1, last]), pma.Grid((8, 4), (0, 0), (1, 0.05)))
    ot = _answer(pma.Problem(source, np.ones((8, 193))))
    assert ot.converged
    assert abs((ot.cell_means[1] * source.masses).sum() - 0.5) < 0.5 / 193


@pytest.mark.parametrize("depth", [1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3), (3, 3)])
def test_a_gap_on_few_cells_lies_within_its_models(shape: tuple[int, ...], depth: float) -> None:
    """The same gap along one axis of other grids: the other axis changes nothing."""
    target = np.ones(shape)
    axis = shape.index(3)
    target[(slice(None),) * axis + (1,)] = depth
    ot = _answer(pma.Problem(np.ones(shape), target))
    # of the middle third one half goes to either side: 2/3 int_0^{1/2} of a linear gap, or jumps
    assert 0.95 * 0.0962 <= ot.w2 <= 1.05 * 0.1925
    assert not ot.converged or abs(ot.mass_constant) <= LARGEST_ALPHA


# ---- axes of few cells ---------------------------------------------------------------------------


def test_one_cell_is_spread_over_many() -> None:
    """Uniform on 64 x 1 cells to uniform beyond the first of 64 columns: T = h + (1 - h) y."""
    target = np.ones((64, 64))
    target[:, 0] = 0
    ot = _answer(pma.Problem(np.ones((64, 1)), target))
    assert ot.w2 == pytest.approx(1 / 64 / math.sqrt(3), abs=0.05 / 64)
    assert ot.potential.shape == (64, 1)


@pytest.mark.parametrize("cells", [1, 2, 3, 5])
def test_few_cells_carry_the_same_law_as_many(cells: int) -> None:
    """Uniform, however it is given, to a Gaussian in the middle of the square."""
    sigma = 0.04
    target = np.outer(_bell(32, sigma), _bell(32, sigma))
    ot = pma.solve(pma.Problem(np.ones((cells, 32)), target))
    assert ot.w2**2 == pytest.approx(2 * _uniform_to_bell(sigma), rel=2e-2)
    assert ot.gradient.shape == (2, cells, 32)


def test_long_axes_that_cross() -> None:
    """1 + cos(pi x)/2 on 256 x 1 cells to the same along the other axis: 2 (1/4) / (2 pi^2)."""
    faces = np.linspace(0, 1, 257)
    wave = 1 + 0.5 * np.diff(np.sin(np.pi * faces)) / np.pi * 256
    ot = pma.solve(pma.Problem(wave[:, None], wave[None, :]))
    assert ot.w2**2 == pytest.approx(0.25 / np.pi**2, rel=1e-3)
    assert ot.potential.shape == (256, 1)


# ---- statuses and starts -------------------------------------------------------------------------


def _spots(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Array:
    """Some Gaussians of any place and width on next to nothing."""
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    bells = rng.uniform((0.1, 0.1, 0.01), (0.9, 0.9, 0.1), (count, 3))
    total = sum(np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / c**2) for a, b, c in bells)
    return np.asarray(total + 1e-12)


@pytest.mark.parametrize("seed", [87, *range(12)])
def test_a_success_of_newton_meets_its_tolerance(seed: int) -> None:
    """Also where stages ended before the last of them, on the other side or on finer cells."""
    rng = np.random.default_rng(seed)
    shape = (15, 14) if seed == 87 else tuple(int(n) for n in rng.integers(9, 24, 2))
    ot = _answer(pma.Problem(_spots(rng, shape, 3), _spots(rng, shape, 2)))
    if ot.converged and not isinstance(ot, pma.EntropicTransport):
        assert ot.stats["residual"] <= ot.stats["tol"]


def test_the_answer_on_a_line_is_the_same_from_any_start() -> None:
    x = (np.arange(64) + 0.5) / 64
    gap = np.where((x < 0.2) | (x > 0.7), 1.0, 0.0)
    problem = pma.Problem(np.exp(-0.5 * ((x - 0.3) / 0.03) ** 2), gap)
    cold = pma.solve(problem)
    again = pma.solve(problem, initial=cold)
    np.testing.assert_array_equal(cold.gradient, again.gradient)


@pytest.mark.parametrize("seed", [5, 16])
def test_what_was_found_on_finer_cells_is_found_again(seed: int) -> None:
    """A start that the grid does not resolve is left for what is tried without one."""
    rng = np.random.default_rng(seed)
    problem = pma.Problem(_spots(rng, (24, 24), 3), _spots(rng, (24, 24), 3))
    cold = pma.solve(problem)
    again = pma.solve(problem, initial=cold)
    assert again.converged == cold.converged
    assert again.w2 == pytest.approx(cold.w2, rel=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_the_dual_of_few_cells_bounds_the_atoms_that_were_given(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [tuple(int(n) for n in rng.integers(1, 7, 2)) for _ in range(2)]
    problem = pma.Problem(*(np.exp(2 * rng.normal(size=shape)) for shape in shapes))
    ot = _answer(problem)
    masses = [d.masses.ravel() / d.masses.sum() for d in (problem.source, problem.target)]
    points = [d.grid.points for d in (problem.source, problem.target)]
    cost = ((points[0][:, None] - points[1][None]) ** 2).sum(axis=2)
    rows = np.kron(np.eye(len(points[0])), np.ones(len(points[1])))
    columns = np.kron(np.ones(len(points[0])), np.eye(len(points[1])))
    exact = optimize.linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate(masses)
    ).fun
    assert pma.assess(ot)["hard_dual"] <= exact + 1e-9


# ---- spikes and narrow cells ---------------------------------------------------------------------


def _stepwise(source: Array, target: Array) -> Array:
    """Means over cells of the map between laws on [0, 1] that are constant on cells."""
    ends = [np.concatenate([[0.0], np.cumsum(v / v.sum())]) for v in (source, target)]
    x, fine = np.linspace(0, 1, target.size + 1), np.linspace(0, 1, 512)
    means = []
    for low, high in zip(ends[0][:-1], ends[0][1:], strict=True):
        means.append(np.interp(low + (high - low) * fine, ends[1], x).mean())
    return np.array(means)


@pytest.mark.parametrize("cells", [(39, 67), (67, 39), (13, 145)])
@pytest.mark.parametrize("decades", [2, 8])
def test_spikes_on_a_line_keep_their_masses(cells: tuple[int, int], decades: int) -> None:
    """Most of the mass in one cell, to noise of any contrast: splines would overshoot."""
    source = np.full(cells[0], 4e-3)
    source[cells[0] // 2] = 1.0
    target = 10.0 ** (-decades * np.random.default_rng(decades).random(cells[1]))
    ot = pma.solve(pma.Problem(source, target))
    off = np.abs(ot.cell_means[0] - _stepwise(source, target)) * cells[1]
    assert float(off @ source / source.sum()) < 0.2
    assert off[cells[0] // 2] < 0.2


@pytest.mark.parametrize("t", [0.25, 0.5, 1.0])
def test_laws_between_on_a_line_are_those_of_its_map(t: float) -> None:
    """Onto a law with a gap, where differences of u across it are no derivatives."""
    x = (np.arange(64) + 0.5) / 64
    gap = np.where((x < 0.2) | (x > 0.7), 1.0, 0.0)
    ot = pma.solve(pma.Problem(_bell(64, 0.1, 0.3), gap))
    law, draws = ot.interpolate(t), ot.problem.source.sample(DRAWS, 0)
    moved = ((1 - t) * draws + t * ot.map(draws))[:, 0]
    counted = np.histogram(moved, law.grid.faces[0])[0] / DRAWS
    assert 0.5 * np.abs(counted - law.masses).sum() < 0.03
    # a slope is the ratio of the densities, and a number in the gap
    assert np.isfinite(ot.hessian).all() and ot.hessian.min() >= 0
    assert not ot.residual.any()


def test_the_narrowest_axis_decides_how_sharp_a_plan_is() -> None:
    """Cells of 1 : 16: an eps by their mean size blurs over several along one axis."""
    rng, n = np.random.default_rng(3), 128
    narrow = rng.random(n) + 0.2, np.where(np.arange(n) % 64 < 24, 1.0, 0.0)
    wide = rng.random(8) + 0.5, rng.random(8) + 0.5
    source, target = (np.outer(a, b) for a, b in zip(narrow, wide, strict=True))
    problem = pma.Problem(source, target)
    plan = pma.sinkhorn(problem, sharp_eps(problem), method="multiscale")
    off = np.abs(plan.gradient[0] - _stepwise(*narrow)[:, None]) * n
    assert float((off * source).sum() / source.sum()) < 0.1
    assert sharp_eps(pma.Problem(np.ones((n, n)), np.ones((n, 9 * n // 10)))) is None


# ---- long images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [64, 128])
def test_means_of_cells_with_long_images(n: int) -> None:
    """Uniform to a Gaussian: the mean over a cell [p, q] is sigma (phi(z_p) - phi(z_q)) / h."""
    sigma = 0.1
    ot = pma.solve(pma.Problem(np.ones((n, n)), np.outer(_bell(n, sigma), _bell(n, sigma))))
    z = special.ndtri(np.linspace(0, 1, n + 1))
    line = 0.5 - sigma * np.diff(np.exp(-0.5 * z * z)) / math.sqrt(2 * math.pi) * n
    means: Array = cast(Any, ot).cell_means
    truth = np.stack(np.meshgrid(line, line, indexing="ij"))
    gap = np.abs(means - truth)
    assert max(gap[0][[0, -1]].max(), gap[1][:, [0, -1]].max()) < 1 / n  # cells along faces
    error = math.sqrt(float((gap**2).sum(axis=0).mean()))
    assert error < 1e-2 * math.sqrt(2 * _uniform_to_bell(sigma))
    assert ot.converged


def _chi_square(points: Array, density: pma.Density) -> float:
    """P-value of counts in cells; those that expect few are one."""
    cells = tuple(density.grid.cell_index(points).T)
    counts = np.zeros(density.shape)
    np.add.at(counts, cells, 1)
    expected = len(points) * density.values * density.grid.cell_volume
    many = expected >= LEAST_EXPECTED
    counts, expected = (np.append(v[many], v[~many].sum()) for v in (counts, expected))
    counts, expected = counts[expected > 0], expected[expected > 0]
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, expected.size - 1))


def _logistic(centre: float, scale: float) -> pma.Density:
    """A product of logistic laws, whose tails are exponential, on [-3, 3]^2.

    Scales of two cells and more: draws are uniform within cells, and even the exact map would not
    hide that from the counts where densities change more from cell to cell.
    """

    def logs(x: Array, y: Array) -> Array:
        parts = [np.logaddexp(0, -2 * abs(v - centre) / scale) for v in (x, y)]
        return np.asarray(-abs(x - centre) / scale - abs(y - centre) / scale - sum(parts))

    grid = pma.Grid((64, 64), (-3.0, -3.0), (3.0, 3.0))
    return pma.Density.from_log(logs, grid, quadrature=4)


@pytest.mark.parametrize("name", ["mixtures", "manufactured", "tails"])
def test_draws_follow_both_laws(name: str) -> None:
    problem = {
        "mixtures": lambda: cases.gaussian_mixtures().problem((64, 64)),
        "manufactured": lambda: cases.manufactured(2).problem((64, 64)),
        "tails": lambda: pma.Problem(_logistic(0.0, 0.25), _logistic(0.2, 0.2)),
    }[name]()
    x, y = pma.solve(problem).sample(DRAWS, seed=11)
    assert _chi_square(x, problem.source) > LEAST_P
    assert _chi_square(y, problem.target) > LEAST_P


# ---- the equation that was solved ----------------------------------------------------------------


def _concentrated() -> pma.Transport:
    line = _bell(32, 0.05)
    return _answer(pma.Problem(np.outer(line, line), np.ones((32, 32))))


def test_hessian_of_a_result_with_floors() -> None:
    """Finite and positive definite, and its determinant is that of the solved equation."""
    ot = _concentrated()
    hessian = np.moveaxis(ot.hessian, (0, 1), (-2, -1))
    assert np.isfinite(hessian).all()
    assert np.linalg.eigvalsh(hessian).min() > 0
    # nu = 1: log det D2u = log mu + alpha where there is mass
    mu = ot.problem.source.values
    held = np.log(np.linalg.det(hessian)) - np.log(mu) - ot.mass_constant
    heavy = mu > 1
    assert np.abs(held[heavy]).max() < 2e-2


def test_residual_of_a_result_with_floors() -> None:
    """Met by the equation that was solved, in the mean over mass."""
    ot = _concentrated()
    mass = ot.problem.source.values * ot.problem.source.grid.cell_volume
    assert np.isfinite(ot.residual).all()
    assert math.sqrt((mass * (ot.residual - ot.mass_constant) ** 2).sum()) < 1e-4


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_interpolation_of_a_result_with_floors(t: float) -> None:
    """Mass 1, and the mean on the straight line between both: both lie in the middle."""
    between = _concentrated().interpolate(t)
    assert np.isfinite(between.values).all()
    np.testing.assert_allclose(between.mean(), [0.5, 0.5], atol=1e-6)
    sides = [pma.Density(np.outer(line, line)) for line in (_bell(32, 0.05), np.ones(32))]
    if t in (0.0, 1.0):
        gap = np.abs(between.values - sides[int(t)].values).sum() * between.grid.cell_volume
        assert gap < 2e-2
    # along every axis x -> (1 - t) x + t T(x) of uncorrelated axes: deviations mix in between
    spread = [math.sqrt(d.second_moment(about=[0.5, 0.5])) for d in (*sides, between)]
    assert min(spread[:2]) * 0.99 <= spread[2] <= max(spread[:2]) * 1.01


# ---- which answer wins ---------------------------------------------------------------------------


def test_smooth_data_are_answered_for_smooth_densities() -> None:
    """On few cells, with alpha above .01: the equation's W2 is nearer than that of atoms."""

    def near(x: Array) -> Array:
        return np.asarray(np.exp(2 * np.cos(np.pi * x)))

    def far(x: Array) -> Array:
        return np.asarray(near(x) * np.exp(3 * np.cos(2 * np.pi * x)))

    fine = (np.arange(16 * 64) + 0.5) / (16 * 64)
    lines = [f(fine).reshape(16, 64).mean(axis=1) for f in (near, far)]
    ot = _answer(pma.Problem(*(np.outer(line, line) for line in lines)))
    exact = math.sqrt(2 * _line_value(near, far))
    assert ot.w2 == pytest.approx(exact, rel=4e-3)


@pytest.mark.parametrize("decades", [6, 9, 12, 16])
@pytest.mark.parametrize("shape", [(193,), (24, 14), (193, 3)])
def test_equal_densities_are_at_no_distance(shape: tuple[int, ...], decades: int) -> None:
    """A rough density and itself but for 1e-10: W2 about 0, the map about the identity."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rough = 10 ** (-decades * rng.random(shape))
        ot = _answer(pma.Problem(rough, rough * (1 + 1e-10 * rng.normal(size=shape))))
        cell = np.array(ot.problem.source.grid.spacing)
        assert ot.w2 < 0.05 * cell.min()
        away = np.moveaxis(ot.displacement, 0, -1) / cell
        mass = ot.problem.source.values * ot.problem.source.grid.cell_volume
        assert (mass * np.sqrt((away**2).sum(axis=-1))).sum() < 0.05
