"""Theory: sums over hand-made flows, spectra known in closed form, rates of flows with one mode."""

import functools
import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.cases.oracles import GaussianPair
from pma_grid.flow import theory
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import constant
from pma_grid.runtime.errors import InvalidInputError

SCHEMES: dict[str, Any] = {
    "explicit": pma.Explicit(),
    "implicit_euler": pma.ImplicitEuler(rtol=1e-10, atol=1e-14),
    "trbdf2": pma.TRBDF2(rtol=1e-10, atol=1e-14),
}
WEIGHTS = {"explicit": (1.0, 0.0), "implicit_euler": (0.0, 1.0), "trbdf2": (0.5, 0.5)}
every_scheme = pytest.mark.parametrize("name", SCHEMES)


def _flow(scheme: str, sizes: list[float], **series: list[float]) -> Flow:
    """A flow with these step sizes and series."""
    return Flow(
        scheme, np.concatenate([[0.0], np.cumsum(sizes)]), np.array(sizes),
        {name: np.array(values) for name, values in series.items()},
        weights=WEIGHTS[scheme],
    )  # fmt: skip


def _two_steps(scheme: str) -> Flow:
    return _flow(
        scheme, [1.0, 2.0], symmetrised_kl=[6.0, 3.0, 1.0], bregman=[10.0, 5.0, 1.0],
        forward_divergence=[0.0, 1.0, 0.5], backward_divergence=[0.0, 2.0, 0.25],
    )  # fmt: skip


# sums over steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "cumulative", "bound"),
    [
        # explicit steps pay at the old states, and for the divergences of the steps
        ("explicit", [6.0, 12.0], [11.0, 11.5 / 3]),
        ("implicit_euler", [3.0, 5.0], [10.0, 10.0 / 3]),
        ("trbdf2", [4.5, 8.5], [10.0, 10.0 / 3]),
    ],
)
def test_regret_of_two_steps(scheme: str, cumulative: list[float], bound: list[float]) -> None:
    flow = _two_steps(scheme)
    regret = theory.regret(flow)
    assert regret.elapsed == pytest.approx([1.0, 3.0], rel=1e-15)
    assert regret.cumulative == pytest.approx(cumulative, rel=1e-15)
    assert regret.average == pytest.approx([cumulative[0], cumulative[1] / 3], rel=1e-15)
    assert list(regret.last) == [3.0, 1.0]
    assert regret.bound == pytest.approx(bound, rel=1e-15)
    assert theory.master_bound(flow) == pytest.approx(bound, rel=1e-15)
    assert regret.tightness == pytest.approx(regret.average / bound, rel=1e-15)
    # D_2 is just a tenth of D_0: the bound phase has ended
    assert list(regret.bound_phase) == [True, False]


def test_bound_of_the_last_iterate() -> None:
    bound = theory.last_iterate_bound(_two_steps("implicit_euler"))
    assert bound == pytest.approx([10.0, 10.0 / 3], rel=1e-15)


@pytest.mark.parametrize(
    ("scheme", "evi", "summed"),
    [
        ("explicit", [(-5 + 6 - 1) / 6, (-4 + 6 - 0.5) / 6], [0.0, (12 - (9 + 1.5)) / 12]),
        ("implicit_euler", [(-5 + 3 + 2) / 3, (-4 + 2 + 0.25) / 2], [0.0, (5 - (9 - 2.25)) / 5]),
    ],
)
def test_defects_of_two_steps(scheme: str, evi: list[float], summed: list[float]) -> None:
    flow = _two_steps(scheme)
    assert theory.evi_residual(flow) == pytest.approx(evi, abs=1e-15)
    assert theory.regret_residual(flow) == pytest.approx(summed, abs=1e-15)


def test_second_order_steps_have_no_mirror_identity() -> None:
    flow = _two_steps("trbdf2")
    assert theory.regret_residual(flow) == pytest.approx([-0.5 / 4.5, -0.5 / 8.5], abs=1e-15)
    with pytest.raises(InvalidInputError, match="scheme trbdf2"):
        theory.evi_residual(flow)


def test_smoothed_steps_pay_the_smoothed_divergence() -> None:
    length = 0.1
    flow = pma.evolve(
        pma.cases.quantile().problem((64,)),
        schedule=pma.schedules.constant(1e-3),
        scheme=pma.Explicit(smoothing=length),
        steps=5,
        record=(*theory.SERIES, pma.observables.smoothed_kl(length)),
    )
    assert np.abs(theory.evi_residual(flow)).max() < 2e-3
    assert np.abs(theory.regret_residual(flow)).max() < 2e-3
    assert (theory.regret(flow).tightness <= 1 + 1e-12).all()


