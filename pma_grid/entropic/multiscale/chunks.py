"""Rows of a sparse matrix shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from pma_grid.kernels.records import Entries, GroupPairs
from pma_grid.runtime import Array, Integers, Workers

# What is compressed by rows: its pointers say where ranges are to be cut.
Rows = Entries | GroupPairs
# Below so many pairs a thread costs more than it saves.
WORTHWHILE_PAIRS = 200_000


class Chunks(Workers):
    """Runs kernels of ranges of rows, ``kernel(lo, hi, rows, *arguments)``, on some threads."""

    # ranges hold about equally many entries: threads change the rounding of column sums, no more
    def _ranges(self, pointers: Integers) -> list[tuple[int, int]]:
        entries = int(pointers[-1])
        if self.threads == 1 or entries < WORTHWHILE_PAIRS:
            return [(0, pointers.size - 1)]
        marks = np.linspace(0, entries, self.threads + 1)[1:-1]
        ends = [0, *np.searchsorted(pointers, marks).tolist(), pointers.size - 1]
        return [(a, b) for a, b in pairwise(ends) if a < b]

    def rows(self, kernel: Callable[..., Any], rows: Rows, *arguments: Any) -> None:
        """A kernel whose rows are independent."""
        self.each(lambda part: kernel(*part, rows, *arguments), self._ranges(rows.pointers))

    def columns(self, kernel: Callable[..., Any], rows: Rows, *arguments: Any, out: Array) -> None:
        """A kernel that adds into columns, its last argument; ``out`` receives the sums."""
        ranges = self._ranges(rows.pointers)
        out[:] = 0
        if len(ranges) == 1:  # small plans are swept so often that sharing out shows
            kernel(*ranges[0], rows, *arguments, out)
            return
        sums = [out, *(np.zeros_like(out) for _ in ranges[1:])]
        self.each(lambda k: kernel(*ranges[k], rows, *arguments, sums[k]), range(len(ranges)))
        for part in sums[1:]:
            out += part
