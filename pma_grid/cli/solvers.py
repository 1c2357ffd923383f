"""Linear solvers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pma_grid.linsolve import LinearSolver

SOLVERS = ("auto", "multigrid", "amg", "direct")


def linear_solver(name: str, *, lag: bool = False) -> LinearSolver:
    """The solver of a name; with ``lag`` its set-up serves several steps."""
    from pma_grid import linsolve

    if name == "multigrid":
        return linsolve.Multigrid(lag=lag)
    makers = {"auto": linsolve.Auto, "amg": linsolve.AMG, "direct": linsolve.Direct}
    solver: LinearSolver = makers[name]()
    return solver
