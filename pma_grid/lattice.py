"""Padded index sets and transfers between grids: what kernels need to know about a grid's shape.

`Lattice` lays a field out with a halo of evenly reflected cells, so that every stencil reads plain
offsets and no boundary code exists.  `Transfer` moves fields between two grids of the same box,
axis by axis, for any two sizes.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from pma_grid.kernels import lattice as kernels
from pma_grid.kernels import transfer as transfer_kernels

Array = np.ndarray

# Reach of the lattice vectors: wide enough for anisotropy of about halo^2.
HALO = {1: 1, 2: 8, 3: 3}


class Lattice:
    """Row-major layout of a grid of ``shape`` with ``halo`` reflected cells on every side."""

    def __init__(self, shape: tuple[int, ...], halo: int | None = None) -> None:
        self.shape = tuple(shape)
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
        kernels.scatter_rows(
            values.reshape(self.rows, self.n_last), self.row_start, self.n_last, padded
        )
        self.reflect(padded)


def lagrange(s: Array, points: int) -> Array:
    """Lagrange weights at offset s in [0, 1) for ``points`` nodes, s between the middle two."""
    nodes = np.arange(points) - (points // 2 - 1)
    weights = np.ones((s.size, points))
    for k in range(points):
        for m in range(points):
            if m != k:
                weights[:, k] *= (s - nodes[m]) / (nodes[k] - nodes[m])
    return weights


class Transfer:
    """Restriction (sums) and interpolation between a fine grid and a coarser one of one box."""

    def __init__(self, fine: tuple[int, ...], coarse: tuple[int, ...]) -> None:
        self.fine = tuple(fine)
        self.coarse = tuple(coarse)

    @cached_property
    def _overlaps(self) -> list[tuple[Array, Array]]:
        """Per axis: the coarse cell each fine cell starts in, and the share of it lying there."""
        tables = []
        for n, m in zip(self.fine, self.coarse, strict=True):
            i = np.arange(n, dtype=np.int64)
            parent = i * m // n
            # exact integers: the share is ((parent + 1) n - i m) / m fine cells, at most one
            share = np.minimum(1.0, ((parent + 1) * n - i * m) / m)
            tables.append((parent, share))
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
        """Sums over coarse cells (divide by the overlap count for averages), same dtype."""
        for axis, (n, m) in enumerate(zip(self.fine, self.coarse, strict=True)):
            if n == m:
                continue
            parent, share = self._overlaps[axis]
            outer = math.prod(self.coarse[:axis])
            fine = values.reshape(outer, n, -1)
            coarse = np.empty((outer, m, fine.shape[2]), values.dtype)
            transfer_kernels.restrict_axis(fine, parent, share.astype(values.dtype), coarse)
            values = coarse
        return values.reshape(self.coarse)

    def average(self, values: Array) -> Array:
        """Averages over coarse cells."""
        return self.restrict(values) * (math.prod(self.coarse) / math.prod(self.fine))

    def interpolate(self, values: Array, points: int = 2) -> Array:
        """Interpolate to the fine centres with ``points`` nodes an axis (2 linear, 4 cubic)."""
        for axis in range(len(self.fine) - 1, -1, -1):
            n, m = self.fine[axis], self.coarse[axis]
            if n == m:
                continue
            index, weight = self._tables(axis, points)
            outer = math.prod(self.coarse[:axis])
            coarse = values.reshape(outer, m, -1)
            fine = np.empty((outer, n, coarse.shape[2]), values.dtype)
            transfer_kernels.interpolate_axis(coarse, index, weight.astype(values.dtype), fine)
            values = fine
        return values.reshape(self.fine)

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
