"""The target averaged over the image of each source cell, and its derivatives.

To first order the image of a cell is the parallelepiped P = g + A [-1/2, 1/2]^d, in target cells,
with g = grad u at the centre and A_ik = M_ik / (h_i H_i), M the Hessian in index units.  Where the
target varies within P the mean of nu over P replaces nu(g):

    q = log avg_P nu,   dq/dg_i = avg(d_i nu) / avg nu,   dq/dA_ik = avg(d_i nu xi_k) / avg nu,

xi in [-1/2, 1/2]^d the position within the cell.  Averages are Gauss sums of a quadratic B-spline,
positive and C1, of which the derivatives are exact: the sums are what is differentiated.  In one
dimension the integral is exact and the scheme is the conservative finite-volume one.  What follows
is for two and three.

The mean is blended with the point value, (1 - s) log nu(g) + s q: s = 0 where nu hardly varies over
P, so that smooth data keep their order.  s depends on the change of log nu over P, by its gradient
and by its lowest and highest sample, without jumps.  It and numbers of samples are *frozen* between
refreshes, or the residual would jump along a line search.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.clamping import balance
from pma_grid.kernels.equation.image_quadrature import (
    MOST_SAMPLES,
    cell,
    node,
    quadratic,
    samples,
    share_of,
)
from pma_grid.kernels.equation.superbase_2d import hessian, load, weights_of


@njit(error_model="numpy", cache=True, nogil=True)
def average_2d(padded, layout, scales, spline, blend, images, refresh, value, drift):
    """Blend log nu(g) with the log of the mean of nu over the image of the cell.

    ``spline`` is that of nu.  ``value`` (N,) and ``drift`` (N, d), the derivative per target cell,
    come in as those of the point value.  Samples and blends of ``images`` are renewed if
    ``refresh``, else used.
    """
    row_start, n_last, affine, slope = layout.row_start, layout.n_last, scales.affine, scales.slope
    metric, per_cell = scales.metric, scales.per_cell
    densities, halo = spline
    superbase, shift, counts, shares, change = images
    variation, low, high = blend
    n0, n1 = densities.shape[0] - 2 * halo, densities.shape[1] - 2 * halo
    s0 = layout.strides[0]
    for row in range(row_start.size):
        base = affine[0] * (layout.first_row + row + 0.5) - 0.5
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            change[c, 0] = change[c, 1] = change[c, 2] = 0.0
            if not refresh and shares[c] == 0.0:
                continue
            g0 = base + slope[0] * (padded[p + s0] - padded[p - s0])
            g1 = affine[1] * (j + 0.5) - 0.5 + slope[1] * (padded[p + 1] - padded[p - 1])
            m00, m01, m11 = _hessian_2d(padded, p, s0, metric, load(superbase, c))
            a00, a01 = m00 * per_cell[0], m01 * per_cell[0]
            a10, a11 = m01 * per_cell[1], m11 * per_cell[1]
            if refresh:
                e0, e1 = math.hypot(a00, a10), math.hypot(a01, a11)
                extent = max(e0, e1)
                i0, i1 = cell(g0, n0)[0], cell(g1, n1)[0]
                over = variation[i0, i1] * max(1.0, extent)
                shares[c] = 0.0
                counts[c, 0], counts[c, 1] = samples(e0, MOST_SAMPLES), samples(e1, MOST_SAMPLES)
                # a larger image may reach beyond what ``variation`` has seen
                if over < low and extent <= 2.0:
                    continue
            k0, k1 = counts[c, 0], counts[c, 1]
            f = f0 = f1 = c00 = c01 = c10 = c11 = 0.0
            top, bottom = 0.0, math.inf
            for k in range(k0):
                x = node(k, k0)
                for l in range(k1):
                    y = node(l, k1)
                    i, s = cell(g0 + a00 * x + a01 * y, n0)
                    m, t = cell(g1 + a10 * x + a11 * y, n1)
                    u0, u1, u2, d0, d1, d2 = quadratic(s)
                    v0, v1, v2, b0, b1, b2 = quadratic(t)
                    i += halo - 1
                    m += halo - 1
                    r0 = v0 * densities[i, m] + v1 * densities[i, m + 1] + v2 * densities[i, m + 2]
                    q0 = b0 * densities[i, m] + b1 * densities[i, m + 1] + b2 * densities[i, m + 2]
                    i += 1
                    r1 = v0 * densities[i, m] + v1 * densities[i, m + 1] + v2 * densities[i, m + 2]
                    q1 = b0 * densities[i, m] + b1 * densities[i, m + 1] + b2 * densities[i, m + 2]
                    i += 1
                    r2 = v0 * densities[i, m] + v1 * densities[i, m + 1] + v2 * densities[i, m + 2]
                    q2 = b0 * densities[i, m] + b1 * densities[i, m + 1] + b2 * densities[i, m + 2]
                    z = u0 * r0 + u1 * r1 + u2 * r2
                    z0 = d0 * r0 + d1 * r1 + d2 * r2
                    z1 = u0 * q0 + u1 * q1 + u2 * q2
                    top, bottom = max(top, z), min(bottom, z)
                    f += z
                    f0 += z0
                    f1 += z1
                    c00 += z0 * x
                    c01 += z0 * y
                    c10 += z1 * x
                    c11 += z1 * y
            if refresh:
                change_of_log = abs(f0 * a00 + f1 * a10) + abs(f0 * a01 + f1 * a11)
                shares[c] = share_of(max(change_of_log / f, math.log(top / bottom)), low, high)
            share = shares[c]
            value[c] += share * (math.log(f / (k0 * k1)) - shift[c] - value[c])
            drift[c, 0] += share * (f0 / f - drift[c, 0])
            drift[c, 1] += share * (f1 / f - drift[c, 1])
            share /= f
            change[c, 0] = share * c00 * per_cell[0]
            change[c, 1] = 0.5 * share * (c01 * per_cell[0] + c10 * per_cell[1])
            change[c, 2] = share * c11 * per_cell[1]


@njit(error_model="numpy", cache=True, nogil=True)
def _hessian_2d(padded, p, stride, metric, base):
    """D2u in index units by the second differences of a superbase, made semi-definite."""
    ex, ey, fx, fy = base
    gx, gy = ex + fx, ey + fy
    centre = 2 * padded[p]
    # not those of `superbase_2d.second`: another order of the same sums
    o = ex * stride + ey
    ae = metric[0] * ex * ex + metric[1] * ey * ey + padded[p + o] + padded[p - o] - centre
    o = fx * stride + fy
    af = metric[0] * fx * fx + metric[1] * fy * fy + padded[p + o] + padded[p - o] - centre
    o = gx * stride + gy
    ag = metric[0] * gx * gx + metric[1] * gy * gy + padded[p + o] + padded[p - o] - centre
    m00, m01, m11 = hessian(base, (ae, af, ag))
    # in the frame of the metric, where index units are isotropic
    r = metric[1] / metric[0]
    half, bend = 0.5 * (m00 * r - m11), m01 * math.sqrt(r)
    mean = max(0.5 * (m00 * r + m11), math.sqrt(half * half + bend * bend))
    return (mean + half) / r, m01, mean - half


@njit(error_model="numpy", cache=True, nogil=True)
def add_change_2d(change, superbase, eta, smallest, weights, clamped):
    """Add eta C to the stencil D = sum_k w_k e_k e_k^T; ``clamped``: to at least ``smallest`` w."""
    least = np.empty(3)
    for c in range(change.shape[0]):
        more = weights_of(load(superbase, c), change[c, 0], change[c, 1], change[c, 2])
        for k in range(3):
            least[k] = smallest * weights[c, k]
            weights[c, k] += eta[c] * more[k]
            clamped[c, k] = weights[c, k]
        balance(clamped[c], least, 0, 1, 2)
        for k in range(3):
            clamped[c, k] = max(clamped[c, k], least[k])
