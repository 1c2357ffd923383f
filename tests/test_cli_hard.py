"""The command line on hard data: what `solve` and `info` print of candidates and assessments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

FIGURES = {
    "hard_dual", "transport_cost", "dual_gap", "push_forward_error", "mass_constant",
    "floor_effect",
}  # fmt: skip


@pytest.fixture
def hard(cli: Any, folder: Path) -> Path:
    """A folder with smooth a.npy and b.npy, torn.npy with a gap, rough c.npy and d.npy."""
    torn = np.load(folder / "b.npy")
    torn[6:10] = 0
    np.save(folder / "torn.npy", torn)
    for seed, name in enumerate("cd"):
        np.save(folder / f"{name}.npy", np.random.default_rng(seed).random((24, 24)) ** 3)
    return folder


def test_smooth_data_print_their_assessment(cli: Any, hard: Path) -> None:
    out = cli.json(hard, "solve", "a.npy", "b.npy", "-o", "o.npz", "--json")
    ot = pma.solve(pma.Problem(np.load(hard / "a.npy"), np.load(hard / "b.npy")))
    assert out["assessment"].keys() == FIGURES
    assert out["assessment"] == pytest.approx(pma.assess(ot))
    assert [c["name"] for c in out["candidates"]] == ["newton"]
    assert f"{out['assessment']['dual_gap']:.2e}" in cli.good(hard, "info", "o.npz")


def test_torn_maps_are_entropic_with_exit_status_0(cli: Any, hard: Path) -> None:
    out = cli.json(hard, "solve", "a.npy", "torn.npy", "-o", "o.npz", "--json", "--plot", "o.png")
    assert (out["status"], out["converged"]) == ("entropic", True)
    assert out["torn_cells"] > 0
    assert out["eps"] == pytest.approx(0.5 / 16**2)
    assert out["hard_dual"] == out["assessment"]["hard_dual"] <= out["assessment"]["transport_cost"]
    assert out["assessment"]["mass_constant"] is None
    assert out["candidates"] == [{"name": "entropic", "status": "entropic", "dual": None}]
    assert (hard / "o.png").stat().st_size > 10_000
    told = cli.json(hard, "info", "o.npz", "--json")
    assert told["w2"] == pytest.approx(out["w2"], rel=1e-12)
    same = ("status", "eps", "torn_cells", "candidates", "assessment", "hard_dual")
    assert {key: told[key] for key in same} == {key: out[key] for key in same}


def test_all_that_was_tried_is_printed(cli: Any, hard: Path) -> None:
    # too few steps for Newton's method, from either start
    words = ["solve", "c.npy", "d.npy", "-o", "o.npz", "--max-iterations", "1"]
    text = cli.good(hard, *words)
    ot = pma.load(hard / "o.npz")
    assert isinstance(ot, pma.EntropicTransport)
    tried = {c["name"]: c["status"] for c in ot.stats["candidates"]}
    assert tried == {
        "newton": "max_iterations", "newton from the target": "max_iterations",
        "entropic": "entropic",
    }  # fmt: skip
    for candidate in ot.stats["candidates"]:
        assert candidate["name"] in text and f"{candidate['dual']:.8g}" in text
    told = cli.json(hard, "info", "o.npz", "--json")
    assert told["candidates"] == ot.stats["candidates"]


def test_effects_of_floors_are_printed(cli: Any, hard: Path) -> None:
    words = ["--no-fallback", "--floor-target", "0.01"]
    text = cli.good(hard, "solve", "a.npy", "torn.npy", "-o", "o.npz", *words)
    assert "regularised" in text and "64 cells" in text
    ot = pma.load(hard / "o.npz")
    assert isinstance(ot, pma.Transport)
    assert f"{ot.stats['assessment']['floor_effect']:.1e}" in text


def test_info_assesses_what_was_saved_without(cli: Any, hard: Path) -> None:
    ot = pma.solve(pma.Problem(np.load(hard / "a.npy"), np.load(hard / "b.npy")))
    assert "assessment" not in ot.stats
    ot.save(hard / "plain.npz")
    before = (hard / "plain.npz").read_bytes()
    told = cli.json(hard, "info", "plain.npz", "--json")
    assert told["assessment"] == pytest.approx(pma.assess(ot))
    assert (hard / "plain.npz").read_bytes() == before


def test_results_of_sinkhorn_are_assessed_too(cli: Any, hard: Path) -> None:
    cli.good(hard, "sinkhorn", "a.npy", "b.npy", "-o", "sk.npz", "--eps", "0.02")
    told = cli.json(hard, "info", "sk.npz", "--json")
    assert told["assessment"].keys() == FIGURES
    assert told["assessment"]["hard_dual"] <= told["transport_cost"]


def test_identical_data_in_a_process_of_its_own(cli: Any, hard: Path) -> None:
    """Compiled code prints past Python's streams."""
    words = ["-m", "pma_grid", "solve", "torn.npy", "torn.npy", "-o", "o.npz", "--json"]
    done = cli.process(hard, words)
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out)["w2"] < 1e-6
