"""Sparse LU: exact, for one-dimensional grids and for checking the others."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import sparse
from scipy.sparse import linalg

from pma_grid.linsolve.handle import Handle
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array


@dataclass(frozen=True)
class Direct:
    """Sparse LU factorisation (SuperLU): exact, and costly on large grids in 2-D and 3-D.

    Notes
    -----
    The matrix has constants as its null space.  The multiplier of the mass takes the place of one
    unknown: column 0 of the matrix becomes the gauge field.
    """

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Factorise."""
        matrix = stencil.matrix().tocsc()
        gauge = sparse.csc_matrix(stencil.gauge[:, None])
        bordered = sparse.hstack([matrix[:, 1:], gauge]).tocsc()
        # a heuristic minimum-degree ordering of A' + A beats COLAMD here: the pattern is symmetric
        factor = linalg.splu(bordered, permc_spec="MMD_AT_PLUS_A")

        def precondition(residual: Array, out: Array) -> None:
            out[0] = 0.0
            out[1:] = factor.solve(residual)[:-1]

        return Handle("direct", stencil, precondition, previous)
