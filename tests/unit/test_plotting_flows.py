"""Pictures of flows and claims: what is drawn and where, without pyplot."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import pma_grid as pma
from pma_grid import plotting
from pma_grid.claims import ClaimResult, Curve, Panel
from pma_grid.claims.result import Role
from pma_grid.plotting.canvas import distinct, scientific

SHAPES = {1: (32,), 2: (12, 10), 3: (6, 6, 6)}
every_dim = pytest.mark.parametrize("dim", [1, 2, 3])


def _evolve(dim: int, **options: Any) -> pma.Flow:
    problem = pma.cases.manufactured(dim).problem(SHAPES[dim])
    schedule = pma.schedules.constant(0.02)
    return pma.evolve(problem, schedule=schedule, steps=4, **options)


@pytest.fixture(scope="module")
def flows() -> dict[int, pma.Flow]:
    return {dim: _evolve(dim, keep=2) for dim in SHAPES}


@pytest.fixture(scope="module")
def bare() -> pma.Flow:
    """A flow without snapshots."""
    return _evolve(1)


def _drawn(ax: Axes, k: int) -> np.ndarray:
    return np.asarray(ax.lines[k].get_ydata())


def _legend_title(ax: Axes) -> str:
    legend = ax.get_legend()
    assert legend is not None
    return legend.get_title().get_text()


# ------------------------------------------------------------------------------- history


def test_history_of_a_flow(bare: pma.Flow) -> None:
    ax = Figure().subplots()
    assert plotting.history(bare, "kl", ax) is ax
    np.testing.assert_array_equal(_drawn(ax, 0), bare["kl"])
    np.testing.assert_array_equal(np.asarray(ax.lines[0].get_xdata()), bare.times)
    assert ax.get_yscale() == "log"
    assert "length²" in ax.get_xlabel()
    assert scientific(bare["mass_constant"][-1]) in _legend_title(ax), "beside every entropy"


def test_history_of_several_series(bare: pma.Flow) -> None:
    names = ("kl", "reverse_kl", "tv")
    ax = plotting.history(bare, names)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(_drawn(ax, k), bare[name])
    assert len({line.get_label() for line in ax.lines}) == 3


def test_series_of_any_sign_have_a_linear_axis(bare: pma.Flow) -> None:
    assert bare["min_h"].min() < 0
    assert plotting.history(bare, ("max_h", "min_h")).get_yscale() == "linear"
    assert plotting.history(bare, "max_h").get_yscale() == "log"


def test_zeros_are_gaps_of_a_logarithmic_axis() -> None:
    flow = _evolve(1, record=("forward_divergence",))
    assert flow["forward_divergence"][0] == 0
    ax = plotting.history(flow, "forward_divergence")
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] > 0.01 * flow["forward_divergence"][1:].min()


def test_a_floor_is_a_line_at_its_value(bare: pma.Flow) -> None:
    assert set(_drawn(plotting.history(bare, "kl", floor=1e-5), 1)) == {1e-5}


def test_series_of_the_user_have_their_name() -> None:
    def spread(state: pma.State) -> float:
        return float(np.ptp(state.residual))

    flow = _evolve(1, record=(spread, "kl"), side="target")
    assert plotting.history(flow, "spread").get_ylabel() == "spread"


@pytest.mark.parametrize("floor", [0.0, "low"])
def test_a_floor_must_be_positive(bare: pma.Flow, floor: float) -> None:
    with pytest.raises(pma.InvalidInputError, match="floor is"):
        plotting.history(bare, "kl", floor=floor)


def test_series_that_are_missing_are_named(bare: pma.Flow) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"no series 'dissipation'.*record="):
        plotting.history(bare, ("kl", "dissipation"))
    with pytest.raises(pma.InvalidInputError, match="names is empty"):
        plotting.history(bare, ())


def test_names_and_floors_are_not_for_transports() -> None:
    ot = pma.solve(pma.Problem(1 + np.arange(16.0), np.ones(16)))
    with pytest.raises(pma.InvalidInputError, match="names or floor"):
        plotting.history(ot, "kl")  # type: ignore[call-overload]
    with pytest.raises(pma.InvalidInputError, match="names or floor"):
        plotting.history(ot, floor=1e-3)  # type: ignore[call-overload]
    ax = Figure().subplots()
    assert plotting.history(ot, ax=ax) is ax


# ---------------------------------------------------------------------------------- page


def test_page_in_one_dimension(flows: dict[int, pma.Flow]) -> None:
    flow = flows[1]
    densities, entropies, sides, sizes = plotting.flow(flow).axes
    for k, snapshot in enumerate(flow.snapshots):
        np.testing.assert_allclose(_drawn(densities, k), snapshot.density, rtol=1e-12)
    np.testing.assert_array_equal(_drawn(densities, 3), flow.problem.source.values)
    np.testing.assert_array_equal(_drawn(entropies, 0), flow["kl"])
    np.testing.assert_array_equal(_drawn(entropies, 1), flow["reverse_kl"])
    np.testing.assert_array_equal(_drawn(sides, 0), flow["max_h"])
    np.testing.assert_array_equal(_drawn(sides, 1), flow["min_h"])
    np.testing.assert_array_equal(_drawn(sizes, 0), flow.step_sizes)
    np.testing.assert_array_equal(np.asarray(sizes.lines[0].get_xdata()), [1, 2, 3, 4])


@pytest.mark.parametrize("dim", [2, 3])
def test_page_in_more_dimensions(dim: int, flows: dict[int, pma.Flow]) -> None:
    flow = flows[dim]
    pictures = [ax for ax in plotting.flow(flow).axes if ax.images]
    assert len({ax.images[0].get_clim() for ax in pictures}) == 1, "one colour scale"
    want = [snapshot.density for snapshot in flow.snapshots] + [flow.problem.source.values]
    for ax, values in zip(pictures, want, strict=True):
        shown = values if dim == 2 else values.mean(axis=2)  # a box of height 1
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), shown, rtol=1e-12)


def test_many_snapshots_are_thinned_to_the_ends_and_what_moves_between() -> None:
    problem = pma.cases.manufactured(1).problem((32,))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.02), steps=30, keep=1)
    ax = plotting.flow(flow).axes[0]
    kept = np.array([snapshot.density for snapshot in flow.snapshots])
    drawn = np.array([line.get_ydata() for line in ax.lines[:-1]])
    numbers = np.abs(kept[:, None] - drawn).max(axis=2).argmin(axis=0)
    assert (numbers[0], numbers[-1], len(numbers)) == (0, 30, 6)
    gaps = np.diff(numbers)
    assert (gaps > 0).all()
    assert gaps[-1] > 2 * gaps[0], "the flow slows down: late pictures are further apart"


def test_a_flow_at_rest_is_thinned_too() -> None:
    problem = pma.Problem(np.ones(8), np.ones(8))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=9, keep=1)
    assert len(plotting.flow(flow).axes[0].lines) == 7


def test_page_on_the_target_side() -> None:
    flow = _evolve(1, keep=4, side="target")
    densities = plotting.flow(flow).axes[0]
    np.testing.assert_array_equal(_drawn(densities, 2), flow.problem.target.values)


def test_page_of_a_continued_flow_counts_all_steps(flows: dict[int, pma.Flow]) -> None:
    later = _evolve(1, keep=2, initial=flows[1])
    sizes = plotting.flow(later).axes[-1]
    assert np.asarray(sizes.lines[0].get_xdata())[0] == 5


@pytest.mark.parametrize("dim", [1, 2])
def test_nothing_on_the_page_is_clipped(dim: int, flows: dict[int, pma.Flow]) -> None:
    figure = plotting.flow(flows[dim])
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for box in boxes:
        assert box is not None
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    own = [ax.get_window_extent() for ax in figure.axes]
    assert sum(a.overlaps(b) for a in own for b in own) == len(own), "axes overlap themselves only"


def test_a_page_needs_snapshots_series_and_a_grid(
    bare: pma.Flow, flows: dict[int, pma.Flow]
) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"no snapshots.*keep="):
        plotting.flow(bare)
    with pytest.raises(pma.InvalidInputError, match="no series 'min_h'"):
        plotting.flow(_evolve(1, keep=1, record=("kl", "reverse_kl")))
    with pytest.raises(pma.InvalidInputError, match="no grid"):
        plotting.flow(dataclasses.replace(flows[1], problem=None))


# ---------------------------------------------------------------------------------- film


@every_dim
def test_film_has_a_frame_for_every_snapshot(
    dim: int, flows: dict[int, pma.Flow], tmp_path: Path
) -> None:
    path = tmp_path / "flow.gif"
    assert plotting.animation(flows[dim], path, fps=10) == path
    with Image.open(path) as film:
        assert film.n_frames == len(flows[dim].snapshots)  # type: ignore[attr-defined]
        assert film.info["duration"] == 100
        frames = []
        for k in range(3):
            film.seek(k)
            frames.append(np.asarray(film.convert("L"), dtype=float))
    assert all(np.abs(a - b).max() > 50 for a, b in itertools.pairwise(frames))
    # the scales do not move: the right edge, with mu or its legend, is the same in every frame
    edge = frames[0].shape[1] * 9 // 10
    assert np.abs(frames[0][:, edge:] - frames[2][:, edge:]).mean() < 2


def test_endings_of_films(
    flows: dict[int, pma.Flow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    for name, match in (("a.avi", "a.avi"), ("a", "path is"), ("a.mp4", "ffmpeg")):
        with pytest.raises(pma.InvalidInputError, match=match):
            plotting.animation(flows[1], tmp_path / name)
    with pytest.raises(pma.InvalidInputError, match="nowhere"):
        plotting.animation(flows[1], tmp_path / "nowhere" / "a.gif")
    assert not list(tmp_path.iterdir())


def test_the_ending_of_a_film_is_checked_first(bare: pma.Flow, tmp_path: Path) -> None:
    with pytest.raises(pma.InvalidInputError, match="a.png"):
        plotting.animation(bare, tmp_path / "a.png")
    with pytest.raises(pma.InvalidInputError, match=r"no snapshots.*keep="):
        plotting.animation(bare, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, 51, float("nan"), "12"])
def test_frames_a_second(flows: dict[int, pma.Flow], tmp_path: Path, fps: float) -> None:
    with pytest.raises(pma.InvalidInputError, match="fps is"):
        plotting.animation(flows[1], tmp_path / "a.gif", fps=fps)


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="ffmpeg is not installed")
def test_film_as_mp4(flows: dict[int, pma.Flow], tmp_path: Path) -> None:
    path = plotting.animation(flows[1], tmp_path / "a.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"


# -------------------------------------------------------------------------------- claims

H = np.array([1 / 16, 1 / 32, 1 / 64])
LONG = "the error of the potential and of the map in the sup norm over all cells of the box " * 2


def _curve(label: str, role: Role = "measured", factor: float = 1.0) -> Curve:
    return Curve(label, H, factor * H**2, role)


def _panel(*curves: Curve, title: str = "a case", xscale: str = "log") -> Panel:
    return Panel(title, "spacing h [length]", "error", curves, xscale=xscale)  # type: ignore[arg-type]


def _claim(*panels: Panel, statement: str = "The scheme has order 2.") -> ClaimResult:
    return ClaimResult("order", statement, (), panels)


def test_every_panel_has_axes() -> None:
    for panels in range(1, 6):
        figure = plotting.claim(_claim(*[_panel(_curve("error"))] * panels))
        assert len(figure.axes) == panels
        assert figure.get_suptitle() == "The scheme has order 2."


def test_roles_of_curves() -> None:
    curves = (
        _curve("plain"), _curve("theory 1", "predicted"),
        _curve("fancy", factor=2), _curve("theory 2", "predicted", 2),
        _curve("", "floor", 1e-3),
    )  # fmt: skip
    ax = plotting.claim(_claim(_panel(*curves))).axes[0]
    for line, curve in zip(ax.lines, curves, strict=True):
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), curve.x)
        np.testing.assert_array_equal(np.asarray(line.get_ydata()), curve.y)
        assert (line.get_marker() != "None") == (curve.role == "measured")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert all(str(line.get_label()) for line in ax.lines)


def test_a_floor_of_one_point_crosses_the_axes() -> None:
    floor = Curve("rounding", np.array([1.0]), np.array([1e-6]), "floor")
    ax = plotting.claim(_claim(_panel(_curve("a"), floor))).axes[0]
    assert list(np.asarray(ax.lines[1].get_xdata())) == [0, 1]
    assert set(_drawn(ax, 1)) == {1e-6}


def test_scales_are_those_of_the_panel() -> None:
    ax = plotting.claim(_claim(_panel(_curve("a"), xscale="linear"))).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    nothing = Curve("zero", H, np.zeros(3))
    ax = plotting.claim(_claim(_panel(nothing))).axes[0]
    assert ax.get_yscale() == "linear", "a logarithmic axis would be empty"


def test_long_texts_are_wrapped_and_nothing_is_clipped_or_covered() -> None:
    many = tuple(_curve(f"{LONG} {k}", factor=k + 1.0) for k in range(4))
    panels = [_panel(*many, title=LONG), _panel(_curve("a"), _curve("b", "predicted"))]
    for count in (1, 3):
        figure = plotting.claim(_claim(*(panels * 3)[:count], statement=LONG))
        figure.draw_without_rendering()
        width, height = figure.get_size_inches() * figure.dpi
        for ax in figure.axes:
            box, legend = ax.get_tightbbox(), ax.get_legend()
            assert box is not None and legend is not None
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            frame = legend.get_window_extent()
            assert not any(_crosses(line, frame) for line in ax.lines)
            assert ax.get_window_extent().height > 1.8 * figure.dpi, "room for the curves"
        assert figure._suptitle is not None  # type: ignore[attr-defined]
        assert figure._suptitle.get_window_extent().width <= width  # type: ignore[attr-defined]


def _crosses(line: object, box: object) -> bool:
    path = line.get_transform().transform_path(line.get_path())  # type: ignore[attr-defined]
    return bool(path.intersects_bbox(box, filled=False))


def test_a_claim_without_panels_is_refused() -> None:
    with pytest.raises(pma.InvalidInputError, match="no panels"):
        plotting.claim(_claim())


# ------------------------------------------------------------------------------- numbers


def test_numbers_as_text() -> None:
    assert scientific(-1.23e-5) == r"$-1.2\times10^{-5}$"
    assert scientific(0.0) == "0"
    assert distinct([0.1, 0.25, 1.0]) == ["0.1", "0.25", "1"]
    assert distinct([0.1, 0.1001]) == ["0.1", "0.1001"]
