"""Operators with one set of lattice vectors per cell, in any dimension.

A cell carries ``m`` lattice vectors e_k (1, 3, 6 of them in 1, 2, 3 dimensions) as offsets o_k into
a padded array, and the operator reads

    (J q)(x) = sum_k w_k (q(x+e_k) + q(x-e_k) - 2 q(x)) + sum_i b_i (q(x+1_i) - q(x-1_i)) / 2.

``m`` is a compile-time constant of each instantiation, so that the inner loop is unrolled.
"""

from numba import njit


@njit(error_model="numpy", cache=True, nogil=True)
def fill_halo(padded, halo):
    """Reflect axis 1 of (outer, n + 2 halo, inner) evenly about its faces, for any n >= 1."""
    n = padded.shape[1] - 2 * halo
    for o in range(padded.shape[0]):
        for k in range(halo):
            s = k % (2 * n)
            if s >= n:
                s = 2 * n - 1 - s
            for i in range(padded.shape[2]):
                padded[o, halo - 1 - k, i] = padded[o, halo + s, i]
                padded[o, halo + n + k, i] = padded[o, halo + n - 1 - s, i]


@njit(error_model="numpy", cache=True, nogil=True)
def scatter_rows(values, row_start, n_last, padded):
    """Copy the rows of ``values`` (rows, n_last) into the interior of the flat ``padded`` array."""
    for row in range(row_start.size):
        p = row_start[row]
        for j in range(n_last):
            padded[p + j] = values[row, j]


@njit(error_model="numpy", cache=True, nogil=True)
def gather_rows(padded, row_start, n_last, values):
    """Copy the interior rows of the flat ``padded`` array into ``values``."""
    for row in range(row_start.size):
        p = row_start[row]
        for j in range(n_last):
            values[row, j] = padded[p + j]


@njit(error_model="numpy", cache=True, nogil=True)
def add_rows(values, row_start, n_last, padded):
    """Add the rows of ``values`` to the interior of the flat ``padded`` array."""
    for row in range(row_start.size):
        p = row_start[row]
        for j in range(n_last):
            padded[p + j] += values[row, j]


def _make_apply(m, dim):
    @njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
    def apply(padded, row_start, n_last, strides, offsets, weights, drift, out):
        """``out`` (N,) receives J q for the flat padded field q."""
        for row in range(row_start.size):
            p = row_start[row]
            c = row * n_last
            for _ in range(n_last):
                centre = 2 * padded[p]
                value = 0.0
                for k in range(m):
                    o = offsets[c, k]
                    value += weights[c, k] * (padded[p + o] + padded[p - o] - centre)
                for i in range(dim):
                    s = strides[i]
                    value += 0.5 * drift[c, i] * (padded[p + s] - padded[p - s])
                out[c] = value
                p += 1
                c += 1

    return apply


# Lattice vectors of a cell, by the number of dimensions.
VECTORS_A_CELL = {1: 1, 2: 3, 3: 6}
APPLY = {dim: _make_apply(m, dim) for dim, m in VECTORS_A_CELL.items()}


@njit(error_model="numpy", cache=True, nogil=True)
def energy(padded, row_start, n_last, offsets, weights, measure):
    """Half the weighted sum of squared differences along the stencil's edges, both ways."""
    total = 0.0
    for row in range(row_start.size):
        p = row_start[row]
        c = row * n_last
        for _ in range(n_last):
            value = 0.0
            for k in range(offsets.shape[1]):
                o = offsets[c, k]
                ahead, behind = padded[p + o] - padded[p], padded[p - o] - padded[p]
                value += weights[c, k] * (ahead * ahead + behind * behind)
            total += 0.5 * measure[c] * value
            p += 1
            c += 1
    return total


@njit(error_model="numpy", cache=True, nogil=True)
def _reflect(i, n):
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@njit(error_model="numpy", cache=True, nogil=True)
def neighbour(cell, vector, sign, shape):
    """Flat index of the (reflected) neighbour of the flat index ``cell`` along sign * vector."""
    out = 0
    stride = 1
    for axis in range(shape.size - 1, -1, -1):
        n = shape[axis]
        out += stride * _reflect(cell % n + sign * vector[axis], n)
        cell //= n
        stride *= n
    return out


@njit(error_model="numpy", cache=True, nogil=True)
def assemble(shape, vectors, weights, drift, rows, cols, data):
    """Triplets of J (duplicates to be summed): 2 m + 1 + 2 d a cell, reflection built in."""
    n_cells, m, dim = vectors.shape
    unit = vectors[0, 0].copy()
    t = 0
    for c in range(n_cells):
        diagonal = 0.0
        for k in range(m):
            for sign in (1, -1):
                rows[t] = c
                cols[t] = neighbour(c, vectors[c, k], sign, shape)
                data[t] = weights[c, k]
                diagonal -= weights[c, k]
                t += 1
        for i in range(dim):
            unit[:] = 0
            unit[i] = 1
            for sign in (1, -1):
                rows[t] = c
                cols[t] = neighbour(c, unit, sign, shape)
                data[t] = 0.5 * sign * drift[c, i]
                t += 1
        rows[t] = c
        cols[t] = c
        data[t] = diagonal
        t += 1


@njit(error_model="numpy", cache=True, nogil=True)
def assemble_padded(row_start, n_last, strides, offsets, weights, drift, rows, cols, data):
    """The triplets of `assemble` with columns into the flat padded field, ghosts as they are."""
    m, dim = offsets.shape[1], strides.size
    t = 0
    for row in range(row_start.size):
        for j in range(n_last):
            p, c = row_start[row] + j, row * n_last + j
            first, diagonal = t, 0.0
            for k in range(m):
                cols[t], cols[t + 1] = p + offsets[c, k], p - offsets[c, k]
                data[t] = data[t + 1] = weights[c, k]
                diagonal -= 2 * weights[c, k]
                t += 2
            for i in range(dim):
                cols[t], cols[t + 1] = p + strides[i], p - strides[i]
                data[t], data[t + 1] = 0.5 * drift[c, i], -0.5 * drift[c, i]
                t += 2
            cols[t], data[t] = p, diagonal
            t += 1
            rows[first:t] = c


@njit(error_model="numpy", cache=True, nogil=True)
def add_viscosity(padded, row_start, n_last, strides, viscosity, gauge, out):
    """out += gauge * sum_i viscosity_i (q(x+1_i) + q(x-1_i) - 2 q(x))."""
    for row in range(row_start.size):
        p = row_start[row]
        c = row * n_last
        for _ in range(n_last):
            value = 0.0
            for i in range(viscosity.size):
                s = strides[i]
                value += viscosity[i] * (padded[p + s] + padded[p - s] - 2 * padded[p])
            out[c] += gauge[c] * value
            p += 1
            c += 1


@njit(error_model="numpy", cache=True, nogil=True)
def link(vectors, strides, offsets):
    """Offsets of the lattice vectors into a padded array with the given strides."""
    n_cells, m, dim = vectors.shape
    for c in range(n_cells):
        for k in range(m):
            o = 0
            for i in range(dim):
                o += vectors[c, k, i] * strides[i]
            offsets[c, k] = o
