"""Sums of a quadratic B-spline over the images of cells side by side.

Cells of equal numbers of samples wait in a *queue* until there are `LANES` of them, or one with
other numbers needs the place; then sample after sample is taken of all, in loops that compilers
turn into vector code.  Sums of a cell are the same to the last bit in whatever company.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.image_quadrature import node, quadratic
from pma_grid.kernels.equation.limits import LANES

# A queue, quantity after quantity in one flat array, that of cell j at quantity + j (see
# `lanes_2d`): centre and edges of the images; sums of the spline, of its derivatives and of these
# times the position in the cell, its highest and lowest value; offsets of a sample within a target
# cell; the coefficients around it.
(
    G_0, G_1, A_00, A_01, A_10, A_11,
    TOTAL, BY_0, BY_1, BY_00, BY_01, BY_10, BY_11, HIGHEST, LOWEST,
    S_0, S_1, AROUND,
) = range(0, 18 * LANES, LANES)  # fmt: skip
SIZE = AROUND + 9 * LANES
# Pieces along both edges up to which numbers of samples have a queue each.
PIECES = 4


@njit(error_model="numpy", cache=True, nogil=True)
def sums(f, corners, count, counts, densities, halo):
    """Fill the sums of the first ``count`` cells of a queue, ``counts`` samples along each edge.

    ``corners`` (LANES,) int64 is scratch.
    """
    for j in range(count):
        f[TOTAL + j] = f[BY_0 + j] = f[BY_1 + j] = 0.0
        f[BY_00 + j] = f[BY_01 + j] = f[BY_10 + j] = f[BY_11 + j] = 0.0
        f[HIGHEST + j], f[LOWEST + j] = 0.0, math.inf
    n0, n1 = densities.shape[0] - 2 * halo, densities.shape[1] - 2 * halo
    for k in range(counts[0]):
        x = node(k, counts[0])
        for l in range(counts[1]):
            y = node(l, counts[1])
            _place(f, corners, count, x, y, (n0, n1), densities.shape[1])
            _load(f, corners, count, densities, halo)
            _add(f, count, x, y)


@njit(error_model="numpy", cache=True, nogil=True)
def _place(f, corners, count, x, y, shape, stride):
    """Target cells of the sample (x, y), clamped to the box, as flat indices; offsets in them."""
    last0, last1, stride = shape[0] - 1.0, shape[1] - 1.0, float(stride)
    for j in range(count):
        p0 = f[G_0 + j] + f[A_00 + j] * x + f[A_01 + j] * y
        p1 = f[G_1 + j] + f[A_10 + j] * x + f[A_11 + j] * y
        # so that what is no number lands in the box as well
        p0, p1 = p0 if p0 > -0.5 else -0.5, p1 if p1 > -0.5 else -0.5
        p0, p1 = min(p0, last0 + 0.5), min(p1, last1 + 0.5)
        i, m = min(math.floor(p0 + 0.5), last0), min(math.floor(p1 + 0.5), last1)
        f[S_0 + j], f[S_1 + j] = p0 - i, p1 - m
        corners[j] = np.int64(i * stride + m)


@njit(error_model="numpy", cache=True, nogil=True)
def _load(f, corners, count, densities, halo):
    """The 3 x 3 coefficients around each sample."""
    flat, stride = densities.ravel(), densities.shape[1]
    first = (halo - 1) * (stride + 1)
    for j in range(count):
        # indices without a sign are not tested for counting from the end
        p = np.uint64(corners[j] + first)
        for i in range(3):
            for m in range(3):
                f[AROUND + (3 * i + m) * LANES + j] = flat[p + np.uint64(m)]
            p += np.uint64(stride)


@njit(error_model="numpy", cache=True, nogil=True)
def _add(f, count, x, y):
    """One sample of every cell to the sums."""
    for j in range(count):
        u0, u1, u2, d0, d1, d2 = quadratic(f[S_0 + j])
        v0, v1, v2, b0, b1, b2 = quadratic(f[S_1 + j])
        a = AROUND + j
        e0, e1, e2 = f[a], f[a + LANES], f[a + 2 * LANES]
        r0, q0 = v0 * e0 + v1 * e1 + v2 * e2, b0 * e0 + b1 * e1 + b2 * e2
        e0, e1, e2 = f[a + 3 * LANES], f[a + 4 * LANES], f[a + 5 * LANES]
        r1, q1 = v0 * e0 + v1 * e1 + v2 * e2, b0 * e0 + b1 * e1 + b2 * e2
        e0, e1, e2 = f[a + 6 * LANES], f[a + 7 * LANES], f[a + 8 * LANES]
        r2, q2 = v0 * e0 + v1 * e1 + v2 * e2, b0 * e0 + b1 * e1 + b2 * e2
        z = u0 * r0 + u1 * r1 + u2 * r2
        z0 = d0 * r0 + d1 * r1 + d2 * r2
        z1 = u0 * q0 + u1 * q1 + u2 * q2
        f[TOTAL + j] += z
        f[BY_0 + j] += z0
        f[BY_1 + j] += z1
        f[BY_00 + j] += z0 * x
        f[BY_01 + j] += z0 * y
        f[BY_10 + j] += z1 * x
        f[BY_11 + j] += z1 * y
        f[HIGHEST + j] = max(f[HIGHEST + j], z)
        f[LOWEST + j] = min(f[LOWEST + j], z)
