"""Densities between their cell centres: cubic splines of logarithms, splines with given means."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from pma_grid.grid.grid import Grid
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.transfer import PIECE_CELLS
from pma_grid.kernels.grid import interpolation, transfer
from pma_grid.runtime import SERIAL, Array, Workers

SPLINE_HALO = 2
# Columns that a thread filters at a time: a cache line of doubles, some times over.
BLOCK_COLUMNS = 64
# Relative difference of centre value and cell average beyond which the data count as rough.
ROUGH_DIFFERENCE = 0.02
# Largest correction of a spline coefficient, as a share of the lowest average nearby.
LARGEST_OVERSHOOT = 0.5
# Corrections towards a positive spline with the averages asked for.
CORRECTIONS = 5


def log_centre_values(averages: Array, workers: Workers = SERIAL) -> Array:
    """log of the density at the cell centres from its cell averages."""
    # the average minus sum_i (second difference)_i / 24, to fourth order for smooth densities;
    # where that correction is not small the data are rough, and it is damped out
    correction = np.zeros_like(averages)
    for axis, n in enumerate(averages.shape):
        if n > 2:
            _add_second_difference(averages, axis, correction, workers)
    values, out = averages.ravel(), correction.ravel()

    def task(pieces: tuple[int, int]) -> None:
        for k in range(*pieces):  # so short that what NumPy puts aside stays in the cache
            cells = slice(k * PIECE_CELLS, (k + 1) * PIECE_CELLS)
            _log_centre(values[cells], out[cells])

    workers.each(task, workers.cut(-(-averages.size // PIECE_CELLS), averages.size))
    return correction


def _parts(values: Array, axis: int, workers: Workers) -> list[tuple[slice, int, int]]:
    """Lines along an axis and positions on them, one part a thread: the first axis cuts itself."""
    n, outer = values.shape[axis], math.prod(values.shape[:axis])
    if outer == 1:
        return [(slice(None), *part) for part in workers.cut(n, values.size)]
    return [(slice(*part), 0, n) for part in workers.cut(outer, values.size)]


def _lines(values: Array, axis: int) -> Array:
    """The (outer, n, inner) view whose middle axis is ``axis``."""
    return values.reshape(math.prod(values.shape[:axis]), values.shape[axis], -1)


def _add_second_difference(values: Array, axis: int, out: Array, workers: Workers) -> None:
    """Second differences along an axis."""
    lines, sums = _lines(values, axis), _lines(out, axis)

    def task(part: tuple[slice, int, int]) -> None:
        which, first, last = part
        transfer.add_second_difference(lines[which], first, last, sums[which])

    workers.each(task, _parts(values, axis, workers))


def largest_difference(values: Array, axis: int, workers: Workers) -> float:
    """The largest difference of neighbours along an axis."""
    lines = _lines(values, axis)

    def task(part: tuple[slice, int, int]) -> float:
        which, first, last = part
        return float(transfer.largest_difference(lines[which], first, last))

    return max(workers.each(task, _parts(values, axis, workers)))


def _log_centre(averages: Array, correction: Array) -> None:
    """log of the average, corrected: in place of the sum of second differences."""
    with np.errstate(over="ignore"):
        correction /= -24.0 * averages
    np.clip(correction, -1e100, 1e100, out=correction)  # thin tails: the square must not overflow
    correction /= 1.0 + (correction / ROUGH_DIFFERENCE) ** 2
    correction += np.log(averages)


def prefiltered(values: Array, workers: Workers = SERIAL) -> Array:
    """Coefficients of the cubic B-spline through ``values``, evenly reflected at the faces."""
    coefficients = values.copy()
    for axis in range(values.ndim):
        _prefilter(coefficients, axis, workers)
    return coefficients


def _prefilter(values: Array, axis: int, workers: Workers) -> None:
    """`prefiltered` along one axis, in place: parts of its lines or, of the first axis, columns."""
    lines = _lines(values, axis)
    outer, _, inner = lines.shape

    def columns(blocks: tuple[int, int]) -> None:
        first, last = (k * BLOCK_COLUMNS for k in blocks)
        interpolation.prefilter_axis(lines, first, min(last, inner))

    def rows(part: tuple[int, int]) -> None:
        interpolation.prefilter_axis(lines[slice(*part)], 0, inner)

    if outer == 1:
        workers.each(columns, workers.cut(-(-inner // BLOCK_COLUMNS), values.size))
    else:
        workers.each(rows, workers.cut(outer, values.size))


class LogSpline:
    """C2 cubic spline through logarithms at the cell centres, evenly reflected at the faces."""

    def __init__(self, logarithms: Array, grid: Grid, workers: Workers = SERIAL) -> None:
        self.grid = grid
        lattice = Lattice(grid.shape, SPLINE_HALO, workers)
        padded = lattice.zeros()
        lattice.fill(prefiltered(logarithms, workers), padded)
        self.coefficients = padded.reshape(lattice.padded_shape)

    def __call__(self, points: Array) -> Array:
        """The spline at points (m, d) of the box."""
        positions = (points - np.array(self.grid.lower)) / np.array(self.grid.spacing) - 0.5
        values, slopes = np.empty(len(points)), np.empty(points.shape)
        columns = [np.ascontiguousarray(c) for c in positions.T]
        spline = interpolation.SPLINE[self.grid.dim]
        spline(self.coefficients, SPLINE_HALO, *columns, 0, values, slopes)
        return values

    def steepest(self) -> Array:
        """Bound of |d log nu / dy_i| per axis: the derivative averages coefficient differences."""
        slopes = [np.abs(np.diff(self.coefficients, axis=i)).max() for i in range(self.grid.dim)]
        bound: Array = np.array(slopes) / np.array(self.grid.spacing)
        return bound


# Weights of B-spline coefficients in the mean over a cell: its integral, which two Gauss points an
# axis give as well, as the image of a cell of the target's size is sampled.
CELL_MEAN_WEIGHTS = (1 / 6, 2 / 3, 1 / 6)


def cell_means(coefficients: Array) -> Array:
    """Means over the cells of the quadratic B-spline of the given coefficients."""
    for axis in range(coefficients.ndim):
        coefficients = ndimage.correlate1d(coefficients, CELL_MEAN_WEIGHTS, axis, mode="reflect")
    return coefficients


def histospline(averages: Array) -> Array:
    """Positive coefficients of a quadratic B-spline whose cell means are ``averages``."""
    # the mean of a quadratic B-spline over a cell is a cubic B-spline at its centre; where that
    # spline would not be positive its correction is cut, and the means are come close to by
    # multiplicative corrections (Richardson 1972, Lucy 1974), which keep it so
    coefficients = prefiltered(averages)
    limit = LARGEST_OVERSHOOT * ndimage.minimum_filter(averages, size=3, mode="reflect")
    coefficients = averages + np.clip(coefficients - averages, -limit, limit)
    for _ in range(CORRECTIONS):
        coefficients *= cell_means(averages / cell_means(coefficients))
    return np.asarray(coefficients)