def test_defects_at_equilibrium_are_zero() -> None:
    flow = _flow(
        "implicit_euler", [1.0, 1.0], symmetrised_kl=[1.0, 0.0, 0.0], bregman=[1.0, 0.0, 0.0],
        backward_divergence=[0.0, 1.0, 0.0], kl=[1.0, 0.0, 0.0], dissipation=[2.0, 0.0, 0.0],
    )  # fmt: skip
    assert list(theory.evi_residual(flow)) == [0.0, 0.0]
    assert list(theory.regret_residual(flow)) == [0.0, 0.0]
    assert list(theory.dissipation_residual(flow)) == [0.0, 0.0]


def test_dissipation_of_a_parabola_has_no_defect() -> None:
    # KL = (2 - t)^2, I = 2 (2 - t): the trapezoidal rule is exact
    flow = _flow("trbdf2", [0.5, 1.0], kl=[4.0, 2.25, 0.25], dissipation=[4.0, 3.0, 1.0])
    assert theory.dissipation_residual(flow) == pytest.approx([0.0, 0.0], abs=1e-15)
    wrong = _flow("trbdf2", [0.5, 1.0], kl=[4.0, 2.25, 0.25], dissipation=[2.0, 1.5, 0.5])
    assert theory.dissipation_residual(wrong) == pytest.approx([-1.0, -1.0], abs=1e-15)


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (theory.regret, "symmetrised_kl"),
        (theory.master_bound, "bregman"),
        (theory.last_iterate_bound, "bregman"),
        (theory.evi_residual, "bregman"),
        (theory.regret_residual, "symmetrised_kl"),
        (theory.dissipation_residual, "dissipation"),
    ],
)
def test_missing_series_are_named(function: Any, missing: str) -> None:
    flow = _flow("explicit", [1.0], kl=[2.0, 1.0])
    with pytest.raises(InvalidInputError, match=f"no series '{missing}'"):
        function(flow)


def test_explicit_steps_need_their_divergences() -> None:
    with pytest.raises(InvalidInputError, match="no series 'forward_divergence'"):
        theory.master_bound(_flow("explicit", [1.0], bregman=[2.0, 1.0]))
    assert list(theory.master_bound(_flow("implicit_euler", [2.0], bregman=[2.0, 1.0]))) == [1.0]


def test_a_flow_without_steps() -> None:
    flow = _flow(
        "implicit_euler", [], kl=[1.0], dissipation=[1.0], symmetrised_kl=[1.0], bregman=[1.0],
        backward_divergence=[0.0],
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="flow has no step"):
        theory.regret(flow)
    for function in (theory.evi_residual, theory.regret_residual, theory.dissipation_residual,
                     theory.master_bound, theory.last_iterate_bound):  # fmt: skip
        assert function(flow).shape == (0,)


# averages ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem() -> pma.Problem:
    x = (np.arange(24) + 0.5) / 24
    return pma.Problem(1 + 0.6 * np.cos(3 * x), 1 + 0.5 * x)


@every_scheme
@pytest.mark.parametrize("side", ["source", "target"])
def test_mixture_of_two_equal_steps(problem: pma.Problem, name: str, side: Any) -> None:
    flow = pma.evolve(
        problem, schedule=constant(5e-4), scheme=SCHEMES[name], steps=2, keep=1, side=side,
        record=("kl", "reverse_kl"),
    )  # fmt: skip
    rho = [snapshot.density for snapshot in flow.snapshots]
    old, new = WEIGHTS[name]
    expected = 0.5 * (old * rho[0] + (old + new) * rho[1] + new * rho[2])
    assert theory.mixture(flow).values == pytest.approx(expected, rel=1e-13)
    for value, series in zip(theory.mixture_divergences(flow), ("kl", "reverse_kl"), strict=True):
        kl = flow[series]
        average = 0.5 * (old * kl[0] + (old + new) * kl[1] + new * kl[2])
        # strictly convex, and the iterates differ
        assert 0.9 * average < value < average


def test_divergences_of_a_single_state(problem: pma.Problem) -> None:
    flow = pma.evolve(problem, schedule=constant(0.1), steps=1)
    both = theory.mixture_divergences(flow)
    assert both == pytest.approx((flow["kl"][1], flow["reverse_kl"][1]), rel=1e-12)


