"""Time-dependent cases: their formulas solve the equation, and `evolve` converges to them."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import cases
from pma_grid.cases import FlowCase
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.runtime.errors import InvalidInputError

EXACT: dict[str, Callable[[], FlowCase]] = {
    **{f"poisson-{d}": partial(cases.poisson_kernel, d) for d in (1, 2, 3)},
    "poisson-steep": partial(cases.poisson_kernel, 1, 0.2),
    **{f"manufactured-{d}": partial(cases.manufactured_flow, d) for d in (1, 2, 3)},
    **{f"gaussians-{d}": partial(cases.gaussians, d) for d in (1, 2, 3)},
}
every_case = pytest.mark.parametrize("name", EXACT)
in_boxes = pytest.mark.parametrize("name", [name for name in EXACT if "gaussians" not in name])
# forcings live on grids: for them see the test of the package's operator
unforced = pytest.mark.parametrize("name", [name for name in EXACT if "manufactured" not in name])
CELLS = {1: 64, 2: 40, 3: 24}


def _fields(case: FlowCase) -> tuple[Any, Any]:
    assert case.potential is not None
    assert case.gradient is not None
    return case.potential, case.gradient


def _inner_points(case: FlowCase, count: int) -> np.ndarray:
    """Points (d, count) of the box; of its middle where the potential ignores the faces."""
    grid = case.problem((8,) * case.dim).source.grid
    margin = 0.4 if case.where is not None else 0.03
    unit = np.random.default_rng(11).uniform(margin, 1 - margin, (count, case.dim))
    return np.asarray((grid.lower + unit * grid.lengths).T)


def _derivatives(field: Any, x: np.ndarray, step: float) -> np.ndarray:
    """Fourth-order central differences along each coordinate, first axis of the result."""
    out = []
    for axis in range(len(x)):
        shift = np.zeros_like(x)
        shift[axis] = step
        near = field(*(x + shift)) - field(*(x - shift))
        far = field(*(x + 2 * shift)) - field(*(x - 2 * shift))
        out.append((8 * near - far) / (12 * step))
    return np.array(out)


def _rate(potential: Any, x: np.ndarray, t: float, step: float = 1e-3) -> np.ndarray:
    """du/dt by fourth-order central differences."""
    near = potential(*x, t + step) - potential(*x, t - step)
    far = potential(*x, t + 2 * step) - potential(*x, t - 2 * step)
    return np.asarray((8 * near - far) / (12 * step))


@every_case
@pytest.mark.parametrize("t", [0.05, 0.3])
def test_gradients_are_the_derivatives_of_potentials(name: str, t: float) -> None:
    case = EXACT[name]()
    potential, gradient = _fields(case)
    x = _inner_points(case, 40)
    slopes = _derivatives(lambda *x: potential(*x, t), x, 1e-3)
    np.testing.assert_allclose(slopes, gradient(*x, t), atol=1e-8)


@unforced
@pytest.mark.parametrize("t", [0.05, 0.3])
def test_potentials_solve_the_equation(name: str, t: float) -> None:
    """du/dt = log nu(grad u) + log det D2u - log mu at points, constant included."""
    case = EXACT[name]()
    potential, gradient = _fields(case)
    problem = case.problem((CELLS[case.dim],) * case.dim)
    x = _inner_points(case, 40)
    bend = np.moveaxis(_derivatives(lambda *x: gradient(*x, t), x, 1e-3), (0, 1), (-2, -1))
    assert np.linalg.eigvalsh(bend).min() > 0.05
    h = np.log(case.target(*gradient(*x, t)) / problem.target.mass)
    h = h + np.linalg.slogdet(bend)[1] - np.log(case.source(*x) / problem.source.mass)
    np.testing.assert_allclose(_rate(potential, x, t), h, atol=1e-7)


@every_case
def test_the_operator_of_the_package_sees_the_same_rate(name: str) -> None:
    """h + forcing at the exact potential is du/dt to order 2, on the cells that count."""
    case = EXACT[name]()
    potential, _ = _fields(case)
    t, errors = 0.2, []
    sizes = {1: (64, 128), 2: (32, 64), 3: (12, 24)}[case.dim]
    for n in sizes:
        problem = case.problem((n,) * case.dim)
        grid = problem.source.grid
        operator = ParabolicOperator(problem, case.forcing(grid) if case.forcing else None)
        x = grid.coordinates()
        phi = potential(*x, t) - operator.frame.quadratic()
        h = operator.evaluate(phi - phi.mean(), t)
        gap = h - _rate(potential, x, t)
        errors.append(float(np.abs(gap if case.where is None else gap[case.where(grid)]).max()))
    order = math.log2(errors[0] / errors[1])
    if case.where is None:
        assert order == pytest.approx(2, abs=0.25)
    # quadratic potentials: what is left is the representation of the densities
    assert errors[1] < {1: 4e-3, 2: 1e-2, 3: 4e-2}[case.dim]


@in_boxes
def test_maps_send_box_to_box_at_all_times(name: str) -> None:
    case = EXACT[name]()
    _, gradient = _fields(case)
    problem = case.problem((8,) * case.dim)
    source, target = problem.source.grid, problem.target.grid
    for axis, t in itertools.product(range(case.dim), (0.0, 0.2)):
        for face, image in (
            (source.lower[axis], target.lower[axis]),
            (source.upper[axis], target.upper[axis]),
        ):
            x = _inner_points(case, 20)
            x[axis] = face
            np.testing.assert_allclose(gradient(*x, t)[axis], image, atol=1e-12)


def test_the_poisson_kernel_is_its_fourier_series() -> None:
    potential, _ = _fields(cases.poisson_kernel(1, 0.5))
    x, t, n = np.linspace(0, math.pi, 9), 0.3, np.arange(1, 80)
    terms = (-1.0) ** n * np.exp(-0.8 * n) / n**2
    series = 0.5 * x**2 - 2 * np.cos(np.multiply.outer(x, n)) @ terms
    gap = potential(x, t) - series
    assert np.ptp(gap) < 1e-14
    # and the gauge's slope is log(1 - e^{-2 tau})
    slope = _rate(potential, np.array([1.0]), t) - _rate(
        lambda x, t: -2 * np.cos(n) @ ((-1.0) ** n * np.exp(-(0.5 + t) * n) / n**2),
        np.array([1.0]), t,
    )  # fmt: skip
    assert float(np.squeeze(slope)) == pytest.approx(math.log(-math.expm1(-1.6)), abs=1e-9)


def test_mixed_derivatives_of_the_manufactured_flow_are_large() -> None:
    """Unlike products, which are 1-D runs on a grid."""
    for dim in (2, 3):
        _, gradient = _fields(cases.manufactured_flow(dim))
        x = np.full((dim, 1), 0.5)
        x[-1] = 0.5 if dim == 2 else 0.2
        mixed = _derivatives(lambda *x: gradient(*x, 0.1), x, 1e-3)[0, 1]  # noqa: B023
        assert abs(mixed[0]) > 0.4


# -- convergence of evolve --------------------------------------------------------------------


def _errors(
    case: FlowCase, n: int, steps: int, scheme: Any = None, time: float | None = None
) -> tuple[float, float]:
    """Largest errors of u, constant included, and of grad u, on the cells that count."""
    potential, gradient = _fields(case)
    end = case.time if time is None else time
    problem = case.problem((n,) * case.dim)
    grid = problem.source.grid
    flow = pma.evolve(
        problem, schedule=pma.schedules.constant(end / steps), time=end, record=("kl",),
        scheme=pma.TRBDF2() if scheme is None else scheme, initial=case.initial(grid),
        forcing=None if case.forcing is None else case.forcing(grid),
    )  # fmt: skip
    assert len(flow) == steps
    x = grid.coordinates()
    mask = np.ones(grid.shape, bool) if case.where is None else case.where(grid)
    shift = flow.transport.gradient - gradient(*x, end)
    gap = flow.potential - potential(*x, end)
    return float(np.abs(gap[mask]).max()), float(np.abs(shift[:, mask]).max())


# cells and steps of the coarse run (the fine one has twice as many of both) and the finer errors
RUNS = {
    "poisson-1": (32, 8, 7e-5, 2e-4), "poisson-steep": (32, 8, 5e-4, 4e-4),
    "manufactured-1": (32, 8, 2e-5, 7e-5), "poisson-2": (16, 8, 5e-4, 4e-4),
    "manufactured-2": (16, 8, 3e-4, 1e-4), "poisson-3": (8, 6, 5e-3, 4e-3),
    "manufactured-3": (8, 6, 2e-3, 5e-4),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_order_two_in_space_and_time(name: str) -> None:
    n, steps, bound, map_bound = RUNS[name]
    case = EXACT[name]()
    end = case.time if case.dim < 3 else 0.5 * case.time
    coarse, fine = (_errors(case, k * n, k * steps, time=end) for k in (1, 2))
    assert math.log2(coarse[0] / fine[0]) == pytest.approx(2, abs=0.25)
    assert math.log2(coarse[1] / fine[1]) > 1.75
    assert fine[0] < bound
    assert fine[1] < map_bound


@pytest.mark.parametrize(
    ("scheme", "steps", "order"), [(pma.ImplicitEuler(), 16, 1), (pma.TRBDF2(), 2, 2)]
)
@pytest.mark.parametrize("name", ["poisson-1", "gaussians-1"])
def test_order_in_time(name: str, scheme: Any, steps: int, order: int) -> None:
    coarse, fine = (_errors(EXACT[name](), 128, k * steps, scheme) for k in (1, 2))
    assert math.log2(coarse[0] / fine[0]) == pytest.approx(order, abs=0.2)
    assert math.log2(coarse[1] / fine[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gaussians_converge_in_the_middle_of_their_box(dim: int) -> None:
    n, bound = {1: (32, 3e-3), 2: (16, 1e-2), 3: (12, 1e-2)}[dim]
    case = cases.gaussians(dim)
    time = 0.2 if dim == 3 else case.time
    coarse, fine = (_errors(case, k * n, 8 * k, time=time) for k in (1, 2))
    assert math.log2(coarse[0] / fine[0]) > 1.75
    assert fine[0] < bound


def test_gaussians_are_wrong_at_the_faces_and_move() -> None:
    case = cases.gaussians(1)
    _, gradient = _fields(case)
    problem = case.problem((128,))
    grid = problem.source.grid
    assert case.where is not None
    mask = case.where(grid)
    assert 30 < mask.sum() < 50
    flow = pma.evolve(problem, schedule=pma.schedules.constant(0.05), time=0.5)
    shift = np.abs(flow.transport.gradient - gradient(*grid.coordinates(), 0.5))[0]
    assert shift[~mask].max() > 0.3
    assert np.abs(gradient(*grid.coordinates(), 0.5) - grid.coordinates())[0][mask].max() > 0.3
    assert problem.source.values.min() > 0
    assert problem.target.values.min() < 1e-13


def _observed_rate(initial: np.ndarray | None) -> float:
    """Half the decay rate of KL from t = 4 to 5."""
    problem = cases.bimodal().problem((48,))
    flow = pma.evolve(
        problem, schedule=pma.schedules.constant(0.1), time=5.0, initial=initial,
        scheme=pma.TRBDF2(), record=("symmetrised_kl",),
    )  # fmt: skip
    value = flow["symmetrised_kl"]
    return 0.5 * math.log(value[40] / value[50])


def test_the_bimodal_case_decays_at_the_slow_rate_only_from_its_own_start() -> None:
    case = cases.bimodal()
    grid = case.problem((48,)).source.grid
    assert _observed_rate(case.initial(grid)) == pytest.approx(0.581, abs=0.003)
    assert _observed_rate(None) > 2.0


@pytest.mark.parametrize("dim", [1, 2])
def test_the_bimodal_start_is_convex_even_at_the_faces_and_no_product(dim: int) -> None:
    case = cases.bimodal(dim)
    assert case.start is not None
    assert case.potential is None
    grid = case.problem((24,) * dim).source.grid
    x = _inner_points(case, 60)
    bend = _derivatives(lambda *x: _derivatives(case.start, np.array(x), 1e-3), x, 1e-3)
    assert np.linalg.eigvalsh(np.moveaxis(bend, (0, 1), (-2, -1))).min() > 0.3
    for axis, face in itertools.product(range(dim), (grid.lower[0], grid.upper[0])):
        x[axis] = face
        np.testing.assert_allclose(_derivatives(case.start, x, 1e-3)[axis], face, atol=1e-9)
    if dim == 2:
        u = case.initial(grid)
        mixed = u[5, 5] - u[5, 18] - u[18, 5] + u[18, 18]
        assert abs(mixed) > 0.1


def test_bad_parameters() -> None:
    with pytest.raises(InvalidInputError, match="start is 0"):
        cases.poisson_kernel(1, 0)
    with pytest.raises(InvalidInputError, match="sigma is -1"):
        cases.bimodal(1, sigma=-1)
