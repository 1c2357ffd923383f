"""Quadrature over images of cells: quadratic B-splines on a box, sample points, blends."""

import math

from numba import njit

# Most samples along each side of a parallelogram, and of a parallelepiped.
MOST_SAMPLES = 64
MOST_SAMPLES_3D = 16
# Target cells by which a piece may be longer than one: maps near the identity stretch some cells a
# little.
EXCESS_CELLS = 0.25
# The points +-1/sqrt(12) of the Gauss rule that is exact for cubics on [-1/2, 1/2].
GAUSS_POINT = 0.5 / math.sqrt(3.0)


@njit(error_model="numpy", cache=True, nogil=True)
def quadratic(s):
    """Values and derivatives of the three quadratic B-splines, s in [-1/2, 1/2]."""
    return (
        0.5 * (0.5 - s) ** 2, 0.75 - s * s, 0.5 * (0.5 + s) ** 2,
        s - 0.5, -2.0 * s, s + 0.5,
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def density_at(densities, i, s):
    """The quadratic B-spline at the offset s in [-1/2, 1/2] from the centre of padded cell i."""
    v0, v1, v2, _, _, _ = quadratic(s)
    return v0 * densities[i - 1] + v1 * densities[i] + v2 * densities[i + 1]


@njit(error_model="numpy", cache=True, nogil=True)
def cell(position, n):
    """The cell nearest to a coordinate in cell units, clamped to the box, and the offset in it."""
    position = min(max(position, -0.5), n - 0.5)
    i = math.floor(position + 0.5)
    if i > n - 1:
        i = n - 1
    return int(i), position - i


@njit(error_model="numpy", cache=True, nogil=True)
def share_of(oscillation, low, high):
    """The blend s of an oscillation of log nu: 0 below ``low``, 1 above ``high``, C1 at 0."""
    t = min(1.0, max(0.0, (oscillation - low) / (high - low)))
    return t * t


@njit(error_model="numpy", cache=True, nogil=True)
def is_needless(variation, extent, low):
    """Whether log nu changes by less than ``low`` over an image, from a bound over a target cell.

    A larger image may reach beyond what the bound has seen.
    """
    return variation * max(1.0, extent) < low and extent <= 2.0


@njit(error_model="numpy", cache=True, nogil=True)
def samples(length, most):
    """Samples along a side: two on each piece of about a target cell, at most ``most``."""
    return min(most, 2 * max(1, math.ceil(length - EXCESS_CELLS)))


@njit(error_model="numpy", cache=True, nogil=True)
def node(k, count):
    """Position in [-1/2, 1/2] of sample k: Gauss points of count / 2 equal pieces."""
    return ((k // 2) + 0.5 + (GAUSS_POINT if k % 2 else -GAUSS_POINT)) * 2.0 / count - 0.5


@njit(error_model="numpy", cache=True, nogil=True)
def blend(images, refresh, value, drift):
    """Blend point values of log nu, and their derivatives, with the means that are kept.

    By shares that are renewed if ``refresh``.
    """
    for c in range(value.size):
        if refresh and images.known[c]:
            images.blend[c] = images.wanted[c]
        share = images.blend[c]
        if share > 0.0:
            value[c] += share * (images.logs[c] - value[c])
            for i in range(drift.shape[1]):
                drift[c, i] += share * (images.slopes[c, i] - drift[c, i])
