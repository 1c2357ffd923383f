"""Barycentres of the target over the images of source cells.

The mean of T = grad u over a cell under mu is the mean of y under nu over the image of the cell,

    <T>_mu = int_P y nu(y) dy / int_P nu(y) dy,

and to first order the image is the parallelepiped P = g + A [-1/2, 1/2]^d of `images_2d`, by which
the discrete equation balances masses.  nu is the quadratic B-spline of that equation.  On a line
both integrals are exact; beyond, they are Gauss sums of two points an axis in every target cell, up
to a bound.

All are in target cells, 0 at the first centre: ``centres`` (N, d) holds g, ``sides`` (N, d, d) A,
and ``out`` (N, d) receives the barycentres.  Images are cut at the faces of the box.
"""

import math

from numba import njit

from pma_grid.kernels.equation.image_quadrature import (
    cell,
    density_at,
    node,
    quadratic,
    samples,
)
from pma_grid.kernels.equation.images_1d import SHORTEST_CELLS

# Most samples along a side.  Images tile the target, so that few of them can be long.
MOST_SAMPLES_2D, MOST_SAMPLES_3D = 256, 32


@njit(error_model="numpy", cache=True, nogil=True)
def barycentre_1d(spline, centres, sides, out):
    """Over intervals; Simpson's rule is exact for the cubics y nu(y)."""
    densities, halo = spline
    n = densities.shape[0] - 2 * halo
    for c in range(centres.shape[0]):
        half = 0.5 * max(abs(sides[c, 0, 0]), SHORTEST_CELLS)
        i, s = cell(centres[c, 0] - half, n)
        k, t = cell(centres[c, 0] + half, n)
        mass = moment = 0.0
        for m in range(i, k + 1):
            a = s if m == i else -0.5
            b = t if m == k else 0.5
            first, last = density_at(densities, m + halo, a), density_at(densities, m + halo, b)
            middle, length = density_at(densities, m + halo, 0.5 * (a + b)), b - a
            mass += length * (first + 4.0 * middle + last)
            moment += length * ((m + a) * first + 2.0 * (2 * m + a + b) * middle + (m + b) * last)
        out[c, 0] = moment / mass if mass > 0.0 else i + s


@njit(error_model="numpy", cache=True, nogil=True)
def barycentre_2d(spline, centres, sides, out):
    """Over parallelograms."""
    densities, halo = spline
    n0, n1 = densities.shape[0] - 2 * halo, densities.shape[1] - 2 * halo
    for c in range(centres.shape[0]):
        a00, a01, a10, a11 = sides[c, 0, 0], sides[c, 0, 1], sides[c, 1, 0], sides[c, 1, 1]
        k0 = samples(math.hypot(a00, a10), MOST_SAMPLES_2D)
        k1 = samples(math.hypot(a01, a11), MOST_SAMPLES_2D)
        mass = moment0 = moment1 = 0.0
        for k in range(k0):
            x = node(k, k0)
            for l in range(k1):
                y = node(l, k1)
                i, s = cell(centres[c, 0] + a00 * x + a01 * y, n0)
                m, t = cell(centres[c, 1] + a10 * x + a11 * y, n1)
                u0, u1, u2, _, _, _ = quadratic(s)
                f = (
                    u0 * density_at(densities[i + halo - 1], m + halo, t)
                    + u1 * density_at(densities[i + halo], m + halo, t)
                    + u2 * density_at(densities[i + halo + 1], m + halo, t)
                )
                mass += f
                moment0 += f * (i + s)
                moment1 += f * (m + t)
        out[c, 0], out[c, 1] = moment0 / mass, moment1 / mass


@njit(error_model="numpy", cache=True, nogil=True)
def _plane(densities, m, t, l, r):
    """The spline of two axes at the offsets t, r from the centre of the padded cell (m, l)."""
    v0, v1, v2, _, _, _ = quadratic(t)
    return (
        v0 * density_at(densities[m - 1], l, r)
        + v1 * density_at(densities[m], l, r)
        + v2 * density_at(densities[m + 1], l, r)
    )


@njit(error_model="numpy", cache=True, nogil=True)
def _moments_3d(spline, g, a, counts):
    """Sums over samples of g + a [-1/2, 1/2]^3 of nu and of nu y."""
    densities, halo = spline
    n0, n1 = densities.shape[0] - 2 * halo, densities.shape[1] - 2 * halo
    n2 = densities.shape[2] - 2 * halo
    k0, k1, k2 = counts
    mass = moment0 = moment1 = moment2 = 0.0
    for k in range(k0 * k1):
        x, y = node(k // k1, k0), node(k % k1, k1)
        for j in range(k2):
            z = node(j, k2)
            i, s = cell(g[0] + a[0, 0] * x + a[0, 1] * y + a[0, 2] * z, n0)
            m, t = cell(g[1] + a[1, 0] * x + a[1, 1] * y + a[1, 2] * z, n1)
            l, r = cell(g[2] + a[2, 0] * x + a[2, 1] * y + a[2, 2] * z, n2)
            u0, u1, u2, _, _, _ = quadratic(s)
            f = (
                u0 * _plane(densities[i + halo - 1], m + halo, t, l + halo, r)
                + u1 * _plane(densities[i + halo], m + halo, t, l + halo, r)
                + u2 * _plane(densities[i + halo + 1], m + halo, t, l + halo, r)
            )
            mass += f
            moment0 += f * (i + s)
            moment1 += f * (m + t)
            moment2 += f * (l + r)
    return mass, moment0, moment1, moment2


@njit(error_model="numpy", cache=True, nogil=True)
def barycentre_3d(spline, centres, sides, out):
    """Over parallelepipeds."""
    for c in range(centres.shape[0]):
        a = sides[c]
        k0 = samples(math.sqrt(a[0, 0] ** 2 + a[1, 0] ** 2 + a[2, 0] ** 2), MOST_SAMPLES_3D)
        k1 = samples(math.sqrt(a[0, 1] ** 2 + a[1, 1] ** 2 + a[2, 1] ** 2), MOST_SAMPLES_3D)
        k2 = samples(math.sqrt(a[0, 2] ** 2 + a[1, 2] ** 2 + a[2, 2] ** 2), MOST_SAMPLES_3D)
        mass, x, y, z = _moments_3d(spline, centres[c], a, (k0, k1, k2))
        out[c, 0], out[c, 1], out[c, 2] = x / mass, y / mass, z / mass
