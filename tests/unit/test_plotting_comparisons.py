"""Pictures of comparisons: what is on them, in every dimension and in odd cases."""

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm

import pma_grid as pma


def _pair(dim: int, n: int) -> list[pma.Transport]:
    problem = pma.cases.manufactured(dim).problem((n,) * dim)
    x = problem.source.grid.coordinates()
    still = pma.Transport.from_potential(problem, 0.5 * (x**2).sum(axis=0))
    return [pma.solve(problem), still]


def _drawn(figure: Any) -> np.ndarray:
    """The pixels; fails on anything that cannot be drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("dim, n", [(2, 24), (3, 10)])
def test_maps_above_and_distances_below(dim: int, n: int) -> None:
    pair = _pair(dim, n)
    found = pma.compare(*pair, names=("solve", "identity"))
    figure = pma.plotting.comparison(found)
    maps, others = figure.axes[:2], figure.axes[2:4]
    assert [ax.get_title().split("\n")[0] for ax in maps] == ["solve", "identity"]
    clims = [ax.collections[0].get_clim() for ax in maps]
    assert clims[0] == clims[1]
    assert others[0].get_title() == "target"
    distance = np.linalg.norm(pair[0].displacement, axis=0)
    if dim == 3:
        distance = distance[:, :, n // 2]
    image = others[1].images[0]
    assert isinstance(image.norm, LogNorm)
    assert image.norm.vmin is not None
    np.testing.assert_allclose(np.asarray(image.get_array()), np.maximum(distance, image.norm.vmin))
    assert _drawn(figure).std() > 10


def test_curves_in_one_dimension() -> None:
    figure = pma.plotting.comparison(_pair(1, 40), names=("solve", "identity"))
    upper, lower = figure.axes
    assert [line.get_label() for line in upper.lines] == ["identity", "solve", "identity"]
    assert lower.get_yscale() == "log"
    assert len(lower.lines) == 1
    assert _drawn(figure).std() > 10


@pytest.mark.parametrize("dim", [1, 2])
def test_equal_maps_have_a_picture(dim: int) -> None:
    ot = _pair(dim, 12)[0]
    assert _drawn(pma.plotting.comparison([ot, ot])).std() > 10
    assert _drawn(pma.plotting.comparison([ot])).std() > 10


def test_cells_without_mass_are_left_out() -> None:
    values = np.ones((12, 12))
    values[:4] = 0
    problem = pma.Problem(values, np.ones((12, 12)))
    x = problem.source.grid.coordinates()
    potentials = [(0.5 + c) * (x**2).sum(axis=0) for c in (0.0, 0.1)]
    pair = [pma.Transport.from_potential(problem, u) for u in potentials]
    shown: Any = pma.plotting.comparison(pair).axes[3].images[0].get_array()
    assert np.ma.getmaskarray(shown)[:4].all()
    assert not np.ma.getmaskarray(shown)[4:].any()
