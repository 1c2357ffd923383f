"""The command line: fit, sample, infer, and what info and plot make of their files."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.cli import generating
from pma_grid.problem.tables import WRITTEN, read_table
from pma_grid.runtime import storage

ROOT = Path(__file__).resolve().parents[1]
LOG_DENSITIES = '''
"""Log-densities, right and wrong."""
import numpy as np

def gamma(rate):
    return 3 * np.log(rate) - rate

def normal(a, b):
    return -(a * a + (b - 1) ** 2) / 2

def nan(x):
    return np.where(x > 1, np.nan, -x * x)

def fails(x):
    raise KeyError("prior")

def one(x):
    return -x * x / 2

not_one = 3
'''


def _write(folder: Path) -> Path:
    """Points p.csv with a header and p.npy of one coordinate less; log-densities f.py."""
    points = np.random.default_rng(0).normal(size=(300, 2)) @ [[1.0, 0.6], [0.0, 0.8]]
    np.savetxt(folder / "p.csv", points, delimiter=",", header="width,height", comments="")
    np.save(folder / "p.npy", points[:, 0])
    (folder / "f.py").write_text(LOG_DENSITIES)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with points and log-densities."""
    return _write(tmp_path)


@pytest.fixture(scope="module")
def fitted(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a model m.npz, and what `fit --json` printed."""
    path = _write(tmp_path_factory.mktemp("fitted"))
    words = ["fit", "p.csv", "-o", "m.npz", "--size", "16,20", "--strength", "1e-4", "--json"]
    return path, cli.json(path, *words)


@pytest.fixture(scope="module")
def inferred(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a posterior q.npz, and what `infer --json` printed."""
    path = _write(tmp_path_factory.mktemp("inferred"))
    words = ["infer", "f.py:normal", "--box", "-20,20 -20,20", "-o", "q.npz", "--size", "64"]
    return path, cli.json(path, *words, "--json")


# --- fit


def test_fit_agrees_with_the_library(fitted: tuple[Path, dict[str, Any]]) -> None:
    path, out = fitted
    points = np.loadtxt(path / "p.csv", delimiter=",", skiprows=1)
    model = pma.fit(points, pma.learning.Logistic(1e-4), shape=(16, 20))
    saved = pma.load(path / "m.npz")
    assert isinstance(saved, pma.Model)
    np.testing.assert_allclose(saved.density.values, model.density.values, rtol=1e-9, atol=1e-12)
    assert out["names"] == ["width", "height"] == list(saved.names)
    assert (out["method"], out["strength"], out["samples"]) == ("logistic", 1e-4, 300)
    assert (out["converged"], out["seed"], out["files"]) == (True, 0, ["m.npz"])
    assert out["mass_constant"] == pytest.approx(model.flow["mass_constant"][-1])
    assert out["held_out_log_likelihood"] is None, "no strength was chosen"


def test_fit_says_what_it_learned(cli: Any, data: Path) -> None:
    words = ["fit", "p.npy", "-o", "m.npz", "--size", "64", "--plot", "m.png", "--seed", "5"]
    text = cli.good(data, *words)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    model = pma.load(data / "m.npz")
    assert isinstance(model, pma.Model)
    assert f"{model.stats['strength']:.3g}" in lines["method"]
    assert "seed 5" in lines["held-out"]
    assert lines["files"].endswith("m.npz, m.png")
    assert (data / "m.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("words", "estimator"),
    [
        (("--penalty", "h1"), pma.learning.Logistic(0.01, "h1")),
        (("--method", "score"), pma.learning.Score(0.01)),
        (("--method", "kde"), pma.learning.Kernel(0.01)),
        (("--method", "histogram"), pma.learning.Histogram(0.01)),
    ],
)
def test_methods(cli: Any, data: Path, words: tuple[str, ...], estimator: Any) -> None:
    out = cli.run(
        data, "fit", "p.npy", "-o", "m.npz", "--size", "32", "--strength", "0.01", "--json", *words
    )
    assert json.loads(out.out)["estimator"] == repr(estimator)


def test_boxes_bases_and_standard_input(cli: Any, data: Path) -> None:
    words = ["fit", "-", "-o", "m.npz", "--size", "32", "--strength", "1e-4", "--json"]
    stream = (data / "p.npy").read_bytes()
    out = cli.parsed(cli.good(data, *words, "--box", "-9,9", "--base", "uniform", stdin=stream))
    assert (out["grid"]["lower"], out["grid"]["upper"]) == ([-9.0], [9.0])
    model = pma.load(data / "m.npz")
    assert isinstance(model, pma.Model)
    assert np.ptp(model.sampler.base.values) == 0
    np.save(data / "base.npy", 1 + np.arange(40.0))
    cli.good(data, *words, "--base", "base.npy", "--base-box", "0,8", stdin=stream)
    base = pma.load(data / "m.npz").transport.problem.target
    assert (base.shape, base.grid.upper) == ((40,), (8.0,))
    np.testing.assert_allclose(base.values[-1] / base.values[0], 40.0)


def test_relearning(cli: Any, data: Path) -> None:
    words = ["fit", "p.npy", "-o", "m.npz", "--size", "32", "--relearn", "--json"]
    out = cli.json(data, *words)
    assert out["relearn"] is True
    assert out["stopped_at"] == out["steps"] >= 1


HISTOGRAM = ("fit", "few.npy", "-o", "m.npz", "--method", "histogram", "--strength", "1e-6",
             "--size", "16", "--json")  # fmt: skip


def test_a_histogram_of_few_points_is_followed(cli: Any, data: Path) -> None:
    # cells without mass around them
    np.save(data / "few.npy", np.random.default_rng(0).normal(size=(40, 2)))
    out = cli.json(data, *HISTOGRAM)
    assert (out["status"], out["flow"], out["converged"]) == ("CONVERGED", "CONVERGED", True)
    cli.good(data, "info", "m.npz")
    cli.good(data, "sample", "m.npz", "-n", "50", "-o", "s.csv", "--plot", "s.png")
    assert np.isfinite(read_table(data / "s.csv")[0]).all()


def test_a_model_that_did_not_converge_is_written(
    cli: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gives_up(states: Iterator[Any]) -> Iterator[Any]:
        yield next(states)
        raise pma.ConvergenceError(pma.Status.STEP_FAILED.value)

    def fails(problem: pma.Problem, initial: np.ndarray) -> pma.Transport:
        result = pma.Transport(problem, initial, status=pma.Status.STEP_FAILED)
        raise pma.ConvergenceError("a hard law", result=result)

    np.save(data / "few.npy", np.random.default_rng(0).normal(size=(40, 2)))
    monkeypatch.setattr("pma_grid.flow.settling.solve", fails)
    monkeypatch.setattr("pma_grid.learning.running.while_easy", gives_up)
    done = cli.run(data, *HISTOGRAM)
    assert done.status == 1
    assert json.loads(done.out)["converged"] is False
    assert "did not converge" in done.err and "m.npz" in done.err and done.err.count("\n") == 1
    assert isinstance(pma.load(data / "m.npz"), pma.Model)


def _rows(*lines: str, n: int = 30) -> str:
    good = [f"{np.sin(k):.3f},{np.cos(k):.3f}" for k in range(n)]
    return "\n".join([*lines, *good]) + "\n"


@pytest.mark.parametrize(
    ("text", "words", "complaint"),
    [
        (None, (), "bad.csv does not exist"),
        (_rows("1.0,x"), (), "'x' in line 1"),
        (_rows(n=5), (), "5 points"),
        (_rows(), ("--box", "0,1 0,1"), "box"),
        (_rows(), ("--box", "0,1"), "box"),
        (_rows(), ("--size", "64,64,64"), "shape"),
        (_rows(), ("--size", "x"), "--size"),
        (_rows(), ("--held-out", "1"), "held_out"),
        (_rows(), ("--strength", "-1"), "strength"),
        (_rows(), ("--method", "gan"), "--method"),
        (_rows(), ("--method", "kde", "--penalty", "h1"), "--penalty"),
        (_rows(), ("--base", "cauchy"), "cauchy"),
        (_rows(), ("--base-box", "0,1 0,1"), "--base-box"),
        (_rows(), ("--seed", "-1"), "'--seed'"),
        (_rows(), ("--plot", "m.txt"), "m.txt"),
        (_rows(), ("-o", "bad.csv"), "is an input too"),
        (_rows(), ("-o", "none/m.npz"), "none"),
    ],
)
def test_fit_refuses(
    cli: Any, tmp_path: Path, text: str | None, words: tuple[str, ...], complaint: str
) -> None:
    if text is not None:
        (tmp_path / "bad.csv").write_text(text)
    given = ("-o", "m.npz", *words)
    assert complaint in cli.refused(tmp_path, "fit", "bad.csv", *given)


def test_fit_refuses_results(cli: Any, fitted: tuple[Path, dict[str, Any]]) -> None:
    path, _ = fitted
    assert "holds a model, no points" in cli.refused(path, "fit", "m.npz", "-o", "n.npz")


# --- sample


@pytest.mark.parametrize("ending", [".csv", ".npz", ".npy"])
def test_samples_are_those_of_the_library(
    cli: Any, fitted: tuple[Path, dict[str, Any]], ending: str
) -> None:
    path, _ = fitted
    words = ["sample", "m.npz", "-n", "50", "--seed", "7"]
    text = cli.good(path, *words, "-o", f"new{ending}")
    assert "50 points" in text and "seed 7" in text
    first = (path / f"new{ending}").read_bytes()
    cli.good(path, *words, "-o", f"new{ending}")
    assert (path / f"new{ending}").read_bytes() == first, "the same seed, the same file"
    points, names = read_table(path / f"new{ending}")
    model = pma.load(path / "m.npz")
    assert isinstance(model, pma.Model)
    np.testing.assert_array_equal(points, model.sample(50, seed=7))
    assert names == (() if ending == ".npy" else ("width", "height"))
    cli.good(path, *words[:-1], "8", "-o", f"other{ending}")
    assert (path / f"other{ending}").read_bytes() != first


def test_a_csv_is_plain_and_its_sidecar_says_how_it_was_made(
    cli: Any, fitted: tuple[Path, dict[str, Any]]
) -> None:
    path, _ = fitted
    out = cli.json(path, "sample", "m.npz", "-n", "3", "-o", "new.csv", "--seed", "7", "--json")
    assert out["files"] == ["new.csv", "new.csv.json"]
    header, *rows = (path / "new.csv").read_text().splitlines()
    assert (header, len(rows)) == ("width,height", 3)
    assert np.genfromtxt(path / "new.csv", names=True, delimiter=",")["height"].shape == (3,)
    facts = json.loads((path / "new.csv.json").read_text())
    assert (facts["command"], facts["seed"]) == ("pma-grid sample", 7)
    assert (facts["version"], facts["model"]) == (pma.__version__, "m.npz")


def test_tables_are_those_of_the_library() -> None:
    assert generating.TABLES == WRITTEN


def test_without_a_seed_a_new_one_is_recorded(
    cli: Any, fitted: tuple[Path, dict[str, Any]]
) -> None:
    path, _ = fitted
    words = ["sample", "m.npz", "-n", "20", "--json"]
    out = [cli.json(path, *words, "-o", f"s{k}.npz") for k in (0, 1)]
    assert out[0]["seed"] != out[1]["seed"]
    _, meta = storage.load(path / "s0.npz")
    assert meta["seed"] == out[0]["seed"]
    cli.json(path, *words, "-o", "again.npz", "--seed", str(out[0]["seed"]))
    again = read_table(path / "again.npz")[0]
    np.testing.assert_array_equal(again, read_table(path / "s0.npz")[0])


def test_new_points_can_be_fitted(cli: Any, fitted: tuple[Path, dict[str, Any]]) -> None:
    path, _ = fitted
    cli.good(path, "sample", "m.npz", "-n", "200", "-o", "new.csv", "--plot", "new.png")
    assert (path / "new.png").stat().st_size > 10_000
    out = cli.json(
        path, "fit", "new.csv", "-o", "again.npz", "--size", "16", "--strength", "1e-3", "--json"
    )
    assert (out["samples"], out["names"]) == (200, ["width", "height"])


def test_samples_of_a_transport_come_from_its_source(cli: Any, folder: Path) -> None:
    cli.good(folder, "solve", "a.npy", "b.npy", "-o", "ot.npz", "--box-source", "2,3 0,1")
    text = cli.good(folder, "sample", "ot.npz", "-n", "400", "-o", "s.csv", "--seed", "1")
    assert "of the source" in text
    points, names = read_table(folder / "s.csv")
    assert names == ("x0", "x1")
    assert (points.min(axis=0) >= [2, 0]).all() and (points.max(axis=0) <= [3, 1]).all()
    ot = pma.load(folder / "ot.npz")
    np.testing.assert_array_equal(points, pma.Sampler(ot).sample(400, seed=1))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("m.npz", "-n", "0", "-o", "s.csv"), "'-n'"),
        (("m.npz", "-o", "s.csv"), "'-n'"),
        (("m.npz", "-n", "5", "-o", "s.csv", "--seed", "-3"), "'--seed'"),
        (("m.npz", "-n", "5", "-o", "s.txt"), ".csv, .npz, .npy"),
        (("m.npz", "-n", "5", "-o", "m.npz"), "is an input too"),
        (("m.npz", "-n", "5", "-o", "s.csv", "--plot", "s.gif"), "s.gif"),
        (("none.npz", "-n", "5", "-o", "s.csv"), "does not exist"),
        (("p.npy", "-n", "5", "-o", "s.csv"), "p.npy"),
    ],
)
def test_sample_refuses(
    cli: Any, fitted: tuple[Path, dict[str, Any]], words: tuple[str, ...], complaint: str
) -> None:
    assert complaint in cli.refused(fitted[0], "sample", *words)


