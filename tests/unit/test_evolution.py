"""`evolve` and `iterate`: where flows start and end, what they keep, how they go on."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow import evolution
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping.scheme import half_oscillation

STEP = pma.schedules.constant(0.02)


@pytest.fixture(scope="module")
def problem() -> pma.Problem:
    return pma.cases.manufactured(2).problem((12, 13))


@pytest.fixture(scope="module")
def line() -> pma.Problem:
    return pma.cases.manufactured(1).problem((24,))


# ends and lengths


@pytest.mark.parametrize("count", [0, 1, 7])
def test_series_have_one_entry_a_state(line: pma.Problem, count: int) -> None:
    flow = pma.evolve(line, schedule=STEP, steps=count, record=("kl", "max_h"))
    assert len(flow) == count and flow.step_sizes.shape == (count,)
    assert flow.times.shape == flow["kl"].shape == flow["max_h"].shape == (count + 1,)
    np.testing.assert_allclose(flow.times, 0.02 * np.arange(count + 1), atol=1e-15)
    assert flow.status is pma.Status.COMPLETED and flow.status.succeeded
    assert set(flow.series) == {"kl", "max_h"}
    assert (flow.average_density is None) == (count == 0)


@pytest.mark.parametrize("end", [0.0, 0.02, 0.05, 0.1, 1 / 3, 1e-7])
@pytest.mark.parametrize("scheme", [pma.ImplicitEuler(), pma.TRBDF2()])
def test_time_is_hit_exactly(line: pma.Problem, end: float, scheme: Any) -> None:
    flow = pma.evolve(line, schedule=STEP, time=end, scheme=scheme, record=())
    assert flow.times[-1] == end
    assert len(flow) == math.ceil(end / 0.02 - 1e-9)
    assert (flow.step_sizes > 0).all() and flow.step_sizes.max(initial=0) <= 0.02 * (1 + 1e-8)
    np.testing.assert_allclose(np.diff(flow.times), flow.step_sizes, rtol=1e-7, atol=1e-16)


def test_ten_tenths_are_one(line: pma.Problem) -> None:
    """Rounding of the running sum adds no eleventh step of 1e-16."""
    flow = pma.evolve(line, schedule=pma.schedules.constant(0.1), time=1.0, record=())
    assert len(flow) == 10 and flow.times[-1] == 1.0


def test_whichever_end_comes_first(line: pma.Problem) -> None:
    assert len(pma.evolve(line, schedule=STEP, steps=3, time=1.0, record=())) == 3
    assert len(pma.evolve(line, schedule=STEP, steps=9, time=0.03, record=())) == 2
    both = pma.evolve(line, schedule=STEP, steps=500, tol=1e-2, record=())
    assert 0 < len(both) < 500 and both.status is pma.Status.CONVERGED
    endless = pma.iterate(line, schedule=STEP)
    assert [s.index for s in itertools.islice(endless, 5)] == [0, 1, 2, 3, 4]


def test_tolerance_stops_at_the_first_state_below_it(line: pma.Problem) -> None:
    def norm(state: State) -> float:
        return state.residual_norm

    flow = pma.evolve(line, schedule=STEP, tol=1e-3, record=(norm,))
    assert flow.status is pma.Status.CONVERGED
    assert flow["norm"][-1] <= 1e-3 < flow["norm"][-2]
    assert flow.stats["residual_norm"] == flow["norm"][-1]
    # already there: no step
    again = pma.evolve(line, schedule=STEP, tol=1e-3, initial=flow, record=())
    assert len(again) == 0 and again.status is pma.Status.CONVERGED
    short = pma.evolve(line, schedule=STEP, tol=1e-12, steps=2, record=())
    assert short.status is pma.Status.COMPLETED


def test_schedule_is_called_once_a_step_with_the_state_it_starts_from(line: pma.Problem) -> None:
    calls: list[tuple[int, float, float]] = []

    def schedule(k: int, t: float, norm: float) -> float:
        calls.append((k, t, norm))
        return 0.01 * (k + 1)

    states = list(pma.iterate(line, schedule=schedule, steps=4))
    assert [c[0] for c in calls] == [0, 1, 2, 3]
    for (k, t, norm), state in zip(calls, states, strict=False):
        assert (k, t, norm) == (state.index, state.time, state.residual_norm)
    np.testing.assert_allclose([s.step.size for s in states[1:]], [0.01, 0.02, 0.03, 0.04])


def test_iterate_is_what_evolve_records(problem: pma.Problem) -> None:
    flow = pma.evolve(problem, schedule=STEP, steps=5)
    states = list(pma.iterate(problem, schedule=STEP, steps=5))
    for name in flow.series:
        direct = [getattr(pma.observables, name)(state) for state in states]
        np.testing.assert_array_equal(flow[name], direct)
    np.testing.assert_array_equal(flow.potential, states[-1].potential)
    assert flow.stats["newton"] == sum(s.step.newton for s in states)


def test_inputs_are_not_modified(problem: pma.Problem) -> None:
    source, target = problem.source.values.copy(), problem.target.values.copy()
    u = pma.evolve(problem, schedule=STEP, steps=2, record=()).potential
    assert u is not None
    before = u.copy()
    pma.evolve(problem, schedule=STEP, steps=3, initial=u)
    np.testing.assert_array_equal(u, before)
    np.testing.assert_array_equal(problem.source.values, source)
    np.testing.assert_array_equal(problem.target.values, target)


# snapshots and averages


def test_keep_every_so_many_steps(line: pma.Problem) -> None:
    flow = pma.evolve(line, schedule=STEP, steps=7, keep=3, record=())
    np.testing.assert_allclose([s.time for s in flow.snapshots], [0, 0.06, 0.12])
    every = pma.evolve(line, schedule=STEP, steps=3, keep=1, record=())
    assert [s.time for s in every.snapshots] == list(every.times)


def test_keep_at_the_first_step_after_each_time(line: pma.Problem) -> None:
    flow = pma.evolve(line, schedule=STEP, steps=6, keep=(0.05, 0.0, 0.04, 0.041, 99.0), record=())
    # .041 and .05 are met by one step: one snapshot
    np.testing.assert_allclose([s.time for s in flow.snapshots], [0.0, 0.04, 0.06])
    hit = pma.evolve(line, schedule=STEP, time=0.1, keep=(0.1,), record=())
    assert [s.time for s in hit.snapshots] == [0.1]


def test_snapshots_are_the_states(problem: pma.Problem) -> None:
    flow = pma.evolve(problem, schedule=STEP, steps=4, keep=2, record=())
    states = list(pma.iterate(problem, schedule=STEP, steps=4))[::2]
    volume = problem.source.grid.cell_volume
    assert len(flow.snapshots) == 3
    for shot, state in zip(flow.snapshots, states, strict=True):
        np.testing.assert_array_equal(shot.potential, state.potential)
        np.testing.assert_array_equal(shot.density, state.masses / volume)
        assert shot.density.sum() * volume == pytest.approx(1, abs=1e-14)


AVERAGED: list[tuple[Any, Any]] = [
    (pma.Explicit(), slice(None, -1)), (pma.ImplicitEuler(), slice(1, None)),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "which"), AVERAGED)
def test_averages_are_over_the_states_where_h_is_evaluated(
    line: pma.Problem, scheme: Any, which: slice
) -> None:
    sizes = [1e-5, 3e-5, 2e-5]
    states = list(pma.iterate(line, schedule=lambda k, t, r: sizes[k], scheme=scheme, steps=3))
    flow = pma.evolve(line, schedule=lambda k, t, r: sizes[k], scheme=scheme, steps=3, record=())
    weights = np.array(sizes) / sum(sizes)
    volume = line.source.grid.cell_volume
    density = sum(w * s.masses / volume for w, s in zip(weights, states[which], strict=True))
    potential = sum(w * s.potential for w, s in zip(weights, states[which], strict=True))
    np.testing.assert_allclose(flow.average_density, density, rtol=1e-12)
    np.testing.assert_allclose(flow.average_potential, potential, atol=1e-14)


# going on


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("scheme", "size"), [(pma.ImplicitEuler(), 0.02), (pma.TRBDF2(), 0.02), (pma.Explicit(), 1e-4)]
)
def test_a_continued_state_is_the_long_run(
    line: pma.Problem, scheme: Any, size: float, side: Any
) -> None:
    """Bit for bit: extrapolation and hierarchies travel in the state."""
    schedule = pma.schedules.constant(size)
    whole = list(pma.iterate(line, schedule=schedule, scheme=scheme, steps=8, side=side))
    rest = list(pma.iterate(
        line, schedule=schedule, scheme=scheme, steps=4, side=side, initial=whole[4]
    ))  # fmt: skip
    assert [s.index for s in rest] == [4, 5, 6, 7, 8]
    assert [s.time for s in rest] == [s.time for s in whole[4:]]
    np.testing.assert_allclose(rest[-1].potential, whole[-1].potential, rtol=0, atol=1e-13)


def test_adaptive_steps_go_on_from_a_state(line: pma.Problem) -> None:
    """The step size grown so far is not forgotten."""
    schedule = pma.schedules.adaptive(1e-3)
    whole = list(pma.iterate(line, schedule=schedule, scheme=pma.TRBDF2(), steps=12))
    rest = list(
        pma.iterate(line, schedule=schedule, scheme=pma.TRBDF2(), steps=6, initial=whole[6])
    )
    np.testing.assert_allclose(
        [s.step.size for s in rest[1:]], [s.step.size for s in whole[7:]], rtol=1e-9
    )


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("scheme", "size", "accuracy"),
    [(pma.ImplicitEuler(rtol=1e-10, atol=1e-13), 0.02, 1e-10), (pma.Explicit(), 1e-4, 1e-13)],
)
def test_a_continued_flow_is_the_long_run(
    line: pma.Problem, scheme: Any, size: float, accuracy: float, side: Any
) -> None:
    """To the tolerance of the steps: k, t and the gauge go on."""
    problem = line
    options: dict[str, Any] = {
        "schedule": pma.schedules.constant(size), "scheme": scheme, "side": side, "record": ("kl",)
    }  # fmt: skip
    whole = pma.evolve(problem, steps=8, **options)
    half = pma.evolve(problem, steps=3, **options)
    rest = pma.evolve(problem, steps=5, initial=half, **options)
    assert rest.first == 3 and half.first == 0 and len(rest) == 5
    np.testing.assert_array_equal(rest.times, whole.times[3:])
    np.testing.assert_allclose(rest["kl"], whole["kl"][3:], rtol=1e-6)
    np.testing.assert_allclose(rest.potential, whole.potential, rtol=0, atol=accuracy)
    third = pma.evolve(problem, steps=1, initial=rest, **options)
    assert third.first == 8 and third.times[0] == whole.times[-1]


def test_a_continued_flow_in_two_dimensions(problem: pma.Problem) -> None:
    """Its walks begin at the axes again: they may end in other minima, the flow does not notice."""
    whole = pma.evolve(problem, schedule=STEP, steps=8, record=("kl",))
    half = pma.evolve(problem, schedule=STEP, steps=3, record=("kl",))
    rest = pma.evolve(problem, schedule=STEP, steps=5, initial=half, record=("kl",))
    np.testing.assert_allclose(rest["kl"], whole["kl"][3:], rtol=1e-3)
    np.testing.assert_allclose(rest.potential, whole.potential, rtol=0, atol=1e-5)


def test_schedules_see_the_count_and_time_of_a_continued_flow(line: pma.Problem) -> None:
    seen: list[tuple[int, float]] = []

    def schedule(k: int, t: float, norm: float) -> float:
        seen.append((k, t))
        return 0.125

    first = pma.evolve(line, schedule=schedule, steps=2, record=())
    pma.evolve(line, schedule=schedule, time=0.5, initial=first, record=())
    assert seen == [(0, 0.0), (1, 0.125), (2, 0.25), (3, 0.375)]
    with pytest.raises(pma.InvalidInputError, match=r"time is 0\.1, before the 0\.25"):
        pma.evolve(line, schedule=schedule, time=0.1, initial=first, record=())


def test_a_flow_of_other_densities_is_a_potential_to_start_from(line: pma.Problem) -> None:
    schedule = pma.schedules.constant(0.1)
    first = pma.evolve(line, schedule=schedule, steps=2, record=())
    other = pma.Problem(line.source.values[::-1], line.target)
    state = next(pma.iterate(other, schedule=schedule, initial=first))
    assert (state.index, state.time) == (0, 0.0)
    np.testing.assert_allclose(state.potential, first.potential, atol=1e-14)


def test_a_loaded_flow_goes_on(line: pma.Problem, tmp_path: Any) -> None:
    flow = pma.evolve(line, schedule=STEP, steps=3, record=("kl",))
    flow.save(tmp_path / "flow.npz")
    loaded = pma.load(tmp_path / "flow.npz")
    assert isinstance(loaded, pma.Flow)
    on = pma.evolve(line, schedule=STEP, steps=2, initial=loaded, record=("kl",))
    straight = pma.evolve(line, schedule=STEP, steps=2, initial=flow, record=("kl",))
    assert on.first == 3
    np.testing.assert_array_equal(on["kl"], straight["kl"])


def test_a_state_of_the_other_problem_is_only_a_start(line: pma.Problem) -> None:
    """Its h belongs to the problem it came from: it is evaluated anew."""
    *_, state = pma.iterate(line, schedule=STEP, steps=3)
    other = pma.Problem(np.ones(24), line.source.values)
    first = next(iter(pma.iterate(other, schedule=STEP, initial=state)))
    assert (first.index, first.time) == (3, state.time)
    expected = ParabolicOperator(other).evaluate(state.phi, 0.0)
    np.testing.assert_allclose(first.residual, expected, atol=1e-13)
    assert first.step.size == 0.0


# starts


def test_default_start_is_the_affine_map_of_box_to_box() -> None:
    a, b = pma.Grid((9,), (1.0,), (3.0,)), pma.Grid((7,), (-1.0,), (0.0,))
    pair = pma.Problem(pma.Density(np.ones(9), a), pma.Density(np.arange(7.0) + 1, b))
    first = next(iter(pma.iterate(pair, schedule=STEP)))
    np.testing.assert_allclose(first.gradient[0], -1 + 0.5 * (a.axes[0] - 1), atol=1e-13)
    assert not first.phi.any() and first.offset == 0.0


def test_start_from_an_array_keeps_the_gauge(line: pma.Problem) -> None:
    x = line.source.grid.coordinates()[0]
    u = 0.5 * x**2 + 0.01 * np.cos(np.pi * x) + 17.0
    first = next(iter(pma.iterate(line, schedule=STEP, initial=u)))
    np.testing.assert_allclose(first.potential, u, rtol=0, atol=1e-13)
    as_list = next(iter(pma.iterate(line, schedule=STEP, initial=u.tolist())))
    np.testing.assert_array_equal(as_list.phi, first.phi)


@pytest.mark.parametrize("coarse", [(6, 6), (5, 7), (12, 7)])
def test_start_from_a_coarser_transport(problem: pma.Problem, coarse: tuple[int, int]) -> None:
    """Nearer to the stationary state than the affine map, and still convex."""
    ot = pma.solve(pma.cases.manufactured(2).problem(coarse))
    near = next(iter(pma.iterate(problem, schedule=STEP, initial=ot)))
    far = next(iter(pma.iterate(problem, schedule=STEP)))
    assert near.residual_norm < 0.3 * far.residual_norm
    assert (near.index, near.time) == (0, 0.0)


def test_start_from_a_solution_is_stationary(problem: pma.Problem) -> None:
    ot = pma.solve(problem, tol=1e-10, averaging=False)
    flow = pma.evolve(problem, schedule=STEP, steps=3, initial=ot, record=("kl",))
    assert flow["kl"].max() < 1e-8


def test_start_from_a_flow_on_another_grid(problem: pma.Problem) -> None:
    coarse = pma.evolve(
        pma.cases.manufactured(2).problem((7, 6)), schedule=STEP, steps=30, record=()
    )
    first = next(iter(pma.iterate(problem, schedule=STEP, initial=coarse)))
    far = next(iter(pma.iterate(problem, schedule=STEP)))
    assert first.index == 30 and first.time == coarse.times[-1]
    assert first.residual_norm < 0.5 * far.residual_norm


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_start_that_is_not_convex_is_one_error_that_names_a_cell(
    problem: pma.Problem, scale: float
) -> None:
    x, y = problem.source.grid.coordinates()
    u = 0.5 * (x**2 + y**2)
    u[4, 7] += scale * 0.1
    with pytest.raises(pma.InvalidInputError, match=r"^initial is not convex at \([^(\n]*$"):
        pma.evolve(problem, schedule=STEP, steps=1, initial=u)
    with pytest.raises(pma.InvalidInputError, match=r"not convex at \(4, 7\) and 0 more"):
        # a bump of a cell's own size: the cell itself, no neighbour
        v = 0.5 * (x**2 + y**2)
        v[4, 7] += 0.9 * problem.source.grid.spacing[0] ** 2
        pma.evolve(problem, schedule=STEP, steps=1, initial=v)


# the other side


@pytest.mark.parametrize(("dim", "sizes"), [(1, (16, 32)), (2, (12, 24))])
def test_the_flow_is_self_dual(dim: int, sizes: tuple[int, int]) -> None:
    """(u_t)* = psi_t, gauge included, to second order in the spacing."""
    errors = []
    for n in sizes:
        problem = pma.cases.manufactured(dim).problem((n,) * dim)
        flows = [
            pma.evolve(
                problem, schedule=pma.schedules.constant(0.002), scheme=pma.TRBDF2(), time=0.03,
                side=side, record=("kl",),
            )
            for side in ("source", "target")
        ]  # fmt: skip
        u, psi = flows
        assert u.side == "source" and psi.side == "target"
        operator = ParabolicOperator(problem)
        phi = u.potential - operator.frame.quadratic()
        conjugate, offset = operator.conjugate(phi - phi.mean(), float(phi.mean()))
        other = psi.potential - ParabolicOperator(problem.swapped()).frame.quadratic()
        difference = conjugate + offset - other
        gap = np.abs(psi.transport.gradient - u.transport.gradient).max()
        errors.append((half_oscillation(difference), abs(difference.mean()), gap))
    orders = np.log2(np.array(errors[0]) / np.array(errors[1]))
    assert orders[0] > 1.6 and orders[2] > 1.4
    assert max(errors[1]) < 2e-3


def test_target_side_lives_on_the_target_grid() -> None:
    x = (np.arange(15) + 0.5) / 15
    problem = pma.Problem(1 + 0.5 * np.cos(np.pi * x), np.ones(22))
    flow = pma.evolve(problem, schedule=STEP, steps=60, side="target", keep=60)
    assert flow.potential.shape == (22,)
    assert flow.average_density.shape == (22,)
    assert flow.oriented.source.shape == (22,) and flow.problem is problem
    # the transport is of the problem as given
    assert flow.transport.potential.shape == (15,)
    exact = pma.solve(problem, tol=1e-10, averaging=False)
    assert np.abs(flow.transport.gradient - exact.gradient).max() < 3e-3
    assert flow.transport.w2 == pytest.approx(exact.w2, rel=1e-3)
    # from a potential on the source's grid, which is conjugated first
    again = pma.evolve(problem, schedule=STEP, steps=1, side="target", initial=exact)
    assert again["kl"][0] < 1e-4


@pytest.mark.parametrize("first", ["source", "target"])
def test_a_flow_may_change_sides(problem: pma.Problem, first: Any) -> None:
    """Continued on the other side it is the other side's flow, to the accuracy of the conjugate."""
    second: Any = "source" if first == "target" else "target"
    options: dict[str, Any] = {"schedule": STEP, "record": ("kl",)}
    begun = pma.evolve(problem, steps=4, side=first, **options)
    changed = pma.evolve(problem, steps=4, side=second, initial=begun, **options)
    straight = pma.evolve(problem, steps=8, side=second, **options)
    assert changed.first == 4 and changed.side == second
    np.testing.assert_allclose(changed["kl"][1:], straight["kl"][5:], rtol=0.1)


