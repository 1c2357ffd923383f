"""The Monge-Ampère operator on a grid: residual and linearisation in monotone form.

With T = grad u pushing mu to nu, the equation is

    log det D2u(x) + log nu(grad u(x)) - log mu(x) = alpha,

alpha being the constant that makes it solvable on a grid (it goes to 0 like h^2).  The unknown is
phi in u = sum_i s_i (x_i - lower_i)^2 / 2 + (target lower) . x + phi, with s_i the ratio of the box
sides; phi reflects evenly about the faces, which is exactly the transport of box to box.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pma_grid.equation.ghosts import lattice_between
from pma_grid.equation.images import Footprint, Images
from pma_grid.equation.superbases import all_superbases
from pma_grid.grid.grid import Grid
from pma_grid.grid.lattice import Share
from pma_grid.grid.splines import SPLINE_HALO, LogSpline, cell_means, histospline, log_centre_values
from pma_grid.grid.sums import BlockSums
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.grid import lattice as lattice_kernels
from pma_grid.kernels.grid.vectors import squares
from pma_grid.linsolve import Stencil
from pma_grid.problem.domains import ConvexDomain
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.workers import SERIAL, Workers

# Density over its mean below which cells count less.
THIN = 1e-2


class MongeAmpere:
    """The discretised equation of one pair of grids, with the buffers of its linearisation.

    ``superbase`` is state: each evaluation walks on from where the last one stood.  So is what
    a footprint freezes: superbases of the images, numbers of samples, blends.
    """

    def __init__(
        self,
        log_source: Array,
        source: Grid,
        target: LogSpline,
        *,
        footprint: Footprint | None = None,
        log_source_means: Callable[[], Array] | None = None,
        domain: ConvexDomain | None = None,
        superbase: Array | None = None,
        monotone_gradient: bool = False,
        workers: Workers = SERIAL,
    ) -> None:
        self.frame = Frame(source, target.grid)
        self.target = target
        self.lattice = lat = lattice_between(
            source, target.grid, domain, workers=workers, bent=not monotone_gradient
        )
        self.log_source = log_source.ravel()
        self._kernels = DIMENSION[lat.dim]
        n, dim = lat.size, lat.dim
        count = {1: 1, 2: 3, 3: 6}[dim]
        if superbase is None:
            superbase = np.broadcast_to(np.eye(dim, dtype=np.int8), (*source.shape, dim, dim))
        self.superbase = np.array(superbase, np.int8).reshape(n, dim, dim)
        self.padded = lat.zeros()
        self.log_target = np.empty(n)
        self.residual = np.empty(n)
        self.faces = 0
        viscosity = None
        if monotone_gradient:
            viscosity = 0.5 * target.steepest() / np.array(source.spacing)
        self._sums = BlockSums(n, workers)
        self.stencil = Stencil(
            lattice=lat,
            vectors=np.empty((n, count, dim), np.int8),
            offsets=np.empty((n, count), np.int32),
            weights=np.empty((n, count)),
            drift=np.empty((n, dim)),
            gauge=np.empty(n),
            row_scale=np.empty(n),
            viscosity=viscosity,
            padded=self.padded,
        )
        self._expand()
        self._row_weights = _row_weights(np.exp(self.log_source))
        if self._row_weights.size:
            self.stencil.equilibration = np.sqrt(self._row_weights)
        self._shift = 0.0
        # where residual and stencil were evaluated last
        self._at: tuple[Array, float] | None = None
        self._rms = math.inf
        self.images: Images | None = None
        if footprint is not None and log_source_means is not None and not footprint.idle:
            self.images = Images(self, footprint, log_source_means)

    @classmethod
    def of(cls, problem: Problem, *, averaged: bool = False) -> MongeAmpere:
        """The equation of a problem, its exact zeros raised to the working floors."""
        source, target, _ = positive(problem)
        return cls.between(
            source, problem.source.grid, target, problem.target.grid, averaged=averaged,
            domain=problem.target_domain,
        )  # fmt: skip

    @classmethod
    def between(
        cls,
        source: Array,
        source_grid: Grid,
        target: Array,
        target_grid: Grid,
        *,
        averaged: bool = False,
        domain: ConvexDomain | None = None,
        superbase: Array | None = None,
        monotone_gradient: bool = False,
        workers: Workers = SERIAL,
    ) -> MongeAmpere:
        """The equation of two positive densities given by cell averages.

        ``averaged``: the target's means over the images of cells take over from its point values
        where it varies much within them.  ``domain``: what grad u is to fill instead of the box.
        """
        log_source = log_centre_values(source, workers)
        log_target = log_centre_values(target, workers)
        return cls(
            log_source,
            source_grid,
            LogSpline(log_target, target_grid, workers),
            footprint=Footprint(target, log_target, workers) if averaged else None,
            log_source_means=(lambda: np.log(cell_means(histospline(source))))
            if averaged
            else None,
            domain=domain,
            superbase=superbase,
            monotone_gradient=monotone_gradient,
            workers=workers,
        )

    def restart(self, superbase: Array) -> None:
        """Take over the superbases of another equation on the same grid."""
        self.superbase[:] = superbase.reshape(self.superbase.shape)
        self._at = None
        self._expand()

    def _expand(self) -> None:
        """Lattice vectors and offsets of the superbases."""
        stencil, strides = self.stencil, self.lattice.strides
        self.lattice.share(
            lambda s: self._kernels.expand(
                self.superbase[s.cells], strides, stencil.vectors[s.cells], stencil.offsets[s.cells]
            )
        )

    @property
    def averaging(self) -> bool:
        """Whether the target was averaged over the image of any cell at the last evaluation."""
        return self.images is not None and self.images.active

    def superbase_field(self) -> Array:
        """The superbases as a field, shape (*shape, d, d)."""
        return self.superbase.reshape(*self.lattice.shape, *self.superbase.shape[1:])

    def evaluate(self, phi: Array, alpha: float, *, refresh: bool = True) -> float:
        """Fill ``residual`` and ``stencil`` at (phi, alpha); returns the rms residual.

        The residual is that of the shift form, r = d c / b: to first order eta (log mu(x) + alpha
        - log nu(grad u) - log det D2u) with eta <= 1, finite for any phi.  Where the source varies
        by orders of magnitude, rows count by its density in the rms.  ``refresh`` renews what the
        means over images freeze; a line search must not.
        """
        lat, frame = self.lattice, self.frame
        same = self._at is not None and self._at[0] is phi and self._at[1] == alpha
        if same and not self.averaging:  # means move on with the superbases
            return self._rms
        self._at = None
        self._evaluate_target(phi)
        if self.images is not None:
            self.images.average(refresh=refresh)
        self._shift = alpha + frame.log_cell
        self._shift_form()
        if self.images is not None:
            self.images.add_change()
        self._at, self._rms = (
            (phi, alpha),
            math.sqrt(self._sums(squares, self.residual, self._row_weights)[0] / lat.size),
        )
        return self._rms

    def _shift_form(self) -> None:
        """Residual and linearisation from the target evaluated last."""
        lat, frame, stencil = self.lattice, self.frame, self.stencil

        def task(share: Share) -> int:
            c = share.cells
            faces = self._kernels.shift_form(
                self.padded, lat.row_start[share.rows], lat.n_last, lat.strides, lat.halo,
                frame.metric, self.log_source[c], self.log_target[c], self._shift, frame.per_cell,
                self.superbase[c], stencil.vectors[c], stencil.offsets[c], stencil.weights[c],
                stencil.drift[c], stencil.gauge[c], self.residual[c],
            )  # fmt: skip
            return int(faces)

        self.faces = sum(lat.share(task))

    def _evaluate_target(self, phi: Array) -> None:
        """log nu at the gradient, and its derivative into the drift buffer."""
        lat, frame, stencil = self.lattice, self.frame, self.stencil
        lat.extend(phi, self.padded)

        def task(share: Share) -> None:
            rows, c = lat.row_start[share.rows], share.cells
            self._kernels.target_at_gradient(
                self.padded, rows, lat.n_last, lat.strides, lat.shape_array, share.first_row,
                frame.affine, frame.slope, self.target.coefficients, SPLINE_HALO,
                self.log_target[c], stencil.drift[c],
            )  # fmt: skip
            if stencil.viscosity is not None:
                lattice_kernels.add_viscosity(
                    self.padded, rows, lat.n_last, lat.strides, stencil.viscosity,
                    np.ones(c.stop - c.start), self.log_target[c],
                )  # fmt: skip

        lat.share(task)

    def linearise(self, source: Array) -> Stencil:
        """The stencil of the last evaluation, its rows weighted for symmetry (mu / eta)."""
        density, gauge, scale = source.ravel(), self.stencil.gauge, self.stencil.row_scale
        self._sums.each(lambda c: np.divide(density[c], gauge[c], out=scale[c]))
        return self.stencil

    def evaluate_log(self, phi: Array) -> Array:
        """h = log nu(grad u) + log det D2u - log mu, NaN where u is not convex; fills ``stencil``.

        The stencil is then the derivative of h itself, its gauge the constant 1.
        """
        lat, frame, stencil = self.lattice, self.frame, self.stencil
        self._at = None
        self._evaluate_target(phi)
        residual = np.empty(lat.size)
        if self.images is not None:
            self._log_det(residual)  # images by the superbases of this potential
            self.images.average(refresh=True)
        if self.images is None or self.averaging:
            self._log_det(residual)
        stencil.gauge[:] = 1.0
        if self.images is not None:
            self.images.add_change()
        stencil.drift *= frame.per_cell
        residual -= frame.log_cell
        residual += self.log_target
        residual -= self.log_source
        return residual.reshape(lat.shape)

    def _log_det(self, out: Array) -> None:
        """log det D2u in index units and its derivative into the stencil."""
        lat, stencil = self.lattice, self.stencil
        lat.share(
            lambda s: self._kernels.log_det(
                self.padded, lat.row_start[s.rows], lat.n_last, lat.strides, lat.halo,
                self.frame.metric, self.superbase[s.cells], stencil.vectors[s.cells],
                stencil.offsets[s.cells], stencil.weights[s.cells], out[s.cells],
            )
        )  # fmt: skip

    def hessian(self) -> Array:
        """D2u at the last evaluation, (d, d, *shape): inverse of D, so that its det solves the row.

        Symmetric positive definite even where the minimiser lies on a face.
        """
        lat, stencil = self.lattice, self.stencil
        if self.averaging:
            self._shift_form()  # without the derivative of the mean
        tensor = stencil.tensor(self.frame.source.spacing) / stencil.gauge[:, None, None]
        inverse = np.linalg.inv(tensor)
        return np.moveaxis(inverse.reshape(*lat.shape, lat.dim, lat.dim), (-2, -1), (0, 1))

    def scan(self, phi: Array, alpha: float) -> tuple[int, float]:
        """Scan over superbases: how many cells it improves on, and at most by how much in r."""
        self._at = None
        self.evaluate(phi, alpha)
        lat, frame = self.lattice, self.frame
        best = np.empty(lat.size)
        self._kernels.scan(
            self.padded, lat.row_start, lat.n_last, lat.strides, frame.metric,
            all_superbases(lat.dim, min(lat.halo, SCAN_REACH[lat.dim])), self.log_source,
            self.log_target, alpha + frame.log_cell, best,
        )  # fmt: skip
        gain = best - self.residual
        return int(np.count_nonzero(gain > SCAN_TOLERANCE)), max(0.0, float(gain.max()))


def _row_weights(density: Array) -> Array:
    """Weights of rows where cells at a floor would dominate the rms residual; none elsewhere."""
    mean = density.mean()
    if density.min() >= THIN * mean:
        return np.empty(0)
    return np.asarray(np.sqrt(2 * density / (density + mean)))


# Reach of the superbases that a full scan compares, and the difference in r that counts.
SCAN_REACH = {1: 1, 2: 5, 3: 1}
SCAN_TOLERANCE = 1e-8
