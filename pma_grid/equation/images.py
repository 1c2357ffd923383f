"""The images of source cells under grad u, over which a target is averaged."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from pma_grid.equation.footprint import BLEND_FROM, BLEND_TO
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.grid.lattice import Share
from pma_grid.grid.splines import SPLINE_HALO
from pma_grid.kernels.equation import ADD_CHANGE, AVERAGE
from pma_grid.kernels.equation.variation import VARIES
from pma_grid.kernels.records import ImageMeans, Spline, Variation, Varies
from pma_grid.linsolve import Stencil
from pma_grid.runtime import Array, Integers

# A mean over an image may lower a weight of the stencil to this share of it, not to zero.
SMALLEST_WEIGHT_SHARE = 0.05
# Change of log nu over an image from which any mean is taken: it counts for a hundredth there.
WANTED_FROM = BLEND_FROM + 0.1 * (BLEND_TO - BLEND_FROM)


class Renewal(IntEnum):
    """How much of the images an evaluation makes anew; Newton's matrix takes the rest as fixed.

    NOTHING, for the trials of a line search; SAMPLES, numbers of samples and blends; BASES, the
    superbases that span the images as well.
    """

    NOTHING = 0
    SAMPLES = 1
    BASES = 2


class Images:
    """The images of the cells of one equation, and means of the target over them.

    The target's mean is compared with that of mu over the cell, so that equal densities are mapped
    by the identity.  For smooth targets no image is *active*, and nothing is computed.

    Attributes
    ----------
    active : bool
        Whether the last evaluation took a mean over any image.
    current : bool
        Whether sums that are kept are of the potential at hand; to be set to False for another.
    """

    def __init__(self, equation: MongeAmpere) -> None:
        assert equation.footprint is not None
        self.equation, self.footprint = equation, equation.footprint
        self.active = self.current = False
        self.shift: Array = np.empty(0)

    def _allocate(self, superbase: Integers, weights: Array) -> None:
        """What averages need, at the first that is taken."""
        n, dim = superbase.shape[:2]
        self.shift = self.equation.log_source_means() - self.equation.log_source
        self.superbase = np.empty_like(superbase)
        self.counts = np.ones((n, dim), np.int16)
        self.blend = np.zeros(n)
        self.known = np.zeros(n, bool)
        self.logs, self.slopes = np.empty(n), np.empty((n, dim))
        self.moments = np.zeros((n, dim * (dim + 1) // 2))
        self.wanted = np.empty(n)
        self.clamped = np.empty_like(weights)

    def average(
        self,
        padded: Array,
        superbase: Integers,
        log_target: Array,
        stencil: Stencil,
        renew: Renewal,
    ) -> None:
        """Blend means over images into log nu and its derivative, the drift of the stencil."""
        equation, lat, footprint = self.equation, self.equation.lattice, self.footprint
        if renew:
            self.active = self._wanted(padded)
        stencil.clamped = None
        if not self.active:
            return
        if self.shift.size == 0:
            self._allocate(superbase, stencil.weights)
        stencil.clamped = self.clamped
        spline = Spline(footprint.densities, SPLINE_HALO)
        varies = Varies(footprint.variation, BLEND_FROM, BLEND_TO)

        def task(share: Share) -> None:
            c = share.cells
            if not self.current:
                self.known[c] = False
            if renew is Renewal.BASES:
                turned = (self.superbase[c] != superbase[c]).any(axis=(1, 2))
                self.known[c] &= ~turned
                self.superbase[c] = superbase[c]
            AVERAGE[lat.dim](
                padded, lat.layout(share), equation.scales, spline, varies, self._means(share),
                renew > 0, log_target[c], stencil.drift[c],
            )  # fmt: skip

        lat.share(task)
        self.current = True

    def _means(self, share: Share) -> ImageMeans:
        """What is kept of the cells of a share, for kernels."""
        c = share.cells
        return ImageMeans(
            self.superbase[c], self.shift[c], self.counts[c], self.blend[c], self.known[c],
            self.logs[c], self.slopes[c], self.moments[c], self.wanted[c],
        )  # fmt: skip

    def _wanted(self, padded: Array) -> bool:
        """Whether the target may vary enough over the image of any cell for its mean to matter."""
        if self.equation.lattice.dim == 1:  # exact, cheap, and the better ones on smooth data too
            return True
        nothing = np.empty((0,) * self.equation.lattice.dim)
        # what costs nothing first
        return self._varies(padded, nothing, nothing) and self._varies(
            padded, self.footprint.variation, self.footprint.far
        )

    def _varies(self, padded: Array, near: Array, far: Array) -> bool:
        """Whether log nu may change by `WANTED_FROM` over any image, from bounds near by."""
        lat, scales = self.equation.lattice, self.equation.scales
        bounds = Variation(near, far, self.footprint.steepest)
        varies = lat.share(
            lambda s: VARIES[lat.dim](padded, lat.layout(s), scales, bounds, WANTED_FROM)
        )
        return any(varies)

    def add_change(self, superbase: Integers, stencil: Stencil) -> None:
        """Add the derivative of the means with respect to D2u to the stencil's weights."""
        lat = self.equation.lattice
        lat.share(
            lambda s: ADD_CHANGE[lat.dim](
                self._means(s), superbase[s.cells], stencil.gauge[s.cells],
                SMALLEST_WEIGHT_SHARE, stencil.weights[s.cells], self.clamped[s.cells],
            )
        )  # fmt: skip