# grids and densities


SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1,), (1,)), ((1,), (5,)), ((7,), (1,)), ((2,), (3,)), ((17,), (17,)), ((1, 17), (1, 13)),
    ((17, 1), (5, 1)), ((13, 11), (7, 19)), ((2, 3), (3, 2)), ((1, 1, 7), (1, 2, 7)),
    ((7, 5, 3), (5, 4, 9)),
]  # fmt: skip


def _varying(shape: tuple[int, ...]) -> np.ndarray:
    """1 + a product of cosines that varies along every axis of more than one cell."""
    values = np.ones(shape)
    for i, n in zip(np.indices(shape), shape, strict=True):
        values *= 1 + 0.4 * np.cos(np.pi * (i + 0.5) / n)
    return values


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_any_shapes(source: tuple[int, ...], target: tuple[int, ...], side: Any) -> None:
    problem = pma.Problem(_varying(source), np.ones(target))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.05), steps=5, side=side)
    assert flow.status is pma.Status.COMPLETED and flow.stats["rejected"] == 0
    assert np.diff(flow["kl"]).max() <= 1e-15
    assert flow["kl"][-1] <= 0.1 * flow["kl"][0] + 1e-15
    assert flow.transport.gradient.shape == (len(source), *source)
    constant = [k for k, n in enumerate(source) if n == 1 and target[k] == 1]
    for axis in constant:
        np.testing.assert_allclose(flow.transport.gradient[axis], 0.5, atol=1e-12)


