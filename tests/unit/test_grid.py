"""Grid: the cell-centred convention, refusals, points and cells."""

import json
import pickle
from typing import Any

import numpy as np
import pytest

from pma_grid.grid.axes import along, half_square, outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.runtime.errors import InvalidInputError, PMAError


def test_cell_centres_faces_and_volumes() -> None:
    grid = Grid((4, 3), lower=(0.0, -1.0), upper=(1.0, 5.0))
    assert (grid.dim, grid.size) == (2, 12)
    assert grid.lengths == (1.0, 6.0)
    assert grid.spacing == (0.25, 2.0)
    assert grid.cell_volume == 0.5
    assert grid.volume == 6.0
    np.testing.assert_array_equal(grid.axes[1], [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(grid.faces[0], [0.0, 0.25, 0.5, 0.75, 1.0])
    assert grid.coordinates().shape == (2, 4, 3)
    np.testing.assert_array_equal(grid.coordinates()[1, 2], grid.axes[1])


def test_defaults_and_scalars() -> None:
    assert Grid(5) == Grid((5,), (0.0,), (1.0,)) == Grid(np.int64(5))
    assert Grid((2, 2), 1, 3).upper == (3.0, 3.0)
    assert Grid([2, 3, 4]).shape == (2, 3, 4)


def test_values_compare_hash_and_serialise() -> None:
    grid = Grid((3, 4), upper=(1.0, 0.1))
    assert hash(grid) == hash(Grid((3, 4), upper=(1.0, 0.1)))
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert grid != Grid((3, 4))
    with pytest.raises(AttributeError):
        grid.shape = (1,)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        grid.axes[0][0] = 1.0


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), "shape has 0 axes"),
        ((2, 2, 2, 2), "shape has 4 axes"),
        ((4, 0), "shape has 0 along axis 1"),
        ((-3,), "shape has -3 along axis 0"),
        ((4.0, 4), "shape has 4.0 along axis 0"),
        (True, "shape has True along axis 0"),
        (("4",), "shape has '4' along axis 0"),
        (None, "shape has None along axis 0"),
    ],
)
def test_bad_shapes(shape: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Grid(shape)


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ((0.0, 0.0), (1.0, 0.0), "upper is 0.0 and lower 0.0 along axis 1"),
        ((0.0, 2.0), (1.0, 1.0), "upper must be larger"),
        ((0.0, np.nan), None, "lower is .*must be finite"),
        (None, (np.inf, 1.0), "upper is .*must be finite"),
        ((0.0,), None, r"lower has shape \(1,\), the grid has 2 axes"),
        ("a", None, "lower is 'a'"),
        ((-1e308, 0), (1e308, 1), "choose another unit"),
        ((1e17, 0), (1e17 + 64, 1), "thinner than floating point"),
        ((0, 0), (1e-200, 1e-200), "choose another unit"),
    ],
)
def test_bad_boxes(lower: Any, upper: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Grid((8, 8), lower, upper)


def test_from_dict_names_what_is_missing() -> None:
    with pytest.raises(InvalidInputError, match="lacks lower, upper"):
        Grid.from_dict({"shape": [3]})


def test_contains_is_tolerant_of_rounding_only() -> None:
    grid = Grid((4, 4), upper=(1.0, 100.0))
    points: list[list[float]] = [
        [0.0, 0.0],
        [1 + 5e-13, 50],
        [1 + 5e-12, 50],
        [0.5, -5e-11],
        [np.nan, 1],
    ]
    assert grid.contains(points).tolist() == [True, True, False, True, False]


def test_check_points_names_the_first_outside_and_keeps_the_input() -> None:
    grid = Grid((4, 4))
    points = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, -2.0]])
    with pytest.raises(InvalidInputError, match=r"start has point 1 at \(1.5, 0.5\).*2 of 3"):
        grid.check_points(points, "start")
    inside = np.array([[1 + 1e-13, 0.5]])
    checked = grid.check_points(inside)
    assert checked[0, 0] == 1.0
    assert inside[0, 0] > 1.0


@pytest.mark.parametrize(
    "points", [[0.5, 0.5], [[0.5]], [["a", "b"]], [[1j, 0]], [[0.1], [0.1, 1]]]
)
def test_points_of_wrong_shape_or_type(points: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"points has .*\(m, 2\)"):
        Grid((4, 4)).check_points(points)


def test_no_points_are_fine() -> None:
    assert Grid((4, 4)).check_points(np.zeros((0, 2))).shape == (0, 2)


def test_cell_index_inverts_cell_centres() -> None:
    grid = Grid((5, 7), (-1.0, 2.0), (1.0, 3.0))
    centres = grid.coordinates().reshape(2, -1).T
    expected = np.stack(np.unravel_index(np.arange(35), (5, 7)), axis=1)
    np.testing.assert_array_equal(grid.cell_index(centres), expected)
    np.testing.assert_array_equal(grid.points, centres)
    assert grid.cell_index([[1.0, 3.0]]).tolist() == [[4, 6]]
    with pytest.raises(InvalidInputError, match="outside"):
        grid.cell_index([[2.0, 2.5]])


def test_functions_of_single_coordinates() -> None:
    grid = Grid((3, 1, 4), lower=-1.0)
    x = grid.coordinates()
    np.testing.assert_array_equal(half_square(grid.axes), (x**2).sum(axis=0) / 2)
    np.testing.assert_array_equal(outer_sum([2 * a for a in grid.axes]), 2 * x.sum(axis=0))
    np.testing.assert_array_equal(along(grid.axes[2], 2, 3) + 0 * x[0], x[2])


def test_errors_are_value_errors_of_the_package() -> None:
    assert issubclass(InvalidInputError, PMAError) and issubclass(InvalidInputError, ValueError)
