"""Observables: each against an independent formula, against each other, and near equilibrium."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow import observables
from pma_grid.flow.evolution import stationary_phi
from pma_grid.flow.observables import CHEAP, NAMED, NAMES
from pma_grid.flow.state import State
from pma_grid.grid.splines import log_centre_values

SHARP: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-13}
SHAPES = {1: (30,), 2: (14, 13), 3: (6, 7, 5)}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])


def _state(problem: pma.Problem, size: float = 0.01, count: int = 3, **options: Any) -> State:
    scheme = options.pop("scheme", pma.TRBDF2(**SHARP))
    states = pma.iterate(
        problem, schedule=pma.schedules.constant(size), scheme=scheme, steps=count, **options
    )
    last: State = list(states)[-1]
    return last


def _smooth(dim: int, shape: tuple[int, ...] | None = None) -> pma.Problem:
    return pma.cases.manufactured(dim).problem(shape or SHAPES[dim])


def _line(n: int = 30) -> pma.Problem:
    """To a uniform density: h needs no interpolation."""
    x = (np.arange(n) + 0.5) / n
    return pma.Problem(1 + 0.6 * np.cos(np.pi * x) + 0.3 * np.cos(2 * np.pi * x), np.ones(n))


class Line:
    """All quantities of a 1-D state from its potential by plain differences."""

    def __init__(self, state: State) -> None:
        problem = state.operator.problem
        spacing = problem.source.grid.spacing[0]
        u = state.potential
        # ghost cells: u - x^2/2 is even about the faces
        x = problem.source.grid.axes[0]
        phi = np.pad(u - 0.5 * x**2, 1, mode="symmetric")
        self.second = 1 + (phi[2:] + phi[:-2] - 2 * phi[1:-1]) / spacing**2
        self.h = np.log(self.second) - log_centre_values(problem.source.values)
        self.mu = problem.source.values * spacing
        raw = self.mu * np.exp(self.h)
        self.alpha = math.log(raw.sum())
        self.rho = raw / raw.sum()
        padded = np.pad(self.h, 1, mode="symmetric")
        steps = np.diff(padded) / spacing
        edges = 0.5 * (steps[1:] ** 2 + steps[:-1] ** 2)
        self.dissipation = float((self.rho * edges / self.second).sum())
        self.slope = (padded[2:] - padded[:-2]) / (2 * spacing)


def test_every_observable_against_plain_differences_in_one_dimension() -> None:
    state = _state(_line())
    line = Line(state)
    mu, rho = line.mu, line.rho
    assert mu.sum() == pytest.approx(1) and rho.sum() == pytest.approx(1)
    expected = {
        "kl": (rho * np.log(rho / mu)).sum(),
        "reverse_kl": (mu * np.log(mu / rho)).sum(),
        "symmetrised_kl": ((rho - mu) * np.log(rho / mu)).sum(),
        "dissipation": line.dissipation,
        "tv": 0.5 * np.abs(rho - mu).sum(),
        "chi2": ((rho - mu) ** 2 / mu).sum(),
        "max_h": line.h.max(),
        "min_h": line.h.min(),
        "mass_defect": math.expm1(line.alpha),
        "mass_constant": line.alpha,
        "convexity_margin": line.second.min(),
        "hessian_max": line.second.max(),
        "potential_mean": state.potential.mean(),
    }
    for name, value in expected.items():
        assert NAMED[name](state) == pytest.approx(value, rel=1e-9, abs=1e-12), name
    # one-sided differences at the two ends are all that differs
    speed = math.sqrt((rho * (line.slope / line.second) ** 2).sum())
    assert NAMED["lot_speed"](state) == pytest.approx(speed, rel=5e-3)
    rest = {"lot_speed", "semidual", "forward_divergence", "backward_divergence"}
    assert set(expected) | rest == set(NAMED) and set(CHEAP) < set(NAMED)
    for name, function in NAMED.items():
        assert getattr(observables, name) is function and isinstance(function(state), float), name


@DIMS
def test_masses_are_probabilities(dim: int) -> None:
    state = _state(_smooth(dim))
    assert state.masses.sum() == pytest.approx(1, abs=1e-14)
    assert state.operator.masses.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(
        state.masses, state.operator.masses * np.exp(state.log_ratio), rtol=1e-13
    )
    np.testing.assert_allclose(state.log_ratio, state.residual - state.mass_constant, rtol=1e-13)


@DIMS
def test_entropies_in_any_dimension(dim: int) -> None:
    """From the masses alone; S is the sum of the two, TV and chi^2 bound each other and KL."""
    state = _state(_smooth(dim), count=1)
    mu, rho = state.operator.masses, state.masses
    values = {name: NAMED[name](state) for name in CHEAP}
    assert values["kl"] == pytest.approx((rho * np.log(rho / mu)).sum(), rel=1e-10)
    assert values["reverse_kl"] == pytest.approx((mu * np.log(mu / rho)).sum(), rel=1e-10)
    assert values["symmetrised_kl"] == pytest.approx(values["kl"] + values["reverse_kl"], rel=1e-12)
    assert values["tv"] == pytest.approx(0.5 * np.abs(rho - mu).sum(), rel=1e-12)
    assert values["chi2"] == pytest.approx(((rho - mu) ** 2 / mu).sum(), rel=1e-12)
    assert values["tv"] <= math.sqrt(values["kl"] / 2) <= math.sqrt(values["chi2"] / 2)
    assert values["min_h"] < values["mass_constant"] < values["max_h"]
    assert values["mass_defect"] == pytest.approx(math.expm1(values["mass_constant"]), rel=1e-12)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("seed", range(5))
def test_entropies_lose_no_digits_near_equilibrium(size: float, seed: int) -> None:
    """1/2 sum mu hbar^2 to leading order, never negative, down to 1e-20."""
    rng = np.random.default_rng(seed)
    base = next(iter(pma.iterate(_line(), schedule=pma.schedules.constant(1.0))))
    state = dataclasses.replace(base, residual=size * rng.normal(size=30))
    quadratic = 0.5 * float((state.operator.masses * state.log_ratio**2).sum())
    for name in ("kl", "reverse_kl"):
        value = NAMED[name](state)
        assert value > 0
        assert value == pytest.approx(quadratic, rel=3 * size + 1e-5)
    assert NAMED["chi2"](state) == pytest.approx(2 * quadratic, rel=3 * size + 1e-5)


def test_entropies_of_a_flow_fall_to_rounding() -> None:
    """Never negative, and no floor above 1e-20."""
    flow = pma.evolve(
        _smooth(1, (40,)), schedule=pma.schedules.geometric(0.01, 1.3, 10.0),
        scheme=pma.ImplicitEuler(**SHARP), steps=40,
        record=("kl", "reverse_kl", "symmetrised_kl", "chi2", "bregman"),
    )  # fmt: skip
    for name in flow.series:
        assert flow[name].min() >= 0, name
        assert flow[name][-1] < 1e-20, name


# dissipation


@DIMS
def test_dissipation_is_minus_the_rate_of_kl(dim: int) -> None:
    """Over implicit steps: to first order in eta, and at its midpoint to second."""
    problem = _smooth(dim, {1: (48,), 2: (24, 23), 3: (12, 11, 12)}[dim])
    begun = _state(problem, 0.01, 4)
    gaps = []
    for size in (4e-3, 2e-3):
        after = _state(problem, size, 1, initial=begun, scheme=pma.ImplicitEuler(**SHARP))
        rate = (observables.kl(begun) - observables.kl(after)) / size
        old, new = observables.dissipation(begun), observables.dissipation(after)
        assert new < rate < old * 1.01
        gaps.append(1 - rate / old)
        assert rate == pytest.approx(math.sqrt(old * new), rel=0.03 if dim == 1 else 0.08)
    # the space discretisation leaves a constant of order h^2
    assert 0.4 < gaps[1] / gaps[0] < 0.75


@DIMS
def test_dissipation_is_the_curvature_of_j(dim: int) -> None:
    """D(rho_k | rho_{k+1}) = eta^2 I / 2 to leading order, for an explicit step."""
    state = _state(_smooth(dim), 0.01, 3)
    after = pma.Explicit().step(state, 1e-5)
    # the mixed differences of the coarse grid in three dimensions
    expected = pytest.approx(0.5e-10 * state.dissipation, rel=0.06 if dim == 3 else 0.03)
    assert after.forward_divergence == expected
    assert after.backward_divergence == expected


# speeds and Hessians


@pytest.mark.parametrize(("dim", "shape"), [(1, (64,)), (2, (24, 23))])
def test_lot_speed_is_the_speed_of_the_sampler(dim: int, shape: tuple[int, ...]) -> None:
    """||X_{t+d} - X_t||_{L2(nu)} / d of X_t = (grad u_t)^{-1}, to the accuracy of the scheme."""
    problem = _smooth(dim, shape)
    begun, d = _state(problem, 0.01, 4), 1e-3
    after = _state(problem, d, 1, initial=begun)
    y = problem.target.grid.coordinates().reshape(dim, -1).T
    moved = [pma.Transport.from_potential(problem, s.potential).inverse(y) for s in (begun, after)]
    nu = problem.target.values.ravel() * problem.target.grid.cell_volume
    speed = math.sqrt(float((nu * ((moved[1] - moved[0]) ** 2).sum(axis=1)).sum())) / d
    mean = 0.5 * (observables.lot_speed(begun) + observables.lot_speed(after))
    assert mean == pytest.approx(speed, rel=0.01)


@DIMS
def test_hessian_of_affine_maps(dim: int) -> None:
    """Box to box: D2u = diag(ratios of the sides)."""
    problem = pma.cases.affine_gaussian(dim).problem(SHAPES[dim])
    first = next(iter(pma.iterate(problem, schedule=pma.schedules.constant(1.0))))
    stretch = np.array(problem.target.grid.lengths) / np.array(problem.source.grid.lengths)
    assert observables.convexity_margin(first) == pytest.approx(stretch.min(), rel=1e-10)
    assert observables.hessian_max(first) == pytest.approx(stretch.max(), rel=1e-10)


def test_hessian_bounds_are_second_order() -> None:
    """Against the exact eigenvalues at the cell centres of u = |x|^2/2 + a prod cos / pi^2."""
    case = pma.cases.manufactured(2)
    errors = []
    for n in (16, 32):
        problem = case.problem((n, n))
        x, y = problem.source.grid.coordinates()
        assert case.potential is not None
        first = next(iter(pma.iterate(
            problem, schedule=pma.schedules.constant(1.0), initial=case.potential(x, y)
        )))  # fmt: skip
        a, cos, sin = 2 / 3, np.cos, np.sin
        diagonal = 1 - a * cos(np.pi * x) * cos(np.pi * y)
        mixed = a * sin(np.pi * x) * sin(np.pi * y)
        exact = (diagonal - np.abs(mixed)).min(), (diagonal + np.abs(mixed)).max()
        found = observables.convexity_margin(first), observables.hessian_max(first)
        errors.append(max(abs(e - f) for e, f in zip(exact, found, strict=True)))
    assert errors[1] < 0.02 and errors[0] / errors[1] > 2.5


# divergences


def test_divergences_are_differences_of_j_in_one_dimension() -> None:
    """D(rho_a | rho_b) = J_a(u_b) - J_a(u_a), J_a(u) = sum rho_a u + int u* dnu on a fine grid."""
    source = _line(60).source.values
    problem = pma.Problem(source, 1 + 0.9 * np.cos(np.pi * (np.arange(60) + 0.5) / 60))
    a = next(iter(pma.iterate(problem, schedule=pma.schedules.constant(1.0))))
    b = pma.ImplicitEuler(**SHARP).step(a, 0.5)
    assert b is not None
    y = (np.arange(40_000) + 0.5) / 40_000
    nu = (1 + 0.9 * np.cos(np.pi * y)) / y.size

    def semidual(masses: np.ndarray, state: State) -> float:
        ot = pma.Transport.from_potential(problem, state.potential)
        x = ot.inverse(y[:, None])[:, 0]
        grid = problem.source.grid.axes[0]
        phi = np.interp(x, grid, state.potential - 0.5 * grid**2)
        return float((masses * state.potential).sum() + (nu * (x * y - 0.5 * x**2 - phi)).sum())

    forward = semidual(a.masses, b) - semidual(a.masses, a)
    backward = semidual(b.masses, a) - semidual(b.masses, b)
    assert b.forward_divergence == pytest.approx(forward, rel=0.05)
    assert b.backward_divergence == pytest.approx(backward, rel=0.05)
    # the two differ by more than that: they are not swapped
    assert abs(b.forward_divergence / b.backward_divergence - 1) > 0.15


@DIMS
def test_divergences_sum_to_the_pairing(dim: int) -> None:
    """D(a|b) + D(b|a) = sum (rho_a - rho_b) (u_b - u_a): Gauss-Legendre's error, and rounding."""
    before = _state(_smooth(dim), 0.02, 1)
    after = pma.ImplicitEuler(**SHARP).step(before, 0.02)
    assert after is not None
    pairing = ((before.masses - after.masses) * (after.phi - before.phi)).sum()
    total = observables.forward_divergence(after) + observables.backward_divergence(after)
    assert total == pytest.approx(float(pairing), rel=1e-3 if dim == 3 else 1e-6)
    assert observables.forward_divergence(after) > 0 < observables.backward_divergence(after)


