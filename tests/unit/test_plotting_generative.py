"""Pictures of points and of learned laws: what is drawn and where, without pyplot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import pma_grid as pma
from pma_grid import learning, plotting
from pma_grid.plotting import clouds, generative

every_dim = pytest.mark.parametrize("dim", [1, 2, 3])
SHAPES = {1: 48, 2: 16, 3: 8}
STRENGTHS = {1: 1e-6, 2: 1e-4, 3: 1e-3}
NAMES = ("length", "width", "height")


def _points(dim: int, n: int = 300) -> np.ndarray:
    points = np.random.default_rng(dim).normal(size=(n, dim))
    points[:, -1] += 0.7 * points[:, 0]
    return points


@pytest.fixture(scope="module")
def models() -> dict[int, pma.Model]:
    """Learned with a given strength in 1-D to 3-D."""
    return {
        dim: pma.fit(
            _points(dim), learning.Logistic(STRENGTHS[dim]), shape=SHAPES[dim], names=NAMES[:dim]
        )
        for dim in SHAPES
    }


def _offsets(ax: Axes) -> np.ndarray:
    return np.asarray(ax.collections[0].get_offsets())


# --- points


def test_dots_are_the_points() -> None:
    points, ax = _points(2), Figure().subplots()
    assert plotting.samples(points, ax=ax, names=NAMES[:2]) is ax
    np.testing.assert_array_equal(_offsets(ax), points)
    assert (ax.get_xlabel(), ax.get_ylabel()) == NAMES[:2]
    # axis 1 upwards
    assert ax.get_ylim()[0] < points[:, 1].min() < points[:, 1].max() < ax.get_ylim()[1]


def test_two_of_three_coordinates() -> None:
    points = _points(3)
    np.testing.assert_array_equal(_offsets(plotting.samples(points)), points[:, :2])
    ax = plotting.samples(points, coordinates=(2, 0), names=NAMES)
    np.testing.assert_array_equal(_offsets(ax), points[:, [2, 0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "length")


def test_bars_have_area_one() -> None:
    ax = plotting.samples(_points(1)[:, 0])
    area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)  # type: ignore[attr-defined]
    assert area == pytest.approx(1.0)


def test_very_many_points_are_counted() -> None:
    points = np.random.default_rng(0).uniform(size=(clouds.MOST_DOTS + 1, 2))
    ax = plotting.samples(points, grid=pma.Grid((4, 4)))
    assert not ax.collections
    assert ax.images[0].get_array().sum() == len(points)  # type: ignore[union-attr]
    assert (*ax.get_xlim(), *ax.get_ylim()) == (0, 1, 0, 1)


def test_a_density_over_points() -> None:
    grid = pma.Grid((20, 30), (-1, 0), (1, 6))
    density = pma.Density.from_function(lambda x, y: np.exp(-(x**2) - (y - 3) ** 2), grid)
    ax = plotting.samples(np.tile([0.0, 3.0], (5, 1)), density)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (0, 6)), "the window is its box"
    heights = ax.collections[1].levels  # type: ignore[attr-defined]
    cell = grid.cell_volume
    held = [density.values[density.values >= v].sum() * cell for v in heights]
    np.testing.assert_allclose(held, clouds.SHARES, atol=0.02)
    line = plotting.samples(np.zeros(5) + 3.0, _marginal(density, 1)).lines[0]
    np.testing.assert_allclose(
        np.asarray(line.get_ydata()), density.values.sum(axis=0) * grid.spacing[0]
    )


def _marginal(density: pma.Density, axis: int) -> pma.Density:
    grid = density.grid
    side = pma.Grid(grid.shape[axis], grid.lower[axis], grid.upper[axis])
    return pma.Density(clouds.marginal(density, (axis,)), side)


@every_dim
def test_marginals_keep_the_mass(dim: int) -> None:
    rng = np.random.default_rng(0)
    grid = pma.Grid((5, 6, 7)[:dim], (0.0,) * dim, (2.0, 3.0, 0.5)[:dim])
    density = pma.Density(rng.uniform(size=grid.shape), grid)
    for axis in range(dim):
        mass = clouds.marginal(density, (axis,)).sum() * grid.spacing[axis]
        assert mass == pytest.approx(1.0)
    if dim == 3:
        pair = clouds.marginal(density, (0, 2))
        np.testing.assert_allclose(pair, density.values.sum(axis=1) * grid.spacing[1])


def test_intervals_hold_their_share() -> None:
    grid = pma.Grid(400, -6.0, 6.0)
    normal = pma.Density.from_log(lambda x: -0.5 * x**2, grid)
    np.testing.assert_allclose(clouds.interval(normal, 0, 0.95), (-1.96, 1.96), atol=2e-3)


@every_dim
def test_corners(dim: int, models: dict[int, pma.Model], tmp_path: Path) -> None:
    page = plotting.corner(_points(dim), models[dim].density, names=NAMES[:dim])
    assert len(page.axes) == dim * (dim + 1) // 2
    assert page.axes[-1].get_xlabel() == NAMES[dim - 1]
    assert len(plotting.corner(_points(dim)).axes) == len(page.axes)
    assert len(plotting.corner(density=models[dim].density).axes) == len(page.axes)
    plotting.save(page, tmp_path / "corner.png")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: plotting.samples(np.zeros((4, 5))), "points has shape"),
        (lambda: plotting.samples([[0.0, np.nan]]), "1 entries that are not finite"),
        (lambda: plotting.samples(np.zeros((4, 2)), pma.Density(np.ones(4))), "density has 1 axes"),
        (lambda: plotting.samples(np.zeros(4), grid=pma.Grid((4, 4))), "grid has 2 axes"),
        (lambda: plotting.samples(np.zeros((4, 2)), coordinates=(0, 2)), "coordinates is"),
        (lambda: plotting.corner(), "both missing"),
        (lambda: plotting.corner(np.zeros((4, 2)), pma.Density(np.ones(4))), "density has 1 axes"),
    ],
)
def test_refusals(call: Any, match: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=match):
        call()


# --- models


@every_dim
def test_a_model_on_one_page(dim: int, models: dict[int, pma.Model], tmp_path: Path) -> None:
    data, model = _points(dim), models[dim]
    page = plotting.model(model, data, seed=3)
    rows, columns = {1: (1, 3), 2: (1, 4), 3: (3, 4)}[dim]
    assert len(page.axes) == rows * columns + 1, "no strengths were tried"
    if dim > 1:
        _, shown, generated, mesh = page.axes[:4]
        np.testing.assert_array_equal(_offsets(shown), data[:, :2])
        np.testing.assert_array_equal(_offsets(generated), model.sample(300, seed=3)[:, :2])
        assert len(mesh.collections) == 2
        assert page.axes[0].get_ylabel() == "width"
    plotting.save(page, tmp_path / "model.png")
    assert (tmp_path / "model.png").stat().st_size > 20_000


def test_without_data_there_is_a_panel_less(models: dict[int, pma.Model]) -> None:
    page = plotting.model(models[2])
    assert len(_offsets(page.axes[1])) == generative.DEFAULT_POINTS
    with pytest.raises(pma.InvalidInputError, match="points has 1 coordinates"):
        plotting.model(models[2], np.zeros(20))


def test_the_mesh_is_the_base_grid_carried(models: dict[int, pma.Model]) -> None:
    sampler, ax = models[2].sampler, Figure().subplots()
    generative.carried_mesh(sampler, ax, lines=5)
    along, across = (c for c in ax.collections if isinstance(c, LineCollection))
    grid = sampler.base.grid
    middle = sampler.decode([0.5 * (np.array(grid.lower) + grid.upper)])[0]
    for lines, axis in ((along, 0), (across, 1)):
        segments = np.asarray(lines.get_segments())
        assert segments.shape == (5, generative.POINTS_A_LINE, 2)
        # the base law is symmetric: the middle line passes through the image of the middle
        np.testing.assert_allclose(segments[2][generative.POINTS_A_LINE // 2], middle, atol=1e-9)
        assert (np.diff(segments[2][:, axis]) > 0).all(), "the map is monotone"


def test_strengths_and_boosts(tmp_path: Path) -> None:
    model = pma.fit(_points(1), shape=32, relearn=True)
    page = plotting.model(model, _points(1))
    strengths, _, boosts = page.axes[3:]
    chosen = model.stats["selection"]
    np.testing.assert_array_equal(strengths.lines[0].get_xdata(), chosen["strengths"])
    np.testing.assert_array_equal(strengths.lines[0].get_ydata(), chosen["log_likelihoods"])
    best = chosen["strengths"][int(np.argmax(chosen["log_likelihoods"]))]
    assert strengths.lines[1].get_xdata()[0] == best  # type: ignore[index]
    scores = model.stats["held_out_log_likelihoods"]
    np.testing.assert_array_equal(boosts.lines[0].get_ydata(), scores)
    plotting.save(page, tmp_path / "boosts.png")


def test_learned_regret(tmp_path: Path) -> None:
    data = pma.cases.data_sets.gaussian_mixture(1)
    grid = data.grid(48)
    model = pma.fit(
        pma.Samples(data.sample(500, 0), grid=grid), learning.Logistic(1e-6),
        truth=data.density(grid), schedule=pma.schedules.constant(0.3), steps=6,
    )  # fmt: skip
    found = learning.learned_regret(model.flow)
    ax = Figure().subplots()
    assert plotting.learned_regret(found, ax) is ax
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    for values in (found.average, found.guarantee, found.bias_bound, np.abs(found.bias)):
        assert any(np.array_equal(y, values) for y in drawn)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    plotting.save(plotting.learned_regret(found).figure, tmp_path / "regret.png")


# --- posteriors


@pytest.mark.parametrize(
    ("log_density", "box"),
    [
        (lambda x: 3 * np.log(x) - x, [(0, 40)]),
        (lambda x, y: -0.5 * (x * x + (y - x) ** 2), [(-8, 8), (-12, 12)]),
    ],
)
def test_a_posterior_on_one_page(log_density: Any, box: Any, tmp_path: Path) -> None:
    law = pma.infer(log_density, box, shape=32, names=NAMES[: len(box)])
    page = plotting.posterior(law, seed=1)
    *corner, bounds, gap = page.axes
    assert len(corner) == len(box) * (len(box) + 1) // 2
    upper, lower, level = (np.asarray(line.get_ydata()) for line in bounds.lines)
    np.testing.assert_array_equal(upper, law.flow["evidence_upper"])
    np.testing.assert_array_equal(lower, law.flow["evidence_lower"])
    assert level[0] == law.log_evidence
    assert gap.get_yscale() == "log"
    if len(box) == 2:
        np.testing.assert_array_equal(_offsets(corner[1]), law.sample(2000, seed=1))
    plotting.save(page, tmp_path / "posterior.png")
    assert (tmp_path / "posterior.png").stat().st_size > 20_000


def test_a_corner_shows_where_the_mass_is() -> None:
    grid = pma.Grid(400, -40.0, 40.0)
    normal = pma.Density.from_log(lambda x: -0.5 * x**2, grid)
    low, high = plotting.corner(density=normal).axes[0].get_xlim()
    assert -6 < low < -3 < 3 < high < 6
