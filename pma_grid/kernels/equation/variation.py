"""Whether a target varies so much over the image of any cell that its mean there matters.

A bound that costs less than the means of `images_2d`: the image's size by the Frobenius norm of
A_ik = M_ik / (h_i H_i) with M the centred second differences, times the largest change of log nu
over a target cell near by: ``near`` for images of up to two cells, ``far`` for those of up to six,
``steepest`` for larger ones.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from pma_grid.kernels.equation.image_quadrature import cell

# Sizes of images in target cells up to which ``near`` and ``far`` speak for all they cover: bounds
# among the neighbours of a cell and within three cells.
NEAR_CELLS, FAR_CELLS = 2.0, 6.0


@njit(error_model="numpy", cache=True, nogil=True)
def _matters(square, change, bounds, low):
    """Whether log nu may change by ``low`` over an image of the given squared size."""
    near, far = change
    if square > FAR_CELLS * FAR_CELLS:
        most = bounds.steepest
    else:
        most = near if square <= NEAR_CELLS * NEAR_CELLS else far
    return most * most * max(1.0, square) >= low * low


@njit(error_model="numpy", cache=True, nogil=True)
def varies_2d(padded, layout, scales, bounds, low):
    """Whether the image of any cell may see log nu change by ``low``, by the bounds of a cell's."""
    row_start, n_last, s = layout.row_start, layout.n_last, layout.strides[0]
    metric, affine, slope, per_cell = scales
    near, far, steepest = bounds
    for row in range(row_start.size):
        base = affine[0] * (layout.first_row + row + 0.5) - 0.5
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
                i = cell(base + slope[0] * (up - down), near.shape[0])[0]
                g = affine[1] * (j + 0.5) - 0.5 + slope[1] * (right - left)
                k = cell(g, near.shape[1])[0]
                n, f = near[i, k], far[i, k]
            if _matters(square, (n, f), bounds, low):
                return True
    return False


@njit(error_model="numpy", cache=True, nogil=True)
def varies_3d(padded, layout, scales, bounds, low):
    """Three-dimensional twin of `varies_2d`; rows count through the first two axes."""
    row_start, n_last, strides = layout.row_start, layout.n_last, layout.strides
    metric, affine, slope, per_cell = scales
    near, far, steepest = bounds
    at = np.empty(3, np.int64)
    for row in range(row_start.size):
        plane, line = divmod(layout.first_row + row, layout.shape[1])
        for j in range(n_last):
            p = row_start[row] + j
            square = 0.0
            for i in range(3):
                s = strides[i]
                x = plane if i == 0 else (line if i == 1 else j)
                g = affine[i] * (x + 0.5) - 0.5 + slope[i] * (padded[p + s] - padded[p - s])
                at[i] = cell(g, max(1, near.shape[i]))[0]
                m = metric[i] + padded[p + s] + padded[p - s] - 2 * padded[p]
                square += (m * per_cell[i]) ** 2
                for k in range(i):
                    t = strides[k]
                    m = padded[p + s + t] - padded[p + s - t] - padded[p - s + t]
                    m = 0.25 * (m + padded[p - s - t])
                    square += m * m * (per_cell[i] ** 2 + per_cell[k] ** 2)
            n, f = steepest, steepest
            if near.size > 0:
                n, f = near[at[0], at[1], at[2]], far[at[0], at[1], at[2]]
            if _matters(square, (n, f), bounds, low):
                return True
    return False


# on one axis means are always taken
VARIES: dict[int, Callable[..., bool]] = {2: varies_2d, 3: varies_3d}
