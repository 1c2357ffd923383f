"""Convex polygons: the nearest point, and the parts of grid cells inside.

A polygon is its vertices (m, 2) counterclockwise, with ``centre`` a point inside and ``angles`` the
directions in which the vertices are seen from there, increasing.
"""

import math

import numpy as np
from numba import njit

# Shares of cells this close to 0 or 1 are rounding.
ROUNDED_SHARE = 1e-12


@njit(error_model="numpy", cache=True, nogil=True)
def _edge(x, y, centre, angles):
    """The edge towards which a point is seen from the centre: from vertex k to k + 1."""
    angle = math.atan2(y - centre[1], x - centre[0])
    k = np.searchsorted(angles, angle, side="right") - 1
    return k if k >= 0 else angles.size - 1


@njit(error_model="numpy", cache=True, nogil=True)
def _beyond(x, y, vertices, k):
    """How far a point lies beyond the line of edge k, times the length of the edge."""
    n = k + 1 if k + 1 < vertices.shape[0] else 0
    dx, dy = vertices[n, 0] - vertices[k, 0], vertices[n, 1] - vertices[k, 1]
    return dy * (x - vertices[k, 0]) - dx * (y - vertices[k, 1])


@njit(error_model="numpy", cache=True, nogil=True)
def inside(points, vertices, centre, angles, slack, out):
    """``out`` (m,) tells which points lie in the polygon or within ``slack`` (a length) of it."""
    for p in range(points.shape[0]):
        x, y = points[p, 0], points[p, 1]
        k = _edge(x, y, centre, angles)
        n = k + 1 if k + 1 < vertices.shape[0] else 0
        length = math.hypot(vertices[n, 0] - vertices[k, 0], vertices[n, 1] - vertices[k, 1])
        out[p] = _beyond(x, y, vertices, k) <= slack * length


@njit(error_model="numpy", cache=True, nogil=True)
def nearest(points, vertices, centre, angles, out):
    """``out`` (m, 2) receives the points of the polygon nearest to ``points``."""
    # from the edge towards which an outside point is seen, which is visible from it, the distance
    # falls along visible edges down to its only minimum
    m = vertices.shape[0]
    for p in range(points.shape[0]):
        x, y = points[p, 0], points[p, 1]
        out[p, 0], out[p, 1] = x, y
        k = _edge(x, y, centre, angles)
        if not _beyond(x, y, vertices, k) > 0.0:
            continue
        turn = 0
        for _ in range(m):
            n = k + 1 if k + 1 < m else 0
            ax, ay = vertices[k, 0], vertices[k, 1]
            dx, dy = vertices[n, 0] - ax, vertices[n, 1] - ay
            t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
            out[p, 0] = ax + min(1.0, max(0.0, t)) * dx
            out[p, 1] = ay + min(1.0, max(0.0, t)) * dy
            step = 1 if t > 1.0 else (-1 if t < 0.0 else 0)
            if step == 0 or step == -turn:
                break
            turn = step
            k = (k + step + m) % m


