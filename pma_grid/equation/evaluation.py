"""`Evaluation`: residual and linearisation of a `MongeAmpere` equation, in monotone form."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.equation.images import Images, Renewal
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.grid.lattice import Share
from pma_grid.grid.splines import SPLINE_HALO
from pma_grid.grid.sums import BlockSums
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.grid import lattice as lattice_kernels
from pma_grid.kernels.grid.lattice import VECTORS_A_CELL
from pma_grid.kernels.grid.vectors import squares
from pma_grid.kernels.records import Balance, Linearisation, Spline, Superbases
from pma_grid.linsolve import Stencil
from pma_grid.runtime import Array, Integers


class Evaluation:
    """An equation at one potential after another, with the buffers that this takes.

    Potentials and the stencil's derivatives are in the unit of potentials of the `Frame`.

    Superbases are state: each evaluation walks on from where the last one stood, but for `evaluate`
    in 2-D.  So is what the images keep between evaluations; see `Renewal`.

    Attributes
    ----------
    equation : MongeAmpere
    residual : ndarray, shape (N,)
        Of the last `evaluate`.
    stencil : Stencil
        The linearisation of the last `evaluate_log`, or of the last `evaluate` after `linearise`.
    faces : int
        Cells whose minimiser lay on a face of the cone at the last `evaluate`.
    """

    def __init__(self, equation: MongeAmpere, superbase: Integers | None = None) -> None:
        self.equation = equation
        self.frame, self.lattice = equation.frame, equation.lattice
        self.log_source = equation.log_source
        lat = self.lattice
        n, dim = lat.size, lat.dim
        count = VECTORS_A_CELL[dim]
        if superbase is None:
            superbase = np.broadcast_to(np.eye(dim, dtype=np.int8), (n, dim, dim))
        self.superbase = np.array(superbase, np.int8).reshape(n, dim, dim)
        self.padded = lat.zeros()
        self.log_target = np.empty(n)
        self.residual = np.empty(n)
        self.faces = 0
        self.stencil = Stencil(
            lattice=lat,
            vectors=np.empty((n, count, dim), np.int8),
            offsets=np.empty((n, count), np.int32),
            weights=np.empty((n, count)),
            drift=np.empty((n, dim)),
            gauge=np.empty(n),
            row_scale=np.empty(n),
            viscosity=equation.viscosity,
            padded=self.padded,
        )
        self.images = None if equation.footprint is None else Images(equation)
        self._kernels = DIMENSION[dim]
        self._sums = BlockSums(n, lat.workers)
        self._shift = 0.0
        # the potential and the mass constant of the last `evaluate`, and what it returned
        self._at: tuple[Array, float] | None = None
        self._rms = math.inf
        self._averaged_at: Array | None = None
        self._change_due = False
        self._expand()

    @property
    def averaging(self) -> bool:
        """Whether the target was averaged over the image of any cell at the last evaluation."""
        return self.images is not None and self.images.active

    def superbase_field(self) -> Integers:
        """The superbases as a field, shape (*shape, d, d)."""
        return self.superbase.reshape(*self.lattice.shape, *self.superbase.shape[1:])

    def restart(self, superbase: Integers) -> None:
        """Walk on from other superbases of the same grid."""
        self.superbase[:] = superbase.reshape(self.superbase.shape)
        self._at = None
        self._expand()

    def aim(self, log_source: Array) -> None:
        """Measure ``residual`` against another log mu, (N,), from now on, images made afresh."""
        self.log_source = log_source
        self._at = None

    def weighted_rms(self) -> float:
        """rms of the last residual, cells counted by mass: with weights 2 mu / (mu + mean)."""
        relative = self.equation.source.ravel() / self.equation.source.mean()
        return math.sqrt(float((2 * relative / (relative + 1) * self.residual**2).mean()))

    def _expand(self) -> None:
        """Lattice vectors and offsets of the superbases."""
        strides = self.lattice.strides
        self.lattice.share(lambda s: self._kernels.expand(self._superbases(s), strides))

    def _superbases(self, share: Share) -> Superbases:
        """The superbases of a share of the cells, for kernels."""
        c, stencil = share.cells, self.stencil
        reach = self.lattice.halo
        return Superbases(self.superbase[c], stencil.vectors[c], stencil.offsets[c], reach)

    def evaluate(self, phi: Array, alpha: float, renew: Renewal = Renewal.BASES) -> float:
        """Fill ``residual`` at (phi, alpha); returns the rms residual.

        The residual is that of the shift form, r = d c / b: to first order eta (log mu(x) + alpha
        - log nu(grad u) - log det D2u) with eta <= 1, finite for any phi.  At the very arrays of
        the last call nothing is computed, unless there are images: these follow the superbases.
        """
        same = self._at is not None and self._at[0] is phi and self._at[1] == alpha
        if same and not self.averaging:
            return self._rms
        self._at = None
        self._evaluate_target(phi)
        if self.images is not None:
            self.images.average(self.padded, self.superbase, self.log_target, self.stencil, renew)
        self._shift = alpha + self.frame.log_cell
        self._shift_form()
        total = self._sums(squares, self.residual, np.empty(0))[0]
        self._at, self._rms = (phi, alpha), math.sqrt(total / self.lattice.size)
        return self._rms

    def _shift_form(self) -> None:
        """Residual and linearisation from the target evaluated last."""
        equation, lat, stencil = self.equation, self.lattice, self.stencil

        def task(share: Share) -> int:
            c = share.cells
            balance = Balance(self.log_source[c], self.log_target[c], self._shift)
            linear = Linearisation(stencil.weights[c], stencil.drift[c], stencil.gauge[c])
            faces = self._kernels.shift_form(
                self.padded, lat.layout(share), equation.scales, balance, self._superbases(share),
                linear, self.residual[c],
            )  # fmt: skip
            return int(faces)

        self.faces = sum(lat.share(task))
        self._change_due = self.averaging

    def _evaluate_target(self, phi: Array) -> None:
        """log nu at the gradient, and its derivative into the drift buffer."""
        equation, lat, stencil = self.equation, self.lattice, self.stencil
        spline = Spline(equation.target.coefficients, SPLINE_HALO)
        lat.extend(phi, self.padded)
        if self.images is not None:
            self.images.current = self.images.current and phi is self._averaged_at
        self._averaged_at = phi

        def task(share: Share) -> None:
            c = share.cells
            self._kernels.target_at_gradient(
                self.padded, lat.layout(share), equation.scales, spline, self.log_target[c],
                stencil.drift[c],
            )  # fmt: skip
            if stencil.viscosity is not None:
                rows = lat.row_start[share.rows]
                lattice_kernels.add_viscosity(
                    self.padded, rows, lat.n_last, lat.strides, stencil.viscosity,
                    np.ones(c.stop - c.start), self.log_target[c],
                )  # fmt: skip

        lat.share(task)

    def linearise(self) -> Stencil:
        """The stencil of the last `evaluate`, its rows weighted for symmetry (mu / eta)."""
        self._add_change()
        density, gauge = self.equation.source.ravel(), self.stencil.gauge
        scale = self.stencil.row_scale
        self._sums.each(lambda c: np.divide(density[c], gauge[c], out=scale[c]))
        return self.stencil

    def _add_change(self) -> None:
        """The derivative of the means to the stencil, where it is not there yet."""
        if self.images is not None and self._change_due:
            self.images.add_change(self.superbase, self.stencil)
            self._change_due = False

    def evaluate_log(self, phi: Array, renew: Renewal = Renewal.BASES) -> Array:
        """h = log nu(grad u) + log det D2u - log mu, NaN where u is not convex; fills ``stencil``.

        The stencil is then the derivative of h itself, its gauge the constant 1.
        """
        lat, frame, stencil = self.lattice, self.frame, self.stencil
        self._at = None
        self._evaluate_target(phi)
        residual = np.empty(lat.size)
        self._log_det(residual)
        if self.images is not None:  # by the superbases of this potential
            self.images.average(self.padded, self.superbase, self.log_target, stencil, renew)
        stencil.gauge[:] = 1.0
        self._change_due = self.averaging
        self._add_change()
        stencil.drift *= frame.per_cell
        residual -= frame.log_cell
        residual += self.log_target
        residual -= self.equation.log_source
        return residual.reshape(lat.shape)

    def _log_det(self, out: Array) -> None:
        """log det D2u in index units and its derivative into the stencil."""
        lat, stencil = self.lattice, self.stencil
        lat.share(
            lambda s: self._kernels.log_det(
                self.padded, lat.layout(s), self.frame.metric, self._superbases(s),
                stencil.weights[s.cells], out[s.cells],
            )
        )  # fmt: skip

    def hessian(self) -> Array:
        """D2u at the last `evaluate`, (d, d, *shape): inverse of D, so that its det solves the row.

        Symmetric positive definite even where the minimiser lies on a face.
        """
        lat, stencil = self.lattice, self.stencil
        if self.averaging and not self._change_due:
            self._shift_form()  # without the derivative of the mean
        tensor = stencil.tensor(self.frame.spacing) / stencil.gauge[:, None, None]
        inverse = np.asarray(np.linalg.inv(tensor), float) * self.frame.hessian_unit
        return np.moveaxis(inverse.reshape(*lat.shape, lat.dim, lat.dim), (-2, -1), (0, 1))
