"""The default choice: the fast preconditioner first, pyamg where convergence slows."""

from __future__ import annotations

from dataclasses import dataclass, field

from pma_grid.lattice import Array
from pma_grid.linsolve.amg import AMG
from pma_grid.linsolve.direct import Direct
from pma_grid.linsolve.krylov import Handle, LinearResult, LinearSolver
from pma_grid.linsolve.multigrid import Multigrid
from pma_grid.linsolve.stencil import Stencil


class AutoHandle(Handle):
    """Starts with geometric multigrid and continues the same solve with AMG where it is slow."""

    def __init__(self, solver: Auto, stencil: Stencil, first: Handle, previous: Handle | None):
        super().__init__(first.name, stencil, first.precondition, previous)
        self.setups, self.reaction = first.setups, first.reaction
        self.first_iterations = first.first_iterations
        self.solver = solver
        self.fallback: Handle | None = None

    def solve(self, rhs: Array, *, rtol: float, max_iterations: int = 60) -> LinearResult:
        """Solve; the preconditioner may change on the way, the Krylov iteration goes on."""
        patience = min(self.solver.patience, max_iterations)
        result = self.gcr.solve(
            self.stencil, rhs, self.precondition, rtol=rtol, max_iterations=patience
        )
        self.count(result.iterations)
        if result.converged or patience == max_iterations:
            return result
        self.fallback = self.solver.second.setup(self.stencil, self)
        self.name = f"{self.name}->amg"
        done = self.gcr.solve(
            self.stencil, rhs, self.fallback.precondition,
            rtol=rtol, max_iterations=max_iterations - patience, progress=result,
        )  # fmt: skip
        self.fallback.count(done.iterations - result.iterations)
        self.iterations = done.iterations
        return done


@dataclass(frozen=True)
class Auto:
    """Direct in 1-D; else geometric multigrid, and AMG from the solve on in which it is slow.

    ``patience`` is the number of V-cycles a solve may take before AMG takes over for the rest of
    it and for the later solves on the same grid.
    """

    patience: int = 12
    first: LinearSolver = field(default_factory=Multigrid)
    second: AMG = field(default_factory=AMG)

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Set up the preconditioner in charge."""
        if stencil.lattice.dim == 1:
            return Direct().setup(stencil, previous)
        same = previous is not None and previous.stencil.lattice is stencil.lattice
        if same and previous is not None and previous.name == "amg":
            return self.second.setup(stencil, previous)
        if same and isinstance(previous, AutoHandle) and previous.fallback is not None:
            return self.second.setup(stencil, previous.fallback)
        return AutoHandle(self, stencil, self.first.setup(stencil, previous), previous)