def test_divergences_to_a_source_with_a_floor() -> None:
    values = np.where(np.arange(32) < 12, 0.0, 1.0)
    source = pma.Density(values, pma.Grid(32), floor=0.05)
    flow = pma.evolve(pma.Problem(source, np.ones(32)), schedule=constant(0.1), steps=1)
    both = theory.mixture_divergences(flow)
    assert both == pytest.approx((flow["kl"][1], flow["reverse_kl"][1]), rel=1e-12)


def test_averages_are_asked_of_flows_that_have_them(problem: pma.Problem) -> None:
    start = pma.evolve(problem, schedule=constant(0.1), steps=0)
    closed = GaussianPair([0.0], [[2.0]], [0.0], [[1.0]]).mirror_flow(constant(0.1), 2)
    for flow in (start, closed):
        with pytest.raises(InvalidInputError, match="flow has no averages"):
            theory.mixture(flow)
        with pytest.raises(InvalidInputError):
            theory.mixture_divergences(flow)


# spectra -----------------------------------------------------------------------------------------


def _uniform(shape: tuple[int, ...], lengths: Any, target: Any = None) -> pma.Transport:
    """The affine map between boxes with these sides, uniform on both."""
    zero = (0.0,) * len(shape)
    grids = [pma.Grid(shape, zero, tuple(sides)) for sides in (lengths, target or lengths)]
    source, other = (pma.Density(np.ones(shape), grid) for grid in grids)
    stretch = np.array(target or lengths) / np.array(lengths)
    x = source.grid.coordinates()
    bend = stretch.reshape(-1, *[1] * len(shape))
    return pma.Transport.from_potential(pma.Problem(source, other), 0.5 * (bend * x**2).sum(axis=0))


def _modes(cells: int, length: float, count: int) -> np.ndarray:
    """Eigenvalues of minus the second difference with reflection: (k pi / L)^2 up to h^2."""
    k = np.arange(count)
    return (2 * cells / length * np.sin(0.5 * np.pi * k / cells)) ** 2


@pytest.mark.parametrize("cells", [12, 300])
def test_spectrum_of_the_laplacian(cells: int) -> None:
    found = theory.spectrum(_uniform((cells,), (1.0,)), 3)
    assert found == pytest.approx(_modes(cells, 1.0, 4)[1:], rel=1e-8)
    # (k pi)^2 less the discretisation's error of second order
    k = np.arange(1, 4)
    assert found == pytest.approx((k * np.pi) ** 2 * (1 - (k * np.pi / cells) ** 2 / 12), rel=4e-3)


@pytest.mark.parametrize(
    ("shape", "source", "target"),
    [
        ((16,), (3.0,), (2.0,)),
        ((6, 6), (1.0, 1.0), (1.0, 1.0)),  # dense
        ((24, 24), (1.0, 1.0), (1.0, 1.0)),  # sparse
        ((20, 24), (2.0, 1.0), (1.0, 3.0)),
        ((8, 7, 9), (1.0, 1.5, 0.5), (1.0, 1.5, 0.5)),
        ((8, 1), (1.0, 1.0), (1.0, 1.0)),
    ],
)
def test_spectrum_of_boxes(shape: tuple[int, ...], source: Any, target: Any) -> None:
    """Sums of those of the axes, (source side / target side) times the Laplacian's; repeated too.

    Five, where there are as many.
    """
    axes = [a / b * _modes(n, a, min(n, 6)) for n, a, b in zip(shape, source, target, strict=True)]
    sums = np.sort(functools.reduce(np.add.outer, axes), axis=None)
    found = theory.spectrum(_uniform(shape, source, target), 5)
    assert found == pytest.approx(sums[1:6], rel=1e-8)


@pytest.mark.parametrize("count", [0, -1, 8])
def test_spectrum_has_as_many_values_as_cells_less_one(count: int) -> None:
    transport = _uniform((8,), (1.0,))
    assert len(theory.spectrum(transport, 7)) == 7
    with pytest.raises(InvalidInputError, match=f"count is {count}.*1 to 7"):
        theory.spectrum(transport, count)


