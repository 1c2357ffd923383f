"""The command line: evolve, and flows in info and plot."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pma_grid as pma
from pma_grid.cli import flows, scheduling
from pma_grid.cli.group import spread
from pma_grid.flow import observables, schedules
from pma_grid.flow.stepping import Explicit, ImplicitEuler, Scheme

EVOLVE = ("evolve", "a.npy", "b.npy", "-o", "f.npz")
CONSTANT = ("--schedule", "constant:0.01")


def _problem(folder: Path) -> pma.Problem:
    return pma.Problem(np.load(folder / "a.npy"), np.load(folder / "b.npy"))


@pytest.fixture(scope="module")
def evolved(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a flow f.npz of 12 steps and 4 snapshots, and what `evolve --json` printed."""
    path = cli.fill(tmp_path_factory.mktemp("evolved"))
    words = [*EVOLVE, *CONSTANT, "--steps", "12", "--keep", "4", "--json", "--series"]
    return path, cli.json(path, *words)


# --- evolve


def test_evolve_agrees_with_the_library(evolved: tuple[Path, dict[str, Any]]) -> None:
    path, out = evolved
    flow = pma.evolve(_problem(path), schedule=schedules.constant(0.01), steps=12)
    assert list(out["series"]) == ["times", "step_sizes", *observables.CHEAP]
    for name in observables.CHEAP:
        np.testing.assert_allclose(out["series"][name], flow[name], rtol=1e-12, atol=1e-15)
    assert out["end"]["kl"] == out["series"]["kl"][-1] < out["start"]["kl"]
    assert (out["status"], out["steps"], out["time"]) == ("completed", 12, pytest.approx(0.12))
    assert (out["smallest_step"], out["largest_step"]) == (0.01, 0.01)
    assert (out["newton"], out["linear"]) == (flow.stats["newton"], flow.stats["linear"])
    assert out["snapshot_times"] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert (out["side"], out["schedule"]) == ("source", "constant(0.01)")
    assert out["mass_constant"] == out["end"]["mass_constant"]
    assert out["files"] == ["f.npz"]


def test_without_options_it_ends_where_solve_does(cli: Any, folder: Path) -> None:
    text = cli.good(folder, *EVOLVE)
    assert "converged" in text
    flow = pma.load(folder / "f.npz")
    assert flow.stats["residual_norm"] <= 1e-8
    assert len(flow) < 30
    ot = pma.solve(_problem(folder), tol=1e-10, averaging=False)
    assert flow.transport.w2 == pytest.approx(ot.w2, rel=1e-7)


@pytest.mark.parametrize("scheme", scheduling.SCHEMES)
def test_the_default_steps_scale_with_the_boxes(cli: Any, folder: Path, scheme: str) -> None:
    words = [*EVOLVE, "--scheme", scheme, "--steps", "4", "--json", "--series"]
    boxes = ["--box-source", "0,10 0,10", "--box-target", "0,10 0,10"]
    small, large = (cli.json(folder, *words, *more) for more in ([], boxes))
    np.testing.assert_allclose(large["series"]["times"], 100 * np.array(small["series"]["times"]))
    np.testing.assert_allclose(large["series"]["kl"], small["series"]["kl"], rtol=1e-6)


def test_ends(cli: Any, folder: Path) -> None:
    by_time = cli.json(folder, *EVOLVE, *CONSTANT, "--time", "0.025", "--json")
    assert (by_time["steps"], by_time["time"]) == (3, 0.025)
    until = cli.json(folder, *EVOLVE, *CONSTANT, "--until", "1e-2", "--json")
    assert until["status"] == "converged"
    assert 1e-3 < until["residual_norm"] <= 1e-2
    first = ["--until", "1e-2", "--steps", "2", "--json"]
    assert cli.json(folder, *EVOLVE, *CONSTANT, *first)["status"] == "completed"


