"""One-dimensional kernels; `_2d` documents the shared contract."""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.limits import log_right_side
from pma_grid.kernels.grid.interpolation import spline_1d


@njit(error_model="numpy", cache=True, nogil=True)
def expand(bases, strides):
    """The only lattice vector of Z is 1."""
    for c in range(bases.vectors.shape[0]):
        bases.vectors[c, 0, 0] = 1
        bases.offsets[c, 0] = strides[0]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def target_at_gradient(padded, layout, scales, spline, value, derivative):
    """log nu and its derivative per cell unit at the centred gradient; see `_2d`."""
    affine, slope = scales.affine, scales.slope
    y0 = np.empty(layout.n_last)
    p = layout.row_start[0]
    for j in range(layout.n_last):
        y0[j] = affine[0] * (j + 0.5) - 0.5 + slope[0] * (padded[p + j + 1] - padded[p + j - 1])
    spline_1d(spline.coefficients, spline.halo, y0, 0, value, derivative)


@njit(error_model="numpy", cache=True, nogil=True)
def shift_form(padded, layout, scales, balance, bases, linear, residual):
    """r = 1 - a / B with a the second difference: the conservative operator; see `_2d`."""
    # Newton for a nu(grad u) = mu e^alpha, linear in the primitive of nu: the drift counts by a / B
    log_source, log_target, shift = balance
    weights, drift, eta = linear
    metric, per_cell = scales.metric, scales.per_cell
    p = layout.row_start[0]
    for c in range(layout.n_last):
        a = metric[0] + padded[p + 1] + padded[p - 1] - 2 * padded[p]
        inverse = math.exp(-log_right_side(log_source[c], log_target[c], shift))
        residual[c] = 1.0 - a * inverse
        weights[c, 0] = inverse
        eta[c] = 1.0
        drift[c, 0] *= max(0.0, a * inverse) * per_cell[0]
        p += 1
    return 0


@njit(error_model="numpy", cache=True, nogil=True)
def log_det(padded, layout, metric, bases, weights, out):
    """log a with a the second difference in index units, NaN where a <= 0, and 1 / a; see `_2d`."""
    p = layout.row_start[0]
    for c in range(layout.n_last):
        a = metric[0] + padded[p + 1] + padded[p - 1] - 2 * padded[p]
        out[c] = math.log(a) if a > 0 else math.nan
        weights[c, 0] = 1.0 / a
        p += 1


@njit(error_model="numpy", cache=True, nogil=True)
def decompose(tensor, reach, vectors, weights):
    """Selling's decomposition of a scalar."""
    for c in range(tensor.shape[0]):
        vectors[c, 0, 0] = 1
        weights[c, 0] = tensor[c, 0]


@njit(error_model="numpy", cache=True, nogil=True)
def solve_tensor(tensor, right, out):
    """``out`` = D^{-1} right for every cell."""
    for c in range(tensor.shape[0]):
        out[c, 0] = right[c, 0] / tensor[c, 0]
