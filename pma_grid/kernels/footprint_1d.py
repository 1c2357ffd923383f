"""One-dimensional means over images, exact: the conservative scheme; `footprint` has the contract.

The image of a cell is the interval [g - a/2, g + a/2], a = M / (h H), whose ends are the gradients
at the faces of the cell.  With F' = nu the product of the mean and M is F(right) - F(left) up to a
constant, so that the sum over all cells is the mass of the target whatever u is.  Also

    d log mean / dg = (nu(right) - nu(left)) / (a mean),
    d log mean / da = ((nu(right) + nu(left)) / 2 - mean) / (a mean),

and the latter and the 1 / a of log det D2u make up (nu(right) + nu(left)) / (2 a mean) >= 0.
"""

import math

from numba import njit

from pma_grid.kernels.sampling import cell, quadratic, share_of

# Length in target cells that shorter intervals are taken for: their mean is the point value.
SHORTEST = 1e-3


@njit(error_model="numpy", cache=True, nogil=True)
def _density(densities, i, s):
    """The quadratic B-spline at the offset s in [-1/2, 1/2] from the centre of padded cell i."""
    v0, v1, v2, _, _, _ = quadratic(s)
    return v0 * densities[i - 1] + v1 * densities[i] + v2 * densities[i + 1]


@njit(error_model="numpy", cache=True, nogil=True)
def _integral(densities, i, s, t):
    """Its integral over the offsets [s, t] in padded cell i, and its least and largest value there.

    By Simpson's rule, exact for quadratics: a sum of positive terms however short the interval is.
    Lowest and highest are those at the three nodes.
    """
    f, h = _density(densities, i, s), _density(densities, i, t)
    g = _density(densities, i, 0.5 * (s + t))
    return (t - s) * (f + 4.0 * g + h) / 6.0, min(f, g, h), max(f, g, h)


@njit(error_model="numpy", cache=True, nogil=True)
def mean_1d(densities, halo, left, right):
    """Mean over [left, right], values at both ends, lowest and highest value met.

    Beyond the box the density goes on as it ends, as that of a clamped coordinate.
    """
    n = densities.shape[0] - 2 * halo
    i, s = cell(left, n)
    k, t = cell(right, n)
    first, last = _density(densities, i + halo, s), _density(densities, k + halo, t)
    beyond = first * max(0.0, min(right, -0.5) - left)
    beyond += last * max(0.0, right - max(left, n - 0.5))
    bottom, top = min(first, last), max(first, last)
    total = 0.0
    for m in range(i, k + 1):
        begin = s if m == i else -0.5
        end = t if m == k else 0.5
        part, low, high = _integral(densities, m + halo, begin, end)
        total += part
        bottom, top = min(bottom, low), max(top, high)
    return (total + beyond) / (right - left), first, last, bottom, top


@njit(error_model="numpy", cache=True, nogil=True)
def average_1d(
    padded,
    row_start,
    n_last,
    strides,
    first_row,
    metric,
    affine,
    slope,
    per_cell,
    superbase,
    densities,
    halo,
    variation,
    low,
    high,
    refresh,
    shift,
    counts,
    blend,
    value,
    drift,
    change,
):
    """Blend log nu(g) with the log of the mean of nu over the image; see `footprint.average_2d`.

    There is a single row and nothing to sample: ``first_row`` and ``counts`` are not used.
    """
    n = densities.shape[0] - 2 * halo
    p = row_start[0]
    for c in range(n_last):
        q = p + c
        change[c, 0] = 0.0
        if not refresh and blend[c] == 0.0:
            continue
        g = affine[0] * (c + 0.5) - 0.5 + slope[0] * (padded[q + 1] - padded[q - 1])
        a = per_cell[0] * (metric[0] + padded[q + 1] + padded[q - 1] - 2 * padded[q])
        if refresh:
            blend[c] = share_of(variation[cell(g, n)[0]] * max(1.0, a), low, high)
            # a larger image may reach beyond what ``variation`` has seen
            if blend[c] == 0.0 and a <= 2.0:
                continue
        half = 0.5 * max(a, SHORTEST)
        mean, first, last, bottom, top = mean_1d(densities, halo, g - half, g + half)
        if refresh:
            blend[c] = max(blend[c], share_of(math.log(top / bottom), low, high))
        share = blend[c]
        value[c] += share * (math.log(mean) - shift[c] - value[c])
        share_per_mass = share / (2.0 * half * mean)
        drift[c, 0] += share_per_mass * (last - first) - share * drift[c, 0]
        if a > SHORTEST:
            change[c, 0] = share_per_mass * (0.5 * (first + last) - mean) * per_cell[0]


@njit(error_model="numpy", cache=True, nogil=True)
def add_change_1d(change, superbase, eta, smallest, weights, clamped):
    """Add eta C to the one weight of a cell; ``clamped``: to at least ``smallest`` of it."""
    for c in range(change.shape[0]):
        w = weights[c, 0]
        weights[c, 0] = w + eta[c] * change[c, 0]
        clamped[c, 0] = max(weights[c, 0], smallest * w)
