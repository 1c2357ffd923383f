"""One-dimensional means over images, exact: the conservative scheme; `images_2d` has the formulas.

The image of a cell is the interval [g - a/2, g + a/2], a = M / (h H), whose ends are the gradients
at the faces of the cell.  With F' = nu the product of mean and M is F(right) - F(left) up to a
constant, so that the sum over all cells is the mass of the target whatever u is.  Also

    d log mean / dg = (nu(right) - nu(left)) / (a mean),
    d log mean / d log M = (nu(right) + nu(left)) / (2 mean) - 1 >= -1,

so that the derivative of log(M mean) with respect to M is not negative.  The mean is taken of all
images: on smooth data the error is smaller than that of point values.
"""

import math

from numba import njit

from pma_grid.kernels.equation.image_quadrature import cell, density_at

# Length in target cells that shorter intervals are taken for: their mean is the point value.
SHORTEST_CELLS = 1e-3


@njit(error_model="numpy", cache=True, nogil=True)
def _integral(densities, i, s, t):
    """Its integral over the offsets [s, t] in padded cell i: Simpson's rule, exact and positive."""
    first, last = density_at(densities, i, s), density_at(densities, i, t)
    middle = density_at(densities, i, 0.5 * (s + t))
    return (t - s) * (first + 4.0 * middle + last) / 6.0


@njit(error_model="numpy", cache=True, nogil=True)
def mean_1d(spline, left, right):
    """Mean of the density over [left, right], and its values at both ends."""
    # beyond the box it goes on as it ends, as that of a clamped coordinate
    densities, halo = spline
    n = densities.shape[0] - 2 * halo
    i, s = cell(left, n)
    k, t = cell(right, n)
    first, last = density_at(densities, i + halo, s), density_at(densities, k + halo, t)
    total = first * max(0.0, min(right, -0.5) - left) + last * max(0.0, right - max(left, n - 0.5))
    for m in range(i, k + 1):
        begin = s if m == i else -0.5
        end = t if m == k else 0.5
        total += _integral(densities, m + halo, begin, end)
    return total / (right - left), first, last


@njit(error_model="numpy", cache=True, nogil=True)
def average_1d(padded, layout, scales, spline, varies, images, refresh, value, drift):
    """The log of the mean of nu over all images, its ``moments`` those by log M; see `average_2d`.

    Nothing is sampled, blended or frozen.
    """
    p = layout.row_start[0]
    affine, slope = scales.affine[0], scales.slope[0]
    for c in range(layout.n_last):
        q = p + c
        g = affine * (c + 0.5) - 0.5 + slope * (padded[q + 1] - padded[q - 1])
        a = scales.per_cell[0] * (scales.metric[0] + padded[q + 1] + padded[q - 1] - 2 * padded[q])
        half = 0.5 * max(a, SHORTEST_CELLS)
        mean, first, last = mean_1d(spline, g - half, g + half)
        value[c] = math.log(mean) - images.shift[c]
        drift[c, 0] = (last - first) / (2.0 * half * mean)
        images.moments[c, 0] = 0.5 * (first + last) / mean - 1.0 if a > SHORTEST_CELLS else 0.0


@njit(error_model="numpy", cache=True, nogil=True)
def add_change_1d(images, superbase, eta, smallest, weights, clamped):
    """Add d log mean / d log M, the ``moments``, to the derivative of log M, which is 1.

    The sum is no smaller than 0; ``clamped`` is at least ``smallest`` times the weight before.
    """
    for c in range(eta.size):
        w = weights[c, 0]
        weights[c, 0] = w * (1.0 + images.moments[c, 0])
        clamped[c, 0] = max(weights[c, 0], smallest * w)
