"""Kernels of geometric multigrid: Gauss-Seidel, what it leaves over, stencils of coarser grids.

Smoothers know a cell's m lattice vectors as offsets into padded fields and two weights for each,
one to either side: A q = q / inverse_diagonal - sum_k (w_k+ q(x+e_k) + w_k- q(x-e_k)).
"""

from numba import njit

from pma_grid.kernels.grid.lattice import VECTORS_A_CELL, neighbour


def _make_smooth(m):
    @njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
    def smooth(
        slabs,
        first,
        last,
        rhs,
        row_start,
        n_last,
        offsets,
        weights,
        inverse_diagonal,
        backward,
        padded,
    ):
        """Gauss-Seidel in the slabs first, first + 2, ... of A q = rhs, by rows within a slab."""
        # two side by side: each waits for its own last value, and there is always something to do
        step = -1 if backward else 1
        start = n_last - 1 if backward else 0
        for s in range(first, last, 4):
            t = s + 2 if s + 2 < last else s
            rows = slabs[s + 1] - slabs[s]
            others = slabs[t + 1] - slabs[t] if t > s else 0
            both = min(rows, others)
            for r in range(max(rows, others)):
                # beyond the lower of the two slabs the higher one goes on alone
                if r < rows:
                    row = slabs[s + 1] - 1 - r if backward else slabs[s] + r
                else:
                    row = slabs[t + 1] - 1 - r if backward else slabs[t] + r
                c, p = row * n_last + start, row_start[row] + start
                if r < both:
                    row = slabs[t + 1] - 1 - r if backward else slabs[t] + r
                    d, q = row * n_last + start, row_start[row] + start
                    for _ in range(n_last):
                        v, w = rhs[c], rhs[d]
                        for k in range(m):
                            o, u = offsets[c, k], offsets[d, k]
                            v += weights[c, 2 * k] * padded[p + o]
                            v += weights[c, 2 * k + 1] * padded[p - o]
                            w += weights[d, 2 * k] * padded[q + u]
                            w += weights[d, 2 * k + 1] * padded[q - u]
                        padded[p] = v * inverse_diagonal[c]
                        padded[q] = w * inverse_diagonal[d]
                        c, p, d, q = c + step, p + step, d + step, q + step
                else:
                    for _ in range(n_last):
                        v = rhs[c]
                        for k in range(m):
                            o = offsets[c, k]
                            v += weights[c, 2 * k] * padded[p + o]
                            v += weights[c, 2 * k + 1] * padded[p - o]
                        padded[p] = v * inverse_diagonal[c]
                        c, p = c + step, p + step

    return smooth


def _make_defect(m):
    @njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
    def defect(rhs, padded, row_start, n_last, offsets, weights, inverse_diagonal, scale, out):
        """``out`` (N,) receives scale * (rhs - A q) with the A of the smoother."""
        for row in range(row_start.size):
            p = row_start[row]
            c = row * n_last
            for _ in range(n_last):
                value = rhs[c] - padded[p] / inverse_diagonal[c]
                for k in range(m):
                    o = offsets[c, k]
                    value += (
                        weights[c, 2 * k] * padded[p + o] + weights[c, 2 * k + 1] * padded[p - o]
                    )
                out[c] = scale[c] * value
                p += 1
                c += 1

    return defect


@njit(error_model="numpy", cache=True, nogil=True)
def _tensors_1d(vectors, weights, out):
    """D = w e^2."""
    for c in range(vectors.shape[0]):
        out[c, 0] = weights[c, 0] * vectors[c, 0, 0] ** 2


@njit(error_model="numpy", cache=True, nogil=True)
def _tensors_2d(vectors, weights, out):
    """D = sum_k w_k e_k e_k^T, upper triangle by rows: ``out`` (N, d(d+1)/2)."""
    for c in range(vectors.shape[0]):
        xx = xy = yy = 0.0
        for k in range(3):
            w, x, y = weights[c, k], float(vectors[c, k, 0]), float(vectors[c, k, 1])
            xx += w * (x * x)
            xy += w * (x * y)
            yy += w * (y * y)
        out[c, 0], out[c, 1], out[c, 2] = xx, xy, yy


