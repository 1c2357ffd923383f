"""Roots of the two-dimensional shift form for cells side by side, and where their data stand."""

import numpy as np
from numba import njit

from pma_grid.kernels.equation.limits import LANES
from pma_grid.kernels.equation.superbase_2d import hessian, weights_of

# What `roots` reads and writes, quantity after quantity in one flat array, that of cell j at
# quantity + j.  Distances between quantities are constants then, and no pointer can hide another.
ALONG_E, ALONG_F, ALONG_G, E_X, E_Y, F_X, F_Y, RADIUS = range(0, 8 * LANES, LANES)
RESIDUAL, ETA, WEIGHT_E, WEIGHT_F, WEIGHT_G = range(8 * LANES, 13 * LANES, LANES)
SIZE = 13 * LANES


@njit(error_model="numpy", cache=True, nogil=True)
def roots(f, inverse):
    """`root` for `LANES` cells side by side, which compilers turn into vector code.

    Reads the differences of u, the vectors and the radius b; writes residual, eta and weights,
    negative where the superbase is not the right one: scalar code must see to such a cell.
    """
    i0, i1, i01 = inverse
    for j in range(LANES):
        base = f[E_X + j], f[E_Y + j], f[F_X + j], f[F_Y + j]
        b = f[RADIUS + j]
        m00, m01, m11 = hessian(base, (f[ALONG_E + j], f[ALONG_F + j], f[ALONG_G + j]))
        m00, k, m11 = m00 * i0, m01 * i01, m11 * i1
        n, m = 0.5 * (m00 - m11), 0.5 * (m00 + m11)
        radius = np.sqrt(b * b + n * n + k * k)
        inverse_radius, inverse_b = 1 / radius, 1 / b
        d00 = (1 - n * inverse_radius) * i0 * inverse_b
        d11 = (1 + n * inverse_radius) * i1 * inverse_b
        d01 = -k * inverse_radius * i01 * inverse_b
        f[RESIDUAL + j] = 2 * (radius - m) * inverse_b
        f[ETA + j] = b * inverse_radius
        f[WEIGHT_E + j], f[WEIGHT_F + j], f[WEIGHT_G + j] = weights_of(base, d00, d01, d11)
