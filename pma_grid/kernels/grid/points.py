"""Maps at arbitrary points: cubic convolution of phi, its gradient, and Newton for the inverse.

Positions s are in cells: 0 is the centre of the first cell.  In index units the gradient of u is
metric (s + 1/2) + grad phi, its Hessian diag(metric) + D2 phi.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.grid.interpolation import keys, locate

NEWTON_STEPS = 40


@njit(error_model="numpy", cache=True, nogil=True)
def _phi_1d(padded, shape, halo, s, gradient, hessian):
    """Value of phi at s; its gradient and Hessian into the last arguments."""
    i, t = locate(s[0], shape[0])
    w = keys(t)
    value = 0.0
    gradient[0] = 0.0
    hessian[0, 0] = 0.0
    for k in range(4):
        c = padded[i + halo - 1 + k]
        value += w[k] * c
        gradient[0] += w[4 + k] * c
        hessian[0, 0] += w[8 + k] * c
    return value


@njit(error_model="numpy", cache=True, nogil=True)
def _phi_2d(padded, shape, halo, s, gradient, hessian):
    """Two-dimensional twin of `_phi_1d`."""
    i, t0 = locate(s[0], shape[0])
    j, t1 = locate(s[1], shape[1])
    u, w = keys(t0), keys(t1)
    stride = shape[1] + 2 * halo
    f = fx = fy = fxx = fxy = fyy = 0.0
    for k in range(4):
        start = (i + halo - 1 + k) * stride + j + halo - 1
        a = b = c = 0.0
        for m in range(4):
            p = padded[start + m]
            a += w[m] * p
            b += w[4 + m] * p
            c += w[8 + m] * p
        f += u[k] * a
        fx += u[4 + k] * a
        fxx += u[8 + k] * a
        fy += u[k] * b
        fxy += u[4 + k] * b
        fyy += u[k] * c
    gradient[0], gradient[1] = fx, fy
    hessian[0, 0], hessian[1, 1] = fxx, fyy
    hessian[0, 1] = hessian[1, 0] = fxy
    return f


@njit(error_model="numpy", cache=True, nogil=True)
def _phi_3d(padded, shape, halo, s, gradient, hessian):
    """Three-dimensional twin of `_phi_1d`."""
    i, t0 = locate(s[0], shape[0])
    j, t1 = locate(s[1], shape[1])
    k, t2 = locate(s[2], shape[2])
    u, v, w = keys(t0), keys(t1), keys(t2)
    s1 = shape[2] + 2 * halo
    s0 = s1 * (shape[1] + 2 * halo)
    gradient[:] = 0.0
    hessian[:] = 0.0
    f = 0.0
    for p in range(4):
        for q in range(4):
            start = (i + halo - 1 + p) * s0 + (j + halo - 1 + q) * s1 + k + halo - 1
            a = b = c = 0.0
            for r in range(4):
                z = padded[start + r]
                a += w[r] * z
                b += w[4 + r] * z
                c += w[8 + r] * z
            f += u[p] * v[q] * a
            gradient[0] += u[4 + p] * v[q] * a
            gradient[1] += u[p] * v[4 + q] * a
            gradient[2] += u[p] * v[q] * b
            hessian[0, 0] += u[8 + p] * v[q] * a
            hessian[1, 1] += u[p] * v[8 + q] * a
            hessian[2, 2] += u[p] * v[q] * c
            hessian[0, 1] += u[4 + p] * v[4 + q] * a
            hessian[0, 2] += u[4 + p] * v[q] * b
            hessian[1, 2] += u[p] * v[4 + q] * b
    hessian[1, 0], hessian[2, 0], hessian[2, 1] = hessian[0, 1], hessian[0, 2], hessian[1, 2]
    return f


@njit(error_model="numpy", cache=True, nogil=True)
def _phi(padded, shape, halo, s, gradient, hessian):
    """phi on the flat padded array, any dimension: one compilation serves all three."""
    if s.size == 1:
        return _phi_1d(padded, shape, halo, s, gradient, hessian)
    if s.size == 2:
        return _phi_2d(padded, shape, halo, s, gradient, hessian)
    return _phi_3d(padded, shape, halo, s, gradient, hessian)


@njit(error_model="numpy", cache=True, nogil=True)
def _newton_direction(hessian, right, out):
    """Solve hessian out = right by Cholesky, raising pivots that are not positive."""
    n = right.size
    low = 1e-6 * np.trace(hessian) / n if np.trace(hessian) > 0 else 1e-300
    for i in range(n):
        for j in range(i):
            for k in range(j):
                hessian[i, j] -= hessian[i, k] * hessian[j, k]
            hessian[i, j] /= hessian[j, j]
        for k in range(i):
            hessian[i, i] -= hessian[i, k] * hessian[i, k]
        hessian[i, i] = math.sqrt(max(hessian[i, i], low))
    for i in range(n):
        out[i] = right[i]
        for k in range(i):
            out[i] -= hessian[i, k] * out[k]
        out[i] /= hessian[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            out[i] -= hessian[k, i] * out[k]
        out[i] /= hessian[i, i]


@njit(error_model="numpy", cache=True, nogil=True)
def gradient_at(padded, shape, halo, positions, values, gradients):
    """phi and its gradient (index units) at the positions (m, d)."""
    dim = positions.shape[1]
    hessian = np.empty((dim, dim))
    for p in range(positions.shape[0]):
        values[p] = _phi(padded, shape, halo, positions[p], gradients[p], hessian)


@njit(error_model="numpy", cache=True, nogil=True)
def invert(padded, shape, halo, metric, slopes, tolerance, positions, values):
    """Newton for metric (s + 1/2) + grad phi(s) = slopes from ``positions``, in place.

    Damped by the convex objective u(s) - slopes . s, kept in the box; ``values`` receives phi
    at the solution.  Returns the number of points whose last step exceeded ``tolerance`` cells.
    """
    dim = positions.shape[1]
    gradient, trial = np.empty(dim), np.empty(dim)
    hessian = np.empty((dim, dim))
    right, step, s = np.empty(dim), np.empty(dim), np.empty(dim)
    failed = 0
    for p in range(positions.shape[0]):
        s[:] = positions[p]
        value = _phi(padded, shape, halo, s, gradient, hessian)
        moved = math.inf
        for _ in range(NEWTON_STEPS):
            objective = value
            for i in range(dim):
                right[i] = slopes[p, i] - metric[i] * (s[i] + 0.5) - gradient[i]
                hessian[i, i] += metric[i]
                objective += 0.5 * metric[i] * (s[i] + 0.5) ** 2 - slopes[p, i] * s[i]
            _newton_direction(hessian, right, step)
            size = min(1.0, 2.0 / max(1e-300, np.abs(step).max()))
            for _ in range(12):
                moved = 0.0
                for i in range(dim):
                    n = shape[i]
                    trial[i] = min(n - 0.5, max(-0.5, s[i] + size * step[i]))
                    moved = max(moved, abs(trial[i] - s[i]))
                value = _phi(padded, shape, halo, trial, gradient, hessian)
                after = value
                for i in range(dim):
                    after += 0.5 * metric[i] * (trial[i] + 0.5) ** 2 - slopes[p, i] * trial[i]
                if after <= objective or moved <= tolerance:
                    break
                size *= 0.5
            s[:] = trial
            if moved <= tolerance:
                break
        positions[p] = s
        values[p] = value
        failed += moved > tolerance
    return failed
