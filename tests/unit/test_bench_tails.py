"""The closed forms of the bench on light tails: right before anything is held to them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

SIZES = {1: 64, 2: 24, 3: 10}
# Each kind of truth once in each dimension where it exists; the others differ in numbers alone.
NAMES = ("g_mild", "t4_8", "laplace", "logi2gauss", "spots_h", "one2spots", "g_rot", "man_mix")
OMITTED = ((1, "g_rot"), (3, "man_mix"))  # not there; many Gauss points
CASES = [(dim, name) for dim in (1, 2, 3) for name in NAMES if (dim, name) not in OMITTED]


def _given(bench: Any, dim: int, name: str, n: int | None = None) -> Any:
    return bench("light_tails").families(dim)[name].build(n or SIZES[dim])


def _mean_of_nu(bench: Any, law: Any) -> float:
    """E y by fine quadrature, independent of any map; panels end at the kinks."""
    ends = {law.lower, law.upper, *(centre for _, centre, _ in law.parts)}
    total, nodes = 0.0, np.polynomial.legendre.leggauss(200)
    for low, high in zip(sorted(ends)[:-1], sorted(ends)[1:], strict=True):
        y = low + (high - low) * (0.5 + 0.5 * nodes[0])
        total += float((law.density(y) * y * nodes[1]).sum()) * (high - low) / 2
    return total


@pytest.mark.parametrize(("dim", "name"), CASES)
def test_maps_are_monotone_and_their_means_lie_within_the_box(
    bench: Any, dim: int, name: str
) -> None:
    given = _given(bench, dim, name)
    target = given.problem.target.grid
    for axis in range(dim):
        assert (np.diff(given.centres[axis], axis=axis) > -1e-12).all()
        assert (np.diff(given.means[axis], axis=axis) > -1e-12).all()
        if not name.startswith("g_"):  # Gaussians are cut to a box that is not mapped to itself
            assert (given.means[axis] >= target.lower[axis]).all()
            assert (given.means[axis] <= target.upper[axis]).all()


@pytest.mark.parametrize("name", ["g_mild", "t4_8", "laplace", "logi2gauss", "spots_h"])
def test_means_over_cells_have_the_mean_of_the_target(bench: Any, name: str) -> None:
    """sum_cells mu(cell) <T> = E y: the push-forward of the first moment, exactly."""
    given = _given(bench, 2, name)
    mass = given.problem.source.values * given.problem.source.grid.cell_volume
    laws = bench("light_tails").PRODUCTS[name][1]
    for axis in range(2):
        mine = float((mass * given.means[axis]).sum())
        # panels of images may straddle the kink of a Laplace law
        near = 1e-5 if name == "laplace" else 1e-9
        assert mine == pytest.approx(_mean_of_nu(bench, laws[axis][1]), abs=near)


@pytest.mark.parametrize("name", ["t4_8", "laplace", "logistic", "spots_h", "one2spots"])
def test_monotone_maps_push_mass_forward(bench: Any, name: str) -> None:
    """nu below T(x) is mu below x, at points of the whole interval."""
    tail_laws = bench("tail_laws")
    mu, nu = bench("light_tails").PRODUCTS[name][1][0]
    x = np.linspace(mu.lower, mu.upper, 203)[1:-1]
    image = tail_laws.monotone(mu, nu, x)
    for ends in ("lower", "upper"):
        below = mu.mass(*sorted_ends(np.full_like(x, getattr(mu, ends)), x))
        again = nu.mass(*sorted_ends(np.full_like(x, getattr(nu, ends)), image))
        half = below <= 0.5  # relative to the mass of the nearer tail
        np.testing.assert_allclose(again[half], below[half], rtol=1e-9)


def sorted_ends(a: Any, b: Any) -> tuple[Any, Any]:
    """Both ends of intervals, the lower first."""
    return np.minimum(a, b), np.maximum(a, b)


@pytest.mark.parametrize("name", ["t4", "logistic", "laplace", "spots_m"])
def test_masses_of_intervals_are_integrals_of_the_density(bench: Any, name: str) -> None:
    mu, _ = bench("light_tails").PRODUCTS[name][1][1]
    nodes, weights = np.polynomial.legendre.leggauss(12)
    faces = np.linspace(mu.lower, mu.upper, 601)
    x = faces[:-1, None] + np.diff(faces)[:, None] * (0.5 + 0.5 * nodes)
    integrals = (mu.density(x) * weights).sum(axis=1) * np.diff(faces) / 2
    np.testing.assert_allclose(mu.mass(faces[:-1], faces[1:]), integrals, rtol=1e-8)
    assert integrals.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_w2_of_cut_gaussians_is_that_of_whole_ones(bench: Any, dim: int) -> None:
    """Six sigma and more lie within the boxes: Bures' distance up to 1e-7."""
    laws = bench("light_tails").MILD[:dim]
    parts = [(mu.parts[0][1:], nu.parts[0][1:]) for mu, nu in laws]
    square = sum((a - b) ** 2 + (s - t) ** 2 for (a, s), (b, t) in parts)
    assert _given(bench, dim, "g_mild").w2 == pytest.approx(math.sqrt(square), rel=1e-7)


def test_map_of_rotated_gaussians_carries_the_covariance(bench: Any) -> None:
    """M A M = B, M symmetric; and W2^2 = E |T - x|^2 by quadrature."""
    light = bench("light_tails")
    a, A = np.zeros(3), light.covariance((0.4, 0.2, 0.3), 30.0)
    b, B = np.array([0.2, -0.1, 0.1]), light.covariance((0.3, 0.25, 0.2), -40.0)
    M, w2 = light.bures(a, A, b, B)
    np.testing.assert_allclose(M @ A @ M, B, atol=1e-14)
    np.testing.assert_allclose(M, M.T, atol=1e-14)
    cost = np.trace((M - np.eye(3)) @ A @ (M - np.eye(3)).T) + (b - a) @ (b - a)
    assert w2 == pytest.approx(math.sqrt(cost), rel=1e-12)


