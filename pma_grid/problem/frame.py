"""`Frame`: the affine stretch of box to box, and the part of a potential beyond it."""

from __future__ import annotations

import numpy as np

from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.runtime.arrays import Array


class Frame:
    """The quadratic part of u and the constants of one pair of grids."""

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        h, target_h = np.array(source.spacing), np.array(target.spacing)
        self.stretch = np.array(target.lengths) / np.array(source.lengths)
        self.metric = self.stretch * h * h
        self.affine = self.stretch * h / target_h
        self.slope = 0.5 / (h * target_h)
        self.per_cell = 1.0 / (h * target_h)
        self.log_cell = 2.0 * float(np.log(h).sum())

    def quadratic(self) -> Array:
        """The part of u that maps box to box affinely, at the cell centres."""
        total = np.zeros(self.source.shape)
        for i, x in enumerate(self.source.axes):
            part = 0.5 * self.stretch[i] * (x - self.source.lower[i]) ** 2
            part = part + self.target.lower[i] * x
            total += along(part, i, self.source.dim)
        return total


def split(problem: Problem, potential: Array) -> tuple[Array, float]:
    """phi of a potential u, what remains without the quadratic part and its mean, and that mean."""
    frame = Frame(problem.source.grid, problem.target.grid)
    phi = np.asarray(potential, float) - frame.quadratic()
    mean = float(phi.mean())
    return phi - mean, mean