def test_a_constant_axis_changes_nothing() -> None:
    """3-D with two constant axes = 2-D with one = 1-D: the same KL to rounding."""
    values = _varying((15,))
    series = []
    for shape in ((15,), (15, 1), (1, 15), (1, 15, 1)):
        problem = pma.Problem(values.reshape(shape), np.ones(shape))
        flow = pma.evolve(
            problem, schedule=STEP, steps=6, scheme=pma.ImplicitEuler(rtol=1e-9), record=("kl",)
        )
        series.append(flow["kl"])
    for other in series[1:]:
        np.testing.assert_allclose(other, series[0], rtol=1e-7)


def test_unequal_boxes_in_physical_units() -> None:
    """Sides from .5 to 57, far from the origin: a flow in unit boxes with rescaled time."""
    a, b = (
        pma.Grid((14, 11), (-3.0, 2.0), (5.0, 2.5)),
        pma.Grid((11, 12), (100.0, -7.0), (101.0, 50.0)),
    )
    pair = pma.Problem(pma.Density(_varying((14, 11)), a), pma.Density(_varying((11, 12))[::-1], b))
    flow = pma.evolve(pair, schedule=pma.schedules.constant(0.5), steps=20)
    assert flow.status is pma.Status.COMPLETED
    assert (np.diff(flow["kl"]) < 0).all() and flow["kl"][-1] < 0.2 * flow["kl"][0]
    image = flow.transport.gradient
    for axis in range(2):
        assert b.lower[axis] < image[axis].min() and image[axis].max() < b.upper[axis]


