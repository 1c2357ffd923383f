"""Roots of the three-dimensional shift form for cells side by side, and where their data stand."""

from numba import njit

from pma_grid.kernels.equation.limits import LANES, ZERO_WEIGHT_SHARE
from pma_grid.kernels.equation.superbase_3d import (
    SHIFT_ERROR,
    START_DEFECT,
    gram,
    invariants,
    invert,
    shifted,
    weights_of,
)

# Newton steps for the shift in vector code, which cannot stop cell by cell: enough near a solution,
# and cells that need more are left to scalar code.
LANE_STEPS = 3
# What `roots` reads and writes, quantity after quantity in one flat array, that of cell j at
# quantity + j.  Distances between quantities are constants then, and no pointer can hide another.
# Six rows each of differences of u, of its quadratic part, and of weights.
DIFFERENCES, QUADRATIC, RADIUS = 0, 6 * LANES, 12 * LANES
RESIDUAL, ETA, WEIGHTS, SETTLED = 13 * LANES, 14 * LANES, 15 * LANES, 21 * LANES
SIZE = 22 * LANES


@njit(error_model="numpy", cache=True, nogil=True)
def six(f, row, j):
    """Six quantities of lane j."""
    return (
        f[row + j],
        f[row + LANES + j],
        f[row + 2 * LANES + j],
        f[row + 3 * LANES + j],
        f[row + 4 * LANES + j],
        f[row + 5 * LANES + j],
    )


@njit(error_model="numpy", cache=True, nogil=True)
def roots(f, inverse_det0):
    """`root` for `LANES` cells side by side near a solution, with all weights positive.

    Reads the differences of u and of its quadratic part and the radius b; writes residual, eta and
    the weights times eta, and in ``SETTLED`` what is negative (or no number) where scalar code must
    see to a cell.
    """
    for j in range(LANES):
        a0, b = six(f, QUADRATIC, j), f[RADIUS + j]
        g, k = gram(six(f, DIFFERENCES, j)), gram(a0)
        t, q, det = invariants(g, k, inverse_det0)
        p0 = det - b * b * b
        c = left = 0.0
        for _ in range(LANE_STEPS):
            inverse = 1 / ((3 * c + 2 * t) * c + q)
            step = (((c + t) * c + q) * c + p0) * inverse
            c -= step
            left = abs(3 * c + t) * inverse * step * step
        good = min(
            min(t, q), min(START_DEFECT * det - abs(p0), SHIFT_ERROR * (abs(c) + t) - left)
        )
        w0, w1, w2, w3, w4, w5 = weights_of(invert(shifted(g, k, c))[1])
        low = min(min(min(w0, w1), min(w2, w3)), min(w4, w5))
        trace = w0 * a0[0] + w1 * a0[1] + w2 * a0[2] + w3 * a0[3] + w4 * a0[4] + w5 * a0[5]
        scale = 3 / (b * trace)
        f[RESIDUAL + j] = 3 * c / b
        f[ETA + j] = scale
        f[WEIGHTS + j], f[WEIGHTS + LANES + j] = w0 * scale, w1 * scale
        f[WEIGHTS + 2 * LANES + j], f[WEIGHTS + 3 * LANES + j] = w2 * scale, w3 * scale
        f[WEIGHTS + 4 * LANES + j], f[WEIGHTS + 5 * LANES + j] = w4 * scale, w5 * scale
        total = w0 + w1 + w2 + w3 + w4 + w5
        f[SETTLED + j] = min(low + ZERO_WEIGHT_SHARE * total, good)


@njit(error_model="numpy", cache=True, nogil=True)
def stored_differences(q, p, vectors, offsets, c, metric, f, j):
    """`differences` along the stored vectors of cell c, into lane j."""
    centre = 2 * q[p]
    m0, m1, m2 = metric
    for m in range(6):
        x, y, z = float(vectors[c, m, 0]), float(vectors[c, m, 1]), float(vectors[c, m, 2])
        o = offsets[c, m]
        flat = m0 * x * x + m1 * y * y + m2 * z * z
        f[DIFFERENCES + m * LANES + j] = flat + q[p + o] + q[p - o] - centre
        f[QUADRATIC + m * LANES + j] = flat


@njit(error_model="numpy", cache=True, nogil=True)
def write_lane(c, a0, w, f, j):
    """What `roots` writes for lane j, of a shift c found in scalar code with the weights ``w``."""
    trace = 0.0
    for k in range(6):
        trace += w[k] * a0[k]
    scale = 3 / (f[RADIUS + j] * trace)
    f[RESIDUAL + j], f[ETA + j] = 3 * c / f[RADIUS + j], scale
    for k in range(6):
        f[WEIGHTS + k * LANES + j] = w[k] * scale
