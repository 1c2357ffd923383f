"""`Attempt`: Newton's method on one side of a problem, and the transport that it comes to."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from pma_grid.equation.monge_ampere import TargetRule
from pma_grid.problem.floors import Floors
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.problem.working import Data, Softened
from pma_grid.runtime import Workers
from pma_grid.stationary.cascade import Cascade, Reached, Tolerances
from pma_grid.stationary.levels import Levels
from pma_grid.stationary.newton import Newton
from pma_grid.transport.potential import checked_potential
from pma_grid.transport.solution import Solution
from pma_grid.transport.transport import Transport


@dataclass(frozen=True, eq=False)
class Attempt:
    """A cascade from one side of a problem.

    Attributes
    ----------
    problem : Problem
        As given.
    turned : bool
        Whether the equation is that from target to source.
    cascade : Cascade
    """

    problem: Problem
    turned: bool
    cascade: Cascade

    @classmethod
    def of(
        cls,
        problem: Problem,
        newton: Newton,
        tolerances: Tolerances,
        rule: TargetRule,
        workers: Workers,
        *,
        turned: bool,
        persist: bool,
    ) -> Attempt:
        """On the parts of the boxes where there is mass."""
        data = Data.of(problem.swapped() if turned else problem)
        cascade = Cascade(Levels(data, rule, workers), newton, tolerances, persist=persist)
        return cls(problem, turned, cascade)

    def begin(self, initial: Transport | ArrayLike | None) -> Reached:
        """Newton's method over all grids, or on the finest alone from a given potential."""
        if initial is None:
            return self.cascade.nested()
        data = self.cascade.levels.data
        given = initial.potential if isinstance(initial, Transport) else initial
        u = checked_potential(self.problem, given, "initial")[data.crop[0]]
        phi = u - Frame(*data.grids).quadratic()
        return self.cascade.refine(self.cascade.levels.last, phi - phi.mean())

    def solution(self, reached: Reached) -> Solution:
        """The potential that the cascade came to, and its equation."""
        data = self.cascade.levels.data
        return Solution(
            data.problem,
            self.cascade.phi(reached),
            Softened(data, reached.softening),
            self.turned,
            reached.state.alpha,
            reached.evaluation.averaging,
        )

    def floors(self, reached: Reached) -> Floors:
        """What working densities changed, by the sides of the problem as given."""
        floors = Softened(self.cascade.levels.data, reached.softening).floors
        if self.turned:
            return {"source": floors["target"], "target": floors["source"]}
        return floors
