"""Pictures of entropic transports: marginal errors, tears, captions; in every dimension."""

from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import plotting

SHAPES = {1: (40,), 2: (24, 20), 3: (8, 9, 7)}
every_dim = pytest.mark.parametrize("dim", [1, 2, 3])


@pytest.fixture(scope="module")
def smooth() -> dict[int, pma.EntropicTransport]:
    return {
        d: pma.sinkhorn(pma.cases.separable(d).problem(SHAPES[d]), 0.02, kernel="reflect")
        for d in SHAPES
    }


@pytest.fixture(scope="module")
def torn() -> dict[int, pma.EntropicTransport]:
    """A uniform density onto both ends of axis 0."""
    found = {}
    for d, shape in SHAPES.items():
        x = (np.arange(shape[0]) + 0.5) / shape[0]
        ends = (np.abs(x - 0.5) > 0.25).reshape(-1, *[1] * (d - 1)) * np.ones(shape)
        found[d] = pma.sinkhorn(pma.Problem(np.ones(shape), ends), method="multiscale")
    return found


@every_dim
@pytest.mark.parametrize("kind", ["smooth", "torn"])
def test_history_is_the_marginal_error(
    pixels: Any, kind: str, dim: int, smooth: dict[int, Any], torn: dict[int, Any]
) -> None:
    sk = (smooth if kind == "smooth" else torn)[dim]
    ax = plotting.history(sk)
    curve, tolerance = ax.lines
    np.testing.assert_array_equal(curve.get_ydata(), sk.stats["history"])
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(1, sk.stats["iterations"] + 1))
    assert np.asarray(tolerance.get_ydata())[0] == sk.stats["tol"]
    assert ax.get_yscale() == "log"
    assert "marginals" in ax.get_ylabel()
    assert pixels(ax.figure).std() > 5


def test_peers_keep_no_history(smooth: dict[int, Any]) -> None:
    sk = pma.peers.solve_pot(smooth[1].problem, 0.1)
    with pytest.raises(pma.InvalidInputError, match="history"):
        plotting.history(sk)


@every_dim
@pytest.mark.parametrize("kind", ["smooth", "torn"])
def test_poster(
    pixels: Any, kind: str, dim: int, smooth: dict[int, Any], torn: dict[int, Any]
) -> None:
    sk = (smooth if kind == "smooth" else torn)[dim]
    figure = plotting.transport(sk)
    assert pixels(figure).std() > 10
    assert f"{sk.w2:.6f}" in figure.get_supxlabel()


@pytest.mark.parametrize("dim", [2, 3])
def test_torn_cells_are_coloured(dim: int, torn: dict[int, Any]) -> None:
    sk = torn[dim]
    assert sk.tears is not None
    marks = np.asarray(plotting.transport(sk).axes[0].images[1].get_array())
    flat = sk.tears if dim == 2 else sk.tears.any(axis=2)
    np.testing.assert_array_equal(marks[..., 3] > 0, flat)
    assert 0 < flat.sum() < flat.size / 2


@pytest.mark.parametrize("dim", [2, 3])
def test_lines_end_at_tears(dim: int, torn: dict[int, Any], smooth: dict[int, Any]) -> None:
    """No line crosses the gap between both halves; without a tear all are there."""
    segments = plotting.map(torn[dim]).collections[0].get_segments()  # type: ignore[attr-defined]
    heights = np.array([segment[:, 1] for segment in segments])
    assert len(segments) > 1000
    assert not ((heights > 0.3) & (heights < 0.7)).any()
    assert (np.abs(np.diff(heights, axis=1)) < 0.1).all()
    whole = plotting.map(smooth[dim]).collections[0].get_segments()  # type: ignore[attr-defined]
    assert len(whole) > len(segments)


def test_curves_end_at_tears(torn: dict[int, Any], smooth: dict[int, Any]) -> None:
    sk = torn[1]
    y = np.asarray(plotting.map(sk).lines[1].get_ydata())
    assert np.isnan(y).sum() == 1
    np.testing.assert_array_equal(y[~np.isnan(y)], sk.gradient[0])
    assert abs(float(np.flatnonzero(np.isnan(y))[0]) - 20) <= 1
    np.testing.assert_array_equal(
        plotting.map(smooth[1]).lines[1].get_ydata(), smooth[1].gradient[0]
    )


def test_one_cell_has_a_poster(pixels: Any) -> None:
    for shape in ((1,), (1, 1), (1, 3, 1)):
        sk = pma.sinkhorn(pma.Problem(np.ones(shape), np.ones(shape)), 0.1, method="multiscale")
        assert pixels(plotting.transport(sk)).size > 0
