"""Three-dimensional sums over images of cells side by side; see `lanes_images_2d`."""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.image_quadrature import node, quadratic

# Fewer than in two dimensions: there is more to each.
LANES = 32
# A queue, quantity after quantity: centre and edges (A row by row) of the images; sums of the
# spline, of its derivatives, of these times the position in the cell (row by row), its highest and
# lowest value.
CENTRE, EDGES = 0, 3 * LANES
TOTAL, SLOPES, MOMENTS = 12 * LANES, 13 * LANES, 16 * LANES
HIGHEST, LOWEST = 25 * LANES, 26 * LANES
# Of one sample: values and derivatives of the B-splines along the axes, six each; the coefficients
# on a line; what a plane of lines comes to, and the spline, with derivatives.
SPLINES, LINE, PLANE, POINT = 27 * LANES, 45 * LANES, 48 * LANES, 51 * LANES
SIZE = POINT + 4 * LANES
# Pieces along all edges up to which numbers of samples have a queue each.
PIECES = 2


@njit(error_model="numpy", cache=True, nogil=True)
def sums(f, corners, count, counts, densities, halo):
    """Fill the sums of the first ``count`` cells of a queue, ``counts`` samples along each edge.

    ``corners`` (LANES,) int64 is scratch.
    """
    for k in range(TOTAL, LOWEST, LANES):
        for j in range(count):
            f[k + j] = 0.0
    for j in range(count):
        f[LOWEST + j] = math.inf
    for i in range(counts[0]):
        x = node(i, counts[0])
        for m in range(counts[1]):
            y = node(m, counts[1])
            for l in range(counts[2]):
                z = node(l, counts[2])
                _place(f, corners, count, (x, y, z), densities.shape, halo)
                _interpolate(f, corners, count, densities)
                _add(f, count, (x, y, z))


@njit(error_model="numpy", cache=True, nogil=True)
def _place(f, corners, count, at, shape, halo):
    """The first coefficient of each sample, clamped to the box, and the splines there."""
    x, y, z = at
    for j in range(count):
        corners[j] = 0
    for k in range(3):
        last, size = shape[k] - 2.0 * halo - 1.0, shape[k]
        g, a, s = CENTRE + k * LANES, EDGES + 3 * k * LANES, SPLINES + 6 * k * LANES
        for j in range(count):
            p = f[g + j] + f[a + j] * x + f[a + LANES + j] * y + f[a + 2 * LANES + j] * z
            # so that what is no number lands in the box as well
            p = p if p > -0.5 else -0.5
            p = min(p, last + 0.5)
            cell = min(math.floor(p + 0.5), last)
            u0, u1, u2, d0, d1, d2 = quadratic(p - cell)
            f[s + j], f[s + LANES + j], f[s + 2 * LANES + j] = u0, u1, u2
            f[s + 3 * LANES + j], f[s + 4 * LANES + j], f[s + 5 * LANES + j] = d0, d1, d2
            corners[j] = corners[j] * size + np.int64(cell) + halo - 1


@njit(error_model="numpy", cache=True, nogil=True)
def _interpolate(f, corners, count, densities):
    """The spline and its derivatives at a sample of every cell: lines, planes of them, all."""
    flat = densities.ravel()
    s0, s1 = densities.shape[1] * densities.shape[2], densities.shape[2]
    u, v, w = SPLINES, SPLINES + 6 * LANES, SPLINES + 12 * LANES
    for k in range(4):
        for j in range(count):
            f[POINT + k * LANES + j] = 0.0
    for i in range(3):
        for k in range(3):
            for j in range(count):
                f[PLANE + k * LANES + j] = 0.0
        for m in range(3):
            for j in range(count):
                # indices without a sign are not tested for counting from the end
                p = np.uint64(corners[j] + i * s0 + m * s1)
                f[LINE + j] = flat[p]
                f[LINE + LANES + j] = flat[p + np.uint64(1)]
                f[LINE + 2 * LANES + j] = flat[p + np.uint64(2)]
            for j in range(count):
                a, b, c = f[LINE + j], f[LINE + LANES + j], f[LINE + 2 * LANES + j]
                along = f[w + j] * a + f[w + LANES + j] * b + f[w + 2 * LANES + j] * c
                bend = f[w + 3 * LANES + j] * a + f[w + 4 * LANES + j] * b
                bend += f[w + 5 * LANES + j] * c
                f[PLANE + j] += f[v + m * LANES + j] * along
                f[PLANE + LANES + j] += f[v + (3 + m) * LANES + j] * along
                f[PLANE + 2 * LANES + j] += f[v + m * LANES + j] * bend
        for j in range(count):
            value, rise = f[u + i * LANES + j], f[u + (3 + i) * LANES + j]
            f[POINT + j] += value * f[PLANE + j]
            f[POINT + LANES + j] += rise * f[PLANE + j]
            f[POINT + 2 * LANES + j] += value * f[PLANE + LANES + j]
            f[POINT + 3 * LANES + j] += value * f[PLANE + 2 * LANES + j]


@njit(error_model="numpy", cache=True, nogil=True)
def _add(f, count, at):
    """One sample of every cell to the sums."""
    x, y, z = at
    for j in range(count):
        value = f[POINT + j]
        f[TOTAL + j] += value
        f[HIGHEST + j] = max(f[HIGHEST + j], value)
        f[LOWEST + j] = min(f[LOWEST + j], value)
    for k in range(3):
        m = MOMENTS + 3 * k * LANES
        for j in range(count):
            slope = f[POINT + (k + 1) * LANES + j]
            f[SLOPES + k * LANES + j] += slope
            f[m + j] += slope * x
            f[m + LANES + j] += slope * y
            f[m + 2 * LANES + j] += slope * z
