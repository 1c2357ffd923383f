"""The command line: validate, with claims made for the tests."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pma_grid import claims
from pma_grid.claims import Check, ClaimResult, Curve, Panel


def _result(name: str, *checks: Check) -> ClaimResult:
    curve = Curve("error", np.array([0.1, 0.2]), np.array([0.01, 0.04]))
    panel = Panel("orders", "h", "error", (curve,))
    return ClaimResult(name, f"{name} is true.", checks, (panel,), 0.5)


ORDER = Check(
    "order of the map, of the manufactured case on four grids of two axes", 2, 1.98, 1.8, 2.2
)
BOUND = Check("defect", 1e-3, 2e-4, high=1e-3)
FAILING = Check("rate", 1.0, 0.5, low=0.9)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Three claims: one holds, one fails, one raises; the list of (name, quick) checked."""
    calls: list[tuple[str, bool]] = []

    def check(name: str, *, quick: bool) -> ClaimResult:
        calls.append((name, quick))
        if name == "broken":
            raise ZeroDivisionError("no\nnumber")
        return _result(name, *((ORDER, BOUND) if name == "orders" else (BOUND, FAILING)))

    monkeypatch.setattr(claims, "NAMES", ("orders", "rates", "broken"))
    monkeypatch.setattr(claims, "statement", lambda name: f"{name} is true.")
    monkeypatch.setattr(claims, "check", check)
    return calls


def test_validate_prints_one_table(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    done = cli.run(tmp_path, "validate", "--quick")
    assert (done.status, done.err) == (1, "")
    assert asked == [("orders", True), ("rates", True), ("broken", True)]
    *rows, last = done.out.splitlines()
    assert "3 of 5" in last
    cells = [re.split(r"\s{2,}", row) for row in rows]
    for name, numbers in (
        ("orders", ["2", "[1.8, 2.2]", "1.98", "holds"]),
        ("orders", ["0.001", "<= 0.001", "0.0002", "holds"]),
        ("rates", ["1", ">= 0.9", "0.5", "FAILS"]),
        ("broken", ["FAILS"]),
    ):
        assert any(row[0] == name and row[2:] == numbers for row in cells), (name, numbers)
    assert " ".join(done.out.split()).count("no number") == 1


def test_validate_chosen_claims(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    out = cli.json(tmp_path, "validate", "orders", "orders", "--json")
    assert asked == [("orders", False)]
    assert out["holds"] is True
    assert out["claims"] == [_result("orders", ORDER, BOUND).to_dict()]
    assert out["seconds"] >= 0


def test_validate_in_json(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    done = cli.run(tmp_path, "validate", "--json")
    assert done.status == 1
    out = cli.parsed(done.out)
    assert out["holds"] is False
    assert [entry["holds"] for entry in out["claims"]] == [True, False, False]
    assert out["claims"][2]["error"] == "ZeroDivisionError: no number"


def test_validate_draws(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    cli.good(tmp_path, "validate", "orders", "--plot", "figures/new")
    with Image.open(tmp_path / "figures" / "new" / "orders.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_a_figure_is_no_verdict(
    cli: Any, tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(result: ClaimResult) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr("pma_grid.plotting.claim", fails)
    done = cli.run(tmp_path, "validate", "orders", "--plot", "figures")
    assert done.status == 0
    assert "orders.png" in done.err and "no ink" in done.err


def test_validate_lists(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    text = cli.good(tmp_path, "validate", "--list")
    assert text.splitlines()[0].split(maxsplit=1) == ["orders", "orders is true."]
    out = cli.json(tmp_path, "validate", "rates", "--list", "--json")
    assert out == {"claims": [{"claim": "rates", "statement": "rates is true."}]}
    assert asked == []


def test_validate_refuses(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    line = cli.refused(tmp_path, "validate", "orders", "magic")
    assert "'magic' does not exist" in line and "orders, rates, broken" in line
    (tmp_path / "file").write_bytes(b"")
    assert "name a folder" in cli.refused(tmp_path, "validate", "--plot", "file")
    assert asked == []


def test_a_group_is_what_several_names_begin_with(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def check(name: str, *, quick: bool) -> ClaimResult:
        calls.append(name)
        return _result(name, ORDER)

    names = ("limit", "sink-limit", "sink", "wide-map", "wide-map-plain", "wide-gap", "sinking-x")
    monkeypatch.setattr(claims, "NAMES", names)
    monkeypatch.setattr(claims, "statement", lambda name: f"{name} is true.")
    monkeypatch.setattr(claims, "check", check)
    cli.json(tmp_path, "validate", "wide", "wide-gap", "--json")
    assert calls == ["wide-map", "wide-map-plain", "wide-gap"]
    # a claim's own name is that claim, what begins with it aside
    for chosen in ("sink", "wide-map"):
        calls.clear()
        cli.json(tmp_path, "validate", chosen, "--json")
        assert calls == [chosen]
    # the beginning of one claim is no group, nor is a beginning that ends within a word
    for chosen in ("sinking", "wid", "wide-", "limi"):
        line = cli.refused(tmp_path, "validate", chosen)
        assert f"{chosen!r} does not exist" in line


def test_the_claims_about_sinkhorn_are_a_group(cli: Any, tmp_path: Path) -> None:
    out = cli.json(tmp_path, "validate", "sinkhorn", "--list", "--json")
    named = [row["claim"] for row in out["claims"]]
    assert named == [name for name in claims.NAMES if name.startswith("sinkhorn-")]
    assert len(named) == 7


def test_a_claim_without_checks_fails(
    cli: Any, tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "check", lambda name, *, quick: _result(name))
    done = cli.run(tmp_path, "validate", "orders")
    assert done.status == 1
    assert "0 of 1" in done.out


def test_validate_in_markdown(cli: Any, tmp_path: Path, asked: list[Any]) -> None:
    out = cli.run(tmp_path, "validate", "--markdown").out
    table = out[out.index("| claim |") :].splitlines()
    assert table[2] == f"| orders is true. | {ORDER.quantity} | 2 | 1.98 | 2 of 2 |"
    assert table[3] == "| rates is true. | defect | 0.001 | 0.0002 | 1 of 2 |"
    assert table[4] == "| broken is true. | - | - | - | 0 of 0 |"