@DIMS
def test_divergence_of_a_potential_and_itself_vanishes(dim: int) -> None:
    state = _state(_smooth(dim))
    operator = state.operator
    assert operator.divergence(state.phi, state.phi + 0.0, 0.0) == 0.0
    shifted = operator.divergence(state.phi, state.phi + 7.0, 0.0)
    assert abs(shifted) < 1e-12 * 7


def test_bregman_is_the_divergence_to_the_stationary_potential() -> None:
    problem = _smooth(1, (32,))
    flow = pma.evolve(
        problem, schedule=pma.schedules.constant(0.05), scheme=pma.ImplicitEuler(**SHARP),
        steps=50, record=("bregman", "max_h", "min_h", "symmetrised_kl", "backward_divergence"),
    )  # fmt: skip
    state = _state(problem, 0.05, 3, scheme=pma.ImplicitEuler(**SHARP))
    reference = stationary_phi(state)
    h = state.operator.evaluate(reference, 0.0)
    assert np.ptp(h) < 1e-9
    direct = observables.bregman(reference)(state)
    assert flow["bregman"][3] == pytest.approx(direct, rel=1e-8)
    d = flow["bregman"]
    assert (d > 0).all() and (np.diff(d) < 0).all()
    # twice the rate of h, over seven decades
    oscillation = flow["max_h"] - flow["min_h"]
    late = slice(15, 40)
    rate = np.diff(np.log(d))[late]
    np.testing.assert_allclose(rate, 2 * np.diff(np.log(oscillation))[late], rtol=2e-3)
    assert d[40] < 1e-7 * d[15]
    # and the identity of implicit steps, D_k - D_{k+1} - D(rho_{k+1}|rho_k) = eta S_{k+1}
    left = -np.diff(d) - flow["backward_divergence"][1:]
    np.testing.assert_allclose(left[:20], 0.05 * flow["symmetrised_kl"][1:21], rtol=5e-3)


