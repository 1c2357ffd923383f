"""Minima over faces of the cone of a three-dimensional superbase, by projected Newton's method.

Where a weight of the minimiser without constraints is negative, log det D2u is the minimum of

    f(w) = sum_m w_m a_m - log det D(w) - 3,    D(w) = sum_m w_m e_m e_m^T,    w >= 0,

which is strictly convex: the six e_m e_m^T are a basis of the symmetric matrices.  Its derivatives
are a_m - e_m.D^{-1}e_m and (e_m.D^{-1}e_n)^2.  Weights at zero that f would rise from stay there,
the others make Newton's step, and what that makes negative is cut off (Bertsekas 1982, SIAM J.
Control Optim. 20, 221-246, doi:10.1137/0320018).  Pairs and entries go as in `superbase_3d`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pma_grid.kernels.equation.superbase_3d import invert, tensor_of
from pma_grid.kernels.records import Array

# Steps that no minimum needs: about ten do from afar, one or two from close by.
MOST_STEPS = 60
# Squared Newton decrement from which a whole step leaves its square, less than rounding.
LAST_DECREMENT = 1e-9
# Share of the fall promised by the derivative that a step must bring, and the smallest step.
SUFFICIENT_FALL, SMALLEST_STEP = 1e-4, 1e-9
# Relative distances from a pole and from a singular matrix at which a face may be begun.
FAR_FROM_POLE = 1e-2
# Weights to begin with, times second differences: a little below 1/2, what six equal ones have.
EQUAL_SHARE = 0.3
# Change of log det by a step in the shift that is the last: Newton's method leaves its square.
LAST_CHANGE = 1e-8


class Room(NamedTuple):
    """What a minimisation writes to."""

    hessian: Array  # (6, 6), its lower triangle; then its factor
    gradient: Array  # (6,)
    step: Array  # (6,)
    trial: Array  # (6,)
    raised: Array  # (6,)


@njit(error_model="numpy", cache=True, nogil=True)
def room():
    """Room for one minimisation after another."""
    return Room(np.empty((6, 6)), np.empty(6), np.empty(6), np.empty(6), np.empty(6))


@njit(error_model="numpy", cache=True, nogil=True)
def column(b, m):
    """The products e_n . B e_m for all n, for the symmetric B of six entries."""
    if m == 0:
        x, y, z = b[0], b[1], b[2]
    elif m == 1:
        x, y, z = b[1], b[3], b[4]
    elif m == 2:
        x, y, z = b[2], b[4], b[5]
    elif m == 3:
        x, y, z = b[0] - b[1], b[1] - b[3], b[2] - b[4]
    elif m == 4:
        x, y, z = b[0] - b[2], b[1] - b[4], b[2] - b[5]
    else:
        x, y, z = b[1] - b[2], b[3] - b[4], b[4] - b[5]
    return x, y, z, x - y, x - z, y - z


@njit(error_model="numpy", cache=True, nogil=True)
def det(w):
    """det D(w): the sum of products of three weights whose pairs join all vectors, all positive."""
    around = w[3] * w[4] + (w[3] + w[4]) * w[5]
    two = w[0] * w[1] * (w[4] + w[5]) + w[0] * w[2] * (w[3] + w[5]) + w[1] * w[2] * (w[3] + w[4])
    return w[0] * w[1] * w[2] + two + (w[0] + w[1] + w[2]) * around


@njit(error_model="numpy", cache=True, nogil=True)
def differentiate(a, w, gradient, hessian):
    """Gradient and Hessian of f, with 0 and the identity's row for weights that stay at zero."""
    b = invert(tensor_of(w))[1]
    for m in range(6):
        products = column(b, m)
        gradient[m] = a[m] - products[m]
        for n in range(m + 1):
            hessian[m, n] = products[n] * products[n]
    for m in range(6):
        if w[m] == 0 and gradient[m] >= 0:
            gradient[m] = 0.0
            for n in range(6):
                hessian[max(m, n), min(m, n)] = 0.0
            hessian[m, m] = 1.0


