"""Three-dimensional kernels: monotone log det D2u by Selling superbases; `_2d` has the contract.

A superbase v0..v3 of Z^3 (sum zero, unimodular) gives six lattice vectors e_ij = v_k x v_l with
D = sum_ij w_ij e_ij e_ij^T, w_ij = -v_i . D v_j (Selling 1874).  In the basis dual to v1, v2, v3 the
Hessian has the coordinates G_jj = a_0j and G_ij = (a_0i + a_0j - a_ij) / 2, where a_ij is the second
difference along e_ij.  A negative w_ij is removed by the flip (-v_i, v_j, v_k + v_i, v_l + v_i),
which replaces e_ij alone.  Where the flip does not help the minimiser lies on a face, solved by
coordinate descent with exact line minimisation.  Pairs are ordered 01, 02, 03, 12, 13, 23.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.interpolation import spline_3d

MAX_LOG = 600.0
MAX_STEPS = 100
_FIRST = np.array([0, 0, 0, 1, 1, 2])
_SECOND = np.array([1, 2, 3, 2, 3, 3])
_THIRD = np.array([2, 1, 1, 0, 0, 0])
_FOURTH = np.array([3, 3, 2, 3, 2, 1])


@njit(cache=True)
def _load(superbase, v):
    """Fill ``v`` (4, 3) from the three stored vectors (3, 3)."""
    for i in range(3):
        v[1, i] = superbase[0, i]
        v[2, i] = superbase[1, i]
        v[3, i] = superbase[2, i]
        v[0, i] = -v[1, i] - v[2, i] - v[3, i]


@njit(cache=True)
def _cross(v, e):
    """The six lattice vectors e_ij = v_k x v_l of a superbase."""
    for m in range(6):
        k, l = _THIRD[m], _FOURTH[m]
        e[m, 0] = v[k, 1] * v[l, 2] - v[k, 2] * v[l, 1]
        e[m, 1] = v[k, 2] * v[l, 0] - v[k, 0] * v[l, 2]
        e[m, 2] = v[k, 0] * v[l, 1] - v[k, 1] * v[l, 0]


@njit(cache=True)
def _flip(v, m, w):
    """Superbase ``w`` without the negative weight m = (i, j): (-v_i, v_j, v_k + v_i, v_l + v_i)."""
    i, j, k, l = _FIRST[m], _SECOND[m], _THIRD[m], _FOURTH[m]
    for t in range(3):
        w[i, t] = -v[i, t]
        w[j, t] = v[j, t]
        w[k, t] = v[k, t] + v[i, t]
        w[l, t] = v[l, t] + v[i, t]


@njit(cache=True)
def _reaches(e, reach):
    """Whether all lattice vectors stay within the halo."""
    for m in range(6):
        if max(abs(e[m, 0]), abs(e[m, 1]), abs(e[m, 2])) > reach:
            return False
    return True


@njit(cache=True)
def expand(superbase, strides, vectors, offsets):
    """Lattice vectors and their offsets from the superbases (N, 3, 3)."""
    v = np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    for c in range(vectors.shape[0]):
        _load(superbase[c], v)
        _cross(v, e)
        for m in range(6):
            offsets[c, m] = e[m, 0] * strides[0] + e[m, 1] * strides[1] + e[m, 2]
            for i in range(3):
                vectors[c, m, i] = e[m, i]


@njit(cache=True, fastmath=True)
def target_at_gradient(
    padded, row_start, n_last, strides, shape, affine, scale, coefficients, halo, value, derivative
):
    """Cubic spline of log nu at the centred gradient of u; see `_2d`."""
    y0 = np.empty(n_last)
    y1 = np.empty(n_last)
    y2 = np.empty(n_last)
    s0, s1 = strides[0], strides[1]
    for row in range(row_start.size):
        p = row_start[row]
        base0 = affine[0] * (row // shape[1] + 0.5) - 0.5
        base1 = affine[1] * (row % shape[1] + 0.5) - 0.5
        for j in range(n_last):
            y0[j] = base0 + scale[0] * (padded[p + j + s0] - padded[p + j - s0])
            y1[j] = base1 + scale[1] * (padded[p + j + s1] - padded[p + j - s1])
            y2[j] = affine[2] * (j + 0.5) - 0.5 + scale[2] * (padded[p + j + 1] - padded[p + j - 1])
        spline_3d(coefficients, halo, y0, y1, y2, row * n_last, value, derivative)


@njit(cache=True)
def _invert(g00, g01, g02, g11, g12, g22):
    """Determinant and inverse of a symmetric matrix."""
    c00 = g11 * g22 - g12 * g12
    c01 = g02 * g12 - g01 * g22
    c02 = g01 * g12 - g02 * g11
    det = g00 * c00 + g01 * c01 + g02 * c02
    inv = 1.0 / det
    return (
        det,
        c00 * inv,
        c01 * inv,
        c02 * inv,
        (g00 * g22 - g02 * g02) * inv,
        (g01 * g02 - g00 * g12) * inv,
        (g00 * g11 - g01 * g01) * inv,
    )


@njit(cache=True)
def _root(a, a0, ratio, det0, w):
    """Shift c with det(G + c G0) = ratio det(G0); ``w`` (6,) receives the weights of (G + c G0)^{-1}.

    Newton from the right of the largest root of the cubic: monotone, since the cubic is convex there.
    """
    g00, g11, g22 = a[0], a[1], a[2]
    g01 = 0.5 * (a[0] + a[1] - a[3])
    g02 = 0.5 * (a[0] + a[2] - a[4])
    g12 = 0.5 * (a[1] + a[2] - a[5])
    k00, k11, k22 = a0[0], a0[1], a0[2]
    k01 = 0.5 * (a0[0] + a0[1] - a0[3])
    k02 = 0.5 * (a0[0] + a0[2] - a0[4])
    k12 = 0.5 * (a0[1] + a0[2] - a0[5])
    inv0 = 1.0 / det0
    # trace, second invariant and determinant of G0^{-1} G
    t = (k11 * k22 - k12 * k12) * g00 + (k00 * k22 - k02 * k02) * g11 + (k00 * k11 - k01 * k01) * g22
    t += 2 * ((k02 * k12 - k01 * k22) * g01 + (k01 * k12 - k02 * k11) * g02)
    t = (t + 2 * (k01 * k02 - k00 * k12) * g12) * inv0
    c00, c11, c22 = g11 * g22 - g12 * g12, g00 * g22 - g02 * g02, g00 * g11 - g01 * g01
    c01, c02, c12 = g02 * g12 - g01 * g22, g01 * g12 - g02 * g11, g01 * g02 - g00 * g12
    q = c00 * k00 + c11 * k11 + c22 * k22 + 2 * (c01 * k01 + c02 * k02 + c12 * k12)
    q *= inv0
    p0 = (g00 * c00 + g01 * c01 + g02 * c02) * inv0 - ratio
    mean = t / 3
    spread = math.sqrt(max(0.0, 2 * ((t * t - 2 * q) / 3 - mean * mean)))
    c = ratio ** (1.0 / 3.0) - mean + spread
    for _ in range(60):
        slope = (3 * c + 2 * t) * c + q
        if slope <= 0:
            break
        step = (((c + t) * c + q) * c + p0) / slope
        c -= step
        if abs(step) <= 1e-9 * (abs(c) + abs(t)):
            break
    _, d00, d01, d02, d11, d12, d22 = _invert(
        g00 + c * k00, g01 + c * k01, g02 + c * k02, g11 + c * k11, g12 + c * k12, g22 + c * k22
    )
    w[0] = d00 + d01 + d02
    w[1] = d01 + d11 + d12
    w[2] = d02 + d12 + d22
    w[3] = -d01
    w[4] = -d02
    w[5] = -d12
    return c


@njit(cache=True)
def _differences(q, p, e, strides, metric, a, a0):
    """Second differences of u (``a``) and of its quadratic part alone (``a0``) along the vectors."""
    centre = 2 * q[p]
    for m in range(6):
        x, y, z = e[m, 0], e[m, 1], e[m, 2]
        o = x * strides[0] + y * strides[1] + z
        a0[m] = metric[0] * x * x + metric[1] * y * y + metric[2] * z * z
        a[m] = a0[m] + q[p + o] + q[p - o] - centre


@njit(cache=True)
def _matrix(w, d):
    """D in dual coordinates from the weights (d holds d00, d01, d02, d11, d12, d22)."""
    d[0] = w[0] + w[3] + w[4]
    d[1] = -w[3]
    d[2] = -w[4]
    d[3] = w[1] + w[3] + w[5]
    d[4] = -w[5]
    d[5] = w[2] + w[4] + w[5]


@njit(cache=True)
def _column(b, m):
    """B e_m in dual coordinates for the symmetric B of six entries."""
    if m == 0:
        return b[0], b[1], b[2]
    if m == 1:
        return b[1], b[3], b[4]
    if m == 2:
        return b[2], b[4], b[5]
    if m == 3:
        return b[0] - b[1], b[1] - b[3], b[2] - b[4]
    if m == 4:
        return b[0] - b[2], b[1] - b[4], b[2] - b[5]
    return b[1] - b[2], b[3] - b[4], b[4] - b[5]


@njit(cache=True)
def _length(column, m):
    """e_m . B e_m from the column B e_m."""
    x, y, z = column
    if m == 0:
        return x
    if m == 1:
        return y
    if m == 2:
        return z
    if m == 3:
        return x - y
    if m == 4:
        return x - z
    return y - z


@njit(cache=True)
def _descend(a, w, d, b):
    """Minimise sum w a - log det D(w) - 3 over w >= 0 from ``w``; returns the value (a > 0).

    Along w_m: det(D + t e e^T) = det D (1 + t e.D^{-1}e), so the exact step is 1/a_m - 1/e.D^{-1}e.
    """
    _matrix(w, d)
    _, b[0], b[1], b[2], b[3], b[4], b[5] = _invert(d[0], d[1], d[2], d[3], d[4], d[5])
    for _ in range(300):
        largest = 0.0
        for m in range(6):
            column = _column(b, m)
            length = _length(column, m)
            step = max(1 / a[m] - 1 / length, -w[m])
            largest = max(largest, abs(step) * a[m])
            if step != 0.0:
                w[m] += step
                f = step / (1 + step * length)
                x, y, z = column
                b[0] -= f * x * x
                b[1] -= f * x * y
                b[2] -= f * x * z
                b[3] -= f * y * y
                b[4] -= f * y * z
                b[5] -= f * z * z
        if largest < 1e-11:
            break
    _matrix(w, d)
    det = _invert(d[0], d[1], d[2], d[3], d[4], d[5])[0]
    value = -math.log(det) - 3.0
    for m in range(6):
        value += w[m] * a[m]
    return value


@njit(cache=True)
def _face(a, a0, ratio, det0, w, shifted, d, b):
    """Shift c of a face: min over w >= 0 of sum w (a + c a0) - log det D - 3 = log(ratio det0).

    Newton in c on the cube root of the determinant, which is concave in c.
    """
    log_b = math.log(ratio * det0)
    low = -math.inf
    for m in range(6):
        low = max(low, -a[m] / a0[m])
    c = low + 1e-3 * abs(low) + ratio ** (1.0 / 3.0)
    for m in range(6):
        w[m] = 0.3 / (a[m] + c * a0[m])
    for _ in range(60):
        for m in range(6):
            shifted[m] = a[m] + c * a0[m]
        value = _descend(shifted, w, d, b)
        trace = 0.0
        low = -math.inf
        for m in range(6):
            trace += w[m] * a0[m]
            low = max(low, -a[m] / a0[m])
        step = 3 * math.expm1((log_b - value) / 3) / trace
        if c + step <= low:
            step = 0.5 * (low - c)
        c += step
        if abs(step) * trace < 1e-10:
            break
    return c


@njit(cache=True)
def _lowest(w):
    """Index of the smallest weight."""
    m = 0
    for k in range(1, 6):
        if w[k] < w[m]:
            m = k
    return m


@njit(cache=True)
def shift_form(
    padded, row_start, n_last, strides, reach, metric, log_source, log_target, shift, per_cell,
    superbase, vectors, offsets, weights, drift, eta, residual,
):
    """Residual r and linearisation of the shift form; see `_2d`."""
    v, v2 = np.empty((4, 3), np.int64), np.empty((4, 3), np.int64)
    e, e2 = np.empty((6, 3), np.int64), np.empty((6, 3), np.int64)
    a, b, w = np.empty(6), np.empty(6), np.empty(6)
    a2, b2, w2 = np.empty(6), np.empty(6), np.empty(6)
    d, inverse = np.empty(6), np.empty(6)
    det0 = metric[0] * metric[1] * metric[2]
    faces = 0
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            log_b = log_source[c] - log_target[c] + shift
            ratio = math.exp(min(MAX_LOG, max(-MAX_LOG, log_b))) / det0
            for m in range(6):
                for i in range(3):
                    e[m, i] = vectors[c, m, i]
            _differences(padded, p, e, strides, metric, a, b)
            s = _root(a, b, ratio, det0, w)
            m = _lowest(w)
            if w[m] < 0:
                _load(superbase[c], v)
                for _ in range(MAX_STEPS):
                    _flip(v, m, v2)
                    _cross(v2, e2)
                    if not _reaches(e2, reach):
                        break
                    _differences(padded, p, e2, strides, metric, a2, b2)
                    s2 = _root(a2, b2, ratio, det0, w2)
                    if w2[m] <= 0:
                        break
                    v[:], e[:], a[:], b[:], w[:], s = v2, e2, a2, b2, w2, s2
                    m = _lowest(w)
                    if w[m] >= 0:
                        break
                if w[m] < 0:
                    s = _face(a, b, ratio, det0, w, a2, d, inverse)
                    faces += 1
                for i in range(3):
                    for k in range(3):
                        superbase[c, k, i] = v[k + 1, i]
                    for k in range(6):
                        vectors[c, k, i] = e[k, i]
                for k in range(6):
                    offsets[c, k] = e[k, 0] * strides[0] + e[k, 1] * strides[1] + e[k, 2]
            trace = 0.0
            for k in range(6):
                trace += w[k] * b[k]
            root = ratio ** (1.0 / 3.0)
            scale = 3 / (root * trace)
            eta[c] = scale
            residual[c] = 3 * s / root
            for k in range(6):
                weights[c, k] = w[k] * scale
            for i in range(3):
                drift[c, i] *= scale * per_cell[i]
    return faces


@njit(cache=True)
def log_det(padded, row_start, n_last, strides, reach, metric, superbase, out):
    """Monotone log det D2u in index units, NaN where u is not convex; see `_2d`."""
    v, v2 = np.empty((4, 3), np.int64), np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    a, b, w = np.empty(6), np.empty(6), np.empty(6)
    a2, w2 = np.empty(6), np.empty(6)
    d, inverse = np.empty(6), np.empty(6)
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            _load(superbase[c], v)
            _cross(v, e)
            _differences(padded, p, e, strides, metric, a, b)
            value, m = _interior(a, w)
            for _ in range(MAX_STEPS):
                if m < 0:
                    break
                _flip(v, m, v2)
                _cross(v2, e)
                if not _reaches(e, reach):
                    break
                _differences(padded, p, e, strides, metric, a2, b)
                value2, m2 = _interior(a2, w2)
                if not w2[m] > 0:
                    break
                v[:], a[:], w[:], value, m = v2, a2, w2, value2, m2
            if m >= 0 and a.min() > 0:
                for k in range(6):
                    w[k] = 0.3 / a[k]
                value = _descend(a, w, d, inverse)
            for i in range(3):
                for k in range(3):
                    superbase[c, k, i] = v[k + 1, i]
            out[c] = value if a.min() > 0 else math.nan


@njit(cache=True)
def _interior(a, w):
    """log det G and the most negative weight of G^{-1} (-1 if none); weights into ``w``."""
    g01 = 0.5 * (a[0] + a[1] - a[3])
    g02 = 0.5 * (a[0] + a[2] - a[4])
    g12 = 0.5 * (a[1] + a[2] - a[5])
    det, d00, d01, d02, d11, d12, d22 = _invert(a[0], g01, g02, a[1], g12, a[2])
    w[0], w[1], w[2] = d00 + d01 + d02, d01 + d11 + d12, d02 + d12 + d22
    w[3], w[4], w[5] = -d01, -d02, -d12
    m = _lowest(w)
    positive = a[0] > 0 and a[0] * a[1] > g01 * g01 and det > 0
    if not positive:
        return math.nan, m
    return math.log(det), (m if w[m] < 0 else -1)


@njit(cache=True)
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
                x, y = v[_FIRST[m]], v[_SECOND[m]]
                w[m] = -(x[0] * (t[0] * y[0] + t[1] * y[1] + t[2] * y[2]))
                w[m] -= x[1] * (t[1] * y[0] + t[3] * y[1] + t[4] * y[2])
                w[m] -= x[2] * (t[2] * y[0] + t[4] * y[1] + t[5] * y[2])
            m = _lowest(w)
            if w[m] >= -small:
                break
            _flip(v, m, v2)
            _cross(v2, e)
            if not _reaches(e, reach):
                break
            v[:] = v2
        _cross(v, e)
        for m in range(6):
            weights[c, m] = max(0.0, w[m])
            for i in range(3):
                vectors[c, m, i] = e[m, i]


@njit(cache=True)
def solve_tensor(tensor, right, out):
    """``out`` = D^{-1} right for every cell."""
    for c in range(tensor.shape[0]):
        t = tensor[c]
        _, i00, i01, i02, i11, i12, i22 = _invert(t[0], t[1], t[2], t[3], t[4], t[5])
        x, y, z = right[c, 0], right[c, 1], right[c, 2]
        out[c, 0] = i00 * x + i01 * y + i02 * z
        out[c, 1] = i01 * x + i11 * y + i12 * z
        out[c, 2] = i02 * x + i12 * y + i22 * z


@njit(cache=True)
def scan(
    padded, row_start, n_last, strides, metric, bases, log_source, log_target, shift, best
):
    """Largest r over all superbases of ``bases`` (n, 3, 3), faces included; see `_2d`."""
    v = np.empty((4, 3), np.int64)
    e = np.empty((6, 3), np.int64)
    a, b, w, t = np.empty(6), np.empty(6), np.empty(6), np.empty(6)
    d, inverse = np.empty(6), np.empty(6)
    det0 = metric[0] * metric[1] * metric[2]
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            log_b = log_source[c] - log_target[c] + shift
            ratio = math.exp(min(MAX_LOG, max(-MAX_LOG, log_b))) / det0
            top = -math.inf
            for k in range(bases.shape[0]):
                _load(bases[k], v)
                _cross(v, e)
                _differences(padded, p, e, strides, metric, a, b)
                s = _root(a, b, ratio, det0, w)
                if w.min() < 0:
                    s = _face(a, b, ratio, det0, w, t, d, inverse)
                top = max(top, s)
            best[c] = 3 * top / ratio ** (1.0 / 3.0)
