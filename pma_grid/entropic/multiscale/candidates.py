"""Which pairs of atoms may exchange mass: lists of pairs, from one level to the next finer one.

A finer level inherits its candidates, children times children of the coarse pairs that carry mass.
Before that the list is widened at tears: where neighbours go to places far apart, the tear may lie
one cell further on the finer grid, so each of them needs the columns of the other too.  Without it
a cell next to a tear knows one side only, and its potential is wrong.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pma_grid.entropic.multiscale.chunks import Chunks
from pma_grid.entropic.multiscale.pyramid import Atoms, Level
from pma_grid.kernels import records
from pma_grid.kernels.entropic import plans
from pma_grid.kernels.records import Entries, GroupPairs
from pma_grid.runtime import Array, Integers, InvalidInputError

# Images of neighbours further apart than so many cells are torn apart.
TEAR_CELLS = 3.0
# Per entry at the peak, measured: value, column, place in the aggregates, these, and the copies by
# which the plan is sorted at the end.
BYTES_PER_ENTRY = 64


def transposed(entries: Entries, columns: int) -> Entries:
    """The entries by columns, in as many of them."""
    values = np.empty_like(entries.values)
    out = Entries(np.zeros(columns + 1, np.int64), np.empty_like(entries.indices), values)
    plans.transpose(entries, out)
    return out


@dataclass(frozen=True, eq=False)
class Pairs:
    """A list of pairs by rows: indices[pointers[i] : pointers[i + 1]], in any order."""

    pointers: Integers
    indices: Integers
    columns: int  # how many there are

    @classmethod
    def all(cls, rows: int, columns: int) -> Pairs:
        """Everything with everything."""
        every = np.tile(np.arange(columns, dtype=np.int32), rows)
        return cls(np.arange(rows + 1) * columns, every, columns)

    @property
    def size(self) -> int:
        """Number of pairs."""
        return int(self.pointers[-1])

    @cached_property
    def transposed(self) -> Pairs:
        """The same pairs by columns."""
        out = transposed(Entries(self.pointers, self.indices, np.empty(0)), self.columns)
        return Pairs(out.pointers, out.indices, self.pointers.size - 1)

    def united(self, other: Pairs) -> Pairs:
        """The pairs of either list."""
        return self._twice(plans.unite, self.pointers, self.indices, other.pointers, other.indices)

    def widened(self, images: Array, atoms: Atoms, distance: float) -> Pairs:
        """With the pairs of neighbours whose images lie further apart than ``distance``."""
        return self._twice(
            plans.widen, self.pointers, self.indices, images, atoms.cell, atoms.number, distance
        )

    def _twice(self, kernel: Callable[..., None], *arguments: object) -> Pairs:
        """Count, then fill."""
        pointers = np.empty_like(self.pointers)
        indices = np.empty(0, np.int32)
        for fill in (False, True):
            mark = np.full(self.columns, -1, np.int64)
            kernel(*arguments, mark, fill, pointers, indices)
            if not fill:
                indices = np.empty(int(pointers[-1]), np.int32)
        return Pairs(pointers, indices, self.columns)


def widened(pairs: Pairs, level: Level, images: Array, preimages: Array) -> Pairs:
    """Candidates of a solved level with those across its tears, seen from both sides."""
    distance = TEAR_CELLS * level.widest
    there = pairs.widened(images, level.source, distance)
    back = pairs.transposed.widened(preimages, level.target, distance)
    if back.size == pairs.size:
        return there
    return there.united(back.transposed)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The pairs that a level may use: groups of atoms times groups of atoms."""

    level: Level
    pairs: Pairs  # of groups
    rows: Integers  # first atom of each group, and one past the last
    columns: Integers
    chunks: Chunks

    @classmethod
    def all(cls, level: Level, chunks: Chunks) -> Candidates:
        """Every pair."""
        x, y = level.source, level.target
        return cls(level, Pairs.all(x.size, y.size), x.single, y.single, chunks)

    @classmethod
    def children(cls, fine: Level, coarse: Level, pairs: Pairs, chunks: Chunks) -> Candidates:
        """Children times children of coarse pairs."""
        return cls(fine, pairs, coarse.source.children, coarse.target.children, chunks)

    def source_transform(self, g: Array, eps: float) -> Array:
        """f_i = -eps log sum_j b_j exp((g_j - c_ij)/eps) over the candidates: exact rows."""
        x, y = self.level.source, self.level.target
        return _soft(self.chunks, self.pairs, (self.rows, self.columns), (x, y), g, eps)

    def target_transform(self, f: Array, eps: float) -> Array:
        """g_j = -eps log sum_i a_i exp((f_i - c_ij)/eps) over the candidates: exact columns."""
        x, y = self.level.source, self.level.target
        return _soft(self.chunks, self.pairs.transposed, (self.columns, self.rows), (y, x), f, eps)

    def imbalance(self, f: Array, eps: float) -> float:
        """L1 error of the rows' masses where f has the columns exact: 0 at the optimum, below 2."""
        x = self.level.source
        best = self.source_transform(self.target_transform(f, eps), eps)
        # no row sum exceeds the total of 1, whatever f: no overflow
        return float(np.abs(np.exp(x.log_mass + (f - best) / eps) - x.mass).sum())

    def thinned(self, f: Array, g: Array, eps: float, delta: float) -> tuple[Pairs, Array]:
        """The pairs with P_ij > delta min(a_i, b_j), and P_ij / sqrt(a_i b_j); they must fit."""
        x, y = self.level.source, self.level.target
        common = (self._groups, *self._sides(f, g), eps, math.log(delta))
        pointers = np.zeros(x.size + 1, np.int64)
        none = Entries(pointers, np.empty(0, np.int32), np.empty(0))
        self.chunks.rows(plans.thin, *common, False, none)
        found = self._counted(pointers)
        self.chunks.rows(plans.thin, *common, True, found)
        return Pairs(pointers, found.indices, y.size), found.values

    def links(
        self, f: Array, g: Array, eps: float, labels: tuple[Array, Array], count: int
    ) -> Entries:
        """log of the mass between each row and every component of columns but its own."""
        common = (self._groups, *self._sides(f, g), eps, (*labels, count))
        pointers = np.zeros(self.level.source.size + 1, np.int64)
        plans.links(*common, False, Entries(pointers, np.empty(0, np.int32), np.empty(0)))
        found = self._counted(pointers)
        plans.links(*common, True, found)
        return found

    def _counted(self, pointers: Integers) -> Entries:
        """Room for entries, of which ``pointers`` holds the number in each row, and is summed."""
        np.cumsum(pointers, out=pointers)
        check_memory(int(pointers[-1]), self.level)
        return Entries(pointers, np.empty(pointers[-1], np.int32), np.empty(pointers[-1]))

    @property
    def _groups(self) -> GroupPairs:
        return GroupPairs(self.pairs.pointers, self.pairs.indices, self.rows, self.columns)

    def _sides(self, f: Array, g: Array) -> tuple[records.Atoms, records.Atoms]:
        """The atoms of both sides with their potentials."""
        x, y = self.level.source, self.level.target
        return (
            records.Atoms(x.position, f, x.log_mass),
            records.Atoms(y.position, g, y.log_mass),
        )