def test_record(cli: Any, folder: Path) -> None:
    words = [*EVOLVE, *CONSTANT, "--steps", "1", "--json"]
    some = cli.json(folder, *words, "--record", "kl", "bregman")
    assert list(some["end"]) == ["kl", "bregman"]
    more = cli.json(folder, *words, "--record", "all-cheap", "dissipation", "kl")
    assert list(more["end"]) == [*observables.CHEAP, "dissipation"]


def test_names_are_those_of_the_library() -> None:
    assert flows.RECORDS == observables.NAMES
    assert set(flows.DRAWN) <= set(observables.CHEAP)
    makers = re.findall(r"^`(\w+)`", str(schedules.__doc__), re.MULTILINE)
    assert set(makers) == set(scheduling.SCHEDULES)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("constant:0.01", schedules.constant(0.01)),
        ("inverse_sqrt:.5", schedules.inverse_sqrt(0.5)),
        ("inverse-sqrt:.5", schedules.inverse_sqrt(0.5)),
        ("inverse:2", schedules.inverse(2)),
        ("geometric:1e-3,1.5", schedules.geometric(1e-3, 1.5)),
        ("geometric:1e-3, 1.5, 7", schedules.geometric(1e-3, 1.5, 7)),
        ("horizon:1,2,50", schedules.horizon(1, 2, 50)),
        ("residual_balanced:3", schedules.residual_balanced(3)),
        ("polyak", schedules.polyak()),
        ("polyak:0.5,2", schedules.polyak(0.5, 2)),
        ("self_bounding:0.25", schedules.self_bounding(0.25)),
        ("adaptive:1e-3,1e-5", schedules.adaptive(1e-3, 1e-5)),
    ],
)
def test_schedules(text: str, want: Any) -> None:
    made = scheduling.parse(None, None, text)  # type: ignore[arg-type]
    assert repr(made) == repr(want)
    if callable(want):
        assert [made(k, 0.0, 0.1) for k in (0, 9)] == [want(k, 0.0, 0.1) for k in (0, 9)]


def test_schemes(cli: Any, folder: Path) -> None:
    def made(*words: Any) -> Scheme:
        return scheduling.Scheduling(schedules.constant(1.0), *words).make_scheme()

    assert made("explicit", None, None, "stability") == Explicit(cap="stability")
    assert made("explicit", None, None, "none") == Explicit()
    assert made("trbdf2", None, 1e-8, None) == pma.TRBDF2(rtol=1e-8)
    assert made("implicit_euler", "auto", None, None) == ImplicitEuler()
    for name, kind in (("multigrid", pma.Multigrid), ("amg", pma.AMG), ("direct", pma.Direct)):
        scheme = made("implicit_euler", name, None, None)
        assert isinstance(scheme, ImplicitEuler)
        assert isinstance(scheme.linear_solver, kind)
    words = ["--scheme", "explicit", "--steps", "50", "--json"]
    out = cli.json(folder, *EVOLVE, *words)
    limits = out["stability_limit"]
    assert 0.3 * min(limits) < out["smallest_step"] <= out["largest_step"] < max(limits)


