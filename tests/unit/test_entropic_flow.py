"""`sinkhorn_flow`: against dense NumPy sweeps; ends and starts, files, pictures and refusals."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

import pma_grid as pma
from pma_grid.cli.reports import report
from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.flow import entropic_operator as mirror
from pma_grid.flow import observables, theory
from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.observables import NAMES
from pma_grid.flow.sinkhorn import Sinkhorn, iterate_sinkhorn
from pma_grid.flow.state import MirrorOperator, State
from pma_grid.flow.stepping import linearised, start
from pma_grid.problem.frame import split
from pma_grid.problem.reduction import Reduced
from pma_grid.transport.pullback import normalised

Array = np.ndarray

# Shapes and boxes of source and target: unlike in everything.
SHAPES = {1: ((9,), (7,)), 2: ((6, 5), (7, 4)), 3: ((4, 3, 2), (3, 2, 5))}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])
KERNELS = pytest.mark.parametrize("kernel", ["plain", "reflect"])
EPS = 0.3


def _problem(dim: int, *, zeros: bool = False, seed: int = 7) -> pma.Problem:
    """Random densities on boxes of different sides and corners; with zeros in clusters."""
    rng = np.random.default_rng(seed)
    values = [rng.uniform(0.2, 1.0, shape) for shape in SHAPES[dim]]
    if zeros:
        values[0].ravel()[:3] = 0.0
        values[0].ravel()[-2] = 0.0
        values[1].ravel()[1::4] = 0.0
    grids = (
        pma.Grid(SHAPES[dim][0], (0.3, -1.0, 0.1)[:dim], (1.0, 0.7, 0.6)[:dim]),
        pma.Grid(SHAPES[dim][1], (-1.0, 0.2, 0.0)[:dim], (0.4, 1.1, 2.0)[:dim]),
    )
    return pma.Problem(*(pma.Density(v, g) for v, g in zip(values, grids, strict=True)))


class Dense:
    """Sinkhorn's iteration with the full matrix of <x, y>, as the definition has it."""

    def __init__(self, problem: pma.Problem, eps: float, kernel: str = "plain") -> None:
        self.eps, self.shape = eps, problem.source.shape
        pair = problem.source, problem.target
        self.a, self.b = (d.values.ravel() / d.values.sum() for d in pair)
        x, y = (d.grid.coordinates().reshape(d.dim, -1).T for d in pair)
        self.x, self.y = x, y
        self.log_kernel = x @ y.T / eps
        if kernel == "reflect":
            self.log_kernel = np.log(self._images(problem))
        with np.errstate(divide="ignore"):
            self.log_a, self.log_b = np.log(self.a), np.log(self.b)

    def _images(self, problem: pma.Problem) -> Array:
        """sum of exp(<x, y'> - Q(y') + Q(y)) over the images y' of y, Q the affine map's dual.

        In the coordinates in which box maps to box by the identity it is the heat kernel with
        reflecting faces, times functions of x and of y.
        """
        source, target = problem.source.grid, problem.target.grid
        total = np.ones((self.x.shape[0], self.y.shape[0]))
        for i in range(self.x.shape[1]):
            stretch = target.lengths[i] / source.lengths[i]
            length = math.sqrt(source.lengths[i] * target.lengths[i])
            x = math.sqrt(stretch) * (self.x[:, i] - source.lower[i])
            y = (self.y[:, i] - target.lower[i]) / math.sqrt(stretch)
            lines = np.zeros((x.size, y.size))
            for k in range(-30, 31):
                for sign in (1, -1):
                    gap = x[:, None] - (sign * y + 2 * k * length)
                    lines += np.exp(-(gap**2) / (2 * self.eps))
            free = self.x[:, [i]] * self.y[:, i] + 0.5 * (x[:, None] - y) ** 2
            total = total * lines * np.exp(free / self.eps)
        return total

    def conjugate(self, u: Array) -> Array:
        """v[u], flat."""
        logs = self.log_a - u.ravel() / self.eps
        return np.asarray(self.eps * logsumexp(self.log_kernel + logs[:, None], axis=0))

    def sweep(self, u: Array) -> Array:
        """The next u."""
        logs = self.log_b - self.conjugate(u) / self.eps
        return np.asarray(self.eps * logsumexp(self.log_kernel + logs, axis=1).reshape(self.shape))

    def plan(self, u: Array) -> Array:
        """P(u, v[u]), (x, y): its columns sum to nu."""
        v = self.conjugate(u)
        logs = self.log_a - u.ravel() / self.eps
        return np.asarray(np.exp(self.log_kernel + logs[:, None] + self.log_b - v / self.eps))

    def rho(self, u: Array) -> Array:
        """The source's marginal of the plan."""
        return np.asarray(self.plan(u).sum(axis=1))

    def value(self, u: Array) -> float:
        """J(u)."""
        return float(self.a @ u.ravel() + self.b @ self.conjugate(u))

    def divergence(self, u: Array, w: Array) -> float:
        """D(rho_u | rho_w) = J_{rho_u}(w) - J_{rho_u}(u)."""
        gain = self.rho(u) @ (w - u).ravel()
        return float(gain + self.b @ (self.conjugate(w) - self.conjugate(u)))