def test_spectrum_needs_a_convex_potential(problem: pma.Problem) -> None:
    x = problem.source.grid.axes[0]
    bent = pma.Transport.from_potential(problem, -0.5 * x**2)
    with pytest.raises(InvalidInputError, match="not convex"):
        theory.spectrum(bent)


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((16,), (1.0,)), ((300,), (3.0,)), ((12, 8), (1.0, 2.0)), ((8, 1), (1.0, 9.0))],
)
def test_gap_of_brownian_motion(shape: tuple[int, ...], lengths: tuple[float, ...]) -> None:
    grid = pma.Grid(shape, (0.0,) * len(shape), lengths)
    gap = theory.langevin_gap(pma.Density(np.ones(shape), grid))
    modes = [_modes(n, side, 2)[1] for n, side in zip(shape, lengths, strict=True) if n > 1]
    assert gap == pytest.approx(min(modes), rel=1e-8)


def test_gap_of_the_ornstein_uhlenbeck_process() -> None:
    errors = []
    for cells in (48, 96):
        grid = pma.Grid((cells,), -12.0, 12.0)
        density = pma.Density.from_function(lambda x: np.exp(-0.5 * (x / 2) ** 2), grid)
        errors.append(abs(theory.langevin_gap(density) - 0.25))
    assert errors[1] < 2e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


def test_gap_of_a_product_is_the_smallest() -> None:
    grid = pma.Grid((40, 24), (-5.0, -2.5), (5.0, 2.5))
    density = pma.Density.from_function(lambda x, y: np.exp(-0.5 * (x**2 + (y / 0.5) ** 2)), grid)
    assert theory.langevin_gap(density) == pytest.approx(1.0, rel=0.02)


def test_gap_needs_a_positive_density() -> None:
    with pytest.raises(InvalidInputError, match="density has zeros"):
        theory.langevin_gap(pma.Density([0.0, 1.0, 1.0]))


# rates -------------------------------------------------------------------------------------------


@every_scheme
def test_decay_of_the_slowest_mode(name: str) -> None:
    cells = 8
    rate = float(_modes(cells, 1.0, 2)[1])
    x = (np.arange(cells) + 0.5) / cells
    start = 0.5 * x**2 + 1e-3 * np.cos(np.pi * x)
    # explicit steps must damp the fastest mode, of 4 cells^2, too
    eta = 0.4 / (2 * cells**2) if name == "explicit" else 0.5 / rate
    flow = pma.evolve(
        pma.Problem(np.ones(cells), np.ones(cells)), schedule=constant(eta), steps=12,
        scheme=SCHEMES[name], initial=start,
    )  # fmt: skip
    predicted = theory.decay_rate(name, rate, eta)
    measured = 0.5 * theory.fitted_rate(flow, "kl", span=(2 * eta, 12 * eta))
    assert measured == pytest.approx(predicted, rel=2e-4)
    # the scheme's own damping, not that of the equation
    assert abs(predicted - rate) > 5e-3 * rate


def test_decay_rates_in_numbers() -> None:
    assert theory.decay_rate("implicit_euler", 2.0, 0.5) == pytest.approx(math.log(2) / 0.5)
    assert theory.decay_rate("explicit", 2.0, 0.25) == pytest.approx(math.log(2) / 0.25)
    # amplified by |1 - 3|, removed by 1 - 1, kept by 1 - 0
    assert theory.decay_rate("explicit", 3.0, 1.0) == pytest.approx(-math.log(2))
    assert theory.decay_rate("explicit", 1.0, 1.0) == math.inf
    assert theory.decay_rate("explicit", 0.0, 1.0) == 0.0


