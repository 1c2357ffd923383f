"""Step-size schedules: their formulas, their limits, their texts, and the adaptive ones at work."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow import schedules
from pma_grid.flow.schedules import StateSchedule
from pma_grid.flow.state import State


def _problem(n: int = 40) -> pma.Problem:
    """Two bumps to a wide Gaussian, in one dimension: divergences of the start are not small."""
    x = pma.Grid((n,)).coordinates()[0]
    source = 0.15 + np.exp(-((x - 0.3) ** 2) / 0.01) + 0.6 * np.exp(-((x - 0.75) ** 2) / 0.008)
    return pma.Problem(source, np.exp(-((x - 0.4) ** 2) / (2 * 0.35**2)))


# formulas


def test_formulas() -> None:
    k = np.arange(6)
    assert [schedules.constant(0.3)(i, 9.0, 7.0) for i in range(6)] == [0.3] * 6
    for schedule, sizes in (
        (schedules.inverse_sqrt(2.0), 2 / np.sqrt(k + 1)),
        (schedules.inverse(2.0), 2 / (k + 1)),
        (schedules.geometric(0.1, 3.0), 0.1 * 3.0**k),
        (schedules.geometric(0.1, 3.0, 2.0), np.minimum(2.0, 0.1 * 3.0**k)),
        (schedules.geometric(0.1, 0.5), 0.1 * 0.5**k),
    ):
        np.testing.assert_allclose([schedule(i, 0, 1) for i in range(6)], sizes)
    assert schedules.horizon(0.02, 4.0, 25)(3, 0, 1) == pytest.approx(math.sqrt(0.04 / 100))
    assert schedules.residual_balanced(0.2)(0, 0.0, 0.05) == pytest.approx(4.0)
    assert schedules.residual_balanced(0.2, 3.0)(0, 0.0, 0.05) == 3.0


def test_formulas_stay_positive_and_finite_for_any_number_of_steps() -> None:
    for schedule in (
        schedules.geometric(0.1, 10.0),
        schedules.geometric(0.1, 0.1),
        schedules.geometric(5.0, 2.0, 1.0),
        schedules.geometric(1e-300, 1e10, 2.0),
        schedules.inverse(1e-3),
        schedules.inverse_sqrt(1e-3),
        schedules.residual_balanced(1.0),
    ):
        for k in (0, 1, 300, 10**6, 10**12):
            for norm in (0.0, 1e-320, 1.0, 1e300):
                assert 0 < schedule(k, 1.0, norm) < math.inf, (schedule, k)
    assert schedules.geometric(5.0, 2.0, 1.0)(0, 0, 1) == pytest.approx(1.0)
    assert schedules.geometric(1e-3, 2.0, 1.0)(10**9, 0, 1) == pytest.approx(1.0)


TEXTS = [
    "constant(0.1)", "inverse_sqrt(0.5)", "inverse(2)", "geometric(0.1, 2)",
    "geometric(0.1, 2, 7)", "horizon(0.1, 3, 40)", "residual_balanced(0.3)",
    "residual_balanced(0.3, 5)", "constant(0.100000000001)",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_the_call_that_makes_it(text: str) -> None:
    schedule = eval(f"schedules.{text}", {"schedules": schedules})
    assert repr(schedule) == text
    again = eval(f"schedules.{schedule!r}", {"schedules": schedules})
    for k in range(12):
        assert again(k, 0.3, 0.01) == schedule(k, 0.3, 0.01)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_scales_that_are_not_positive_numbers(value: Any) -> None:
    makers: list[tuple[str, Any]] = [
        ("step_size", schedules.constant), ("scale", schedules.inverse_sqrt),
        ("scale", schedules.inverse), ("first", lambda v: schedules.geometric(v, 2.0)),
        ("ratio", lambda v: schedules.geometric(1.0, v)),
        ("divergence", lambda v: schedules.horizon(v, 1.0, 3)),
        ("dissipation", lambda v: schedules.horizon(1.0, v, 3)),
        ("scale", schedules.residual_balanced), ("factor", schedules.polyak),
        ("largest", lambda v: schedules.polyak(1.0, v)),
        ("largest", lambda v: schedules.self_bounding(0.5, v)),
        ("tol", schedules.adaptive), ("first", lambda v: schedules.adaptive(1.0, v)),
        ("largest", lambda v: schedules.adaptive(1.0, 1.0, v)),
    ]  # fmt: skip
    for name, make in makers:
        with pytest.raises(pma.InvalidInputError, match=rf"^{name} is .*> 0"):
            make(value)


def test_counts_and_shares_out_of_range() -> None:
    with pytest.raises(pma.InvalidInputError, match="steps is 0.*integer >= 1"):
        schedules.horizon(1.0, 1.0, 0)
    for value in (0, 1, math.nan):
        with pytest.raises(pma.InvalidInputError, match=f"theta is {value}.*between 0 and 1"):
            schedules.self_bounding(value)


def test_protocol_tells_state_schedules_from_formulas() -> None:
    for schedule in (schedules.polyak(), schedules.self_bounding(), schedules.adaptive(1e-3)):
        assert isinstance(schedule, StateSchedule)
    assert not isinstance(schedules.constant(0.1), StateSchedule)
    assert not isinstance(lambda k, t, r: 0.1, StateSchedule)


# schedules that see the state


def _state(**values: Any) -> Any:
    return SimpleNamespace(**values)


def test_polyak_is_the_ratio_of_regret_and_dissipation() -> None:
    state = _state(symmetrised_kl=0.3, dissipation=6.0)
    assert schedules.polyak().propose(state) == pytest.approx(0.05)
    assert schedules.polyak(0.5).propose(state) == pytest.approx(0.025)
    assert schedules.polyak(largest=0.01).propose(state) == 0.01
    assert schedules.polyak(largest=0.7).propose(_state(symmetrised_kl=0.0, dissipation=0.0)) == 0.7


def test_adaptive_steps_follow_the_predicted_error() -> None:
    """error ~ eta^{p+1}: an error of tol eta / 4 allows steps longer by .9 4^{1/p}."""
    schedule = schedules.adaptive(1e-2, first=0.3, largest=5.0)
    for order in (1, 2):
        error = 0.25 * 1e-2 * 0.1
        state = _state(step=_state(size=0.1, error=error), order=order)
        assert schedule.propose(state) == pytest.approx(0.09 * 4 ** (1 / order))
    assert schedule.propose(_state(step=_state(size=0.0), order=2)) == 0.3
    assert schedule.propose(_state(step=_state(size=4.0, error=0.0), order=2)) == 5.0
    # no more than fourfold, no less than a fifth
    assert schedule.propose(_state(step=_state(size=0.1, error=1e-30), order=2)) == pytest.approx(
        0.4
    )
    bad = _state(step=_state(size=0.1, error=1e3, attempts=1), order=2)
    assert schedule.review(bad, bad) == pytest.approx(0.02)
    slightly = _state(step=_state(size=0.1, error=1.01e-3, attempts=1), order=2)
    assert schedule.review(slightly, slightly) == pytest.approx(0.05)
    good = _state(step=_state(size=0.1, error=0.99e-3, attempts=1), order=2)
    assert schedule.review(good, good) is None
    # what many halvings do not help is no error in time
    tried = _state(step=_state(size=0.1, error=1e3, attempts=50), order=2)
    assert schedule.review(tried, tried) is None


def test_adaptive_never_proposes_more_than_the_largest() -> None:
    schedule = schedules.adaptive(1e-2, first=0.3, largest=0.1)
    assert schedule.propose(_state(step=_state(size=0.0), order=2)) == 0.1


def _run(schedule: Any, scheme: Any, **ends: Any) -> list[State]:
    return list(pma.iterate(_problem(), schedule=schedule, scheme=scheme, **ends))


def test_polyak_on_a_flow() -> None:
    """The step is S / I of the state it starts from; J falls at implicit ones."""
    states = _run(schedules.polyak(0.5), pma.ImplicitEuler(), steps=8)
    for before, after in itertools.pairwise(states):
        expected = 0.5 * before.symmetrised_kl / before.dissipation
        assert after.step.size == pytest.approx(expected, rel=1e-12)
    # S / I is the time scale 1 / lambda of the last mode in the end
    sizes = [s.step.size for s in states[1:]]
    assert sizes == sorted(sizes) and 1e-3 < sizes[0] < sizes[-1] < 1.0


@pytest.mark.parametrize("theta", [0.1, 0.5, 0.9])
def test_self_bounding_steps_pass_their_test(theta: float) -> None:
    """D(rho_k | rho_{k+1}) <= theta eta_k S_k at every step, and not by a wide margin."""
    schedule = schedules.self_bounding(theta, largest=10.0)
    for scheme in (pma.Explicit(cap="stability"), pma.ImplicitEuler()):
        states = _run(schedule, scheme, steps=12)
        ratios = [
            after.forward_divergence / (after.step.size * before.symmetrised_kl)
            for before, after in itertools.pairwise(states)
        ]
        assert max(ratios) <= theta
        if isinstance(scheme, pma.ImplicitEuler):
            # not idle: an implicit step pays less than the quadratic model of J says
            assert min(ratios) > min(0.2 * theta, 0.05)


def test_self_bounding_regret_is_bounded() -> None:
    """sum eta S = D_0 - D_K + sum D <= D_0 + theta sum eta S: no more than D_0 / (1 - theta)."""
    theta = 0.5
    flow = pma.evolve(
        _problem(), schedule=schedules.self_bounding(theta), scheme=pma.Explicit(cap="stability"),
        steps=60, record=("symmetrised_kl", "bregman", "forward_divergence"),
    )  # fmt: skip
    regret = (flow.step_sizes * flow["symmetrised_kl"][:-1]).sum()
    assert 0 < regret <= flow["bregman"][0] / (1 - theta)
    spent = flow["bregman"][0] - flow["bregman"][-1] + flow["forward_divergence"].sum()
    assert regret == pytest.approx(spent, rel=1e-2)


@pytest.mark.parametrize("tol", [1e-2, 1e-3])
@pytest.mark.parametrize("scheme", [pma.TRBDF2(), pma.ImplicitEuler(rtol=1e-6)])
def test_adaptive_global_error_is_below_tol_times_time(scheme: Any, tol: float) -> None:
    problem, end = _problem(), 0.1
    flow = pma.evolve(
        problem, schedule=schedules.adaptive(tol), scheme=scheme, time=end, record=("kl",)
    )
    assert flow.times[-1] == end
    truth = pma.evolve(
        problem, schedule=schedules.geometric(1e-5, 1.04, 5e-4),
        scheme=pma.TRBDF2(rtol=1e-9, atol=1e-13), time=end, record=("kl",),
    )  # fmt: skip
    error = 0.5 * np.ptp(flow.potential - truth.potential)
    assert error < tol * end
    # and not by doing nothing: the steps grow as the flow becomes smooth
    assert flow.step_sizes[:-1].max() > 10 * flow.step_sizes[0]
    if scheme.order == 2:
        assert len(flow) < 60


def test_adaptive_takes_more_steps_for_a_smaller_tolerance() -> None:
    counts = [
        len(_run(schedules.adaptive(tol), pma.TRBDF2(), time=0.05)) for tol in (1e-2, 1e-3, 1e-4)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_residual_balanced_steps_become_newtons_method() -> None:
    """eta = c / |h|: the residual falls faster and faster."""
    states = _run(schedules.residual_balanced(0.05), pma.ImplicitEuler(), steps=9, tol=1e-12)
    norms = np.array([s.residual_norm for s in states])
    rates = norms[1:] / norms[:-1]
    assert rates[-1] < 0.05 * rates[0]
    for before, after in itertools.pairwise(states):
        assert after.step.size == pytest.approx(0.05 / before.residual_norm)