def test_time_scales_with_the_units() -> None:
    """Boxes c times as long: the same densities after c^2 times the time."""
    values, c = _varying((12,)), 40.0
    unit = pma.Problem(values, np.ones(12))
    grid = pma.Grid((12,), (0.0,), (c,))
    large = pma.Problem(pma.Density(values, grid), pma.Density(np.ones(12), grid))
    one = pma.evolve(unit, schedule=pma.schedules.constant(0.03), steps=4)
    two = pma.evolve(large, schedule=pma.schedules.constant(0.03 * c**2), steps=4)
    np.testing.assert_allclose(two["kl"], one["kl"], rtol=1e-6)
    np.testing.assert_allclose(two.potential, c**2 * one.potential, rtol=1e-6)


@pytest.mark.parametrize("where", ["source", "target"])
def test_densities_with_exact_zeros(where: str) -> None:
    """Raised to the working floors: finite, and the series refer to the raised densities."""
    holes = np.ones((12, 12))
    holes[:3] = 0.0
    full = np.ones((12, 12))
    pair = (holes, full) if where == "source" else (full, holes)
    flow = pma.evolve(pma.Problem(*pair), schedule=pma.schedules.constant(1e-3), steps=3)
    assert flow.status is pma.Status.COMPLETED
    for name in flow.series:
        assert np.isfinite(flow[name]).all()
    assert flow["kl"][-1] < flow["kl"][0]


