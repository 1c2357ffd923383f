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

What the sums over an image give is kept until u, the image or its numbers of samples change: a step
that a line search has tried costs no more sums when its images are renewed, but where these turn.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation import lanes_images_2d as lanes
from pma_grid.kernels.equation.clamping import balance
from pma_grid.kernels.equation.image_quadrature import (
    MOST_SAMPLES,
    blend,
    cell,
    is_needless,
    samples,
    share_of,
)
from pma_grid.kernels.equation.image_queues import empty_queues, queue_of
from pma_grid.kernels.equation.limits import LANES
from pma_grid.kernels.equation.superbase_2d import hessian, load, weights_of


@njit(error_model="numpy", cache=True, nogil=True)
def average_2d(padded, layout, scales, spline, varies, images, refresh, value, drift):
    """Blend log nu(g) with the log of the mean of nu over the image of the cell.

    ``spline`` is that of nu.  ``value`` (N,) and ``drift`` (N, d), the derivative per target cell,
    come in as those of the point value.  Samples and blends of ``images`` are renewed if
    ``refresh``, else used; sums are made where they are not known.
    """
    row_start, affine, slope = layout.row_start, scales.affine, scales.slope
    densities, halo = spline
    variation, low, high = varies
    n0, n1 = densities.shape[0] - 2 * halo, densities.shape[1] - 2 * halo
    s0 = layout.strides[0]
    queues = empty_queues(lanes.PIECES, 2, lanes.SIZE, LANES)
    corners = np.empty(LANES, np.int64)
    f, cells, counts, waiting = queues
    for row in range(row_start.size):
        base = affine[0] * (layout.first_row + row + 0.5) - 0.5
        for j in range(layout.n_last):
            c = row * layout.n_last + j
            if images.known[c] or not (refresh or images.blend[c] > 0.0):
                continue
            p = row_start[row] + j
            g0 = base + slope[0] * (padded[p + s0] - padded[p - s0])
            g1 = affine[1] * (j + 0.5) - 0.5 + slope[1] * (padded[p + 1] - padded[p - 1])
            a00, a01, a10, a11 = _edges(padded, p, s0, scales, load(images.superbase, c))
            e0, e1 = math.hypot(a00, a10), math.hypot(a01, a11)
            k0, k1 = samples(e0, MOST_SAMPLES), samples(e1, MOST_SAMPLES)
            extent = max(e0, e1)
            needless = is_needless(variation[cell(g0, n0)[0], cell(g1, n1)[0]], extent, low)
            if refresh:
                images.counts[c, 0], images.counts[c, 1] = k0, k1
                if needless:
                    images.blend[c] = 0.0
                    continue
            same = k0 == images.counts[c, 0] and k1 == images.counts[c, 1]
            images.known[c] = same and not needless
            k0, k1 = images.counts[c, 0], images.counts[c, 1]
            q = queue_of(images.counts[c], lanes.PIECES)
            if waiting[q] == LANES or k0 != counts[q, 0] or k1 != counts[q, 1]:
                _empty(queues, q, corners, spline, scales.per_cell, (low, high), images)
                counts[q, 0], counts[q, 1] = k0, k1
            m = waiting[q]
            f[q, lanes.G_0 + m], f[q, lanes.G_1 + m] = g0, g1
            f[q, lanes.A_00 + m], f[q, lanes.A_01 + m] = a00, a01
            f[q, lanes.A_10 + m], f[q, lanes.A_11 + m] = a10, a11
            cells[q, m] = c
            waiting[q] += 1
    for q in range(waiting.size):
        _empty(queues, q, corners, spline, scales.per_cell, (low, high), images)
    blend(images, refresh, value, drift)


@njit(error_model="numpy", cache=True, nogil=True)
def _empty(queues, q, corners, spline, per_cell, limits, images):
    """Keep means and their derivatives of the cells that wait in queue ``q``."""
    f, cells, samples, count = queues.f[q], queues.cells[q], queues.counts[q], queues.waiting[q]
    low, high = limits
    queues.waiting[q] = 0
    lanes.sums(f, corners, count, samples, spline.coefficients, spline.halo)
    for m in range(count):
        c, inverse = cells[m], 1.0 / f[lanes.TOTAL + m]
        by_0, by_1 = f[lanes.BY_0 + m] * inverse, f[lanes.BY_1 + m] * inverse
        images.logs[c] = math.log(f[lanes.TOTAL + m] / (samples[0] * samples[1])) - images.shift[c]
        images.slopes[c, 0], images.slopes[c, 1] = by_0, by_1
        mixed = f[lanes.BY_01 + m] * per_cell[0] + f[lanes.BY_10 + m] * per_cell[1]
        images.moments[c, 0] = f[lanes.BY_00 + m] * inverse * per_cell[0]
        images.moments[c, 1] = 0.5 * mixed * inverse
        images.moments[c, 2] = f[lanes.BY_11 + m] * inverse * per_cell[1]
        along_0 = by_0 * f[lanes.A_00 + m] + by_1 * f[lanes.A_10 + m]
        along_1 = by_0 * f[lanes.A_01 + m] + by_1 * f[lanes.A_11 + m]
        change_of_log = abs(along_0) + abs(along_1)
        range_of_log = math.log(f[lanes.HIGHEST + m] / f[lanes.LOWEST + m])
        images.wanted[c] = share_of(max(change_of_log, range_of_log), low, high)


@njit(error_model="numpy", cache=True, nogil=True)
def _edges(padded, p, stride, scales, base):
    """A of a cell, from D2u by the second differences of a superbase, made semi-definite."""
    metric, per_cell = scales.metric, scales.per_cell
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
    m00, m11 = (mean + half) / r, mean - half
    return m00 * per_cell[0], m01 * per_cell[0], m01 * per_cell[1], m11 * per_cell[1]


@njit(error_model="numpy", cache=True, nogil=True)
def add_change_2d(images, superbase, eta, smallest, weights, clamped):
    """Add eta C to the stencil D = sum_k w_k e_k e_k^T; ``clamped``: to at least ``smallest`` w.

    C is the derivative of the blends by D2u.
    """
    least = np.empty(3)
    for c in range(eta.size):
        clamped[c] = weights[c]
        if images.blend[c] == 0.0:
            continue
        t = images.moments[c]
        more = weights_of(load(superbase, c), t[0], t[1], t[2])
        for k in range(3):
            least[k] = smallest * weights[c, k]
            weights[c, k] += images.blend[c] * eta[c] * more[k]
            clamped[c, k] = weights[c, k]
        balance(clamped[c], least, 0, 1, 2)
        for k in range(3):
            clamped[c, k] = max(clamped[c, k], least[k])
