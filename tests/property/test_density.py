"""Properties of densities that hold for any data."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density

Values = NDArray[np.float64]
SHAPES = array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7)
POSITIVE = arrays(np.float64, SHAPES, elements=st.floats(1e-3, 1e3))
# zeros among them, but never all of them zero
SPARSE = arrays(np.float64, SHAPES, elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3))).filter(
    lambda values: values.max() > 0
)
SIDES = st.lists(st.integers(1, 9), min_size=3, max_size=3)


def _mass(density: Density) -> float:
    return float(density.values.sum() * density.grid.cell_volume)


@given(SPARSE, st.floats(1e-6, 1e6))
def test_mass_is_one_and_scale_is_irrelevant(values: Values, scale: float) -> None:
    density = Density(values)
    assert abs(_mass(density) - 1) < 1e-13
    np.testing.assert_allclose(Density(values * scale).values, density.values, rtol=1e-12)


@given(SPARSE)
def test_axes_and_mirrors_commute_with_normalising(values: Values) -> None:
    density = Density(values)
    np.testing.assert_allclose(Density(values.T).values, density.values.T, rtol=1e-13)
    np.testing.assert_allclose(Density(values[::-1]).values, density.values[::-1], rtol=1e-13)


@given(SPARSE, st.floats(1e-6, 0.5))
def test_working_copy_is_a_positive_density(values: Values, floor: float) -> None:
    density = Density(values)
    copy, report = density.working(floor)
    assert copy.min() > 0
    assert abs(copy.sum() * density.grid.cell_volume - 1) < 1e-12
    moved = np.abs(copy - density.values).sum() * density.grid.cell_volume / 2
    assert abs(report.mass_added - moved) < 1e-12
    assert report.mass_added <= floor
    assert (report.cells == 0) == (values.min() > 0)


@given(SPARSE, SIDES)
def test_resampling_keeps_mass_and_bounds(values: Values, sides: list[int]) -> None:
    density = Density(values)
    grid = Grid(sides[: density.dim])
    new = density.resampled(grid)
    assert abs(_mass(new) - 1) < 1e-12
    assert new.values.min() >= density.values.min() * (1 - 1e-12)
    assert new.values.max() <= density.values.max() * (1 + 1e-12)


@given(POSITIVE, st.integers(1, 4))
def test_refining_is_exact_and_undone_by_coarsening(values: Values, factor: int) -> None:
    density = Density(values)
    fine = density.resampled(Grid([factor * n for n in density.shape]))
    np.testing.assert_allclose(fine.mean(), density.mean(), rtol=1e-11)
    assert abs(fine.second_moment() - density.second_moment()) < 1e-11
    np.testing.assert_allclose(fine.resampled(density.grid).values, density.values, rtol=1e-12)


@given(POSITIVE, SIDES)
def test_resampling_keeps_the_mean_within_a_cell(values: Values, sides: list[int]) -> None:
    density = Density(values)
    grid = Grid(sides[: density.dim])
    distance = np.abs(density.resampled(grid).mean() - density.mean())
    assert (distance <= np.array(grid.spacing)).all()


@given(SPARSE, st.integers(0, 2**32))
def test_samples_lie_in_cells_with_mass(values: Values, seed: int) -> None:
    density = Density(values, Grid(values.shape, -1.0, 3.0))
    points = density.sample(20, seed=seed)
    cells = density.grid.cell_index(points)
    # the next representable number may round onto the upper face of a cell
    assert (density.values[tuple(cells.T)] > 0).mean() > 0.9