@njit(error_model="numpy", cache=True, nogil=True)
def factorise(p):
    """The lower triangle of P becomes L and the diagonal d of P = L diag(d) L^T."""
    for j in range(6):
        for k in range(j):
            p[j, j] -= p[j, k] * p[j, k] * p[k, k]
        for i in range(j + 1, 6):
            for k in range(j):
                p[i, j] -= p[i, k] * p[j, k] * p[k, k]
            p[i, j] /= p[j, j]


@njit(error_model="numpy", cache=True, nogil=True)
def solve(p, right, x):
    """``x`` receives P^{-1} right, P being factorised; returns right . P^{-1} right."""
    total = 0.0
    for i in range(6):
        x[i] = right[i]
        for k in range(i):
            x[i] -= p[i, k] * x[k]
        total += x[i] * x[i] / p[i, i]
    for i in range(5, -1, -1):
        x[i] /= p[i, i]
        for k in range(i + 1, 6):
            x[i] -= p[k, i] * x[k]
    return total


@njit(error_model="numpy", cache=True, nogil=True)
def project(w, step, size, out):
    """``out`` receives the weights after a step, at least 0; whether none had to be cut off."""
    whole = True
    for m in range(6):
        out[m] = w[m] - size * step[m]
        if out[m] < 0:
            out[m], whole = 0.0, False
    return whole


@njit(error_model="numpy", cache=True, nogil=True)
def descend(a, w, space):
    """Move ``w`` along the projected step as far as f falls by what is promised; whether it did."""
    gradient, trial = space.gradient, space.trial
    before, size = det(w), 1.0
    while size > SMALLEST_STEP:
        project(w, space.step, size, trial)
        promised = change = 0.0
        for m in range(6):
            promised += gradient[m] * (trial[m] - w[m])
            change += a[m] * (trial[m] - w[m])
        after = det(trial)
        if after > 0 and change - math.log(after / before) <= SUFFICIENT_FALL * promised:
            w[:] = trial
            return True
        size *= 0.5
    return False


@njit(error_model="numpy", cache=True, nogil=True)
def sweep(a, w):
    """Minimise f along one weight after another: det(D + t e e^T) = det D (1 + t e.D^{-1}e)."""
    for m in range(6):
        b = invert(tensor_of(w))[1]
        w[m] = max(0.0, w[m] + 1 / a[m] - 1 / column(b, m)[m])


@njit(error_model="numpy", cache=True, nogil=True)
def minimise(a, w, space):
    """Minimise f over w >= 0 from ``w``, whose D is positive; returns the value (a > 0)."""
    for _ in range(MOST_STEPS):
        differentiate(a, w, space.gradient, space.hessian)
        factorise(space.hessian)
        decrement = solve(space.hessian, space.gradient, space.step)
        if not decrement < math.inf:
            break
        if decrement <= LAST_DECREMENT:
            if project(w, space.step, 1.0, w):
                break
        elif not descend(a, w, space):
            # some weights are cut off at once, and what is left of the step leads up
            sweep(a, w)
    value = -math.log(det(w)) - 3.0
    for m in range(6):
        value += w[m] * a[m]
    return value


@njit(error_model="numpy", cache=True, nogil=True)
def face(a, a0, radius, det0, w, c, space):
    """Shift c of a face, where the minimum of f for a + c a0 is log(radius^3 det0).

    Newton in c on the cube root of the determinant, which is concave in c, from the shift ``c`` and
    the weights ``w`` without the constraint; from the right of all poles where those are no start.
    """
    log_b = 3 * math.log(radius) + math.log(det0)
    raised, low = space.raised, -math.inf
    for m in range(6):
        low = max(low, -a[m] / a0[m])
        w[m] = max(0.0, w[m])
    if not (c - low > FAR_FROM_POLE * radius and det(w) * radius**3 * det0 > FAR_FROM_POLE):
        c = low + 1e-3 * abs(low) + radius
        for m in range(6):
            w[m] = EQUAL_SHARE / (a[m] + c * a0[m])
    for _ in range(MOST_STEPS):
        trace = 0.0
        for m in range(6):
            raised[m] = a[m] + c * a0[m]
        value = minimise(raised, w, space)
        for m in range(6):
            trace += w[m] * a0[m]
        step = 3 * math.expm1((log_b - value) / 3) / trace
        if c + step <= low:
            step = 0.5 * (low - c)
        c += step
        if abs(step) * trace < LAST_CHANGE:
            break
    return c
