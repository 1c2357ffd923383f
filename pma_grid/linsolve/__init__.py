"""Linear solvers behind one protocol: ``solver.setup(stencil, previous) -> handle.solve(rhs)``.

They know lattice stencils and matrices, not the equation they come from.
"""

from pma_grid.linsolve.amg import AMG
from pma_grid.linsolve.attempt import attempt
from pma_grid.linsolve.automatic import Auto
from pma_grid.linsolve.direct import Direct
from pma_grid.linsolve.krylov import GCR, Handle, LinearResult, LinearSolver
from pma_grid.linsolve.multigrid import Multigrid
from pma_grid.linsolve.stencil import Stencil

__all__ = [
    "AMG", "GCR", "Auto", "Direct", "Handle", "LinearResult", "LinearSolver", "Multigrid",
    "Stencil", "attempt",
]  # fmt: skip