@pytest.mark.parametrize(("dim", "side"), [(1, "target"), (2, "source")])
def test_bregman_falls_on_either_side(dim: int, side: Any) -> None:
    flow = pma.evolve(
        _smooth(dim), schedule=pma.schedules.constant(0.05), steps=15, side=side,
        record=("bregman",),
    )  # fmt: skip
    assert (flow["bregman"] > 0).all() and (np.diff(flow["bregman"]) < 0).all()
    assert flow["bregman"][-1] < 1e-4 * flow["bregman"][0]


@pytest.mark.parametrize(("dim", "shape"), [(1, (40,)), (2, (20, 19))])
def test_semidual_falls_by_the_divergence(dim: int, shape: tuple[int, ...]) -> None:
    """J - min J = D(mu | rho) to second order in the spacing; J never rises."""
    flow = pma.evolve(
        _smooth(dim, shape), schedule=pma.schedules.constant(0.03), steps=25,
        record=("semidual", "bregman", "potential_mean"),
    )  # fmt: skip
    j = flow["semidual"]
    assert (np.diff(j[:8]) < 0).all()
    gap = j[:4] - j[-1]
    np.testing.assert_allclose(gap, flow["bregman"][:4] - flow["bregman"][-1], rtol=0.1)


# comparisons with exact fields


