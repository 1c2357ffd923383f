"""Ghost values of a potential whose gradient is to fill a convex set Y: mirrored minima.

A ghost cell g lies as deep outside a face of the source box as the row of cells that it mirrors
lies inside, so that the midpoint of g and any x' of that row is a point of the face.  There the
gradient of u lies on the boundary of Y, hence with the support function h_Y

    u(g) = min over x' in the mirrored row of u(x') + h_Y(g - x'):

every x' is an upper bound, for grad u at the midpoint lies in Y; one of them, in the direction of
the outward normal of Y at that gradient, is reached.  Both to third order in the distance.  The
minimum is monotone in u, adds constants to u unchanged, and for a box Y it is even reflection.

Index units throughout: a vertex of Y is (h_i (y_i - lower_i)), the quadratic part of u is
sum_i metric_i (index_i + 1/2)^2 / 2, and Y is a polygon.  Towards a face only a *chain* of its
vertices counts, sorted so that the tangential coordinate increases: vertex m is the support point
of the directions d with breaks[m - 1] <= d_tangential / d_normal <= breaks[m].

Between two cells of the row u is interpolated by the parabola of the mean second difference
around them, and for half a cell beyond the last ones, up to the faces: affine maps are exact.
``bent`` false leaves the chords between the cells, which are strictly monotone but miss the ghost
by a second-order term.
"""

import math

import numpy as np
from numba import njit

# Pending intervals of the divide and conquer over a row: at most log2 of its length.
MOST_PENDING = 64


@njit(error_model="numpy", cache=True, nogil=True)
def spread(padded, positions, nodes, weights):
    """Ghosts of a direction: padded[positions[g]] = sum_m weights[g, m] padded[nodes[g, m]]."""
    for g in range(positions.size):
        value = 0.0
        for m in range(nodes.shape[1]):
            value += weights[g, m] * padded[nodes[g, m]]
        padded[positions[g]] = value


