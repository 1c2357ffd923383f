"""The closed forms of the cases: potentials, maps, masses and W2 agree with one another."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from pma_grid import cases
from pma_grid.cases import Case
from pma_grid.runtime.errors import InvalidInputError

CLOSED: dict[str, Callable[[], Case]] = {
    **{f"manufactured-{d}": partial(cases.manufactured, d) for d in (1, 2, 3)},
    **{f"affine-{d}": partial(cases.affine_gaussian, d) for d in (1, 2, 3)},
    **{f"separable-{d}": partial(cases.separable, d) for d in (1, 2, 3)},
    "anisotropic": cases.anisotropic,
    "quantile": cases.quantile,
    "radial": cases.radial,
}
every_case = pytest.mark.parametrize("name", CLOSED)
CELLS = {1: 256, 2: 96, 3: 32}


def _fields(case: Case) -> tuple[Any, Any]:
    assert case.potential is not None
    assert case.gradient is not None
    return case.potential, case.gradient


def _inner_points(case: Case, count: int) -> np.ndarray:
    grid = case.problem((8,) * case.dim).source.grid
    unit = np.random.default_rng(7).uniform(0.02, 0.98, (count, case.dim))
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    return np.asarray((lower + unit * (upper - lower)).T)


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


@every_case
def test_gradients_are_the_derivatives_of_potentials(name: str) -> None:
    case = CLOSED[name]()
    potential, gradient = _fields(case)
    x = _inner_points(case, 50)
    np.testing.assert_allclose(_derivatives(potential, x, 1e-3), gradient(*x), atol=1e-8)


@every_case
def test_potentials_are_strictly_convex(name: str) -> None:
    case = CLOSED[name]()
    x = _inner_points(case, 500)
    matrices = np.moveaxis(_derivatives(_fields(case)[1], x, 1e-4), (0, 1), (-2, -1))
    np.testing.assert_allclose(matrices, np.swapaxes(matrices, -1, -2), atol=1e-8)
    assert np.linalg.eigvalsh(matrices).min() > 0.1


@every_case
def test_maps_send_box_to_box(name: str) -> None:
    case = CLOSED[name]()
    gradient = _fields(case)[1]
    problem = case.problem((8,) * case.dim)
    source, target = problem.source.grid, problem.target.grid
    for axis in range(case.dim):
        for face, image in (
            (source.lower[axis], target.lower[axis]),
            (source.upper[axis], target.upper[axis]),
        ):
            x = _inner_points(case, 20)
            x[axis] = face
            np.testing.assert_allclose(gradient(*x)[axis], image, atol=1e-13)


@every_case
def test_the_map_keeps_mass(name: str) -> None:
    """int mu = int nu by the quadrature of the cells; Gaussians scale by the box's volume."""
    case = CLOSED[name]()
    problem = case.problem((CELLS[case.dim],) * case.dim)
    source, target = problem.source, problem.target
    volume = math.prod(
        (b - a) / (d - c)
        for a, b, c, d in zip(
            target.grid.lower, target.grid.upper, source.grid.lower, source.grid.upper, strict=True
        )
    )
    want = 1.0 if volume == 1 else target.mass / volume
    assert source.mass == pytest.approx(want, abs=1e-8)


@every_case
def test_the_map_pushes_source_to_target(name: str) -> None:
    """E f(T(X)) = E f(Y) for smooth f, to the second order of the midpoint rule."""
    case = CLOSED[name]()
    problem = case.problem((CELLS[case.dim],) * case.dim)
    x, y = problem.source.grid.coordinates(), problem.target.grid.coordinates()
    image = _fields(case)[1](*x)
    masses = [d.values * d.grid.cell_volume for d in (problem.source, problem.target)]
    for frequency in (0.7, 1.3, 2.1):
        for axis in range(case.dim):
            # without the map the two sides differ by over ten times as much
            pushed = (masses[0] * np.cos(frequency * image[axis])).sum()
            wanted = (masses[1] * np.cos(frequency * y[axis])).sum()
            assert pushed == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(("dim", "value"), [(2, 0.0225158186), (3, 0.0103445605)])
def test_reference_values(dim: int, value: float) -> None:
    assert cases.manufactured(dim).w2_squared == pytest.approx(value, abs=6e-11)


@every_case
def test_w2_is_the_cost_of_the_map(name: str) -> None:
    case = CLOSED[name]()
    source = case.problem((CELLS[case.dim],) * case.dim).source
    x = source.grid.coordinates()
    shift = ((_fields(case)[1](*x) - x) ** 2).sum(axis=0)
    cost = (shift * source.values).sum() * source.grid.cell_volume
    assert cost == pytest.approx(case.w2_squared, rel=5e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_exact_w2_of_cut_gaussians(dim: int) -> None:
    case = cases.affine_gaussian(dim)
    gradient = _fields(case)[1]
    offset = gradient(*np.zeros(dim))
    stretch = gradient(*np.ones(dim)) - offset
    nodes, weights = np.polynomial.legendre.leggauss(80)
    value = 0.0
    for m, s, sigma in zip(offset, stretch, (0.35, 0.45, 0.4), strict=False):
        mass = weights * np.exp(-0.5 * (nodes / sigma) ** 2)
        value += (mass * (m + (s - 1) * nodes) ** 2).sum() / mass.sum()
    assert case.w2_squared == pytest.approx(value, rel=1e-13)


def test_the_anisotropic_case_is_anisotropic() -> None:
    x = np.stack(np.meshgrid(*[np.linspace(0, 1, 129)] * 2, indexing="ij")).reshape(2, -1)
    matrices = np.moveaxis(_derivatives(_fields(cases.anisotropic())[1], x, 1e-4), (0, 1), (-2, -1))
    values = np.linalg.eigvalsh(matrices)
    assert (values[:, 1] / values[:, 0]).max() == pytest.approx(5.0, abs=0.3)
    assert values.min() == pytest.approx(0.22, abs=1e-3)


EVERY_DIMENSION = [
    cases.manufactured, cases.affine_gaussian, cases.separable, cases.poisson_kernel,
    cases.manufactured_flow, cases.gaussians, cases.bimodal, cases.ellipsoids, cases.split_ball,
    cases.contrast, cases.gaps,
]  # fmt: skip


@pytest.mark.parametrize("maker", EVERY_DIMENSION)
@pytest.mark.parametrize("dim", [0, 4])
def test_bad_dim(maker: Callable[[int], object], dim: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"dim is {dim}"):
        maker(dim)


@pytest.mark.parametrize("smallest", [0.0, 1.0, -0.5, math.nan])
def test_bad_smallest_eigenvalue(smallest: float) -> None:
    with pytest.raises(InvalidInputError, match="smallest"):
        cases.anisotropic(smallest)


def test_photographs_are_positive_densities() -> None:
    problem = cases.photographs().problem((48, 32))
    for density in (problem.source, problem.target):
        assert density.shape == (48, 32)
        assert density.values.min() > 0.02 * density.values.max()
        assert density.values.std() > 0.2
    assert not np.allclose(problem.source.values, problem.target.values, rtol=0.5)


@pytest.mark.parametrize("maker", [cases.gaussian_mixtures, cases.concentrated])
def test_benchmark_densities_have_their_floor(maker: Callable[[], Case]) -> None:
    case = maker()
    problem = case.problem((64, 64))
    low = {"gaussian-mixtures": 0.1, "concentrated": 1e-6}[case.name]
    for density in (problem.source, problem.target):
        assert density.values.min() * density.mass == pytest.approx(low, rel=0.2)
