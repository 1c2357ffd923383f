"""Padded index sets: what kernels need to know about a grid's shape.

`Lattice` lays a field out with a halo of evenly reflected cells, so that every stencil reads plain
offsets and no boundary code exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pma_grid.kernels.grid import lattice as kernels
from pma_grid.kernels.records import Layout
from pma_grid.runtime import SERIAL, Floats, Integers, Workers

Result = TypeVar("Result")

# Reach of the lattice vectors: wide enough for anisotropy of about halo^2.
HALO = {1: 1, 2: 8, 3: 3}
# Slabs of a two-coloured sweep: a power of two, at most so many, at least so many halos high.
SLABS = 16
HALOS_A_SLAB = 2


@dataclass(frozen=True)
class Share:
    """A thread's part of a field: some rows, and the cells in them."""

    rows: slice
    cells: slice

    @property
    def first_row(self) -> int:
        """Index of the first of the rows."""
        return int(self.rows.start)


class Lattice:
    """Row-major layout of a grid with ``halo`` reflected cells on every side; workers share it."""

    def __init__(
        self, shape: tuple[int, ...], halo: int | None = None, workers: Workers = SERIAL
    ) -> None:
        self.shape = tuple(shape)
        self.workers = workers
        self.dim = len(shape)
        self.halo = HALO[self.dim] if halo is None else halo
        self.size = math.prod(shape)
        self.padded_shape = tuple(n + 2 * self.halo for n in shape)
        self.n_last = shape[-1]
        self.rows = self.size // self.n_last
        strides = np.ones(self.dim, np.int64)
        for axis in range(self.dim - 2, -1, -1):
            strides[axis] = strides[axis + 1] * self.padded_shape[axis + 1]
        self.strides = strides
        index = np.indices((*shape[:-1], 1)).reshape(self.dim, -1) + self.halo
        self.row_start = (strides @ index).astype(np.int64)
        cuts = workers.cut(self.rows, self.size)
        self._shares = [
            Share(slice(a, b), slice(a * self.n_last, b * self.n_last)) for a, b in cuts
        ]

    def layout(self, share: Share | None = None) -> Layout:
        """Where the cells of a share, or all, lie in padded fields, for kernels."""
        rows, first = (slice(None), 0) if share is None else (share.rows, share.first_row)
        return Layout(self.row_start[rows], self.n_last, self.strides, self.shape_array, first)

    def share(self, task: Callable[[Share], Result]) -> list[Result]:
        """Run ``task`` on shares of the rows, one a thread; what it returns, in order."""
        # its kernel takes rows of ``row_start`` and of arrays by cells, and must give the same for
        # a row whatever share it comes with
        return self.workers.each(task, self._shares)

    @cached_property
    def slabs(self) -> Integers:
        """First rows of slabs along the first axis, higher than the halo, and the end."""
        # by the grid alone: no cell of a slab reads another slab but its neighbours, so that all
        # even ones can be swept at once, then all odd ones
        n = self.shape[0] if self.dim > 1 else 1
        most = max(1, min(SLABS, n // (HALOS_A_SLAB * self.halo)))
        count = 1 << (most.bit_length() - 1)
        return np.arange(count + 1) * n // count * (self.rows // n)

    def part(self, first: int, last: int) -> tuple[Integers, int, slice]:
        """``row_start``, ``n_last`` and the cells of a part of the first axis, for kernels."""
        n = self.shape[0]
        plane = self.size // n
        cells = slice(first * plane, last * plane)
        if self.dim == 1:
            return self.row_start + first, last - first, cells
        rows = self.rows // n
        return self.row_start[first * rows : last * rows], self.n_last, cells

    def sweep(self, task: Callable[[tuple[int, int]], object], *, backward: bool) -> None:
        """Run ``task`` on (first, last), every second slab: one colour, then the other."""
        count = self.slabs.size - 1
        # pairs of colours to a thread, so that both colours are cut at the same slabs
        pairs = self.workers.cut((count + 1) // 2, self.size)
        for colour in (1, 0) if backward else (0, 1):
            ranges = [(2 * a + colour, min(2 * b, count)) for a, b in pairs]
            self.workers.each(task, ranges)

    @cached_property
    def shape_array(self) -> Integers:
        """The shape as an int64 array, for kernels."""
        return np.array(self.shape, np.int64)

    def zeros(self, dtype: type = np.float64) -> NDArray[Any]:
        """A flat padded field of zeros."""
        return np.zeros(math.prod(self.padded_shape), dtype)

    def reflect(self, padded: Floats) -> None:
        """Fill the halo of a flat padded field by even reflection about the faces."""
        for axis, n in enumerate(self.padded_shape):
            outer = math.prod(self.padded_shape[:axis])
            kernels.fill_halo(padded.reshape(outer, n, -1), self.halo)

    def fill(self, values: Floats, padded: Floats) -> None:
        """Write a field of the grid into the padded one, halo included."""
        self.scatter(values, padded)
        self.reflect(padded)

    def extend(self, values: Floats, padded: Floats) -> None:
        """`fill` for a potential; other lattices may extend it by another rule than directions."""
        self.fill(values, padded)

    def ghost_matrix(self) -> Any:
        """Padded direction as a sparse linear map of the direction; None for even reflection."""
        return None

    def scatter(self, values: Floats, padded: Floats) -> None:
        """Write a field of the grid into the interior of the padded one."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.scatter_rows(
                rows[s.rows], self.row_start[s.rows], self.n_last, padded
            )
        )

    def gather(self, padded: Floats, values: Floats) -> None:
        """``values`` (contiguous) receives the interior of the padded field."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.gather_rows(padded, self.row_start[s.rows], self.n_last, rows[s.rows])
        )

    def add(self, values: Floats, padded: Floats) -> None:
        """Add a field of the grid to the interior of the padded one."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.add_rows(rows[s.rows], self.row_start[s.rows], self.n_last, padded)
        )
