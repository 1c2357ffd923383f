"""What holds for flows whatever the step sizes, the start and the orientation of the axes."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import pma_grid as pma
from pma_grid.flow.state import State

FEW = settings(max_examples=8, derandomize=True, deadline=None, database=None)
SEEDS = st.integers(0, 10**6)
# log-uniform over six decades
SIZES = st.lists(st.floats(-3, 3), min_size=2, max_size=5).map(lambda e: [10.0**x for x in e])
FALLING = ("kl", "reverse_kl", "tv", "chi2", "max_h")


def _density(shape: tuple[int, ...], seed: int, contrast: float) -> np.ndarray:
    """exp of a few random cosine modes, its log between -contrast and contrast or so."""
    rng = np.random.default_rng(seed)
    log = np.zeros(shape)
    for modes in np.ndindex(*(3 if n > 1 else 1 for n in shape)):
        wave = np.full(shape, rng.normal() / (1 + sum(modes)))
        for k, (i, n) in zip(modes, zip(np.indices(shape), shape, strict=True), strict=True):
            wave = wave * np.cos(np.pi * k * (i + 0.5) / n)
        log += wave
    log -= log.mean()
    return np.asarray(np.exp(contrast * log / np.abs(log).max()))


def _problem(shape: tuple[int, ...], seed: int) -> pma.Problem:
    """A contrasted source and a mild target."""
    return pma.Problem(_density(shape, seed, 2.0), _density(shape, seed + 1, 0.5))


def _given(sizes: list[float]) -> Any:
    return lambda k, t, norm: sizes[k]


def _states(problem: pma.Problem, sizes: list[float], **options: Any) -> list[State]:
    return list(pma.iterate(problem, schedule=_given(sizes), steps=len(sizes), **options))


SHARP: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-12}


@FEW
@given(st.sampled_from([(40,), (13, 12)]), SEEDS, SIZES, st.booleans())
def test_implicit_steps_of_random_sizes_are_monotone(
    shape: tuple[int, ...], seed: int, sizes: list[float], amg: bool
) -> None:
    """KL both ways, TV, chi^2 and max h fall, min h rises, whatever the sequence of steps."""
    solver: dict[str, Any] = {"linear_solver": pma.AMG()} if amg else {}
    flow = pma.evolve(
        _problem(shape, seed), schedule=_given(sizes), steps=len(sizes),
        scheme=pma.ImplicitEuler(**SHARP, **solver),
        record=(*FALLING, "min_h", "convexity_margin", "forward_divergence"),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED
    slack = 1e-8 if len(shape) == 1 else 1e-5  # local minima over superbases in 2-D
    for name in FALLING:
        assert np.diff(flow[name]).max() <= slack, name
    assert np.diff(flow["min_h"]).min() >= -slack
    assert flow["convexity_margin"].min() > 0
    assert flow["forward_divergence"].min() >= 0


@FEW
@given(SEEDS, SIZES)
def test_trbdf2_steps_of_random_sizes_end_where_they_should(seed: int, sizes: list[float]) -> None:
    """Convex at every step, KL falls, the times add up."""
    flow = pma.evolve(
        _problem((40,), seed), schedule=_given(sizes), steps=len(sizes), scheme=pma.TRBDF2(),
        record=("kl", "convexity_margin"),
    )  # fmt: skip
    assert flow.status is pma.Status.COMPLETED
    assert flow["convexity_margin"].min() > 0
    assert flow["kl"][-1] < flow["kl"][0]
    if flow.stats["rejected"] == 0:
        np.testing.assert_allclose(flow.times[1:], np.cumsum(sizes), rtol=1e-12)


@FEW
@given(SEEDS, st.floats(-3, 1), st.floats(1e-4, 1e-2))
def test_implicit_steps_keep_order_and_distance(seed: int, exponent: float, gap: float) -> None:
    """u <= v stays so, and sup |u - v| does not grow: the comparison principle."""
    problem = _problem((40,), seed)
    x = problem.source.grid.axes[0]
    rng = np.random.default_rng(seed)
    u = 0.5 * x**2
    v = u + gap * (1 + 0.1 * rng.normal() * np.cos(np.pi * x) + 0.1 * np.cos(3 * np.pi * x) / 9)
    sizes = [10.0**exponent] * 3
    scheme = pma.ImplicitEuler(**SHARP)
    below, above = (_states(problem, sizes, initial=w, scheme=scheme) for w in (u, v))
    distances = [float(np.abs(a.potential - b.potential).max()) for a, b in
                 zip(above, below, strict=True)]  # fmt: skip
    for a, b in zip(above, below, strict=True):
        assert (a.potential - b.potential).min() > 0
    assert (np.diff(distances) <= 1e-9 * max(1.0, sizes[0])).all()


@FEW
@given(SEEDS, st.floats(-100, 100), SIZES)
def test_constants_pass_through(seed: int, constant: float, sizes: list[float]) -> None:
    """u + c evolves to u(t) + c: the gauge is free."""
    problem = _problem((11, 9), seed)
    quadratic = sum(0.5 * c**2 for c in problem.source.grid.coordinates())
    plain, lifted = (
        _states(problem, sizes, initial=quadratic + c, scheme=pma.ImplicitEuler(**SHARP))[-1]
        for c in (0.0, constant)
    )  # fmt: skip
    np.testing.assert_allclose(lifted.phi, plain.phi, rtol=0, atol=1e-6)
    np.testing.assert_allclose(lifted.offset - plain.offset, constant, rtol=1e-6, atol=1e-6)


@FEW
@given(SEEDS, st.sampled_from(["transpose", "mirror"]))
def test_axes_may_be_exchanged_and_reversed(seed: int, how: str) -> None:
    """The flow of the turned densities is the turned flow."""
    source, target = _density((12, 10), seed, 1.5), _density((12, 10), seed + 1, 0.5)

    def turned(field: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(field.T if how == "transpose" else field[::-1])

    options: dict[str, Any] = {
        "schedule": pma.schedules.constant(0.05), "steps": 4, "scheme": pma.ImplicitEuler(**SHARP)
    }  # fmt: skip
    one = pma.evolve(pma.Problem(source, target), **options)
    two = pma.evolve(pma.Problem(turned(source), turned(target)), **options)
    # walks from the axes may settle in other minima of a coarse grid
    np.testing.assert_allclose(two["kl"], one["kl"], rtol=2e-3)
    np.testing.assert_allclose(two.average_density, turned(one.average_density), rtol=2e-3)


@FEW
@given(SEEDS, SIZES, st.integers(0, 4), st.sampled_from(["euler", "trbdf2"]))
def test_a_flow_may_be_cut_anywhere(seed: int, sizes: list[float], cut: int, name: str) -> None:
    """Continued from any of its states it is the same flow."""
    cut = min(cut, len(sizes) - 1)
    scheme: Any = {"euler": pma.ImplicitEuler(), "trbdf2": pma.TRBDF2()}[name]
    problem = _problem((24,), seed)
    whole = _states(problem, sizes, scheme=scheme)
    rest = list(pma.iterate(
        problem, schedule=_given(sizes), steps=len(sizes) - cut, scheme=scheme, initial=whole[cut]
    ))  # fmt: skip
    assert [s.index for s in rest] == [s.index for s in whole[cut:]]
    np.testing.assert_allclose(rest[-1].phi, whole[-1].phi, rtol=0, atol=1e-12)
    assert math.isclose(rest[-1].time, whole[-1].time, rel_tol=1e-14)


@FEW
@given(SEEDS, st.floats(1e-5, 2.0), st.floats(1e-3, 0.5))
def test_any_end_is_hit(seed: int, end: float, size: float) -> None:
    """The last step is shortened, none is longer than asked for, none is a crumb."""
    flow = pma.evolve(
        _problem((16,), seed), schedule=pma.schedules.constant(size), time=end, record=()
    )
    assert flow.times[-1] == end
    assert flow.step_sizes.max() <= size * (1 + 1e-8)
    if flow.stats["rejected"] == 0:
        assert len(flow) == math.ceil(end / size * (1 - 1e-9))


@FEW
@given(SEEDS, st.integers(24, 32), st.integers(24, 32))
def test_separable_problems_stay_separable(seed: int, n: int, m: int) -> None:
    """mu1 x mu2 to nu1 x nu2: u = u1(x) + u2(y) at every step, each of them its own 1-D flow.

    Up to the centre values of rough data, whose correction is damped for the sum of the axes.
    """
    parts = [(_density((k,), seed + k, 0.7), _density((k,), seed + 1 + k, 0.4)) for k in (n, m)]
    options: dict[str, Any] = {
        "schedule": pma.schedules.constant(0.05), "steps": 3, "scheme": pma.ImplicitEuler(**SHARP),
        "record": ("kl",),
    }  # fmt: skip
    lines = [pma.evolve(pma.Problem(a, b), **options) for a, b in parts]
    outer = pma.Problem(*(np.multiply.outer(p, q) for p, q in zip(*parts, strict=True)))
    plane = pma.evolve(outer, **options)
    np.testing.assert_allclose(plane["kl"], lines[0]["kl"] + lines[1]["kl"], rtol=1e-3, atol=1e-10)
    u = plane.potential
    both = lines[0].potential[:, None] + lines[1].potential
    assert np.ptp(u - both) < 1e-4
