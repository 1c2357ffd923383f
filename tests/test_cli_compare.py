"""`pma-grid compare`: densities, built-in problems, saved results, refusals, exit statuses."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pma_grid as pma


def test_densities_with_two_eps_and_a_peer(cli: Any, folder: Path) -> None:
    arguments = ["compare", "a.npy", "b.npy", "--eps", "0.05", "0.02", "--peer", "pot"]
    out = cli.json(folder, *arguments, "--plot", "c.png", "--json")
    names = [row["name"] for row in out["rows"]]
    assert names == [
        "solve", "sinkhorn eps=0.05", "pot eps=0.05", "sinkhorn eps=0.02", "pot eps=0.02",
    ]  # fmt: skip
    rows = dict(zip(names, out["rows"], strict=True))
    ot = pma.solve(pma.Problem(np.load(folder / "a.npy"), np.load(folder / "b.npy")))
    assert rows["solve"]["w2"] == pytest.approx(ot.w2, rel=1e-9)
    for eps in ("0.05", "0.02"):
        ours, theirs = rows[f"sinkhorn eps={eps}"], rows[f"pot eps={eps}"]
        # the same plan: the conversion of eps is right on both sides
        assert ours["map_l2"] == pytest.approx(theirs["map_l2"], rel=1e-4)
        assert ours["push_l1"] == pytest.approx(theirs["push_l1"], rel=1e-4)
    assert rows["sinkhorn eps=0.02"]["map_l2"] < rows["sinkhorn eps=0.05"]["map_l2"]
    assert all(row["marginal_error"] <= 1e-6 for row in out["rows"][1:])
    assert out["reference"] == "solve"
    assert out["files"] == ["c.png"]
    with Image.open(folder / "c.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_debiased_maps_are_nearer(cli: Any, folder: Path) -> None:
    arguments = ["compare", "--case", "P2", "--size", "24", "--eps", "0.01", "--json"]
    plain = cli.json(folder, *arguments)["rows"][1]
    nearer = cli.json(folder, *arguments, "--debiased", "--kernel", "reflect")["rows"][1]
    assert nearer["name"] == "sinkhorn eps=0.01 debiased reflect"
    assert nearer["map_l2"] < 0.3 * plain["map_l2"]


@pytest.mark.parametrize("case, bins", [("P1", [16, 16]), ("P5", [6, 6, 6])])
def test_built_in_problems(cli: Any, folder: Path, case: str, bins: list[int]) -> None:
    out = cli.json(folder, "compare", "--case", case, "--size", str(bins[0]), "--eps", "0.05",
                   "--json")  # fmt: skip
    assert out["bins"] == bins
    assert len(out["rows"]) == 2


def test_eps_follows_the_box_where_none_is_given(cli: Any, folder: Path) -> None:
    box = "0,2 0,2"
    out = cli.json(folder, "compare", "a.npy", "b.npy", "--box-source", box, "--box-target", box,
                   "--json")  # fmt: skip
    assert [row["name"] for row in out["rows"][1:]] == ["sinkhorn eps=0.04", "sinkhorn eps=0.004"]


def test_the_multiscale_method(cli: Any, folder: Path) -> None:
    out = cli.json(folder, "compare", "a.npy", "b.npy", "--eps", "0.004", "--method",
                   "multiscale", "--json")  # fmt: skip
    row = out["rows"][1]
    assert row["name"] == "multiscale eps=0.004"
    assert row["map_max"] < 0.1


def test_saved_results_are_compared_without_solving(cli: Any, folder: Path) -> None:
    cli.good(folder, "solve", "a.npy", "b.npy", "-o", "one.npz")
    one = pma.load(folder / "one.npz")
    assert isinstance(one, pma.Transport)
    pma.Transport.from_potential(one.problem, one.potential).save(folder / "two.npz")
    cli.good(folder, "evolve", "a.npy", "b.npy", "--time", "0.1", "-o", "flow.npz")
    out = cli.json(folder, "compare", "one.npz", "two.npz", "flow.npz", "--json")
    assert [row["name"] for row in out["rows"]] == ["one.npz", "two.npz", "flow.npz"]
    assert out["rows"][1]["map_max"] < 1e-12
    assert out["rows"][2]["map_max"] > 1e-3
    assert out["rows"][0]["seconds"] == one.stats["seconds"]


def test_what_did_not_converge_is_named(cli: Any, folder: Path) -> None:
    done = cli.run(folder, "compare", "a.npy", "b.npy", "--eps", "0.01", "--tol", "1e-13",
                   "--max-iterations", "2", "--peer", "pot")  # fmt: skip
    assert done.status == 1
    assert "sinkhorn eps=0.01" in done.err and "pot eps=0.01" in done.err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "0 files"),
        (("a.npy",), "1 files"),
        (("a.npy", "missing.npy"), "missing.npy"),
        (("a.npy", "b.npy", "--eps", "0"), "--eps is 0.0"),
        (("a.npy", "b.npy", "--eps", "nan"), "--eps is nan"),
        (("a.npy", "b.npy", "--eps"), "--eps"),
        (("a.npy", "b.npy", "--tol", "-1"), "--tol is -1.0"),
        (("a.npy", "b.npy", "--size", "8"), "--size"),
        (("a.npy", "b.npy", "--peer", "scipy"), "'scipy' is not one of"),
        (("a.npy", "b.npy", "--plot", "c.txt"), "c.txt"),
        (("a.npy", "b.npy", "--method", "multiscale", "--debiased"), "--method multiscale"),
        (("--case", "P9"), "'P9' is not one of"),
        (("a.npy", "b.npy", "--case", "P1"), "--case"),
        (("--case", "P1", "--box-source", "0,1 0,1"), "--case"),
    ],
)
def test_refusals(cli: Any, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in cli.refused(folder, "compare", *arguments)


def test_refusals_of_results(cli: Any, folder: Path) -> None:
    for name in ("one", "two"):
        problem = pma.Problem(np.ones(8 if name == "one" else 9), np.ones(8))
        x = problem.source.grid.axes[0]
        pma.Transport.from_potential(problem, 0.5 * x**2).save(folder / f"{name}.npz")
    assert "b.npy is no result" in cli.refused(folder, "compare", "one.npz", "b.npy")
    assert "same grid" in cli.refused(folder, "compare", "one.npz", "two.npz")
    told = cli.refused(folder, "compare", "one.npz", "one.npz", "--eps", "0.1")
    assert "--eps" in told
    assert "one.npz is given twice" in cli.refused(folder, "compare", "one.npz", "one.npz")
    for option in (("--tol", "1e-3"), ("--debiased",), ("--box-target", "0,2")):
        told = cli.refused(folder, "compare", "one.npz", *option)
        assert option[0] in told


def test_a_peer_that_is_missing_is_told_before_anything_is_solved(
    cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "ott":
            raise ModuleNotFoundError(f"No module named {name!r}", name="ott")
        return find(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(
        "pma_grid.stationary.solving.solve", lambda *_, **__: pytest.fail("it solved")
    )
    told = cli.refused(folder, "compare", "a.npy", "b.npy", "--peer", "ott")
    assert "ott-jax" in told


def test_a_peer_that_fails_has_no_row(
    cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pma_grid.entropic import peers

    def fails(*_: Any, **__: Any) -> Any:
        raise pma.ConvergenceError("its kernel underflows")

    monkeypatch.setitem(peers.PEERS, "pot", fails)
    done = cli.run(folder, "compare", "a.npy", "b.npy", "--eps", "0.05", "--peer", "pot")
    assert done.status == 1
    assert len(done.out.splitlines()) == 3
    assert "its kernel underflows" in done.err