def test_equal_densities_are_stationary() -> None:
    values = _varying((10, 9))
    flow = pma.evolve(pma.Problem(values, values), schedule=STEP, steps=3, record=("kl", "tv"))
    assert flow["kl"].max() < 1e-25 and flow["tv"].max() < 1e-12
    assert flow.stats["newton"] == 0


# forcing


def test_constant_forcing_is_gauge(line: pma.Problem) -> None:
    """h + c: u moves by c t, its gradient not at all."""
    plain = pma.evolve(line, schedule=STEP, steps=5, record=())
    lifted = pma.evolve(
        line, schedule=STEP, steps=5, record=(), forcing=lambda t: np.full((24,), 3.0)
    )
    difference = lifted.potential - plain.potential
    np.testing.assert_allclose(difference, 3.0 * 0.1, atol=1e-9)


@pytest.mark.parametrize(
    ("scheme", "order"), [(pma.ImplicitEuler(rtol=1e-9), 1), (pma.TRBDF2(rtol=1e-9), 2)]
)
def test_forcing_is_evaluated_in_time(line: pma.Problem, scheme: Any, order: int) -> None:
    """The rate of a wave minus h there as forcing: u follows the wave, at the scheme's order."""
    x = line.source.grid.coordinates()[0]
    operator = ParabolicOperator(line)
    quadratic = operator.frame.quadratic()

    def phi(t: float) -> np.ndarray:
        return np.asarray(0.02 * np.sin(3 * t) * np.cos(np.pi * x))

    def forcing(t: float) -> np.ndarray:
        rate = 0.06 * np.cos(3 * t) * np.cos(np.pi * x)
        return np.asarray(rate - operator.evaluate(phi(t) + 0.0, 0.0))

    errors = []
    for count in (10, 20):
        flow = pma.evolve(
            line, schedule=pma.schedules.constant(1.0 / count), time=1.0, scheme=scheme,
            forcing=forcing, initial=quadratic, record=(),
        )  # fmt: skip
        errors.append(half_oscillation(flow.potential - quadratic - phi(1.0)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)
    assert errors[1] < 1e-3


# what is refused

BAD_SIZES = [0, -1, 0.0, math.nan, math.inf, -math.inf, "0.1", None, [0.1], True, 1e-400, 1j]


@pytest.mark.parametrize("size", BAD_SIZES)
def test_schedules_that_return_no_step(line: pma.Problem, size: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"^schedule .* returned .* at step 1 \(t = "):
        pma.evolve(line, schedule=lambda k, t, r: size if k else 0.1, steps=3)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("schedule is None", {"schedule": None}),
    ("schedule is 'constant'", {"schedule": "constant"}),
    ("schedule is 0.1", {"schedule": 0.1}),
    ("scheme is 'implicit'", {"scheme": "implicit"}),
    ("scheme is <class", {"scheme": pma.ImplicitEuler}),
    ("side is 'left'", {"side": "left"}),
    ("side is None", {"side": None}),
    *[(f"steps is {v!r}", {"steps": v}) for v in (-1, 1.5, True, "3", "a", math.nan, [2])],
    *[(f"time is {v!r}", {"time": v}) for v in (-1, math.nan, math.inf, "3", True)],
    *[(f"tol is {v!r}", {"tol": v}) for v in (-1e-9, math.nan, math.inf, "3", True)],
]


