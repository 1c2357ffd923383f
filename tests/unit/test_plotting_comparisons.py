"""Pictures of comparisons: what is on them, in every dimension and in odd cases."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LogNorm

import pma_grid as pma


def _pair(dim: int, n: int) -> list[pma.Transport]:
    problem = pma.cases.manufactured(dim).problem((n,) * dim)
    x = problem.source.grid.coordinates()
    still = pma.Transport.from_potential(problem, 0.5 * (x**2).sum(axis=0))
    return [pma.solve(problem), still]


@pytest.mark.parametrize("dim, n", [(2, 24), (3, 10)])
def test_maps_above_and_distances_below(pixels: Any, dim: int, n: int) -> None:
    pair = _pair(dim, n)
    found = pma.compare(*pair, names=("solve", "identity"))
    figure = pma.plotting.comparison(found)
    maps, others = figure.axes[:2], figure.axes[2:4]
    clims = [ax.collections[0].get_clim() for ax in maps]
    assert clims[0] == clims[1]
    distance = np.linalg.norm(pair[0].displacement, axis=0)
    if dim == 3:
        distance = distance[:, :, n // 2]
    image = others[1].images[0]
    assert isinstance(image.norm, LogNorm)
    assert image.norm.vmin is not None
    np.testing.assert_allclose(np.asarray(image.get_array()), np.maximum(distance, image.norm.vmin))
    assert pixels(figure).std() > 10


def test_curves_in_one_dimension(pixels: Any) -> None:
    pair = _pair(1, 40)
    figure = pma.plotting.comparison(pair, names=("solve", "still"))
    upper, lower = figure.axes
    drawn = {str(line.get_label()): line.get_ydata() for line in upper.lines}
    np.testing.assert_array_equal(drawn["solve"], pair[0].gradient[0])
    distance = np.abs(pair[1].gradient[0] - pair[0].gradient[0])
    np.testing.assert_allclose(np.asarray(lower.lines[0].get_ydata()), distance)
    assert pixels(figure).std() > 10


@pytest.mark.parametrize("dim", [1, 2])
def test_equal_maps_have_a_picture(pixels: Any, dim: int) -> None:
    ot = _pair(dim, 12)[0]
    assert pixels(pma.plotting.comparison([ot, ot])).std() > 10
    assert pixels(pma.plotting.comparison([ot])).std() > 10


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
