"""Three-dimensional kernels: monotone log det D2u by Selling superbases; `_2d` has the contract.

A superbase v0..v3 of Z^3 (sum zero, unimodular) gives six lattice vectors e_ij = v_k x v_l with
D = sum_ij w_ij e_ij e_ij^T, w_ij = -v_i . D v_j (Selling 1874).  In the basis dual to v1, v2, v3
the Hessian has the coordinates G_jj = a_0j and G_ij = (a_0i + a_0j - a_ij) / 2, where a_ij is the
second difference along e_ij.  A negative w_ij is removed by the flip (-v_i, v_j, v_k + v_i,
v_l + v_i), which replaces e_ij alone.  Where the flip does not help the minimiser lies on a face,
solved by projected Newton's method (`faces_3d`).  Pairs go 01, 02, 03, 12, 13, 23.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pma_grid.kernels.equation import lanes_3d as lanes
from pma_grid.kernels.equation.faces_3d import EQUAL_SHARE, face, minimise, room
from pma_grid.kernels.equation.limits import LANES, MOST_FLIPS, log_right_side
from pma_grid.kernels.equation.superbase_3d import (
    FIRST,
    SECOND,
    cross,
    differences,
    flip,
    interior,
    invert,
    load,
    lowest,
    negative,
    product,
    reaches,
    root,
    store,
)
from pma_grid.kernels.grid.interpolation import spline_3d
from pma_grid.kernels.records import Array

AXES = np.eye(3, dtype=np.int64)


class _Place(NamedTuple):
    """A superbase, its vectors, differences of u and of its quadratic part, and weights."""

    v: Array
    e: Array
    a: Array
    b: Array
    w: Array


@njit(error_model="numpy", cache=True, nogil=True)
def _place():
    return _Place(
        np.empty((4, 3), np.int64), np.empty((6, 3), np.int64),
        np.empty(6), np.empty(6), np.empty(6),
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def expand(bases, strides):
    """Lattice vectors and their offsets from the superbases (N, 3, 3)."""
    v = np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    for c in range(bases.superbase.shape[0]):
        load(bases.superbase[c], v)
        cross(v, e)
        store(v, e, c, strides, bases)


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def target_at_gradient(padded, layout, scales, spline, value, derivative):
    """Cubic spline of log nu at the centred gradient of u; see `_2d`."""
    row_start, n_last, affine, slope = layout.row_start, layout.n_last, scales.affine, scales.slope
    y0 = np.empty(n_last)
    y1 = np.empty(n_last)
    y2 = np.empty(n_last)
    s0, s1, n1 = layout.strides[0], layout.strides[1], layout.shape[1]
    for row in range(row_start.size):
        p = row_start[row]
        base0 = affine[0] * ((layout.first_row + row) // n1 + 0.5) - 0.5
        base1 = affine[1] * ((layout.first_row + row) % n1 + 0.5) - 0.5
        for j in range(n_last):
            y0[j] = base0 + slope[0] * (padded[p + j + s0] - padded[p + j - s0])
            y1[j] = base1 + slope[1] * (padded[p + j + s1] - padded[p + j - s1])
            y2[j] = affine[2] * (j + 0.5) - 0.5 + slope[2] * (padded[p + j + 1] - padded[p + j - 1])
        spline_3d(spline.coefficients, spline.halo, y0, y1, y2, row * n_last, value, derivative)


@njit(error_model="numpy", cache=True, nogil=True)
def shift_form(padded, layout, scales, balance, bases, linear, residual):
    """Residual r and linearisation of the shift form; see `_2d`."""
    row_start, n_last = layout.row_start, layout.n_last
    log_source, log_target, shift = balance
    weights, drift, eta = linear
    vectors, offsets = bases.vectors, bases.offsets
    metric, per_cell = scales.metric, scales.per_cell
    m = metric[0], metric[1], metric[2]
    f = np.ones(lanes.SIZE)
    here, there, space = _place(), _place(), room()
    a, b, w = here.a, here.b, here.w
    det0 = metric[0] * metric[1] * metric[2]
    cube = det0 ** (-1.0 / 3.0)
    faces = 0
    for row in range(row_start.size):
        for first in range(0, n_last, LANES):
            count = min(LANES, n_last - first)
            start, c = row_start[row] + first, row * n_last + first
            for j in range(count):
                log_b = log_right_side(log_source[c + j], log_target[c + j], shift)
                lanes.stored_differences(padded, start + j, vectors, offsets, c + j, m, f, j)
                f[lanes.RADIUS + j] = cube * math.exp(log_b / 3)
            lanes.roots(f, 1 / det0)
            for j in range(count):
                # no number where the lanes found none
                if not (f[lanes.SETTLED + j] >= 0 and math.isfinite(f[lanes.RESIDUAL + j])):
                    radius = f[lanes.RADIUS + j]
                    for k in range(6):
                        a[k] = f[lanes.DIFFERENCES + k * LANES + j]
                        b[k] = f[lanes.QUADRATIC + k * LANES + j]
                    s = root(a, b, radius, det0, w)
                    if negative(w):
                        s, on_face = _walk_to_shift(
                            padded, start + j, layout.strides, metric, radius, s, c + j, bases,
                            here, there, space,
                        )  # fmt: skip
                        faces += on_face
                    lanes.write_lane(s, b, w, f, j)
                residual[c + j], eta[c + j] = f[lanes.RESIDUAL + j], f[lanes.ETA + j]
                for k in range(6):
                    value = f[lanes.WEIGHTS + k * LANES + j]
                    weights[c + j, k] = 0.0 if value < 0 else value
                for i in range(3):
                    drift[c + j, i] *= eta[c + j] * per_cell[i]
    return faces


@njit(error_model="numpy", cache=True, nogil=True)
def _walk_to_shift(padded, p, strides, metric, radius, s, c, bases, here, there, space):
    """Flip negative weights away while that helps; the shift, and whether it lies on a face.

    ``here`` is the place of cell c, which moves on from that of ``s``; ``there`` and ``space`` are
    scratch.
    """
    v, e, a, b, w = here
    v2, e2, a2, b2, w2 = there
    det0 = metric[0] * metric[1] * metric[2]
    load(bases.superbase[c], v)
    cross(v, e)
    m = lowest(w)
    for _ in range(MOST_FLIPS):
        flip(v, m, v2)
        cross(v2, e2)
        if not reaches(e2, bases.reach):
            break
        differences(padded, p, e2, strides, metric, a2, b2)
        s2 = root(a2, b2, radius, det0, w2)
        if w2[m] <= 0:
            break
        v[:], e[:], a[:], b[:], w[:], s = v2, e2, a2, b2, w2, s2
        m = lowest(w)
        if w[m] >= 0:
            break
    on_face = w[m] < 0
    if on_face:
        s = face(a, b, radius, det0, w, s, space)
    store(v, e, c, strides, bases)
    return s, on_face


@njit(error_model="numpy", cache=True, nogil=True)
def _walk_to_minimum(padded, p, strides, metric, reach, value, m, here, there):
    """Move ``here`` on by flips; the value, and the last negative weight or -1."""
    v, e, a, _, w = here
    v2, e2, a2, b2, w2 = there
    for _ in range(MOST_FLIPS):
        if m < 0:
            break
        flip(v, m, v2)
        cross(v2, e2)
        if not reaches(e2, reach):
            break
        differences(padded, p, e2, strides, metric, a2, b2)
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
def _settle(a, w, space):
    """The minimum over the face of the cone that a walk ended on; NaN where u is not convex."""
    if not a.min() > 0:
        return math.nan
    for k in range(6):
        w[k] = EQUAL_SHARE / a[k]
    return minimise(a, w, space)


@njit(error_model="numpy", cache=True, nogil=True)
def log_det(padded, layout, metric, bases, weights, out):
    """Monotone log det D2u in index units, NaN where u is not convex, and its derivative; `_2d`."""
    row_start, n_last, strides = layout.row_start, layout.n_last, layout.strides
    here, there, other = _place(), _place(), _place()
    v, e, a, b, w = here
    vectors, space = bases.vectors, room()
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
                load(bases.superbase[c], v)
                value, m = _walk_to_minimum(
                    padded, p, strides, metric, bases.reach, value, m, here, there
                )
                if m >= 0:
                    # a dead end: perhaps not from the axes
                    value = _settle(a, w, space)
                    v2, e2, a2, b2, w2 = other
                    load(AXES, v2)
                    cross(v2, e2)
                    differences(padded, p, e2, strides, metric, a2, b2)
                    value2, m = interior(a2, w2)
                    value2, m = _walk_to_minimum(
                        padded, p, strides, metric, bases.reach, value2, m, other, there
                    )
                    if m >= 0:
                        value2 = _settle(a2, w2, space)
                    # NaN, not convex, is the lowest value of all
                    if not value2 >= value:
                        v[:], e[:], a[:], w[:], value = v2, e2, a2, w2, value2
                store(v, e, c, strides, bases)
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
        for _ in range(MOST_FLIPS):
            for m in range(6):
                w[m] = -product(v[FIRST[m]], t, v[SECOND[m]])
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
        i00, i01, i02, i11, i12, i22 = invert((t[0], t[1], t[2], t[3], t[4], t[5]))[1]
        x, y, z = right[c, 0], right[c, 1], right[c, 2]
        out[c, 0] = i00 * x + i01 * y + i02 * z
        out[c, 1] = i01 * x + i11 * y + i12 * z
        out[c, 2] = i02 * x + i12 * y + i22 * z
