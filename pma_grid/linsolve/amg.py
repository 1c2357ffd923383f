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

from pma_grid.linsolve.handle import Handle
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array, check_choice

# pyamg's hierarchies end with grids of at most so many cells, solved by a dense inverse; where they
# do not get there, since few couplings are strong, at most so many may be left.
COARSEST_CELLS, MOST_CELLS_LEFT = 100, 400
# Couplings weaker than this share of the diagonal are not strong, for smoothed aggregation.
WEAK_COUPLING = 0.05


class Cycle:
    """One V-cycle of a pyamg hierarchy for minus the matrix, its rows times ``scale``."""

    def __init__(self, hierarchy: Any, scale: Array) -> None:
        self.hierarchy = hierarchy
        self.operator = hierarchy.aspreconditioner(cycle="V")
        self.scale = scale

    def __call__(self, residual: Array, out: Array) -> None:
        """``out`` receives an approximation of J^{-1} residual."""
        out[:] = self.operator.matvec(-self.scale * residual)


@dataclass(frozen=True)
class AMG:
    """Algebraic multigrid: a V-cycle of pyamg preconditions GMRES.

    The choice for strong anisotropy and strong drift, where `Multigrid` is slow.  It is built on
    the matrix itself, not on a symmetric part, with rows divided by their diagonals: what is strong
    within a row is then strong in the hierarchy, by however much rows differ.

    Parameters
    ----------
    method : {"ruge_stuben", "smoothed_aggregation"}
        Which hierarchy of pyamg is built.
    lag : bool
        Whether the hierarchy is kept for later matrices on the same grid, until it becomes slow.

    References
    ----------
    Bell, Olson, Schroder, Southworth (2023), PyAMG: Algebraic Multigrid Solvers in Python, JOSS 8,
    5495. doi:10.21105/joss.05495
    """

    method: Literal["ruge_stuben", "smoothed_aggregation"] = "ruge_stuben"
    lag: bool = True

    def __post_init__(self) -> None:
        check_choice(self.method, ("ruge_stuben", "smoothed_aggregation"), "method")

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Build the hierarchy, or keep the previous one while it serves.

        Raises `ArithmeticError` where the matrix is beyond it.
        """
        lagged = self.lag and previous is not None and isinstance(previous.precondition, Cycle)
        if lagged and previous is not None and previous.serves(stencil):
            return Handle("amg", stencil, previous.precondition, previous, lagged=True, robust=True)
        return Handle("amg", stencil, self._build(stencil), previous, robust=True)

    def _build(self, stencil: Stencil) -> Cycle:
        matrix, scale = stencil.equilibrated()
        with reproducible(), silent():
            hierarchy = self._hierarchy(matrix, stencil.reaction > 0)
        coarsest = hierarchy.levels[-1].A
        if coarsest.shape[0] > MOST_CELLS_LEFT:
            raise ArithmeticError(
                f"algebraic multigrid stopped at {coarsest.shape[0]} cells, too many for a dense "
                f"inverse (at most {MOST_CELLS_LEFT}): use Direct"
            )
        # whose inverse is made in the first cycle only, where LAPACK would print of it
        if not np.isfinite(coarsest.data).all():
            raise ArithmeticError("algebraic multigrid ended in a singular matrix: use Direct")
        return Cycle(hierarchy, scale)

    def _hierarchy(self, matrix: sparse.csr_matrix, regular: bool) -> Any:
        """The multilevel solver of pyamg; a regular matrix needs no pseudo-inverse."""
        import pyamg

        coarse = "splu" if regular else "pinv"

        if self.method == "ruge_stuben":
            return pyamg.ruge_stuben_solver(matrix, max_coarse=COARSEST_CELLS, coarse_solver=coarse)
        return pyamg.smoothed_aggregation_solver(
            matrix,
            symmetry="nonsymmetric",
            strength=("symmetric", {"theta": WEAK_COUPLING}),
            max_coarse=COARSEST_CELLS,
            coarse_solver=coarse,
        )


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
