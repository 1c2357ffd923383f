"""Draws through transports: closed-form maps and densities, plans, bad input."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, norm

import pma_grid as pma
from pma_grid.cases import checkerboard, eight_gaussians, gaussian_mixture
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.sampling.sampler import Sampler


def _shares(points: np.ndarray, grid: pma.Grid) -> np.ndarray:
    masses: np.ndarray = pma.Samples(points, grid=grid).masses()
    return masses


def _chi_square(points: np.ndarray, density: pma.Density, least: float = 10.0) -> float:
    """p-value of points against a density's cells; cells that expect few are taken together."""
    expected = density.values.ravel() * density.grid.cell_volume * len(points)
    counts = _shares(points, density.grid).ravel() * len(points)
    many = expected >= least
    pairs = [(counts[many], expected[many])]
    if expected[~many].sum() > least:
        pairs.append((counts[~many].sum(keepdims=True), expected[~many].sum(keepdims=True)))
    statistic = sum(float(((c - e) ** 2 / e).sum()) for c, e in pairs)
    return float(chi2.sf(statistic, sum(c.size for c, _ in pairs) - 1))


def _wavy(n: int) -> tuple[Sampler, np.ndarray]:
    """T = x + sin(2 pi x) / 4 pi, not of the source: rho = T' where nu is uniform."""
    grid = pma.Grid(n)
    x = grid.axes[0]
    problem = pma.Problem(pma.Density(2.0 - x, grid), pma.Density(np.ones(n), grid))
    u = x**2 / 2 - np.cos(2 * np.pi * x) / (8 * np.pi**2)
    return Sampler(pma.Transport.from_potential(problem, u)), 1 + 0.5 * np.cos(2 * np.pi * x)


@pytest.fixture(scope="module")
def ring() -> Sampler:
    case = eight_gaussians()
    law = case.density(case.grid(64))
    return Sampler(pma.solve(pma.Problem(law, np.ones(law.shape))))


@pytest.fixture(scope="module")
def board() -> Sampler:
    """The checkerboard has exact zeros, and its map tears."""
    law = checkerboard().density(checkerboard().grid(32))
    transport = pma.sinkhorn(pma.Problem(law, np.ones(law.shape)), method="multiscale")
    return Sampler(transport)


def test_decode_is_the_quantile_function_in_one_dimension() -> None:
    n = 256
    law = pma.Density.from_function(lambda x: 0.5 + x, pma.Grid(n))
    sampler = Sampler(pma.solve(pma.Problem(law, np.ones(n))))
    y = np.linspace(0.01, 0.99, 50)
    quantile = np.sqrt(0.25 + 2 * y) - 0.5  # of the cdf (x + x^2) / 2
    np.testing.assert_allclose(sampler.decode(y[:, None])[:, 0], quantile, atol=2 / n**2)
    np.testing.assert_allclose(sampler.encode(sampler.decode(y[:, None]))[:, 0], y, atol=1e-9)


