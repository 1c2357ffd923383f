"""Reports read as dataclasses and as dicts."""

import json
import re
from dataclasses import dataclass, fields

import pytest

from pma_grid.flow.flow import FlowReport
from pma_grid.inference.posterior import InferenceReport
from pma_grid.learning.model import FitReport
from pma_grid.linsolve.line_search import armijo, backtrack
from pma_grid.runtime.report import Report
from pma_grid.transport.report import TransportReport


@dataclass(eq=False)
class Sample(Report):
    """A report of two fields."""

    steps: int | None = None
    seconds: float | None = None


def test_what_is_none_does_not_exist_until_it_is_set() -> None:
    report = Sample(steps=3)
    assert report == {"steps": 3} and list(report) == ["steps"] and len(report) == 1
    assert "seconds" not in report and report.get("seconds", 1.0) == 1.0
    with pytest.raises(KeyError, match="seconds"):
        report["seconds"]
    with pytest.raises(KeyError, match="to_dict"):
        report["to_dict"]
    report.seconds = 0.5
    assert report["seconds"] == 0.5


def test_a_strength_that_was_given_has_no_selection() -> None:
    assert FitReport(seed=1) == {"seed": 1, "selection": None}


def test_entries_of_other_versions_are_kept() -> None:
    entries = {"steps": 3, "of another version": [1, 2]}
    report = Sample.from_dict(entries)
    assert report.steps == 3 and report["of another version"] == [1, 2]
    assert json.loads(json.dumps(report.to_dict())) == entries


def test_backtracking_halves_until_the_merit_is_low_enough() -> None:
    tried = []

    def trial(size: float) -> float:
        tried.append(size)
        return 2.0 - size if size > 0.2 else 1.0 - size

    found = backtrack(trial, abs, armijo(1.0, 0.1), smallest=0.1)
    assert found == (0.125, 0.875) and tried == [1.0, 0.5, 0.25, 0.125]
    assert backtrack(lambda size: float("nan"), abs, armijo(1.0, 0.1), smallest=0.1) is None


@pytest.mark.parametrize("kind", [TransportReport, FlowReport, FitReport, InferenceReport])
def test_every_field_is_documented(kind: type[Report]) -> None:
    text = str(kind.__doc__)
    for name in {f.name for f in fields(kind)} - {"other"}:
        assert re.search(rf"^    (.*, )?{name}(, .*)? : ", text, re.M), name