def test_errors_against_the_exact_potential_and_map() -> None:
    problem = _line()
    state = _state(problem)
    u, gradient = state.potential, state.gradient

    def shifted(x: np.ndarray, t: float) -> np.ndarray:
        assert t == state.time
        return u + 5.0 + 0.25 * (x > 0.5)

    def tilted(x: np.ndarray, t: float) -> np.ndarray:
        return np.asarray(gradient + 0.1 * (x[None] < 0.2))

    assert observables.potential_error(shifted)(state) == pytest.approx(0.125, abs=1e-12)
    assert observables.map_error(tilted)(state) == pytest.approx(0.1, abs=1e-12)
    inner = problem.source.grid.axes[0] > 0.3
    assert observables.map_error(tilted, inner)(state) < 1e-12


def test_error_observables_are_recorded_under_their_names() -> None:
    case = pma.cases.manufactured(2)
    assert case.potential is not None and case.gradient is not None
    exact, gradient = case.potential, case.gradient
    flow = pma.evolve(
        case.problem((16, 16)), schedule=pma.schedules.constant(0.2), steps=12,
        record=(
            observables.potential_error(lambda x, y, t: exact(x, y)),
            observables.map_error(lambda x, y, t: gradient(x, y)),
        ),
    )  # fmt: skip
    assert list(flow.series) == ["potential_error", "map_error"]
    # down to the error of the grid
    assert flow["map_error"][-1] < 0.02 * flow["map_error"][0]
    assert flow["potential_error"][-1] < 0.02 * flow["potential_error"][0]