@pytest.mark.parametrize(("start", "arguments"), REFUSED, ids=[r[0] for r in REFUSED])
def test_arguments_out_of_range(line: pma.Problem, start: str, arguments: dict[str, Any]) -> None:
    options: dict[str, Any] = {"schedule": STEP, "steps": 1} | arguments
    with pytest.raises(pma.InvalidInputError) as refused:
        pma.evolve(line, **options)
    assert str(refused.value).startswith(start) and "\n" not in str(refused.value)
    with pytest.raises(pma.InvalidInputError):
        next(iter(pma.iterate(line, **options)))


def test_iterate_refuses_when_it_is_called(line: pma.Problem) -> None:
    """Not at the first state, which may be asked for far from the mistake."""
    with pytest.raises(pma.InvalidInputError, match="schedule is 0.1"):
        pma.iterate(line, schedule=0.1)  # type: ignore[arg-type]
    with pytest.raises(pma.InvalidInputError, match="problem is of type ndarray"):
        pma.iterate(np.ones(3), schedule=STEP)  # type: ignore[arg-type]
    with pytest.raises(pma.InvalidInputError, match="steps, time and tol are all None"):
        pma.evolve(line, schedule=STEP)


RECORDS: list[tuple[Any, str]] = [
    ("kl", "record is 'kl'; it must be a sequence"),
    (None, "record is None; it must be a sequence"),
    (pma.observables.kl, "record is <function kl"),
    (("kl", "entropy"), "record has 'entropy', which does not exist; the names are kl, reverse_kl"),
    (("kl", "kl"), "record has kl twice"),
    (("kl", pma.observables.kl), "record has kl twice"),
    ((1,), "record has 1, which does not exist"),
    ((["kl"],), "record has ['kl'], which does not exist"),
]


