"""Discrete Legendre transforms along lines, in linear time."""

import numpy as np
from numba import njit


@njit(error_model="numpy", cache=True, nogil=True)
def conjugate_lines(x, values, y, out, argmax):
    """out[l, j] = max_i x_i y_j - values[l, i] and the i that attains it, for sorted x and y.

    The maximum runs along the lower convex hull of (x_i, values_i), merged with the sorted slopes.
    Points of value +inf do not exist; a line without any gives -inf and 0.
    """
    n = x.size
    hull = np.empty(n, np.int64)
    for line in range(values.shape[0]):
        v = values[line]
        top = 0
        for i in range(n):
            if v[i] == np.inf:
                continue
            while top > 1:
                a, b = hull[top - 2], hull[top - 1]
                # drop b where it lies on or above the chord from a to i; slopes, whose size is that
                # of y, and not products, which leave the range of floats where boxes are tiny
                if (v[b] - v[a]) / (x[b] - x[a]) < (v[i] - v[a]) / (x[i] - x[a]):
                    break
                top -= 1
            hull[top] = i
            top += 1
        if top == 0:
            out[line] = -np.inf
            argmax[line] = 0
            continue
        k = 0
        for j in range(y.size):
            best = x[hull[k]] * y[j] - v[hull[k]]
            while k + 1 < top:
                value = x[hull[k + 1]] * y[j] - v[hull[k + 1]]
                if value < best:
                    break
                best = value
                k += 1
            out[line, j] = best
            argmax[line, j] = hull[k]
