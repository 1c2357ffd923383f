"""Threads that share the rows of a field; the kernels they run release the interpreter's lock.

Results must not depend on the number of threads, bit for bit.  So what is shared is either
independent from row to row, or cut into pieces by the size of the grid alone: partial sums over
fixed blocks, Gauss-Seidel over fixed slabs in two colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from pma_grid.runtime.checks import check_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

# Below so many cells handing work to another thread costs more than it saves.
WORTHWHILE_CELLS = 2**15


class Workers:
    """A number of threads: the caller's and a pool of others, closed with the ``with`` block."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = check_threads(threads)
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def each(self, task: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What ``task`` returns for every item, in order; the caller's thread takes the first."""
        if self._pool is None or len(items) < 2:
            return [task(item) for item in items]
        others = [self._pool.submit(task, item) for item in items[1:]]
        try:
            first = task(items[0])
        finally:  # nobody may still write when the caller goes on
            rest = [other.exception() for other in others]
        for error in rest:
            if error is not None:
                raise error
        return [first, *(other.result() for other in others)]

    def cut(self, count: int, cells: int) -> list[tuple[int, int]]:
        """0..count in nearly equal ranges, one a thread; a single one for few cells."""
        parts = min(self.threads, count) if cells >= WORTHWHILE_CELLS else 1
        return [(k * count // parts, (k + 1) * count // parts) for k in range(max(1, parts))]


# The caller's thread alone; it owns no pool, so that anything may hold it.
SERIAL = Workers(1)
