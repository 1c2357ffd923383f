"""`Handle`: a preconditioner ready to solve; the protocol of solvers, and solves that may fail."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from pma_grid.linsolve.krylov import GCR, GMRES, LinearResult, Preconditioner
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array

# Solves that serve take 5 to 30 iterations; one that needs more than this will not end.
MOST_LINEAR_ITERATIONS = 60
# A lagged preconditioner is rebuilt once a solve needs this many times the iterations of its first
# one, or the reaction changes by more than this factor.
STALE_ITERATIONS_RATIO, SIMILAR_REACTIONS_RATIO = 2.0, 2.0
# What tells that a matrix is beyond a solver: singular or non-finite factors, as pyamg, SciPy and
# NumPy report them, and our own refusals.
BEYOND = (ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError)


class Handle:
    """A preconditioner set up for one stencil, ready to solve.

    What the next set-up may reuse (buffers, hierarchies) travels here and nowhere else.

    Parameters
    ----------
    name : str
    stencil : Stencil
    precondition : callable
    previous : Handle, optional
        Of the set-up before, whose buffers are taken over if the grid is the same.
    lagged : bool
        Whether ``precondition`` is that of ``previous``, built for an earlier stencil.
    robust : bool
        Whether GMRES is to be used whatever the stencil; else GCR, where no weights are clamped.

    Attributes
    ----------
    iterations : int
        Of the last solve with this preconditioner; ``first_iterations`` of the first one.
    setups : int
        Preconditioners built up to here along the chain of handles.
    """

    def __init__(
        self,
        name: str,
        stencil: Stencil,
        precondition: Preconditioner,
        previous: Handle | None,
        *,
        lagged: bool = False,
        robust: bool = False,
    ) -> None:
        self.name = name
        self.stencil = stencil
        self.precondition = precondition
        reusable = previous is not None and previous.stencil.lattice is stencil.lattice
        self.gcr: GCR = (
            previous.gcr
            if previous is not None and reusable
            else GCR(stencil.lattice.size, stencil.lattice.workers)
        )
        self.iterations = 0
        self.lagged, self.robust = lagged, robust
        before = previous.setups if previous is not None else 0
        self.setups: int = before if lagged else before + 1
        self.reaction, self.first_iterations = stencil.reaction, 0
        if lagged and previous is not None:
            self.reaction, self.first_iterations = previous.reaction, previous.first_iterations

    def serves(self, stencil: Stencil) -> bool:
        """Whether the preconditioner is still good for ``stencil``: same grid, not stale."""
        low, high = sorted((stencil.reaction, self.reaction))
        return (
            self.stencil.lattice is stencil.lattice
            and high <= SIMILAR_REACTIONS_RATIO * low
            and self.iterations <= STALE_ITERATIONS_RATIO * self.first_iterations
        )

    def solve(
        self,
        rhs: Array,
        *,
        rtol: float,
        max_iterations: int = MOST_LINEAR_ITERATIONS,
        progress: LinearResult | None = None,
    ) -> LinearResult:
        """Solve ``J x + multiplier * gauge = rhs`` to the relative residual ``rtol``.

        ``progress`` is what another preconditioner reached with the same Krylov buffers.
        """
        krylov = GMRES() if self.robust or self.stencil.clamped is not None else self.gcr
        result = krylov.solve(
            self.stencil, rhs, self.precondition, rtol=rtol, max_iterations=max_iterations,
            progress=progress,
        )  # fmt: skip
        self.count(result.iterations - (progress.iterations if progress is not None else 0))
        return result

    def count(self, iterations: int) -> None:
        """Remember what a solve took; the first one is the measure of staleness."""
        self.iterations = iterations
        self.first_iterations = self.first_iterations or max(2, iterations)


class LinearSolver(Protocol):
    """Immutable configuration of a linear solver; set-up and solve are apart."""

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Prepare for ``stencil``, reusing what is still good of the previous handle."""
        ...


def attempt(
    solver: LinearSolver, stencil: Stencil, previous: Handle | None, rhs: Array, rtol: float
) -> tuple[Handle | None, LinearResult | None]:
    """Set up and solve; no result where the matrix is beyond the solver, then no handle either."""
    try:
        # a matrix of extreme range overflows inside the libraries: seen by the test below
        with np.errstate(all="ignore"):
            handle = solver.setup(stencil, previous)
            result = handle.solve(rhs, rtol=rtol)
    except BEYOND:
        return None, None
    finite = math.isfinite(float(result.x.sum())) and math.isfinite(result.multiplier)
    return handle, (result if finite else None)
