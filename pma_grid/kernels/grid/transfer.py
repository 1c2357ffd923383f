"""Transfers between grids of one box, axis by axis on (outer, n, inner) views, any two sizes."""

from numba import njit


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def restrict_axis(fine, first, share, coarse):
    """Sum fine cells: i = first[c].. give ``share[i]`` to the coarse cell c, the rest to c + 1."""
    for o in range(fine.shape[0]):
        for c in range(coarse.shape[1]):
            i = first[c]
            s = share[i]
            for k in range(fine.shape[2]):
                coarse[o, c, k] = s * fine[o, i, k]
            for i in range(first[c] + 1, first[c + 1]):
                s = share[i]
                for k in range(fine.shape[2]):
                    coarse[o, c, k] += s * fine[o, i, k]
            i = first[c] - 1
            if i >= 0 and share[i] < 1:
                s = 1 - share[i]
                for k in range(fine.shape[2]):
                    coarse[o, c, k] += s * fine[o, i, k]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def interpolate_axis(coarse, index, weight, fine):
    """fine[i] = sum_k weight[i, k] coarse[index[i, k]] along the middle axis."""
    points = index.shape[1]
    for o in range(fine.shape[0]):
        for i in range(fine.shape[1]):
            a, b = index[i, 0], index[i, 1]
            v, w = weight[i, 0], weight[i, 1]
            for j in range(fine.shape[2]):
                fine[o, i, j] = v * coarse[o, a, j] + w * coarse[o, b, j]
            for k in range(2, points, 2):
                a, b = index[i, k], index[i, k + 1]
                v, w = weight[i, k], weight[i, k + 1]
                for j in range(fine.shape[2]):
                    fine[o, i, j] += v * coarse[o, a, j] + w * coarse[o, b, j]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def add_second_difference(values, first, last, out):
    """out += second difference along the middle axis at first..last; ends copy neighbours."""
    n = values.shape[1]
    for o in range(values.shape[0]):
        for i in range(first, last):
            c = min(max(i, 1), n - 2)
            for k in range(values.shape[2]):
                out[o, i, k] += values[o, c + 1, k] - 2 * values[o, c, k] + values[o, c - 1, k]


@njit(error_model="numpy", cache=True, nogil=True)
def largest_difference(values, first, last):
    """The largest difference of neighbours along the middle axis, from first..last to the next."""
    largest = 0.0
    for o in range(values.shape[0]):
        for i in range(first, min(last, values.shape[1] - 1)):
            for k in range(values.shape[2]):
                largest = max(largest, abs(values[o, i + 1, k] - values[o, i, k]))
    return largest
