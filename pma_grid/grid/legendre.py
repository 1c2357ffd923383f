"""Legendre transforms of grid functions, axis by axis, in linear time, exact up to rounding."""

from __future__ import annotations

import numpy as np

from pma_grid.kernels.grid import legendre as transforms
from pma_grid.runtime import Array, Integers


def legendre(
    values: Array, axes: tuple[Array, ...], slopes: tuple[Array, ...]
) -> tuple[Array, Integers]:
    """Discrete conjugate v*(y) = max_x <x, y> - v(x) on the product grid of ``slopes``.

    Parameters
    ----------
    values : ndarray, one axis per entry of ``axes``
        v, > -inf; +inf where x is not to be had.
    axes, slopes : tuples of 1-D sorted arrays
        Coordinates of the grid of x and of the grid of y.

    Returns
    -------
    conjugate : ndarray of shape (len(slopes[0]), ...)
        -inf if every value is +inf.
    argmax : ndarray of int64, shape (d, len(slopes[0]), ...)
        Indices of a maximising x along each axis.

    Notes
    -----
    The maximum over a product grid is taken one axis after the other: O(N) operations an axis
    (lower hull and merge), exact up to rounding.
    """
    dim = values.ndim
    current: Array = np.asarray(values, float)
    indices: list[Integers] = [np.empty(0, np.int64)] * dim
    for axis in range(dim - 1, -1, -1):
        lines = np.ascontiguousarray(np.moveaxis(current, axis, -1))
        shape = lines.shape[:-1]
        lines = lines.reshape(-1, lines.shape[-1])
        out = np.empty((lines.shape[0], slopes[axis].size))
        argmax = np.empty(out.shape, np.int64)
        transforms.conjugate_lines(axes[axis].copy(), lines, slopes[axis].copy(), out, argmax)
        current = -np.moveaxis(out.reshape(*shape, -1), -1, axis)
        indices[axis] = np.moveaxis(argmax.reshape(*shape, -1), -1, axis)
    # follow the maximisers: the index along axis k depends on those along the axes before it
    where: list[Integers] = list(np.indices(current.shape, sparse=True))
    for axis in range(dim):
        where[axis] = indices[axis][tuple(where)]
    return -current, np.stack([np.broadcast_to(w, current.shape) for w in where])
