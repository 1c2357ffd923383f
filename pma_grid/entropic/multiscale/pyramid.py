"""The atoms of both sides on coarser and coarser grids, down to a pair small enough for all pairs.

Cells are summed two by two along the axes whose spacing is among the smallest of *both* grids, so
that coarse cells become cubes and coarse grids alike, whatever the shapes and boxes.  Only cells
with mass are atoms; an atom of a coarser level lies at the barycentre of its children.  Atoms are
numbered so that siblings follow each other, on every level: a group of atoms is a range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pma_grid.problem.reduction import Reduced, squared_cell
from pma_grid.runtime import Array, Integers

# The coarsest level solved, between all atoms, has at most so many pairs.
ALL_PAIRS = 2**16
# Still coarser levels serve the aggregates of scaling only; the last has at most so many pairs.
FEWEST_PAIRS = 2**13
# An axis is coarsened together with the finest one if its spacing is at most so many times larger.
ALIKE_SPACINGS = 1.5


@dataclass(eq=False)
class Atoms:
    """The cells with mass of one side on one level."""

    shape: tuple[int, ...]  # of the level's grid
    spacing: Array
    mass: Array  # positive, sums to 1
    position: Array  # reduced coordinates of the barycentres, (n, max(d, 2))
    cell: Integers  # where in the grid, (n, 3), axes of one cell added at the end
    # the atom of the next coarser level, ascending; empty on the coarsest
    parent: Integers = field(default_factory=lambda: np.empty(0, np.int32))
    # those of parent I are children[I], ..., children[I + 1] - 1
    children: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        self.log_mass = np.log(self.mass)
        self.root_mass = np.sqrt(self.mass)

    @property
    def size(self) -> int:
        """Number of atoms."""
        return int(self.mass.size)

    @property
    def single(self) -> Integers:
        """Every atom a group of its own."""
        return np.arange(self.size + 1)

    @property
    def number(self) -> Integers:
        """Grid of three axes with the number of the atom in each cell, -1 where there is none."""
        grid = np.full(self.shape + (1,) * (3 - len(self.shape)), -1, np.int32)
        grid[tuple(self.cell.T)] = np.arange(self.size)
        return grid

    @property
    def flat(self) -> Integers:
        """Index of each atom's cell in C order."""
        return np.asarray(np.ravel_multi_index(tuple(self.cell.T[: len(self.shape)]), self.shape))

    def take(self, order: Integers) -> None:
        """Renumber the atoms."""
        for name in ("mass", "log_mass", "root_mass", "position", "cell"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[order]))
        if self.parent.size:
            self.parent = self.parent[order]


@dataclass(frozen=True, eq=False)
class Level:
    """Both sides on one level."""

    source: Atoms
    target: Atoms

    @property
    def cell(self) -> float:
        """The level's natural unit of eps, h^2 as `Reduced.cell`, length^2."""
        return squared_cell(
            (self.source.shape, self.target.shape), (self.source.spacing, self.target.spacing)
        )

    @property
    def pairs(self) -> int:
        """Number of pairs of atoms."""
        return self.source.size * self.target.size

    @property
    def widest(self) -> float:
        """The largest spacing along the axes that have one, length: the unit of a jump."""
        spacings = [
            h
            for side in (self.source, self.target)
            for h, n in zip(side.spacing, side.shape, strict=True)
            if n > 1
        ]
        return max(spacings, default=0.0)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of both grids."""
        return self.source.shape, self.target.shape


def pyramid(reduced: Reduced) -> list[Level]:
    """Levels of a problem, the finest first; the coarsest has at most `FEWEST_PAIRS` pairs."""
    sides = [_finest(reduced.a, reduced.x, reduced.spacing[0])]
    sides.append(_finest(reduced.b, reduced.y, reduced.spacing[1]))
    levels = [Level(*sides)]
    while levels[-1].pairs > FEWEST_PAIRS:
        sides = [_coarsened(s, k) for s, k in zip(sides, _factors(sides), strict=True)]
        levels.append(Level(*sides))
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _order(fine.source, coarse.source)
        _order(fine.target, coarse.target)
    return levels


def _finest(masses: Array, axes: tuple[Array, ...], spacing: Array) -> Atoms:
    """The atoms as given."""
    index = np.nonzero(masses)
    position = np.zeros((index[0].size, max(masses.ndim, 2)))
    cell = np.zeros((index[0].size, 3), np.int64)
    for k, (axis, i) in enumerate(zip(axes, index, strict=True)):
        position[:, k], cell[:, k] = axis[i], i
    return Atoms(masses.shape, spacing, masses[index], position, cell)


def _factors(sides: list[Atoms]) -> list[list[int]]:
    """2 for the axes to coarsen, per side."""
    spacings = [
        [h if n > 1 else math.inf for h, n in zip(s.spacing, s.shape, strict=True)] for s in sides
    ]
    limit = ALIKE_SPACINGS * min(min(h) for h in spacings)
    return [[2 if h <= limit else 1 for h in side] for side in spacings]


def _coarsened(fine: Atoms, factors: list[int]) -> Atoms:
    """Sums of masses; sets the parents of ``fine``, in C order of the cells."""
    shape = tuple(-(-n // k) for n, k in zip(fine.shape, factors, strict=True))
    by = np.array(factors + [1] * (3 - len(factors)))
    cell = fine.cell // by
    flat = np.ravel_multi_index(tuple(cell.T[: len(shape)]), shape)
    occupied, parent = np.unique(flat, return_inverse=True)
    mass = np.asarray(np.bincount(parent, fine.mass), float)
    share = fine.mass / mass[parent]
    means = [np.bincount(parent, share * x) for x in fine.position.T]
    position = np.stack(means, axis=1, dtype=float)
    fine.parent = parent.astype(np.int32)
    where = np.zeros((occupied.size, 3), np.int64)
    where[:, : len(shape)] = np.stack(np.unravel_index(occupied, shape), axis=1)
    return Atoms(shape, fine.spacing * factors, mass, position, where)


def _order(fine: Atoms, coarse: Atoms) -> None:
    """Number the atoms of ``fine`` by their parents, whose own order is settled."""
    # parents were given in C order of the coarse cells, which may have been renumbered since
    sequence = np.argsort(coarse.flat)
    fine.parent = sequence.astype(np.int32)[fine.parent]
    fine.take(np.argsort(fine.parent, kind="stable"))
    coarse.children = np.concatenate(
        [[0], np.cumsum(np.bincount(fine.parent, minlength=coarse.size))]
    )
