"""Padded index sets and transfers between grids: what kernels need to know about a grid's shape.

`Lattice` lays a field out with a halo of evenly reflected cells, so that every stencil reads plain
offsets and no boundary code exists.  `Transfer` moves fields between two grids of the same box,
axis by axis, for any two sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from pma_grid.kernels import lattice as kernels
from pma_grid.kernels import transfer as transfer_kernels
from pma_grid.workers import SERIAL, Workers

Array = np.ndarray
Result = TypeVar("Result")

# Reach of the lattice vectors: wide enough for anisotropy of about halo^2.
HALO = {1: 1, 2: 8, 3: 3}
# Slabs of a two-coloured sweep: a power of two, at most so many, at least so many halos high.
SLABS = 16
HALOS_A_SLAB = 2
# Cells of a piece of a field that is made, used and forgotten while it is in the cache.
PIECE = 2**14


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
    """Row-major layout of a grid of ``shape`` with ``halo`` reflected cells on every side.

    ``workers`` share the rows in everything that is done on this grid.
    """

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

    def share(self, task: Callable[[Share], Result]) -> list[Result]:
        """Run ``task`` on shares of the rows, one a thread; what it returns, in order.

        The task's kernel takes the rows of ``row_start`` and of arrays by cells, and must give the
        same for a row whatever share it comes with.
        """
        return self.workers.each(task, self._shares)

    @cached_property
    def slabs(self) -> Array:
        """First rows of slabs along the first axis, higher than the halo, and the end.

        They depend on the grid alone.  No cell of a slab reads another slab but its neighbours, so
        that all even ones can be swept at once, then all odd ones.
        """
        n = self.shape[0] if self.dim > 1 else 1
        most = max(1, min(SLABS, n // (HALOS_A_SLAB * self.halo)))
        count = 1 << (most.bit_length() - 1)
        return np.arange(count + 1) * n // count * (self.rows // n)

    def part(self, first: int, last: int) -> tuple[Array, int, slice]:
        """``row_start``, ``n_last`` and the cells of a part of the first axis, for kernels."""
        n = self.shape[0]
        plane = self.size // n
        cells = slice(first * plane, last * plane)
        if self.dim == 1:
            return self.row_start + first, last - first, cells
        rows = self.rows // n
        return self.row_start[first * rows : last * rows], self.n_last, cells

    def sweep(self, task: Callable[[tuple[int, int]], object], *, backward: bool) -> None:
        """Run ``task`` on all slabs of one colour, then on those of the other.

        A task gets (first, last): slabs first, first + 2, ... below last.  ``backward`` is the
        reverse order of colours.
        """
        count = self.slabs.size - 1
        # pairs of colours to a thread, so that both colours are cut at the same slabs
        pairs = self.workers.cut((count + 1) // 2, self.size)
        for colour in (1, 0) if backward else (0, 1):
            ranges = [(2 * a + colour, min(2 * b, count)) for a, b in pairs]
            self.workers.each(task, ranges)

    @cached_property
    def shape_array(self) -> Array:
        """The shape as an int64 array, for kernels."""
        return np.array(self.shape, np.int64)

    def zeros(self, dtype: type = np.float64) -> Array:
        """A flat padded field of zeros."""
        return np.zeros(math.prod(self.padded_shape), dtype)

    def reflect(self, padded: Array) -> None:
        """Fill the halo of a flat padded field by even reflection about the faces."""
        for axis, n in enumerate(self.padded_shape):
            outer = math.prod(self.padded_shape[:axis])
            kernels.fill_halo(padded.reshape(outer, n, -1), self.halo)

    def fill(self, values: Array, padded: Array) -> None:
        """Write a field of the grid into the padded one, halo included."""
        self.scatter(values, padded)
        self.reflect(padded)

    def extend(self, values: Array, padded: Array) -> None:
        """`fill` for a potential; other lattices may extend it by another rule than directions."""
        self.fill(values, padded)

    def ghost_matrix(self) -> Any:
        """Padded direction as a sparse linear map of the direction; None for even reflection."""
        return None

    def scatter(self, values: Array, padded: Array) -> None:
        """Write a field of the grid into the interior of the padded one."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.scatter_rows(
                rows[s.rows], self.row_start[s.rows], self.n_last, padded
            )
        )

    def gather(self, padded: Array, values: Array) -> None:
        """``values`` (contiguous) receives the interior of the padded field."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.gather_rows(padded, self.row_start[s.rows], self.n_last, rows[s.rows])
        )

    def add(self, values: Array, padded: Array) -> None:
        """Add a field of the grid to the interior of the padded one."""
        rows = values.reshape(self.rows, self.n_last)
        self.share(
            lambda s: kernels.add_rows(rows[s.rows], self.row_start[s.rows], self.n_last, padded)
        )


def lagrange(s: Array, points: int) -> Array:
    """Lagrange weights at offset s in [0, 1) for ``points`` nodes, s between the middle two."""
    nodes = np.arange(points) - (points // 2 - 1)
    weights = np.ones((s.size, points))
    for k in range(points):
        for m in range(points):
            if m != k:
                weights[:, k] *= (s - nodes[m]) / (nodes[k] - nodes[m])
    return weights


def _sums(values: Array, axis: int, begin: Array, share: Array) -> Array:
    """Sums along an axis: of the fine cells from begin[c] on, and what the one before leaves."""
    shape = values.shape
    fine = values.reshape(math.prod(shape[:axis]), shape[axis], -1)
    coarse = np.empty((fine.shape[0], begin.size - 1, fine.shape[2]), values.dtype)
    transfer_kernels.restrict_axis(fine, begin, share.astype(values.dtype), coarse)
    return coarse.reshape(*shape[:axis], begin.size - 1, *shape[axis + 1 :])


class Transfer:
    """Restriction (sums) and interpolation between a fine grid and a coarser one of one box."""

    def __init__(
        self, fine: tuple[int, ...], coarse: tuple[int, ...], workers: Workers = SERIAL
    ) -> None:
        self.fine = tuple(fine)
        self.coarse = tuple(coarse)
        self.workers = workers

    @cached_property
    def _overlaps(self) -> list[tuple[Array, Array]]:
        """Per axis: the first fine cell starting in each coarse one, and the shares lying there."""
        tables = []
        for n, m in zip(self.fine, self.coarse, strict=True):
            i = np.arange(n, dtype=np.int64)
            parent = i * m // n
            # exact integers: the share is ((parent + 1) n - i m) / m fine cells, at most one
            share = np.minimum(1.0, ((parent + 1) * n - i * m) / m)
            tables.append((np.searchsorted(parent, np.arange(m + 1)), share))
        return tables

    def _nodes(self, axis: int, points: int) -> tuple[Array, Array]:
        """Reflected node indices and Lagrange weights of the fine centres along an axis."""
        n, m = self.fine[axis], self.coarse[axis]
        s = (np.arange(n) + 0.5) * m / n - 0.5
        left = np.floor(s).astype(np.int64)
        index = left[:, None] + np.arange(points) - (points // 2 - 1)
        index = index % (2 * m)
        index = np.where(index < m, index, 2 * m - 1 - index)
        return index, lagrange(s - left, points)

    def restrict(self, values: Array) -> Array:
        """Sums over coarse cells (divide by the overlap count for averages), same dtype.

        Axes of ``values`` beyond those of the grid are kept.
        """
        values = values.reshape(*self.fine, *values.shape[len(self.fine) :])
        sums = np.empty((*self.coarse, *values.shape[len(self.fine) :]), values.dtype)
        self.restrict_made(lambda first, last, _: values[first:last], sums)
        return sums

    def restrict_made(self, make: Callable[[int, int, int], Array], sums: Array) -> None:
        """Sums over coarse cells of a field that is made piece by piece, just before it is summed.

        ``make(first, last, new)`` gives the fine cells first..last of the first axis; those before
        ``new`` belong to the piece before as well.  Pieces depend on the grids alone.
        """
        m, cells = self.coarse[0], math.prod(self.fine)
        pieces = min(m, max(1, cells // PIECE))

        def task(part: tuple[int, int]) -> None:
            for k in range(*part):
                first, last = k * m // pieces, (k + 1) * m // pieces
                sums[first:last] = self._sums_of_piece(first, last, make)

        self.workers.each(task, self.workers.cut(pieces, cells))

    def _sums_of_piece(
        self, first: int, last: int, make: Callable[[int, int, int], Array]
    ) -> Array:
        """Sums over the coarse cells first..last of the first axis."""
        if self.fine[0] == self.coarse[0]:
            values = make(first, last, first)
        else:
            begin, share = self._overlaps[0]
            before = max(0, begin[first] - 1)
            values = make(before, begin[last], begin[first])
            values = _sums(values, 0, begin[first : last + 1] - before, share[before:])
        for axis in range(1, len(self.fine)):
            if self.fine[axis] != self.coarse[axis]:
                values = _sums(values, axis, *self._overlaps[axis])
        return values

    def average(self, values: Array) -> Array:
        """Averages over coarse cells."""
        return self.restrict(values) * (math.prod(self.coarse) / math.prod(self.fine))

    def interpolate(self, values: Array, points: int = 2) -> Array:
        """Interpolate to the fine centres with ``points`` nodes an axis (2 linear, 4 cubic)."""
        for axis in range(len(self.fine) - 1, -1, -1):
            n, m = self.fine[axis], self.coarse[axis]
            if n == m:
                continue
            coarse = values.reshape(math.prod(self.coarse[:axis]), m, -1)
            fine = np.empty((coarse.shape[0], n, coarse.shape[2]), values.dtype)
            self._interpolate_axis(coarse, axis, points, fine)
            values = fine
        return values.reshape(self.fine)

    def _interpolate_axis(self, coarse: Array, axis: int, points: int, fine: Array) -> None:
        """Interpolation along the middle axis of (outer, n, inner) views."""
        index, weight = self._tables(axis, points)
        weight = weight.astype(fine.dtype)
        outer, n, _ = fine.shape

        def task(part: tuple[int, int]) -> None:
            some = slice(*part)
            if outer == 1:  # views of one line of blocks are contiguous
                transfer_kernels.interpolate_axis(coarse, index[some], weight[some], fine[:, some])
            else:
                transfer_kernels.interpolate_axis(coarse[some], index, weight, fine[some])

        self.workers.each(task, self.workers.cut(n if outer == 1 else outer, fine.size))

    def _tables(self, axis: int, points: int) -> tuple[Array, Array]:
        key = (axis, points)
        if key not in self._node_tables:
            self._node_tables[key] = self._nodes(axis, points)
        return self._node_tables[key]

    @cached_property
    def _node_tables(self) -> dict[tuple[int, int], tuple[Array, Array]]:
        return {}

    def nearest(self, values: Array) -> Array:
        """Copy to each fine cell the value of the coarse cell that contains its centre."""
        for axis, (n, m) in enumerate(zip(self.fine, self.coarse, strict=True)):
            if n != m:
                index = (2 * np.arange(n) + 1) * m // (2 * n)
                values = np.take(values, index, axis=axis)
        return values
