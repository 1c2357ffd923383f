"""Transfers between grids of one box, axis by axis on (outer, n, inner) views, any two sizes."""

from numba import njit


@njit(error_model="numpy", cache=True, fastmath=True)
def restrict_axis(fine, parent, share, coarse):
    """Sum fine cells into coarse ones: i gives ``share[i]`` to ``parent[i]``, the rest beyond."""
    coarse[:] = 0
    for o in range(fine.shape[0]):
        for i in range(fine.shape[1]):
            c = parent[i]
            s = share[i]
            for k in range(fine.shape[2]):
                coarse[o, c, k] += s * fine[o, i, k]
            if s < 1:
                for k in range(fine.shape[2]):
                    coarse[o, c + 1, k] += (1 - s) * fine[o, i, k]


@njit(error_model="numpy", cache=True, fastmath=True)
def interpolate_axis(coarse, index, weight, fine):
    """fine[i] = sum_k weight[i, k] coarse[index[i, k]] along the middle axis."""
    points = index.shape[1]
    for o in range(fine.shape[0]):
        for i in range(fine.shape[1]):
            for j in range(fine.shape[2]):
                value = weight[i, 0] * coarse[o, index[i, 0], j]
                for k in range(1, points):
                    value += weight[i, k] * coarse[o, index[i, k], j]
                fine[o, i, j] = value


@njit(error_model="numpy", cache=True, fastmath=True)
def add_second_difference(values, out):
    """out += second difference along the middle axis; the end cells copy their neighbours'."""
    n = values.shape[1]
    for o in range(values.shape[0]):
        for i in range(n):
            c = min(max(i, 1), n - 2)
            for k in range(values.shape[2]):
                out[o, i, k] += values[o, c + 1, k] - 2 * values[o, c, k] + values[o, c - 1, k]