@njit(error_model="numpy", cache=True, nogil=True)
def _clip(cell, count, vertices, k, clipped):
    """Cut a polygon of ``count`` vertices with the half-plane of edge k; returns the new count."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        a = _beyond(cell[i, 0], cell[i, 1], vertices, k)
        b = _beyond(cell[j, 0], cell[j, 1], vertices, k)
        if a <= 0.0:
            clipped[kept, 0], clipped[kept, 1] = cell[i, 0], cell[i, 1]
            kept += 1
        if (a < 0.0 and b > 0.0) or (a > 0.0 and b < 0.0):
            t = a / (a - b)
            clipped[kept, 0] = cell[i, 0] + t * (cell[j, 0] - cell[i, 0])
            clipped[kept, 1] = cell[i, 1] + t * (cell[j, 1] - cell[i, 1])
            kept += 1
    return kept


@njit(error_model="numpy", cache=True, nogil=True)
def _area(cell, count):
    """Area and centroid of a polygon of ``count`` vertices, about its first vertex."""
    x0, y0 = cell[0, 0], cell[0, 1]
    area = mx = my = 0.0
    for i in range(1, count - 1):
        ax, ay = cell[i, 0] - x0, cell[i, 1] - y0
        bx, by = cell[i + 1, 0] - x0, cell[i + 1, 1] - y0
        cross = 0.5 * (ax * by - ay * bx)
        area += cross
        mx += cross * (ax + bx) / 3
        my += cross * (ay + by) / 3
    if area <= 0.0:
        return 0.0, x0, y0
    return area, x0 + mx / area, y0 + my / area


@njit(error_model="numpy", cache=True, nogil=True)
def _spans(first, spacing, vertices, inner, outer):
    """Where a polygon lies on lines x = const, and between them.

    ``inner`` (n + 1, 2) receives the lowest and highest y on the line x = first + i spacing,
    ``outer`` (n, 2) those between the lines i and i + 1; lowest > highest where it does not reach.
    """
    n = outer.shape[0]
    inner[:, 0], inner[:, 1] = math.inf, -math.inf
    outer[:, 0], outer[:, 1] = math.inf, -math.inf
    for k in range(vertices.shape[0]):
        m = k + 1 if k + 1 < vertices.shape[0] else 0
        ax, ay, bx, by = vertices[k, 0], vertices[k, 1], vertices[m, 0], vertices[m, 1]
        column = min(n - 1, max(0, math.floor((ax - first) / spacing)))
        outer[column, 0], outer[column, 1] = min(outer[column, 0], ay), max(outer[column, 1], ay)
        if ax > bx:
            ax, ay, bx, by = bx, by, ax, ay
        begin = max(0, math.ceil((ax - first) / spacing))
        end = min(n, math.floor((bx - first) / spacing))
        for i in range(begin, end + 1):
            share = (first + i * spacing - ax) / (bx - ax) if bx > ax else 0.0
            y = ay + min(1.0, max(0.0, share)) * (by - ay)
            inner[i, 0], inner[i, 1] = min(inner[i, 0], y), max(inner[i, 1], y)
            if bx == ax:
                inner[i, 0], inner[i, 1] = min(inner[i, 0], by), max(inner[i, 1], by)
    for i in range(n):
        for line in (i, i + 1):
            outer[i, 0] = min(outer[i, 0], inner[line, 0])
            outer[i, 1] = max(outer[i, 1], inner[line, 1])


@njit(error_model="numpy", cache=True, nogil=True)
def _edges_between(low, high, vertices, near):
    """Number of the edges that meet a column, listed in ``near``: there they bound the polygon."""
    count = 0
    for k in range(vertices.shape[0]):
        a, b = vertices[k, 0], vertices[k + 1 if k + 1 < vertices.shape[0] else 0, 0]
        if min(a, b) <= high and max(a, b) >= low:
            near[count] = k
            count += 1
    return count


@njit(error_model="numpy", cache=True, nogil=True)
def cut_cells(lower, spacing, vertices, fractions, centroids):
    """Share of every cell (n0, n1) that lies in the polygon, and the centroid of that part.

    Shares within rounding of 0 and 1 are 0 and 1; cells without a part inside keep their
    ``centroids`` (n0, n1, 2).  Cells near the edge alone are clipped: of a column those between
    what the polygon spans somewhere in it and what it spans on both of its sides.
    """
    m = vertices.shape[0]
    n0, n1 = fractions.shape
    inner, outer = np.empty((n0 + 1, 2)), np.empty((n0, 2))
    _spans(lower[0], spacing[0], vertices, inner, outer)
    cell, clipped = np.empty((m + 8, 2)), np.empty((m + 8, 2))
    near = np.empty(m, np.int64)
    slack = ROUNDED_SHARE * spacing[0]
    for i in range(n0):
        x0, x1 = lower[0] + i * spacing[0], lower[0] + (i + 1) * spacing[0]
        edges = _edges_between(x0 - slack, x1 + slack, vertices, near)
        low, high = max(inner[i, 0], inner[i + 1, 0]), min(inner[i, 1], inner[i + 1, 1])
        for j in range(n1):
            y0, y1 = lower[1] + j * spacing[1], lower[1] + (j + 1) * spacing[1]
            fractions[i, j] = 0.0
            if y1 <= outer[i, 0] or y0 >= outer[i, 1]:
                continue
            if y0 >= low and y1 <= high:
                fractions[i, j] = 1.0
                continue
            cell[0, 0], cell[0, 1], cell[1, 0], cell[1, 1] = x0, y0, x1, y0
            cell[2, 0], cell[2, 1], cell[3, 0], cell[3, 1] = x1, y1, x0, y1
            count = 4
            for e in range(edges):
                k = near[e]
                cut = False
                for c in range(count):
                    cut = cut or _beyond(cell[c, 0], cell[c, 1], vertices, k) > 0.0
                if cut:
                    count = _clip(cell, count, vertices, k, clipped)
                    for c in range(count):
                        cell[c, 0], cell[c, 1] = clipped[c, 0], clipped[c, 1]
            if count < 3:
                continue
            area, x, y = _area(cell, count)
            share = area / (spacing[0] * spacing[1])
            if share > ROUNDED_SHARE:
                fractions[i, j] = share if share < 1.0 - ROUNDED_SHARE else 1.0
                centroids[i, j, 0], centroids[i, j, 1] = x, y
