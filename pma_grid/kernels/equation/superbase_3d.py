"""Algebra of three-dimensional superbases: flips, and roots of the shift form.

Pairs are ordered 01, 02, 03, 12, 13, 23 throughout, entries of symmetric matrices by rows of the
upper triangle; see `monge_ampere_3d` for the formulas.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.limits import ZERO_WEIGHT_SHARE

# The two vectors of each pair, and the two others.
FIRST = np.array([0, 0, 0, 1, 1, 2])
SECOND = np.array([1, 2, 3, 2, 3, 3])
THIRD = np.array([2, 1, 1, 0, 0, 0])
FOURTH = np.array([3, 3, 2, 3, 2, 1])
# Shares w a (their sum is 3) this far below zero are rounding: no reason to walk on.
NEGATIVE_SHARE = 1e-10
# Largest relative defect of the determinant from which Newton for the shift may start at 0.
START_DEFECT = 0.5
# Error, relative to the trace, that the shift may be left with: a rounding or two.
SHIFT_ERROR = 1e-15


@njit(error_model="numpy", cache=True, nogil=True)
def load(superbase, v):
    """Fill ``v`` (4, 3) from the three stored vectors (3, 3)."""
    for i in range(3):
        v[1, i] = superbase[0, i]
        v[2, i] = superbase[1, i]
        v[3, i] = superbase[2, i]
        v[0, i] = -v[1, i] - v[2, i] - v[3, i]


@njit(error_model="numpy", cache=True, nogil=True)
def store(v, e, c, strides, bases):
    """Store a superbase of cell c, its vectors and their offsets."""
    for i in range(3):
        for k in range(3):
            bases.superbase[c, k, i] = v[k + 1, i]
        for k in range(6):
            bases.vectors[c, k, i] = e[k, i]
    for k in range(6):
        bases.offsets[c, k] = e[k, 0] * strides[0] + e[k, 1] * strides[1] + e[k, 2]


@njit(error_model="numpy", cache=True, nogil=True)
def cross(v, e):
    """The six lattice vectors e_ij = v_k x v_l of a superbase."""
    for m in range(6):
        k, l = THIRD[m], FOURTH[m]
        e[m, 0] = v[k, 1] * v[l, 2] - v[k, 2] * v[l, 1]
        e[m, 1] = v[k, 2] * v[l, 0] - v[k, 0] * v[l, 2]
        e[m, 2] = v[k, 0] * v[l, 1] - v[k, 1] * v[l, 0]


@njit(error_model="numpy", cache=True, nogil=True)
def flip(v, m, w):
    """Superbase ``w`` without the negative weight m = (i, j): (-v_i, v_j, v_k + v_i, v_l + v_i)."""
    i, j, k, l = FIRST[m], SECOND[m], THIRD[m], FOURTH[m]
    for t in range(3):
        w[i, t] = -v[i, t]
        w[j, t] = v[j, t]
        w[k, t] = v[k, t] + v[i, t]
        w[l, t] = v[l, t] + v[i, t]


@njit(error_model="numpy", cache=True, nogil=True)
def reaches(e, reach):
    """Whether all lattice vectors stay within the halo."""
    for m in range(6):
        if max(abs(e[m, 0]), abs(e[m, 1]), abs(e[m, 2])) > reach:
            return False
    return True


@njit(error_model="numpy", cache=True, nogil=True)
def gram(a):
    """The matrix in the basis dual to v_1, v_2, v_3 that has the differences ``a``."""
    return (
        a[0],
        0.5 * (a[0] + a[1] - a[3]),
        0.5 * (a[0] + a[2] - a[4]),
        a[1],
        0.5 * (a[1] + a[2] - a[5]),
        a[2],
    )


@njit(error_model="numpy", cache=True, nogil=True)
def invert(g):
    """Determinant and inverse of a symmetric matrix."""
    g00, g01, g02, g11, g12, g22 = g
    c00 = g11 * g22 - g12 * g12
    c01 = g02 * g12 - g01 * g22
    c02 = g01 * g12 - g02 * g11
    det = g00 * c00 + g01 * c01 + g02 * c02
    inv = 1.0 / det
    return det, (
        c00 * inv,
        c01 * inv,
        c02 * inv,
        (g00 * g22 - g02 * g02) * inv,
        (g01 * g02 - g00 * g12) * inv,
        (g00 * g11 - g01 * g01) * inv,
    )


@njit(error_model="numpy", cache=True, nogil=True)
def weights_of(d):
    """Weights of the six e e^T in the tensor D, given in the basis dual to v_1, v_2, v_3."""
    d00, d01, d02, d11, d12, d22 = d
    return d00 + d01 + d02, d01 + d11 + d12, d02 + d12 + d22, -d01, -d02, -d12


@njit(error_model="numpy", cache=True, nogil=True)
def invariants(g, k, inverse_det0):
    """Trace, second invariant and determinant of G0^{-1} G, with k = G0."""
    g00, g01, g02, g11, g12, g22 = g
    k00, k01, k02, k11, k12, k22 = k
    t = (k11 * k22 - k12 * k12) * g00
    t += (k00 * k22 - k02 * k02) * g11
    t += (k00 * k11 - k01 * k01) * g22
    t += 2 * ((k02 * k12 - k01 * k22) * g01 + (k01 * k12 - k02 * k11) * g02)
    t = (t + 2 * (k01 * k02 - k00 * k12) * g12) * inverse_det0
    c00, c11, c22 = g11 * g22 - g12 * g12, g00 * g22 - g02 * g02, g00 * g11 - g01 * g01
    c01, c02, c12 = g02 * g12 - g01 * g22, g01 * g12 - g02 * g11, g01 * g02 - g00 * g12
    q = c00 * k00 + c11 * k11 + c22 * k22 + 2 * (c01 * k01 + c02 * k02 + c12 * k12)
    q *= inverse_det0
    return t, q, (g00 * c00 + g01 * c01 + g02 * c02) * inverse_det0


@njit(error_model="numpy", cache=True, nogil=True)
def shifted(g, k, c):
    """G + c G0."""
    return (
        g[0] + c * k[0],
        g[1] + c * k[1],
        g[2] + c * k[2],
        g[3] + c * k[3],
        g[4] + c * k[4],
        g[5] + c * k[5],
    )


@njit(error_model="numpy", cache=True, nogil=True)
def root(a, a0, radius, det0, w):
    """Shift c with det(G + c G0) = radius^3 det(G0); ``w`` (6,): weights of (G + c G0)^{-1}.

    Newton for the largest root of a cubic, which is convex and rises from its last inflection on:
    monotone from the right of the root, and after one step from anywhere that G + c G0 is positive.
    Near a solution c = 0 is such a start, and close.
    """
    g, k = gram(a), gram(a0)
    t, q, det = invariants(g, k, 1.0 / det0)
    p0 = det - radius * radius * radius
    if t > 0 and q > 0 and abs(p0) < START_DEFECT * det:
        c = 0.0
    else:
        mean = t / 3
        spread = math.sqrt(max(0.0, 2 * ((t * t - 2 * q) / 3 - mean * mean)))
        c = radius - mean + spread
    for _ in range(60):
        slope = (3 * c + 2 * t) * c + q
        if slope <= 0:
            break
        bend = 3 * c + t
        inverse = 1 / slope
        step = (((c + t) * c + q) * c + p0) * inverse
        c -= step
        # what a quadratically convergent step leaves
        if abs(bend) * inverse * step * step <= SHIFT_ERROR * (abs(c) + abs(t)):
            break
    w[0], w[1], w[2], w[3], w[4], w[5] = weights_of(invert(shifted(g, k, c))[1])
    return c


@njit(error_model="numpy", cache=True, nogil=True)
def differences(q, p, e, strides, metric, a, a0):
    """Second differences along the vectors, of u (``a``) and of its quadratic part (``a0``)."""
    centre = 2 * q[p]
    for m in range(6):
        x, y, z = e[m, 0], e[m, 1], e[m, 2]
        o = x * strides[0] + y * strides[1] + z
        a0[m] = metric[0] * x * x + metric[1] * y * y + metric[2] * z * z
        a[m] = a0[m] + q[p + o] + q[p - o] - centre


@njit(error_model="numpy", cache=True, nogil=True)
def tensor_of(w):
    """D in the basis dual to v_1, v_2, v_3 from its weights."""
    return w[0] + w[3] + w[4], -w[3], -w[4], w[1] + w[3] + w[5], -w[5], w[2] + w[4] + w[5]


@njit(error_model="numpy", cache=True, nogil=True)
def product(x, t, y):
    """x . T y for the symmetric T of six entries."""
    total = x[0] * (t[0] * y[0] + t[1] * y[1] + t[2] * y[2])
    total += x[1] * (t[1] * y[0] + t[3] * y[1] + t[4] * y[2])
    return total + x[2] * (t[2] * y[0] + t[4] * y[1] + t[5] * y[2])


@njit(error_model="numpy", cache=True, nogil=True)
def lowest(w):
    """Index of the smallest weight."""
    m = 0
    for k in range(1, 6):
        if w[k] < w[m]:
            m = k
    return m


@njit(error_model="numpy", cache=True, nogil=True)
def negative(w):
    """Whether the smallest weight is below zero by more than rounding."""
    total = w[0] + w[1] + w[2] + w[3] + w[4] + w[5]
    return w[lowest(w)] < -ZERO_WEIGHT_SHARE * total


@njit(error_model="numpy", cache=True, nogil=True)
def interior(a, w):
    """log det G and the most negative weight of G^{-1} (-1 if none); weights into ``w``."""
    g = gram(a)
    det, d = invert(g)
    w[0], w[1], w[2], w[3], w[4], w[5] = weights_of(d)
    m = lowest(w)
    positive = a[0] > 0 and a[0] * a[1] > g[1] * g[1] and det > 0
    if not positive:
        return math.nan, m
    if w[m] * a[m] < -NEGATIVE_SHARE:
        return math.log(det), m
    for k in range(6):
        w[k] = max(0.0, w[k])
    return math.log(det), -1
