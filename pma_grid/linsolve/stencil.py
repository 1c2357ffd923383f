"""The linear operator that every solver of this package sees: lattice vectors, weights, drift."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from pma_grid.grid.lattice import Lattice, Share
from pma_grid.kernels.grid import lattice as kernels
from pma_grid.kernels.grid.vectors import add_multiple
from pma_grid.runtime import Array, Integers


@dataclass
class Stencil:
    """J q = sum_k w_k (q(x+e_k) + q(x-e_k) - 2 q) + b . (centred difference of q) - c q, by cells.

    Without the reaction c constants are its null space; the *gauge* field spans what its range is
    completed by, so that ``J x + multiplier * gauge = rhs`` has one solution of mean zero.  With
    c > 0 and a constant gauge the same holds: constants are left to the multiplier.

    Attributes
    ----------
    lattice : Lattice
        Layout with a halo at least as wide as the vectors.
    vectors : ndarray of int8, shape (N, m, d)
    offsets : ndarray of int32, shape (N, m)
        The vectors as offsets into padded fields.
    weights : ndarray, shape (N, m)
        Non-negative where ``clamped`` is None.
    drift : ndarray, shape (N, d)
        Per cell unit.
    gauge : ndarray, shape (N,)
    row_scale : ndarray, shape (N,)
        Positive weights that make diag(row_scale) J nearly symmetric (the density over eta).
    viscosity : ndarray, shape (d,), optional
        Extra diffusion ``viscosity_i * gauge`` along axis i, for strictly monotone gradients.
    reaction : float
        c >= 0: the inverse step size of an implicit time step.
    clamped : ndarray, shape (N, m), optional
        Positive weights near ``weights``, of which preconditioners are built; None for ``weights``.
    equilibration : ndarray, shape (N,), optional
        Positive row weights of the norm in which solvers measure residuals; None for 1.
    padded : ndarray, optional
        A padded field to write to, where its owner has no use for it meanwhile.
    """

    lattice: Lattice
    vectors: Integers
    offsets: Integers
    weights: Array
    drift: Array
    gauge: Array
    row_scale: Array
    viscosity: Array | None = None
    reaction: float = 0.0
    equilibration: Array | None = None
    clamped: Array | None = None
    padded: Array | None = field(default=None, repr=False)
    _padded: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._padded = self.lattice.zeros() if self.padded is None else self.padded

    @property
    def positive_weights(self) -> Array:
        """The weights of which preconditioners are built."""
        return self.weights if self.clamped is None else self.clamped

    def apply(self, x: Array, out: Array) -> None:
        """``out`` (N,) receives J x for the field x (N,)."""
        self.lattice.fill(x, self._padded)
        self.lattice.share(lambda share: self._apply_rows(share, x, out))

    def _apply_rows(self, share: Share, x: Array, out: Array) -> None:
        """J x in some rows, the padded field being filled."""
        lat, c = self.lattice, share.cells
        rows = lat.row_start[share.rows]
        kernels.APPLY[lat.dim](
            self._padded, rows, lat.n_last, lat.strides, self.offsets[c], self.weights[c],
            self.drift[c], out[c],
        )  # fmt: skip
        if self.viscosity is not None:
            kernels.add_viscosity(
                self._padded, rows, lat.n_last, lat.strides, self.viscosity, self.gauge[c], out[c]
            )
        if self.reaction:
            add_multiple(-self.reaction, x[c], out[c])

    def tensor(self, spacing: Array | float = 1.0) -> Array:
        """Diffusion tensors sum_k w_k e_k e_k^T, (N, d, d), of the vectors times the spacing."""
        vectors = self.vectors * np.asarray(spacing, float)
        return np.asarray(np.einsum("nk,nki,nkj->nij", self.weights, vectors, vectors))

    def total_weights(self) -> Array:
        """sum_k w_k of every row, shape (N,): half the diagonal without the reaction."""
        # a product: sums over a short last axis are slow in NumPy
        return np.asarray(self.weights @ np.ones(self.weights.shape[1]))

    def energy(self, x: Array, measure: Array) -> float:
        """sum_c measure_c sum_k w_k ((x(c+e_k) - x(c))^2 + (x(c-e_k) - x(c))^2) / 2."""
        lat = self.lattice
        lat.fill(x, self._padded)
        return float(
            kernels.energy(
                self._padded, lat.row_start, lat.n_last, self.offsets, self.weights, measure
            )
        )

    def matrix(self, *, clamped: bool = False) -> sparse.csr_matrix:
        """J as a sparse matrix with the ghosts built in; ``clamped``: of positive weights."""
        weights = self.positive_weights if clamped else self.weights
        ghosts = self.lattice.ghost_matrix()
        n, m, dim = self.vectors.shape
        count = n * (2 * m + 2 * dim + 1)
        rows, cols = np.empty(count, np.int32), np.empty(count, np.int32)
        data = np.empty(count)
        if ghosts is None:
            kernels.assemble(
                self.lattice.shape_array, self.vectors, weights, self.drift, rows, cols, data
            )
            matrix = sparse.coo_matrix((data, (rows, cols)), shape=(n, n)).tocsr()
        else:
            lat = self.lattice
            kernels.assemble_padded(
                lat.row_start, lat.n_last, lat.strides, self.offsets, weights, self.drift, rows,
                cols, data,
            )  # fmt: skip
            padded = sparse.coo_matrix((data, (rows, cols)), shape=(n, ghosts.shape[0]))
            matrix = (padded.tocsr() @ ghosts).tocsr()
        if self.viscosity is not None:
            matrix = matrix + self._viscous_matrix()
        if self.reaction:
            matrix = (matrix - self.reaction * sparse.identity(n)).tocsr()
        matrix.sum_duplicates()
        return matrix

    def equilibrated(self) -> tuple[sparse.csr_matrix, Array]:
        """Minus J of the positive weights, rows divided by their diagonals; the inverses of these.

        What preconditioners are built of where rows differ by orders of magnitude.  Raises
        `ArithmeticError` where rows vanish or are no numbers.
        """
        matrix = -self.matrix(clamped=True)
        diagonal = matrix.diagonal()
        if not (diagonal.min() > 0 and np.isfinite(matrix.data).all()):
            raise ArithmeticError("the matrix has rows that vanish or are no numbers")
        scale = 1 / diagonal
        return (sparse.diags(scale) @ matrix).tocsr(), scale

    def _viscous_matrix(self) -> sparse.csr_matrix:
        """The viscous part of the matrix: axis neighbours, as a stencil of its own."""
        assert self.viscosity is not None
        n, _, dim = self.vectors.shape
        axes = np.broadcast_to(np.eye(dim, dtype=np.int8), (n, dim, dim)).copy()
        weights = np.ascontiguousarray(self.gauge[:, None] * self.viscosity)
        offsets = np.broadcast_to(self.lattice.strides.astype(np.int32), (n, dim)).copy()
        part = Stencil(
            self.lattice, axes, offsets, weights, np.zeros((n, dim)), self.gauge, self.row_scale
        )
        return part.matrix()
