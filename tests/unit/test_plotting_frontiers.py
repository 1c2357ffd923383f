"""Frontiers of time and error: which runs are on them, and what is drawn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pma_grid as pma
from pma_grid.plotting.frontiers import LEAST_ERROR, undominated

METHODS = {"fast": "the fast one", "slow": "the slow one", "absent": "never raced"}
PROBLEMS = {"A": "problem A", "B": "problem B", "C": "not run"}


def _row(problem: str, method: str, seconds: float, map_l2: Any, w2_rel: Any) -> dict[str, Any]:
    return {
        "problem": problem, "method": method, "seconds": seconds, "w2_seconds": 2 * seconds,
        "map_l2": map_l2, "w2_rel": w2_rel,
    }  # fmt: skip


def _results() -> dict[str, Any]:
    rows = [
        _row("A", "slow", 4.0, 1e-3, -2e-4),
        _row("A", "fast", 2.0, 1e-4, 1e-7),
        _row("A", "fast", 1.0, 1e-2, -1e-5),
        _row("A", "fast", 3.0, 5e-4, 0.0),
        _row("B", "slow", 1.0, None, 3e-3),
    ]
    return {"rows": rows, "problems": PROBLEMS, "methods": METHODS}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_undominated_against_the_definition(pairs: list[tuple[int, int]]) -> None:
    seconds, errors = ([float(pair[k]) for pair in pairs] for k in (0, 1))
    found = undominated(seconds, errors).tolist()
    times, values = np.array(seconds)[found], np.array(errors)[found]
    assert (np.diff(times) > 0).all()
    assert (np.diff(values) < 0).all()
    for t, e in pairs:
        assert any(times[k] <= t and values[k] <= e for k in range(len(found)))


def test_what_is_not_finite_is_not_on_the_frontier() -> None:
    assert undominated([1.0, 2.0, np.inf], [np.nan, 1.0, 0.1]).tolist() == [1]
    assert undominated([], []).tolist() == []


def test_one_error_a_run() -> None:
    with pytest.raises(pma.InvalidInputError, match="one error a run"):
        undominated([1.0, 2.0], [1.0])


def test_runs_and_frontiers(pixels: Any) -> None:
    figure = pma.plotting.frontier(_results())
    maps, values = figure.axes[:2], figure.axes[2:]
    assert all(ax.get_xscale() == ax.get_yscale() == "log" for ax in (maps[0], *values))
    # the first method lies on top: its marks, then its frontier, are drawn last
    marks, line = maps[0].lines[-2:]
    assert sorted(np.asarray(marks.get_xdata())) == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(line.get_xydata(), [(1.0, 1e-2), (2.0, 1e-4)])
    # of W2^2 the size alone, over its own clock, and no zero
    np.testing.assert_array_equal(
        values[0].lines[-1].get_xydata(), [(2.0, 1e-5), (4.0, 1e-7), (6.0, LEAST_ERROR)]
    )
    assert np.ptp(pixels(figure)) > 0


def test_a_problem_without_a_map_says_so() -> None:
    figure = pma.plotting.frontier(_results())
    assert not figure.axes[1].lines
    assert len(figure.axes[3].lines) == 2


def test_one_problem_alone(pixels: Any) -> None:
    results = _results()
    results["rows"] = results["rows"][-1:]
    figure = pma.plotting.frontier(results)
    assert len(figure.axes) == 2
    pixels(figure)


def test_the_legend_stays_on_the_paper(pixels: Any) -> None:
    results = _results()
    results["methods"] |= {str(k): f"another method {k}" for k in range(6)}
    results["rows"] = [_row("A", name, 1.0, 1e-3, 1e-3) for name in results["methods"]]
    figure = pma.plotting.frontier(results)
    pixels(figure)
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    "change, words",
    [
        ({"rows": []}, "no rows"),
        ({"methods": {"fast": "f"}}, "method 'slow'"),
        ({"problems": {"A": "a"}}, "problem 'B'"),
    ],
)
def test_results_that_cannot_be_drawn(change: dict[str, Any], words: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=words):
        pma.plotting.frontier(_results() | change)
