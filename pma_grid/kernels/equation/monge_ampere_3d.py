"""Three-dimensional kernels: monotone log det D2u by Selling superbases; `_2d` has the contract.

A superbase v0..v3 of Z^3 (sum zero, unimodular) gives six lattice vectors e_ij = v_k x v_l with
D = sum_ij w_ij e_ij e_ij^T, w_ij = -v_i . D v_j (Selling 1874).  In the basis dual to v1, v2, v3
the Hessian has the coordinates G_jj = a_0j and G_ij = (a_0i + a_0j - a_ij) / 2, where a_ij is the
second difference along e_ij.  A negative w_ij is removed by the flip (-v_i, v_j, v_k + v_i,
v_l + v_i), which replaces e_ij alone.  Where the flip does not help the minimiser lies on a face,
solved by coordinate descent with exact line minimisation.  Pairs go 01, 02, 03, 12, 13, 23.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.lanes import LANES, QUANTITIES_3D, roots_3d
from pma_grid.kernels.equation.superbase import (
    FIRST,
    SECOND,
    cross,
    descend,
    differences,
    face,
    flip,
    interior,
    invert,
    load,
    lowest,
    reaches,
    root,
    stored_differences,
)
from pma_grid.kernels.grid.interpolation import spline_3d

MAX_LOG = 600.0
MAX_STEPS = 100
AXES = np.eye(3, dtype=np.int64)


@njit(error_model="numpy", cache=True, nogil=True)
def expand(superbase, strides, vectors, offsets):
    """Lattice vectors and their offsets from the superbases (N, 3, 3)."""
    v = np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    for c in range(vectors.shape[0]):
        load(superbase[c], v)
        cross(v, e)
        for m in range(6):
            offsets[c, m] = e[m, 0] * strides[0] + e[m, 1] * strides[1] + e[m, 2]
            for i in range(3):
                vectors[c, m, i] = e[m, i]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def target_at_gradient(
    padded, row_start, n_last, strides, shape, first_row, affine, scale, coefficients, halo, value,
    derivative,
):
    """Cubic spline of log nu at the centred gradient of u; see `_2d`."""
    y0 = np.empty(n_last)
    y1 = np.empty(n_last)
    y2 = np.empty(n_last)
    s0, s1 = strides[0], strides[1]
    for row in range(row_start.size):
        p = row_start[row]
        base0 = affine[0] * ((first_row + row) // shape[1] + 0.5) - 0.5
        base1 = affine[1] * ((first_row + row) % shape[1] + 0.5) - 0.5
        for j in range(n_last):
            y0[j] = base0 + scale[0] * (padded[p + j + s0] - padded[p + j - s0])
            y1[j] = base1 + scale[1] * (padded[p + j + s1] - padded[p + j - s1])
            y2[j] = affine[2] * (j + 0.5) - 0.5 + scale[2] * (padded[p + j + 1] - padded[p + j - 1])
        spline_3d(coefficients, halo, y0, y1, y2, row * n_last, value, derivative)


@njit(error_model="numpy", cache=True, nogil=True)
def shift_form(
    padded, row_start, n_last, strides, reach, metric, log_source, log_target, shift, per_cell,
    superbase, vectors, offsets, weights, drift, eta, residual,
):
    """Residual r and linearisation of the shift form; see `_2d`."""
    f = np.ones(QUANTITIES_3D * LANES)
    scratch = np.empty((6, 6))
    bases, stars = np.empty((2, 4, 3), np.int64), np.empty((2, 6, 3), np.int64)
    m0, m1, m2 = metric[0], metric[1], metric[2]
    det0 = m0 * m1 * m2
    cube = det0 ** (-1.0 / 3.0)
    faces = 0
    for row in range(row_start.size):
        for first in range(0, n_last, LANES):
            count = min(LANES, n_last - first)
            start, c = row_start[row] + first, row * n_last + first
            for j in range(count):
                log_b = log_source[c + j] - log_target[c + j] + shift
                stored_differences(padded, start + j, vectors, offsets, c + j, m0, m1, m2, f, j)
                f[12 * LANES + j] = cube * math.exp(min(MAX_LOG, max(-MAX_LOG, log_b)) / 3)
            roots_3d(f, 1 / det0)
            for j in range(count):
                # no number where the lanes found none
                if not (f[21 * LANES + j] >= 0 and math.isfinite(f[13 * LANES + j])):
                    faces += _shift_of_cell(
                        padded, start + j, strides, reach, metric, det0, f, j, superbase[c + j],
                        vectors[c + j], offsets[c + j], scratch, bases, stars,
                    )
                residual[c + j], eta[c + j] = f[13 * LANES + j], f[14 * LANES + j]
                for k in range(6):
                    weights[c + j, k] = f[(15 + k) * LANES + j]
                for i in range(3):
                    drift[c + j, i] *= eta[c + j] * per_cell[i]
    return faces


@njit(error_model="numpy", cache=True, nogil=True)
def _shift_of_cell(
    padded, p, strides, reach, metric, det0, f, j, superbase, vectors, offsets, scratch, bases,
    stars,
):
    """The shift form of one cell into lane j of ``f``, walking on; whether it ended on a face."""
    v, v2, e, e2 = bases[0], bases[1], stars[0], stars[1]
    a, b, w, a2, b2, w2 = (
        scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5],
    )  # fmt: skip
    radius = f[12 * LANES + j]
    for k in range(6):
        a[k], b[k] = f[k * LANES + j], f[(6 + k) * LANES + j]
    s = root(a, b, radius, det0, w)
    m = lowest(w)
    on_face = False
    if w[m] < 0:
        load(superbase, v)
        cross(v, e)
        for _ in range(MAX_STEPS):
            flip(v, m, v2)
            cross(v2, e2)
            if not reaches(e2, reach):
                break
            differences(padded, p, e2, strides, metric, a2, b2)
            s2 = root(a2, b2, radius, det0, w2)
            if w2[m] <= 0:
                break
            v[:], e[:], a[:], b[:], w[:], s = v2, e2, a2, b2, w2, s2
            m = lowest(w)
            if w[m] >= 0:
                break
        if w[m] < 0:
            s = face(a, b, radius, det0, w, s, a2, b2, w2)
            on_face = True
        for i in range(3):
            for k in range(3):
                superbase[k, i] = v[k + 1, i]
            for k in range(6):
                vectors[k, i] = e[k, i]
        for k in range(6):
            offsets[k] = e[k, 0] * strides[0] + e[k, 1] * strides[1] + e[k, 2]
    trace = 0.0
    for k in range(6):
        trace += w[k] * b[k]
    scale = 3 / (radius * trace)
    f[13 * LANES + j], f[14 * LANES + j] = 3 * s / radius, scale
    for k in range(6):
        f[(15 + k) * LANES + j] = w[k] * scale
    return on_face


@njit(error_model="numpy", cache=True, nogil=True)
def _walk(padded, p, strides, reach, metric, value, m, v, v2, e, e2, a, b, w, a2, w2):
    """Flip negative weights away while that helps; the value and the last negative one, or -1.

    ``v``, ``e``, ``a``, ``w`` move on; ``v2``, ``e2``, ``a2``, ``b``, ``w2`` are scratch.
    """
    for _ in range(MAX_STEPS):
        if m < 0:
            break
        flip(v, m, v2)
        cross(v2, e2)
        if not reaches(e2, reach):
            break
        differences(padded, p, e2, strides, metric, a2, b)
        if not a2.min() > 0:
            # not convex along the new vector: the lowest value of all
            a[:] = a2
            return math.nan, -1
        value2, m2 = interior(a2, w2)
        if not w2[m] > 0:
            break
        v[:], e[:], a[:], w[:], value, m = v2, e2, a2, w2, value2, m2
    return value, m


@njit(error_model="numpy", cache=True, nogil=True)
def _rises(padded, p, strides, metric):
    """Whether u is convex along the axes, which a superbase far from them need not see."""
    centre = 2 * padded[p]
    for i in range(3):
        o = strides[i]
        if not metric[i] + padded[p + o] + padded[p - o] - centre > 0:
            return False
    return True


@njit(error_model="numpy", cache=True, nogil=True)
def _settle(a, w, d, inverse):
    """The minimum over the face of the cone that a walk ended on; NaN where u is not convex."""
    if not a.min() > 0:
        return math.nan
    for k in range(6):
        w[k] = 0.3 / a[k]
    return descend(a, w, d, inverse)


@njit(error_model="numpy", cache=True, nogil=True)
def log_det(
    padded, row_start, n_last, strides, reach, metric, superbase, vectors, offsets, weights, out
):
    """Monotone log det D2u in index units, NaN where u is not convex, and its derivative; `_2d`."""
    v, v2 = np.empty((4, 3), np.int64), np.empty((4, 3), np.int64)
    e, e2 = np.empty((6, 3), np.int64), np.empty((6, 3), np.int64)
    a, b, w = np.empty(6), np.empty(6), np.empty(6)
    a2, w2 = np.empty(6), np.empty(6)
    v3, e3 = np.empty((4, 3), np.int64), np.empty((6, 3), np.int64)
    a3, w3 = np.empty(6), np.empty(6)
    d, inverse = np.empty(6), np.empty(6)
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            for m in range(6):
                for i in range(3):
                    e[m, i] = vectors[c, m, i]
            differences(padded, p, e, strides, metric, a, b)
            value, m = interior(a, w)
            if m >= 0 and a.min() > 0:
                load(superbase[c], v)
                value, m = _walk(padded, p, strides, reach, metric, value, m, v, v2, e, e2, a, b, w,
                                 a2, w2)
                if m >= 0:
                    # a dead end: perhaps not from the axes
                    value = _settle(a, w, d, inverse)
                    load(AXES, v3)
                    cross(v3, e3)
                    differences(padded, p, e3, strides, metric, a3, b)
                    value3, m = interior(a3, w3)
                    value3, m = _walk(padded, p, strides, reach, metric, value3, m, v3, v2, e3, e2,
                                      a3, b, w3, a2, w2)
                    if m >= 0:
                        value3 = _settle(a3, w3, d, inverse)
                    # NaN, not convex, is the lowest value of all
                    if not value3 >= value:
                        v[:], e[:], a[:], w[:], value = v3, e3, a3, w3, value3
                for i in range(3):
                    for k in range(3):
                        superbase[c, k, i] = v[k + 1, i]
                    for k in range(6):
                        vectors[c, k, i] = e[k, i]
                for k in range(6):
                    offsets[c, k] = e[k, 0] * strides[0] + e[k, 1] * strides[1] + e[k, 2]
            for k in range(6):
                weights[c, k] = w[k]
            out[c] = value if a.min() > 0 and _rises(padded, p, strides, metric) else math.nan


@njit(error_model="numpy", cache=True, nogil=True)
def decompose(tensor, reach, vectors, weights):
    """Selling's decomposition of the tensors (N, 6); see `_2d`."""
    v, v2 = np.empty((4, 3), np.int64), np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    w = np.empty(6)
    for c in range(tensor.shape[0]):
        t = tensor[c]
        for k in range(4):
            for i in range(3):
                v[k, i] = -1 if k == 0 else (1 if k == i + 1 else 0)
        small = 1e-7 * (t[0] + t[3] + t[5])
        for _ in range(MAX_STEPS):
            for m in range(6):
                x, y = v[FIRST[m]], v[SECOND[m]]
                w[m] = -(x[0] * (t[0] * y[0] + t[1] * y[1] + t[2] * y[2]))
                w[m] -= x[1] * (t[1] * y[0] + t[3] * y[1] + t[4] * y[2])
                w[m] -= x[2] * (t[2] * y[0] + t[4] * y[1] + t[5] * y[2])
            m = lowest(w)
            if w[m] >= -small:
                break
            flip(v, m, v2)
            cross(v2, e)
            if not reaches(e, reach):
                break
            v[:] = v2
        cross(v, e)
        for m in range(6):
            weights[c, m] = max(0.0, w[m])
            for i in range(3):
                vectors[c, m, i] = e[m, i]


