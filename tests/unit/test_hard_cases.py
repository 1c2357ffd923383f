"""The closed forms of hard cases: maps, distances and cell averages agree with one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

import pma_grid as pma
from pma_grid import cases
from pma_grid.cases import HardCase, hard
from pma_grid.cases.laws import UNIFORM, Exponential, Law, Power, Steps, squared_distance

CASES = {case.name: case for dim in (1, 2, 3) for case in cases.hard_cases(dim)}
CLOSED = {name: case for name, case in CASES.items() if case.gradient is not None}
FORWARD = sorted(name for name in CLOSED if f"{name}-reversed" in CLOSED)
every_closed = pytest.mark.parametrize("name", sorted(CLOSED))
CELLS = {1: 512, 2: 96, 3: 20}
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])
LAWS: dict[str, Law] = {
    "uniform": UNIFORM,
    "power": Power(2.0),
    "decay": Exponential(-3.0),
    "growth": Exponential(6.0),
    "gap": Steps(((0.1, 0.3), (0.5, 1.0)), (0.6, 0.4)),
    "steps": Steps(((0.0, 0.5), (0.5, 0.7)), (0.25, 0.75)),
}


def _map(case: HardCase, x: np.ndarray) -> np.ndarray:
    assert case.gradient is not None
    return np.asarray(case.gradient(*x))


def _masses(density: pma.Density) -> np.ndarray:
    return np.asarray(density.values * density.grid.cell_volume)


def away_from_tear(case: HardCase, grid: pma.Grid, cells: float = 2.0) -> np.ndarray:
    """Cells whose centre is more than ``cells`` cells away from where the map jumps."""
    if case.tear is None:
        return np.ones(grid.shape, bool)
    return np.asarray(case.tear(*grid.coordinates()) > cells * max(grid.spacing))


def _points(case: HardCase, count: int = 300) -> np.ndarray:
    """Points of the source's law, (d, count), away from cut cells and tears."""
    source = case.problem((CELLS[case.dim],) * case.dim).source
    x = source.sample(4 * count, seed=11).T
    shares = np.sort(source.values[source.values > 0])
    inside = source.values > 0.5 * shares[shares.size // 4]
    smooth = inside & away_from_tear(case, source.grid)
    index = source.grid.cell_index(x.T)
    kept = smooth[tuple(index.T)] if index.ndim == 2 else smooth.ravel()[index]
    return np.asarray(x[:, kept][:, :count])


@every_closed
def test_the_map_pushes_source_to_target(name: str) -> None:
    """E f(T(X)) = E f(Y) on cell centres, where the map is no steeper than the cells are wide."""
    case = CLOSED[name]
    n = 2 * CELLS[case.dim]
    problem = case.problem((n,) * case.dim)
    x, y = problem.source.grid.coordinates(), problem.target.grid.coordinates()
    image = _map(case, x)
    for frequency in (0.7, 2.1, 4.0):
        for axis in range(case.dim):
            pushed = (_masses(problem.source) * np.cos(frequency * image[axis])).sum()
            wanted = (_masses(problem.target) * np.cos(frequency * y[axis])).sum()
            unmoved = (_masses(problem.source) * np.cos(frequency * x[axis])).sum()
            # a cell at a tear or an edge may be half wrong; no map at all is far off
            assert abs(pushed - wanted) < 3e-3 + 0.05 * abs(unmoved - wanted), (frequency, axis)


@every_closed
def test_w2_is_the_cost_of_the_map(name: str) -> None:
    """By the centres of fine cells, whose error falls slowly where a map has an unbounded slope."""
    case = CLOSED[name]
    assert case.w2_squared is not None
    errors = []
    for n in {1: (1024, 2048), 2: (128, 256), 3: (32, 64)}[case.dim]:
        source = case.problem((n,) * case.dim).source
        x = source.grid.coordinates()
        cost = (((_map(case, x) - x) ** 2).sum(axis=0) * _masses(source)).sum()
        errors.append(abs(cost / case.w2_squared - 1))
    assert errors[1] < 3e-3 or (errors[1] < 8e-3 and errors[1] < 0.6 * errors[0])


@pytest.mark.parametrize("name", sorted(name for name in CASES if CASES[name].dim == 1))
def test_w2_of_one_dimension_by_the_quantiles_of_cells(name: str) -> None:
    """Knows nothing but the cell averages; the rest is their own second-order error."""
    case, n = CASES[name], 4096
    problem = case.problem((n,))
    below = [np.append(0, np.cumsum(_masses(d))) for d in (problem.source, problem.target)]
    below = [np.minimum(line / line[-1], 1.0) for line in below]
    p = np.union1d(*below)
    faces = np.linspace(0, 1, n + 1)
    # at a gap the quantile jumps: take either side's limit on the interval between two p
    middle = 0.5 * (p[1:] + p[:-1])
    cells = [np.searchsorted(line, middle) - 1 for line in below]
    ends = []
    for q in (p[:-1], p[1:]):
        shares = [
            (q - line[k]) / (line[k + 1] - line[k]) for line, k in zip(below, cells, strict=True)
        ]
        images = [faces[k] + share / n for k, share in zip(cells, shares, strict=True)]
        ends.append(images[0] - images[1])
    value = (np.diff(p) * (ends[0] ** 2 + ends[0] * ends[1] + ends[1] ** 2) / 3).sum()
    assert value == pytest.approx(case.w2_squared, abs=5 / n**2)


@every_closed
def test_maps_are_monotone(name: str) -> None:
    case = CLOSED[name]
    x = _points(case)
    images = _map(case, x)
    other = np.random.default_rng(5).permutation(x.shape[1])
    product = ((images - images[:, other]) * (x - x[:, other])).sum(axis=0)
    assert product.min() > -1e-12


@pytest.mark.parametrize("name", FORWARD)
def test_the_reverse_is_the_inverse(name: str) -> None:
    case, back = CLOSED[name], CLOSED[f"{name}-reversed"]
    assert back.w2_squared == pytest.approx(case.w2_squared, rel=1e-12)
    x = _points(case)
    assert x.shape[1] > 100
    np.testing.assert_allclose(_map(back, _map(case, x)), x, atol=1e-9)
    shape = (CELLS[case.dim],) * case.dim
    np.testing.assert_array_equal(
        case.problem(shape).source.values, back.problem(shape).target.values
    )


@pytest.mark.parametrize("name", sorted(n for n, case in CLOSED.items() if case.potential))
def test_gradients_are_the_derivatives_of_potentials(name: str) -> None:
    case = CLOSED[name]
    assert case.potential is not None
    x, step = _points(case, 50), 1e-5
    for axis in range(case.dim):
        shift = np.zeros((case.dim, 1))
        shift[axis] = step
        slope = (case.potential(*(x + shift)) - case.potential(*(x - shift))) / (2 * step)
        np.testing.assert_allclose(slope, _map(case, x)[axis], atol=1e-9)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_multiscale_dual_of_the_atoms(name: str) -> None:
    """No formula of ours: a bound of the atoms, which differ from cells by second moments.

    Those are some tenths of h^2 an axis; less only where a cell's density is far from constant.
    """
    case = CASES[name]
    assert case.w2_squared is not None
    n = CELLS[case.dim] if case.dim > 1 else 128
    transport = pma.sinkhorn(case.problem((n,) * case.dim), method="multiscale")
    cells = (transport.stats["hard_dual"] - case.w2_squared) * n**2
    assert -3 < cells < 0.4 * case.dim


@pytest.mark.parametrize("name", sorted(CASES))
def test_problems_on_uneven_grids(name: str) -> None:
    case = CASES[name]
    problem = case.problem((17, 12, 9)[: case.dim])
    for density in (problem.source, problem.target):
        assert density.values.min() >= 0
        assert density.values.sum() * density.grid.cell_volume == pytest.approx(1, rel=1e-12)


def test_exact_zeros_and_contrast_are_there() -> None:
    for name in ("ellipsoids-2d", "moved-ball-3d", "split-ball-2d", "ball-to-shell-2d-reversed"):
        values = CASES[name].problem((32,) * CASES[name].dim).source.values
        assert (values == 0).mean() > 0.4, name
    values = CASES["contrast-2d"].problem((256, 256)).source.values
    assert 5e5 < values.max() / values.min() < 1e6
    values = CASES["gaps-3d"].problem((40, 8, 8)).target.values
    assert (values == 0).any(axis=(1, 2)).sum() >= 15  # 16 and rounding
    vanishing = CASES["vanishing-2d"].problem((64, 64)).source.values
    assert vanishing[:, 0].max() < 1e-3
    assert vanishing.min() > 0


def test_tears() -> None:
    grid = pma.Grid((64, 64))
    near = ~away_from_tear(CASES["split-ball-2d"], grid)
    assert near.any(axis=0).sum() == 4
    assert near[:, 30:34].all()
    assert (~away_from_tear(CASES["corners-2d"], grid)).sum() == 2 * 4 * 64 - 16
    assert (~away_from_tear(CASES["ball-to-shell-2d"], grid)).sum() == 12
    line = ~away_from_tear(CASES["gaps-1d"], pma.Grid(100), 1)
    # the masses .3 and .75 below exp(x): x = log(1 + p (e - 1))
    places = [math.log1p(p * math.expm1(1)) for p in (0.3, 0.75)]
    assert line.sum() == 4
    assert all(line[int(100 * place)] for place in places)
    assert CASES["corners-2d-reversed"].tear is None


# ---- averages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_volumes_of_ellipsoids(dim: int) -> None:
    grid = pma.Grid((24,) * dim, (-1.0,) * dim, (1.0,) * dim)
    semi = np.array((0.8, 0.45, 0.6))[:dim]
    want = {1: 2.0, 2: math.pi, 3: 4 / 3 * math.pi}[dim] * semi.prod()
    inside = hard.ellipsoid(grid, np.zeros(dim), np.diag(semi**2))
    assert inside.sum() * grid.cell_volume == pytest.approx(want, rel=2e-4)
    half = hard.ellipsoid(grid, np.zeros(dim), np.diag(semi**2), (-np.inf, 0.0))
    assert half.sum() * grid.cell_volume == pytest.approx(want / 2, rel=2e-4)
    assert inside.max() <= 1 + 1e-12


def test_averages_against_points() -> None:
    grid = pma.Grid((20, 20))
    matrix = TURN @ np.diag([0.16, 0.04]) @ TURN.T
    centre = np.array((0.5, 0.47))
    inside = hard.ellipsoid(grid, centre, matrix)
    fine = pma.Grid((20 * 64, 20 * 64))
    away = fine.coordinates() - centre[:, None, None]
    hit = np.einsum("i...,ij,j...->...", away, np.linalg.inv(matrix), away) <= 1
    sampled = hit.reshape(20, 64, 20, 64).mean(axis=(1, 3))
    np.testing.assert_allclose(inside, sampled, atol=5e-3)


# ---- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_quantiles_invert_distribution_functions(law: Law) -> None:
    p = np.linspace(0.001, 0.999, 333)
    np.testing.assert_allclose(law.below(law.quantile(p)), p, atol=1e-12)
    np.testing.assert_allclose(law.below(np.array((0.0, 1.0))), (0, 1), atol=1e-14)


@pytest.mark.parametrize("first", LAWS)
@pytest.mark.parametrize("second", LAWS)
def test_squared_distances_against_quad(first: str, second: str) -> None:
    mu, nu = LAWS[first], LAWS[second]

    def gap(p: float) -> float:
        q = np.array(p)
        return float((mu.quantile(q) - nu.quantile(q)) ** 2)

    kinks = sorted({*mu.kinks(), *nu.kinks()}) or None
    want = integrate.quad(gap, 0, 1, points=kinks, limit=500, epsabs=1e-13)[0]
    assert squared_distance(mu, nu) == pytest.approx(want, rel=1e-8, abs=1e-12)
