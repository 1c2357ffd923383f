"""`Transfer`: sums and interpolation between a fine grid and a coarser one of one box."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pma_grid.kernels.grid import transfer as transfer_kernels
from pma_grid.runtime import SERIAL, Array, Floats, Integers, Workers

Kind = TypeVar("Kind", bound=np.generic)
Real = TypeVar("Real", bound=np.floating[Any])

# Pieces of a field of this size are made, used and forgotten while they are in the cache.
PIECE_CELLS = 2**14
# Axes of at most this many cells are halved no further: a solve there costs next to nothing.
COARSEST_AXIS_CELLS = 8


def lagrange(s: Array, points: int) -> Array:
    """Lagrange weights at offset s in [0, 1) for ``points`` nodes, s between the middle two."""
    nodes = np.arange(points) - (points // 2 - 1)
    weights = np.ones((s.size, points))
    for k in range(points):
        for m in range(points):
            if m != k:
                weights[:, k] *= (s - nodes[m]) / (nodes[k] - nodes[m])
    return weights


def _sums(values: Floats, axis: int, begin: Integers, share: Array) -> Floats:
    """Sums along an axis: of the fine cells from begin[c] on, and what the one before leaves."""
    shape = values.shape
    fine = values.reshape(math.prod(shape[:axis]), shape[axis], -1)
    coarse = np.empty((fine.shape[0], begin.size - 1, fine.shape[2]), values.dtype)
    transfer_kernels.restrict_axis(fine, begin, share.astype(values.dtype), coarse)
    return coarse.reshape(*shape[:axis], begin.size - 1, *shape[axis + 1 :])


def halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The next coarser shape of a cascade: every axis halved that is longer than the shortest."""
    return tuple((n + 1) // 2 if n > COARSEST_AXIS_CELLS else n for n in shape)


class Transfer:
    """Restriction (sums) and interpolation between a fine grid and a coarser one of one box."""

    def __init__(
        self, fine: tuple[int, ...], coarse: tuple[int, ...], workers: Workers = SERIAL
    ) -> None:
        self.fine = tuple(fine)
        self.coarse = tuple(coarse)
        self.workers = workers
        self._tables: dict[tuple[int, int], tuple[Integers, Array]] = {}

    @cached_property
    def _overlaps(self) -> list[tuple[Integers, Array]]:
        """Per axis: the first fine cell starting in each coarse one, and the shares lying there."""
        tables: list[tuple[Integers, Array]] = []
        for n, m in zip(self.fine, self.coarse, strict=True):
            i = np.arange(n, dtype=np.int64)
            parent = i * m // n
            # exact integers: the share is ((parent + 1) n - i m) / m fine cells, at most one
            share: Array = np.minimum(1.0, ((parent + 1) * n - i * m) / m)
            tables.append((np.searchsorted(parent, np.arange(m + 1)), share))
        return tables

    def _nodes(self, axis: int, points: int) -> tuple[Integers, Array]:
        """Reflected node indices and Lagrange weights of the fine centres along an axis, kept."""
        if (axis, points) in self._tables:
            return self._tables[axis, points]
        n, m = self.fine[axis], self.coarse[axis]
        s = (np.arange(n) + 0.5) * m / n - 0.5
        left = np.floor(s).astype(np.int64)
        index = left[:, None] + np.arange(points) - (points // 2 - 1)
        index = index % (2 * m)
        index = np.where(index < m, index, 2 * m - 1 - index)
        self._tables[axis, points] = index, lagrange(s - left, points)
        return self._tables[axis, points]

    def restrict(self, values: NDArray[Real]) -> NDArray[Real]:
        """Sums over coarse cells, same dtype; further axes of ``values`` are kept."""
        values = values.reshape(*self.fine, *values.shape[len(self.fine) :])
        sums = np.empty((*self.coarse, *values.shape[len(self.fine) :]), values.dtype)
        self.restrict_made(lambda first, last, _: values[first:last], sums)
        return sums

    def restrict_made(self, make: Callable[[int, int, int], Floats], sums: Floats) -> None:
        """Sums over coarse cells of a field that is made piece by piece as it is summed."""
        # make(first, last, new) gives the fine cells first..last of the first axis; those before
        # ``new`` belong to the piece before as well; pieces depend on the grids alone
        m, cells = self.coarse[0], math.prod(self.fine)
        pieces = min(m, max(1, cells // PIECE_CELLS))

        def task(part: tuple[int, int]) -> None:
            for k in range(*part):
                first, last = k * m // pieces, (k + 1) * m // pieces
                sums[first:last] = self._sums_of_piece(first, last, make)

        self.workers.each(task, self.workers.cut(pieces, cells))

    def _sums_of_piece(
        self, first: int, last: int, make: Callable[[int, int, int], Floats]
    ) -> Floats:
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

    def interpolate(self, values: NDArray[Real], points: int = 2) -> NDArray[Real]:
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

    def _interpolate_axis(self, coarse: Floats, axis: int, points: int, fine: Floats) -> None:
        """Interpolation along the middle axis of (outer, n, inner) views."""
        index, weight = self._nodes(axis, points)
        weight = weight.astype(fine.dtype)
        outer, n, _ = fine.shape

        def task(part: tuple[int, int]) -> None:
            some = slice(*part)
            if outer == 1:  # views of one line of blocks are contiguous
                transfer_kernels.interpolate_axis(coarse, index[some], weight[some], fine[:, some])
            else:
                transfer_kernels.interpolate_axis(coarse[some], index, weight, fine[some])

        self.workers.each(task, self.workers.cut(n if outer == 1 else outer, fine.size))

    def nearest(self, values: NDArray[Kind]) -> NDArray[Kind]:
        """Copy to each fine cell the value of the coarse cell that contains its centre."""
        for axis, (n, m) in enumerate(zip(self.fine, self.coarse, strict=True)):
            if n != m:
                index = (2 * np.arange(n) + 1) * m // (2 * n)
                values = np.take(values, index, axis=axis)
        return values
