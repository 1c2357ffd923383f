"""Three-dimensional means over images of cells; `images_2d` has formulas and contract.

Second differences along the six vectors of a superbase v0..v3 are the Hessian in the basis dual to
v1, v2, v3 (see `monge_ampere_3d`), so that M = sum_ij G_ij v_i v_j^T over i, j = 1..3.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation import lanes_images_3d as lanes
from pma_grid.kernels.equation.clamping import balance
from pma_grid.kernels.equation.image_quadrature import (
    MOST_SAMPLES_3D,
    blend,
    cell,
    is_needless,
    samples,
    share_of,
)
from pma_grid.kernels.equation.image_queues import empty_queues, queue_of
from pma_grid.kernels.equation.superbase_3d import (
    FIRST,
    SECOND,
    cross,
    differences,
    gram,
    load,
    product,
)

# Weights of vectors in one plane: of the pairs among three of v0..v3, all across the fourth.
PLANES = np.array([[0, 1, 3], [0, 2, 4], [1, 2, 5], [3, 4, 5]])


@njit(error_model="numpy", cache=True, nogil=True)
def hessian_3d(v, d, metric, hessian):
    """``hessian`` (3, 3): D2u in index units from second differences ``d``, made semi-definite."""
    g00, g01, g02, g11, g12, g22 = gram(d)
    for k in range(3):
        t1 = g00 * v[1, k] + g01 * v[2, k] + g02 * v[3, k]
        t2 = g01 * v[1, k] + g11 * v[2, k] + g12 * v[3, k]
        t3 = g02 * v[1, k] + g12 * v[2, k] + g22 * v[3, k]
        for i in range(3):
            hessian[i, k] = v[1, i] * t1 + v[2, i] * t2 + v[3, i] * t3
    # the smallest eigenvalue in units of the metric is raised to 0
    raised = max(0.0, -_lowest_eigenvalue(hessian, metric))
    for i in range(3):
        hessian[i, i] += raised * metric[i]


@njit(error_model="numpy", cache=True, nogil=True)
def _lowest_eigenvalue(m, metric):
    """Smallest eigenvalue of the symmetric ``m`` in units of the metric (Smith 1961)."""
    s00, s11, s22 = m[0, 0] / metric[0], m[1, 1] / metric[1], m[2, 2] / metric[2]
    q01 = m[0, 1] * m[0, 1] / (metric[0] * metric[1])
    q02 = m[0, 2] * m[0, 2] / (metric[0] * metric[2])
    q12 = m[1, 2] * m[1, 2] / (metric[1] * metric[2])
    product = m[0, 1] * m[0, 2] * m[1, 2] / (metric[0] * metric[1] * metric[2])
    mean = (s00 + s11 + s22) / 3.0
    x, y, z = s00 - mean, s11 - mean, s22 - mean
    radius = math.sqrt((x * x + y * y + z * z + 2.0 * (q01 + q02 + q12)) / 6.0)
    if not radius > 0.0:
        return mean
    det = x * y * z + 2.0 * product - x * q12 - y * q02 - z * q01
    cosine = min(1.0, max(-1.0, 0.5 * det / radius**3))
    return mean + 2.0 * radius * math.cos((math.acos(cosine) + 2.0 * math.pi) / 3.0)


@njit(error_model="numpy", cache=True, nogil=True)
def average_3d(padded, layout, scales, spline, varies, images, refresh, value, drift):
    """Blend log nu(g) with the log of the mean of nu over the image; see `images_2d.average_2d`."""
    row_start, n_last, strides = layout.row_start, layout.n_last, layout.strides
    metric, affine, slope, per_cell = scales
    variation, low, high = varies
    v, e = np.empty((4, 3), np.int64), np.empty((6, 3), np.int64)
    second, spare = np.empty(6), np.empty(6)
    hessian, a = np.empty((3, 3)), np.empty((3, 3))
    g, own = np.empty(3), np.empty(3, np.int64)
    queues = empty_queues(lanes.PIECES, 3, lanes.SIZE, lanes.LANES)
    corners = np.empty(lanes.LANES, np.int64)
    f, cells, counts, waiting = queues
    shape = variation.shape
    n1 = layout.shape[1]
    for row in range(row_start.size):
        base0 = affine[0] * ((layout.first_row + row) // n1 + 0.5) - 0.5
        base1 = affine[1] * ((layout.first_row + row) % n1 + 0.5) - 0.5
        for j in range(n_last):
            c = row * n_last + j
            if images.known[c] or not (refresh or images.blend[c] > 0.0):
                continue
            p = row_start[row] + j
            load(images.superbase[c], v)
            cross(v, e)
            differences(padded, p, e, strides, metric, second, spare)
            hessian_3d(v, second, metric, hessian)
            g[0] = base0 + slope[0] * (padded[p + strides[0]] - padded[p - strides[0]])
            g[1] = base1 + slope[1] * (padded[p + strides[1]] - padded[p - strides[1]])
            g[2] = affine[2] * (j + 0.5) - 0.5 + slope[2] * (padded[p + 1] - padded[p - 1])
            for i in range(3):
                for k in range(3):
                    a[i, k] = hessian[i, k] * per_cell[i]
            extent, same = 0.0, True
            for k in range(3):
                length = math.sqrt(a[0, k] ** 2 + a[1, k] ** 2 + a[2, k] ** 2)
                extent = max(extent, length)
                count = samples(length, MOST_SAMPLES_3D)
                if refresh:
                    images.counts[c, k] = count
                own[k] = images.counts[c, k]
                same = same and count == own[k]
            i0, i1 = cell(g[0], shape[0])[0], cell(g[1], shape[1])[0]
            i2 = cell(g[2], shape[2])[0]
            needless = is_needless(variation[i0, i1, i2], extent, low)
            if refresh and needless:
                images.blend[c] = 0.0
                continue
            images.known[c] = same and not needless
            q = queue_of(own, lanes.PIECES)
            if waiting[q] == lanes.LANES or not np.array_equal(own, counts[q]):
                _empty(queues, q, corners, spline, per_cell, (low, high), images)
                counts[q] = own
            j0 = waiting[q]
            for i in range(3):
                f[q, lanes.CENTRE + i * lanes.LANES + j0] = g[i]
                for k in range(3):
                    f[q, lanes.EDGES + (3 * i + k) * lanes.LANES + j0] = a[i, k]
            cells[q, j0] = c
            waiting[q] += 1
    for q in range(waiting.size):
        _empty(queues, q, corners, spline, per_cell, (low, high), images)
    blend(images, refresh, value, drift)


@njit(error_model="numpy", cache=True, nogil=True)
def _empty(queues, q, corners, spline, per_cell, limits, images):
    """Keep means and their derivatives of the cells that wait in queue ``q``."""
    f, cells, samples, count = queues.f[q], queues.cells[q], queues.counts[q], queues.waiting[q]
    low, high = limits
    queues.waiting[q] = 0
    lanes.sums(f, corners, count, samples, spline.coefficients, spline.halo)
    for j in range(count):
        c, total = cells[j], f[lanes.TOTAL + j]
        images.logs[c] = math.log(total / (samples[0] * samples[1] * samples[2])) - images.shift[c]
        change_of_log, m = 0.0, 0
        for k in range(3):
            images.slopes[c, k] = f[lanes.SLOPES + k * lanes.LANES + j] / total
            along = 0.0
            for i in range(3):
                edge = f[lanes.EDGES + (3 * i + k) * lanes.LANES + j]
                along += f[lanes.SLOPES + i * lanes.LANES + j] * edge
            change_of_log += abs(along) / total
            for i in range(k, 3):
                one = f[lanes.MOMENTS + (3 * k + i) * lanes.LANES + j] * per_cell[k]
                other = f[lanes.MOMENTS + (3 * i + k) * lanes.LANES + j] * per_cell[i]
                images.moments[c, m] = 0.5 * (one + other) / total
                m += 1
        range_of_log = math.log(f[lanes.HIGHEST + j] / f[lanes.LOWEST + j])
        images.wanted[c] = share_of(max(change_of_log, range_of_log), low, high)


@njit(error_model="numpy", cache=True, nogil=True)
def add_change_3d(images, superbase, eta, smallest, weights, clamped):
    """Add eta C to the stencil: -v_i . C v_j to its weight w_ij; see `images_2d.add_change_2d`."""
    v, least = np.empty((4, 3), np.int64), np.empty(6)
    for c in range(eta.size):
        clamped[c] = weights[c]
        if images.blend[c] == 0.0:
            continue
        load(superbase[c], v)
        t = images.moments[c]
        for m in range(6):
            more = product(v[FIRST[m]], t, v[SECOND[m]])
            least[m] = smallest * weights[c, m]
            weights[c, m] -= images.blend[c] * eta[c] * more
            clamped[c, m] = weights[c, m]
        for k in range(4):
            balance(clamped[c], least, PLANES[k, 0], PLANES[k, 1], PLANES[k, 2])
        for m in range(6):
            clamped[c, m] = max(clamped[c, m], least[m])
