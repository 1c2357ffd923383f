"""Log-sum-exp of Gaussian kernels along lines, safe for every width of the kernel.

With equally spaced x_i and y_j,

    out_j = log sum_i exp(l_i - (x_i - y_j)^2 / (2 eps))
          = -y_j^2 / (2 eps) + log sum_i exp(x_i y_j / eps - U_i),    U_i = x_i^2 / (2 eps) - l_i.

Two facts make this fast and exact.  The terms that count, those within ``depth`` of the largest,
lie between two vertices of the lower convex hull of U that move monotonically with j: windows cost
nothing to find.  And for outputs close together, centred at y_c,

    exp(x_i y_j / eps - U_i) = exp(x_i y_c / eps - U_i) exp(x_i (y_j - y_c) / eps),

where the last factor is a table over the two offsets (i - i_c)(j - j_c): one exponential per term
of the block of outputs, not one per pair.  Blocks end where a factor could leave the range of
floating-point numbers.
"""

import numpy as np
from numba import njit

from pma_grid.kernels.compilation import ANY_ORDER


@njit(error_model="numpy", cache=True, nogil=True)
def tilt_table(scale, half_outputs, half_inputs, limit, out):
    """out[j + J, i + I] = exp(scale i j) for offsets up to J and I; exponents cut at ``limit``."""
    for j in range(-half_outputs, half_outputs + 1):
        for i in range(-half_inputs, half_inputs + 1):
            exponent = min(max(scale * i * j, -limit), limit)
            out[j + half_outputs, i + half_inputs] = np.exp(exponent)


@njit(error_model="numpy", cache=True, nogil=True)
def _lower_hull(x, U, hull):
    """Indices of the vertices of the lower convex hull of the finite points; returns how many."""
    top = 0
    for i in range(x.size):
        if U[i] == np.inf:
            continue
        while top > 1:
            a, b = hull[top - 2], hull[top - 1]
            if (U[b] - U[a]) * (x[i] - x[a]) < (U[i] - U[a]) * (x[b] - x[a]):
                break
            top -= 1
        hull[top] = i
        top += 1
    return top


@njit(error_model="numpy", cache=True, nogil=True)
def _windows(x, U, y, slope, hull, top, depth, first, last, highest):
    """First and last index of the terms that count for each output, and the largest exponent."""
    k = low = high = 0
    for j in range(y.size):
        t = slope * y[j]
        best = x[hull[k]] * t - U[hull[k]]
        while k + 1 < top:
            value = x[hull[k + 1]] * t - U[hull[k + 1]]
            if value < best:
                break
            best = value
            k += 1
        floor = best - depth
        while low + 1 <= k and x[hull[low + 1]] * t - U[hull[low + 1]] < floor:
            low += 1
        high = max(high, k)
        while high + 1 < top and x[hull[high]] * t - U[hull[high]] >= floor:
            high += 1
        first[j] = hull[low]
        last[j] = hull[high]
        highest[j] = best


@njit(error_model="numpy", cache=True, nogil=True, fastmath=ANY_ORDER)
def _dot(a, b):
    """Inner product."""
    total = a[0] * b[0]
    for i in range(1, a.size):
        total += a[i] * b[i]
    return total


@njit(error_model="numpy", cache=True, nogil=True)
def _spread(line, weight, pad, x, half, U):
    """U over the line continued evenly by ``pad`` cells on each side (period 2n)."""
    n = line.size
    for i in range(x.size):
        k = (i - pad) % (2 * n)
        if k >= n:
            k = 2 * n - 1 - k
        value = line[k] + weight[i]
        U[i] = half * x[i] * x[i] - value if value > -np.inf else np.inf


@njit(error_model="numpy", cache=True, nogil=True)
def softmax_lines(lines, x, pad, weight, y, tilt, out):
    """out[r, j] = log sum_i exp(lines[r, i] + weight_i - slope (x_i - y_j)^2 / 2), slope = 1/eps.

    ``x`` are the abscissae of the line continued evenly by ``pad`` cells on both sides, where
    ``weight`` is added.  -inf where a line is empty.  Sums are of the type of the tilt's table.
    """
    slope, table, limit, depth = tilt
    n, m = x.size, y.size
    half_outputs, half_inputs = table.shape[0] // 2, table.shape[1] // 2
    hx = x[1] - x[0] if n > 1 else 0.0
    hy = y[1] - y[0] if m > 1 else 0.0
    U, hull = np.empty(n), np.empty(n, np.int64)
    first, last, highest = np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m)
    v = np.empty(n, table.dtype)
    for r in range(lines.shape[0]):
        _spread(lines[r], weight, pad, x, 0.5 * slope, U)
        top = _lower_hull(x, U, hull)
        if top == 0:
            out[r, :] = -np.inf
            continue
        _windows(x, U, y, slope, hull, top, depth, first, last, highest)
        start = 0
        while start < m:
            end = start + 1
            while end < m and end - start < 2 * half_outputs:
                # both offsets from the centres, times the exponent of one step of each
                width = 0.5 * (last[end] - first[start] + 1) * hx
                if 0.5 * (end + 1 - start) * hy * width * slope > limit:
                    break
                end += 1
            centre = (start + end - 1) // 2
            low, high = first[start], last[end - 1]
            middle = (low + high) // 2
            t = slope * y[centre]
            for i in range(low, high + 1):
                v[i] = np.exp(x[i] * t - U[i] - highest[centre])
            for j in range(start, end):
                a, b = first[j], last[j] + 1
                row = table[j - centre + half_outputs]
                total = _dot(v[a:b], row[a - middle + half_inputs : b - middle + half_inputs])
                shift = slope * (x[middle] * (y[j] - y[centre]) - 0.5 * y[j] * y[j])
                out[r, j] = np.log(total) + highest[centre] + shift
            start = end


@njit(error_model="numpy", cache=True, nogil=True, fastmath=ANY_ORDER)
def balance(scaling, sums, masses, out):
    """out = masses / sums; returns sum |scaling sums - masses|, and the least and largest out."""
    error = 0.0
    least, largest = np.inf, 0.0
    for i in range(masses.size):
        error += abs(scaling[i] * sums[i] - masses[i])
        new = masses[i] / sums[i]
        out[i] = new
        least = min(least, new)
        largest = max(largest, new)
    return error, least, largest
