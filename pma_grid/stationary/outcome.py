"""`Attempt`: Newton's method on one side of a problem, and the transport that it comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.equation.monge_ampere import TargetRule
from pma_grid.problem.floors import Floors
from pma_grid.problem.frame import split
from pma_grid.problem.problem import Problem
from pma_grid.problem.working import Window, cropped
from pma_grid.runtime import Array, Workers
from pma_grid.stationary.cascade import Cascade, Reached, Tolerances
from pma_grid.stationary.levels import Levels
from pma_grid.stationary.newton import Newton
from pma_grid.transport.transport import Transport, checked_potential


@dataclass(frozen=True, eq=False)
class Attempt:
    """A cascade from one side of a problem.

    Attributes
    ----------
    problem : Problem
        As given.
    turned : bool
        Whether the equation is that from target to source.
    windows : tuple
        Cells of the boxes of the equation, its source first.
    cascade : Cascade
    """

    problem: Problem
    turned: bool
    windows: tuple[Window, Window]
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
        """On the boxes where there is mass."""
        inner, windows = cropped(problem.swapped() if turned else problem)
        cascade = Cascade(Levels(inner, rule, workers), newton, tolerances, persist=persist)
        return cls(problem, turned, windows, cascade)

    def begin(self, initial: Transport | ArrayLike | None) -> Reached:
        """Newton's method over all grids, or on the finest alone from a given potential."""
        levels = self.cascade.levels
        if initial is None:
            return self.cascade.nested()
        given = initial.potential if isinstance(initial, Transport) else initial
        potential = checked_potential(self.problem, given, "initial")[self.windows[0]]
        return self.cascade.refine(levels.last, split(levels.problem, potential)[0])

    def floors(self, reached: Reached) -> Floors:
        """What working densities changed, by the sides of the problem as given."""
        levels = self.cascade.levels
        floors = levels.working(levels.last, reached.softening)[1]
        if self.turned:
            return {"source": floors["target"], "target": floors["source"]}
        return floors

    def transport(self, reached: Reached) -> Transport:
        """What the cascade reached, as a transport of the problem as given."""
        u = self.cascade.potential(reached)
        problem = self.problem.swapped() if self.turned else self.problem
        u = extended(problem, self.cascade.levels.problem, u, self.windows)
        state, averaged = reached.state, reached.evaluation.averaging
        if self.turned:
            other = Transport.from_potential(problem, u)
            y = self.problem.source.grid.points
            x = other.inverse(y)
            conj = (x * y).sum(1) - other._function.frame.potential(x) - other._function._interpolated(x)[0]
            return Transport(self.problem, conj.reshape(self.problem.source.shape), mass_constant=-state.alpha, averaged=False)
        return Transport(self.problem, u, mass_constant=state.alpha, averaged=averaged)

def extended(problem, inner, u, crops):
    G, H, (g, h) = problem.source.grid, problem.target.grid, (inner.source.grid, inner.target.grid); X = G.coordinates()
    u = np.pad(u, [(c.start, k - c.stop) for c, k in zip(crops[0], G.shape)], mode="edge")
    for i in range(G.dim):
        for side, x0, y0, x1, y1 in ((-1, g.lower[i], h.lower[i], G.lower[i], H.lower[i]), (1, g.upper[i], h.upper[i], G.upper[i], H.upper[i])):
            away = side * (X[i] - x0); out = away > 0
            if out.any(): u = u + np.where(out, side * y0 * (away + G.spacing[i] / 2) + 0.5 * abs((y1 - y0) / (x1 - x0)) * away**2, 0.0)
    return u