@njit(error_model="numpy", cache=True, nogil=True)
def _tensors_3d(vectors, weights, out):
    """Three-dimensional twin of `_tensors_2d`."""
    for c in range(vectors.shape[0]):
        xx = xy = xz = yy = yz = zz = 0.0
        for k in range(6):
            w, x = weights[c, k], float(vectors[c, k, 0])
            y, z = float(vectors[c, k, 1]), float(vectors[c, k, 2])
            xx += w * (x * x)
            xy += w * (x * y)
            xz += w * (x * z)
            yy += w * (y * y)
            yz += w * (y * z)
            zz += w * (z * z)
        out[c, 0], out[c, 1], out[c, 2] = xx, xy, xz
        out[c, 3], out[c, 4], out[c, 5] = yy, yz, zz


def _make_two_sided_weights(m, dim):
    @njit(error_model="numpy", cache=True, nogil=True)
    def two_sided_weights(vectors, weights, pull, clip, reaction, out, inverse_diagonal):
        """Weights w_k (1 +- t_k), t_k = clip(e_k . pull / 2): their sum is J, its drift D pull.

        Clipping keeps every weight non-negative (an upwind-limited drift): fit for a smoother.  The
        diagonal is the sum of the weights and the reaction.
        ``out`` (N, 2 m), ``inverse_diagonal`` (N,).
        """
        for c in range(vectors.shape[0]):
            x = 0.5 * pull[c, 0]
            y = 0.5 * pull[c, 1] if dim > 1 else x
            z = 0.5 * pull[c, 2] if dim > 2 else x
            total = 0.0
            for k in range(m):
                t = vectors[c, k, 0] * x
                if dim > 1:
                    t += vectors[c, k, 1] * y
                if dim > 2:
                    t += vectors[c, k, 2] * z
                w = weights[c, k]
                t = w * min(clip, max(-clip, t))
                out[c, 2 * k], out[c, 2 * k + 1] = w + t, w - t
                total += w
            inverse_diagonal[c] = 1.0 / (2.0 * total + reaction)

    return two_sided_weights


SMOOTH = {dim: _make_smooth(m) for dim, m in VECTORS_A_CELL.items()}
DEFECT = {dim: _make_defect(m) for dim, m in VECTORS_A_CELL.items()}
TENSORS = {1: _tensors_1d, 2: _tensors_2d, 3: _tensors_3d}
TWO_SIDED_WEIGHTS = {dim: _make_two_sided_weights(m, dim) for dim, m in VECTORS_A_CELL.items()}


@njit(error_model="numpy", cache=True, nogil=True)
def moments(density, tensor, drift, out):
    """Density, density times tensor and density times drift: what averages are made of."""
    n_cells, entries = tensor.shape
    for c in range(n_cells):
        rho = density[c]
        out[c, 0] = rho
        for t in range(entries):
            out[c, 1 + t] = rho * tensor[c, t]
        for i in range(drift.shape[1]):
            out[c, 1 + entries + i] = rho * drift[c, i]


@njit(error_model="numpy", cache=True, nogil=True)
def means(moments, ratios, tensor, drift, density, inverse_density):
    """Tensor and drift of summed `moments`, scaled to cells ``ratios`` (d,) times as large."""
    dim = ratios.size
    for c in range(moments.shape[0]):
        rho = moments[c, 0]
        inverse = 1 / rho
        density[c], inverse_density[c] = rho, inverse
        t = 1
        for i in range(dim):
            for j in range(i, dim):
                moments[c, t] /= ratios[i] * ratios[j]
                tensor[c, t - 1] = moments[c, t] * inverse
                t += 1
        for i in range(dim):
            moments[c, t + i] /= ratios[i]
            drift[c, i] = moments[c, t + i] * inverse


@njit(error_model="numpy", cache=True, nogil=True)
def assemble_two_sided(shape, vectors, weights, out):
    """Adds A without its reaction, A q = sum w (q(x) - q(neighbour)), to ``out`` (N, N)."""
    n_cells, m, _ = vectors.shape
    for c in range(n_cells):
        for k in range(m):
            for side in range(2):
                w = weights[c, 2 * k + side]
                out[c, c] += w
                out[c, neighbour(c, vectors[c, k], 1 - 2 * side, shape)] -= w


@njit(error_model="numpy", cache=True, nogil=True)
def invert_dominant(matrix):
    """Inverse of a small matrix with a dominant diagonal, in place: Gauss-Jordan without pivots."""
    # LAPACK would wake threads that go on waiting for more, where others are to work
    n = matrix.shape[0]
    for i in range(n):
        inverse = 1.0 / matrix[i, i]
        matrix[i, i] = 1.0
        for k in range(n):
            matrix[i, k] *= inverse
        for j in range(n):
            if j != i:
                factor = matrix[j, i]
                matrix[j, i] = 0.0
                for k in range(n):
                    matrix[j, k] -= factor * matrix[i, k]
