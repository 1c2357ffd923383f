"""Two-dimensional kernels: monotone log det D2u by Selling superbases, in shift (root) form.

Index units: with M0 = diag(metric), metric_i = s_i h_i^2, the second difference of
u = sum_i s_i x_i^2 / 2 + phi along a lattice vector e is

    a_e = e . M0 e + phi(x + e) + phi(x - e) - 2 phi(x).

A superbase (e, f, g), e + f + g = 0 and det(e, f) = +-1, turns (a_e, a_f, a_g) into a symmetric
matrix M_h.  The *shift* c is the largest root of det(M_h + c M0) = B; then D = (M_h + c M0)^{-1},
b = (B / det M0)^{1/2}, the residual is r = 2 c / b, eta = (2 / b) / tr(D M0) <= 1, and D is written
as sum_k w_k e_k e_k^T with w_k >= 0 exactly when the superbase is D-obtuse (Selling 1874; Conway &
Sloane 1992).  Where no acceptable superbase has all w_k >= 0 the minimiser lies on a face and the
most negative vector is dropped: this is MA-LBR of Benamou, Collino and Mirebeau (2016, Math. Comp.
85, 2743-2775); the root form is kin to Bonnet and Mirebeau (2022).
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.lanes import LANES, QUANTITIES_2D, roots_2d
from pma_grid.kernels.grid.interpolation import spline_2d

MAX_LOG = 600.0
MAX_STEPS = 100
# Weights this far below zero, relative to all of a cell, are rounding: no reason to walk on.
TIE = 1e-12


@njit(error_model="numpy", cache=True, nogil=True)
def expand(superbase, strides, vectors, offsets):
    """Lattice vectors (e, f, -e-f) and their offsets from the superbases (N, 2, 2)."""
    for c in range(vectors.shape[0]):
        for i in range(2):
            vectors[c, 0, i] = superbase[c, 0, i]
            vectors[c, 1, i] = superbase[c, 1, i]
            vectors[c, 2, i] = -superbase[c, 0, i] - superbase[c, 1, i]
        for k in range(3):
            offsets[c, k] = vectors[c, k, 0] * strides[0] + vectors[c, k, 1] * strides[1]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def target_at_gradient(
    padded, row_start, n_last, strides, shape, first_row, affine, scale, coefficients, halo, value,
    derivative,
):
    """Cubic spline of log nu at the centred gradient of u, and its derivative per target cell.

    The gradient in target cell units is affine_i (x index + 1/2) - 1/2 + scale_i (phi+ - phi-).
    Rows count from ``first_row``.  ``value`` (N,) and ``derivative`` (N, d) receive the results.
    """
    y0 = np.empty(n_last)
    y1 = np.empty(n_last)
    s0 = strides[0]
    for row in range(row_start.size):
        p = row_start[row]
        base = affine[0] * (first_row + row + 0.5) - 0.5
        for j in range(n_last):
            y0[j] = base + scale[0] * (padded[p + j + s0] - padded[p + j - s0])
            y1[j] = affine[1] * (j + 0.5) - 0.5 + scale[1] * (padded[p + j + 1] - padded[p + j - 1])
        spline_2d(coefficients, halo, y0, y1, row * n_last, value, derivative)


@njit(error_model="numpy", cache=True, nogil=True)
def _keep(ex, ey, fx, fy, c, stride, superbase, vectors, offsets):
    """Store the superbase e, f, -e-f of a cell, its vectors and their offsets."""
    gx, gy = -ex - fx, -ey - fy
    superbase[c, 0, 0], superbase[c, 0, 1] = ex, ey
    superbase[c, 1, 0], superbase[c, 1, 1] = fx, fy
    vectors[c, 0, 0], vectors[c, 0, 1] = ex, ey
    vectors[c, 1, 0], vectors[c, 1, 1] = fx, fy
    vectors[c, 2, 0], vectors[c, 2, 1] = gx, gy
    offsets[c, 0] = ex * stride + ey
    offsets[c, 1] = fx * stride + fy
    offsets[c, 2] = gx * stride + gy


@njit(error_model="numpy", cache=True, nogil=True)
def _second(q, p, x, y, stride, m0, m1):
    o = x * stride + y
    return m0 * x * x + m1 * y * y + (q[p + o] + q[p - o] - 2 * q[p])


@njit(error_model="numpy", cache=True, nogil=True)
def _root(ex, ey, fx, fy, ae, af, ag, b2, i0, i1, i01):
    """Shift c, radius R and the weights (times b/2) of e, f, g for one superbase.

    In the scaled frame M0^{-1/2} M M0^{-1/2} the trace part is m, the traceless part has norm
    sqrt(n^2 + k^2), and det(M + c) = b2 gives c = R - m with R = sqrt(b2 + n^2 + k^2).
    """
    cross = 0.5 * (ag - ae - af)
    m00 = (fy * fy * ae - 2 * fy * ey * cross + ey * ey * af) * i0
    m11 = (fx * fx * ae - 2 * fx * ex * cross + ex * ex * af) * i1
    k = -(fx * fy * ae - (fy * ex + fx * ey) * cross + ex * ey * af) * i01
    n = 0.5 * (m00 - m11)
    m = 0.5 * (m00 + m11)
    radius = math.sqrt(b2 + n * n + k * k)
    d00 = (1 - n / radius) * i0
    d11 = (1 + n / radius) * i1
    d01 = -k / radius * i01
    gx = -ex - fx
    gy = -ey - fy
    le = -(d00 * fy * gy - d01 * (fx * gy + fy * gx) + d11 * fx * gx)
    lf = -(d00 * ey * gy - d01 * (ex * gy + ey * gx) + d11 * ex * gx)
    lg = -(d00 * fy * ey - d01 * (fx * ey + fy * ex) + d11 * fx * ex)
    return radius - m, radius, le, lf, lg


@njit(error_model="numpy", cache=True, nogil=True)
def _face(ae, af, e2, f2, b2):
    """Shift, radius and the two weights (times b) when only e and f carry weight."""
    al = ae / e2
    am = af / f2
    det = b2 / (e2 * f2)
    half = 0.5 * (al - am)
    radius = math.sqrt(det + half * half)
    share = 0.5 * (1 - half / radius)
    return radius - 0.5 * (al + am), det / radius, 2 * share / e2, 2 * (1 - share) / f2


@njit(error_model="numpy", cache=True, nogil=True)
def shift_form(
    padded, row_start, n_last, strides, reach, metric, log_source, log_target, shift, per_cell,
    superbase, vectors, offsets, weights, drift, eta, residual,
):
    """Residual r and linearisation of the shift form; superbases walk on from where they stand.

    log B = log_source - log_target + shift.  ``drift`` enters as d log nu per target cell and
    leaves as eta * drift * per_cell.  ``superbase``, ``vectors``, ``offsets`` are updated in place;
    ``weights`` (N, 3), ``eta`` (N,) and ``residual`` (N,) receive the results.  Returns the number
    of cells whose minimiser lies on a face.
    """
    stride = strides[0]
    m0, m1 = metric[0], metric[1]
    i0, i1, i01 = 1 / m0, 1 / m1, 1 / math.sqrt(m0 * m1)
    f = np.ones(QUANTITIES_2D * LANES)
    faces = 0
    for row in range(row_start.size):
        for first in range(0, n_last, LANES):
            count = min(LANES, n_last - first)
            start, c = row_start[row] + first, row * n_last + first
            for j in range(count):
                log_b = log_source[c + j] - log_target[c + j] + shift
                f[7 * LANES + j] = i01 * math.exp(0.5 * min(MAX_LOG, max(-MAX_LOG, log_b)))
                p = start + j
                ex, ey = int(superbase[c + j, 0, 0]), int(superbase[c + j, 0, 1])
                fx, fy = int(superbase[c + j, 1, 0]), int(superbase[c + j, 1, 1])
                f[j] = _second(padded, p, ex, ey, stride, m0, m1)
                f[LANES + j] = _second(padded, p, fx, fy, stride, m0, m1)
                f[2 * LANES + j] = _second(padded, p, -ex - fx, -ey - fy, stride, m0, m1)
                f[3 * LANES + j], f[4 * LANES + j] = ex, ey
                f[5 * LANES + j], f[6 * LANES + j] = fx, fy
            roots_2d(f, i0, i1, i01)
            for j in range(count):
                u, v, w = f[10 * LANES + j], f[11 * LANES + j], f[12 * LANES + j]
                if not min(u, min(v, w)) >= -TIE * (u + v + w):
                    faces += _shift_of_cell(
                        padded, start + j, stride, reach, m0, m1, f, j, c + j, superbase, vectors,
                        offsets,
                    )
                residual[c + j], eta[c + j] = f[8 * LANES + j], f[9 * LANES + j]
                for k in range(3):
                    w = f[(10 + k) * LANES + j]
                    weights[c + j, k] = 0.0 if w < 0 else w
                drift[c + j, 0] *= eta[c + j] * per_cell[0]
                drift[c + j, 1] *= eta[c + j] * per_cell[1]
    return faces


@njit(error_model="numpy", cache=True, nogil=True)
def _shift_of_cell(
    padded, p, stride, reach, m0, m1, f, j, c, superbase, vectors, offsets
):
    """The shift form of one cell into lane j of ``f``, walking on; whether it ended on a face."""
    i0, i1, i01 = 1 / m0, 1 / m1, 1 / math.sqrt(m0 * m1)
    ae, af, ag = f[j], f[LANES + j], f[2 * LANES + j]
    ex, ey = int(superbase[c, 0, 0]), int(superbase[c, 0, 1])
    fx, fy = int(superbase[c, 1, 0]), int(superbase[c, 1, 1])
    gx, gy = -ex - fx, -ey - fy
    inv_b = 1 / f[7 * LANES + j]
    b2 = f[7 * LANES + j] ** 2
    s, radius, le, lf, lg = _root(ex, ey, fx, fy, ae, af, ag, b2, i0, i1, i01)
    for _ in range(MAX_STEPS):
        if le >= 0 and lf >= 0 and lg >= 0:
            break
        # make g the most negative: it is the vector to drop or to replace by f - e
        if le < lg:
            ex, gx, ey, gy, ae, ag, le, lg = gx, ex, gy, ey, ag, ae, lg, le
        if lf < lg:
            fx, gx, fy, gy, af, ag, lf, lg = gx, fx, gy, fy, ag, af, lg, lf
        nx, ny = fx - ex, fy - ey
        if abs(nx) > reach or abs(ny) > reach:
            break
        an = _second(padded, p, nx, ny, stride, m0, m1)
        t, r2, l0, l1, l2 = _root(ex, ey, -fx, -fy, ae, af, an, b2, i0, i1, i01)
        if l2 <= 0:
            break
        fx, fy, gx, gy, ag = -fx, -fy, nx, ny, an
        s, radius, le, lf, lg = t, r2, l0, l1, l2
    _keep(ex, ey, fx, fy, c, stride, superbase, vectors, offsets)
    on_face = lg < 0
    if on_face:
        e2 = m0 * ex * ex + m1 * ey * ey
        f2 = m0 * fx * fx + m1 * fy * fy
        s, t, le, lf = _face(ae, af, e2, f2, b2 * m0 * m1)
        lg = 0.0
        f[9 * LANES + j] = t * inv_b
    else:
        f[9 * LANES + j] = 1 / (inv_b * radius)
    f[8 * LANES + j] = 2 * s * inv_b
    f[10 * LANES + j] = le * inv_b
    f[11 * LANES + j] = lf * inv_b
    f[12 * LANES + j] = lg * inv_b
    return on_face


@njit(error_model="numpy", cache=True, nogil=True)
def log_det(
    padded, row_start, n_last, strides, reach, metric, superbase, vectors, offsets, weights, out
):
    """Monotone log det D2u in index units, NaN where u is not convex, and its derivative.

    With a_g the largest second difference: det M_h where a_g <= a_e + a_f (the superbase is
    obtuse for D = M_h^{-1}), else walk to (e, -f, f - e) while that lowers the value, else
    log(a_e a_f).  ``superbase``, ``vectors``, ``offsets`` are updated in place; ``weights`` (N, 3)
    receives the derivatives with respect to (a_e, a_f, a_g), all >= 0, and ``out`` (N,) the value.
    """
    stride = strides[0]
    m0, m1 = metric[0], metric[1]
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            ex, ey = int(superbase[c, 0, 0]), int(superbase[c, 0, 1])
            fx, fy = int(superbase[c, 1, 0]), int(superbase[c, 1, 1])
            gx, gy = -ex - fx, -ey - fy
            ae = _second(padded, p, ex, ey, stride, m0, m1)
            af = _second(padded, p, fx, fy, stride, m0, m1)
            ag = _second(padded, p, gx, gy, stride, m0, m1)
            moved = False
            for _ in range(MAX_STEPS):
                if ae > ag:
                    ex, gx, ey, gy, ae, ag = gx, ex, gy, ey, ag, ae
                    moved = True
                if af > ag:
                    fx, gx, fy, gy, af, ag = gx, fx, gy, fy, ag, af
                    moved = True
                nx, ny = fx - ex, fy - ey
                if ag <= ae + af or abs(nx) > reach or abs(ny) > reach:
                    break
                an = _second(padded, p, nx, ny, stride, m0, m1)
                if an >= ae + af:
                    break
                fx, fy, gx, gy, ag = -fx, -fy, nx, ny, an
                moved = True
            if moved:
                _keep(ex, ey, fx, fy, c, stride, superbase, vectors, offsets)
            if ag > ae + af:
                value = ae * af
                pe, pf, pg = 2 * af, 2 * ae, 0.0
            else:
                pe, pf, pg = af + ag - ae, ae + ag - af, ae + af - ag
                value = 0.25 * (pe * pf + pf * pg + pg * pe)
            half = 0.5 / value
            weights[c, 0] = pe * half
            weights[c, 1] = pf * half
            weights[c, 2] = pg * half
            out[c] = math.log(value) if min(ae, af) > 0 and value > 0 else math.nan


@njit(error_model="numpy", cache=True, nogil=True)
def decompose(tensor, reach, vectors, weights):
    """Selling's decomposition of the tensors (N, 3): vectors within ``reach``, weights >= 0."""
    v = np.empty((3, 2), np.int64)
    products = np.empty(3)
    for c in range(tensor.shape[0]):
        a, b, d = tensor[c, 0], tensor[c, 1], tensor[c, 2]
        v[0, 0], v[0, 1], v[1, 0], v[1, 1], v[2, 0], v[2, 1] = 1, 0, 0, 1, -1, -1
        for _ in range(MAX_STEPS):
            worst = 0
            for k in range(3):
                # product of the two vectors other than k
                x, y = (k + 1) % 3, (k + 2) % 3
                products[k] = a * v[x, 0] * v[y, 0] + d * v[x, 1] * v[y, 1]
                products[k] += b * (v[x, 0] * v[y, 1] + v[x, 1] * v[y, 0])
                if products[k] > products[worst]:
                    worst = k
            x, y = (worst + 1) % 3, (worst + 2) % 3
            n0, n1 = v[x, 0] - v[y, 0], v[x, 1] - v[y, 1]
            if products[worst] <= 0 or max(abs(n0), abs(n1)) > reach:
                break
            v[x, 0], v[x, 1] = -v[x, 0], -v[x, 1]
            v[worst, 0], v[worst, 1] = n0, n1
        for k in range(3):
            vectors[c, k, 0], vectors[c, k, 1] = -v[k, 1], v[k, 0]
            weights[c, k] = max(0.0, -products[k])