def test_snapshots(cli: Any, folder: Path) -> None:
    words = [*EVOLVE, *CONSTANT, "--steps", "60", "--json"]
    at = cli.json(folder, *words, "--keep-times", "0.2,0,0.055")
    assert at["snapshot_times"] == pytest.approx([0, 0.06, 0.2])
    drawn = cli.json(folder, *words, "--plot", "f.png")
    assert drawn["snapshot_times"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    open_end = cli.json(folder, *EVOLVE, "--plot", "f.png", "--json")
    assert 6 <= len(open_end["snapshot_times"]) <= 20
    assert cli.json(folder, *words)["snapshot_times"] == []


def test_snapshots_for_films() -> None:
    assert flows.Ending(200, None, None).snapshots("film", 1.0) == 5
    assert flows.Ending(3, None, None).snapshots("film", 1.0) == 1
    times = flows.Ending(None, 0.5, None).snapshots("film", 4.0)
    assert not isinstance(times, int)
    assert (times[0], times[-1], times[1]) == (0.0, 0.5, pytest.approx(4e-5))
    assert 35 <= len(times) <= 45
    assert flows.Ending(200, None, None).snapshots(None, 1.0) == ()


def test_picture_and_film(cli: Any, folder: Path) -> None:
    # the picture needs series that were not asked for
    words = ["--steps", "3", "--record", "tv", "--plot", "f.png", "--animate", "f.gif"]
    text = cli.good(folder, *EVOLVE, *CONSTANT, *words)
    assert text.splitlines()[-1].endswith("f.npz, f.png, f.gif")
    with Image.open(folder / "f.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    with Image.open(folder / "f.gif") as film:
        assert getattr(film, "n_frames", 1) == 4
    assert list(pma.load(folder / "f.npz").series) == ["tv", *flows.DRAWN]


def test_a_picture_that_cannot_be_drawn_leaves_the_flow(cli: Any, folder: Path) -> None:
    words = [*EVOLVE, *CONSTANT, "--steps", "1", "--keep-times", "9", "--animate", "f.gif"]
    done = cli.run(folder, *words)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert "snapshots" in done.err and "f.npz" in done.err
    assert len(pma.load(folder / "f.npz")) == 1


# --- going on


def test_a_flow_goes_on(cli: Any, evolved: tuple[Path, dict[str, Any]], folder: Path) -> None:
    whole = evolved[1]
    halves = [*EVOLVE[:3], *CONSTANT, "--steps", "6", "--json", "--series"]
    first = cli.json(folder, *halves, "-o", "g.npz")
    second = cli.json(folder, *halves, "-o", "h.npz", "--initial", "g.npz")
    assert (second["first_step"], second["steps"]) == (6, 6)
    assert second["start_time"] == pytest.approx(0.06)
    assert first["series"]["kl"] == whole["series"]["kl"][:7]
    # not equal: its first steps are extrapolated from nothing
    np.testing.assert_allclose(second["series"]["kl"], whole["series"]["kl"][6:], rtol=1e-3)


def test_the_default_goes_on_from_the_last_step(cli: Any, evolved: Any, folder: Path) -> None:
    words = [*EVOLVE, "--steps", "2", "--json", "--series", "--initial"]
    out = cli.json(folder, *words, str(evolved[0] / "f.npz"))
    assert out["series"]["step_sizes"] == pytest.approx([0.015, 0.0225])
    assert out["schedule"].endswith("from step 12")


def test_transports_and_arrays_start_flows(cli: Any, folder: Path) -> None:
    words = "solve", "a.npy", "b.npy", "-o", "ot.npz", "--tol", "1e-9", "--no-averaging"
    cli.good(folder, *words)
    np.save(folder / "u.npy", pma.load(folder / "ot.npz").potential)
    for name in ("ot.npz", "u.npy"):
        out = cli.json(folder, *EVOLVE, "--steps", "0", "--json", "--initial", name)
        assert out["start"]["kl"] < 1e-12
        assert out["smallest_step"] is None


# --- the other side


def test_target_side(cli: Any, folder: Path) -> None:
    cli.good(folder, *EVOLVE, "--side", "target")
    flow = pma.load(folder / "f.npz")
    assert flow.side == "target"
    assert flow.transport.w2 == pytest.approx(pma.solve(_problem(folder)).w2, rel=1e-3)


# --- ends that were not asked for


def test_lost_convexity(cli: Any, folder: Path) -> None:
    words = ["--scheme", "explicit", "--schedule", "constant:0.01", "--steps", "500"]
    done = cli.run(folder, *EVOLVE, *words, "--json")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert "lost convexity" in done.err and "f.npz" in done.err
    out = cli.parsed(done.out)
    assert (out["status"], out["converged"]) == ("lost_convexity", False)
    flow = pma.load(folder / "f.npz")
    assert len(flow) == out["steps"] < 500
    assert np.isfinite(flow.potential).all()


def test_residual_not_reached(cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "MOST_STEPS", 3)
    done = cli.run(folder, *EVOLVE)
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert "--until" in done.err
    assert len(pma.load(folder / "f.npz")) == 3


def test_a_step_that_fails(cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ImplicitEuler.step

    def fails_later(self: ImplicitEuler, state: Any, size: float) -> Any:
        return step(self, state, size) if state.index < 2 else None

    monkeypatch.setattr(ImplicitEuler, "step", fails_later)
    done = cli.run(folder, *EVOLVE, *CONSTANT, "--steps", "9", "--json")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert cli.parsed(done.out)["status"] == "step_failed"
    assert len(pma.load(folder / "f.npz")) == 2


def test_an_interrupt_saves_the_flow(cli: Any, folder: Path) -> None:
    """A real SIGINT in the middle of a run."""
    code = f"""
import os, signal, sys
from pma_grid.cli import main
from pma_grid.flow.recording import Recorder
signal.signal(signal.SIGINT, signal.default_int_handler)
add = Recorder.add
def interrupted(self, state):
    if state.index == 3:
        os.kill(os.getpid(), signal.SIGINT)
    add(self, state)
Recorder.add = interrupted
sys.exit(main([*{EVOLVE!r}, *{CONSTANT!r}, "--steps", "50", "--plot", "f.png", "--json"]))
"""
    done = cli.process(folder, ["-c", code])
    assert done.status == 130
    lines = done.err.splitlines()
    assert len(lines) == 1, lines
    assert "interrupted after step 2 at t = 0.02" in lines[0]
    assert "--initial f.npz" in lines[0]
    out = cli.parsed(done.out)
    assert (out["status"], out["files"]) == ("interrupted", ["f.npz"])
    assert len(pma.load(folder / "f.npz")) == 2
    assert not (folder / "f.png").exists()
    more = ["evolve", "a.npy", "b.npy", "-o", "g.npz", "--initial", "f.npz", *CONSTANT]
    assert cli.json(folder, *more, "--time", "0.05", "--json")["steps"] == 3


def test_an_interrupt_before_the_start(
    cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pma_grid.flow.recording.Recorder.add", interrupt)
    done = cli.run(folder, *EVOLVE)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")
    assert not (folder / "f.npz").exists()


# --- info and plot


def test_info_repeats_evolve(cli: Any, evolved: tuple[Path, dict[str, Any]]) -> None:
    path, out = evolved
    told = cli.json(path, "info", "f.npz", "--json", "--series")
    assert told | {"files": ["f.npz"]} == out
    assert "series" not in cli.json(path, "info", "f.npz", "--json")
    assert "completed" in cli.good(path, "info", "f.npz")


@pytest.mark.parametrize(
    ("name", "options"),
    [("p.png", ()), ("k.svg", ("--kind", "kl")), ("h.png", ("--kind", "history")),
     ("f.gif", ()), ("g.gif", ("--kind", "animation"))],
)  # fmt: skip
def test_plot(cli: Any, name: str, options: tuple[str, ...], evolved: Any) -> None:
    path, _ = evolved
    assert cli.good(path, "plot", "f.npz", "-o", name, *options) == f"{name}\n"
    if name.endswith(".svg"):
        assert b"<svg" in (path / name).read_bytes()
        return
    with Image.open(path / name) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
        assert getattr(picture, "n_frames", 1) == (4 if name.endswith(".gif") else 1)


def test_a_flow_without_snapshots_is_drawn_by_its_entropies(cli: Any, folder: Path) -> None:
    cli.good(folder, *EVOLVE, *CONSTANT, "--steps", "2")
    cli.good(folder, "plot", "f.npz", "-o", "f.png")
    assert (folder / "f.png").stat().st_size > 5_000
    assert "no snapshots" in cli.refused(
        folder, "plot", "f.npz", "-o", "g.png", "--kind", "panel"
    )  # fmt: skip


# --- refusals

WRONG = {
    "schedule-name": (("--schedule", "magic:1"), "--schedule"),
    "schedule-names": (("--schedule", "magic"), "geometric:FIRST,RATIO[,LARGEST]"),
    "schedule-many": (("--schedule", "constant:1,2"), "constant:STEP_SIZE"),
    "schedule-text": (("--schedule", "constant:small"), "--schedule"),
    "schedule-zero": (("--schedule", "constant:0"), "must be a finite number > 0"),
    "scheme": (("--scheme", "magic"), "--scheme"),
    "steps": (("--steps", "-1"), "--steps"),
    "time": (("--time", "0"), "--time"),
    "record": (("--record", "kll"), "kll"),
    "record-missing": (("--record",), "--record"),
    "keep-both": (("--keep", "1", "--keep-times", "1"), "--keep-times"),
    "keep-times": (("--keep-times", "0;1"), "--keep-times"),
    "side": (("--side", "left"), "--side"),
    "initial-missing": (("--initial", "none.npz"), "none.npz does not exist"),
    "initial-convex": (("--initial", "b.npy"), "not convex"),
    "initial-foreign": (("--initial", "two.npz"), "two.npz"),
    "initial-overwritten": (("--initial", "f.npz"), "f.npz is an input too"),
    "rtol": (("--rtol", "-1"), "rtol"),
    "rtol-explicit": (("--rtol", "1e-3", "--scheme", "explicit"), "--rtol"),
    "solver": (("--linear-solver", "magic"), "--linear-solver"),
    "cap-implicit": (("--cap", "stability"), "--cap"),
    "cap": (("--cap", "high", "--scheme", "explicit"), "--cap"),
    "picture": (("--plot", "f.docx"), ".docx"),
    "film": (("--animate", "f.png"), ".gif, .mp4"),
    "outputs-equal": (("--plot", "o.png", "-o", "o.png"), "another output too"),
    "series": (("--series",), "--json"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals(cli: Any, name: str, folder: Path) -> None:
    np.save(folder / "small.npy", np.ones((4, 4)))
    np.savez(folder / "two.npz", a=np.ones(3), b=np.ones(3))
    options, words = WRONG[name]
    assert words in cli.refused(folder, *EVOLVE, *options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "f.png", "--kind", "poster"), "--kind poster"),
        (("-o", "f.gif", "--kind", "kl"), "-o"),
        (("-o", "f.png", "--kind", "animation"), "-o"),
    ],
)
def test_refused_plots(
    cli: Any, words: tuple[str, ...], said: str, evolved: Any, tmp_path: Path
) -> None:
    assert said in cli.refused(tmp_path, "plot", str(evolved[0] / "f.npz"), *words)


def test_transports_have_no_film(cli: Any, folder: Path) -> None:
    cli.good(folder, "solve", "a.npy", "b.npy", "-o", "ot.npz")
    assert "film" in cli.refused(folder, "plot", "ot.npz", "-o", "f.gif")
    assert "--kind panel" in cli.refused(folder, "plot", "ot.npz", "-o", "f.png", "--kind", "panel")


def test_mp4_needs_ffmpeg(cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "ffmpeg" in cli.refused(folder, *EVOLVE, "--animate", "f.mp4")


def test_values_of_an_option_are_spread() -> None:
    given = ["evolve", "--record", "kl", "tv", "a.npy", "--record", "chi2", "-o", "f.npz"]
    want = "evolve --record kl --record tv a.npy --record chi2 -o f.npz"
    assert " ".join(spread(given)) == want
    assert " ".join(spread(["--sizes", "8", "16", "--record"])) == "--sizes 8 --sizes 16 --record"
    assert spread(["--record", "-", "a.npy"]) == ["--record", "-", "a.npy"]
