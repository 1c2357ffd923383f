"""`sinkhorn` between all pairs of cells: arguments, statuses, what a result holds and promises."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.entropic.dense.relaxation import Factor, Potentials, sweeps
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime.errors import InvalidInputError, Status

EPS = 0.01


def _problem(
    shape: tuple[int, ...] = (20, 18), other: tuple[int, ...] | None = None
) -> pma.Problem:
    """Two bumps, the second one mirrored."""
    values = []
    for k, n in enumerate((shape, other or shape)):
        x = [(i + 0.5) / m for i, m in zip(np.indices(n), n, strict=True)]
        bump = np.prod([np.cos(np.pi * c) for c in x], axis=0) + x[0] - 0.5
        values.append(1 + 0.5 * (bump if k == 0 else np.flip(bump)))
    return pma.Problem(*values)


@pytest.fixture(scope="module")
def problem() -> pma.Problem:
    return _problem()


@pytest.fixture(scope="module")
def solved(problem: pma.Problem) -> pma.EntropicTransport:
    return pma.sinkhorn(problem, EPS)


def _plan(sk: pma.EntropicTransport) -> np.ndarray:
    """The plan between all pairs of cells (n, m), from the potentials alone; plain kernel."""
    pair = sk.problem.source, sk.problem.target
    x, y = (d.grid.coordinates().reshape(d.dim, -1) for d in pair)
    a, b = (d.values.ravel() / d.values.sum() for d in pair)
    cost = 0.5 * ((x[:, :, None] - y[:, None]) ** 2).sum(axis=0)
    exponent = sk.source_potential.reshape(-1, 1) + sk.target_potential.ravel() - cost
    return np.asarray(a[:, None] * b * np.exp(exponent / sk.eps))


def _marginal_error(sk: pma.EntropicTransport) -> float:
    plan = _plan(sk)
    pair = sk.problem.source, sk.problem.target
    a, b = (d.values.ravel() / d.values.sum() for d in pair)
    return float(np.abs(plan.sum(axis=1) - a).sum() + np.abs(plan.sum(axis=0) - b).sum())


# --- arguments


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"eps": 0}, "eps is 0;.*> 0"),
        ({"eps": -1.0}, "eps is -1.0"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"eps": float("inf")}, "eps is inf"),
        ({"eps": True}, "eps is True"),
        ({"eps": "0.1"}, "eps is '0.1'"),
        ({"eps": [0.1]}, "eps is \\[0.1\\]"),
        ({"eps": 1j}, "eps is 1j"),
        ({"eps": 10**400}, "eps is 1000"),
        ({"eps": 1e-13}, "eps is 1e-13.*at least"),
        ({"tol": 0.0}, "tol is 0.0;.*> 0"),
        ({"tol": -1e-3}, "tol is -0.001"),
        ({"tol": float("nan")}, "tol is nan"),
        ({"tol": float("inf")}, "tol is inf"),
        ({"tol": "small"}, "tol is 'small'"),
        ({"max_iterations": 0}, "max_iterations is 0.*>= 1"),
        ({"max_iterations": 2.0}, "max_iterations is 2.0"),
        ({"max_iterations": True}, "max_iterations is True"),
        ({"relaxation": 0.0}, "relaxation is 0.0.*between 0 and 2"),
        ({"relaxation": 2.0}, "relaxation is 2.0"),
        ({"relaxation": float("nan")}, "relaxation is nan"),
        ({"relaxation": "auto"}, "relaxation is 'auto'"),
        ({"threads": 0}, "threads is 0;.*>= 1"),
        ({"threads": 1.5}, "threads is 1.5"),
        ({"method": "sparse"}, "method is 'sparse'.*'multiscale'"),
        ({"method": np.array(["dense", "dense"])}, "method is array"),
        ({"kernel": "periodic"}, "kernel is 'periodic'.*'reflect'"),
        ({"map": None}, "map is None.*'debiased'"),
        ({"dtype": "float16"}, "dtype is 'float16'.*'float32'"),
        ({"initial": np.ones(3)}, "initial has shape \\(3,\\)"),
        ({"initial": np.full((20, 18), np.nan)}, "initial has the value nan at"),
        ({"initial": np.ones(3), "method": "multiscale"}, "initial has shape"),
        ({"initial": "u.npy"}, "initial .*real numbers"),
    ],
    ids=str,
)
def test_arguments_out_of_range(
    problem: pma.Problem, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        pma.sinkhorn(problem, **({"eps": EPS} | arguments))
    assert "\n" not in str(caught.value)


def test_the_problem_must_be_one() -> None:
    with pytest.raises(InvalidInputError, match="problem is .*ndarray.*a Problem"):
        pma.sinkhorn(np.ones(4), EPS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "option",
    [{"kernel": "reflect"}, {"map": "debiased"}, {"relaxation": 1.0}, {"scaling": False},
     {"dtype": "float32"}],
    ids=str,
)  # fmt: skip
def test_multiscale_refuses_what_only_dense_has(
    problem: pma.Problem, option: dict[str, Any]
) -> None:
    (name,) = option
    with pytest.raises(InvalidInputError, match=f"{name} is .* take method='dense'"):
        pma.sinkhorn(problem, method="multiscale", **option)


def test_eps_by_default_is_a_cell() -> None:
    problem = _problem((20, 18), (16, 24))
    cell = (1 / 20 / 16 / 18 / 24) ** 0.5
    dense = pma.sinkhorn(problem)
    assert dense.eps == dense.stats["eps"] == pytest.approx(1 / 20 / 16, rel=1e-12)
    assert dense.stats["eps_over_h2"] == pytest.approx(1 / 20 / 16 / cell, rel=1e-12)
    assert dense.status is Status.ENTROPIC
    assert pma.sinkhorn(problem, method="multiscale").eps == pytest.approx(cell / 2, rel=1e-12)


def test_inputs_are_left_alone(problem: pma.Problem, solved: pma.EntropicTransport) -> None:
    start = np.array(solved.potential)
    before = start.copy(), problem.source.values.copy()
    pma.sinkhorn(problem, EPS, initial=start)
    np.testing.assert_array_equal(start, before[0])
    np.testing.assert_array_equal(problem.source.values, before[1])


# --- what a result is


def test_the_plan_has_the_marginals_and_the_values(solved: pma.EntropicTransport) -> None:
    plan, pair = _plan(solved), (solved.problem.source, solved.problem.target)
    x, y = (d.grid.coordinates().reshape(d.dim, -1) for d in pair)
    a, b = (d.values.ravel() / d.values.sum() for d in pair)
    assert np.abs(plan.sum(axis=1) - a).sum() < 1e-12
    assert np.abs(plan.sum(axis=0) - b).sum() <= 1e-9
    assert _marginal_error(solved) == pytest.approx(solved.stats["marginal_error"], abs=1e-12)
    squares = float((plan * ((x[:, :, None] - y[:, None]) ** 2).sum(axis=0)).sum())
    entropy = float((plan * np.log(plan / (a[:, None] * b))).sum())
    assert solved.stats["transport_cost"] == pytest.approx(squares, abs=1e-12)
    assert solved.stats["primal"] == pytest.approx(squares / 2 + EPS * entropy, abs=1e-12)
    assert (
        solved.value == solved.stats["dual"] == pytest.approx(squares / 2 + EPS * entropy, abs=1e-9)
    )
    forward = (plan @ y.T).T / a
    np.testing.assert_allclose(solved.gradient.reshape(2, -1), forward, atol=1e-12)
    backward = (x @ plan) / plan.sum(axis=0)
    np.testing.assert_allclose(solved.inverse_gradient.reshape(2, -1), backward, atol=1e-12)
    square = 0.5 * (solved.problem.source.grid.coordinates() ** 2).sum(axis=0)
    constant = solved.potential - (square - solved.source_potential)
    assert np.ptp(constant) < 1e-15


def test_transport_costs_more_than_w2(problem: pma.Problem, solved: pma.EntropicTransport) -> None:
    """Entropy spreads; and the entropic potential is no optimal one: a smaller dual value."""
    exact = pma.solve(problem).w2_squared
    assert solved.stats["transport_cost"] > exact > solved.w2_squared > 0.9 * exact


def test_potentials_of_the_reflecting_kernel() -> None:
    """Marginals from the sum over images: at eps = .05 no more than three boxes each way."""
    problem = _problem((30,), (24,))
    sk = pma.sinkhorn(problem, 0.05, kernel="reflect")
    x, y = problem.source.grid.axes[0], problem.target.grid.axes[0]
    kernel = np.zeros((30, 24))
    for k in range(-4, 5):
        for image in (x + 2 * k, 2 * k - x):
            kernel += np.exp(-((image[:, None] - y) ** 2) / 0.1)
    f, g = sk.source_potential / 0.05, sk.target_potential / 0.05
    a, b = (d.values / d.values.sum() for d in (problem.source, problem.target))
    plan = a[:, None] * np.exp(f)[:, None] * kernel * np.exp(g) * b
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-13)
    np.testing.assert_allclose(plan.sum(axis=0), b, atol=1e-9)
    squares = float((plan * (x[:, None] - y) ** 2).sum())
    assert sk.stats["transport_cost"] == pytest.approx(squares, abs=1e-9)
    value = 0.05 * float((plan * (f[:, None] + g)).sum())
    assert sk.stats["primal"] == pytest.approx(value, abs=1e-9)
    assert sk.value == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("method", ["dense", "multiscale"])
def test_statistics_mean_the_same_for_both_methods(problem: pma.Problem, method: Any) -> None:
    seen: list[Any] = []
    sk = pma.sinkhorn(problem, method=method, callback=seen.append)
    stats = sk.stats
    shared = {
        "primal", "dual", "transport_cost", "marginal_error", "marginal_errors", "tol", "eps",
        "cell", "eps_over_h2", "method", "map", "iterations", "history", "levels", "threads",
        "seconds", "compile_seconds", "versions",
    }  # fmt: skip
    assert shared <= set(stats)
    assert all(type(stats[key]) is float for key in ("primal", "dual", "transport_cost", "eps"))
    assert stats["method"] == method
    assert stats["map"] == "barycentric"
    assert stats["marginal_error"] == sum(stats["marginal_errors"].values()) <= stats["tol"]
    assert len(stats["history"]) == stats["iterations"]
    finest = [record for record in seen if tuple(record.level) == problem.source.shape]
    assert [record.residual for record in finest] == stats["history"]
    assert [record.step for record in finest] == list(range(1, stats["iterations"] + 1))
    if method == "dense":
        assert stats["history"][-1] <= stats["tol"] < stats["history"][-2]
    last = stats["levels"][-1]
    assert tuple(last["shape"]) == problem.source.shape
    assert tuple(last["target_shape"]) == problem.target.shape
    assert last["eps"] == sk.eps
    assert last["iterations"] == stats["iterations"]
    for level in stats["levels"]:
        assert {"shape", "target_shape", "eps", "iterations", "error", "seconds"} <= set(level)
    assert last["error"] == pytest.approx(stats["marginal_error"], rel=1e-6)
    assert set(stats["versions"]) == {"python", "numpy", "scipy", "numba"}


def test_progress_goes_to_standard_error(problem: pma.Problem) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        pma.sinkhorn(problem, EPS, progress=True)
    assert out.getvalue() == ""
    assert "grid 20x18" in err.getvalue()


# --- how it ends


def test_the_iteration_limit_leaves_a_partial_result(problem: pma.Problem) -> None:
    sk = pma.sinkhorn(problem, EPS, max_iterations=3, tol=1e-12)
    assert sk.status is Status.MAX_ITERATIONS
    assert not sk.converged
    assert sk.stats["iterations"] == len(sk.stats["history"]) == 3
    assert 1e-12 < sk.stats["marginal_error"] < 0.1
    assert _marginal_error(sk) == pytest.approx(sk.stats["marginal_error"], rel=1e-6)
    assert np.isfinite(sk.gradient).all()
    assert sk.w2 > 0


def test_figures_of_partial_results_are_those_of_their_plan() -> None:
    """Boxes of unlike sides, far apart: the mass that misses the target moves values a lot."""
    grids = pma.Grid((7,), (0.0,), (1.0,)), pma.Grid((9,), (4.0,), (7.0,))
    masses = np.arange(1.0, 8.0), np.arange(10.0, 1.0, -1.0)
    problem = pma.Problem(*(pma.Density(m, g) for m, g in zip(masses, grids, strict=True)))
    sk = pma.sinkhorn(problem, EPS, max_iterations=2, scaling=False)
    plan, x, y = _plan(sk), *(d.grid.axes[0] for d in (problem.source, problem.target))
    a, b = (d.values / d.values.sum() for d in (problem.source, problem.target))
    squares = float((plan * (x[:, None] - y) ** 2).sum())
    entropy = float((plan * np.log(plan / (a[:, None] * b))).sum())
    assert sk.stats["marginal_error"] > 0.1
    assert sk.stats["transport_cost"] == pytest.approx(squares, rel=1e-12)
    assert sk.stats["primal"] == pytest.approx(squares / 2 + EPS * entropy, rel=1e-12)


def test_a_tolerance_met_by_the_last_iteration_is_met(problem: pma.Problem) -> None:
    """The history has errors before each sweep: that of the result is smaller."""
    before = pma.sinkhorn(problem, EPS, max_iterations=5, tol=1e-12)
    again = pma.sinkhorn(problem, EPS, max_iterations=5, tol=before.stats["marginal_error"])
    assert again.stats["iterations"] == 5
    assert again.stats["marginal_error"] <= again.stats["tol"] < again.stats["history"][-1]
    assert again.status is Status.ENTROPIC


def test_one_iteration_is_enough_where_nothing_moves() -> None:
    """Equal densities are no fixed point of plain sweeps, but one cell to one cell is."""
    sk = pma.sinkhorn(pma.Problem(np.ones((1, 1)), np.ones((1, 1))), 1.0)
    assert sk.status is Status.ENTROPIC
    assert sk.stats["iterations"] == 1
    np.testing.assert_allclose(sk.gradient.ravel(), 0.5)


@pytest.mark.parametrize("share, status", [(0.9, Status.NARROW_KERNEL), (1.0, Status.ENTROPIC)])
def test_narrow_kernels_say_so(problem: pma.Problem, share: float, status: Status) -> None:
    sk = pma.sinkhorn(problem, share / 18**2)  # the wider of the two axes' cells
    assert sk.status is status
    assert sk.converged
    assert ("narrower than a cell" in sk.message) == (share < 1)


# --- how many iterations


@pytest.mark.parametrize("scaling", [True, False])
@pytest.mark.parametrize("eps, gain", [(0.01, 2.0), (0.001, 6.0)])
def test_relaxation_saves_iterations(eps: float, gain: float, scaling: bool) -> None:
    problem = pma.cases.gaussian_mixtures().problem((32, 32))
    plain, relaxed = (
        pma.sinkhorn(problem, eps, relaxation=w, scaling=scaling, tol=1e-8) for w in (1.0, None)
    )
    assert plain.stats["omega"] == 1
    assert 1 < relaxed.stats["omega"] < 2
    assert relaxed.stats["iterations"] * gain < plain.stats["iterations"]
    difference = relaxed.source_potential - plain.source_potential
    assert np.ptp(difference) < 1e-5 * eps


def test_coarse_grids_save_iterations() -> None:
    problem = pma.cases.gaussian_mixtures().problem((48, 48))
    cold, warm = (pma.sinkhorn(problem, 1e-3, scaling=s) for s in (False, True))
    assert len(cold.stats["levels"]) == 1
    assert len({tuple(level["shape"]) for level in warm.stats["levels"]}) > 2
    assert warm.stats["iterations"] < 0.9 * cold.stats["iterations"]
    np.testing.assert_allclose(warm.gradient, cold.gradient, atol=1e-7)


def test_coarse_grids_have_the_same_eps_where_it_is_wide_enough() -> None:
    sk = pma.sinkhorn(_problem((64, 48)), 0.004)
    for level in sk.stats["levels"][-3:]:
        cell = float(np.prod(level["shape"]) * np.prod(level["target_shape"])) ** -0.5
        assert level["eps"] == pytest.approx(max(0.004, cell), rel=1e-12)
    eps = [level["eps"] for level in sk.stats["levels"]]
    assert eps == sorted(eps, reverse=True)
    assert eps[0] == pytest.approx(0.25 * 2), "a quarter of the squared diagonal"
    assert eps[-2] == eps[-1] == 0.004


def test_relaxation_begins_with_a_plain_half_sweep() -> None:
    """The start is u alone: what v is handed over does not count."""
    problem = _problem()
    sk = pma.sinkhorn(problem, EPS, tol=1e-12)
    again = pma.sinkhorn(problem, EPS, tol=1e-8, initial=sk, relaxation=1.7)
    assert again.stats["iterations"] == 2, "the first one has no v to measure by"


@pytest.mark.parametrize("slowest", [0.5, 0.9, 0.99])
def test_the_factor_is_young_s(slowest: float) -> None:
    """Errors that fall as those of the slowest mode lead to the factor that is best for it."""
    best = 2 / (1 + np.sqrt(1 - slowest))
    factor, error = Factor(1.0, None), 1.0
    for _ in range(3000):
        w = factor.omega
        # largest root of (rho + w - 1)^2 = rho w^2 lambda, or the circle's radius beyond the best w
        half = 0.5 * w * np.sqrt(slowest)
        rate = (half + np.sqrt(max(half**2 - (w - 1), 0.0))) ** 2 if w < best else w - 1
        error *= rate
        if error < 1e-200:
            error = 1.0
            factor = Factor(factor.omega, None)
        assert factor.observe(error)
    assert factor.omega == pytest.approx(best, rel=1e-6)


def test_growing_errors_lower_the_factor() -> None:
    factor = Factor(1.9, None)
    answers = [factor.observe(1.1**k) for k in range(60)]
    assert not all(answers)
    assert factor.omega < 1.9
    kept = Factor(1.0, 1.9)
    assert all(kept.observe(1.1**k) for k in range(60))
    assert kept.omega == 1.9


def test_a_factor_that_leads_astray_is_taken_back() -> None:
    """From nothing known and the largest factor: far away it diverges."""
    rng = np.random.default_rng(0)
    reduced = Reduced.of(pma.Problem(rng.random((12, 12)) ** 8, rng.random((12, 12)) ** 8))
    eps = 0.25 * reduced.cell
    starts = rng.normal(size=(2, 12, 12)) * 0.2 / eps
    at = sweeps(
        SeparableKernel(reduced, eps), Potentials(starts[0], starts[1], omega=1.99), tol=1e-9,
        max_iterations=5000,
    )  # fmt: skip
    assert at.converged
    assert at.omega < 1.99
    assert at.errors["target"] <= 1e-9


def test_empty_cells_spoil_no_error() -> None:
    """Where there is no mass potentials may move by thousands of eps."""
    x = (np.arange(80) + 0.5) / 80
    problem = pma.Problem((x < 0.1) * 1.0, (x > 0.9) * 1.0)
    sk = pma.sinkhorn(problem, 0.25 / 80**2, scaling=False)
    assert sk.converged
    assert not np.isnan(sk.stats["history"]).any()
    # but for what entropy does at the ends of either
    np.testing.assert_allclose(sk.gradient[0][x < 0.1] - x[x < 0.1], 0.9, atol=0.002)


def test_products_that_underflow_go_on_in_logarithms() -> None:
    """Scaling and kernel sum are numbers, their product is none: no warning, no wrong answer."""
    shares = np.array([0, 8e-237, 8e-142, 3e-44, 6e-186, 0, 2e-59, 1e-2, 0]).reshape(3, 3)
    boxes = pma.Grid((1, 1), (0.0, 0.0), (30.0, 1.0)), pma.Grid((3, 3), (-3.0, -3.0), (27.0, 27.0))
    problem = pma.Problem(pma.Density(np.ones((1, 1)), boxes[0]), pma.Density(shares, boxes[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sk = pma.sinkhorn(problem, 0.09, kernel="reflect")
    assert sk.status.succeeded
    np.testing.assert_allclose(sk.gradient.ravel(), (22.0, 12.0))


def test_a_given_factor_is_kept() -> None:
    sk = pma.sinkhorn(_problem(), EPS, relaxation=1.3)
    assert sk.stats["omega"] == 1.3
    assert all(level["omega"] == 1.3 for level in sk.stats["levels"])


def test_solutions_start_iterations_near_the_end(problem: pma.Problem) -> None:
    sk = pma.sinkhorn(problem, EPS)
    again = pma.sinkhorn(problem, EPS, initial=sk, tol=1e-8)
    assert again.stats["iterations"] <= 2
    ot = pma.solve(problem)
    options: dict[str, Any] = {"relaxation": 1.0, "tol": 1e-8}
    cold = pma.sinkhorn(problem, 0.003, scaling=False, **options)
    for start in (ot, ot.potential):
        warm = pma.sinkhorn(problem, 0.003, initial=start, **options)
        assert warm.stats["iterations"] < 0.9 * cold.stats["iterations"]
        np.testing.assert_allclose(warm.gradient, cold.gradient, atol=1e-7)


@pytest.mark.parametrize("method", ["dense", "multiscale"])
def test_flows_start_iterations_where_they_ended(problem: pma.Problem, method: Any) -> None:
    flow = pma.sinkhorn_flow(problem, EPS, steps=20)
    by_flow = pma.sinkhorn(problem, EPS, initial=flow, method=method)
    by_hand = pma.sinkhorn(problem, EPS, initial=flow.transport, method=method)
    assert by_flow.converged
    np.testing.assert_array_equal(by_flow.potential, by_hand.potential)


def test_sinkhorn_starts_newton_near_the_end() -> None:
    problem = pma.cases.gaussian_mixtures().problem((32, 32))
    cold = pma.solve(problem)
    start = pma.sinkhorn(problem, 1e-3, kernel="reflect", map="debiased")
    warm = pma.solve(problem, initial=start)
    assert warm.converged
    assert warm.stats["iterations"] < 0.5 * cold.stats["iterations"]
    np.testing.assert_allclose(warm.gradient, cold.gradient, atol=1e-4)


# --- precision and threads


@pytest.mark.parametrize("eps", [0.1, 0.01, 0.001])
def test_single_precision(eps: float) -> None:
    """f and g to some 1e-6 eps, once the marginals are as good."""
    problem = pma.cases.gaussian_mixtures().problem((32, 32))
    double = pma.sinkhorn(problem, eps, tol=1e-12)
    single = pma.sinkhorn(problem, eps, dtype="float32", tol=1e-6)
    assert single.converged
    assert single.stats["marginal_error"] <= 1e-6
    assert _marginal_error(single) < 2e-6
    errors = [
        np.ptp(getattr(single, name) - getattr(double, name))
        for name in ("source_potential", "target_potential")
    ]
    assert max(errors) < 2e-5 * eps
    assert np.abs(single.gradient - double.gradient).max() < 2e-6
    assert pma.sinkhorn(problem, eps, dtype="float32").stats["tol"] == 1e-5


def test_the_least_error_of_single_precision() -> None:
    sk = pma.sinkhorn(_problem(), EPS, dtype="float32", tol=1e-10, max_iterations=100)
    double = pma.sinkhorn(_problem(), EPS, tol=1e-13)
    assert sk.status is Status.MAX_ITERATIONS
    assert sk.stats["marginal_error"] < 5e-6
    assert 1e-9 * EPS < np.ptp(sk.source_potential - double.source_potential) < 3e-6 * EPS


@pytest.mark.parametrize("eps", [0.01, 1e-5])
def test_threads_give_the_same(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pma_grid.entropic.dense.kernel.LEAST_LINES_A_THREAD", 4)
    # unlike grids: a narrow kernel needs sums in windows
    one, two = (pma.sinkhorn(_problem((12, 11), (10, 13)), eps, threads=k, max_iterations=20)
                for k in (1, 2))  # fmt: skip
    assert (one.stats["threads"], two.stats["threads"]) == (1, 2)
    np.testing.assert_array_equal(one.source_potential, two.source_potential)


def test_runs_repeat(problem: pma.Problem, solved: pma.EntropicTransport) -> None:
    again = pma.sinkhorn(problem, EPS)
    np.testing.assert_array_equal(again.potential, solved.potential)
    assert again.stats["history"] == solved.stats["history"]


# --- the debiased map


def test_debiasing_takes_the_self_transport_out() -> None:
    problem = _problem((24, 20))
    biased, nearer = (pma.sinkhorn(problem, EPS, map=kind) for kind in ("barycentric", "debiased"))
    own = [
        pma.sinkhorn(pma.Problem(d, d), EPS, tol=1e-12) for d in (problem.source, problem.target)
    ]
    x = problem.source.grid.coordinates()
    np.testing.assert_allclose(nearer.gradient, biased.gradient + x - own[0].gradient, atol=1e-8)
    y = problem.target.grid.coordinates()
    expected = biased.inverse_gradient + y - own[1].inverse_gradient
    np.testing.assert_allclose(nearer.inverse_gradient, expected, atol=1e-8)
    moved = nearer.potential - biased.potential - own[0].source_potential
    assert np.ptp(moved) < 1e-10
    costs = [sk.stats["dual"] for sk in own]
    assert nearer.stats["self_costs"] == pytest.approx(costs, abs=1e-10)
    assert nearer.stats["divergence"] == pytest.approx(nearer.value - sum(costs) / 2, abs=1e-10)
    assert max(nearer.stats["self_errors"].values()) <= 1e-9
    np.testing.assert_allclose(nearer.source_potential, biased.source_potential, atol=1e-14)
    assert "divergence" not in biased.stats


def test_a_density_has_no_divergence_from_itself() -> None:
    density = _problem().source
    sk = pma.sinkhorn(pma.Problem(density, density), EPS, map="debiased", tol=1e-12)
    assert abs(sk.stats["divergence"]) < 1e-12
    np.testing.assert_allclose(sk.gradient, density.grid.coordinates(), atol=1e-9)


def test_debiased_maps_are_second_order() -> None:
    case = pma.cases.manufactured(1)
    problem = case.problem((256,))
    exact = pma.solve(problem).gradient
    errors = {
        (kind, eps): np.abs(
            pma.sinkhorn(problem, eps, kernel="reflect", map=kind).gradient - exact
        )[0, 64:192].max()
        for kind in ("barycentric", "debiased")
        for eps in (4e-3, 2e-3)
    }
    ratios = [errors[kind, 4e-3] / errors[kind, 2e-3] for kind in ("barycentric", "debiased")]
    assert ratios[0] == pytest.approx(2, abs=0.2)
    assert ratios[1] > 3.3
    assert errors["debiased", 2e-3] < 0.2 * errors["barycentric", 2e-3]


# --- maps, samples, interpolation, files


@pytest.mark.parametrize(
    "shape, other", [((30,), (24,)), ((12, 10), (9, 14)), ((6, 5, 4), (5, 6, 7))]
)
@pytest.mark.parametrize("kind", ["barycentric", "debiased"])
def test_maps_are_multilinear_and_stay_in_the_boxes(
    shape: tuple[int, ...], other: tuple[int, ...], kind: Any
) -> None:
    first = _problem(shape, other)
    d = len(shape)
    grids = (
        pma.Grid(shape, (0.0,) * d, (1.0,) * d), pma.Grid(other, (-2.0,) * d, (1.0, 2.0, 0.5)[:d])
    )  # fmt: skip
    problem = pma.Problem(
        pma.Density(first.source.values, grids[0]), pma.Density(first.target.values, grids[1])
    )
    sk = pma.sinkhorn(problem, 0.1, map=kind)
    for function, field, grid, image in (
        (sk.map, sk.gradient, *grids), (sk.inverse, sk.inverse_gradient, *grids[::-1]),
    ):  # fmt: skip
        centres = grid.coordinates().reshape(d, -1).T
        lower, upper = np.array(image.lower), np.array(image.upper)
        expected = np.clip(field.reshape(d, -1).T, lower, upper)
        np.testing.assert_allclose(function(centres), expected, atol=1e-13)
        middle = 0.5 * (centres[0] + centres[1])
        between = np.clip(field.reshape(d, -1)[:, :2].mean(axis=1), lower, upper)
        np.testing.assert_allclose(function(middle[None])[0], between, atol=1e-13)
        corners = np.array([grid.lower, grid.upper])
        assert ((function(corners) >= lower) & (function(corners) <= upper)).all()
        with pytest.raises(InvalidInputError, match="outside"):
            function(np.array([np.array(grid.upper) + 1]))


def test_samples_follow_the_map(solved: pma.EntropicTransport) -> None:
    x, y = solved.sample(500, seed=3)
    np.testing.assert_array_equal(y, solved.map(x))
    again, _ = solved.sample(500, seed=3)
    np.testing.assert_array_equal(again, x)


@pytest.mark.parametrize("method", ["dense", "multiscale"])
@pytest.mark.parametrize("shape", [(40,), (24, 20), (8, 9, 7)])
def test_interpolation_moves_the_mean_along_a_line(shape: tuple[int, ...], method: Any) -> None:
    problem = _problem(shape)
    sk = pma.sinkhorn(problem, method=method)
    np.testing.assert_allclose(sk.interpolate(0.0).values, problem.source.values, rtol=1e-9)
    masses = problem.source.values * problem.source.grid.cell_volume
    d = len(shape)
    ends = problem.source.mean(), (sk.gradient * masses).sum(axis=tuple(range(1, d + 1)))
    h = max(problem.source.grid.spacing)
    for t in (0.25, 0.5, 1.0):
        between = sk.interpolate(t)
        assert between.values.min() >= 0
        # pieces of cells have the map's mean to second order
        np.testing.assert_allclose(between.mean(), (1 - t) * ends[0] + t * ends[1], atol=0.5 * h**2)


def test_interpolation_agrees_with_that_of_solve() -> None:
    """No ripples where the map spreads cells far apart: all mass is counted by overlap."""
    problem = _problem((48, 40))
    ot, sk = pma.solve(problem), pma.sinkhorn(problem, kernel="reflect", map="debiased")
    for t in (0.3, 0.7, 1.0):
        ours, theirs = sk.interpolate(t).values, ot.interpolate(t).values
        assert np.abs(ours - theirs).mean() < 0.01


def test_interpolation_between_boxes_and_on_a_grid_of_choice() -> None:
    first = _problem((20, 18))
    away = pma.Grid((20, 18), (3.0, 1.0), (4.0, 2.0))
    problem = pma.Problem(first.source, pma.Density(first.target.values, away))
    sk = pma.sinkhorn(problem, EPS)
    middle = sk.interpolate(0.5)
    assert (middle.grid.lower, middle.grid.upper) == ((1.5, 0.5), (2.5, 1.5))
    assert sk.interpolate(1.0).grid == away
    part = sk.interpolate(0.5, pma.Grid((10, 9), (1.5, 0.5), (2.0, 1.0)))
    inside = middle.values[:10, :9]
    np.testing.assert_allclose(part.values, inside / inside.sum() * 4 * 90, rtol=1e-9)
    wide = sk.interpolate(0.5, pma.Grid((40, 36), (1.0, 0.0), (3.0, 2.0)))
    np.testing.assert_allclose(wide.values[10:30, 9:27], middle.values, rtol=1e-9)
    assert wide.values[:10].sum() < 1e-9


def test_torn_mass_goes_both_ways() -> None:
    """One density to two halves with a gap: half-way nothing lies between them."""
    n = 40
    x = (np.arange(n) + 0.5) / n
    sk = pma.sinkhorn(pma.Problem(np.ones(n), (np.abs(x - 0.5) > 0.25) * 1.0), method="multiscale")
    middle = sk.interpolate(0.5).values
    assert middle[np.abs(x - 0.5) < 0.1].max() < 1e-12
    assert sk.interpolate(0.5).mean() == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(sk.interpolate(1.0).values, sk.problem.target.values, atol=1e-2)


@pytest.mark.parametrize("options", [{}, {"kernel": "reflect", "map": "debiased"},
                                     {"method": "multiscale"}], ids=str)  # fmt: skip
def test_file_gives_everything_back(
    problem: pma.Problem, options: dict[str, Any], tmp_path: Path
) -> None:
    sk = pma.sinkhorn(problem, EPS, **options)
    sk.save(tmp_path / "sk.npz")
    back = pma.load(tmp_path / "sk.npz")
    assert isinstance(back, pma.EntropicTransport)
    for name in ("potential", "gradient", "inverse_gradient", "source_potential",
                 "target_potential"):  # fmt: skip
        np.testing.assert_array_equal(getattr(back, name), getattr(sk, name))
    assert (back.eps, back.kernel, back.status) == (sk.eps, sk.kernel, sk.status)
    assert back.stats == sk.stats
    assert back.w2 == pytest.approx(sk.w2, rel=1e-14)  # densities are normalised again
    assert (back.plan is None) == (sk.plan is None)
    if sk.plan is not None and back.plan is not None:
        assert abs(back.plan - sk.plan).max() == 0
    np.testing.assert_array_equal(back.tears, sk.tears)
    np.testing.assert_allclose(back.interpolate(0.4).values, sk.interpolate(0.4).values, rtol=1e-12)
    if sk.plan is None:
        again = pma.sinkhorn(problem, EPS, initial=back, tol=1e-8, **options)
        assert again.stats["iterations"] <= 2


def test_one_wide_cell_makes_the_kernel_narrow() -> None:
    """The default sees past a cell of every axis; a cell's geometric mean would not."""
    grid = pma.Grid((8, 32), upper=(1.0, 0.25))
    problem = pma.Problem(pma.Density(_positive((8, 32), 3), grid), pma.Density(
        _positive((8, 32), 4), grid))  # fmt: skip
    default = pma.sinkhorn(problem, tol=1e-6)
    assert default.eps == pytest.approx(1 / 64) and str(default.status) == "entropic"
    narrow = pma.sinkhorn(problem, default.stats["cell"], tol=1e-6)
    assert default.stats["cell"] < 1 / 64 and str(narrow.status) == "narrow_kernel"
    flow = pma.sinkhorn_flow(problem, default.stats["cell"], steps=1)
    assert flow.stats["narrow_kernel"]


def test_a_hard_potential_has_no_hessian() -> None:
    sk = pma.sinkhorn(pma.Problem(_positive((6, 7), 1), _positive((6, 7), 2)), method="multiscale")
    with pytest.raises(pma.InvalidInputError, match="hessian is not defined"):
        _ = sk.hessian


def _positive(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)
