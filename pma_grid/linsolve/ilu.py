"""Incomplete factors: the preconditioner for what multigrid of any kind cannot coarsen."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import sparse
from scipy.sparse import linalg

from pma_grid.linsolve.handle import Handle
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array

# Added to the unit diagonal, for a matrix whose null space is left to the multiplier.
REGULARISATION = 1e-8
# Largest grids that are factorised, by their number of axes: the time of a set-up, 2 s or so at
# these, grows faster than the grid.
MOST_CELLS = {1: 2**20, 2: 2**18, 3: 2**15}


class Factors:
    """The factors of a matrix whose rows were divided by their diagonals."""

    def __init__(self, factors: linalg.SuperLU, scale: Array, singular: bool) -> None:
        self._factors, self._scale, self._singular = factors, scale, singular

    def __call__(self, residual: Array, out: Array) -> None:
        """``out`` receives an approximation of J^{-1} residual."""
        out[:] = self._factors.solve(-self._scale * residual)
        if self._singular:
            # constants come out large, and would take the digits of the rest
            out -= out.mean()


@dataclass(frozen=True)
class ILU:
    """Threshold ILU (SuperLU) of the matrix with its rows divided by their diagonals, under GMRES.

    For directions of strong anisotropy that follow no axis, and change from cell to cell, which
    `Multigrid` and `AMG` cannot coarsen.  Costly on large grids.

    Parameters
    ----------
    drop : float
        Entries of the factors that are dropped, as a share of their column's norm.
    fill : float
        Largest number of entries of the factors, in those of the matrix.
    lag : bool
        Whether the factors are kept for later matrices on the same grid, until they become slow.

    References
    ----------
    Li, Shao (2011), A Supernodal Approach to Incomplete LU Factorization with Partial Pivoting,
    ACM Trans. Math. Softw. 37, 43. doi:10.1145/1916461.1916467
    """

    drop: float = 1e-3
    fill: float = 10.0
    lag: bool = True

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Factorise, or keep the previous factors while they serve.

        Raises `ArithmeticError` on grids beyond 2^18 cells in two axes, 2^15 in three.
        """
        lagged = self.lag and previous is not None and isinstance(previous.precondition, Factors)
        if lagged and previous is not None and previous.serves(stencil):
            return Handle("ilu", stencil, previous.precondition, previous, lagged=True, robust=True)
        return Handle("ilu", stencil, self._factorise(stencil), previous, robust=True)

    def _factorise(self, stencil: Stencil) -> Factors:
        cells, most = stencil.lattice.size, MOST_CELLS[stencil.lattice.dim]
        if cells > most:
            raise ArithmeticError(
                f"a grid of {cells} cells is too large for incomplete factors (at most {most}): "
                "use AMG"
            )
        matrix, scale = stencil.equilibrated()
        matrix = matrix + REGULARISATION * sparse.identity(cells)
        # the ordering of `Direct`: the pattern is symmetric
        factors = linalg.spilu(
            matrix.tocsc(), drop_tol=self.drop, fill_factor=self.fill, permc_spec="MMD_AT_PLUS_A"
        )
        return Factors(factors, scale, singular=stencil.reaction == 0)