@DIMS
def test_observables_do_not_change_the_state(dim: int) -> None:
    """In any order, twice: the operator is shared and evaluated elsewhere in between."""
    state = _state(_smooth(dim))
    phi, residual = state.phi.copy(), state.residual.copy()
    first = {name: function(state) for name, function in NAMED.items()}
    fresh = dataclasses.replace(state)
    again = {name: NAMED[name](fresh) for name in reversed(list(NAMED))}
    for name, value in first.items():
        # a walk between superbases may settle elsewhere after another evaluation
        assert again[name] == pytest.approx(value, rel=1e-3 if dim == 3 else 1e-9), name
    np.testing.assert_array_equal(state.phi, phi)
    np.testing.assert_array_equal(state.residual, residual)


def test_units() -> None:
    """Boxes ten times as long: entropies stay, lengths are ten times, divergences a hundred."""
    values = _line().source.values
    grid = pma.Grid((30,), (0.0,), (10.0,))
    large = pma.Problem(pma.Density(values, grid), pma.Density(np.ones(30), grid))
    one = _state(_line(), 0.01, 3)
    ten = _state(large, 1.0, 3)
    powers = {
        "kl": 0, "reverse_kl": 0, "symmetrised_kl": 0, "tv": 0, "chi2": 0, "max_h": 0, "min_h": 0,
        "mass_constant": 0, "convexity_margin": 0, "hessian_max": 0, "dissipation": -2,
        "lot_speed": -1, "semidual": 2, "forward_divergence": 2, "backward_divergence": 2,
    }  # fmt: skip
    for name, power in powers.items():
        scaled = NAMED[name](one) * 10.0**power
        assert NAMED[name](ten) == pytest.approx(scaled, rel=1e-5, abs=1e-8), name


def test_single_cells_have_observables() -> None:
    for shape in ((1,), (1, 1), (1, 1, 1), (1, 4)):
        problem = pma.Problem(np.ones(shape), np.ones(shape))
        state = _state(problem, 0.1, 1, scheme=pma.ImplicitEuler())
        for name in NAMES[:-1]:
            value = NAMED[name](state)
            assert math.isfinite(value), (name, shape)
        assert observables.convexity_margin(state) == pytest.approx(1)


def test_series_repeat_to_the_bit() -> None:
    options: dict[str, Any] = {"schedule": pma.schedules.constant(0.05), "steps": 4}
    flows = [pma.evolve(_smooth(2), record=NAMES, **options) for _ in range(2)]
    for one, other in itertools.pairwise(flows):
        for name in NAMES:
            np.testing.assert_array_equal(one[name], other[name])
