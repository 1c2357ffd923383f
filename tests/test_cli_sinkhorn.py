"""`pma-grid sinkhorn`, and info and plot of what it writes: results, flows, refusals, statuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pma_grid as pma

RUN = ("sinkhorn", "a.npy", "b.npy", "-o", "sk.npz", "--eps", "0.02")


def _spread(path: Path) -> float:
    """Standard deviation of the grey values: of an empty picture 0."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).std())


def _problem(folder: Path) -> pma.Problem:
    return pma.Problem(np.load(folder / "a.npy"), np.load(folder / "b.npy"))


@pytest.fixture(scope="module")
def solved(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results: sk.npz (dense), debiased.npz, ms.npz (multiscale, torn), flow.npz."""
    path: Path = cli.fill(tmp_path_factory.mktemp("sinkhorn"))
    x = (np.arange(32) + 0.5) / 32
    np.save(path / "one.npy", np.ones((32, 32)))
    discs = [(x[:, None] - c) ** 2 + (x - 0.5) ** 2 < 0.15**2 for c in (0.25, 0.75)]
    np.save(path / "two.npy", (discs[0] | discs[1]) * 1.0)
    cli.good(path, *RUN)
    cli.good(path, "sinkhorn", "a.npy", "b.npy", "-o", "debiased.npz", "--eps", "0.02", "--map",
             "debiased", "--kernel", "reflect")  # fmt: skip
    cli.good(path, "sinkhorn", "one.npy", "two.npy", "-o", "ms.npz", "--method", "multiscale")
    cli.good(path, "sinkhorn", "a.npy", "b.npy", "-o", "flow.npz", "--eps", "0.02", "--time", "1")
    return path


# --- results


def test_it_is_the_library(cli: Any, folder: Path) -> None:
    out = cli.json(folder, *RUN, "--json")
    sk = pma.sinkhorn(_problem(folder), 0.02)
    assert out["w2"] == pytest.approx(sk.w2, rel=1e-9)
    assert (out["status"], out["converged"]) == ("entropic", True)
    assert (out["eps"], out["kernel"], out["method"], out["map"]) == (
        0.02, "plain", "dense", "barycentric",
    )  # fmt: skip
    assert out["eps_over_h2"] == pytest.approx(0.02 * 256)
    for key in ("primal", "dual", "transport_cost"):
        assert out[key] == pytest.approx(sk.stats[key], rel=1e-9)
    assert out["iterations"] == sk.stats["iterations"] == out["levels"][-1]["iterations"]
    assert out["marginal_error"] <= out["tol"] == 1e-9
    assert out["files"] == ["sk.npz"]
    back = pma.load(folder / "sk.npz")
    assert isinstance(back, pma.EntropicTransport)
    np.testing.assert_allclose(back.gradient, sk.gradient, atol=1e-12)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--kernel", "reflect"], {"kernel": "reflect"}),
        (["--map", "debiased"], {"map": "debiased"}),
        (["--tol", "1e-4"], {"tol": 1e-4}),
        (["--relaxation", "1.2"], {"omega": 1.2}),
        (["--threads", "2"], {"threads": 2}),
        (["--dtype", "float32"], {"tol": 1e-5}),
        (["--method", "multiscale"], {"method": "multiscale", "tol": 1e-4}),
    ],
    ids=str,
)
def test_options_reach_the_solver(
    cli: Any, folder: Path, words: list[str], expected: dict[str, Any]
) -> None:
    out = cli.json(folder, *RUN, *words, "--json")
    assert {key: out[key] for key in expected} == expected


def test_without_scaling_there_is_one_stage(cli: Any, folder: Path) -> None:
    assert len(cli.json(folder, *RUN, "--json")["levels"]) > 2
    assert len(cli.json(folder, *RUN, "--no-scaling", "--json")["levels"]) == 1


def test_what_only_some_results_have_is_told(solved: Path, cli: Any) -> None:
    for name in ("sk", "debiased", "ms"):
        assert "entropic" in cli.good(solved, "info", f"{name}.npz")
    out = cli.json(solved, "info", "ms.npz", "--json")
    sk = pma.load(solved / "ms.npz")
    assert isinstance(sk, pma.EntropicTransport)
    assert sk.plan is not None
    assert sk.tears is not None
    assert out["entries"] == sk.plan.nnz
    assert out["torn_cells"] == sk.tears.sum() > 0
    assert out["hard_dual"] == pytest.approx(out["w2_squared"])
    assert out["hard_dual_other"] <= out["hard_dual"]
    out = cli.json(solved, "info", "debiased.npz", "--json")
    assert out["divergence"] == pytest.approx(out["dual"] - sum(out["self_costs"]) / 2)


def test_info_repeats(cli: Any, folder: Path) -> None:
    told = cli.json(folder, *RUN, "--json")
    again = cli.json(folder, "info", "sk.npz", "--json")
    assert set(told) | {"assessment"} == set(again)
    same = ("status", "dual", "primal", "iterations", "levels", "marginal_error", "versions")
    assert {key: told[key] for key in same} == {key: again[key] for key in same}


@pytest.mark.parametrize("result", ["sk", "debiased", "ms"])
@pytest.mark.parametrize("kind", ["poster", "map", "interpolation", "history"])
def test_plot(cli: Any, solved: Path, result: str, kind: str) -> None:
    name = f"{result}-{kind}.png"
    assert cli.good(solved, "plot", f"{result}.npz", "-o", name, "--kind", kind) == f"{name}\n"
    assert _spread(solved / name) > 5


def test_results_of_solve_and_sinkhorn_are_compared(cli: Any, solved: Path) -> None:
    cli.good(solved, "solve", "a.npy", "b.npy", "-o", "ot.npz")
    out = cli.json(solved, "compare", "ot.npz", "sk.npz", "debiased.npz", "--json")
    distances = [row["map_l2"] for row in out["rows"]]
    assert distances[0] == 0 < distances[2] < distances[1]


def test_boxes(cli: Any, folder: Path) -> None:
    boxes = ["--box-source", "0,1 0,1", "--box-target", "3,4 -4,-3"]
    away = cli.json(folder, "sinkhorn", "a.npy", "a.npy", "-o", "sk.npz", "--eps", "0.02", *boxes,
                    "--map", "debiased", "--json")  # fmt: skip
    # all that is left without the entropy's bias is the way of 3 and 4
    assert away["divergence"] == pytest.approx(12.5, abs=1e-9)


@pytest.mark.parametrize("start", ["result", "transport", "flow", "array"])
def test_initial(cli: Any, solved: Path, tmp_path: Path, start: str) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.load(solved / f"{name}.npy"))
    ot = pma.solve(_problem(solved))
    if start == "transport":
        ot.save(tmp_path / "start.npz")
    elif start == "array":
        np.save(tmp_path / "start.npy", ot.potential)
    else:
        name = "sk.npz" if start == "result" else "flow.npz"
        (tmp_path / "start.npz").write_bytes((solved / name).read_bytes())
    file = "start.npy" if start == "array" else "start.npz"
    out = cli.json(tmp_path, *RUN, "--initial", file, "--tol", "1e-6", "--json")
    cold = cli.json(tmp_path, *RUN, "--no-scaling", "--tol", "1e-6", "--json")
    assert out["iterations"] < cold["iterations"]
    assert out["iterations"] <= 2 or start in ("transport", "array")


def test_picture_beside_the_result(cli: Any, folder: Path) -> None:
    text = cli.good(folder, *RUN, "--plot", "sk.png")
    assert text.splitlines()[-1].endswith("sk.npz, sk.png")
    assert _spread(folder / "sk.png") > 10


@pytest.mark.parametrize("shape", [(30,), (6, 7, 5)])
def test_one_and_three_axes(cli: Any, folder: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for name in ("c", "d"):
        np.save(folder / f"{name}.npy", rng.random(shape) + 0.2)
    out = cli.json(folder, "sinkhorn", "c.npy", "d.npy", "-o", "sk.npz", "--plot", "sk.png",
                   "--json")  # fmt: skip
    assert out["source_shape"] == list(shape)
    assert _spread(folder / "sk.png") > 5


# --- how it ends


def test_too_few_iterations_write_a_partial_result(cli: Any, folder: Path) -> None:
    done = cli.run(folder, *RUN, "--max-iterations", "2", "--json")
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert "did not converge" in line and "sk.npz" in line
    out = cli.parsed(done.out)
    assert (out["status"], out["converged"], out["iterations"]) == ("max_iterations", False, 2)
    back = pma.load(folder / "sk.npz")
    assert isinstance(back, pma.EntropicTransport)
    assert np.isfinite(back.gradient).all()


def test_narrow_kernels_succeed_and_say_so(cli: Any, folder: Path) -> None:
    text = cli.good(folder, *RUN[:-1], "0.001")
    assert "narrow_kernel" in text


def test_zeros_need_no_floor(cli: Any, folder: Path) -> None:
    values = np.load(folder / "b.npy")
    values[:5] = 0
    np.save(folder / "b.npy", values)
    out = cli.json(folder, *RUN, "--json")
    assert (out["status"], "floors" in out) == ("entropic", False)


# --- the flow


def test_time_writes_the_flow(cli: Any, folder: Path) -> None:
    words = ["sinkhorn", "a.npy", "b.npy", "-o", "flow.npz", "--eps", "0.03", "--time", "0.1"]
    out = cli.json(folder, *words, "--json")
    assert (out["status"], out["scheme"], out["steps"]) == ("completed", "sinkhorn", 3)
    assert (out["eps"], out["kernel"], out["narrow_kernel"]) == (0.03, "plain", False)
    assert out["time"] == pytest.approx(0.09)
    flow = pma.load(folder / "flow.npz")
    assert isinstance(flow, pma.Flow)
    want = pma.sinkhorn_flow(_problem(folder), 0.03, time=0.1)
    np.testing.assert_allclose(flow["kl"], want["kl"], rtol=1e-10)
    np.testing.assert_allclose(flow.transport.potential, want.transport.potential, atol=1e-13)


def test_steps_kernel_and_continuation(cli: Any, folder: Path) -> None:
    words = ["sinkhorn", "a.npy", "b.npy", "--eps", "0.02", "--kernel", "reflect", "--json"]
    whole = cli.json(folder, *words, "--steps", "6", "-o", "whole.npz")
    assert (whole["steps"], whole["kernel"]) == (6, "reflect")
    cli.json(folder, *words, "--steps", "4", "-o", "first.npz")
    rest = cli.json(folder, *words, "--steps", "2", "-o", "rest.npz", "--initial", "first.npz")
    assert (rest["first_step"], rest["steps"]) == (4, 2)
    assert rest["time"] == pytest.approx(0.12)
    assert rest["end"]["kl"] == pytest.approx(whole["end"]["kl"], rel=1e-8)


def test_the_tolerance_ends_the_flow(cli: Any, folder: Path) -> None:
    words = ["sinkhorn", "a.npy", "b.npy", "--eps", "0.05", "--steps", "500", "--tol", "1e-6"]
    out = cli.json(folder, *words, "-o", "flow.npz", "--json")
    assert out["status"] == "entropic"
    assert out["steps"] < 100
    assert out["residual_norm"] < 1e-6


def test_a_flow_is_drawn_and_told_as_evolve_s(cli: Any, folder: Path) -> None:
    words = ["sinkhorn", "a.npy", "b.npy", "--eps", "0.02", "--time", "0.5", "-o", "flow.npz"]
    text = cli.good(folder, *words, "--plot", "flow.png")
    assert _spread(folder / "flow.png") > 10
    lines = [line for line in text.splitlines() if not line.startswith("files")]
    assert cli.good(folder, "info", "flow.npz").splitlines() == lines
    cli.good(folder, "plot", "flow.npz", "-o", "again.png")
    cli.good(folder, "plot", "flow.npz", "-o", "flow.gif")


# --- refusals

FLOW = ("sinkhorn", "a.npy", "b.npy", "-o", "flow.npz", "--time", "1")
BAD = {
    "eps-zero": ((*RUN[:-1], "0"), "eps is 0.0; it must be a finite number > 0"),
    "eps-missing": ((*RUN[:-1],), "--eps"),
    "eps-twice": ((*RUN, "0.01"), "--eps"),
    "eps-tiny": ((*RUN[:-1], "1e-15"), "eps is 1e-15"),
    "iterations": ((*RUN, "--max-iterations", "0"), "--max-iterations"),
    "multiscale-kernel": ((*RUN, "--method", "multiscale", "--kernel", "reflect"), "kernel is"),
    "initial-shape": ((*RUN, "--initial", "short.npy"), "shape (3,)"),
    "initial-is-output": ((*RUN, "--initial", "sk.npz"), "sk.npz is an input too"),
    "picture": ((*RUN, "--plot", "sk.txt"), "sk.txt"),
    "floor": ((*RUN, "--floor-source", "0.1"), "--floor-source"),
    "no-output": (("sinkhorn", "a.npy", "b.npy"), "--output"),
    "flow-without-eps": (FLOW, "need --eps"),
    "flow-debiased": ((*FLOW, "--eps", "0.1", "--map", "debiased"), "--map"),
    "flow-scaling": ((*FLOW, "--eps", "0.1", "--no-scaling"), "--no-scaling"),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals(cli: Any, folder: Path, name: str) -> None:
    arguments, words = BAD[name]
    np.save(folder / "short.npy", np.ones(3))
    assert words in cli.refused(folder, *arguments)
