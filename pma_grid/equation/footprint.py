"""`Footprint`: a target between its cells, for its means over the images of source cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy import ndimage

from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import SPLINE_HALO, histospline, largest_difference
from pma_grid.runtime import SERIAL, Array, Workers

# Change of log nu over the image of a cell from which, and to which, its mean takes over from its
# point value.
BLEND_FROM, BLEND_TO = 0.2, 0.6
# Images of up to this many target cells are looked for where the mean may be needed.
IDLE_IMAGE_CELLS = 8.0


class Footprint:
    """Means of a target over the images of source cells, where it varies much within them.

    Parameters
    ----------
    values : ndarray
        The target's cell averages, positive.
    logarithms : ndarray
        log nu at its cell centres.

    Attributes
    ----------
    densities : ndarray
        Coefficients of the quadratic B-spline whose cell averages are ``values``, padded; where
        that would overshoot, a compromise with ``values`` themselves, whose spline never does.
    variation : ndarray
        By how much log nu changes over a target cell: half its range over the cell's neighbours.
    steepest : float
        A bound of ``variation``.
    """

    def __init__(self, values: Array, logarithms: Array, workers: Workers = SERIAL) -> None:
        self._values, self._logarithms, self._workers = values, logarithms, workers
        # half a range among neighbours is at most a step along each axis
        self.steepest = sum(
            largest_difference(logarithms, axis, workers) for axis in range(values.ndim)
        )

    @cached_property
    def variation(self) -> Array:
        """Made when ``steepest`` does not settle the matter."""
        highest = _filtered(ndimage.maximum_filter, self._logarithms, 3, self._workers)
        highest -= _filtered(ndimage.minimum_filter, self._logarithms, 3, self._workers)
        highest *= 0.5
        return highest

    @cached_property
    def densities(self) -> Array:
        """Made when the first mean is taken."""
        lattice = Lattice(self._values.shape, SPLINE_HALO)
        padded = lattice.zeros()
        lattice.fill(histospline(self._values), padded)
        return padded.reshape(lattice.padded_shape)

    @cached_property
    def far(self) -> Array:
        """The largest ``variation`` within three cells."""
        return _filtered(ndimage.maximum_filter, self.variation, 7, self._workers)

    @property
    def idle(self) -> bool:
        """Whether nu is so smooth that no image of a reasonable size needs a mean.

        On one axis means are exact, cheap, and better than point values on smooth data too.
        """
        if self._values.ndim == 1:
            return False
        # the bound first: it costs nothing any more, and settles the matter on fine grids
        largest = BLEND_FROM / IDLE_IMAGE_CELLS
        return self.steepest < largest or bool(self.variation.max() < largest)


def _filtered(function: Callable[..., Array], values: Array, size: int, workers: Workers) -> Array:
    """A filter over windows of ``size`` cells an axis, by parts of the first axis that overlap."""
    out, n, reach = np.empty_like(values), values.shape[0], size // 2

    def task(part: tuple[int, int]) -> None:
        first, last = part
        low = max(0, first - reach)
        window = function(values[low : last + reach], size=size, mode="reflect")
        out[first:last] = window[first - low : last - low]

    workers.each(task, workers.cut(n, values.size))
    return out
