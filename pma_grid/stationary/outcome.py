"""`Attempt`: a way for Newton's method to go about a problem, and the solution it comes to."""

from __future__ import annotations

from dataclasses import dataclass

from pma_grid.grid.crops import restricted
from pma_grid.problem.frame import Frame, mean_free, split
from pma_grid.problem.problem import Problem
from pma_grid.problem.refining import halved_cells
from pma_grid.runtime import Array
from pma_grid.stationary.cascade import Cascade, Reached
from pma_grid.transport.solution import Solution


@dataclass(frozen=True)
class Way:
    """How Newton's method goes about a problem.

    Attributes
    ----------
    turned : bool
        From target to source.
    finer : bool
        On cells of half the size.
    given : bool
        On the finest grid alone, from a potential that was given.
    brief : bool
        Not by way of gentler working densities: the equation is solved already, if not resolved.
    """

    turned: bool = False
    finer: bool = False
    given: bool = False
    brief: bool = False

    @property
    def name(self) -> str:
        """For the statistics."""
        parts = ["newton"]
        if self.given:
            parts.append("from the start given")
        if self.turned:
            parts.append("from the target")
        if self.finer:
            parts.append("on finer cells")
        return " ".join(parts)

    def lead(self, problem: Problem) -> Problem:
        """The problem whose equation is solved."""
        solved = problem.swapped() if self.turned else problem
        return halved_cells(solved) if self.finer else solved


@dataclass(frozen=True, eq=False)
class Attempt:
    """A cascade that goes one way about a problem.

    Attributes
    ----------
    problem : Problem
        As given.
    way : Way
    cascade : Cascade
        Of the parts of the boxes where there is mass.
    """

    problem: Problem
    way: Way
    cascade: Cascade

    @property
    def raised(self) -> bool:
        """Whether cells were raised to floors other than those of working densities."""
        return any(floor["cells"] for floor in self.cascade.levels.data.floors.values())

    def run(self, initial: Array | None) -> Reached:
        """Newton's method over all grids, or on the finest alone from a given potential."""
        if initial is None or not self.way.given:
            return self.cascade.nested()
        data = self.cascade.levels.data
        phi = split(self.problem, initial)[0]
        phi = restricted(phi, self.problem.source.grid, self.problem.target.grid, data.crop)
        unit = Frame(*data.grids).unit
        return self.cascade.refine(self.cascade.levels.last, mean_free(phi) / unit)

    def solution(self, reached: Reached) -> Solution:
        """The potential that the cascade came to, and its equation."""
        data = self.cascade.levels.data
        return Solution(
            data.problem,
            self.cascade.phi(reached),
            self.cascade.levels.finest(reached.softening),
            self.way.turned,
            reached.state.alpha,
            reached.evaluation.averaging,
            reached.rearranged,
        )