@pytest.mark.parametrize(("record", "start"), RECORDS)
def test_records_that_do_not_exist(line: pma.Problem, record: Any, start: str) -> None:
    with pytest.raises(pma.InvalidInputError) as refused:
        pma.evolve(line, schedule=STEP, steps=1, record=record)
    assert str(refused.value).startswith(start)


@pytest.mark.parametrize("value", [None, np.ones(3), "many", {}])
def test_observables_that_return_no_number(line: pma.Problem, value: Any) -> None:
    def strange(state: State) -> Any:
        return value

    with pytest.raises(pma.InvalidInputError, match="record has strange, which returned"):
        pma.evolve(line, schedule=STEP, steps=1, record=(strange,))


def test_functions_are_recorded_under_their_names(line: pma.Problem) -> None:
    class Range:
        def __call__(self, state: State) -> float:
            return float(np.ptp(state.potential))

    def corner(state: State) -> Any:
        return state.potential[:1].mean()

    flow = pma.evolve(line, schedule=STEP, steps=2, record=[Range(), corner, "tv"])
    assert list(flow.series) == ["Range", "corner", "tv"]
    assert flow["corner"][-1] == flow.potential[0]


@pytest.mark.parametrize("keep", [0, -1, 2.5, True, None, "ab", ("a",), (math.nan,), (math.inf,)])
def test_keeps_that_are_neither_counts_nor_times(line: pma.Problem, keep: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="keep is"):
        pma.evolve(line, schedule=STEP, steps=1, keep=keep)


def test_numpy_numbers_and_arrays_are_taken(line: pma.Problem) -> None:
    sizes: Any = (np.float64(0.1), np.float32(0.1), np.int64(1))
    flow = pma.evolve(line, schedule=lambda k, t, r: sizes[k], steps=3, record=())
    np.testing.assert_allclose(flow.step_sizes, [0.1, 0.1, 1.0], rtol=1e-6)
    options: dict[str, Any] = {"schedule": STEP, "steps": 4, "record": ()}
    assert len(pma.evolve(line, keep=np.int64(2), **options).snapshots) == 3
    assert len(pma.evolve(line, keep=np.array([0.0, 0.05]), **options).snapshots) == 2


INITIALS: list[tuple[Any, str]] = [
    (np.zeros(5), "initial has shape (5,)"),
    (np.zeros((24, 1)), "initial has shape (24, 1)"),
    (5.0, "initial has shape ()"),
    (np.full(24, np.nan), "initial has the value nan at (0,)"),
    ("abc", "initial cannot be read"),
    (np.full(24, 1j), "initial cannot be read"),
    ([[1.0], [2.0, 3.0]], "initial cannot be read"),
    (np.zeros(24), "initial is not convex at (0,) and"),
]  # fmt: skip


