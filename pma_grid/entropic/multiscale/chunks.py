"""Rows of a sparse matrix shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from pma_grid.kernels.records import Entries, GroupPairs
from pma_grid.runtime.arrays import Array, Integers

# What is compressed by rows: its pointers say where ranges are to be cut.
Rows = Entries | GroupPairs
# Below so many pairs a thread costs more than it saves.
WORTHWHILE_PAIRS = 200_000


class Chunks:
    """Runs kernels that take ranges of rows, ``kernel(lo, hi, rows, *arguments)``, on some threads.

    The kernels release the interpreter's lock.  Ranges hold about equally many entries, so that the
    result depends on the number of threads by the rounding of column sums only.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Chunks:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _ranges(self, pointers: Integers) -> list[tuple[int, int]]:
        entries = int(pointers[-1])
        if self._pool is None or entries < WORTHWHILE_PAIRS:
            return [(0, pointers.size - 1)]
        marks = np.linspace(0, entries, self.threads + 1)[1:-1]
        ends = [0, *np.searchsorted(pointers, marks).tolist(), pointers.size - 1]
        return [(a, b) for a, b in pairwise(ends) if a < b]

    def rows(self, kernel: Callable[..., Any], rows: Rows, *arguments: Any) -> None:
        """A kernel whose rows are independent."""
        ranges = self._ranges(rows.pointers)
        if self._pool is None or len(ranges) == 1:
            for lo, hi in ranges:
                kernel(lo, hi, rows, *arguments)
            return
        for done in [self._pool.submit(kernel, lo, hi, rows, *arguments) for lo, hi in ranges]:
            done.result()

    def columns(self, kernel: Callable[..., Any], rows: Rows, *arguments: Any, out: Array) -> None:
        """A kernel that adds into columns, its last argument; ``out`` receives the sums."""
        ranges = self._ranges(rows.pointers)
        out[:] = 0
        if self._pool is None or len(ranges) == 1:
            for lo, hi in ranges:
                kernel(lo, hi, rows, *arguments, out)
            return
        parts = [out, *(np.zeros_like(out) for _ in ranges[1:])]
        tasks = [
            self._pool.submit(kernel, lo, hi, rows, *arguments, part)
            for (lo, hi), part in zip(ranges, parts, strict=True)
        ]
        for done in tasks:
            done.result()
        for part in parts[1:]:
            out += part