def test_density_of_any_convex_potential_is_that_of_the_change_of_variables() -> None:
    errors = []
    for n in (32, 64, 128):
        sampler, exact = _wavy(n)
        errors.append(np.abs(sampler.density.values - exact).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert errors[-1] < 1e-3
    np.testing.assert_allclose(orders, 2, atol=0.15)


def test_likelihoods_are_those_of_the_density_and_integrate_to_one() -> None:
    sampler, _ = _wavy(128)
    x = np.linspace(0.0, 1.0, 4001)
    logs = sampler.log_density(x[:, None])
    np.testing.assert_allclose(logs, np.log(1 + 0.5 * np.cos(2 * np.pi * x)), atol=2e-3)
    assert abs(np.trapezoid(np.exp(logs), x) - 1) < 1e-6
    assert np.isneginf(sampler.log_density([[-0.1], [1.1]])).all()


def test_samples_have_the_density_that_is_stated() -> None:
    case = gaussian_mixture(2)  # cells of a sixth of a standard deviation
    law = case.density(case.grid(96))
    sampler = Sampler(pma.solve(pma.Problem(law, np.ones(law.shape))))
    points = sampler.sample(200_000, seed=3)
    assert _chi_square(points, sampler.density) > 1e-3
    moved = points + np.array([law.grid.spacing[0] / 2, 0.0])
    assert _chi_square(moved[law.grid.contains(moved)], sampler.density) < 1e-6


def test_next_to_nothing_falls_between_modes(ring: Sampler) -> None:
    source = ring.transport.problem.source
    gap = source.values < 1e-2 / source.grid.volume
    assert gap.mean() > 0.6
    drawn = _shares(ring.sample(200_000, seed=5), source.grid)
    assert drawn[gap].sum() < 1e-3  # of the law 3.6e-4, and the floor of 1e-4


def test_same_seed_same_samples(ring: Sampler) -> None:
    first = ring.sample(100, seed=7)
    np.testing.assert_array_equal(first, ring.sample(100, seed=7))
    np.testing.assert_array_equal(first, ring.sample(100, seed=np.random.default_rng(7)))
    assert not np.array_equal(first, ring.sample(100, seed=8))
    y, x = ring.pairs(100, seed=7)
    np.testing.assert_array_equal(x, first)
    np.testing.assert_array_equal(x, ring.decode(y))
    np.testing.assert_allclose(ring.encode(x), y, atol=1e-6)
    assert ring.sample(0, seed=7).shape == (0, 2)


def test_pairs_of_a_plan_leave_gaps_empty(board: Sampler) -> None:
    source = board.transport.problem.source
    assert board.density is source
    y, x = board.pairs(100_000, seed=2)
    assert (_shares(x, source.grid)[source.values == 0] == 0).all()
    assert _chi_square(x, source) > 1e-3
    # E[x | y] over quarters of the base
    across = board.decode(y)
    for inside in ((y > 0.5).all(axis=1), (y < 0.5).all(axis=1)):
        error = np.abs(x[inside].mean(axis=0) - across[inside].mean(axis=0))
        assert (error < 5 * x[inside].std(axis=0) / np.sqrt(inside.sum())).all()


def test_pairs_of_a_plan_cost_what_it_costs(board: Sampler) -> None:
    y, x = board.pairs(100_000, seed=4)
    squares = ((x - y) ** 2).sum(axis=1)
    cell = sum(h**2 for h in board.density.grid.spacing)
    # both points are uniform in their cells, one apart from the other: h^2 / 6 an axis more
    expected = board.transport.stats["transport_cost"] + cell / 6
    assert abs(squares.mean() - expected) < 5 * squares.std() / np.sqrt(len(y))


def test_a_column_that_the_plan_lost_is_decoded(board: Sampler) -> None:
    transport = board.transport
    assert isinstance(transport, EntropicTransport) and transport.plan is not None
    plan = transport.plan.tolil(copy=True)
    plan[:, 0] = 0
    arrays, meta = transport.storable()
    lost = EntropicTransport.from_stored(arrays, meta)
    lost.plan = plan.tocsr()
    y, x = Sampler(lost).pairs(20_000, seed=1)
    first = (lost.problem.target.grid.cell_index(y) == 0).all(axis=1)
    assert first.any()
    np.testing.assert_array_equal(x[first], board.decode(y[first]))


def test_dense_plans_are_drawn_by_their_conditional_mean() -> None:
    law = pma.Density(np.exp(-(np.linspace(-2, 2, 32) ** 2)), pma.Grid(32))
    sampler = Sampler(pma.sinkhorn(pma.Problem(law, np.ones(32)), eps=1e-2, method="dense"))
    y, x = sampler.pairs(50, seed=0)
    np.testing.assert_array_equal(x, sampler.decode(y))
    assert sampler.density is sampler.transport.problem.source


def test_conditional_of_a_gaussian() -> None:
    rho, s = 0.6, 0.12
    grid = pma.Grid((96, 96))

    def log_law(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        a, b = (x - 0.5) / s, (y - 0.5) / s
        return np.asarray(-(a * a - 2 * rho * a * b + b * b) / (2 * (1 - rho**2)))

    law = pma.Density.from_log(log_law, grid, quadrature=4)
    sampler = Sampler(pma.solve(pma.Problem(law, np.ones(grid.shape))))
    conditional = sampler.conditional({1: 0.6})
    assert conditional.shape == (96,)
    mean, spread = 0.5 + rho * 0.1, s * np.sqrt(1 - rho**2)
    assert abs(conditional.mean()[0] - mean) < 1e-3
    variance = conditional.second_moment(about=conditional.mean())
    assert abs(np.sqrt(variance) - spread) < 1e-3
    centres = conditional.grid.axes[0]
    np.testing.assert_allclose(conditional.values, norm.pdf(centres, mean, spread), atol=0.03)


def test_conditional_keeps_the_axes_that_are_not_given() -> None:
    grid = pma.Grid((8, 12, 10), (0.0, -1.0, 2.0), (1.0, 1.0, 4.0))
    law = pma.Density.from_function(lambda x, y, z: np.exp(x + y * z), grid)
    sampler = Sampler(pma.solve(pma.Problem(law, np.ones(grid.shape))))
    plane = sampler.conditional({1: 0.3})
    assert plane.grid == pma.Grid((8, 10), (0.0, 2.0), (1.0, 4.0))
    line = sampler.conditional({0: 0.1, 2: 3.0})  # exp(3 y): mean coth(3) - 1/3
    assert line.grid == pma.Grid(12, -1.0, 1.0)
    assert abs(line.mean()[0] - (1 / np.tanh(3) - 1 / 3)) < 0.02


@pytest.mark.parametrize("given", [{}, {0: 0.1, 1: 0.1}, {2: 0.1}, {-1: 0.1}])
def test_conditional_refuses_what_leaves_no_law(ring: Sampler, given: dict[int, float]) -> None:
    with pytest.raises(pma.InvalidInputError, match="given is"):
        ring.conditional(given)


@pytest.mark.parametrize("value", [9.0, float("nan")])
def test_conditional_refuses_values_off_the_box(ring: Sampler, value: float) -> None:
    with pytest.raises(pma.InvalidInputError, match="given has"):
        ring.conditional({0: value})


@pytest.mark.parametrize("n", [-1, 1.5, True, "3", None])
def test_counts_are_checked(ring: Sampler, n: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="n is"):
        ring.sample(n, seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "x", None])
def test_seeds_are_checked(ring: Sampler, seed: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="seed is"):
        ring.sample(3, seed=seed)


def test_a_potential_that_is_not_convex_has_no_density() -> None:
    x = pma.Grid(32).axes[0]
    problem = pma.Problem(np.ones(32), np.ones(32))
    bent = Sampler(pma.Transport.from_potential(problem, x**2 / 2 + 0.1 * np.cos(12 * x)))
    with pytest.raises(pma.InvalidInputError, match="not convex at"):
        _ = bent.density


def test_only_transports_are_drawn_through() -> None:
    with pytest.raises(pma.InvalidInputError, match="must be a Transport"):
        Sampler(np.ones(3))  # type: ignore[arg-type]
