"""Cubic interpolation on cell-centred grids with even reflection about the faces.

``spline_*``: C2 B-splines for the target's log-density, evaluated at the gradient of the potential.
``keys_*``: cubic convolution (Keys 1981) of phi, whose derivative at a cell centre is exactly the
centred difference, so that the map between cell centres agrees with the gradient at them.
"""

import math
from collections.abc import Callable

from numba import njit


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def prefilter_axis(values, first, last):
    """Node values to cubic B-spline coefficients along axis 1 of (outer, n, inner), in place.

    Columns first..last of the inner axis, by the recursive filter of Unser (1999), z = sqrt(3) - 2,
    with half-sample even reflection.
    """
    z = math.sqrt(3.0) - 2.0
    n = values.shape[1]
    for o in range(values.shape[0]):
        for k in range(first, last):
            # c+(0) of the reflected, 2n-periodic signal, summed until z^j is below rounding
            total = 0.0
            power = 1.0
            for j in range(min(2 * n, 40)):
                m = 2 * n - 1 - j if j >= n else j
                total += power * values[o, m, k]
                power *= z
            start = values[o, 0, k] + z * total / (1.0 - (power if 2 * n <= 40 else 0.0))
            values[o, 0, k] = start
        for i in range(1, n):
            for k in range(first, last):
                values[o, i, k] += z * values[o, i - 1, k]
        for k in range(first, last):
            values[o, n - 1, k] *= z / (z - 1.0)
        for i in range(n - 2, -1, -1):
            for k in range(first, last):
                values[o, i, k] = z * (values[o, i + 1, k] - values[o, i, k])
            for k in range(first, last):
                values[o, i + 1, k] *= 6.0
        for k in range(first, last):
            values[o, 0, k] *= 6.0


@njit(error_model="numpy", cache=True, nogil=True)
def _bspline(t):
    """Values and derivatives of the four cubic B-splines over a cell, t in [0, 1]."""
    r = 1.0 - t
    return (
        r * r * r / 6.0,
        ((3.0 * t - 6.0) * t * t + 4.0) / 6.0,
        ((3.0 * r - 6.0) * r * r + 4.0) / 6.0,
        t * t * t / 6.0,
        -0.5 * r * r,
        (1.5 * t - 2.0) * t,
        (2.0 - 1.5 * r) * r,
        0.5 * t * t,
    )


@njit(error_model="numpy", cache=True, nogil=True)
def keys(t):
    """Values, first and second derivatives of the cubic-convolution weights (a = -1/2)."""
    t2 = t * t
    t3 = t2 * t
    return (
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
        -1.5 * t2 + 2.0 * t - 0.5,
        4.5 * t2 - 5.0 * t,
        -4.5 * t2 + 4.0 * t + 0.5,
        1.5 * t2 - t,
        -3.0 * t + 2.0,
        9.0 * t - 5.0,
        -9.0 * t + 4.0,
        3.0 * t - 1.0,
    )


@njit(error_model="numpy", cache=True, nogil=True)
def locate(position, n):
    """Cell index and offset for a coordinate in cell units, clamped to the box [-1/2, n-1/2]."""
    position = min(max(position, -0.5), n - 0.5)
    i = math.floor(position)
    return int(i), position - i


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def spline_1d(coefficients, halo, y0, row, value, derivative):
    """Spline and derivative (per cell unit) at positions y0 of one row; halo >= 2."""
    n0 = coefficients.shape[0] - 2 * halo
    for j in range(y0.size):
        a, s = locate(y0[j], n0)
        a += halo - 1
        b0, b1, b2, b3, d0, d1, d2, d3 = _bspline(s)
        c0, c1 = coefficients[a], coefficients[a + 1]
        c2, c3 = coefficients[a + 2], coefficients[a + 3]
        value[row + j] = b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3
        derivative[row + j, 0] = d0 * c0 + d1 * c1 + d2 * c2 + d3 * c3


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def spline_2d(coefficients, halo, y0, y1, row, value, derivative):
    """Two-dimensional twin of `spline_1d`."""
    n0 = coefficients.shape[0] - 2 * halo
    n1 = coefficients.shape[1] - 2 * halo
    for j in range(y0.size):
        a, s = locate(y0[j], n0)
        b, t = locate(y1[j], n1)
        a += halo - 1
        b += halo - 1
        u = _bspline(s)
        v0, v1, v2, v3, e0, e1, e2, e3 = _bspline(t)
        f = fx = fy = 0.0
        for k in range(4):
            x0, x1 = coefficients[a + k, b], coefficients[a + k, b + 1]
            x2, x3 = coefficients[a + k, b + 2], coefficients[a + k, b + 3]
            z = v0 * x0 + v1 * x1 + v2 * x2 + v3 * x3
            f += u[k] * z
            fx += u[4 + k] * z
            fy += u[k] * (e0 * x0 + e1 * x1 + e2 * x2 + e3 * x3)
        value[row + j] = f
        derivative[row + j, 0] = fx
        derivative[row + j, 1] = fy


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def spline_3d(coefficients, halo, y0, y1, y2, row, value, derivative):
    """Three-dimensional twin of `spline_1d`."""
    n0 = coefficients.shape[0] - 2 * halo
    n1 = coefficients.shape[1] - 2 * halo
    n2 = coefficients.shape[2] - 2 * halo
    for j in range(y0.size):
        a, s = locate(y0[j], n0)
        b, t = locate(y1[j], n1)
        c, r = locate(y2[j], n2)
        a += halo - 1
        b += halo - 1
        c += halo - 1
        u = _bspline(s)
        v = _bspline(t)
        w0, w1, w2, w3, g0, g1, g2, g3 = _bspline(r)
        f = fx = fy = fz = 0.0
        for k in range(4):
            p = py = pz = 0.0
            for m in range(4):
                x0, x1 = coefficients[a + k, b + m, c], coefficients[a + k, b + m, c + 1]
                x2, x3 = coefficients[a + k, b + m, c + 2], coefficients[a + k, b + m, c + 3]
                z = w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3
                p += v[m] * z
                py += v[4 + m] * z
                pz += v[m] * (g0 * x0 + g1 * x1 + g2 * x2 + g3 * x3)
            f += u[k] * p
            fx += u[4 + k] * p
            fy += u[k] * py
            fz += u[k] * pz
        value[row + j] = f
        derivative[row + j, 0] = fx
        derivative[row + j, 1] = fy
        derivative[row + j, 2] = fz


SPLINE: dict[int, Callable[..., None]] = {1: spline_1d, 2: spline_2d, 3: spline_3d}