# --- infer


def test_infer_agrees_with_the_closed_form(inferred: tuple[Path, dict[str, Any]]) -> None:
    _, out = inferred
    truth = np.log(2 * np.pi)
    evidence = out["evidence"]
    assert abs(evidence["log_evidence"] - truth) < 1e-4
    assert list(out["parameters"]) == ["a", "b"], "names are those of the function"
    assert out["parameters"]["b"]["mean"] == pytest.approx(1.0, abs=1e-3)
    assert out["parameters"]["a"]["std"] == pytest.approx(1.0, abs=1e-2)
    for part in ("quadrature", "tail_error", "floor", "gap", "mass_constant"):
        assert np.isfinite(evidence[part])
    assert evidence["lower"] <= evidence["limit"] <= evidence["upper"]
    assert out["evaluations"] > 1000


def test_infer_says_what_it_found(cli: Any, data: Path) -> None:
    words = ["infer", "f.py:gamma", "--box", "0,60", "-o", "q.npz", "--size", "64"]
    text = cli.good(data, *words, "--plot", "q.png")
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert float(lines["rate"].split()[1]) == pytest.approx(4.0, abs=0.01)
    assert float(lines["log Z"].split()[2]) == pytest.approx(np.log(6.0), abs=1e-3)
    assert lines["files"].endswith("q.npz, q.png")
    assert (data / "q.png").stat().st_size > 20_000


