"""One linear solve that may fail: the failures of four libraries turned into one answer."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.linsolve.krylov import Handle, LinearResult, LinearSolver
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array


def attempt(
    solver: LinearSolver, stencil: Stencil, previous: Handle | None, rhs: Array, rtol: float
) -> tuple[Handle | None, LinearResult | None]:
    """Set up and solve; no result where the matrix is beyond the solver, then no handle either."""
    try:
        # a matrix of extreme range overflows inside the libraries: seen by the test below
        with np.errstate(all="ignore"):
            handle = solver.setup(stencil, previous)
            result = handle.solve(rhs, rtol=rtol)
    except (ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError):
        # singular or non-finite factors, as pyamg, SciPy and NumPy report them
        return None, None
    finite = math.isfinite(float(result.x.sum())) and math.isfinite(result.multiplier)
    return handle, (result if finite else None)
