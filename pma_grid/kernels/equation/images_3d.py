"""Three-dimensional means over images of cells; `images_2d` has formulas and contract.

Second differences along the six vectors of a superbase v0..v3 are the Hessian in the basis dual to
v1, v2, v3 (see `monge_ampere_3d`), so that M = sum_ij G_ij v_i v_j^T over i, j = 1..3.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.clamping import balance
from pma_grid.kernels.equation.image_quadrature import (
    MOST_SAMPLES_3D,
    blend,
    cell,
    node,
    quadratic,
    samples,
    share_of,
)
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
def _line(densities, i, m, l, w):
    """A combination of three neighbours along the last axis, and its derivative."""
    a, b, c = densities[i, m, l - 1], densities[i, m, l], densities[i, m, l + 1]
    return w[0] * a + w[1] * b + w[2] * c, w[3] * a + w[4] * b + w[5] * c


@njit(error_model="numpy", cache=True, nogil=True)
def _plane(densities, i, m, l, t, r):
    """The spline of one plane at the offsets t, r from a cell, and its derivatives along both."""
    v0, v1, v2, b0, b1, b2 = quadratic(t)
    w = quadratic(r)
    f0, g0 = _line(densities, i, m - 1, l, w)
    f1, g1 = _line(densities, i, m, l, w)
    f2, g2 = _line(densities, i, m + 1, l, w)
    return (
        v0 * f0 + v1 * f1 + v2 * f2,
        b0 * f0 + b1 * f1 + b2 * f2,
        v0 * g0 + v1 * g1 + v2 * g2,
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def _value(spline, y0, y1, y2):
    """The quadratic B-spline at a point in cell units, clamped to the box, and its gradient."""
    densities, halo = spline
    i, s = cell(y0, densities.shape[0] - 2 * halo)
    m, t = cell(y1, densities.shape[1] - 2 * halo)
    l, r = cell(y2, densities.shape[2] - 2 * halo)
    i, m, l = i + halo, m + halo, l + halo
    u0, u1, u2, d0, d1, d2 = quadratic(s)
    f0, g0, h0 = _plane(densities, i - 1, m, l, t, r)
    f1, g1, h1 = _plane(densities, i, m, l, t, r)
    f2, g2, h2 = _plane(densities, i + 1, m, l, t, r)
    return (
        u0 * f0 + u1 * f1 + u2 * f2,
        d0 * f0 + d1 * f1 + d2 * f2,
        u0 * g0 + u1 * g1 + u2 * g2,
        u0 * h0 + u1 * h1 + u2 * h2,
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def _mean(spline, g, a, counts, slopes, moments):
    """Sum of the spline over samples of g + a [-1/2, 1/2]^3, the lowest and the highest.

    ``slopes`` (3,) and ``moments`` (3, 3) receive the sums of d_i nu and of d_i nu xi_k.
    """
    k0, k1, k2 = counts
    slopes[:] = 0.0
    moments[:] = 0.0
    total, bottom, top = 0.0, math.inf, 0.0
    for i in range(k0):
        x = node(i, k0)
        for m in range(k1):
            y = node(m, k1)
            b0 = g[0] + a[0, 0] * x + a[0, 1] * y
            b1 = g[1] + a[1, 0] * x + a[1, 1] * y
            b2 = g[2] + a[2, 0] * x + a[2, 1] * y
            f0 = f1 = f2 = z0 = z1 = z2 = 0.0
            for l in range(k2):
                z = node(l, k2)
                f, d0, d1, d2 = _value(
                    spline, b0 + a[0, 2] * z, b1 + a[1, 2] * z, b2 + a[2, 2] * z
                )
                total += f
                bottom, top = min(bottom, f), max(top, f)
                f0 += d0
                f1 += d1
                f2 += d2
                z0 += d0 * z
                z1 += d1 * z
                z2 += d2 * z
            slopes[0] += f0
            slopes[1] += f1
            slopes[2] += f2
            moments[0, 0] += f0 * x
            moments[1, 0] += f1 * x
            moments[2, 0] += f2 * x
            moments[0, 1] += f0 * y
            moments[1, 1] += f1 * y
            moments[2, 1] += f2 * y
            moments[0, 2] += z0
            moments[1, 2] += z1
            moments[2, 2] += z2
    return total, bottom, top


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
    g, slopes, moments = np.empty(3), np.empty(3), np.empty((3, 3))
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
                same = same and count == images.counts[c, k]
            i0, i1 = cell(g[0], shape[0])[0], cell(g[1], shape[1])[0]
            i2 = cell(g[2], shape[2])[0]
            over = variation[i0, i1, i2] * max(1.0, extent)
            # a larger image may reach beyond what ``variation`` has seen
            needless = over < low and extent <= 2.0
            if refresh and needless:
                images.blend[c] = 0.0
                continue
            images.known[c] = same and not needless
            k0, k1, k2 = images.counts[c, 0], images.counts[c, 1], images.counts[c, 2]
            f, bottom, top = _mean(spline, g, a, (k0, k1, k2), slopes, moments)
            images.logs[c] = math.log(f / (k0 * k1 * k2)) - images.shift[c]
            change_of_log, m = 0.0, 0
            for k in range(3):
                images.slopes[c, k] = slopes[k] / f
                along = slopes[0] * a[0, k] + slopes[1] * a[1, k] + slopes[2] * a[2, k]
                change_of_log += abs(along) / f
                for i in range(k, 3):
                    both = moments[k, i] * per_cell[k] + moments[i, k] * per_cell[i]
                    images.moments[c, m] = 0.5 * both / f
                    m += 1
            images.wanted[c] = share_of(max(change_of_log, math.log(top / bottom)), low, high)
    blend(images, refresh, value, drift)


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