@njit(error_model="numpy", cache=True, nogil=True)
def solve_tensor(tensor, right, out):
    """``out`` = D^{-1} right for every cell."""
    for c in range(tensor.shape[0]):
        a, b, d = tensor[c, 0], tensor[c, 1], tensor[c, 2]
        inv = 1 / (a * d - b * b)
        out[c, 0] = (d * right[c, 0] - b * right[c, 1]) * inv
        out[c, 1] = (a * right[c, 1] - b * right[c, 0]) * inv


@njit(error_model="numpy", cache=True, nogil=True)
def scan(
    padded, row_start, n_last, strides, metric, bases, log_source, log_target, shift, best
):
    """Largest r over all superbases of ``bases`` (n, 2, 2), and with every face: ``best`` (N,).

    log det M = min over D, so the true shift is the largest over all superbases; a walk that
    stopped at a local optimum has a smaller one.
    """
    stride = strides[0]
    m0, m1 = metric[0], metric[1]
    i0, i1, i01 = 1 / m0, 1 / m1, 1 / math.sqrt(m0 * m1)
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            log_b = log_source[c] - log_target[c] + shift
            b2 = math.exp(min(MAX_LOG, max(-MAX_LOG, log_b))) * i01 * i01
            inv_b = 1 / math.sqrt(b2)
            top = -math.inf
            for t in range(bases.shape[0]):
                ex, ey, fx, fy = bases[t, 0, 0], bases[t, 0, 1], bases[t, 1, 0], bases[t, 1, 1]
                ae = _second(padded, p, ex, ey, stride, m0, m1)
                af = _second(padded, p, fx, fy, stride, m0, m1)
                ag = _second(padded, p, -ex - fx, -ey - fy, stride, m0, m1)
                s, _, le, lf, lg = _root(ex, ey, fx, fy, ae, af, ag, b2, i0, i1, i01)
                if min(le, lf, lg) < 0:
                    # every pair of vectors of a face is a face of this superbase too
                    e2 = m0 * ex * ex + m1 * ey * ey
                    f2 = m0 * fx * fx + m1 * fy * fy
                    s = _face(ae, af, e2, f2, b2 * m0 * m1)[0]
                top = max(top, 2 * s * inv_b)
            best[c] = top
