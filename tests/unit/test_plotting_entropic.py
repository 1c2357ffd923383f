"""Pictures of the limit of small eps: what is on them, and what is refused."""

from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import plotting
from pma_grid.cases import convergence
from pma_grid.claims.problems import gentle
from pma_grid.runtime.errors import InvalidInputError

KEEP = (0.02, 0.04)


def _data(line: Any, axis: str) -> np.ndarray:
    """What a line shows along an axis."""
    return np.asarray(getattr(line, f"get_{axis}data")())


@pytest.mark.parametrize("kernel", ["reflect", "plain"])
def test_errors_at_one_time(pixels: Any, kernel: Any) -> None:
    study = convergence.small_eps(gentle(1, 48), (0.01, 0.005, 0.0025), KEEP, kernel=kernel)
    figure = plotting.small_eps(study, 0.02)
    u, image, extrapolated, saturation = figure.axes
    for ax, name in ((u, "u"), (image, "map"), (extrapolated, "richardson")):
        np.testing.assert_allclose(_data(ax.lines[0], "y"), study.errors(f"{name}_max", 0.02))
    np.testing.assert_allclose(_data(saturation.lines[0], "y"), study.ratios("u_max")[0])
    assert pixels(figure).std() > 10


def test_errors_without_interior_or_extrapolation(pixels: Any) -> None:
    study = convergence.small_eps(gentle(1, 24), (0.04,), (0.04,))
    figure = plotting.small_eps(study)
    assert not figure.axes[2].lines
    assert pixels(figure).std() > 5


def test_costs_of_all_methods(pixels: Any) -> None:
    found = convergence.cost(
        pma.cases.manufactured(1), (4e-3, 2e-3), (32, 48), methods=("plain", "debiased")
    )
    axes = plotting.cost(found)
    assert len(axes) == 2
    star, line = axes[0].lines[:2]
    assert _data(star, "x")[0] == found.best("solve", 32).map_l2
    assert list(_data(line, "x")) == [row.map_l2 for row in found.of("plain", 32)]
    assert list(_data(line, "y")) == [row.seconds for row in found.of("plain", 32)]
    assert pixels(axes[0].figure).std() > 5


def _pair(problem: pma.Problem) -> list[pma.Flow]:
    return [
        pma.evolve(problem, schedule=pma.schedules.constant(0.01), time=0.04, keep=KEEP),
        pma.sinkhorn_flow(problem, 0.01, 0.04, keep=KEEP),
    ]


def test_two_flows_in_one_dimension(pixels: Any) -> None:
    flows = _pair(gentle(1, 32))
    figure = plotting.flow_pair(*flows)
    upper, lower = figure.axes[:2], figure.axes[2:]
    shots = [flow.snapshots for flow in flows]
    for k in (0, 1):
        one, other = (shot[k].density for shot in shots)
        np.testing.assert_allclose(_data(upper[k].lines[1], "y"), one)
        np.testing.assert_allclose(_data(upper[k].lines[2], "y"), other)
        np.testing.assert_allclose(_data(lower[k].lines[1], "y"), other - one, atol=1e-12)
    assert pixels(figure).std() > 10


def test_two_flows_in_two_and_three_dimensions(pixels: Any) -> None:
    flows = _pair(gentle(2, 12))
    figure = plotting.flow_pair(*flows, names=("one", "other"))
    gaps = [b.density - a.density for a, b in zip(*(f.snapshots for f in flows), strict=True)]
    for k, gap in enumerate(gaps):
        image = figure.axes[6 + k].images[0]
        np.testing.assert_allclose(np.asarray(image.get_array()), gap, atol=1e-9)
        assert image.get_clim() == pytest.approx((-np.abs(gaps).max(), np.abs(gaps).max()))
    clims = {figure.axes[k].images[0].get_clim() for k in (0, 1, 2, 3, 4, 5)}
    assert len(clims) == 1
    assert pixels(figure).std() > 10
    solid = _pair(pma.cases.manufactured(3).problem((6, 6, 6)))
    assert pixels(plotting.flow_pair(*solid)).std() > 10


def test_equal_flows_have_a_picture(pixels: Any) -> None:
    flow = _pair(gentle(2, 8))[0]
    assert pixels(plotting.flow_pair(flow, flow)).std() > 10


def test_many_times_are_thinned() -> None:
    problem = gentle(1, 16)
    flow = pma.sinkhorn_flow(problem, 0.01, 0.1, keep=1)
    figure = plotting.flow_pair(flow, flow)
    assert len(figure.axes) == 2 * 5
    for ax, shot in ((figure.axes[0], flow.snapshots[0]), (figure.axes[4], flow.snapshots[-1])):
        np.testing.assert_allclose(_data(ax.lines[1], "y"), shot.density)


def test_pairs_that_do_not_match_are_refused() -> None:
    problem = gentle(1, 16)
    flow = _pair(problem)[0]
    other = pma.sinkhorn_flow(problem, 0.03, 0.03, keep=(0.03,))
    with pytest.raises(InvalidInputError, match="times"):
        plotting.flow_pair(flow, other)
    with pytest.raises(InvalidInputError, match="grids or sides"):
        plotting.flow_pair(flow, _pair(gentle(1, 20))[1])
    with pytest.raises(InvalidInputError, match="snapshots"):
        plotting.flow_pair(flow, pma.sinkhorn_flow(problem, 0.01, 0.04))
