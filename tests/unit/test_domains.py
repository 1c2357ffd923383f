"""Convex sets: support functions, nearest points, parts of cells, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

import pma_grid as pma
from pma_grid.problem.domains import stored_domain
from pma_grid.problem.domains.convex import ConvexDomain

KITE = [(0.1, 0.2), (0.9, 0.1), (0.8, 0.7), (0.3, 0.9)]


def _random_polygon(seed: int, count: int = 9) -> np.ndarray:
    points = np.random.default_rng(seed).random((count, 2))
    return np.asarray(points[ConvexHull(points).vertices])


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)))


SETS = [
    pma.Polygon(KITE),
    pma.Ellipse((0.5, 0.4), axes=(0.3, 0.1)),
    pma.Ellipse((0.5, 0.5), matrix=[[0.2, 0.3], [-0.1, 0.1]]),
    pma.ConvexSet(lambda d: d @ [0.5, 0.5] + 0.3 * np.hypot(d[:, 0], d[:, 1])),
    pma.Ellipse(0.4, axes=0.25),
]
every_set = pytest.mark.parametrize("domain", SETS, ids=lambda d: repr(d))


@every_set
def test_support_is_that_of_the_outline(domain: ConvexDomain) -> None:
    directions = np.random.default_rng(0).normal(size=(200, domain.dim))
    of_outline = (directions @ domain.outline.T).max(axis=1)
    np.testing.assert_allclose(domain.support(directions), of_outline, atol=1e-6)
    lower, upper = domain.bounds()
    np.testing.assert_allclose(lower, domain.outline.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(upper, domain.outline.max(axis=0), atol=1e-6)


@every_set
def test_nearest_points_satisfy_the_variational_inequality(domain: ConvexDomain) -> None:
    points = np.random.default_rng(1).uniform(-0.5, 1.5, (300, domain.dim))
    nearest = domain.nearest(points)
    assert domain.contains(nearest).all()
    inside = domain.contains(points)
    assert 0 < inside.sum() < 300
    np.testing.assert_array_equal(nearest[inside], points[inside])
    # <p - q, y - q> <= 0 for every y of the set characterises the projection q of p
    away = points - nearest
    products = (away @ domain.outline.T) - (away * nearest).sum(axis=1)[:, None]
    assert products.max() < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_cells_add_up_to_the_polygon(seed: int) -> None:
    ring = _random_polygon(seed)
    domain, grid = pma.Polygon(ring), pma.Grid((13, 7), (-0.1, 0.0), (1.2, 1.1))
    fractions, centroids = domain.fractions(grid), domain.centroids(grid)
    assert fractions.min() == 0.0 and fractions.max() <= 1.0
    assert fractions.sum() * grid.cell_volume == pytest.approx(_area(ring), rel=1e-12)
    # moments of the triangles from the origin
    x, y = ring, np.roll(ring, -1, axis=0)
    crosses = x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
    moment = (crosses[:, None] * (x + y)).sum(axis=0) / 6
    found = (fractions[..., None] * centroids).sum(axis=(0, 1)) * grid.cell_volume
    np.testing.assert_allclose(found, moment, rtol=1e-12)


def test_area_of_an_ellipse_is_exact() -> None:
    grid = pma.Grid((40, 30))
    disc = pma.Ellipse((0.5, 0.5), axes=0.3)
    assert disc.fractions(grid).sum() * grid.cell_volume == pytest.approx(np.pi * 0.09, rel=1e-12)


def test_outlines_of_support_functions() -> None:
    directions = np.random.default_rng(2).normal(size=(300, 2))
    for seed in range(5):
        polygon = pma.Polygon(_random_polygon(seed))
        found = pma.ConvexSet(polygon.support).outline
        np.testing.assert_allclose((directions @ found.T).max(axis=1), polygon.support(directions))
    # flat: most directions see the tips
    thin = pma.ConvexSet(lambda d: np.hypot(d[:, 0], 1e-3 * d[:, 1]))
    assert _area(thin.outline) == pytest.approx(np.pi * 1e-3, rel=1e-5)
    disc = pma.ConvexSet(lambda d: np.hypot(d[:, 0], d[:, 1]))
    assert _area(disc.outline) == pytest.approx(np.pi, rel=2e-6)


def test_interval() -> None:
    grid = pma.Grid(5)
    interval = pma.Ellipse(0.4, axes=0.3)
    np.testing.assert_allclose(interval.fractions(grid), [0.5, 1, 1, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(interval.centroids(grid)[:, 0], [0.15, 0.3, 0.5, 0.65, 0.9])


def test_averages_are_those_of_the_function_inside() -> None:
    grid, domain = pma.Grid((32, 32)), pma.Polygon(KITE)

    def linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        assert domain.contains(np.stack([x, y], axis=1)).all()
        return np.asarray(1 + 2 * x + 3 * y)

    averages = domain.averages(linear, grid)
    # the value at the centroid times the share is exact for linear functions
    parts, centroids = domain.fractions(grid), domain.centroids(grid)
    expected = parts * (1 + 2 * centroids[..., 0] + 3 * centroids[..., 1])
    np.testing.assert_allclose(averages, expected, atol=1e-12)


def test_order_and_redundant_vertices_do_not_matter() -> None:
    plain = pma.Polygon(KITE)
    padded = [KITE[0], (0.5, 0.15), KITE[1], KITE[1], *KITE[2:]]
    directions = np.random.default_rng(3).normal(size=(50, 2))
    for other in (pma.Polygon(KITE[::-1]), pma.Polygon(padded)):
        assert len(other.outline) == 4
        np.testing.assert_allclose(other.support(directions), plain.support(directions), atol=1e-15)


@every_set
def test_storing(domain: ConvexDomain) -> None:
    back = stored_domain(json.loads(json.dumps(domain.to_dict())))
    np.testing.assert_allclose(back.outline, domain.outline, atol=1e-15)


PENTAGRAM = [(np.cos(4 * np.pi * k / 5), np.sin(4 * np.pi * k / 5)) for k in range(5)]


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ([(0, 0), (1, 0)], "three corners"),
        ([(0, 0), (1, 1), (2, 2)], "three corners"),
        ([(0, 0), (1, 0), (1, 0), (0, 0)], "three corners"),
        ([(0, 0), (1, 0), (0.2, 0.2), (0, 1)], "wrong way or cross"),
        (PENTAGRAM, "wrong way or cross"),
        ([(0, 0), (1, float("nan")), (0, 1)], "finite"),
        ([(0, 0, 0), (1, 0, 0), (0, 1, 0)], "finite numbers of shape"),
        ([], "finite numbers of shape"),
        ("triangle", "finite numbers of shape"),
    ],
)
def test_polygons_refused(vertices: Any, message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.Polygon(vertices)


@pytest.mark.parametrize(
    "arguments",
    [
        {"centre": (0, 0)},
        {"centre": (0, 0), "axes": 1.0, "matrix": np.eye(2)},
        {"centre": (0, 0), "axes": 0.0},
        {"centre": (0, 0), "axes": (1.0, -1.0)},
        {"centre": (0, float("nan")), "axes": 1.0},
        {"centre": (0, 0), "matrix": [[1, 2], [2, 4]]},
        {"centre": (0, 0), "matrix": [[1, 0, 0], [0, 1, 0]]},
        {"centre": (0, 0, 0), "axes": 1.0},
    ],
)
def test_ellipses_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(pma.InvalidInputError):
        pma.Ellipse(**arguments)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda d: d[:, 0] ** 2, "not homogeneous"),
        (lambda d: -np.hypot(d[:, 0], d[:, 1]), "no convex set"),
        (lambda d: np.minimum(abs(d[:, 0]), abs(d[:, 1])), "no convex set"),
        (lambda d: d, "one number for each direction"),
        (lambda d: np.full(len(d), np.nan), "one number for each direction"),
    ],
)
def test_support_functions_refused(function: Any, message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.ConvexSet(function)


def test_a_grid_of_another_dimension_is_refused() -> None:
    with pytest.raises(pma.InvalidInputError, match="grid has 3 axes"):
        SETS[0].fractions(pma.Grid((2, 2, 2)))
