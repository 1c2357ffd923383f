"""`Levels`: the problem on its own grids and on ever coarser ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.grid.grid import Grid
from pma_grid.grid.transfer import Transfer, halved
from pma_grid.problem.floors import Raised
from pma_grid.problem.problem import Problem
from pma_grid.runtime import SERIAL, Array, Workers


@dataclass
class Levels:
    """Working densities on a sequence of grids, coarsest first, and the equations on them.

    Attributes
    ----------
    problem : Problem
    working : Raised
        Positive cell averages of source and target on the finest grids, and what floors changed.
    rule : TargetRule
        What the equations take for nu(grad u).
    workers : Workers
        Threads that share the work on every grid.
    densities : list of tuple of ndarray
        The working averages of every level.
    """

    problem: Problem
    working: Raised
    rule: TargetRule = TargetRule.MEAN
    workers: Workers = SERIAL
    densities: list[tuple[Array, Array]] = field(init=False)

    def __post_init__(self) -> None:
        self.densities = [self.working.pair]
        while True:
            finer = self.densities[0]
            pair = (_coarsened(finer[0]), _coarsened(finer[1]))
            if pair[0].shape == finer[0].shape:
                break
            self.densities.insert(0, pair)

    @property
    def last(self) -> int:
        """Index of the finest level."""
        return len(self.densities) - 1

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of the source on one level."""
        return self.densities[index][0].shape

    def grids(self, index: int) -> tuple[Grid, Grid]:
        """Grids of source and target on one level."""
        pair = self.problem.source.grid, self.problem.target.grid
        source, target = (
            Grid(values.shape, grid.lower, grid.upper)
            for values, grid in zip(self.densities[index], pair, strict=True)
        )
        return source, target

    def coarse_problem(self, index: int) -> Problem:
        """The problem on the grids of one level, exact zeros included."""
        source, target = self.grids(index)
        pair = self.problem.source.resampled(source), self.problem.target.resampled(target)
        return Problem(*pair, target_domain=self.problem.target_domain)

    def equation(self, index: int) -> MongeAmpere:
        """The discretised equation of one level."""
        return MongeAmpere.between(
            self.densities[index],
            self.grids(index),
            self.rule,
            domain=self.problem.target_domain,
            workers=self.workers,
        )

    def transfer(self, index: int) -> Transfer:
        """From one level to the next finer one."""
        return Transfer(self.shape(index + 1), self.shape(index), self.workers)

    def trend_ratio(self, index: int) -> float:
        """What errors of order h^2 change by towards the next finer level, over the last change."""
        shapes = [self.shape(k) for k in (index + 1, index, index - 1)]
        axis = max(range(len(shapes[0])), key=lambda k: shapes[0][k])
        h = [1.0 / shape[axis] for shape in shapes]
        return (h[1] ** 2 - h[0] ** 2) / (h[2] ** 2 - h[1] ** 2)


def _coarsened(values: Array) -> Array:
    """Averages on the next coarser grid."""
    return Transfer(values.shape, halved(values.shape)).average(values)
