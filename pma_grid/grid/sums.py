"""Sums over vectors that do not depend on how many threads share them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pma_grid.kernels.grid.vectors import BLOCK
from pma_grid.runtime import SERIAL, Array, Workers

# Doubles between a vector that kernels write to and its neighbours in memory.  Compiled loops test
# for overlaps to within a pass of the unrolled loop (64 bytes, 256 where registers hold 8 numbers),
# and where they suspect one go another way, whose sums round otherwise: the last digits of a result
# would depend on where the heap has put its vectors.
MARGIN = 32


def apart(size: int) -> Array:
    """Zeros that no other array lies close to."""
    return np.zeros(size + 2 * MARGIN)[MARGIN : MARGIN + size]


class BlockSums:
    """Runs kernels of `kernels.vectors` on vectors of one size and adds up what blocks come to."""

    def __init__(self, size: int, workers: Workers = SERIAL) -> None:
        blocks = -(-size // BLOCK)
        self.workers = workers
        self._ranges = workers.cut(blocks, size)
        self._partial = np.zeros((blocks, 5))
        self.cells = [slice(a * BLOCK, b * BLOCK) for a, b in self._ranges]

    def __call__(self, kernel: Callable[..., None], *arguments: object) -> Array:
        """The five sums (unused ones are of no meaning) of ``kernel(first, last, *arguments)``."""
        self.workers.each(lambda part: kernel(*part, *arguments, self._partial), self._ranges)
        total: Array = self._partial.sum(axis=0)
        return total

    def each(self, task: Callable[[slice], object]) -> None:
        """Run ``task`` on slices of the vectors, one a thread: NumPy by elements."""
        self.workers.each(task, self.cells)
