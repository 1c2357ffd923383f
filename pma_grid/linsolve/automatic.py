"""The default choice: the fast preconditioner first, more robust ones where convergence slows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pma_grid.linsolve.amg import AMG
from pma_grid.linsolve.direct import Direct
from pma_grid.linsolve.handle import (
    BEYOND,
    MOST_LINEAR_ITERATIONS,
    STALE_ITERATIONS_RATIO,
    Handle,
    LinearSolver,
)
from pma_grid.linsolve.ilu import ILU
from pma_grid.linsolve.krylov import LinearResult
from pma_grid.linsolve.multigrid import Multigrid
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array


class AutoHandle(Handle):
    """Goes on with the next solver of a chain, in the same solve, where one is slow.

    Attributes
    ----------
    rank : int
        Of the solver in charge within its chain.
    shares : list of int
        Iterations of the last solve by each preconditioner that took part.
    """

    def __init__(
        self, solver: Auto, stencil: Stencil, rank: int, first: Handle, previous: Handle | None
    ) -> None:
        super().__init__(
            first.name, stencil, first.precondition, previous, lagged=first.lagged,
            robust=first.robust,
        )  # fmt: skip
        self.solver, self.rank = solver, rank
        self.shares: list[int] = []
        # whether nothing is left to follow
        self._final = rank == len(solver.chain(stencil.lattice.dim)) - 1

    def solve(
        self,
        rhs: Array,
        *,
        rtol: float,
        max_iterations: int = MOST_LINEAR_ITERATIONS,
        progress: LinearResult | None = None,
    ) -> LinearResult:
        """Solve; the preconditioner may change on the way, the Krylov iteration goes on."""
        result, self.shares = progress, []
        while True:
            done = 0 if result is None else result.iterations
            limit = min(max_iterations - done, self._patience(rtol, max_iterations))
            result = super().solve(rhs, rtol=rtol, max_iterations=limit, progress=result)
            self.shares.append(self.iterations)
            if result.converged or result.iterations >= max_iterations:
                return result
            if self._final and not self.lagged:
                return result
            self._replace()

    def _patience(self, rtol: float, most: int) -> int:
        """Iterations that the preconditioner in charge may take."""
        if self.lagged:
            return int(STALE_ITERATIONS_RATIO * self.first_iterations) + 2
        return most if self._final else self.solver.patience_for(rtol)

    def _replace(self) -> None:
        """A fresh preconditioner for one that has become slow, else the next; the same if none."""
        try:
            rank, fresh = self.solver.begin(self.stencil, self.rank + (not self.lagged))
        except BEYOND:
            self._final, self.lagged = True, False
            return
        if rank > self.rank:
            self.name = f"{self.name}->{fresh.name}"
        self.rank, self.robust = rank, fresh.robust
        self._final = rank == len(self.solver.chain(self.stencil.lattice.dim)) - 1
        self.precondition, self.reaction = fresh.precondition, fresh.reaction
        self.lagged, self.first_iterations = False, 0
        self.setups += 1


@dataclass(frozen=True)
class Auto:
    """The default linear solver: `Direct` in 1-D, else `Multigrid`, then `AMG`, then `ILU`.

    Each takes over where the one before is slow, for the rest of that solve and for all later ones
    on the same grid.

    Parameters
    ----------
    patience : int
        Number of V-cycles that a solve may take for each decimal digit asked for, before the next
        solver takes over.
    direct : bool
        Whether 1-D grids are factorised at once.
    first : linear solver
        What a grid begins with.
    second, third : linear solver
        What takes over in 2-D and 3-D; in 1-D that is `Direct`, which nothing beats there.
    """

    patience: int = 12
    direct: bool = True
    first: LinearSolver = field(default_factory=Multigrid)
    second: LinearSolver = field(default_factory=AMG)
    third: LinearSolver = field(default_factory=ILU)

    def patience_for(self, rtol: float) -> int:
        """V-cycles allowed for a reduction by ``rtol``."""
        return math.ceil(self.patience * max(1.0, -math.log10(max(rtol, 1e-16))))

    def chain(self, dim: int) -> tuple[LinearSolver, ...]:
        """The solvers for grids of ``dim`` axes, the fastest first."""
        if dim > 1:
            return self.first, self.second, self.third
        return (Direct(),) if self.direct else (self.first, Direct())

    def begin(
        self, stencil: Stencil, rank: int, previous: Handle | None = None
    ) -> tuple[int, Handle]:
        """The first solver from ``rank`` on that the matrix is not beyond, set up."""
        chain = self.chain(stencil.lattice.dim)
        for index in range(rank, len(chain) - 1):
            try:
                return index, chain[index].setup(stencil, previous)
            except BEYOND:
                continue
        if rank >= len(chain):
            raise ArithmeticError("no linear solver is left to try")
        return len(chain) - 1, chain[-1].setup(stencil, previous)

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Set up the preconditioner in charge."""
        same = previous is not None and previous.stencil.lattice is stencil.lattice
        rank = previous.rank if same and isinstance(previous, AutoHandle) else 0
        rank, first = self.begin(stencil, rank, previous)
        return AutoHandle(self, stencil, rank, first, previous)
