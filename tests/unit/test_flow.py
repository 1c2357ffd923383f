"""`State` and `Flow`: what they hold, how they are read, saved and loaded."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow.flow import Snapshot
from pma_grid.flow.observables import NAMES
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State, Step
from pma_grid.flow.stepping import linearised
from pma_grid.runtime import storage
from pma_grid.transport.pullback import normalised

STEP = pma.schedules.constant(0.02)


@pytest.fixture(scope="module")
def problem() -> pma.Problem:
    return pma.cases.manufactured(2).problem((9, 11))


@pytest.fixture(scope="module")
def flow(problem: pma.Problem) -> pma.Flow:
    result: pma.Flow = pma.evolve(
        problem, schedule=STEP, steps=5, keep=2, record=("kl", "tv", "mass_constant")
    )
    return result


# reading


def test_series_are_read_by_name(flow: pma.Flow) -> None:
    assert flow["kl"] is flow.series["kl"]
    with pytest.raises(pma.InvalidInputError, match="no series 'chi2'; it has kl, tv"):
        flow["chi2"]
    with pytest.raises(pma.InvalidInputError, match="it has none"):
        dataclasses.replace(flow, series={})["kl"]


def test_flows_and_states_are_frozen(flow: pma.Flow) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        flow.scheme = "other"  # type: ignore[misc]
    state = next(iter(pma.iterate(flow.problem, schedule=STEP)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.time = 1.0  # type: ignore[misc]


def test_statistics_say_how_it_was_made(flow: pma.Flow) -> None:
    stats = flow.stats
    assert repr(flow) == "<Flow implicit_euler: 5 steps to t = 0.1, completed>"
    assert stats["schedule"] == "constant(0.02)" and stats["scheme"].startswith("ImplicitEuler(")
    assert stats["side"] == flow.side == "source"
    assert stats["weights"] == [0.0, 1.0]
    assert stats["newton"] >= 5 and stats["linear"] >= stats["newton"] and stats["rejected"] == 0
    assert stats["setups"] >= 1 and "multigrid" in stats["linear_solver"]
    assert stats["seconds"] >= 0 <= stats["compile_seconds"]
    assert set(stats["versions"]) == {"python", "numpy", "scipy", "numba", "pyamg"}
    assert stats["mass_constant"] == flow["mass_constant"][-1]


def test_explicit_flows_report_their_limits() -> None:
    problem = pma.cases.manufactured(1).problem((16,))
    flow = pma.evolve(problem, schedule=lambda k, t, r: 1e-4, steps=4, scheme=pma.Explicit())
    for name in ("convexity_limit", "stability_limit"):
        assert len(flow.stats[name]) == 2 and min(flow.stats[name]) > 1e-4
    none = pma.evolve(problem, schedule=STEP, steps=0, scheme=pma.Explicit())
    assert len(none.stats["stability_limit"]) == 1


def test_transport_is_of_the_last_state(problem: pma.Problem, flow: pma.Flow) -> None:
    ot = flow.transport
    assert ot is flow.transport and ot.problem is problem
    np.testing.assert_array_equal(ot.potential, flow.potential)
    assert ot.status is flow.status and not ot.converged
    assert ot.stats["mass_constant"] == flow["mass_constant"][-1]
    states = list(pma.iterate(problem, schedule=STEP, steps=5))
    np.testing.assert_allclose(ot.gradient, states[-1].gradient, atol=1e-14)
    # the density of the last state is the pullback
    h = ot.residual - states[-1].residual
    assert np.abs(h).max() < 1e-3


def test_flows_on_no_grid_have_no_transport(flow: pma.Flow) -> None:
    bare = pma.Flow("explicit", np.zeros(1), np.zeros(0), {"kl": np.zeros(1)})
    assert len(bare) == 0 and bare.side == "source" and bare.first == 0
    assert bare.status is pma.Status.COMPLETED
    with pytest.raises(pma.InvalidInputError, match="lives on no grid"):
        bare.oriented  # noqa: B018
    with pytest.raises(pma.InvalidInputError, match="lives on no grid"):
        bare.transport  # noqa: B018
    with pytest.raises(pma.InvalidInputError, match="carries no potential"):
        dataclasses.replace(flow, potential=None).transport  # noqa: B018


# saving


def _same(one: pma.Flow, other: pma.Flow) -> None:
    """Everything equal, bit for bit."""
    assert (one.scheme, one.status, len(one)) == (other.scheme, other.status, len(other))
    assert list(one.series) == list(other.series)
    arrays = [(one.times, other.times), (one.step_sizes, other.step_sizes)]
    arrays += [(one[name], other[name]) for name in one.series]
    for name in ("potential", "average_density", "average_potential"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        arrays += [] if a is None else [(a, b)]
    assert len(one.snapshots) == len(other.snapshots)
    for x, y in zip(one.snapshots, other.snapshots, strict=True):
        assert x.time == y.time
        arrays += [(x.density, y.density), (x.potential, y.potential)]
    for a, b in arrays:
        np.testing.assert_array_equal(a, b)


SAVED: dict[str, dict[str, Any]] = {
    "implicit": {"steps": 4, "keep": 2},
    "target": {"steps": 3, "side": "target", "keep": (0.0, 0.05)},
    "none": {"steps": 0, "record": ()},
    "everything": {"steps": 2, "record": NAMES},
    "trbdf2": {"time": 0.03, "scheme": pma.TRBDF2()},
    "explicit": {"steps": 3, "scheme": pma.Explicit(cap="stability")},
    "adaptive": {"steps": 3, "scheme": pma.TRBDF2(), "schedule": pma.schedules.adaptive(1e-3)},
    "converged": {"tol": 1e-2},
}


@pytest.mark.parametrize("name", SAVED)
def test_flows_come_back_from_their_files(problem: pma.Problem, name: str, tmp_path: Path) -> None:
    flow = pma.evolve(problem, **({"schedule": STEP} | SAVED[name]))
    path = tmp_path / "flow.npz"
    flow.save(path)
    loaded = pma.load(path)
    assert isinstance(loaded, pma.Flow)
    _same(loaded, flow)
    assert loaded.side == flow.side and loaded.first == flow.first
    assert loaded.stats == flow.stats
    for one, other in (
        (loaded.problem.source, problem.source), (loaded.problem.target, problem.target)
    ):  # fmt: skip
        np.testing.assert_allclose(one.values, other.values, rtol=1e-14)
        assert one.grid == other.grid
    np.testing.assert_allclose(
        loaded.transport.gradient, flow.transport.gradient, rtol=0, atol=1e-9
    )
    # and again: the file of the loaded flow is the file
    loaded.save(tmp_path / "again.npz")
    _same(pma.load(tmp_path / "again.npz"), flow)


def test_flows_with_infinite_limits_are_saved(tmp_path: Path) -> None:
    """h of equal densities is convex everywhere: an infinite limit, which JSON must carry."""
    problem = pma.Problem(np.ones(8), np.ones(8))
    flow = pma.evolve(problem, schedule=lambda k, t, r: 1e-3, steps=2, scheme=pma.Explicit())
    assert math.inf in flow.stats["convexity_limit"]
    flow.save(tmp_path / "flow.npz")
    assert pma.load(tmp_path / "flow.npz").stats["convexity_limit"][0] == math.inf


def test_failed_flows_and_names_of_functions_are_saved(
    problem: pma.Problem, tmp_path: Path
) -> None:
    def mean_h(state: State) -> float:
        return float(state.residual.mean())

    with pytest.raises(pma.LostConvexityError) as lost:
        pma.evolve(
            problem, schedule=lambda k, t, r: 1.0, steps=3, scheme=pma.Explicit(), record=(mean_h,)
        )
    flow = lost.value.result
    assert "mean_h" in flow.series
    flow.save(tmp_path / "flow.npz")
    _same(pma.load(tmp_path / "flow.npz"), flow)


def test_flows_on_no_grid_are_saved(tmp_path: Path) -> None:
    bare = pma.Flow(
        "explicit", np.array([0.0, 1.0]), np.array([1.0]), {"kl": np.array([2.0, 1.0])},
        snapshots=(Snapshot(0.5, np.ones(3), np.zeros(3)),),
    )  # fmt: skip
    bare.save(tmp_path / "flow.npz")
    loaded = pma.load(tmp_path / "flow.npz")
    assert isinstance(loaded, pma.Flow) and loaded.problem is None and loaded.potential is None
    _same(loaded, bare)


def test_transports_and_flows_are_told_apart(
    problem: pma.Problem, flow: pma.Flow, tmp_path: Path
) -> None:
    flow.transport.save(tmp_path / "ot.npz")
    assert isinstance(pma.load(tmp_path / "ot.npz"), pma.Transport)
    storage.save(tmp_path / "other.npz", {"x": np.zeros(2)}, {"kind": "letter"})
    with pytest.raises(pma.InvalidInputError, match="holds no result"):
        pma.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    "missing",
    ["times", "step_sizes", "source", "snapshot.0.density",
     "scheme", "status", "stats", "snapshot_times"],
)  # fmt: skip
def test_files_that_lack_something(flow: pma.Flow, tmp_path: Path, missing: str) -> None:
    flow.save(tmp_path / "flow.npz")
    arrays, meta = storage.load(tmp_path / "flow.npz")
    del (arrays if missing in arrays else meta)[missing]
    storage.save(tmp_path / "less.npz", arrays, meta)
    with pytest.raises(pma.InvalidInputError, match=f"lacks '{missing}'"):
        pma.load(tmp_path / "less.npz")


# states


def test_states_know_how_they_were_made(problem: pma.Problem) -> None:
    states = list(pma.iterate(problem, schedule=STEP, steps=4))
    assert isinstance(states[0].step, Step) and states[0].step.size == 0.0
    assert states[0].step.newton == states[0].step.attempts - 1 == 0
    for k in (1, 2, 3, 4):
        made = states[k].step
        assert made.size == 0.02 and made.attempts == 1 and made.error > 0
        assert made.phi is states[k - 1].phi
        assert made.newton >= 0 and made.linear >= made.newton
    assert states[1].older is None
    assert states[2].older is states[1].step and states[4].older is states[3].step
    # only what the next step may need: no chain of all steps
    assert not hasattr(states[4].step, "older")


def test_potential_is_quadratic_part_phi_and_offset(problem: pma.Problem) -> None:
    state = list(pma.iterate(problem, schedule=STEP, steps=2))[-1]
    quadratic = ParabolicOperator(problem).frame.quadratic()
    np.testing.assert_array_equal(state.potential, quadratic + state.phi + state.offset)
    assert abs(state.phi.mean()) < 1e-17
    ot = pma.Transport.from_potential(problem, state.potential)
    np.testing.assert_allclose(state.gradient, ot.gradient, atol=1e-13)


def test_linearised_is_at_the_state_whatever_came_between(problem: pma.Problem) -> None:
    states = list(pma.iterate(problem, schedule=STEP, steps=3))
    first = linearised(states[1]).matrix()
    linearised(states[3])
    again = linearised(states[1]).matrix()
    assert abs(first - again).max() < 1e-6 * abs(first).max()
    assert linearised(states[1]).reaction == 0.0


@pytest.mark.parametrize("level", [0.0, 1e3, -1e3, 800.0])
def test_normalisation_does_not_overflow(level: float) -> None:
    masses = np.array([0.25, 0.5, 0.25])
    h = np.array([0.1, -0.2, 0.3])
    rho, centred, alpha = normalised(masses, h + level)
    assert rho.sum() == pytest.approx(1, abs=1e-12)
    base = math.log((masses * np.exp(h)).sum())
    assert alpha == pytest.approx(level + base, rel=1e-12)
    np.testing.assert_allclose(centred, h - base, atol=1e-12)
