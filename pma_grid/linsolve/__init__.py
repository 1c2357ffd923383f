"""Linear solvers behind one protocol: ``solver.setup(stencil, previous) -> handle.solve(rhs)``."""

from pma_grid.linsolve.amg import AMG
from pma_grid.linsolve.automatic import Auto
from pma_grid.linsolve.direct import Direct
from pma_grid.linsolve.handle import Handle, LinearSolver, attempt
from pma_grid.linsolve.ilu import ILU
from pma_grid.linsolve.krylov import GCR, GMRES, LinearResult
from pma_grid.linsolve.multigrid import Multigrid
from pma_grid.linsolve.stencil import Stencil

__all__ = [
    "AMG", "GCR", "GMRES", "ILU", "Auto", "Direct", "Handle", "LinearResult", "LinearSolver",
    "Multigrid", "Stencil", "attempt",
]  # fmt: skip
