"""Potentials known on a part of the boxes, continued to the whole: convex, C1, faces to faces."""

import numpy as np
import pytest

from pma_grid.grid.crops import Crop, cut, extended, reached, spread, whole
from pma_grid.grid.grid import Grid
from pma_grid.problem.frame import Frame
from pma_grid.transport.potential import Potential

SOURCE = Grid((24, 20), (-1.0, 2.0), (2.0, 3.0))
TARGET = Grid((30, 16), (5.0, -4.0), (6.0, 0.0))
CROPS = {
    "cut on every side": ((slice(4, 20), slice(3, 18)), (slice(2, 27), slice(4, 13))),
    "the source alone": ((slice(4, 20), slice(3, 18)), whole(TARGET)),
    "the target alone": (whole(SOURCE), (slice(2, 27), slice(4, 13))),
    "one side of each": ((slice(0, 20), slice(0, 20)), (slice(2, 30), slice(0, 13))),
}
every = pytest.mark.parametrize("crops", CROPS.values(), ids=CROPS)


def _inside(crops: tuple[Crop, Crop]) -> tuple[np.ndarray, Potential]:
    """phi of a convex potential from cut box to cut box, and that potential."""
    grids = cut(SOURCE, crops[0]), cut(TARGET, crops[1])
    phi = np.zeros(grids[0].shape)
    for k, x in enumerate(grids[0].coordinates()):
        s = (x - grids[0].lower[k]) / grids[0].lengths[k]
        phi += 0.3 * np.cos(np.pi * s) * grids[0].lengths[k] * grids[1].lengths[k] / np.pi**2
    return phi, Potential(phi, *grids)


def _whole(crops: tuple[Crop, Crop]) -> Potential:
    phi = extended(_inside(crops)[0], SOURCE, TARGET, crops)
    return Potential(phi, SOURCE, reached(SOURCE, TARGET, crops))


def test_nothing_cut_is_nothing_changed() -> None:
    crops = whole(SOURCE), whole(TARGET)
    assert cut(SOURCE, crops[0]) is SOURCE and reached(SOURCE, TARGET, crops) is TARGET
    phi = _inside(crops)[0]
    np.testing.assert_allclose(extended(phi, SOURCE, TARGET, crops), phi, atol=1e-13)


@every
def test_inside_nothing_changes(crops: tuple[Crop, Crop]) -> None:
    inner, outer = _inside(crops)[1], _whole(crops)
    there = (slice(None), *crops[0])
    expected = inner.centred_gradient()
    np.testing.assert_allclose(outer.centred_gradient()[there], expected, atol=1e-12)
    u = outer.phi + outer.frame.quadratic()
    v = inner.phi + Frame(inner.source, inner.target).quadratic()
    difference = u[crops[0]] - v
    np.testing.assert_allclose(difference, difference[0, 0], atol=1e-11)


@every
def test_the_whole_is_convex(crops: tuple[Crop, Crop]) -> None:
    outer = _whole(crops)
    u = outer.phi + outer.frame.quadratic()
    rng = np.random.default_rng(0)
    for _ in range(200):  # along lines of cells in all directions
        step = rng.integers(-3, 4, 2)
        start = rng.integers(8, 12, 2)
        points = start[:, None] + np.arange(-2, 3) * step[:, None]
        values = u[tuple(points)]
        assert (np.diff(values, 2) > -1e-11).all()


@every
def test_faces_are_mapped_to_faces_of_what_is_reached(crops: tuple[Crop, Crop]) -> None:
    outer = _whole(crops)
    rng = np.random.default_rng(1)
    x = SOURCE.lower + rng.random((50, 2)) * SOURCE.lengths
    for axis in range(2):
        for source, image in (("lower", "lower"), ("upper", "upper")):
            on_face = x.copy()
            on_face[:, axis] = getattr(SOURCE, source)[axis]
            expected = getattr(outer.target, image)[axis]
            np.testing.assert_allclose(outer.gradient(on_face)[:, axis], expected, atol=1e-12)


def test_cut_faces_are_mapped_to_cut_faces_and_beyond_affinely() -> None:
    crops = CROPS["cut on every side"]
    outer, inner = _whole(crops), cut(TARGET, crops[1])
    for axis in range(2):
        u = np.moveaxis(outer.phi + outer.frame.quadratic(), axis, 0)
        line = np.diff(u, axis=0)[:, 9] / SOURCE.spacing[axis]  # at the faces between cells
        line = np.concatenate([[TARGET.lower[axis]], line, [TARGET.upper[axis]]])
        start, stop = crops[0][axis].start, crops[0][axis].stop
        ends = TARGET.lower[axis], inner.lower[axis], inner.upper[axis], TARGET.upper[axis]
        np.testing.assert_allclose(line[[0, start, stop, -1]], ends, atol=1e-12)
        for part in (line[: start + 1], line[stop:]):
            np.testing.assert_allclose(np.diff(part, 2), 0, atol=1e-12)


def test_fields_go_on_as_in_the_nearest_cell() -> None:
    crop = (slice(1, 3), slice(0, 2))
    field = np.arange(8.0).reshape(2, 2, 2)
    wide = spread(field, Grid((4, 3)), crop)
    assert wide.shape == (2, 4, 3)
    np.testing.assert_array_equal(wide[0], [[0, 1, 1], [0, 1, 1], [2, 3, 3], [2, 3, 3]])