def test_a_posterior_can_be_sampled(cli: Any, inferred: tuple[Path, dict[str, Any]]) -> None:
    path, _ = inferred
    text = cli.good(path, "sample", "q.npz", "-n", "500", "-o", "s.csv", "--seed", "2")
    assert "of the posterior" in text
    points, names = read_table(path / "s.csv")
    assert names == ("a", "b")
    assert abs(points.mean(axis=0) - [0, 1]).max() < 5 / np.sqrt(500)


def test_modules_beside_the_file_are_found(cli: Any, data: Path) -> None:
    (data / "beside_this_file.py").write_text("half = 0.5\n")
    text = "from beside_this_file import half\n\ndef f(x):\n    return -half * x * x\n"
    (data / "g.py").write_text(text)
    before = list(sys.path)
    out = cli.json(data, "infer", "g.py:f", "--start", "3", "-o", "q.npz", "--size", "32", "--json")
    assert out["evidence"]["log_evidence"] == pytest.approx(0.5 * np.log(2 * np.pi), abs=1e-4)
    assert sys.path == before


@pytest.mark.parametrize(
    ("function", "words", "complaint"),
    [
        ("f.py", (), "f.py"),
        ("none.py:f", (), "none.py does not exist"),
        ("f.py:normals", (), "normals"),
        ("f.py:not_one", (), "not_one"),
        ("f.py:one", ("--box", ""), "--box"),
        ("f.py:one", ("--start", "a"), "--start"),
        ("f.py:one", ("--start", "1,2"), "start"),
        ("f.py:one", ("--size", "8,8"), "shape"),
        ("f.py:one", ("--tail", "-1"), "tail_bound"),
        ("f.py:one", ("--side", "left"), "--side"),
        ("f.py:one", ("-o", "f.py"), "is an input too"),
        ("f.py:nan", (), "log_density is nan at"),
        ("f.py:fails", (), "raises KeyError"),
        ("f.py:normal", (), "raises TypeError"),
        ("syntax.py:f", (), "syntax.py raises SyntaxError"),
        ("exit.py:f", (), "exit.py raises SystemExit"),
    ],
)
def test_infer_refuses(
    cli: Any, data: Path, function: str, words: tuple[str, ...], complaint: str
) -> None:
    (data / "syntax.py").write_text("def f(x:\n    return x\n")
    (data / "exit.py").write_text("raise SystemExit(0)\n")
    given = ("-o", "q.npz", "--box", "-9,9", "--size", "32", *words)
    assert complaint in cli.refused(data, "infer", function, *given)


