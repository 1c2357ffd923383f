"""Multilevel matrix scaling: find u, v > 0 with u R v of given marginals, R sparse and fixed.

Sinkhorn's sweeps settle what neighbours exchange at once and what must cross the domain slowly.
The latter is the business of coarser levels: the present plan is summed over groups of atoms, the
sums are scaled to the marginals of the groups, recursively, and every atom takes the factor of its
group.  No linear system is solved and everything stays positive.
"""

from __future__ import annotations

import numpy as np

from pma_grid.entropic.multiscale.candidates import Pairs
from pma_grid.entropic.multiscale.chunks import Chunks
from pma_grid.entropic.multiscale.pyramid import ALL_PAIRS, Level
from pma_grid.kernels.entropic import sparse
from pma_grid.kernels.records import Entries
from pma_grid.runtime import Array

# Sweeps of a cycle where nothing coarser is left: below other levels, and alone.
COARSEST_SWEEPS = 30
LONE_SWEEPS = 8
# Cycles of a level whose aggregates cost next to nothing.
CHEAP_CYCLES = 2
# A group's factor beyond this is not believed.
LARGEST_FACTOR = 1e3


class MatrixScaling:
    """R_ij = P_ij / sqrt(a_i b_j) and its aggregates: u = sqrt(a), v = sqrt(b) give the plan P."""

    def __init__(self, pairs: Pairs, values: Array, levels: list[Level], chunks: Chunks) -> None:
        self.pairs, self.values, self.chunks = pairs, values, chunks
        self.entries = Entries(pairs.pointers, pairs.indices, values)
        self.source, self.target = levels[0].source, levels[0].target
        self.u, self.sums = np.empty(self.source.size), np.empty(self.target.size)
        self.coarse: MatrixScaling | None = None
        self.small = levels[0].pairs <= ALL_PAIRS
        if len(levels) > 1:
            self._aggregate(levels[1:])

    def _aggregate(self, coarser: list[Level]) -> None:
        """The pattern of the sums over groups."""
        self._groups = coarser[0].source, coarser[0].target
        pointers = np.empty(self._groups[0].size + 1, np.int64)
        indices = np.empty(self.pairs.size, np.int32)
        self._place = np.empty(self.pairs.size, np.int32)
        count = sparse.aggregate_pairs(
            self.pairs.pointers, self.pairs.indices, self._groups[0].children, self.target.parent,
            np.full(self._groups[1].size, -1, np.int64), pointers, indices, self._place,
        )  # fmt: skip
        pairs = Pairs(pointers, indices[:count].copy(), self._groups[1].size)
        self.coarse = MatrixScaling(pairs, np.empty(count), coarser, self.chunks)

    def scale_rows(self, v: Array) -> None:
        """u = a / (R v), and ``sums`` = R^T u: the plan's rows are exact, its columns v sums."""
        self.chunks.columns(sparse.sweep, self.entries, self.source.mass, v, self.u, out=self.sums)

    def error(self, v: Array) -> float:
        """L1 distance of the plan's columns from the target's masses."""
        return float(np.abs(v * self.sums - self.target.mass).sum())

    def plan(self, u: Array, v: Array) -> Array:
        """u_i R_ij v_j, pair by pair."""
        out = np.empty(self.pairs.size)
        sparse.plan_values(self.entries, u, v, out)
        return out

    def scaled_columns(self, v: Array) -> Array:
        """b / (R^T u); a column without a row keeps its factor."""
        factors = np.divide(self.target.mass, self.sums, out=v.copy(), where=self.sums > 0)
        return np.asarray(np.clip(factors, sparse.SMALLEST, sparse.LARGEST))

    def cycle(self, v: Array) -> Array:
        """A better v: a sweep and the correction of the groups; `scale_rows` came before."""
        if self.coarse is None:
            return self.sweeps(v)
        v = self.scaled_columns(v)
        self.scale_rows(v)
        return np.asarray(v * self._correction(v))

    def sweeps(self, v: Array) -> Array:
        """Some of Sinkhorn's sweeps; `scale_rows` came before."""
        for _ in range(LONE_SWEEPS - 1):
            v = self.scaled_columns(v)
            self.scale_rows(v)
        return self.scaled_columns(v)

    def _correction(self, v: Array) -> Array:
        """Factors of the groups of columns, for each column."""
        assert self.coarse is not None
        source, target = self._groups
        parents = self.source.parent, self.target.parent
        u = self.u / source.root_mass[parents[0]]
        w = v / target.root_mass[parents[1]]
        self.chunks.rows(
            sparse.aggregate_values, self.coarse.entries, self.entries, u, w, source.children,
            self._place,
        )  # fmt: skip
        factors = self.coarse.solve() / target.root_mass
        return np.asarray(np.clip(factors, 1 / LARGEST_FACTOR, LARGEST_FACTOR)[parents[1]])

    def solve(self) -> Array:
        """v of this level's sums, approximately: one cycle and a sweep after it."""
        v: Array = self.target.root_mass.copy()
        self.scale_rows(v)
        if self.coarse is None:
            for _ in range(COARSEST_SWEEPS):
                v = self.scaled_columns(v)
                self.scale_rows(v)
            return v
        for _ in range(CHEAP_CYCLES if self.small else 1):
            v = self.cycle(v)
            self.scale_rows(v)
        return self.scaled_columns(v)
