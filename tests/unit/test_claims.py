"""The list of claims, their verdicts, and the problems that they are checked on."""

import json
import math
from typing import Any

import numpy as np
import pytest

from pma_grid import claims
from pma_grid.claims import Check, ClaimResult, Curve, Findings, Panel, registry
from pma_grid.claims.problems import bumps, order
from pma_grid.runtime.errors import InvalidInputError

PANEL = Panel("case", "h", "error", (Curve("error", np.array([0.1]), np.array([0.2])),))


def _result(*checks: Check) -> ClaimResult:
    return ClaimResult("order", "The order is 2.", checks, (PANEL,), 1.5)


# verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "holds"),
    [(1.0, True), (2.0, True), (1.5, True), (0.999, False), (2.001, False)],
)
def test_a_check_holds_between_its_ends(measured: float, holds: bool) -> None:
    assert Check("order", 1.5, measured, 1.0, 2.0).holds is holds


@pytest.mark.parametrize("measured", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_holds(measured: float) -> None:
    assert not Check("order", 1.5, measured).holds


def test_findings_turn_into_checks() -> None:
    findings = Findings()
    findings.near("order", 2.0, np.float64(1.9), 0.2)
    findings.below("defect", 1e-3, 1e-4)
    findings.above("growth", 10, 20)
    near, below, above = findings.checks
    assert (near.predicted, near.measured, near.low, near.high) == (2.0, 1.9, 1.8, 2.2)
    assert (below.predicted, below.low, below.high) == (1e-3, -math.inf, 1e-3)
    assert (above.predicted, above.low, above.high) == (10, 10, math.inf)
    assert type(near.measured) is float
    assert all(check.holds for check in findings.checks)


def test_findings_fail_on_the_other_side() -> None:
    findings = Findings()
    findings.near("order", 2.0, 1.7, 0.2)
    findings.near("order", 2.0, 2.3, 0.2)
    findings.below("defect", 1e-3, 2e-3)
    findings.above("growth", 10, 9)
    assert not any(check.holds for check in findings.checks)
    assert findings.panels == []


def test_a_claim_holds_if_all_of_it_does() -> None:
    good, bad = Check("order", 2, 2.0, 1.8, 2.2), Check("order", 2, 1.0, 1.8, 2.2)
    assert _result(good, good).holds
    for checks in ((good, bad), (bad,), ()):
        assert not _result(*checks).holds


def test_a_result_as_json_knows_no_infinity() -> None:
    result = _result(Check("growth", 100, math.inf, low=100)).to_dict()
    row = {"quantity": "growth", "predicted": 100, "measured": None, "low": 100, "high": None}
    assert json.loads(json.dumps(result, allow_nan=False)) == {
        "claim": "order", "statement": "The order is 2.", "holds": False,
        "checks": [row | {"holds": False}], "seconds": 1.5,
    }  # fmt: skip


# the list ----------------------------------------------------------------------------------------


def test_claims_have_names_for_the_command_line_and_one_sentence() -> None:
    assert len(set(claims.NAMES)) == len(claims.NAMES) >= 20
    sentences = [claims.statement(name) for name in claims.NAMES]
    assert len(set(sentences)) == len(sentences)
    for name in claims.NAMES:
        assert name.replace("-", "").isalpha()
        assert name == name.lower()


@pytest.mark.parametrize("function", [claims.check, claims.statement])
def test_an_unknown_claim_is_refused(function: Any) -> None:
    with pytest.raises(InvalidInputError, match="claim 'regrets' does not exist"):
        function("regrets")


@pytest.mark.parametrize("quick", [False, True])
def test_check_hands_on_what_is_found(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(findings: Findings, asked: bool) -> None:
        assert asked is quick
        findings.near("order", 2.0, 1.9, 0.2)
        findings.panels.append(PANEL)

    monkeypatch.setitem(registry._CLAIMS, "made", (run, "It is made."))
    result = claims.check("made", quick=True) if quick else claims.check("made")
    assert (result.name, result.statement, result.holds) == ("made", "It is made.", True)
    assert result.panels == (PANEL,)
    assert len(result.checks) == 1
    assert 0 <= result.seconds < 60


# the problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_problems_are_contrasted_and_without_symmetry(dim: int) -> None:
    problem = bumps(dim, 12)
    assert problem.source.shape == problem.target.shape == (12,) * dim
    for density in (problem.source, problem.target):
        assert density.values.min() > 0
    # uniform to a manufactured density in 3-D
    contrasts = [d.values.max() / d.values.min() for d in (problem.source, problem.target)]
    assert max(contrasts) > 3
    if dim < 3:
        for density in (problem.source, problem.target):
            for axis in range(dim):
                gap = np.abs(density.values - np.flip(density.values, axis)).max()
                assert gap > 0.1
        logarithms = np.log(problem.source.values)
        assert np.diff(logarithms, 2, axis=0).max() > 0, "the source is not log-concave"


def test_order_is_the_slope_of_a_power() -> None:
    h = [1 / 16, 1 / 32, 1 / 64]
    assert order(h, [3 * v**2 for v in h]) == pytest.approx(2.0, rel=1e-12)
    assert order(h, [-(v**1.5) for v in h]) == pytest.approx(1.5, rel=1e-12)
