"""Algebra of the shift form for `LANES` cells side by side, which compilers turn into vector code.

Values lie in one flat array, quantity after quantity: number k of cell j is at k LANES + j.
Distances between quantities are constants then, and no pointer can hide another.  Cells that a few
steps of plain arithmetic do not settle say so and are left to scalar code.
"""

import numpy as np
from numba import njit

LANES = 64
# Quantities in: differences of u and of its quadratic part, the radius b; out: residual, eta,
# weights times eta, and what is negative (or no number) where scalar code must see to a cell.
QUANTITIES_2D = 13
QUANTITIES_3D = 22
# Newton steps for the shift, the largest relative defect of the determinant they start from, and
# the error relative to the trace they may leave.
STEPS = 3
CLOSE = 0.5
LEFT = 1e-15


@njit(error_model="numpy", cache=True, nogil=True)
def roots_2d(f, i0, i1, i01):
    """`_2d.shift_form` with all weights positive, in vector arithmetic.

    In: 0-2 differences of u along e, f, g; 3-6 e and f; 7 the radius.  Out: 8 residual, 9 eta,
    10-12 weights, negative where the superbase is not the right one.
    """
    for j in range(LANES):
        ae, af, ag = f[j], f[LANES + j], f[2 * LANES + j]
        ex, ey = f[3 * LANES + j], f[4 * LANES + j]
        fx, fy = f[5 * LANES + j], f[6 * LANES + j]
        b = f[7 * LANES + j]
        cross = 0.5 * (ag - ae - af)
        m00 = (fy * fy * ae - 2 * fy * ey * cross + ey * ey * af) * i0
        m11 = (fx * fx * ae - 2 * fx * ex * cross + ex * ex * af) * i1
        k = -(fx * fy * ae - (fy * ex + fx * ey) * cross + ex * ey * af) * i01
        n, m = 0.5 * (m00 - m11), 0.5 * (m00 + m11)
        radius = np.sqrt(b * b + n * n + k * k)
        inverse, inverse_b = 1 / radius, 1 / b
        d00 = (1 - n * inverse) * i0 * inverse_b
        d11 = (1 + n * inverse) * i1 * inverse_b
        d01 = -k * inverse * i01 * inverse_b
        gx, gy = -ex - fx, -ey - fy
        f[8 * LANES + j] = 2 * (radius - m) * inverse_b
        f[9 * LANES + j] = b * inverse
        f[10 * LANES + j] = -(d00 * fy * gy - d01 * (fx * gy + fy * gx) + d11 * fx * gx)
        f[11 * LANES + j] = -(d00 * ey * gy - d01 * (ex * gy + ey * gx) + d11 * ex * gx)
        f[12 * LANES + j] = -(d00 * fy * ey - d01 * (fx * ey + fy * ex) + d11 * fx * ex)


@njit(error_model="numpy", cache=True, nogil=True)
def roots_3d(f, inverse_det0):
    """`_3d.shift_form` near a solution and with all weights positive, in vector arithmetic.

    In: 0-5 differences of u, 6-11 of its quadratic part, 12 the radius.  Out: 13 residual, 14 eta,
    15-20 weights, 21 what must be >= 0.
    """
    for j in range(LANES):
        g00, g11, g22 = f[j], f[LANES + j], f[2 * LANES + j]
        g01 = 0.5 * (g00 + g11 - f[3 * LANES + j])
        g02 = 0.5 * (g00 + g22 - f[4 * LANES + j])
        g12 = 0.5 * (g11 + g22 - f[5 * LANES + j])
        k00, k11, k22 = f[6 * LANES + j], f[7 * LANES + j], f[8 * LANES + j]
        b3, b4, b5 = f[9 * LANES + j], f[10 * LANES + j], f[11 * LANES + j]
        k01, k02, k12 = 0.5 * (k00 + k11 - b3), 0.5 * (k00 + k22 - b4), 0.5 * (k11 + k22 - b5)
        b = f[12 * LANES + j]
        # trace, second invariant and determinant of G0^{-1} G
        t = (k11 * k22 - k12 * k12) * g00
        t += (k00 * k22 - k02 * k02) * g11
        t += (k00 * k11 - k01 * k01) * g22
        t += 2 * ((k02 * k12 - k01 * k22) * g01 + (k01 * k12 - k02 * k11) * g02)
        t = (t + 2 * (k01 * k02 - k00 * k12) * g12) * inverse_det0
        c00, c11, c22 = g11 * g22 - g12 * g12, g00 * g22 - g02 * g02, g00 * g11 - g01 * g01
        c01, c02, c12 = g02 * g12 - g01 * g22, g01 * g12 - g02 * g11, g01 * g02 - g12 * g00
        q = c00 * k00 + c11 * k11 + c22 * k22 + 2 * (c01 * k01 + c02 * k02 + c12 * k12)
        q *= inverse_det0
        det = (g00 * c00 + g01 * c01 + g02 * c02) * inverse_det0
        p0 = det - b * b * b
        c = left = 0.0
        for _ in range(STEPS):
            inverse = 1 / ((3 * c + 2 * t) * c + q)
            step = (((c + t) * c + q) * c + p0) * inverse
            c -= step
            left = abs(3 * c + t) * inverse * step * step
        good = min(min(t, q), min(CLOSE * det - abs(p0), LEFT * (abs(c) + t) - left))
        g00, g11, g22 = g00 + c * k00, g11 + c * k11, g22 + c * k22
        g01, g02, g12 = g01 + c * k01, g02 + c * k02, g12 + c * k12
        c00, c01, c02 = g11 * g22 - g12 * g12, g02 * g12 - g01 * g22, g01 * g12 - g02 * g11
        inverse = 1 / (g00 * c00 + g01 * c01 + g02 * c02)
        d01, d02, d12 = c01 * inverse, c02 * inverse, (g01 * g02 - g00 * g12) * inverse
        w0 = c00 * inverse + d01 + d02
        w1 = d01 + (g00 * g22 - g02 * g02) * inverse + d12
        w2 = d02 + d12 + (g00 * g11 - g01 * g01) * inverse
        low = min(min(min(w0, w1), min(w2, -d01)), min(-d02, -d12))
        scale = 3 / (b * (w0 * k00 + w1 * k11 + w2 * k22 - d01 * b3 - d02 * b4 - d12 * b5))
        f[13 * LANES + j] = 3 * c / b
        f[14 * LANES + j] = scale
        f[15 * LANES + j], f[16 * LANES + j] = w0 * scale, w1 * scale
        f[17 * LANES + j], f[18 * LANES + j] = w2 * scale, -d01 * scale
        f[19 * LANES + j], f[20 * LANES + j] = -d02 * scale, -d12 * scale
        f[21 * LANES + j] = min(low, good)
