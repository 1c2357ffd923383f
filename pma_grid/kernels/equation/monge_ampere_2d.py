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

from pma_grid.kernels.equation import lanes_2d as lanes
from pma_grid.kernels.equation.limits import (
    LANES,
    MOST_FLIPS,
    ZERO_WEIGHT_SHARE,
    log_right_side,
)
from pma_grid.kernels.equation.superbase_2d import (
    begin,
    face,
    inverse_metric,
    load,
    root,
    second,
    store,
    update,
)
from pma_grid.kernels.grid.interpolation import spline_2d


@njit(error_model="numpy", cache=True, nogil=True)
def expand(bases, strides):
    """Lattice vectors (e, f, -e-f) and their offsets from the superbases (N, 2, 2)."""
    superbase, vectors, offsets, _ = bases
    for c in range(superbase.shape[0]):
        store(load(superbase, c), c, strides[0], superbase, vectors, offsets)


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def target_at_gradient(padded, layout, scales, spline, value, derivative):
    """Cubic spline of log nu at the centred gradient of u; its derivative per target cell, (N, d).

    The gradient in target cell units is affine_i (x index + 1/2) - 1/2 + slope_i (phi+ - phi-).
    """
    row_start, n_last, affine, slope = layout.row_start, layout.n_last, scales.affine, scales.slope
    y0 = np.empty(n_last)
    y1 = np.empty(n_last)
    s0 = layout.strides[0]
    for row in range(row_start.size):
        p = row_start[row]
        base = affine[0] * (layout.first_row + row + 0.5) - 0.5
        for j in range(n_last):
            y0[j] = base + slope[0] * (padded[p + j + s0] - padded[p + j - s0])
            y1[j] = affine[1] * (j + 0.5) - 0.5 + slope[1] * (padded[p + j + 1] - padded[p + j - 1])
        spline_2d(spline.coefficients, spline.halo, y0, y1, row * n_last, value, derivative)


@njit(error_model="numpy", cache=True, nogil=True)
def shift_form(padded, layout, scales, balance, bases, linear, residual):
    """Residual r and linearisation of the shift form, superbases found by walks of their own.

    A walk begins near the axes (`begin`) whatever was evaluated before, so that the residual is a
    function of u alone.

    The drift of ``linear`` enters as d log nu per target cell and leaves as eta * drift * per_cell;
    its weights (N, 3), eta (N,) and ``residual`` (N,) receive the results, ``bases`` are updated in
    place.  Returns the number of cells whose minimiser lies on a face.
    """
    row_start, n_last, stride = layout.row_start, layout.n_last, layout.strides[0]
    log_source, log_target, shift = balance
    weights, drift, eta = linear
    superbase, vectors, offsets, reach = bases
    per_cell = scales.per_cell
    m0, m1 = scales.metric[0], scales.metric[1]
    inverse = inverse_metric(m0, m1)
    f = np.ones(lanes.SIZE)
    faces = 0
    for row in range(row_start.size):
        for first in range(0, n_last, LANES):
            count = min(LANES, n_last - first)
            start, c = row_start[row] + first, row * n_last + first
            for j in range(count):
                log_b = log_right_side(log_source[c + j], log_target[c + j], shift)
                f[lanes.RADIUS + j] = inverse[2] * math.exp(0.5 * log_b)
                p = start + j
                ex, ey, fx, fy = begin(padded, p, stride)
                f[lanes.ALONG_E + j] = second(padded, p, ex, ey, stride, m0, m1)
                f[lanes.ALONG_F + j] = second(padded, p, fx, fy, stride, m0, m1)
                f[lanes.ALONG_G + j] = second(padded, p, -ex - fx, -ey - fy, stride, m0, m1)
                f[lanes.E_X + j], f[lanes.E_Y + j] = ex, ey
                f[lanes.F_X + j], f[lanes.F_Y + j] = fx, fy
            lanes.roots(f, inverse)
            for j in range(count):
                u, v, w = f[lanes.WEIGHT_E + j], f[lanes.WEIGHT_F + j], f[lanes.WEIGHT_G + j]
                if not min(u, min(v, w)) >= -ZERO_WEIGHT_SHARE * (u + v + w):
                    base, on_face = _shift_of_cell(
                        padded, start + j, stride, (m0, m1), reach, f, j
                    )
                    faces += on_face
                else:
                    base = 1, 0, 0, int(f[lanes.F_Y + j])
                update(base, c + j, stride, superbase, vectors, offsets)
                residual[c + j], eta[c + j] = f[lanes.RESIDUAL + j], f[lanes.ETA + j]
                for k in range(3):
                    w = f[lanes.WEIGHT_E + k * LANES + j]
                    weights[c + j, k] = 0.0 if w < 0 else w
                drift[c + j, 0] *= eta[c + j] * per_cell[0]
                drift[c + j, 1] *= eta[c + j] * per_cell[1]
    return faces