# --- info and plot


def _rounded(value: Any) -> Any:
    """The same with numbers to 12 places."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 12) + 0.0 if isinstance(value, float) else value


def test_info_repeats(
    cli: Any, fitted: tuple[Path, dict[str, Any]], inferred: tuple[Path, dict[str, Any]]
) -> None:
    for (path, out), name in ((fitted, "m.npz"), (inferred, "q.npz")):
        told = cli.json(path, "info", name, "--json")
        # densities are normalised again when they are read
        assert _rounded(told) == _rounded(out | {"files": []})
        assert cli.good(path, "info", name).count("\n") > 5


@pytest.mark.parametrize("kind", ["page", "map", "poster"])
def test_plot(
    cli: Any, kind: str, fitted: tuple[Path, dict[str, Any]], inferred: tuple[Path, dict[str, Any]]
) -> None:
    for (path, _), name in ((fitted, "m.npz"), (inferred, "q.npz")):
        cli.good(path, "plot", name, "-o", f"{kind}.png", "--kind", kind)
        assert (path / f"{kind}.png").stat().st_size > 10_000
        if kind == "page":
            cli.good(path, "plot", name, "-o", "default.png")
            assert (path / "default.png").read_bytes() == (path / "page.png").read_bytes()


def test_plot_refuses(cli: Any, fitted: tuple[Path, dict[str, Any]]) -> None:
    complaint = cli.refused(fitted[0], "plot", "m.npz", "-o", "m.png", "--kind", "panel")
    assert "holds a model" in complaint


# --- shipped data


def test_shipped_data(cli: Any, tmp_path: Path) -> None:
    geyser, beetles = ROOT / "data" / "geyser.csv", ROOT / "data" / "beetles.py"
    words = ["fit", str(geyser), "-o", "m.npz", "--size", "24", "--strength", "1e-5", "--json"]
    out = cli.json(tmp_path, *words)
    assert (out["samples"], out["names"]) == (272, ["duration", "waiting"])
    words = ["infer", f"{beetles}:log_posterior", "--box", "-100,100 -100,100", "-o", "q.npz"]
    out = cli.json(tmp_path, *words, "--size", "32", "--json")
    assert list(out["parameters"]) == ["intercept", "slope"]
    assert out["evidence"]["lower"] <= out["evidence"]["upper"]
