"""The images of source cells under grad u, over which a target is averaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from pma_grid.grid.lattice import Lattice, Share
from pma_grid.grid.splines import (
    BLEND_FROM,
    BLEND_TO,
    SPLINE_HALO,
    _filtered,
    _largest_difference,
    histospline,
)
from pma_grid.kernels.equation import images_2d as footprint_kernels
from pma_grid.kernels.equation.variation import VARIES
from pma_grid.linsolve import Stencil
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.workers import SERIAL, Workers


class Equation(Protocol):
    """What images need of a `MongeAmpere` equation, and what they change of it."""

    lattice: Lattice
    frame: Any
    stencil: Stencil
    padded: Array
    superbase: Array
    log_source: Array
    log_target: Array


# A mean over an image may lower a weight of the stencil to this share of it, not to zero.
SMALLEST_WEIGHT = 0.05
# Change of log nu over an image from which any mean is taken: it counts for a hundredth there.
WANTED_FROM = BLEND_FROM + 0.1 * (BLEND_TO - BLEND_FROM)


class Images:
    """The images of the cells of one equation, over which the target is averaged.

    The target's mean is compared with that of mu over the cell, so that equal densities are mapped
    by the identity.  ``log_source_means`` gives its logarithm where it comes to that: for smooth
    targets no image is *active*, and nothing is computed.  Refreshing renews superbases, unless
    *settled*, numbers of samples and blends, unless *frozen*.
    """

    def __init__(
        self, equation: Equation, footprint: Footprint, log_source_means: Callable[[], Array]
    ) -> None:
        self.equation, self.footprint = equation, footprint
        self._log_source_means = log_source_means
        self.active, self.frozen, self.settled = False, False, False
        self.shift: Array = np.empty(0)

    def _allocate(self) -> None:
        """What averages need, at the first that is taken."""
        eq = self.equation
        n, dim = eq.lattice.size, eq.lattice.dim
        self.shift = self._log_source_means().ravel() - eq.log_source
        self.superbase = np.empty_like(eq.superbase)
        self.counts = np.ones((n, dim), np.int16)
        self.blend = np.zeros(n)
        self.change = np.zeros((n, dim * (dim + 1) // 2))
        self.clamped = np.empty_like(eq.stencil.weights)

    def average(self, *, refresh: bool) -> None:
        """Blend means over images into log nu and its derivative; ``refresh``: images anew."""
        eq, frame, lat = self.equation, self.equation.frame, self.equation.lattice
        if refresh and not self.frozen:
            self.active = self._wanted()
        eq.stencil.clamped = None
        if not self.active:
            return
        if self.shift.size == 0:
            self._allocate()
        eq.stencil.clamped = self.clamped
        if refresh and not self.settled:
            self.superbase[:] = eq.superbase
        densities = self.footprint.densities

        def task(share: Share) -> None:
            c = share.cells
            footprint_kernels.AVERAGE[lat.dim](
                eq.padded, lat.row_start[share.rows], lat.n_last, lat.strides, share.first_row,
                frame.metric, frame.affine, frame.slope, frame.per_cell, self.superbase[c],
                densities, SPLINE_HALO, self.footprint.variation, BLEND_FROM, BLEND_TO,
                refresh and not self.frozen, self.shift[c], self.counts[c], self.blend[c],
                eq.log_target[c], eq.stencil.drift[c], self.change[c],
            )  # fmt: skip

        lat.share(task)

    def _wanted(self) -> bool:
        """Whether the target may vary enough over the image of any cell for its mean to matter."""
        if self.equation.lattice.dim == 1:  # exact, cheap, and the better ones on smooth data too
            return True
        nothing = np.empty((0,) * self.equation.lattice.dim)
        footprint = self.footprint
        # what costs nothing first
        return self._varies(nothing, nothing) and self._varies(footprint.variation, footprint.far)

    def _varies(self, near: Array, far: Array) -> bool:
        """Whether log nu may change by `WANTED_FROM` over any image, from bounds near by."""
        eq, frame, lat = self.equation, self.equation.frame, self.equation.lattice
        steepest = self.footprint.steepest
        varies = lat.share(
            lambda s: VARIES[lat.dim](
                eq.padded, lat.row_start[s.rows], lat.n_last, lat.strides, lat.shape_array,
                s.first_row, frame.metric, frame.affine, frame.slope, frame.per_cell, near, far,
                steepest, WANTED_FROM,
            )
        )  # fmt: skip
        return any(varies)

    def add_change(self) -> None:
        """Add the derivative with respect to D2u to the stencil of the equation."""
        if not self.active:
            return
        eq = self.equation
        eq.lattice.share(
            lambda s: footprint_kernels.ADD_CHANGE[eq.lattice.dim](
                self.change[s.cells], eq.superbase[s.cells], eq.stencil.gauge[s.cells],
                SMALLEST_WEIGHT, eq.stencil.weights[s.cells], self.clamped[s.cells],
            )
        )  # fmt: skip


# Images of up to this many target cells are looked for where the mean may be needed.
IDLE_IMAGE = 8.0


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
            _largest_difference(logarithms, axis, workers) for axis in range(values.ndim)
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
        largest = BLEND_FROM / IDLE_IMAGE
        return self.steepest < largest or bool(self.variation.max() < largest)