@njit(error_model="numpy", cache=True, nogil=True)
def _shift_of_cell(padded, p, stride, metric, reach, f, j):
    """The shift form of a cell into lane j of ``f``; where its walk ended, and if on a face."""
    m0, m1 = metric
    inverse = inverse_metric(m0, m1)
    ae, af, ag = f[lanes.ALONG_E + j], f[lanes.ALONG_F + j], f[lanes.ALONG_G + j]
    ex, ey, fx, fy = begin(padded, p, stride)
    gx, gy = -ex - fx, -ey - fy
    inv_b = 1 / f[lanes.RADIUS + j]
    b2 = f[lanes.RADIUS + j] ** 2
    s, radius, le, lf, lg = root((ex, ey, fx, fy), (ae, af, ag), b2, inverse)
    for _ in range(MOST_FLIPS):
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
        an = second(padded, p, nx, ny, stride, m0, m1)
        t, r2, l0, l1, l2 = root((ex, ey, -fx, -fy), (ae, af, an), b2, inverse)
        if l2 <= 0:
            break
        fx, fy, gx, gy, ag = -fx, -fy, nx, ny, an
        s, radius, le, lf, lg = t, r2, l0, l1, l2
    on_face = lg < 0
    if on_face:
        e2 = m0 * ex * ex + m1 * ey * ey
        f2 = m0 * fx * fx + m1 * fy * fy
        s, t, le, lf = face(ae, af, e2, f2, b2 * m0 * m1)
        lg = 0.0
        f[lanes.ETA + j] = t * inv_b
    else:
        f[lanes.ETA + j] = 1 / (inv_b * radius)
    f[lanes.RESIDUAL + j] = 2 * s * inv_b
    f[lanes.WEIGHT_E + j] = le * inv_b
    f[lanes.WEIGHT_F + j] = lf * inv_b
    f[lanes.WEIGHT_G + j] = lg * inv_b
    return (ex, ey, fx, fy), on_face


@njit(error_model="numpy", cache=True, nogil=True)
def log_det(padded, layout, metric, bases, weights, out):
    """Monotone log det D2u in index units, NaN where u is not convex, and its derivative.

    With a_g the largest second difference: det M_h where a_g <= a_e + a_f (the superbase is
    obtuse for D = M_h^{-1}), else walk to (e, -f, f - e) while that lowers the value, else
    log(a_e a_f).  ``bases`` are updated in place; ``weights`` (N, 3) receives the derivatives with
    respect to (a_e, a_f, a_g), all >= 0, and ``out`` (N,) the value.
    """
    row_start, n_last, stride = layout.row_start, layout.n_last, layout.strides[0]
    m0, m1 = metric[0], metric[1]
    superbase, vectors, offsets, reach = bases
    for row in range(row_start.size):
        for j in range(n_last):
            p = row_start[row] + j
            c = row * n_last + j
            ex, ey, fx, fy = load(superbase, c)
            gx, gy = -ex - fx, -ey - fy
            ae = second(padded, p, ex, ey, stride, m0, m1)
            af = second(padded, p, fx, fy, stride, m0, m1)
            ag = second(padded, p, gx, gy, stride, m0, m1)
            for _ in range(MOST_FLIPS):
                if ae > ag:
                    ex, gx, ey, gy, ae, ag = gx, ex, gy, ey, ag, ae
                if af > ag:
                    fx, gx, fy, gy, af, ag = gx, fx, gy, fy, ag, af
                nx, ny = fx - ex, fy - ey
                if ag <= ae + af or abs(nx) > reach or abs(ny) > reach:
                    break
                an = second(padded, p, nx, ny, stride, m0, m1)
                if an >= ae + af:
                    break
                fx, fy, gx, gy, ag = -fx, -fy, nx, ny, an
            update((ex, ey, fx, fy), c, stride, superbase, vectors, offsets)
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
        for _ in range(MOST_FLIPS):
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
