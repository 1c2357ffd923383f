"""Pictures of flows and claims: what is drawn and where, without pyplot."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import pma_grid as pma
from pma_grid import plotting
from pma_grid.claims import ClaimResult, Curve, Panel
from pma_grid.claims.result import Role
from pma_grid.plotting.canvas import COLOURS, INK, distinct, scientific

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


def _legend(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


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
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t [length²]", "KL(ρ | μ)")
    assert len(ax.lines) == 1, "no floor unless it is given"


def test_alpha_stands_beside_every_entropy(bare: pma.Flow) -> None:
    alpha = scientific(bare["mass_constant"][-1])
    for names in ("kl", ("kl", "reverse_kl"), ("tv", "symmetrised_kl")):
        assert alpha in _legend_title(plotting.history(bare, names))
    assert not _legend_title(plotting.history(bare, ("tv", "chi2")))
    unrecorded = _evolve(1, record=("kl",))
    assert alpha in _legend_title(plotting.history(unrecorded)), "the statistics have it too"


def test_history_of_several_series(bare: pma.Flow) -> None:
    names = ("kl", "reverse_kl", "tv")
    ax = plotting.history(bare, names)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(_drawn(ax, k), bare[name])
    assert _legend(ax) == ["KL(ρ | μ)", "KL(μ | ρ)", "TV(ρ, μ)"]
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == 3, "each curve looks its own"
    assert len({line.get_linestyle() for line in ax.lines[:2]}) == 2, "coinciding ones are seen"


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
    assert ax.get_ylabel() == "D(ρₖ | ρₖ₊₁) [length²]"


def test_floor_is_a_labelled_dotted_line(bare: pma.Flow) -> None:
    ax = plotting.history(bare, "kl", floor=1e-5)
    assert set(_drawn(ax, 1)) == {1e-5}
    assert ax.lines[1].get_linestyle() == ":"
    assert _legend(ax)[1] == "discretisation floor"


def test_names_of_the_user_and_of_the_target_side() -> None:
    def spread(state: pma.State) -> float:
        return float(np.ptp(state.residual))

    flow = _evolve(1, record=(spread, "kl"), side="target")
    assert plotting.history(flow, "spread").get_ylabel() == "spread"
    assert plotting.history(flow, "kl").get_ylabel() == "KL(ρ | ν)"


@pytest.mark.parametrize("floor", [0.0, -1.0, float("nan"), "low", True])
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
    figure = plotting.flow(flow)
    densities, entropies, sides, sizes = figure.axes
    for k, snapshot in enumerate(flow.snapshots):
        np.testing.assert_allclose(_drawn(densities, k), snapshot.density, rtol=1e-12)
    assert flow.problem is not None
    np.testing.assert_array_equal(_drawn(densities, 3), flow.problem.source.values)
    assert densities.lines[3].get_linestyle() == "--"
    assert _legend(densities) == ["t = 0", "t = 0.04", "t = 0.08", "source μ"]
    assert len({colors.to_hex(line.get_color()) for line in densities.lines}) == 4
    assert densities.get_ylabel() == "density [length⁻¹]"
    np.testing.assert_array_equal(_drawn(entropies, 0), flow["kl"])
    np.testing.assert_array_equal(_drawn(entropies, 1), flow["reverse_kl"])
    assert entropies.get_yscale() == "log"
    assert scientific(flow["mass_constant"][-1]) in _legend_title(entropies)
    np.testing.assert_array_equal(_drawn(sides, 0), flow["max_h"])
    np.testing.assert_array_equal(_drawn(sides, 1), flow["min_h"])
    band = np.asarray(sides.collections[0].get_paths()[0].vertices)
    assert (band[:, 1].min(), band[:, 1].max()) == (flow["min_h"].min(), flow["max_h"].max())
    np.testing.assert_array_equal(_drawn(sizes, 0), flow.step_sizes)
    np.testing.assert_array_equal(np.asarray(sizes.lines[0].get_xdata()), [1, 2, 3, 4])
    assert sizes.get_yscale() == "log"


@pytest.mark.parametrize("dim", [2, 3])
def test_page_in_more_dimensions(dim: int, flows: dict[int, pma.Flow]) -> None:
    flow = flows[dim]
    figure = plotting.flow(flow)
    pictures = [ax for ax in figure.axes if ax.images]
    assert len(pictures) == len(flow.snapshots) + 1
    assert [ax.get_title() for ax in pictures] == ["t = 0", "t = 0.04", "t = 0.08", "source μ"]
    assert len({ax.images[0].get_clim() for ax in pictures}) == 1, "one colour scale"
    assert flow.problem is not None
    want = [snapshot.density for snapshot in flow.snapshots] + [flow.problem.source.values]
    for ax, values in zip(pictures, want, strict=True):
        shown = values if dim == 2 else values.mean(axis=2)  # a box of height 1
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), shown, rtol=1e-12)
    bars = pictures[-1].child_axes
    assert [bar.get_ylabel() for bar in bars] == [
        {2: "density [length⁻²]", 3: "projection [length⁻²]"}[dim]
    ]
    assert len(figure.axes) == len(pictures) + 3


def test_many_snapshots_are_thinned_to_the_ends_and_what_moves_between() -> None:
    problem = pma.cases.manufactured(1).problem((32,))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.02), steps=30, keep=1)
    ax = plotting.flow(flow).axes[0]
    *moments, _ = _legend(ax)
    times = [float(text.removeprefix("t = ")) for text in moments]
    assert len(times) == 6
    assert (times[0], times[-1]) == (0.0, pytest.approx(0.6))
    steps = np.diff(times)
    assert (steps > 0).all()
    assert steps[-1] > 2 * steps[0], "the flow slows down: late pictures are further apart"


def test_a_flow_at_rest_is_thinned_too() -> None:
    problem = pma.Problem(np.ones(8), np.ones(8))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=9, keep=1)
    assert len(_legend(plotting.flow(flow).axes[0])) == 7


def test_page_on_the_target_side() -> None:
    flow = _evolve(1, keep=4, side="target")
    densities, entropies, sides, _ = plotting.flow(flow).axes
    assert flow.problem is not None
    np.testing.assert_array_equal(_drawn(densities, 2), flow.problem.target.values)
    assert _legend(densities)[-1] == "target ν"
    assert _legend(entropies) == ["KL(ρ | ν)", "KL(ν | ρ)"]
    assert "ρ/ν" in sides.get_title()


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
    for name, match in (("a.avi", "change its ending"), ("a", "ending"), ("a.mp4", "use .gif")):
        with pytest.raises(pma.InvalidInputError, match=match):
            plotting.animation(flows[1], tmp_path / name)
    with pytest.raises(pma.InvalidInputError, match="no folder"):
        plotting.animation(flows[1], tmp_path / "nowhere" / "a.gif")
    assert not list(tmp_path.iterdir())


def test_the_ending_of_a_film_is_checked_first(bare: pma.Flow, tmp_path: Path) -> None:
    with pytest.raises(pma.InvalidInputError, match="ending"):
        plotting.animation(bare, tmp_path / "a.png")
    with pytest.raises(pma.InvalidInputError, match=r"no snapshots.*keep="):
        plotting.animation(bare, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, 51, float("nan"), "12"])
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


def _hue(colour: object) -> np.ndarray:
    return np.asarray(colors.rgb_to_hsv(colors.to_rgb(colour)))[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3)])
def test_claims_are_drawn_up_to_three_in_a_row(panels: int, columns: int) -> None:
    figure = plotting.claim(_claim(*[_panel(_curve("error"))] * panels))
    assert isinstance(figure, Figure)
    assert len(figure.axes) == panels
    lefts = {round(ax.get_position().x0, 6) for ax in figure.axes}
    assert len(lefts) == columns
    assert figure.get_suptitle() == "The scheme has order 2."


def test_roles_of_curves() -> None:
    curves = (
        _curve("plain"), _curve("theory 1", "predicted"),
        _curve("fancy", factor=2), _curve("theory 2", "predicted", 2),
        _curve("", "floor", 1e-3),
    )  # fmt: skip
    ax = plotting.claim(_claim(_panel(*curves))).axes[0]
    plain, theory, fancy, theory2, floor = ax.lines
    for line, curve in zip(ax.lines, curves, strict=True):
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), curve.x)
        np.testing.assert_array_equal(np.asarray(line.get_ydata()), curve.y)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    for measured, predicted, colour in ((plain, theory, COLOURS[0]), (fancy, theory2, COLOURS[1])):
        assert measured.get_color() == colour
        assert measured.get_marker() not in (None, "None", "")
        assert predicted.get_linestyle() == "--"
        assert predicted.get_marker() == "None"
        np.testing.assert_allclose(_hue(predicted.get_color()), _hue(colour), atol=1e-9)
        assert sum(colors.to_rgb(predicted.get_color())) < sum(colors.to_rgb(colour))
    assert plain.get_marker() != fancy.get_marker()
    assert floor.get_linestyle() == ":"
    assert _legend(ax) == ["plain", "theory 1", "fancy", "theory 2", "discretisation floor"]
    legend = ax.get_legend()
    assert legend is not None and not legend.get_frame_on()


def test_a_prediction_for_several_curves_is_ink_and_one_of_the_same_label_is_matched() -> None:
    curves = (
        _curve("a"), _curve("b", factor=2), _curve("c", factor=3), _curve("slope 2", "predicted"),
        _curve("c", "predicted", 3),
    )  # fmt: skip
    ax = plotting.claim(_claim(_panel(*curves))).axes[0]
    np.testing.assert_allclose(
        colors.to_rgb(ax.lines[3].get_color()), 0.66 * np.array(colors.to_rgb(INK))
    )
    np.testing.assert_allclose(_hue(ax.lines[4].get_color()), _hue(COLOURS[2]), atol=1e-9)
    assert _legend(ax)[-1] == "c, predicted"


def test_two_predictions_of_one_curve_differ_in_their_dashes() -> None:
    curves = _curve("a"), _curve("low", "predicted", 0.5), _curve("high", "predicted", 2)
    low, high = plotting.claim(_claim(_panel(*curves))).axes[0].lines[1:]
    assert low.get_color() == high.get_color()
    assert low._dash_pattern != high._dash_pattern  # type: ignore[attr-defined]


def test_a_floor_of_one_point_crosses_the_axes() -> None:
    floor = Curve("rounding", np.array([1.0]), np.array([1e-6]), "floor")
    ax = plotting.claim(_claim(_panel(_curve("a"), floor))).axes[0]
    assert list(np.asarray(ax.lines[1].get_xdata())) == [0, 1]
    assert _legend(ax)[1] == "rounding"


def test_scales_are_those_of_the_panel() -> None:
    ax = plotting.claim(_claim(_panel(_curve("a"), xscale="linear"))).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    nothing = Curve("zero", H, np.zeros(3))
    ax = plotting.claim(_claim(_panel(nothing))).axes[0]
    assert ax.get_yscale() == "linear", "a logarithmic axis would be empty"


@pytest.mark.parametrize(
    ("x", "labels"),
    [
        ([1 / 16, 1 / 32, 1 / 64], ["1/64", "1/32", "1/16"]),
        ([0.04, 0.02, 0.01], ["0.01", "0.02", "0.04"]),
        ([32, 64, 128], ["32", "64", "128"]),
    ],
)
def test_few_abscissae_have_a_tick_each(x: list[float], labels: list[str]) -> None:
    curve = Curve("a", np.array(x), np.array(x) ** 2.0)
    dense = Curve("theory", np.geomspace(min(x), max(x), 50), np.ones(50), "predicted")
    ax = plotting.claim(_claim(_panel(curve, dense))).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == labels
    assert not len(ax.get_xticks(minor=True))


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
