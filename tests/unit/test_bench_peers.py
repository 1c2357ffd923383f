"""The race between methods: its table and its references, without running it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

ROOT = Path(__file__).parents[2]
STORE = ROOT / "data" / "peers.json"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """Imports scripts that lie beside the benchmarks."""
    sys.path.insert(0, str(ROOT / "tests" / "bench"))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(ROOT / "tests" / "bench"))


def _row(method: str, n: int, seconds: float, map_l2: Any, w2_rel: float) -> dict[str, Any]:
    return {
        "problem": "P1", "method": method, "n": n, "detail": "", "seconds": seconds,
        "w2_seconds": seconds, "units": 10.0, "map_l2": map_l2, "w2_rel": w2_rel,
    }  # fmt: skip


def test_stars_are_given_method_by_method(bench: Any) -> None:
    rows = [
        _row("solve", 32, 1.0, 1e-2, -1e-3),
        _row("solve", 64, 2.0, 2e-2, 1e-4),
        _row("bfm", 64, 3.0, None, 5e-1),
    ]
    marked = bench("peers").starred(rows)
    assert [row["best"] for row in marked] == [["map_l2", "w2_rel"], ["w2_rel"], ["w2_rel"]]
    assert all("best" not in row for row in rows)


def test_table(bench: Any) -> None:
    lines = bench("peers").table([_row("bfm", 64, 3.0, None, -0.5)]).splitlines()
    assert lines[0].split() == [name for name, _ in bench("peers").COLUMNS]
    assert lines[1].split() == ["P1", "bfm", "64", "3", "10", "-", "3", "-5.0e-01*"]
    assert len(lines[0]) == len(lines[1])


def test_seconds_to_an_error(bench: Any) -> None:
    rows = [
        _row("solve", 32, 1.0, 1e-2, -1e-3),
        _row("solve", 64, 4.0, 1e-3, 1e-7),
        _row("bfm", 64, 2.0, None, -1e-3),
    ]
    reached = bench("peers").reached
    assert reached(rows, "map_l2", 1e-2) == 1.0
    assert reached(rows, "map_l2", 9e-3) == 4.0
    assert reached(rows, "w2_rel", 1e-8) is None
    lines = bench("peers").summary(rows, ["solve", "bfm"]).splitlines()
    assert lines[0].startswith("P1 seconds to map_l2")
    assert lines[1].split() == ["solve", "1", "4", "4", "-", "-", "-"]
    assert lines[2].startswith("P1 seconds to w2_rel")
    assert lines[4].split() == ["bfm", "2", "2", "-", "-", "-"]


def test_rows_done_again_replace_their_forerunners(bench: Any) -> None:
    old = [_row("solve", 32, 1.0, 1e-2, 0.1), _row("bfm", 32, 1.0, 1e-2, 0.1)]
    new = [_row("solve", 32, 0.5, 1e-2, 0.1), _row("solve", 64, 2.0, 1e-3, 0.1)]
    found = bench("peers").merged(old, new)
    assert [(row["method"], row["n"], row["seconds"]) for row in found] == [
        ("solve", 32, 0.5), ("bfm", 32, 1.0), ("solve", 64, 2.0)
    ]  # fmt: skip


def test_the_limit_counts_the_processor(bench: Any) -> None:
    """This process has worked; one that is not there falls back to the wall's clock."""
    spent = bench("peers").spent
    assert abs(spent(os.getpid(), time.monotonic()) - time.process_time()) < 0.5
    assert spent(2**30, time.monotonic() - 7) == pytest.approx(7, abs=0.5)


def test_halved_is_exact_for_cubics_up_to_the_faces(bench: Any) -> None:
    fine, coarse = (pma.Grid((2 * n, 2 * n)).coordinates() for n in (8, 4))
    field = np.stack([fine[0] ** 3 * fine[1], 1 - fine[0] ** 2 * fine[1] ** 3])
    want = np.stack([coarse[0] ** 3 * coarse[1], 1 - coarse[0] ** 2 * coarse[1] ** 3])
    np.testing.assert_allclose(bench("truths").halved(field), want, atol=1e-14)


def test_value_of_the_concentrated_problem(bench: Any) -> None:
    """Against the linear programme between cells that the shift respects: the same law, moved."""
    pytest.importorskip("ot")
    truths = bench("truths")
    (outcome,) = bench("contenders").run_emd(truths.build("P4").problem((10, 10)), {"n": 10})
    assert abs(outcome.w2_squared - truths.concentrated_value()) < 1e-6


def test_exact_programme_of_the_race(bench: Any) -> None:
    """Two rows of cells that all move by one: the plan is a shift."""
    pytest.importorskip("ot")
    ones, none = np.ones((4, 2)), np.zeros((4, 2))
    problem = pma.Problem(np.hstack([ones, none]), np.hstack([none, ones]))
    (outcome,) = bench("contenders").run_emd(problem, {"n": 4})
    assert outcome.w2_squared == pytest.approx(0.25)
    shift = outcome.gradient - problem.source.grid.coordinates()
    np.testing.assert_allclose(shift[1][:, :2].sum(), 0.5 * 8)
    np.testing.assert_allclose(shift[:, :, 2:], 0, atol=1e-15)


def test_ours_are_timed_to_map_and_to_value(bench: Any) -> None:
    contenders, truths = bench("contenders"), bench("truths")
    problem = truths.build("P2").problem((16, 16))
    known = truths.truth("P2", truths.build("P2"), None)
    for method, setting in (
        ("solve", {"n": 16}),
        ("sinkhorn", {"n": 16, "eps": 2e-3, "tol": 1e-4}),
    ):
        (outcome,) = contenders.METHODS[method].run(problem, setting)
        assert 0 < outcome.seconds <= outcome.w2_seconds
        assert truths.map_error(known, outcome.gradient, problem.source) < 1e-2
        assert abs(outcome.w2_squared / known.w2_squared - 1) < 1e-2


@pytest.mark.skipif(not STORE.exists(), reason="the race has not been run")
def test_the_stored_race_can_be_drawn(bench: Any) -> None:
    results = json.loads(STORE.read_text(encoding="utf-8"))
    figure = pma.plotting.frontier(results)
    assert len(figure.axes) == 2 * len(results["problems"])
    assert set(results["methods"]) == set(bench("contenders").METHODS)
