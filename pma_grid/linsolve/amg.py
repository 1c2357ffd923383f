"""Algebraic multigrid (pyamg): the preconditioner for strong anisotropy and strong drift."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from pma_grid.linsolve.krylov import Handle
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array

# Mean of |drift| over the weights, 1 where it rivals the diffusion, above which J is taken as it is
# instead of its symmetric part.
DRIFT_DOMINATES = 0.5
# pyamg's hierarchies end with grids of at most so many cells, solved directly.
COARSEST_CELLS = 100
# Couplings weaker than this share of the diagonal are not strong, for smoothed aggregation.
WEAK_COUPLING = 0.05
# Diagonal entries this small beside the largest are zero to pyamg's interpolation.
SMALLEST_DIAGONAL = 1e-15


class Cycle:
    """One V-cycle of a pyamg hierarchy."""

    def __init__(self, hierarchy: Any, scale: Array | None) -> None:
        self.hierarchy = hierarchy
        self.operator = hierarchy.aspreconditioner(cycle="V")
        self.scale = scale

    def __call__(self, residual: Array, out: Array) -> None:
        rhs = -residual if self.scale is None else -self.scale * residual
        out[:] = self.operator.matvec(rhs)


@dataclass(frozen=True)
class AMG:
    """Algebraic multigrid: a V-cycle of pyamg preconditions the Krylov iteration.

    The choice for strong anisotropy and strong drift, where `Multigrid` is slow.

    Parameters
    ----------
    method : {"ruge_stuben", "smoothed_aggregation"}
        Which hierarchy of pyamg is built.
    symmetric : bool, optional
        Whether it is built on the symmetric part of the scaled matrix (True) or on the matrix
        itself (False); None decides by the size of the drift.
    lag : bool
        Whether the hierarchy is kept for later matrices on the same grid, until it becomes slow.

    References
    ----------
    Bell, Olson, Schroder, Southworth (2023), PyAMG: Algebraic Multigrid Solvers in Python, JOSS 8,
    5495. doi:10.21105/joss.05495
    """

    method: Literal["ruge_stuben", "smoothed_aggregation"] = "ruge_stuben"
    symmetric: bool | None = None
    lag: bool = True

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Build the hierarchy, or keep the previous one while it serves."""
        cycle = previous.precondition if previous is not None else None
        lagged = self.lag and isinstance(cycle, Cycle)
        if lagged and previous is not None and previous.serves(stencil):
            return Handle("amg", stencil, previous.precondition, previous, lagged=True)
        return Handle("amg", stencil, self._build(stencil), previous)

    def _build(self, stencil: Stencil) -> Cycle:
        symmetric = self.symmetric
        if symmetric is None:
            drift = np.abs(stencil.drift).sum(axis=1)
            ratio = float(np.mean(drift / (2 * stencil.positive_weights.sum(axis=1))))
            symmetric = ratio < DRIFT_DOMINATES
        matrix = -stencil.matrix(clamped=True)
        diagonal = matrix.diagonal()
        if not diagonal.min() > SMALLEST_DIAGONAL * diagonal.max():
            raise ArithmeticError("the matrix has rows that vanish beside others")
        scale = None
        if symmetric:
            scale = stencil.row_scale / np.mean(stencil.row_scale)
            matrix = _graph_laplacian(sparse.diags(scale) @ matrix, stencil.reaction * scale)
        with reproducible(), silent():
            return Cycle(self._hierarchy(matrix, symmetric, stencil.reaction > 0), scale)

    def _hierarchy(self, matrix: sparse.csr_matrix, symmetric: bool, regular: bool) -> Any:
        """The multilevel solver of pyamg; a regular matrix needs no pseudo-inverse."""
        import pyamg

        coarse = "splu" if regular else "pinv"

        if self.method == "ruge_stuben":
            return pyamg.ruge_stuben_solver(matrix, max_coarse=COARSEST_CELLS, coarse_solver=coarse)
        kind = "symmetric" if symmetric else "nonsymmetric"
        return pyamg.smoothed_aggregation_solver(
            matrix,
            symmetry=kind,
            strength=("symmetric", {"theta": WEAK_COUPLING}),
            max_coarse=COARSEST_CELLS,
            coarse_solver=coarse,
        )


def _graph_laplacian(matrix: sparse.csr_matrix, reaction: Array) -> sparse.csr_matrix:
    """Symmetric part with its positive couplings dropped and rows that sum to the reaction."""
    # away from a solution the plain symmetric part has rows that do not, hence negative
    # eigenvalues, on which a multigrid cycle diverges
    part = 0.5 * (matrix + matrix.T).tocsr()
    part = part - sparse.diags(part.diagonal())
    part.data = np.minimum(part.data, 0.0)
    row_sums = np.asarray(part.sum(axis=1)).ravel()
    return (part + sparse.diags(reaction - row_sums)).tocsr()


@contextmanager
def reproducible() -> Iterator[None]:
    """pyamg estimates spectral radii from NumPy's global generator: fix it, then give it back."""
    state = np.random.get_state()
    np.random.seed(20504)
    try:
        yield
    finally:
        np.random.set_state(state)


@contextmanager
def silent() -> Iterator[None]:
    """Nothing on the standard output: pyamg's compiled code prints where a denominator is 0."""
    # it writes past `sys.stdout`: the file descriptor, if there is one, must look elsewhere, and
    # what C still holds in its buffer goes there too
    with suppress(OSError, ValueError, AttributeError):  # closed, gone or None: nothing to lose
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        yield
        return
    _flush_c()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        _flush_c()
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)


def _flush_c() -> None:
    """Empty the buffers of C's output streams, where its library can be found."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None if os.name != "nt" else "ucrtbase").fflush(None)
