"""The command line: results of solve, study, plot and info, refusals, exit statuses."""

import errno
import io
import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import pma_grid as pma
from pma_grid.cli import group, main

COMMANDS = (
    "demo", "solve", "evolve", "sinkhorn", "compare", "study", "validate", "fit", "sample", "infer",
    "plot", "info",
)  # fmt: skip
HELP_SECONDS = 5.0  # some 0.1 on an idle machine; importing the solvers takes over a second


def _bump(*shape: int) -> np.ndarray:
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    return np.asarray(1 + 0.5 * np.prod([np.cos(np.pi * x) for x in axes], axis=0))


@pytest.fixture(scope="module")
def solved(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a result ot.npz, and what `solve --json` printed of it."""
    path = cli.fill(tmp_path_factory.mktemp("solved"))
    return path, json.loads(cli.good(path, "solve", "a.npy", "b.npy", "-o", "ot.npz", "--json"))


# --- help and version


def test_help_is_quick_and_names_every_command(cli: Any, tmp_path: Path) -> None:
    start = time.perf_counter()
    text = cli.process(tmp_path, ["-m", "pma_grid", "--help"]).out
    assert time.perf_counter() - start < HELP_SECONDS
    for command in COMMANDS:
        assert f"  {command} " in text


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_no_numerics(cli: Any, command: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pma_grid.cli import group, main; "
        f"status = main([*{command.split()!r}, '--help']); "
        "print(status, *[m for m in ('click', 'numba', 'pyamg', 'numpy', 'scipy', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = cli.process(tmp_path, ["-c", code])
    # click shows that the list can be anything but empty
    assert done.out.splitlines()[-1] == "0 click"


def test_every_option_has_a_help() -> None:
    for name, command in group.cli.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]}"


def test_every_example_of_the_help_parses(cli: Any, folder: Path) -> None:
    text = cli.good(folder, "solve", "--help")
    assert "--box-source '0,1 0,2'" in text
    boxes = ["--box-source", "0,1 0,2", "--box-target", "0,1 0,2"]
    out = json.loads(cli.good(folder, "solve", "a.npy", "b.npy", "-o", "o.npz", *boxes, "--json"))
    assert out["converged"] is True


def test_version(cli: Any, tmp_path: Path) -> None:
    done = cli.process(tmp_path, ["-m", "pma_grid", "--version"])
    assert (done.status, done.out.split()[-1], done.err) == (0, pma.__version__, "")


def test_no_arguments_show_the_help(cli: Any, tmp_path: Path) -> None:
    assert cli.good(tmp_path).startswith("Usage: pma-grid")


def test_a_reader_that_left_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("sys.stdout", Gone())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert main(["study", "quantile", "--sizes", "16", "32"]) == 0


# --- demo and solve


def test_demo(cli: Any, tmp_path: Path) -> None:
    text = cli.good(tmp_path, "demo", "--size", "32")
    printed = float(text.split("W2", 1)[1].split()[0])
    assert printed == pytest.approx(pma.load(tmp_path / "demo.npz").w2, rel=1e-7)
    assert 0.10 < printed < 0.15
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.npz", "demo.png"]


def test_solve_agrees_with_the_library(solved: tuple[Path, dict[str, Any]]) -> None:
    path, out = solved
    ot = pma.solve(pma.Problem(np.load(path / "a.npy"), np.load(path / "b.npy")))
    assert out["w2"] == pytest.approx(ot.w2, rel=1e-9)
    assert out["w2_squared"] == pytest.approx(out["w2"] ** 2)
    assert out["status"] == "converged"
    assert out["residual"] <= out["tol"]
    assert out["source_shape"] == out["target_shape"] == [16, 16]
    assert out["files"] == ["ot.npz"]
    np.testing.assert_allclose(pma.load(path / "ot.npz").potential, ot.potential, atol=1e-12)


def test_info_repeats_solve(cli: Any, solved: tuple[Path, dict[str, Any]]) -> None:
    path, out = solved
    told = json.loads(cli.good(path, "info", "ot.npz", "--json"))
    assert told["w2"] == pytest.approx(out["w2"], rel=1e-12)
    same = ("status", "residual", "mass_constant", "iterations", "floors", "versions", "tol")
    assert {key: told[key] for key in same} == {key: out[key] for key in same}


@pytest.mark.parametrize("kind", ["poster", "map", "interpolation", "history"])
def test_plot(cli: Any, kind: str, solved: tuple[Path, dict[str, Any]]) -> None:
    path, _ = solved
    assert cli.good(path, "plot", "ot.npz", "-o", f"{kind}.png", "--kind", kind) == f"{kind}.png\n"
    with Image.open(path / f"{kind}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_csv_and_plot_option(cli: Any, folder: Path) -> None:
    for name in ("a", "b"):
        np.savetxt(folder / f"{name}.csv", np.load(folder / f"{name}.npy"), delimiter=",")
    text = cli.good(folder, "solve", "a.csv", "b.npy", "-o", "o.npz", "--plot", "o.svg")
    assert "o.npz, o.svg" in text
    assert b"<svg" in (folder / "o.svg").read_bytes()
    np.testing.assert_allclose(
        pma.load(folder / "o.npz").problem.source.values,
        pma.Density(np.load(folder / "a.npy")).values,
    )


def test_pictures(cli: Any, folder: Path) -> None:
    for name, values in (("a", _bump(12, 20)), ("b", _bump(12, 20)[:, ::-1])):
        Image.fromarray((100 * values).astype(np.uint8)).save(folder / f"{name}.png")
    out = json.loads(cli.good(folder, "solve", "a.png", "b.png", "-o", "o.npz", "--json"))
    assert out["source_shape"] == [12, 20]
    assert out["w2"] > 0.01


@pytest.mark.parametrize("which", [0, 1])
def test_standard_input(cli: Any, which: int, folder: Path) -> None:
    files = ["a.npy", "b.npy"]
    want = json.loads(cli.good(folder, "solve", *files, "-o", "o.npz", "--json"))["w2"]
    stream = (folder / files[which]).read_bytes()
    files[which] = "-"
    out = json.loads(cli.good(folder, "solve", *files, "-o", "o.npz", "--json", stdin=stream))
    assert out["w2"] == want


@pytest.mark.parametrize("shape", [(40,), (8, 8, 8)])
def test_one_and_three_axes(cli: Any, shape: tuple[int, ...], folder: Path) -> None:
    np.save(folder / "c.npy", _bump(*shape))
    np.save(folder / "d.npy", np.ones(shape))
    words = ["solve", "c.npy", "d.npy", "-o", "o.npz", "--plot", "o.png", "--json"]
    out = json.loads(cli.good(folder, *words))
    assert out["source_shape"] == list(shape)
    assert out["converged"] is True
    assert out["w2"] > 0.005
    assert (folder / "o.png").stat().st_size > 10_000


def test_boxes_move_the_densities(cli: Any, folder: Path) -> None:
    # translated by (3, -4): the map is a translation
    words = ["solve", "a.npy", "a.npy", "-o", "o.npz", "--json"]
    boxes = ["--box-source", "0,1 0,1", "--box-target", "3,4 -4,-3"]
    assert json.loads(cli.good(folder, *words, *boxes))["w2"] == pytest.approx(5.0, rel=1e-9)


def test_the_target_can_be_cut_to_a_polygon(cli: Any, folder: Path) -> None:
    corners = [(0.1, 0.1), (0.9, 0.2), (0.3, 0.9)]
    words = " ".join(f"{x},{y}" for x, y in corners)
    cli.good(folder, "solve", "a.npy", "b.npy", "-o", "o.npz", "--target-polygon", words)
    ot = pma.load(folder / "o.npz")
    assert isinstance(ot, pma.Transport)
    assert pma.Polygon(corners).contains(ot.gradient.reshape(2, -1).T).all()


def test_one_json_object_for_every_command(cli: Any, folder: Path) -> None:
    study = cli.good(folder, "study", "quantile", "--sizes", "16", "32", "--json")
    demo = cli.good(folder, "demo", "--size", "16", "--json")
    for text in (study, demo):
        assert text.count("\n") == 1
        assert isinstance(json.loads(text), dict)
    assert json.loads(demo)["files"] == ["demo.npz", "demo.png"]
    assert [row["n"] for row in json.loads(study)["rows"]] == [16, 32]


def test_not_converged_writes_the_partial_result(cli: Any, folder: Path) -> None:
    words = ["solve", "a.npy", "b.npy", "-o", "part.npz", "--json", "--no-fallback"]
    done = cli.run(folder, *words, "--max-iterations", "1", "--tol", "1e-12")
    assert done.status == 1
    lines = done.err.splitlines()
    assert len(lines) == 1
    assert "did not converge" in lines[0] and "part.npz" in lines[0]
    out = json.loads(done.out)
    assert (out["status"], out["converged"]) == ("max_iterations", False)
    part = pma.load(folder / "part.npz")
    assert not part.converged
    assert np.isfinite(part.potential).all()


# --- study


def test_study_prints_orders(cli: Any, folder: Path) -> None:
    words = ["study", "manufactured", "--sizes", "16", "32", "-o", "orders.png"]
    text = cli.good(folder, *words)
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["manufactured-2d"]
    assert [row[0] for row in rows[2:4]] == ["16", "32"]
    assert rows[4][0] == "order"
    assert 1.6 < float(rows[4][3]) < 2.6  # of the map
    assert (folder / "orders.png").stat().st_size > 10_000


# --- refusals


def _npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


# file name, its bytes, a word that the refusal must hold; test_readers has every kind of bad file
BAD_FILES = {
    "nan": ("x.npy", _npy(np.where(np.eye(8) > 0, np.nan, 1.0)), "NaN"),
    "no-mass": ("x.npy", _npy(np.zeros((8, 8))), "mass"),
    "garbage": ("x.npy", b"\x93NUMPY\x01\x00not a header at all" * 9, "cannot be read"),
    "truncated": ("x.npy", _npy(_bump(16, 16))[:-200], "truncated"),
    "header-row": ("x.csv", b"x,y\n1,2\n", "numbers"),
    "suffix": ("x.mat", b"data", ".npy"),
    "other-dimension": ("x.npy", _npy(_bump(16)), "axes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(cli: Any, name: str, folder: Path) -> None:
    file, data, word = BAD_FILES[name]
    (folder / file).write_bytes(data)
    assert word in cli.refused(folder, "solve", file, "b.npy", "-o", "o.npz")
    assert word in cli.refused(folder, "solve", "a.npy", file, "-o", "o.npz")


def test_bad_standard_input(cli: Any, folder: Path) -> None:
    for stream in (b"", b"garbage", _npy(_bump(16, 16))[:-8]):
        words = ("solve", "-", "b.npy", "-o", "o.npz")
        assert "standard input" in cli.refused(folder, *words, stdin=stream)


OUT = ("-o", "o.npz")
SOLVE = ("solve", "a.npy", "b.npy")
BAD_USAGE = {
    "missing-file": (("solve", "none.npy", "b.npy", *OUT), "none.npy"),
    "folder-as-file": (("solve", "folder.npy", "b.npy", *OUT), "folder.npy"),
    "both-stdin": (("solve", "-", "-", *OUT), "standard input"),
    "box-text": ((*SOLVE, *OUT, "--box-source", "zero,one 0,1"), "--box-source"),
    "box-of-one-axis": ((*SOLVE, *OUT, "--box-target", "0,1"), "target b.npy"),
    "polygon-text": ((*SOLVE, *OUT, "--target-polygon", "a,b c,d e,f"), "--target-polygon"),
    "polygon-dented": ((*SOLVE, *OUT, "--target-polygon", "0,0 1,0 .2,.2 0,1"), "--target-polygon"),
    "polygon-outside": ((*SOLVE, *OUT, "--target-polygon", "0,0 2,0 0,1"), "--target-polygon"),
    "tol-negative": ((*SOLVE, *OUT, "--tol", "-1e-3"), "tol"),
    "floor-negative": ((*SOLVE, *OUT, "--floor-source", "-1"), "floor"),
    "steps": ((*SOLVE, *OUT, "--max-iterations", "0"), "--max-iterations"),
    "solver": ((*SOLVE, *OUT, "--linear-solver", "magic"), "--linear-solver"),
    "missing-output": (SOLVE, "--output"),
    "missing-target": (("solve", "a.npy", *OUT), "TARGET"),
    "extra-argument": ((*SOLVE, "c.npy", *OUT), "c.npy"),
    "unknown-option": ((*SOLVE, *OUT, "--fast"), "--fast"),
    "unknown-command": (("transport",), "transport"),
    "output-is-folder": ((*SOLVE, "-o", "folder.npy"), "is a folder"),
    "output-folder": ((*SOLVE, "-o", "no/o.npz"), "no"),
    "picture-folder": ((*SOLVE, *OUT, "--plot", "no/o.png"), "no"),
    "picture-suffix": ((*SOLVE, *OUT, "--plot", "o.docx"), ".docx"),
    "demo-folder": (("demo", "-o", "no"), "no"),
    "demo-size": (("demo", "--size", "2"), "--size"),
    "study-name": (("study", "magic"), "magic"),
    "study-dim": (("study", "radial", "--dim", "3"), "--dim"),
    "sizes-one": (("study", "radial", "--sizes", "16"), "sizes"),
    "sizes-falling": (("study", "radial", "--sizes", "32", "16"), "increasing"),
    "sizes-missing": (("study", "radial", "--sizes"), "--sizes"),
    "sizes-missing-before-option": (("study", "radial", "--sizes", "--json"), "--sizes"),
    "info-missing": (("info", "none.npz"), "none.npz"),
    "info-without-transport": (("info", "other.npz"), "other.npz"),
    "plot-suffix": (("plot", "given.npz", "-o", "o.txt"), "o.txt"),
    "plot-kind": (("plot", "given.npz", "-o", "o.png", "--kind", "film"), "--kind"),
    "plot-no-history": (("plot", "given.npz", "-o", "o.png", "--kind", "history"), "history"),
}


@pytest.mark.parametrize("name", BAD_USAGE)
def test_bad_usage(cli: Any, name: str, folder: Path) -> None:
    arguments, words = BAD_USAGE[name]
    (folder / "folder.npy").mkdir()
    pma.Transport.from_potential(
        pma.Problem(np.ones(4), np.ones(4)), 0.5 * ((np.arange(4) + 0.5) / 4) ** 2
    ).save(folder / "given.npz")
    np.savez(folder / "other.npz", u=np.ones(3))
    assert words in cli.refused(folder, *arguments)


def test_an_output_folder_is_asked_for_before_the_input_is_read(cli: Any, folder: Path) -> None:
    for options in (("-o", "no/o.npz"), ("-o", "o.npz", "--plot", "no/o.png")):
        assert "none.npy" not in cli.refused(folder, "solve", "none.npy", "b.npy", *options)


def test_damaged_results(cli: Any, solved: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    whole = (solved[0] / "ot.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-40])
    assert "cut.npz" in cli.refused(tmp_path, "info", "cut.npz")