def _rough(problem: pma.Problem, seed: int = 3) -> Array:
    """A potential that is not convex."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(0.0, 0.2, problem.source.shape))


# the iterates


@DIMS
@KERNELS
@pytest.mark.parametrize("zeros", [False, True])
def test_iterates_are_those_of_the_dense_algorithm(dim: int, kernel: Any, zeros: bool) -> None:
    problem = _problem(dim, zeros=zeros)
    dense = Dense(problem, EPS, kernel)
    u = _rough(problem)
    for state in iterate_sinkhorn(problem, EPS, steps=4, initial=u, kernel=kernel):
        np.testing.assert_allclose(state.potential, u, rtol=0, atol=2e-13)
        u = dense.sweep(u)


@pytest.mark.parametrize("eps", [1e-4, 1e-2, 1.0, 1e3])
def test_iterates_for_every_eps(eps: float) -> None:
    """From kernels far narrower than a cell to nearly constant ones."""
    problem = _problem(2, zeros=True)
    dense = Dense(problem, eps)
    u = 0.5 * np.square(problem.source.grid.coordinates()).sum(axis=0)
    for state in iterate_sinkhorn(problem, eps, steps=5, initial=u):
        np.testing.assert_allclose(state.potential, u, rtol=0, atol=1e-12 * max(1.0, eps))
        u = dense.sweep(u)


def test_start_is_the_affine_map_of_box_to_box() -> None:
    problem = _problem(2)
    first = next(iterate_sinkhorn(problem, EPS))
    source, target = problem.source.grid, problem.target.grid
    x = source.coordinates()
    for i in range(2):
        stretch = target.lengths[i] / source.lengths[i]
        image = target.lower[i] + stretch * (x[i] - source.lower[i])
        np.testing.assert_allclose(first.gradient[i], image, atol=1e-13)
    line = pma.Problem(np.ones(5), np.arange(1.0, 5.0))
    u = next(iterate_sinkhorn(line, EPS)).potential
    np.testing.assert_allclose(u, 0.5 * line.source.grid.axes[0] ** 2, atol=1e-16)


@KERNELS
def test_states_are_marginals_of_the_plan(kernel: Any) -> None:
    """rho = mu e^h sums to 1 before any normalisation: the explicit mirror step, exactly."""
    problem = _problem(2, zeros=True)
    dense = Dense(problem, EPS, kernel)
    states = list(iterate_sinkhorn(problem, EPS, steps=3, initial=_rough(problem), kernel=kernel))
    for state in states:
        np.testing.assert_allclose(state.masses.ravel(), dense.rho(state.potential), atol=1e-15)
        assert abs(state.mass_constant) < 4e-15
        assert (state.masses[problem.source.values == 0] == 0).all()
        assert (state.excess[problem.source.values == 0] == 0).all()
    for old, new in itertools.pairwise(states):
        np.testing.assert_allclose(
            new.potential - old.potential, EPS * old.residual, rtol=0, atol=1e-15
        )
        assert new.step.size == EPS and new.step.phi is old.phi and new.index == old.index + 1


@pytest.mark.parametrize(
    ("record", "sums"),
    [(("kl", "semidual"), 0), (("dissipation",), 2), (("forward_divergence",), 2),
     (("forward_divergence", "backward_divergence"), 4)],
)  # fmt: skip
def test_sweeps_are_not_made_twice(
    monkeypatch: pytest.MonkeyPatch, record: tuple[str, ...], sums: int
) -> None:
    """One pair of kernel sums a state, and ``sums`` more for what is recorded."""
    calls = {"to_target": 0, "to_source": 0}
    for name in calls:
        plain = getattr(SeparableKernel, name)

        def counted(self: Any, logs: Array, name: str = name, plain: Any = plain) -> Array:
            calls[name] += 1
            return np.asarray(plain(self, logs))

        monkeypatch.setattr(SeparableKernel, name, counted)
    flow = pma.sinkhorn_flow(_problem(2), EPS, steps=6, record=record)
    assert flow.stats["sweeps"] == 6 and calls["to_source"] == 7
    steps = 7 if "dissipation" in record else 6  # a start has no step behind it
    assert 7 <= calls["to_target"] <= 7 + sums * steps


# the mirror


@pytest.fixture(scope="module", params=[(1, "plain"), (2, "plain"), (2, "reflect"), (3, "plain")])
def case(request: Any) -> tuple[pma.Problem, Dense, EntropicOperator, Array]:
    dim, kernel = request.param
    problem = _problem(dim, zeros=True)
    operator = EntropicOperator(problem, EPS, kernel=kernel)
    return problem, Dense(problem, EPS, kernel), operator, _rough(problem)


def test_conjugate_is_the_soft_one(case: Any) -> None:
    problem, dense, operator, u = case
    state = start(operator, *split(problem, u))
    psi, offset = operator.conjugate(state.phi, state.offset)
    assert abs(psi.mean()) < 1e-16
    v = EntropicOperator(problem.swapped(), EPS).potential(psi, offset)
    np.testing.assert_allclose(v.ravel(), dense.conjugate(u), rtol=0, atol=1e-14)
    integral = operator.conjugate_integral(state.phi, state.offset)
    assert integral == pytest.approx(float(dense.b @ dense.conjugate(u)), abs=1e-14)
    assert observables.semidual(state) == pytest.approx(dense.value(u), abs=1e-14)


def test_semidual_falls_at_the_rate_s_with_curvature_i(case: Any) -> None:
    """d/ds J(u + s h) = -S and the second derivative is I, by differences of the dense J."""
    problem, dense, operator, u = case
    state = start(operator, *split(problem, u))
    s = 1e-3
    values = [dense.value(u + k * s * state.residual) for k in (-2, -1, 0, 1, 2)]
    slope = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * s)
    bend = (-values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]) / (12 * s**2)
    assert slope == pytest.approx(-state.symmetrised_kl, rel=1e-9)
    assert bend == pytest.approx(state.dissipation, rel=1e-6)
    assert state.symmetrised_kl > 0 < state.dissipation


def test_dissipation_is_a_conditional_variance(case: Any) -> None:
    problem, dense, operator, u = case
    state = start(operator, *split(problem, u))
    plan, h = dense.plan(u), state.residual.ravel()
    mean = h @ plan / dense.b.clip(1e-300)
    expected = sum(
        float(plan[:, j] @ (h - mean[j]) ** 2) for j in range(dense.b.size) if dense.b[j] > 0
    )
    assert state.dissipation == pytest.approx(expected / EPS, rel=1e-12)


def test_inverse_hessian_is_that_of_the_next_potential(case: Any) -> None:
    """By differences in x of the formula of u_{k+1}, whose x may be any point."""
    problem, _, operator, u = case
    state = start(operator, *split(problem, u))
    dim, size = problem.dim, problem.source.grid.size
    inverse = observables.inverse_hessian(state)
    assert inverse.shape == (size, dim, dim)
    s = 1e-3

    def moved(*steps: int) -> Array:
        """u_{k+1} at x + s steps."""
        shifted = Dense(problem, EPS)
        shift = s * np.array(steps)
        grid = problem.source.grid
        if operator.kernel == "reflect":
            images = Shifted(problem, EPS, shift)
            logs = images.log_b - images.at_home.conjugate(u) / EPS
            return np.asarray(EPS * logsumexp(images.log_kernel + logs, axis=1))
        x = grid.coordinates().reshape(dim, -1).T + shift
        logs = shifted.log_b - shifted.conjugate(u) / EPS
        return np.asarray(EPS * logsumexp(x @ shifted.y.T / EPS + logs, axis=1))

    hessian = np.empty((size, dim, dim))
    unit = np.eye(dim, dtype=int)
    for i in range(dim):
        for k in range(dim):
            p, q = unit[i] + unit[k], unit[i] - unit[k]
            corners = moved(*p) + moved(*-p) - moved(*q) - moved(*-q)
            hessian[:, i, k] = corners / (4 * s * s)
    np.testing.assert_allclose(np.linalg.inv(inverse), hessian, rtol=1e-4, atol=1e-5)
    assert observables.convexity_margin(state) == pytest.approx(
        np.linalg.eigvalsh(hessian).min(), rel=1e-4
    )
    assert observables.hessian_max(state) == pytest.approx(
        np.linalg.eigvalsh(hessian).max(), rel=1e-4
    )
    assert observables.lot_speed(state) > 0


class Shifted(Dense):
    """The reflecting kernel at points beside the cell centres."""

    def __init__(self, problem: pma.Problem, eps: float, shift: Array) -> None:
        super().__init__(problem, eps, "reflect")
        self.at_home = Dense(problem, eps, "reflect")
        self.x = self.x + shift
        self.log_kernel = np.log(self._images(problem))


def test_divergence_is_that_of_the_semidual(case: Any) -> None:
    problem, dense, operator, u = case
    w = _rough(problem, 4)
    for size in (1.0, 0.3, 0.01):  # both formulas
        phi, other = (split(problem, p)[0] for p in (u, u + size * (w - u)))
        expected = dense.divergence(u, u + size * (w - u))
        assert operator.divergence(phi, other, 0.0) == pytest.approx(expected, abs=1e-14)
        # and the same by Gauss-Legendre, which knows no conjugate
        segment = MirrorOperator.divergence(operator, phi, other, 0.0)
        assert operator.divergence(phi, other, 0.0) == pytest.approx(segment, rel=1e-9)
    assert operator.divergence(phi, phi + 3.0, 0.0) == pytest.approx(0.0, abs=1e-17)
    assert operator.divergence(phi, phi, 0.0) == 0.0


def test_divergence_keeps_its_digits_near_zero() -> None:
    """D(u | u + s w) / s^2 goes to half the curvature, where differences of J are rounding."""
    problem = _problem(2)
    operator = EntropicOperator(problem, EPS)
    phi, w = (split(problem, _rough(problem, k))[0] for k in (3, 4))
    half = [operator.divergence(phi, phi + s * w, 0.0) / s**2 for s in (1e-4, 1e-6, 1e-8)]
    curvature = operator.dissipation(phi, 0.0, w, np.empty(0))
    # phi + s w is rounded to 1e-16
    np.testing.assert_allclose(half, 0.5 * curvature, rtol=1e-3)
    np.testing.assert_allclose(half[1:], 0.5 * curvature, rtol=1e-5)


def test_both_formulas_of_the_divergence_meet() -> None:
    """The largest |z| decides between them: no jump at 1."""
    problem = _problem(2)
    operator = EntropicOperator(problem, EPS)
    phi, w = (split(problem, _rough(problem, k))[0] for k in (3, 4))
    unit = 2 * EPS / np.ptp(w)
    below, above = (
        operator.divergence(phi, phi + s * unit * w, 0.0) / s**2 for s in (1 - 1e-9, 1 + 1e-9)
    )
    assert below == pytest.approx(above, rel=1e-8)


@pytest.mark.parametrize(
    "t", [-0.9, -0.46, -0.3, -1e-3, -1e-9, 0.0, 1e-12, 1e-5, 0.29, 0.31, 0.87, 3.0]
)
def test_remainders_keep_all_digits(t: float) -> None:
    """Against sums of their series in exact arithmetic."""
    x = Fraction(t)
    exponential, term = Fraction(0), x
    for n in range(2, 40):
        term = term * x / n
        exponential += term
    value = float(mirror._exponential_remainder(np.array(t)))
    assert value == pytest.approx(float(exponential), rel=4e-15, abs=0)
    s = x / (2 + x)
    logarithm = x - 2 * sum((s ** (2 * n + 1) / (2 * n + 1) for n in range(200)), Fraction(0))
    value = float(mirror._logarithmic_remainder(np.array(t)))
    assert value == pytest.approx(float(logarithm), rel=4e-15, abs=0)


def test_axes_of_one_cell_carry_the_stretch() -> None:
    grids = pma.Grid((8, 1), (0.0, 0.0), (1.0, 0.5)), pma.Grid((6, 1), (0.0, 0.0), (1.0, 2.0))
    problem = pma.Problem(*(pma.Density(1 + np.arange(g.size).reshape(g.shape), g) for g in grids))
    flow = pma.sinkhorn_flow(problem, 0.05, steps=3, record=NAMES)
    line = pma.Problem(
        pma.Density(1.0 + np.arange(8), pma.Grid((8,))),
        pma.Density(1.0 + np.arange(6), pma.Grid((6,))),
    )
    flat = pma.sinkhorn_flow(line, 0.05, steps=3, record=NAMES)
    for name in ("kl", "dissipation", "bregman", "forward_divergence", "max_h", "lot_speed"):
        np.testing.assert_allclose(flow[name], flat[name], rtol=1e-9, atol=1e-16, err_msg=name)
    state = next(iterate_sinkhorn(problem, 0.05))
    np.testing.assert_allclose(observables.inverse_hessian(state)[:, 1, 1], 0.25, rtol=1e-9)


def test_normalisation_forgets_cells_without_mass() -> None:
    masses = np.array([0.5, 0.0, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rho, centred, alpha = normalised(masses, np.array([0.1, 2000.0, -0.1]))
    np.testing.assert_array_equal(rho[1], 0.0)
    assert alpha == pytest.approx(math.log(math.cosh(0.1)))
    assert rho.sum() == pytest.approx(1.0) and centred[1] == pytest.approx(2000.0, rel=1e-4)


def test_potentials_off_the_support_do_not_count() -> None:
    """Neither in the next iterate nor in a series, and no warning of a huge h there."""
    problem = _problem(2, zeros=True)
    u = _rough(problem)
    lifted = u - 1000.0 * (problem.source.values == 0)
    names = [name for name in NAMES if name not in ("potential_mean", "lot_speed")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, other = (
            pma.sinkhorn_flow(problem, EPS, steps=2, initial=w, record=names, keep=1)
            for w in (u, lifted)
        )
    for name in names:
        np.testing.assert_allclose(other[name], plain[name], rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(other.potential, plain.potential, atol=1e-12)
    assert all((s.density[problem.source.values == 0] == 0).all() for s in other.snapshots)


# ends


@pytest.mark.parametrize(
    ("time", "eps", "count"),
    [(1.0, 0.1, 10), (0.0, 0.1, 0), (0.3, 0.1, 3), (0.35, 0.1, 3), (0.7, 0.1, 7), (0.09, 0.1, 0),
     (1 / 3, 1 / 9, 3), (2.9999, 0.3, 9)],
)  # fmt: skip
def test_ends_at_the_last_whole_step(time: float, eps: float, count: int) -> None:
    flow = pma.sinkhorn_flow(_problem(1), eps, time, record=("kl",))
    assert len(flow) == count and flow.status is pma.Status.COMPLETED
    np.testing.assert_array_equal(flow.times, [k * eps for k in range(count + 1)])
    np.testing.assert_array_equal(flow.step_sizes, np.full(count, eps))
    assert flow["kl"].shape == (count + 1,)


def test_whichever_end_comes_first() -> None:
    problem = _problem(1)
    assert len(pma.sinkhorn_flow(problem, 0.1, time=1.0, steps=4)) == 4
    assert len(pma.sinkhorn_flow(problem, 0.1, time=0.2, steps=40)) == 2
    assert len(pma.sinkhorn_flow(problem, 0.1, steps=0)) == 0
    endless = iterate_sinkhorn(problem, 0.1)
    assert [state.index for state in itertools.islice(endless, 4)] == [0, 1, 2, 3]


def test_tolerance_ends_at_the_first_state_below_it() -> None:
    def norm(state: State) -> float:
        return state.residual_norm

    problem = _problem(2)
    assert Reduced.of(problem).cell < EPS
    flow = pma.sinkhorn_flow(problem, EPS, tol=1e-8, record=(norm,))
    assert flow.status is pma.Status.ENTROPIC and flow.status.succeeded
    assert flow["norm"][-1] <= 1e-8 < flow["norm"][-2]
    assert flow.transport.converged and flow.stats["narrow_kernel"] is False
    short = pma.sinkhorn_flow(problem, EPS, tol=1e-8, steps=1)
    assert short.status is pma.Status.COMPLETED and not short.transport.converged


def test_narrow_kernels_are_said() -> None:
    problem = _problem(1)
    flow = pma.sinkhorn_flow(problem, 1e-3, steps=3)
    assert flow.status is pma.Status.COMPLETED and flow.stats["narrow_kernel"] is True
    ended = pma.sinkhorn_flow(problem, 1e-3, tol=1e9)
    assert ended.status is pma.Status.NARROW_KERNEL


def test_a_tolerance_below_rounding_stalls() -> None:
    flow = pma.sinkhorn_flow(_problem(1), EPS, tol=1e-30, record=("kl",))
    assert flow.status is pma.Status.STALLED and len(flow) > 100


# starts


def test_flows_go_on() -> None:
    problem = _problem(2)
    whole = pma.sinkhorn_flow(problem, 0.1, steps=7, record=("kl", "forward_divergence"))
    half = pma.sinkhorn_flow(problem, 0.1, time=0.3)
    more = pma.sinkhorn_flow(
        problem, 0.1, time=0.7, initial=half, record=("kl", "forward_divergence")
    )
    assert more.first == 3 and len(more) == 4
    np.testing.assert_array_equal(more.times, whole.times[3:])
    np.testing.assert_allclose(more["kl"], whole["kl"][3:], rtol=1e-9)
    np.testing.assert_allclose(more.potential, whole.potential, rtol=0, atol=1e-14)
    assert len(pma.sinkhorn_flow(problem, 0.1, steps=2, initial=more)) == 2


def test_states_go_on(tmp_path: Path) -> None:
    problem = _problem(2)
    states = list(iterate_sinkhorn(problem, 0.1, steps=5))
    again = list(iterate_sinkhorn(problem, 0.1, time=0.5, initial=states[2]))
    assert again[0] is states[2]
    np.testing.assert_array_equal(again[-1].phi, states[5].phi)
    # the same densities anew: time and count go on; another eps or kernel: a potential alone
    copy = pma.Problem(
        pma.Density(problem.source.values, problem.source.grid),
        pma.Density(problem.target.values, problem.target.grid),
    )
    other = next(iterate_sinkhorn(copy, 0.1, initial=states[2]))
    assert (other.index, other.time) == (2, 2 * 0.1)
    cases: tuple[tuple[float, Any], ...] = ((0.2, "plain"), (0.1, "reflect"))
    for eps, kernel in cases:
        fresh = next(iterate_sinkhorn(problem, eps, initial=states[2], kernel=kernel))
        assert (fresh.index, fresh.time) == (0, 0.0)
        np.testing.assert_allclose(fresh.potential, states[2].potential, atol=1e-15)
    elsewhere = next(iterate_sinkhorn(_problem(2, seed=8), 0.1, initial=states[2]))
    assert elsewhere.index == 0
    flow = pma.sinkhorn_flow(problem, 0.1, steps=2)
    flow.save(tmp_path / "flow.npz")
    loaded = pma.load(tmp_path / "flow.npz")
    assert loaded.scheme == "sinkhorn" and loaded.stats == flow.stats
    assert next(iterate_sinkhorn(problem, 0.1, initial=loaded)).index == 2
    assert next(iterate_sinkhorn(problem, 0.2, initial=loaded)).index == 0
    assert next(iterate_sinkhorn(problem, 0.1, initial=loaded, kernel="reflect")).index == 0


def test_starts_from_other_results() -> None:
    """A transport of a coarser grid, a flow of the equation, on either side, and back."""
    problem = pma.cases.manufactured(1).problem((32,))
    coarse = pma.solve(pma.cases.manufactured(1).problem((16,)))
    first = next(iterate_sinkhorn(problem, 0.01, initial=coarse))
    assert first.index == 0 and observables.kl(first) < 0.01
    for side in ("source", "target"):
        flow = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=3, side=side)
        state = next(iterate_sinkhorn(problem, 0.01, initial=flow))
        np.testing.assert_allclose(state.potential, flow.transport.potential, atol=1e-14)
        assert (state.index, state.time) == (0, 0.0)
    *_, last = pma.iterate(problem, schedule=pma.schedules.constant(0.1), steps=3)
    state = next(iterate_sinkhorn(problem, 0.01, initial=last))
    np.testing.assert_allclose(state.potential, last.potential, atol=1e-15)
    assert state.index == 0
    # and Sinkhorn's states start the equation
    *_, swept = iterate_sinkhorn(problem, 0.01, steps=3)
    for begin in (swept, pma.sinkhorn_flow(problem, 0.01, steps=3)):
        more = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=1, initial=begin)
        assert more.scheme == "implicit_euler" and more["kl"][1] < more["kl"][0]


def test_inputs_are_not_modified() -> None:
    problem = _problem(2, zeros=True)
    u = _rough(problem)
    before = u.copy(), problem.source.values.copy(), problem.target.values.copy()
    pma.sinkhorn_flow(problem, EPS, steps=2, initial=u, record=NAMES)
    for value, kept in zip((u, problem.source.values, problem.target.values), before, strict=True):
        np.testing.assert_array_equal(value, kept)


# what a flow is


@pytest.fixture(scope="module")
def flow() -> pma.Flow:
    problem = pma.cases.manufactured(2).problem((16, 12))
    result: pma.Flow = pma.sinkhorn_flow(problem, 0.05, time=0.5, record=NAMES, keep=2)
    return result


def test_statistics_say_how_it_was_made(flow: pma.Flow) -> None:
    stats = flow.stats
    assert flow.scheme == "sinkhorn" and flow.side == stats["side"] == "source"
    assert stats["eps"] == 0.05 and stats["kernel"] == "plain"
    assert stats["schedule"] == "constant(0.05)"
    assert stats["scheme"] == "Sinkhorn(eps=0.05, kernel='plain')"
    assert stats["weights"] == [1.0, 0.0] and stats["rejected"] == 0
    assert not any(floor["cells"] for floor in stats["floors"].values())
    assert set(flow.series) == set(NAMES)


def test_average_is_that_of_the_states_before_the_steps(flow: pma.Flow) -> None:
    states = list(iterate_sinkhorn(flow.problem, 0.05, steps=10))[:-1]
    volume = flow.problem.source.grid.cell_volume
    np.testing.assert_allclose(
        flow.average_density, np.mean([s.masses for s in states], axis=0) / volume, rtol=1e-12
    )
    np.testing.assert_allclose(
        flow.average_potential, np.mean([s.potential for s in states], axis=0), atol=1e-14
    )


def test_transport_is_of_the_last_state(flow: pma.Flow) -> None:
    ot = flow.transport
    np.testing.assert_array_equal(ot.potential, flow.potential)
    assert ot.stats["eps"] == 0.05 and not ot.converged
    problem = pma.cases.manufactured(1).problem((64,))
    end = pma.sinkhorn_flow(problem, 2e-3, time=1.0, kernel="reflect").transport
    exact = pma.solve(problem)
    assert end.w2 == pytest.approx(exact.w2, rel=0.02)
    np.testing.assert_allclose(end.gradient, exact.gradient, atol=0.01)


def test_flows_are_drawn(flow: pma.Flow) -> None:
    pma.plotting.flow(flow)
    assert report(flow)[0]["scheme"] == "sinkhorn"


def test_theory_reads_them(flow: pma.Flow) -> None:
    regret = theory.regret(flow)
    assert (regret.tightness <= 1 + 1e-12).all() and (regret.cumulative > 0).all()
    assert np.abs(theory.evi_residual(flow)[:3]).max() < 1e-10
    assert np.abs(theory.regret_residual(flow)).max() < 1e-10
    assert theory.fitted_rate(flow) > 0
    forward, backward = theory.mixture_divergences(flow)
    assert 0 < forward <= flow["kl"][:-1].mean() and 0 < backward <= flow["reverse_kl"][:-1].mean()
    operator = EntropicOperator(flow.problem, 0.05)
    optimum = operator.fixed_point(next(iterate_sinkhorn(flow.problem, 0.05)).phi)
    stationary = pma.Transport.from_potential(flow.problem, operator.potential(optimum, 0.0))
    average = theory.average_divergence(flow, stationary)
    assert 0 < average <= flow["bregman"][:-1].mean()
    dense = Dense(flow.problem, 0.05)
    exact = dense.divergence(stationary.potential, flow.average_potential)
    assert average == pytest.approx(exact, rel=1e-8)


def test_mixtures_of_densities_with_zeros() -> None:
    flow = pma.sinkhorn_flow(_problem(2, zeros=True), EPS, steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forward, backward = theory.mixture_divergences(flow)
    assert 0 < forward <= flow["kl"][:-1].mean() and 0 < backward <= flow["reverse_kl"][:-1].mean()


def test_the_optimum_is_the_fixed_point() -> None:
    for zeros, kernel in itertools.product((False, True), ("plain", "reflect")):
        problem = _problem(2, zeros=zeros)
        operator = EntropicOperator(problem, EPS, kernel=kernel)
        phi = operator.fixed_point(split(problem, _rough(problem))[0])
        assert abs(phi.mean()) < 1e-15
        rho, _, _ = normalised(operator.masses, operator.evaluate(phi, 0.0))
        assert np.abs(rho - operator.masses).sum() < 2e-13


def test_an_optimum_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MOST_SWEEPS", 2)
    monkeypatch.setattr(mirror, "SWEEPS_AT_ONCE", 1)
    with pytest.raises(pma.ConvergenceError, match="not reached in 2 sweeps"):
        pma.sinkhorn_flow(_problem(2), 0.05, steps=1, record=("bregman",))


# refusals


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"eps": 0.0}, "eps is 0.0; it must be a finite number > 0"),
        ({"eps": 1e-13}, "eps is 1e-13; for these boxes it must be at least"),
        ({"eps": 1e16}, "eps is 1e+16; it is the step size, at most"),
        ({"kernel": "torus"}, "kernel is 'torus'; it must be one of"),
        ({"steps": None}, "steps, time and tol are all None"),
        ({"steps": -1}, "steps is -1; it must be an integer >= 0"),
        ({"time": math.nan}, "time is nan; it must be a finite number >= 0"),
        ({"tol": -1.0}, "tol is -1.0; it must be a finite number >= 0"),
        ({"initial": np.ones(4)}, "initial has shape (4,), the source grid (9,)"),
        ({"initial": np.full(9, np.nan)}, "initial has the value nan at (0,)"),
        ({"initial": 1e306 * np.arange(9.0) ** 2}, "initial has values up to"),
        ({"record": ("entropy",)}, "record has 'entropy', which does not exist"),
        ({"keep": 0}, "keep is 0; it must be a number of steps >= 1"),
        ({"problem": np.ones(3)}, "problem is of type ndarray; it must be a Problem"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_refused(options: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"problem": _problem(1), "eps": 0.1, "steps": 1} | options
    with pytest.raises(pma.InvalidInputError) as refused:
        pma.sinkhorn_flow(**given)
    assert text in str(refused.value)


def test_refused_times_and_states() -> None:
    problem = _problem(1)
    with pytest.raises(pma.InvalidInputError, match="eps is 0"):
        iterate_sinkhorn(problem, 0)  # when it is called, not at the first state
    flow = pma.sinkhorn_flow(problem, 0.1, steps=5)
    with pytest.raises(pma.InvalidInputError, match=r"time is 0\.3, before the 0\.5"):
        pma.sinkhorn_flow(problem, 0.1, time=0.3, initial=flow)
    with pytest.raises(pma.InvalidInputError, match="initial has shape"):
        next(iterate_sinkhorn(_problem(2), 0.1, initial=next(iterate_sinkhorn(problem, 0.1))))


def test_schemes_refuse_the_states_of_others() -> None:
    problem = pma.cases.manufactured(1).problem((16,))
    swept = next(iterate_sinkhorn(problem, 0.1))
    parabolic = next(iter(pma.iterate(problem, schedule=pma.schedules.constant(0.1))))
    refusals: list[Callable[[], object]] = [
        lambda: pma.ImplicitEuler().step(swept, 0.1),
        lambda: pma.TRBDF2().step(swept, 0.1),
        lambda: pma.Explicit(cap="stability").step(swept, 0.1),
        lambda: linearised(swept),
        lambda: Sinkhorn(0.1).step(parabolic, 0.1),
        lambda: Sinkhorn(0.1).step(swept, 0.2),
    ]
    for refusal in refusals:
        with pytest.raises(pma.InvalidInputError, match="EntropicOperator|ParabolicOperator"):
            refusal()


def test_explicit_steps_of_size_eps_are_sweeps() -> None:
    problem = _problem(2)
    swept = list(iterate_sinkhorn(problem, EPS, steps=1))
    stepped = pma.Explicit().step(swept[0], EPS)
    np.testing.assert_allclose(stepped.potential, swept[1].potential, atol=1e-15)
    assert dataclasses.replace(stepped, index=1).index == swept[1].index
