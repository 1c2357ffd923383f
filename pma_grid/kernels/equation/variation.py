"""Whether a target varies so much over the image of any cell that its mean there matters.

A bound that costs less than the means of `footprint`: the image's size by the Frobenius norm of
A_ik = M_ik / (h_i H_i) with M the centred second differences, times the largest change of log nu
over a target cell near by: ``near``, among the neighbours, for images of up to two cells, ``far``
for those of up to six, ``steepest``, of all cells, for larger ones.  Empty arrays stand for the
largest change everywhere.
"""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

# Sizes of images in target cells up to which ``near`` and ``far`` speak for all they cover.
NEAR, FAR = 2.0, 6.0


@njit(error_model="numpy", cache=True, nogil=True)
def _cell(position, n):
    """The cell nearest to a coordinate in cell units, clamped to the box."""
    return math.floor(min(max(position, 0.0), n - 1.0) + 0.5)


@njit(error_model="numpy", cache=True, nogil=True)
def _matters(square, near, far, steepest, low):
    """Whether the change over an image of the given squared size may exceed ``low``."""
    change = near if square <= NEAR * NEAR else (far if square <= FAR * FAR else steepest)
    return change * change * max(1.0, square) >= low * low


@njit(error_model="numpy", cache=True, nogil=True)
def varies_2d(
    padded,
    row_start,
    n_last,
    strides,
    shape,
    first_row,
    metric,
    affine,
    slope,
    per_cell,
    near,
    far,
    steepest,
    low,
):
    """Whether the image of any cell may see log nu change by ``low``.

    Rows count from ``first_row``.
    """
    s = strides[0]
    for row in range(row_start.size):
        base = affine[0] * (first_row + row + 0.5) - 0.5
        for j in range(n_last):
            p = row_start[row] + j
            up, down, right, left = padded[p + s], padded[p - s], padded[p + 1], padded[p - 1]
            centre = 2 * padded[p]
            a = (metric[0] + up + down - centre) * per_cell[0]
            d = (metric[1] + right + left - centre) * per_cell[1]
            m = padded[p + s + 1] - padded[p + s - 1] - padded[p - s + 1] + padded[p - s - 1]
            b, c = 0.25 * m * per_cell[0], 0.25 * m * per_cell[1]
            square = a * a + b * b + c * c + d * d
            n, f = steepest, steepest
            if near.size > 0:
                i = _cell(base + slope[0] * (up - down), near.shape[0])
                g = affine[1] * (j + 0.5) - 0.5 + slope[1] * (right - left)
                k = _cell(g, near.shape[1])
                n, f = near[i, k], far[i, k]
            if _matters(square, n, f, steepest, low):
                return True
    return False


@njit(error_model="numpy", cache=True, nogil=True)
def varies_3d(
    padded,
    row_start,
    n_last,
    strides,
    shape,
    first_row,
    metric,
    affine,
    slope,
    per_cell,
    near,
    far,
    steepest,
    low,
):
    """Three-dimensional twin of `varies_2d`; rows count through the first two axes."""
    cell = np.empty(3, np.int64)
    for row in range(row_start.size):
        at = (first_row + row) // shape[1], (first_row + row) % shape[1], 0
        for j in range(n_last):
            p = row_start[row] + j
            square = 0.0
            for i in range(3):
                s = strides[i]
                x = at[i] if i < 2 else j
                g = affine[i] * (x + 0.5) - 0.5 + slope[i] * (padded[p + s] - padded[p - s])
                cell[i] = _cell(g, max(1, near.shape[i]))
                m = metric[i] + padded[p + s] + padded[p - s] - 2 * padded[p]
                square += (m * per_cell[i]) ** 2
                for k in range(i):
                    t = strides[k]
                    m = padded[p + s + t] - padded[p + s - t] - padded[p - s + t]
                    m = 0.25 * (m + padded[p - s - t])
                    square += m * m * (per_cell[i] ** 2 + per_cell[k] ** 2)
            n, f = steepest, steepest
            if near.size > 0:
                n, f = near[cell[0], cell[1], cell[2]], far[cell[0], cell[1], cell[2]]
            if _matters(square, n, f, steepest, low):
                return True
    return False


# on one axis means are always taken
VARIES: dict[int, Callable[..., bool]] = {2: varies_2d, 3: varies_3d}
