"""`Levels`: the problem on its own grids and on ever coarser ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.grid.grid import Grid
from pma_grid.grid.transfer import Transfer, halved
from pma_grid.problem.floors import Floors, floored
from pma_grid.problem.problem import Problem
from pma_grid.problem.working import STANDARD, Side, Softening, softened, thin
from pma_grid.runtime import SERIAL, Array, Workers


@dataclass
class Levels:
    """The data on a sequence of grids, coarsest first, and the equations on them.

    Attributes
    ----------
    problem : Problem
        Its boxes are those of the equations.
    rule : TargetRule
        What the equations take for nu(grad u).
    workers : Workers
        Threads that share the work on every grid.
    densities : list of tuple of ndarray
        Cell averages of source and target on every level.
    sides : tuple of Side, or None
        What working densities are made of where the data are thin; elsewhere they are the data.
    """

    problem: Problem
    rule: TargetRule = TargetRule.MEAN
    workers: Workers = SERIAL
    densities: list[tuple[Array, Array]] = field(init=False)
    sides: tuple[Side, Side] | None = field(init=False, default=None)
    _floors: Floors = field(init=False)

    def __post_init__(self) -> None:
        source, target, self._floors = floored(self.problem)
        self.densities = [(source, target)]
        if thin(source, target):
            self.sides = self._sides()
        while True:
            finer = self.densities[0]
            pair = (_coarsened(finer[0]), _coarsened(finer[1]))
            if pair[0].shape == finer[0].shape:
                break
            self.densities.insert(0, pair)

    def _sides(self) -> tuple[Side, Side]:
        """Of the finest grids; targets continued beyond a domain have their own floor."""
        problem = self.problem
        floored = problem.source.floor is not None, (
            problem.target.floor is not None or problem.target_domain is not None
        )
        source, target = (
            Side.of(values, grid, floored=own)
            for values, grid, own in zip(
                self.densities[-1], self.grids(self.last), floored, strict=True
            )
        )
        return source, target

    @property
    def thin(self) -> bool:
        """Whether a density falls so low that the equations have working densities of their own."""
        return self.sides is not None

    @property
    def last(self) -> int:
        """Index of the finest level."""
        return len(self.densities) - 1

    @property
    def on_line(self) -> bool:
        """Whether monotone rearrangement solves the equations: means over images on one axis."""
        return (
            self.problem.dim == 1
            and self.rule is TargetRule.MEAN
            and self.problem.target_domain is None
        )

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

    def working(
        self, index: int, softening: Softening = STANDARD
    ) -> tuple[tuple[Array, Array], Floors]:
        """Working densities of one level, positive, and what they changed in the data."""
        pair = self.densities[index]
        if self.sides is None:
            return pair, self._floors
        working, reports = softened(pair, self.grids(index), self.sides, softening)
        return working, {
            name: asdict(report) if report.relative else self._floors[name]
            for name, report in zip(("source", "target"), reports, strict=True)
        }

    def equation(self, index: int, softening: Softening = STANDARD) -> MongeAmpere:
        """The discretised equation of one level."""
        return MongeAmpere.between(
            self.working(index, softening)[0],
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
