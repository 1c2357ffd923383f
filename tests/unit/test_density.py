"""Density: refusals, normalising, floors, quadrature, resampling, moments, samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.stored import storable_density, stored_density
from pma_grid.runtime.errors import InvalidDensityError, InvalidInputError

BAD_VALUES = [
    ([1.0, np.nan], r"values has NaN at \(1,\)"),
    ([[1.0, 2.0], [np.inf, 1.0]], r"values has an infinite value inf at \(1, 0\)"),
    ([1.0, -0.2], r"values has .* -0.2 at \(1,\).*>= 0"),
    ([0.0, 0.0], "values has mass 0"),
    (np.array([1 + 1j]), "complex numbers.*np.abs"),
    (np.array([object()]), "Python objects"),
    (["a", "b"], "text"),
    (np.array(["2020-01-01"], "datetime64[D]"), "not numbers"),
    (np.array([(1.0, 2)], "f8,i4"), "not numbers"),
    ([], r"values is empty, shape \(0,\)"),
    (np.zeros((3, 0)), r"values is empty, shape \(3, 0\)"),
    (3.0, "values has 0 axes"),
    (np.ones((2, 2, 2, 2)), "values has 4 axes"),
    ([[1.0], [1.0, 2.0]], "rows of different lengths"),
    ([1e308, 1e308], "values has .*sum overflows"),
    (np.ma.masked_array([1.0, 2.0], [True, False]), "masked entries.*filled"),
]


@pytest.mark.parametrize(("values", "message"), BAD_VALUES)
def test_bad_values(values: Any, message: str) -> None:
    with pytest.raises(InvalidDensityError, match=message) as caught:
        Density(values)
    assert "\n" not in str(caught.value)


def test_shape_must_match_the_grid() -> None:
    with pytest.raises(InvalidDensityError, match=r"shape \(3,\) but the grid has shape \(4,\)"):
        Density(np.ones(3), Grid(4))
    with pytest.raises(InvalidInputError, match="grid is 4; it must be a Grid"):
        Density(np.ones(4), 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("floor", [0, 1, -0.1, np.nan, np.inf, "a", True])
def test_bad_floor(floor: Any) -> None:
    with pytest.raises(InvalidInputError, match="floor is .*between 0 and 1"):
        Density([1.0, 2.0], floor=floor)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32, np.longdouble])
def test_every_real_dtype_is_normalised(dtype: Any) -> None:
    density = Density(np.array([[0, 1], [1, 1]], dtype), Grid((2, 2), upper=(2.0, 3.0)))
    assert density.values.dtype == np.float64
    assert density.values.sum() * density.grid.cell_volume == pytest.approx(1, abs=1e-15)
    assert density.mass == pytest.approx(4.5)


def test_input_is_neither_modified_nor_shared() -> None:
    for order in ("C", "F"):
        values = np.array([[1.0, 2.0], [3.0, 4.0]], order=order)
        before = values.copy()
        density = Density(values, floor=0.9)
        density.working(0.9)
        np.testing.assert_array_equal(values, before)
        assert not np.shares_memory(values, density.values)
        assert density.values.flags.c_contiguous
        assert not density.values.flags.writeable
    with pytest.raises(AttributeError):
        density.mass = 2.0  # type: ignore[misc]


def test_views_and_single_cells() -> None:
    values = np.arange(1.0, 13).reshape(3, 4)
    np.testing.assert_allclose(Density(values[::-1, ::2]).values.sum() / 6, 1)
    assert Density([[5.0]]).values.item() == 1.0
    assert Density([-0.0, 1.0]).values[0] == 0.0 and not np.signbit(Density([-0.0, 1.0]).values[0])


def test_working_leaves_positive_data_alone() -> None:
    density = Density([1e-300, 1.0, 2.0])
    values, report = density.working(1e-3)
    np.testing.assert_array_equal(values, density.values)
    assert (report.relative, report.cells, report.mass_added) == (0.0, 0, 0.0)
    values[0] = 1.0
    assert density.values[0] < 1e-200


def test_working_raises_zeros_and_reports() -> None:
    density = Density([0.0, 1e-9, 1.0, 2.0], Grid(4, upper=2.0))
    values, report = density.working(1e-2)
    assert report.cells == 2
    assert report.relative == 1e-2
    assert values.mean() == pytest.approx(1)
    assert values.min() == pytest.approx(1e-2, rel=1e-2)
    moved = np.abs(values - density.relative).mean() / 2
    assert report.mass_added == pytest.approx(moved)


def test_own_floor_comes_before_the_default() -> None:
    _, report = Density([0.1, 1.0, 1.9], floor=0.5).working(1e-3)
    assert (report.relative, report.cells) == (0.5, 1)


@pytest.mark.parametrize("quadrature", [1, 2, 3])
def test_from_function_is_exact_for_polynomials(quadrature: int) -> None:
    degree = 2 * quadrature - 1
    grid = Grid((3, 4), (0.0, 1.0), (2.0, 3.0))
    density = Density.from_function(lambda x, y: x**degree, grid, quadrature=quadrature)
    cells = np.diff(grid.faces[0] ** (degree + 1))
    expected = cells / cells.sum() / (grid.cell_volume * 4)
    np.testing.assert_allclose(density.values, np.repeat(expected[:, None], 4, axis=1))


def test_from_function_broadcasts_constants() -> None:
    np.testing.assert_allclose(Density.from_function(lambda x, y: 3, Grid((2, 3))).values, 1.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x - 0.5, "function has a negative value"),
        (lambda x: x * np.nan, "function has NaN"),
        (lambda x: x[:2], r"function returns shape \(2,\)"),
        (lambda x: 1j * x, "function returns dtype complex128"),
        (lambda x: None, "function returns dtype object"),
    ],
)
def test_bad_functions(function: Any, message: str) -> None:
    with pytest.raises(InvalidDensityError, match=message):
        Density.from_function(function, Grid(4))


@pytest.mark.parametrize("quadrature", [0, -1, 1.5, True])
def test_bad_quadrature(quadrature: Any) -> None:
    with pytest.raises(InvalidInputError, match="quadrature is .*integer >= 1"):
        Density.from_function(lambda x: x, Grid(4), quadrature=quadrature)


def test_from_log_matches_from_function_and_does_not_overflow() -> None:
    grid = Grid((16, 8))
    plain = Density.from_function(lambda x, y: np.exp(-9 * x + y), grid)
    shifted = Density.from_log(lambda x, y: 1e4 - 9 * x + y, grid)
    np.testing.assert_allclose(shifted.values, plain.values, rtol=1e-10)
    with np.errstate(divide="ignore"):
        half = Density.from_log(lambda x: np.log(1.0 * (x > 0.5)), Grid(4))
    np.testing.assert_allclose(half.values, [0, 0, 2, 2])


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "function has nan"), (np.inf, "function has inf"), (-np.inf, "mass 0")],
)
def test_bad_logarithms(value: float, message: str) -> None:
    with pytest.raises(InvalidDensityError, match=message):
        Density.from_log(lambda x: x + value, Grid(4))


def test_from_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 255], [100, 155]], np.uint8)).save(path)
    density = Density.from_image(path, grid=Grid((2, 2), upper=2.0), floor=0.1)
    np.testing.assert_allclose(density.values * 510, [[0, 255], [100, 155]])
    assert density.floor == 0.1
    inverted = Density.from_image(path, invert=True)
    np.testing.assert_allclose(inverted.values * 510 / 4, [[255, 0], [155, 100]])
    with pytest.raises(InvalidDensityError, match=r"a.png has shape \(2, 2\) but the grid"):
        Density.from_image(path, grid=Grid((4, 4)))
    with pytest.raises(InvalidInputError, match="too large"):
        Density.from_image(path, max_pixels=3)


def test_resampled_by_hand() -> None:
    density = Density([[1.0, 2.0, 3.0]], Grid((1, 3), upper=(1.0, 6.0)))
    coarse = density.resampled(Grid((1, 2), upper=(1.0, 6.0)))
    np.testing.assert_allclose(coarse.values, np.array([[8, 16]]) / 72)
    fine = coarse.resampled(Grid((5, 4), upper=(1.0, 6.0)))
    np.testing.assert_allclose(fine.values, np.tile(np.array([8, 8, 16, 16]) / 72, (5, 1)))
    assert coarse.mass == pytest.approx(density.mass) == 12.0


def test_resampled_needs_the_same_box() -> None:
    for other in (Grid(4, upper=2.0), Grid((4, 4))):
        with pytest.raises(InvalidInputError, match="boxes must agree"):
            Density([1.0, 2.0]).resampled(other)


def test_moments_are_those_of_the_piecewise_constant_density() -> None:
    uniform = Density(np.ones((3, 5)), Grid((3, 5), (0.0, -1.0), (1.0, 1.0)))
    np.testing.assert_allclose(uniform.mean(), [0.5, 0.0], atol=1e-15)
    assert uniform.second_moment() == pytest.approx(1 / 3 + 1 / 3)
    assert uniform.second_moment(about=uniform.mean()) == pytest.approx(1 / 12 + 4 / 12)
    with pytest.raises(InvalidInputError, match="about is .*2 finite coordinates"):
        uniform.second_moment(about=[0.0])


def test_samples_follow_the_density() -> None:
    density = Density([[0.0, 1.0], [3.0, 0.0]], Grid((2, 2), upper=(2.0, 4.0)))
    points = density.sample(4000, seed=20240611)
    np.testing.assert_array_equal(points, density.sample(4000, seed=20240611))
    cells = density.grid.cell_index(points)
    assert set(map(tuple, cells.tolist())) == {(0, 1), (1, 0)}
    assert (cells[:, 0] == 1).mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(points.mean(axis=0), density.mean(), atol=0.06)
    assert density.sample(0, seed=1).shape == (0, 2)
    with pytest.raises(InvalidInputError, match="n is -1"):
        density.sample(-1, seed=1)


def test_files_give_densities_back_to_the_bit() -> None:
    """Normalised again, some would differ in the last digit."""
    rng = np.random.default_rng(3)
    again = []
    for _ in range(40):
        grid = Grid((7, 5), (-1.0, 0.3), (2.1, 0.9))
        density = Density(rng.random(grid.shape), grid, floor=0.1)
        stored = stored_density(density.masses, storable_density(density))
        old = stored_density(density.values, storable_density(density) | {"holds": "values"})
        for found in (stored, old):
            assert np.array_equal(found.values, density.values)
            assert not found.values.flags.writeable
            assert (found.grid, found.mass, found.floor) == (grid, density.mass, 0.1)
        assert np.array_equal(stored.masses, density.masses)
        again.append(np.array_equal(Density(density.masses, grid).masses, density.masses))
    assert not all(again)


def test_files_of_other_hands_are_normalised() -> None:
    stored = stored_density(np.array([1.0, 3.0]), {"grid": Grid(2).to_dict(), "floor": None})
    assert stored.values.tolist() == [0.5, 1.5]
    assert stored.mass == 2.0
    for mass in (-3.0, np.nan, "x", None):
        with pytest.raises(InvalidInputError, match="mass is .*> 0.*damaged"):
            stored_density(stored.values, {"grid": Grid(2).to_dict(), "floor": None, "mass": mass})


def test_repr_says_shape_and_box() -> None:
    assert repr(Density([1, 1], floor=0.5)) == "Density(2 on [0, 1], mass=1, floor=0.5)"