@pytest.mark.parametrize(("name", "order"), [("explicit", 1), ("implicit_euler", 1), ("trbdf2", 2)])
def test_decay_rates_tend_to_the_rate_with_the_order_of_the_scheme(name: str, order: int) -> None:
    errors = [abs(theory.decay_rate(name, 2.0, eta) - 2.0) for eta in (0.02, 0.01)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


def test_decay_rates_refuse_what_has_none() -> None:
    with pytest.raises(InvalidInputError, match="scheme is 'midpoint'"):
        theory.decay_rate("midpoint", 1.0, 0.1)
    for rate, eta in ((-1.0, 0.1), (math.nan, 0.1), (1.0, 0.0), (1.0, -0.1), (1.0, math.inf)):
        with pytest.raises(InvalidInputError, match="rate must be a number >= 0"):
            theory.decay_rate("explicit", rate, eta)


def _decaying(*, floor: float = 0.0, steps: int = 100) -> Flow:
    """2 e^{-3 t} up to t = 20, on a floor."""
    times = np.linspace(0, 20, steps + 1)
    values = 2 * np.exp(-3 * times) + floor
    return Flow("trbdf2", times, np.diff(times), {"kl": values, "other": values**2})


def test_rate_fitted_to_an_exponential() -> None:
    assert theory.fitted_rate(_decaying()) == pytest.approx(3.0, rel=1e-10)
    assert theory.fitted_rate(_decaying(), "other") == pytest.approx(6.0, rel=1e-10)
    assert theory.fitted_rate(_decaying(), span=(0.0, 1.0)) == pytest.approx(3.0, rel=1e-10)


def test_rate_fitted_within_a_span() -> None:
    times = np.linspace(0, 10, 101)
    values = np.where(times <= 4, np.exp(-2 * times), np.exp(-8.0 - 0.5 * (times - 4)))
    flow = Flow("trbdf2", times, np.diff(times), {"kl": values})
    assert theory.fitted_rate(flow, span=(0.0, 4.0)) == pytest.approx(2.0, rel=1e-10)
    # by default the later half of the times
    assert theory.fitted_rate(flow) == pytest.approx(0.5, rel=1e-10)


def test_rate_ignores_what_is_below_rounding() -> None:
    # e^{-60} is about 1e-26: the last quarter is rounding, of either sign or exactly zero
    flow = _decaying()
    values = flow["kl"].copy()
    tail = flow.times > 13
    values[tail] = np.resize([1e-25, -1e-20, 0.0], np.count_nonzero(tail))
    noisy = Flow("trbdf2", flow.times, flow.step_sizes, {"kl": values})
    assert theory.fitted_rate(noisy) == pytest.approx(3.0, rel=1e-10)
    # in units in which the series is large the floor is 1e-17 of its largest value
    large = Flow("trbdf2", flow.times, flow.step_sizes, {"kl": 1e9 * _decaying(floor=5e-18)["kl"]})
    assert theory.fitted_rate(large) == pytest.approx(3.0, rel=1e-2)


def test_rate_needs_three_values() -> None:
    flow = _decaying(steps=10)
    with pytest.raises(InvalidInputError, match="fewer than three positive values of kl"):
        theory.fitted_rate(flow, span=(0.0, 3.0))
    zero = Flow("trbdf2", flow.times, flow.step_sizes, {"kl": np.zeros(11)})
    with pytest.raises(InvalidInputError, match="fewer than three positive values"):
        theory.fitted_rate(zero)
    with pytest.raises(InvalidInputError, match="no series 'tv'"):
        theory.fitted_rate(flow, "tv")


# the Hessian -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "source", "target", "expected"),
    [
        # the limits of one-dimensional Gaussians, and a start beyond them
        ((1.0, 1.0), (4.0, 9.0), (1.0, 1.0), (1.0, 3.0)),
        ((3.0, 3.0), (4.0, 9.0), (1.0, 1.0), (2.0, 3.0)),
        ((0.5, 5.0), (4.0, 9.0), (1.0, 4.0), (0.5, 5.0)),
        # neither bound of the source's curvature is that of the target's
        ((1.0, 1.0), (0.04, 0.09), (0.25, 4.0), (0.1, 1.0)),
        # mu not log-concave: no lower bound; nu not log-concave: no upper one
        ((1.0, 1.0), (-1.0, 9.0), (1.0, 1.0), (0.0, 3.0)),
        ((1.0, 1.0), (4.0, 9.0), (0.0, 16.0), (0.5, math.inf)),
        ((1.0, 2.0), (-3.0, -1.0), (1.0, 1.0), (0.0, 2.0)),
    ],
)
def test_bounds_of_the_hessian(start: Any, source: Any, target: Any, expected: Any) -> None:
    bounds = theory.hessian_bounds(start, source_curvature=source, target_curvature=target)
    assert bounds == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("start", (2.0, 1.0)),
        ("start", (0.0, 1.0)),
        ("source_curvature", (2.0, 1.0)),
        ("target_curvature", (math.nan, 1.0)),
    ],
)
def test_bounds_of_the_hessian_need_pairs_in_order(name: str, pair: Any) -> None:
    pairs: dict[str, Any] = {
        "start": (1.0, 1.0), "source_curvature": (1.0, 1.0), "target_curvature": (1.0, 1.0),
    }  # fmt: skip
    pairs[name] = pair
    with pytest.raises(InvalidInputError, match=f"{name} is .*increasing order"):
        theory.hessian_bounds(pairs.pop("start"), **pairs)
