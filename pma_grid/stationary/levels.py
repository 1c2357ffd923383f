"""`Levels`: the problem on its own grids and on ever coarser ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.grid.grid import Grid
from pma_grid.grid.transfer import Transfer, halved
from pma_grid.problem.working import STANDARD, Data, Softened, Softening
from pma_grid.runtime import SERIAL, Array, Workers


@dataclass
class Levels:
    """The data on a sequence of grids, coarsest first, and the equations on them.

    Attributes
    ----------
    data : Data
        On the finest grids.
    rule : TargetRule
        What the equations take for nu(grad u).
    workers : Workers
        Threads that share the work on every grid.
    densities : list of tuple of ndarray
        Cell averages of source and target over their mean, on every level.
    """

    data: Data
    rule: TargetRule = TargetRule.MEAN
    workers: Workers = SERIAL
    densities: list[tuple[Array, Array]] = field(init=False)
    _finest: dict[Softening, Softened] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.densities = [self.data.pair]
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

    @property
    def on_line(self) -> bool:
        """Whether monotone rearrangement solves the equations: means over images on one axis."""
        return (
            self.data.problem.dim == 1
            and self.rule is TargetRule.MEAN
            and self.data.problem.target_domain is None
        )

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of the source on one level."""
        return self.densities[index][0].shape

    def grids(self, index: int) -> tuple[Grid, Grid]:
        """Grids of source and target on one level."""
        source, target = (
            Grid(values.shape, grid.lower, grid.upper)
            for values, grid in zip(self.densities[index], self.data.grids, strict=True)
        )
        return source, target

    def working(self, index: int, softening: Softening = STANDARD) -> tuple[Array, Array]:
        """Working densities of one level over their means, positive."""
        if index == self.last:
            return self.finest(softening).pair
        return self.data.softened(self.densities[index], softening)[0]

    def finest(self, softening: Softening = STANDARD) -> Softened:
        """Working densities of the finest level, and what they changed: made once."""
        if softening not in self._finest:
            self._finest[softening] = Softened(self.data, softening)
        return self._finest[softening]

    def equation(self, index: int, softening: Softening = STANDARD) -> MongeAmpere:
        """The discretised equation of one level."""
        return MongeAmpere.between(
            self.working(index, softening),
            self.grids(index),
            self.rule,
            domain=self.data.problem.target_domain,
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
