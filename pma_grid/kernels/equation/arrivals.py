"""What arrives in the cells of a target under grad u: masses, and where they come from.

The equation makes the image of source cell c, the parallelepiped P = g + A [-1/2, 1/2]^d, receive
the mass of c, spread in proportion to the target's density nu there.  Into target cell i go

    mass_i = sum_c mass_c <nu 1_i>_P / <nu>_P,   moment_i = sum_c mass_c <nu 1_i x>_P / <nu>_P,

x the place in c, so that moment_i / mass_i is the mean over cell i of the inverse map.  P is cut
into boxes that are counted by overlap.  Along each axis, x is where the mass of c up to x is what
nu has on P up to the box: images of cells over a gap of the target are long, and mostly empty.

One code serves every dimension: fields are flat, in C order.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.equation.image_quadrature import cell, quadratic, samples

# Half the width, in cells, of boxes that have none.
THINNEST_CELLS = 1e-9


@njit(error_model="numpy", cache=True, nogil=True)
def _value(densities, strides, shape, halo, p, weights):
    """The quadratic B-spline at a point in cells; ``weights`` (d, 3) is space to work in."""
    dim, base = p.size, 0
    for axis in range(dim):
        i, s = cell(p[axis], shape[axis])
        weights[axis, 0], weights[axis, 1], weights[axis, 2] = quadratic(s)[:3]
        base += (i + halo - 1) * strides[axis]
    total = 0.0
    for term in range(3**dim):
        rest, product, place = term, 1.0, base
        for axis in range(dim):
            product *= weights[axis, rest % 3]
            place += (rest % 3) * strides[axis]
            rest //= 3
        total += product * densities[place]
    return total


@njit(error_model="numpy", cache=True, nogil=True)
def place_of(share, slope):
    """Where in a cell [-1/2, 1/2] of density 1 + slope s the mass up to s is a share of its own."""
    c = 0.5 - 0.125 * slope - share
    return -2.0 * c / (1.0 + math.sqrt(max(0.0, 1.0 - 2.0 * slope * c)))


@njit(error_model="numpy", cache=True, nogil=True)
def _length(side):
    """Euclidean length of a vector."""
    total = 0.0
    for i in range(side.size):
        total += side[i] ** 2
    return math.sqrt(total)


@njit(error_model="numpy", cache=True, nogil=True)
def _edges(shares, count, total, slope, edges):
    """``edges`` (count + 1): places in the source cell of the faces between layers of boxes."""
    edges[0], below = -0.5, 0.0
    for k in range(count):
        below += shares[k] / total
        edges[k + 1] = place_of(below, slope)
    edges[count] = 0.5


@njit(error_model="numpy", cache=True, nogil=True)
def _deliver(p, half, shape, index, low, high, mass, masses, moments):
    """Add the mass of one box to the cells that it overlaps, and its places ``low`` to ``high``.

    ``p`` and ``half``: its centre and half its widths, in cells; ``index``: of its source cell.
    """
    dim, cells = p.size, 1
    first, spans = np.empty(dim, np.int64), np.empty(dim, np.int64)
    for axis in range(dim):
        first[axis] = cell(p[axis] - half[axis], shape[axis])[0]
        spans[axis] = cell(p[axis] + half[axis], shape[axis])[0] - first[axis] + 1
        cells *= spans[axis]
    place = np.empty(dim)
    for number in range(cells):
        rest, share, flat = number, mass, 0
        for axis in range(dim - 1, -1, -1):
            i = first[axis] + rest % spans[axis]
            rest //= spans[axis]
            a = max(p[axis] - half[axis], i - 0.5)
            b = min(p[axis] + half[axis], i + 0.5)
            width = 2.0 * half[axis]
            share *= max(0.0, b - a) / width
            there = 0.5 + (0.5 * (a + b) - p[axis]) / width
            place[axis] = index[axis] + low[axis] + there * (high[axis] - low[axis])
            stride = 1
            for other in range(axis + 1, dim):
                stride *= shape[other]
            flat += i * stride
        masses[flat] += share
        for axis in range(dim):
            moments[axis, flat] += share * place[axis]


@njit(error_model="numpy", cache=True, nogil=True)
def arrivals(spline, strides, shape, source, images, bounds, masses, moments):
    """Masses and moments that arrive in the cells of the target.

    ``spline`` is nu's, flat and padded with ``strides``, and ``shape`` the target's.  ``source``:
    shape, masses (N,) and slopes (N, d) of the source's density by its value, a cell.  ``images``:
    g (N, d) and A (N, d, d) in target cells.  ``bounds``: fewest and most boxes along a side.
    ``masses`` (M,) and ``moments`` (d, M), in source cells, are added to.
    """
    densities, halo = spline
    cells, given, slopes = source
    centres, sides = images
    fewest, most = bounds
    dim = shape.size
    index, counts = np.empty(dim, np.int64), np.empty(dim, np.int64)
    p, half, low, high = np.empty(dim), np.empty(dim), np.empty(dim), np.empty(dim)
    weights, shares, edges = np.empty((dim, 3)), np.empty((dim, most)), np.empty((dim, most + 1))
    values = np.empty(most**dim)
    for c in range(given.size):
        rest, boxes = c, 1
        for axis in range(dim - 1, -1, -1):
            index[axis] = rest % cells[axis]
            rest //= cells[axis]
            counts[axis] = max(fewest, samples(_length(sides[c, :, axis]), most))
            boxes *= counts[axis]
            widest, wide = 0.5 * shape[axis], 0.5 * abs(sides[c, axis, axis]) / counts[axis]
            half[axis] = min(max(wide, THINNEST_CELLS), widest)
        shares[:] = 0.0
        for box in range(boxes):
            _centre(box, counts, centres[c], sides[c], half, shape, p)
            values[box] = _value(densities, strides, shape, halo, p, weights)
            rest = box
            for axis in range(dim):
                shares[axis, rest % counts[axis]] += values[box]
                rest //= counts[axis]
        total = values[:boxes].sum()
        for axis in range(dim):
            _edges(shares[axis], counts[axis], total, slopes[c, axis], edges[axis])
        for box in range(boxes):
            _centre(box, counts, centres[c], sides[c], half, shape, p)
            rest = box
            for axis in range(dim):
                k = rest % counts[axis]
                low[axis], high[axis] = edges[axis, k], edges[axis, k + 1]
                rest //= counts[axis]
            mass = given[c] * values[box] / total
            _deliver(p, half, shape, index, low, high, mass, masses, moments)


@njit(error_model="numpy", cache=True, nogil=True)
def _centre(box, counts, centre, side, half, shape, p):
    """``p``: the centre of a box, moved so that the box lies in the target's."""
    dim = p.size
    p[:] = centre
    rest = box
    for axis in range(dim):
        x = (rest % counts[axis] + 0.5) / counts[axis] - 0.5
        rest //= counts[axis]
        for i in range(dim):
            p[i] += side[i, axis] * x
    for i in range(dim):
        p[i] = min(max(p[i], half[i] - 0.5), shape[i] - 0.5 - half[i])