@njit(error_model="numpy", cache=True, nogil=True)
def solve_tensor(tensor, right, out):
    """``out`` = D^{-1} right for every cell."""
    for c in range(tensor.shape[0]):
        t = tensor[c]
        _, i00, i01, i02, i11, i12, i22 = invert(t[0], t[1], t[2], t[3], t[4], t[5])
        x, y, z = right[c, 0], right[c, 1], right[c, 2]
        out[c, 0] = i00 * x + i01 * y + i02 * z
        out[c, 1] = i01 * x + i11 * y + i12 * z
        out[c, 2] = i02 * x + i12 * y + i22 * z


@njit(error_model="numpy", cache=True, nogil=True)
def scan(
    padded, row_start, n_last, strides, metric, bases, log_source, log_target, shift, best
):
    """Largest r over all superbases of ``bases`` (n, 3, 3), faces included; see `_2d`."""
    v = np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    a, b, w, t = np.empty(6), np.empty(6), np.empty(6), np.empty(6)
    d, inverse = np.empty(6), np.empty(6)
    det0 = metric[0] * metric[1] * metric[2]
    cube = det0 ** (-1.0 / 3.0)
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            log_b = log_source[c] - log_target[c] + shift
            radius = cube * math.exp(min(MAX_LOG, max(-MAX_LOG, log_b)) / 3)
            top = -math.inf
            for k in range(bases.shape[0]):
                load(bases[k], v)
                cross(v, e)
                differences(padded, p, e, strides, metric, a, b)
                s = root(a, b, radius, det0, w)
                if w.min() < 0:
                    s = face(a, b, radius, det0, w, s, t, d, inverse)
                top = max(top, s)
            best[c] = 3 * top / radius