@njit(error_model="numpy", cache=True, nogil=True)
def nearest_nodes(row, table, centre, argmin):
    """argmin_j row[j] + table[centre + i - j] for every i of the row; the table is convex."""
    # the leftmost minimisers increase with i, so that halving the range of i halves that of j
    n = row.size
    stack = np.empty((MOST_PENDING, 4), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, n, 0, n
    top = 1
    while top > 0:
        top -= 1
        first, last, low, high = stack[top]
        if first >= last:
            continue
        i = (first + last) // 2
        best, where = math.inf, low
        for j in range(low, high):
            value = row[j] + table[centre + i - j]
            if value < best:
                best, where = value, j
        argmin[i] = where
        stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = first, i, low, where + 1
        stack[top + 1, 0], stack[top + 1, 1] = i + 1, last
        stack[top + 1, 2], stack[top + 1, 3] = where, high
        top += 2


@njit(error_model="numpy", cache=True, nogil=True)
def _least(row, table, centre, first, last):
    """argmin_j row[j] + table[centre - j] over first <= j < last."""
    best = first
    for j in range(first + 1, last):
        if row[j] + table[centre - j] < row[best] + table[centre - best]:
            best = j
    return best


@njit(error_model="numpy", cache=True, nogil=True)
def _vertex(breaks, ratio):
    """Index of the support vertex of a direction: how many breaks lie below the ratio."""
    low, high = 0, breaks.size
    while low < high:
        middle = (low + high) // 2
        if breaks[middle] < ratio:
            low = middle + 1
        else:
            high = middle
    return low


@njit(error_model="numpy", cache=True, nogil=True)
def _bend(row, a, bent):
    """Mean second difference around the cells a and a + 1 (>= 0), and on which side it exists."""
    left, right = a > 0, a + 2 < row.size
    if not bent or not (left or right):
        return 0.0, False, False
    total = 0.0
    if left:
        total += row[a - 1] - 2 * row[a] + row[a + 1]
    if right:
        total += row[a] - 2 * row[a + 1] + row[a + 2]
    if left and right:
        total *= 0.5
    if total <= 0.0:
        return 0.0, False, False
    return total, left, right


@njit(error_model="numpy", cache=True, nogil=True)
def _ends(j, n, faces):
    """Range of t on the segment from j to j + 1: the outermost parabolas go on to the faces."""
    before = -0.5 if faces and j == 0 else 0.0
    return before, 1.5 if faces and j == n - 2 else 1.0


@njit(error_model="numpy", cache=True, nogil=True)
def _on_segment(ua, ub, bend, ends, offset, distance, shift, chain):
    """Minimiser t between the ends and minimum of u(a + t) + h(distance, offset - t)."""
    # the derivative ub - ua - bend (1 - 2 t) / 2 - tangent[m] increases with t, the support vertex
    # m decreases: bisect over the vertices, then solve within the piece of one of them
    before, after = ends
    normal, tangent, breaks = chain
    slope = ub - ua - 0.5 * bend
    last = _vertex(breaks, (offset - after) / distance)
    high = _vertex(breaks, (offset - before) / distance)
    low = last
    # the largest m whose piece ends with a derivative >= 0
    while low < high:
        m = (low + high + 1) // 2
        end = min(after, offset - distance * breaks[m - 1])
        if slope + bend * end - tangent[m] >= 0.0:
            low = m
        else:
            high = m - 1
    m = low
    begin, end = before, after
    if m < breaks.size:
        begin = max(before, offset - distance * breaks[m])
    if m > 0:
        end = max(begin, min(after, offset - distance * breaks[m - 1]))
    t = begin
    if slope + bend * end - tangent[m] < 0.0:
        t = end
    elif bend > 0.0:
        t = min(end, max(begin, (tangent[m] - slope) / bend))
    value = (1 - t) * ua + t * ub - 0.5 * bend * t * (1 - t)
    return t, value + distance * (normal[m] - shift) + (offset - t) * tangent[m]


@njit(error_model="numpy", cache=True, nogil=True)
def extend_face_2d(padded, face, bent, nodes, weights):
    """Fill the ghosts beyond a face; ``nodes``, ``weights`` (ghosts, 4): their derivatives."""
    start, inward, along, cells, metric, chain, shifts, tables, slots = face
    deep, n, halo = cells[0], cells[1], tables.shape[0]
    row = np.empty(n)
    argmin = np.empty(n, np.int64)
    centre = n + halo - 1
    for k in range(halo):
        depth = min(k, deep - 1)
        base = start + depth * inward
        distance = k + depth + 1.0
        for j in range(n):
            row[j] = padded[base + j * along] + 0.5 * metric * (j + 0.5) ** 2
        nearest_nodes(row, tables[k], centre, argmin)
        for i in range(-halo, n + halo):
            # the midpoint must stay on the face: no cell beyond the mirror image of i
            first = min(n - 1, max(0, -1 - i))
            last = max(1, min(n, 2 * n - i))
            if 0 <= i < n:
                first, last, best = 0, n, argmin[i]
            else:
                best = _least(row, tables[k], centre + i, first, last)
            a, t, value = best, 0.0, row[best] + tables[k, centre + i - best]
            for j in range(max(first, best - 1), min(last - 1, best + 1)):
                bend = _bend(row, j, bent)[0]
                ends = _ends(j, n, bend > 0.0 and 0 <= i < n)
                s, candidate = _on_segment(
                    row[j], row[j + 1], bend, ends, float(i - j), distance, shifts[k], chain
                )
                if candidate < value:
                    a, t, value = j, s, candidate
            value -= 0.5 * metric * (i + 0.5) ** 2
            slot, target = slots[k, i + halo], start - (k + 1) * inward + i * along
            if slot < 0 and padded[target] <= value:
                continue
            padded[target] = value
            slot = slot if slot >= 0 else -1 - slot
            _weigh(row, a, t, bent, nodes[slot], weights[slot])
            for m in range(4):
                nodes[slot, m] = base + nodes[slot, m] * along


@njit(error_model="numpy", cache=True, nogil=True)
def _weigh(row, a, t, bent, cells, weights):
    """Derivative of the interpolant at a + t with respect to the cells a - 1, ..., a + 2."""
    n = row.size
    if t == 0.0 or a + 1 == n:
        for m in range(4):
            cells[m] = a
            weights[m] = 1.0 if m == 0 else 0.0
        return
    _, left, right = _bend(row, a, bent)
    for m in range(4):
        cells[m] = min(n - 1, max(0, a - 1 + m))
    share = 0.5 * t * (1 - t)
    if left and right:
        share *= 0.5
    w0, w1, w2, w3 = 0.0, 1 - t, t, 0.0
    if left:
        w0 -= share
        w1 += 2 * share
        w2 -= share
    if right:
        w1 -= share
        w2 += 2 * share
        w3 -= share
    weights[0], weights[1], weights[2], weights[3] = w0, w1, w2, w3