def extended(
    coarse: Level, fine: Level, pairs: Pairs, g: Array, eps: float, chunks: Chunks
) -> Array:
    """f on the finer level: the soft transform of the coarse g over the row of the parent."""
    groups = coarse.source.children, coarse.target.single
    return _soft(chunks, pairs, groups, (fine.source, coarse.target), g, eps)


def _soft(
    chunks: Chunks,
    pairs: Pairs,
    groups: tuple[Integers, Integers],
    atoms: tuple[Atoms, Atoms],
    potential: Array,
    eps: float,
) -> Array:
    """Soft transform of a potential on the second atoms to one on the first."""
    out = np.empty(atoms[0].size)
    x, y = atoms
    others = records.Atoms(y.position, potential, y.log_mass)
    listed = GroupPairs(pairs.pointers, pairs.indices, *groups)
    chunks.rows(plans.soft_transform, listed, x.position, others, eps, out)
    return out


def check_memory(entries: int, level: Level) -> None:
    """Raise before a plan is made that would not fit."""
    needed, free = entries * BYTES_PER_ENTRY, free_memory()
    if needed > free:
        shapes = " and ".join("x".join(map(str, shape)) for shape in level.shapes)
        raise InvalidInputError(
            f"eps makes a plan of {entries} entries between grids of {shapes}, which needs "
            f"{needed / 2**30:.1f} GiB of the {free / 2**30:.1f} GiB free; it must fit: pass a "
            "smaller eps, coarser densities, or method='dense'"
        )


def free_memory() -> float:
    """Bytes that this machine can still give; infinite where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    except (OSError, ValueError, AttributeError):
        return math.inf
