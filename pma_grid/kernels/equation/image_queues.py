"""Queues of cells with equal numbers of samples, whose images are summed over side by side."""

from typing import NamedTuple

import numpy as np
from numba import njit

from pma_grid.kernels.records import Array


class Queues(NamedTuple):
    """Cells that wait."""

    f: Array  # their quantities, (queues, size)
    cells: Array  # their numbers, (queues, lanes)
    counts: Array  # samples of all cells of a queue along each edge, (queues, d)
    waiting: Array  # how many there are, (queues,)


@njit(error_model="numpy", cache=True, nogil=True)
def empty_queues(pieces, dim, size, lanes):
    """One for every number of samples up to so many ``pieces`` along each of ``dim`` edges."""
    queues = pieces**dim
    return Queues(
        np.empty((queues, size)), np.empty((queues, lanes), np.int64),
        np.zeros((queues, dim), np.int64), np.zeros(queues, np.int64),
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def queue_of(counts, pieces):
    """The queue that cells of so many samples wait in, with others of longer images."""
    q = 0
    for k in range(counts.size):
        q = pieces * q + (counts[k] // 2 - 1) % pieces
    return q
