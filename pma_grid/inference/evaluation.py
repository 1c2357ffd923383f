"""`CellMasses`: the integrals of an unnormalised density over the cells of its box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pma_grid.grid.grid import Grid
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.integrals import Tail, log_cell_masses, tail
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError, check_not_negative, is_whole

# The rule is doubled to see its error, or halved where doubling took more evaluations than this.
MOST_EVALUATIONS = 3_000_000
# Changes are taken so many times: beside kinks and powers at a face the order is lower.
SAFETY_FACTOR = 2.0
# Changes from twice the spacing are divided by this: for smooth densities it could be sixteen.
COARSE_DIVISOR = 4.0
# Neighbours of a density that the grid resolves differ by less, but for the thinnest tails.
JUMP_NATS = 2.0
# Cells more an axis of other grids to compare with, whose faces lie elsewhere.
OTHER_GRIDS_CELLS = (1, 3)
# An error of log Z beyond this says that the grid misses what there is.
UNRESOLVED_NATS = 0.1
# More Gauss points an axis than this would resolve what the grid of the flow does not.
MOST_GAUSS_POINTS = 8


@dataclass(frozen=True)
class Rule:
    """How integrals are taken: the options ``quadrature`` and ``tail_bound`` of `infer`."""

    points: int
    tail_bound: float | None

    def check(self) -> None:
        """Refuse what is out of range."""
        if not is_whole(self.points, 1) or self.points > MOST_GAUSS_POINTS:
            raise InvalidInputError(
                f"quadrature is {self.points!r}; it must be a whole number of points from 1 to "
                f"{MOST_GAUSS_POINTS}: 2"
            )
        if self.tail_bound is not None:
            remedy = "a share of the mass in the box, 0 if the density ends there"
            check_not_negative(self.tail_bound, "tail_bound", remedy)


@dataclass(frozen=True, eq=False)
class CellMasses:
    """The law exp(f), not normalised, by the cells of a grid, in logarithms.

    Attributes
    ----------
    grid : Grid
    logs : ndarray, shape ``grid.shape``
        log of the integral of exp(f) over each cell.
    log_mass : float
        log of their sum.
    beyond : Tail
        The mass beyond the box.
    resolution : float
        Error of log_mass by the spacing, nats.
    """

    grid: Grid
    logs: Array
    log_mass: float
    beyond: Tail
    resolution: float

    @property
    def density(self) -> Density:
        """The law in the box, normalised."""
        return Density(np.exp(self.logs - self.log_mass), self.grid)


def evaluate(f: LogFunction, grid: Grid, limits: Array | None, rule: Rule) -> CellMasses:
    """Integrate exp(f) over the cells of a grid, and beyond it up to ``limits``.

    Raises
    ------
    InvalidInputError
        The density is not resolved by the cells, or cannot be normalised.
    """
    logs = log_cell_masses(f, grid, rule.points)
    log_mass = float(logsumexp(logs))
    bound = rule.tail_bound
    beyond = tail(f, grid, log_mass, limits) if bound is None else Tail(0.0, bound)
    resolution = _resolution(f, logs, grid, rule.points)
    if resolution > UNRESOLVED_NATS:
        raise InvalidInputError(
            f"log_density is not resolved by {'x'.join(map(str, grid.shape))} cells: log Z changes "
            f"by {resolution / SAFETY_FACTOR:.2g} nats with the spacing; it must vary little over "
            "a cell: give a larger shape, or rotate or rescale the parameters"
        )
    return CellMasses(grid, logs, log_mass, beyond, resolution)


def _resolution(f: LogFunction, logs: Array, grid: Grid, quadrature: int) -> float:
    """Changes of the cells' masses with the spacing, over the mass: signs do not cancel.

    Against half the spacing, unless that takes too many evaluations, and against twice it, where a
    smooth density changes sixteen times as much: kinks and jumps that one of them misses by chance
    the other sees, or grids of a few cells more, whose faces lie elsewhere.
    """
    finer = tuple(2 * n for n in grid.shape)
    coarser = tuple(n // 2 if n % 2 == 0 else n for n in grid.shape)
    changes = []
    if math.prod(finer) * quadrature**grid.dim <= MOST_EVALUATIONS:
        fine = log_cell_masses(f, Grid(finer, grid.lower, grid.upper), quadrature)
        changes.append(SAFETY_FACTOR * _change(fine, logs))
    if coarser != grid.shape:
        coarse = log_cell_masses(f, Grid(coarser, grid.lower, grid.upper), quadrature)
        changes.append(_change(logs, coarse) / COARSE_DIVISOR)
    whole = logsumexp(logs)
    for more in OTHER_GRIDS_CELLS:
        other = Grid(tuple(n + more for n in grid.shape), grid.lower, grid.upper)
        changes.append(
            SAFETY_FACTOR * abs(logsumexp(log_cell_masses(f, other, quadrature)) - whole)
        )
    return float(max(changes)) + _jumps(logs)


def _jumps(logs: Array) -> float:
    """Half the mass by which neighbours differ that are `JUMP_NATS` nats apart, over the mass.

    Where a density ends or jumps within a cell, rules of all spacings may agree by chance.
    """
    masses, total = np.exp(logs - logs.max()), 0.0
    with np.errstate(invalid="ignore"):  # neighbours that are both -inf are no jump
        for axis in range(logs.ndim):
            far = np.abs(np.diff(logs, axis=axis)) > JUMP_NATS
            total += float(np.abs(np.diff(masses, axis=axis))[far].sum())
    return 0.5 * total / float(masses.sum())


def _change(fine: Array, coarse: Array) -> float:
    """sum |fine, added up - coarse| / sum coarse, of log cell masses."""
    top = float(max(fine.max(), coarse.max()))
    masses = np.exp(fine - top)
    for axis, n in enumerate(coarse.shape):
        masses = np.add.reduceat(masses, np.arange(n) * (fine.shape[axis] // n), axis=axis)
    whole = np.exp(coarse - top)
    return float(np.abs(masses - whole).sum() / whole.sum())