@pytest.mark.parametrize(("initial", "start"), INITIALS)
def test_initials_that_are_no_potential(line: pma.Problem, initial: Any, start: str) -> None:
    with pytest.raises(pma.InvalidInputError) as refused:
        pma.evolve(line, schedule=STEP, steps=1, initial=initial)
    assert str(refused.value).startswith(start), str(refused.value)


def test_initials_of_another_box_or_shape(line: pma.Problem, problem: pma.Problem) -> None:
    grid = pma.Grid((24,), (0.0,), (2.0,))
    other = pma.Problem(pma.Density(np.ones(24), grid), pma.Density(np.ones(24), grid))
    flow = pma.evolve(other, schedule=STEP, steps=1, record=())
    *_, state = pma.iterate(problem, schedule=STEP, steps=1)
    for initial in (pma.solve(other), flow, pma.solve(problem), state):
        with pytest.raises(pma.InvalidInputError):
            pma.evolve(line, schedule=STEP, steps=1, initial=initial)


FORCINGS: list[Callable[[float], Any]] = [
    lambda t: 1.0, lambda t: np.ones(3), lambda t: np.full(24, np.nan), lambda t: None,
    lambda t: np.full(24, t / 0.0 if t else 0.0) if t < 0.01 else np.ones((24, 1)),
]  # fmt: skip


@pytest.mark.parametrize("forcing", FORCINGS)
def test_forcings_of_the_wrong_shape(line: pma.Problem, forcing: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"forcing\(.*shape \(24,\)"):
        pma.evolve(line, schedule=STEP, steps=1, forcing=forcing)


# interruptions


def _interrupted(flow: Callable[[], pma.Flow]) -> pma.Flow:
    with pytest.raises(pma.EvolutionInterrupted) as stopped:
        flow()
    result = stopped.value.result
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert isinstance(result, pma.Flow) and result.status is pma.Status.INTERRUPTED
    assert not result.status.succeeded
    for values in result.series.values():
        assert values.shape == result.times.shape
    assert result.step_sizes.shape == (result.times.size - 1,)
    return result


def test_interrupt_in_a_schedule_leaves_the_flow_until_then(line: pma.Problem) -> None:
    def schedule(k: int, t: float, norm: float) -> float:
        if k == 3:
            raise KeyboardInterrupt
        return 0.02

    result = _interrupted(lambda: pma.evolve(line, schedule=schedule, steps=9))
    assert len(result) == 3
    # and it can be continued to what the whole run gives
    rest = pma.evolve(line, schedule=STEP, steps=6, initial=result, record=("kl",))
    whole = pma.evolve(line, schedule=STEP, steps=9, record=("kl",))
    np.testing.assert_allclose(rest["kl"], whole["kl"][3:], rtol=1e-3)


def test_interrupt_in_an_observable_keeps_the_series_equally_long(line: pma.Problem) -> None:
    def slow(state: State) -> float:
        if state.index == 2:
            raise KeyboardInterrupt
        return 0.0

    result = _interrupted(
        lambda: pma.evolve(line, schedule=STEP, steps=9, record=("kl", slow, "tv"), keep=1)
    )
    assert len(result) == 1 and len(result.snapshots) == 2


def test_interrupt_before_the_first_state_is_plain(line: pma.Problem) -> None:
    def slow(state: State) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        pma.evolve(line, schedule=STEP, steps=1, record=(slow,))
    assert not isinstance(stopped.value, pma.EvolutionInterrupted)


def test_errors_of_the_user_are_not_swallowed(line: pma.Problem) -> None:
    with pytest.raises(ZeroDivisionError):
        pma.evolve(line, schedule=lambda k, t, norm: 1 / 0, steps=1)


def test_failure_of_the_reference_is_passed_on(
    line: pma.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "bregman" needs the stationary potential: no half-recorded flow without it."""

    def fail(problem: pma.Problem, **_: object) -> pma.Transport:
        u = ParabolicOperator(problem).frame.quadratic()
        result = pma.Transport.from_potential(problem, -u)
        raise pma.ConvergenceError("nothing found", result=result)

    monkeypatch.setattr(evolution, "solve", fail)
    with pytest.raises(pma.ConvergenceError, match="nothing found"):
        pma.evolve(line, schedule=STEP, steps=1, record=("bregman",))


def test_progress_is_written_to_standard_error(
    line: pma.Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    pma.evolve(line, schedule=STEP, steps=3, record=(), progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err
    pma.evolve(line, schedule=STEP, steps=1, record=())
    assert capsys.readouterr() == ("", "")
