"""The default choice: the fast preconditioner first, pyamg where convergence slows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pma_grid.linsolve.amg import AMG
from pma_grid.linsolve.direct import Direct
from pma_grid.linsolve.krylov import (
    MOST_LINEAR_ITERATIONS,
    STALE_ITERATIONS_RATIO,
    Handle,
    LinearResult,
    LinearSolver,
)
from pma_grid.linsolve.multigrid import Multigrid
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array


class AutoHandle(Handle):
    """Starts with geometric multigrid and continues the same solve with AMG where it is slow."""

    def __init__(self, solver: Auto, stencil: Stencil, first: Handle, previous: Handle | None):
        super().__init__(first.name, stencil, first.precondition, previous, lagged=first.lagged)
        self.solver = solver
        self.fallback: Handle | None = None

    def solve(
        self, rhs: Array, *, rtol: float, max_iterations: int = MOST_LINEAR_ITERATIONS
    ) -> LinearResult:
        """Solve; the preconditioner may change on the way, the Krylov iteration goes on."""
        result = None
        if self.lagged:  # one that has become slow gives way to a fresh one of its kind first
            patience = min(max_iterations, int(STALE_ITERATIONS_RATIO * self.first_iterations) + 2)
            result = self._iterate(rhs, self, rtol, patience, None)
            if result.converged or patience == max_iterations:
                return result
            self._renew()
        done = result.iterations if result is not None else 0
        patience = min(max_iterations - done, self.solver.patience_for(rtol))
        result = self._iterate(rhs, self, rtol, patience, result)
        if result.converged or result.iterations >= max_iterations:
            return result
        self.fallback = self.solver.robust(self.stencil).setup(self.stencil, self)
        self.setups = self.fallback.setups
        self.name = f"{self.name}->{self.fallback.name}"
        left = max_iterations - result.iterations
        return self._iterate(rhs, self.fallback, rtol, left, result)

    def _iterate(
        self, rhs: Array, handle: Handle, rtol: float, limit: int, before: LinearResult | None
    ) -> LinearResult:
        """Go on with the preconditioner of ``handle``, which remembers its own share."""
        result = self.gcr.solve(
            self.stencil, rhs, handle.precondition, rtol=rtol, max_iterations=limit, progress=before
        )
        handle.count(result.iterations - (before.iterations if before is not None else 0))
        return result

    def _renew(self) -> None:
        """Build the first preconditioner afresh."""
        fresh = self.solver.first.setup(self.stencil)
        self.precondition, self.reaction = fresh.precondition, fresh.reaction
        self.lagged, self.first_iterations = False, 0
        self.setups += 1


@dataclass(frozen=True)
class Auto:
    """The default linear solver: `Direct` in 1-D, else `Multigrid`, and `AMG` where that is slow.

    Parameters
    ----------
    patience : int
        Number of V-cycles that a solve may take for each decimal digit asked for.  After that the
        second solver (`Direct` in 1-D) takes over, for the rest of this solve and for all later
        ones on the same grid.
    direct : bool
        Whether 1-D grids are factorised at once.
    first : linear solver
        What a grid begins with.
    second : AMG
        What takes over in 2-D and 3-D.
    """

    patience: int = 12
    direct: bool = True
    first: LinearSolver = field(default_factory=Multigrid)
    second: AMG = field(default_factory=AMG)

    def patience_for(self, rtol: float) -> int:
        """V-cycles allowed for a reduction by ``rtol``."""
        return math.ceil(self.patience * max(1.0, -math.log10(max(rtol, 1e-16))))

    def robust(self, stencil: Stencil) -> LinearSolver:
        """What takes over where the first is slow: nothing beats elimination in 1-D."""
        return Direct() if stencil.lattice.dim == 1 else self.second

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Set up the preconditioner in charge."""
        if stencil.lattice.dim == 1 and self.direct:
            return Direct().setup(stencil, previous)
        same = previous is not None and previous.stencil.lattice is stencil.lattice
        if same and previous is not None and previous.name in ("amg", "direct"):
            return self.robust(stencil).setup(stencil, previous)
        if same and isinstance(previous, AutoHandle) and previous.fallback is not None:
            return self.robust(stencil).setup(stencil, previous.fallback)
        return AutoHandle(self, stencil, self.first.setup(stencil, previous), previous)
