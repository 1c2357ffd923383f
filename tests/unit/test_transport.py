"""Transport: the map and its inverse, distance, interpolation, sampling, files; conjugates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.grid.legendre import legendre

SHAPES = {1: (40,), 2: (20, 26), 3: (14, 15, 16)}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])


def _density(shape: tuple[int, ...], seed: int, lower: float, side: float) -> pma.Density:
    """A smooth positive density of a few cosine modes."""
    rng = np.random.default_rng(seed)
    dim = len(shape)
    grid = pma.Grid(shape, (lower,) * dim, (lower + side,) * dim)
    log = np.zeros(shape)
    for x in grid.coordinates():
        s = (x - lower) / side
        log += 0.4 * rng.normal() * np.cos(np.pi * s) + 0.2 * rng.normal() * np.cos(2 * np.pi * s)
    return pma.Density(np.exp(log), grid)


@pytest.fixture(scope="module")
def solved() -> dict[int, pma.Transport]:
    """One transport for each dimension, between boxes that differ in place, size and shape."""
    return {
        dim: pma.solve(
            pma.Problem(
                _density(shape, 3, 0.0, 1.0),
                _density(tuple(n + 4 for n in shape), 8, -1.0, 2.0),
            )
        )
        for dim, shape in SHAPES.items()
    }


@DIMS
def test_map_at_centres_is_the_gradient(solved: dict[int, pma.Transport], dim: int) -> None:
    ot = solved[dim]
    centres = ot.problem.source.grid.coordinates()
    mapped = ot.map(centres.reshape(dim, -1).T)
    np.testing.assert_allclose(mapped.T.reshape(centres.shape), ot.gradient, atol=1e-12)
    np.testing.assert_allclose(ot.displacement, ot.gradient - centres, atol=0)


@DIMS
def test_gradient_is_the_centred_difference(solved: dict[int, pma.Transport], dim: int) -> None:
    ot = solved[dim]
    inner = (slice(1, -1),) * dim
    for axis, h in enumerate(ot.problem.source.grid.spacing):
        expected = np.gradient(ot.potential, h, axis=axis)[inner]
        np.testing.assert_allclose(ot.gradient[axis][inner], expected, atol=1e-11)


@DIMS
def test_faces_are_mapped_to_faces(solved: dict[int, pma.Transport], dim: int) -> None:
    ot = solved[dim]
    points = np.random.default_rng(0).random((50, dim))
    for axis in range(dim):
        for side, image in ((0.0, -1.0), (1.0, 1.0)):
            points[:, axis] = side
            np.testing.assert_allclose(ot.map(points)[:, axis], image, atol=1e-12)
            points[:, axis] = 0.4


@DIMS
def test_inverse_undoes_the_map(solved: dict[int, pma.Transport], dim: int) -> None:
    ot = solved[dim]
    x = np.random.default_rng(1).random((300, dim))
    np.testing.assert_allclose(ot.inverse(ot.map(x)), x, atol=1e-7)
    y = 2 * np.random.default_rng(2).random((300, dim)) - 1
    np.testing.assert_allclose(ot.map(ot.inverse(y)), y, atol=1e-7)


@DIMS
def test_map_pushes_source_moments_to_the_target(
    solved: dict[int, pma.Transport], dim: int
) -> None:
    ot = solved[dim]
    source = ot.problem.source
    masses = source.values * source.grid.cell_volume
    means = np.array([(masses * g).sum() for g in ot.gradient])
    np.testing.assert_allclose(means, ot.problem.target.mean(), atol=4e-3)
    # the identity would miss by far
    assert np.abs(source.mean() - ot.problem.target.mean()).max() > 0.1


@DIMS
def test_hessian_is_positive_and_satisfies_the_equation(
    solved: dict[int, pma.Transport], dim: int
) -> None:
    ot = solved[dim]
    hessian = np.moveaxis(ot.hessian, (0, 1), (-2, -1))
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, -1, -2), atol=1e-10)
    assert np.linalg.eigvalsh(hessian).min() > 0
    np.testing.assert_allclose(ot.residual, ot.stats["mass_constant"], atol=1e-3)


@pytest.mark.parametrize("method", ["map", "inverse"])
@DIMS
def test_first_point_outside_is_named(
    solved: dict[int, pma.Transport], dim: int, method: str
) -> None:
    ot = solved[dim]
    points = np.full((5, dim), 0.5)
    points[3, 0], points[4, 0] = 1.75, 9.25
    with pytest.raises(pma.InvalidInputError, match=r"1\.75") as caught:
        getattr(ot, method)(points)
    assert "9.25" not in str(caught.value) and "3" in str(caught.value)


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.array([[np.nan, 0.5]]), np.zeros(3)])
def test_points_of_the_wrong_kind_are_refused(
    solved: dict[int, pma.Transport], points: np.ndarray
) -> None:
    with pytest.raises(pma.InvalidInputError):
        solved[2].map(points)


@DIMS
def test_file_gives_everything_back(
    solved: dict[int, pma.Transport], dim: int, tmp_path: Path
) -> None:
    ot = solved[dim]
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    np.testing.assert_array_equal(again.potential, ot.potential)
    np.testing.assert_allclose(again.hessian, ot.hessian, atol=1e-10)
    assert again.status is ot.status is pma.Status.CONVERGED
    # JSON has no tuples
    assert json.dumps(again.stats.to_dict()) == json.dumps(ot.stats.to_dict())
    for mine, other in (
        (again.problem.source, ot.problem.source),
        (again.problem.target, ot.problem.target),
    ):
        np.testing.assert_allclose(mine.values, other.values, rtol=1e-14)
        assert mine.grid == other.grid and mine.floor == other.floor
    assert again.w2 == pytest.approx(ot.w2, rel=1e-12)


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("other.npz", "missing.npz"):
        with pytest.raises(pma.InvalidInputError):
            pma.load(tmp_path / name)


PLAIN = pma.Problem(np.ones((6, 5)), np.ones((6, 5)))


def test_any_finite_potential_can_be_wrapped() -> None:
    rough = np.random.default_rng(0).normal(size=(6, 5))
    given = rough.copy()
    ot = pma.Transport.from_potential(PLAIN, rough)
    np.testing.assert_array_equal(ot.potential, given)
    rough[:] = 0
    np.testing.assert_array_equal(ot.potential, given)
    assert ot.status is pma.Status.NOT_SOLVED and not ot.converged
    # not convex: the residual says where, the rest stays finite
    assert np.isnan(ot.residual).any()
    points = np.random.default_rng(1).random((40, 2))
    for method in (ot.map, ot.inverse):
        out = method(points)
        assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert np.isfinite(ot.w2)
    with pytest.raises(ValueError, match="read-only"):
        ot.potential[0, 0] = 1.0


BAD = [
    (np.full((6, 5), 1j), "real"),
    (np.zeros((5, 6)), r"\(5, 6\)"),
    (np.zeros(30), r"\(30,\)"),
    (np.where(np.arange(30).reshape(6, 5) == 13, np.nan, 0.0), r"nan.*\(2, 3\)"),
    (np.where(np.arange(30).reshape(6, 5) == 29, np.inf, 0.0), r"inf.*\(5, 4\)"),
    ([["a"] * 5] * 6, "real"),
    (None, "potential"),
]


@pytest.mark.parametrize(("potential", "word"), BAD)
def test_what_is_no_potential_is_refused(potential: Any, word: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=word):
        pma.Transport.from_potential(PLAIN, potential)


@DIMS
def test_identity_between_equal_densities_has_no_distance(dim: int) -> None:
    density = _density(SHAPES[dim], 5, -0.5, 3.0)
    identity = 0.5 * (density.grid.coordinates() ** 2).sum(axis=0)
    ot = pma.Transport.from_potential(pma.Problem(density, density), identity)
    assert ot.w2 < 1e-7
    np.testing.assert_allclose(ot.displacement, 0, atol=1e-13)
    np.testing.assert_allclose(ot.residual, 0, atol=1e-11)


@DIMS
def test_translation_has_the_length_of_the_shift(dim: int) -> None:
    source = _density(SHAPES[dim], 5, 0.0, 1.0)
    shift = 0.75 * np.arange(1, dim + 1)
    target = pma.Density(source.values, pma.Grid(source.shape, tuple(shift), tuple(shift + 1)))
    x = source.grid.coordinates()
    potential = 0.5 * (x**2).sum(axis=0) + np.tensordot(shift, x, 1)
    ot = pma.Transport.from_potential(pma.Problem(source, target), potential)
    assert ot.w2 == pytest.approx(np.linalg.norm(shift), rel=1e-12)


def test_wrong_potentials_have_smaller_dual_values(solved: dict[int, pma.Transport]) -> None:
    """Kantorovich: the optimum maximises, and nearby potentials lose to second order only."""
    ot = solved[2]
    x, y = ot.problem.source.grid.coordinates()
    bump = np.cos(np.pi * x) * np.cos(2 * np.pi * y)
    losses = [
        ot.w2_squared - pma.Transport.from_potential(ot.problem, ot.potential + s * bump).w2_squared
        for s in (0.01, 0.005, -0.01)
    ]
    assert losses[0] > 1e-5 and losses[2] > 1e-5
    assert 3.0 < losses[0] / losses[1] < 5.0


@DIMS
def test_samples_are_coupled_reproducible_and_inside(
    solved: dict[int, pma.Transport], dim: int
) -> None:
    ot = solved[dim]
    x, y = ot.sample(500, seed=3)
    assert x.shape == y.shape == (500, dim)
    np.testing.assert_array_equal(y, ot.map(x))
    np.testing.assert_array_equal(x, ot.sample(500, seed=3)[0])
    assert (x != ot.sample(500, seed=4)[0]).any()
    assert x.min() >= 0 and x.max() <= 1 and y.min() >= -1 and y.max() <= 1
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(x, ot.sample(500, seed=generator)[0])
    assert (x != ot.sample(500, seed=generator)[0]).any()
    # means to four standard errors
    for points, density in ((x, ot.problem.source), (y, ot.problem.target)):
        deviation = points.std(axis=0) / np.sqrt(500)
        assert (np.abs(points.mean(axis=0) - density.mean()) < 4 * deviation).all()


@DIMS
def test_interpolation_ends_at_the_densities(solved: dict[int, pma.Transport], dim: int) -> None:
    ot = solved[dim]
    for t, density in ((0.0, ot.problem.source), (1.0, ot.problem.target)):
        end = ot.interpolate(t)
        assert end.grid == density.grid
        difference = np.abs(end.values - density.values).sum() * density.grid.cell_volume
        assert difference < 0.01


@DIMS
def test_interpolation_runs_at_constant_speed(solved: dict[int, pma.Transport], dim: int) -> None:
    """The mean moves on a straight line, the box too, and mass is one."""
    ot = solved[dim]
    ends = ot.problem.source.mean(), ot.problem.target.mean()
    for t in (0.25, 0.6):
        between = ot.interpolate(t)
        assert between.values.sum() * between.grid.cell_volume == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(between.grid.lower, -t)
        np.testing.assert_allclose(between.grid.upper, 1.0)
        expected = (1 - t) * ends[0] + t * ends[1]
        np.testing.assert_allclose(between.mean(), expected, atol=4e-3)


def test_interpolation_on_a_grid_of_choice_is_zero_off_the_box(
    solved: dict[int, pma.Transport],
) -> None:
    grid = pma.Grid((30, 30), (-2.0, -2.0), (2.0, 2.0))
    between = solved[2].interpolate(0.5, grid)
    assert between.grid == grid
    x, y = grid.coordinates()
    outside = (np.minimum(x, y) < -0.5) | (np.maximum(x, y) > 1.0)
    assert outside.any() and not between.values[outside].any()
    assert (between.values[~outside] > 0).all()


@pytest.mark.parametrize("t", [1.5, -0.1, np.nan, [0.5], "0.5", True])
def test_times_outside_the_unit_interval_are_refused(
    solved: dict[int, pma.Transport], t: float
) -> None:
    with pytest.raises(pma.InvalidInputError, match="t is"):
        solved[1].interpolate(t)


def test_repr_says_shape_distance_and_status(solved: dict[int, pma.Transport]) -> None:
    text = repr(solved[2])
    assert "20x26" in text and "converged" in text and f"{solved[2].w2:.6g}" in text


# Legendre transforms


def _brute(
    values: np.ndarray, axes: tuple[np.ndarray, ...], slopes: tuple[np.ndarray, ...]
) -> np.ndarray:
    x = np.stack([c.ravel() for c in np.meshgrid(*axes, indexing="ij")])
    y = np.stack([c.ravel() for c in np.meshgrid(*slopes, indexing="ij")])
    best = (y.T @ x - values.ravel()).max(axis=1)
    return np.asarray(best.reshape([s.size for s in slopes]))


@pytest.mark.parametrize("kind", ["convex", "rough", "concave", "linear"])
@pytest.mark.parametrize("shape", [(1,), (2,), (25,), (9, 14), (1, 6), (5, 4, 7)])
def test_legendre_equals_the_maximum(shape: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(len(shape))
    axes = tuple(np.sort(rng.normal(size=n)) for n in shape)
    slopes = tuple(np.sort(3 * rng.normal(size=n + 3)) for n in shape)
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"))
    values = {
        "convex": 0.5 * (mesh**2).sum(axis=0),
        "rough": rng.normal(size=shape),
        "concave": -(mesh**2).sum(axis=0),
        "linear": 2.0 * mesh.sum(axis=0),
    }[kind]
    conjugate, argmax = legendre(values, axes, slopes)
    np.testing.assert_allclose(conjugate, _brute(values, axes, slopes), atol=1e-12)
    # the indices attain it
    assert argmax.shape == (len(shape), *conjugate.shape)
    points = [axes[k][argmax[k]] for k in range(len(shape))]
    grids = np.meshgrid(*slopes, indexing="ij")
    attained = sum(p * s for p, s in zip(points, grids, strict=True)) - values[tuple(argmax)]
    np.testing.assert_allclose(attained, conjugate, atol=1e-12)


def test_conjugate_of_the_conjugate_is_the_convex_envelope() -> None:
    x = np.linspace(-2, 2, 81)
    slopes = np.linspace(-30, 30, 6001)
    double_well = (x**2 - 1) ** 2
    once, _ = legendre(double_well, (x,), (slopes,))
    twice, _ = legendre(once, (slopes,), (x,))
    envelope = np.where(np.abs(x) <= 1, 0.0, double_well)
    np.testing.assert_allclose(twice, envelope, atol=2e-3)
    assert (twice <= double_well + 1e-12).all()


def test_legendre_leaves_its_argument_alone() -> None:
    values = np.random.default_rng(0).normal(size=(5, 6))
    before = values.copy()
    legendre(values, (np.arange(5.0), np.arange(6.0)), (np.arange(3.0), np.arange(2.0)))
    np.testing.assert_array_equal(values, before)