@pytest.mark.parametrize("name", ["g_rot", "g_rotx"])
def test_w2_of_rotated_gaussians_is_the_cost_of_their_cells(bench: Any, name: str) -> None:
    """Sheppard: grouping in cells adds h^2/12 to every variance, here those of (M - 1) x."""
    light = bench("light_tails")
    given = _given(bench, 2, name, 96)
    grid, mass = given.problem.source.grid, given.problem.source.values
    (a, A), (b, B) = (law.cut(2) for law in light.AFFINE[name][2])
    M, _ = light.bures(a, A, b, B)
    cost = (mass * ((given.centres - grid.coordinates()) ** 2).sum(axis=0)).sum()
    cost = cost * grid.cell_volume - grid.spacing[0] ** 2 / 12 * ((M - np.eye(2)) ** 2).sum()
    assert math.sqrt(cost) == pytest.approx(given.w2, rel=1e-6)


@pytest.mark.parametrize(
    ("dim", "name"),
    [(3, "man_g"), *((d, name) for d in (1, 2) for name in ("man_mix", "man_kde", "man_dark"))],
)
def test_manufactured_sources_have_mass_one(bench: Any, dim: int, name: str) -> None:
    """Box onto box: int nu(grad u) det D2u = 1, before the source is normalised."""
    given = _given(bench, dim, name, {1: 64, 2: 32, 3: 12}[dim])
    assert given.problem.source.mass == pytest.approx(1, abs=2e-4)
    assert given.problem.target.mass == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_manufactured_means_have_the_mean_of_the_kernels(bench: Any, dim: int) -> None:
    given = _given(bench, dim, "man_mix", 64)
    _, _, nu = next(t for t in bench("manufactured_tails").targets(dim) if t[0] == "man_mix")
    mass = given.problem.source.values * given.problem.source.grid.cell_volume
    mine = [float((mass * means).sum()) for means in given.means]
    np.testing.assert_allclose(mine, nu.weights @ nu.centres, atol=1e-7)


def test_w2_along_the_graph_does_not_mind_tears(bench: Any) -> None:
    """Uniform to Steps-like ends: the reversed problem has the same value to the last digits."""
    tail_laws = bench("tail_laws")
    mu, nu = bench("light_tails").ONE_TO_SPOTS[0]
    there, back = tail_laws.squared_distance(mu, nu), tail_laws.squared_distance(nu, mu)
    assert there == pytest.approx(back, rel=1e-12)
    p = (np.arange(20000) + 0.5) / 20000  # midpoints in the share of mass: first order at a tear
    gap = tail_laws.quantile(mu, p, 1 - p) - tail_laws.quantile(nu, p, 1 - p)
    assert there == pytest.approx(float((gap**2).mean()), rel=1e-4)


def test_contrast_agrees_with_the_case_of_the_package(bench: Any) -> None:
    given = bench("single_tails").contrast(2).build(16)
    case = pma.cases.contrast(2)
    problem = case.problem((16, 16))
    np.testing.assert_allclose(given.problem.source.values, problem.source.values, rtol=1e-9)
    assert given.w2**2 == pytest.approx(case.w2_squared, rel=1e-9)
    assert case.gradient is not None
    exact = case.gradient(*problem.source.grid.coordinates())
    np.testing.assert_allclose(given.centres, exact, atol=1e-12)


def test_means_of_a_long_image_are_barycentres(bench: Any) -> None:
    """Uniform onto a density that is nearly two points: the cell over the gap has its mean."""
    tail_laws = bench("tail_laws")
    flat = tail_laws.Exponential()
    two = tail_laws.Mixture(0.0, 1.0, ((0.5, 0.2, 0.01), (0.5, 0.8, 0.01)))
    means = tail_laws.cell_means(flat, two, 5)
    assert means[2] == pytest.approx(0.5, abs=1e-9)
    assert means[1] < 0.22 and means[3] > 0.78


@pytest.mark.parametrize("name", ["uniform-banana", "banana-uniform", "uniform-cat"])
def test_stored_maps_push_the_mean_forward(bench: Any, name: str) -> None:
    """To half of the percent that maps are held to; the inverse is steep over the dark."""
    for n in (64, 128):
        given = bench("single_tails").singles()[name].build(n)
        mass = given.problem.source.values * given.problem.source.grid.cell_volume
        mean = (mass * given.means).sum(axis=(1, 2))
        np.testing.assert_allclose(mean, given.problem.target.mean(), atol=5e-3 * given.w2)


def test_misses_and_stars(bench: Any) -> None:
    tails = bench("tails")
    row = {
        "case": "g", "kind": "gauss", "dim": 2, "n": 128, "status": "converged",
        "map": 2e-4, "means": None, "w2": -1e-7, "ratio": 1.0,
    }  # fmt: skip
    row["misses"] = tails.misses(row)
    assert row["misses"] == ["map"]
    assert tails.starred(row)["map"] == "2.0e-04*"
    assert tails.misses(row | {"map": 1e-4}) == []
    assert tails.misses(row | {"n": 256, "order": 1.0}) == ["order"]
    assert tails.misses(row | {"n": 256, "order": 1.0, "map": 9e-6}) == []
    assert tails.misses(row | {"kind": "gaps", "means": 1e-3, "w2": 1e-3}) == ["w2"]
    assert tails.misses(row | {"status": "entropic", "map": None}) == ["status", "map"]
