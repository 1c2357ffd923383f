"""Lists of pairs of atoms that may exchange mass: soft transforms over them, thinning, widening.

A list of pairs is compressed by rows (``ptr``, ``idx``).  Rows and columns of a list may stand for
groups of atoms: row I for the atoms rows[I] .. rows[I+1] - 1, column J likewise, so that the pairs
of a coarse level stand for all the pairs of their children; where a row is one atom, rows is 0, 1,
2, ...  Positions carry two or three columns.  s_ij = (f_i + g_j - |x_i - y_j|^2 / 2) / eps.
"""

import math

import numpy as np
from numba import njit

# No NaN occurs here, and the order of sums is free: the compiler may use vectors.
FAST = {"reassoc", "contract", "nsz", "arcp", "nnan"}
# Terms below e^-40 of the largest one are lost in its rounding.
NEGLIGIBLE = 40.0
# The pair kept in a row without any other may have no mass at all; its weight stays representable.
LOWEST = -600.0


@njit(nogil=True, error_model="numpy", cache=True)
def _width(lo, hi, ptr, idx, cols):
    """The most atoms that a row of the list meets."""
    widest = 0
    for I in range(lo, hi):
        m = 0
        for q in range(ptr[I], ptr[I + 1]):
            m += cols[idx[q] + 1] - cols[idx[q]]
        widest = max(widest, m)
    return widest


@njit(nogil=True, error_model="numpy", cache=True)
def _gather(I, ptr, idx, cols, y, values, which, z, w):
    """The atoms that row I meets: their indices, positions and values; returns how many."""
    deep = y.shape[1] == 3
    m = 0
    for q in range(ptr[I], ptr[I + 1]):
        J = idx[q]
        for j in range(cols[J], cols[J + 1]):
            which[m] = j
            z[0, m] = y[j, 0]
            z[1, m] = y[j, 1]
            if deep:
                z[2, m] = y[j, 2]
            w[m] = values[j]
            m += 1
    return m


@njit(nogil=True, error_model="numpy", cache=True)
def _exponents(x, i, m, z, w, half, s):
    """s[k] = w[k] - half |x_i - z_k|^2, by the same operations wherever it is compiled into."""
    x0, x1 = x[i, 0], x[i, 1]
    for k in range(m):
        d0 = x0 - z[0, k]
        d1 = x1 - z[1, k]
        s[k] = w[k] - half * (d0 * d0 + d1 * d1)
    if x.shape[1] == 3:
        x2 = x[i, 2]
        for k in range(m):
            d2 = x2 - z[2, k]
            s[k] -= half * d2 * d2


@njit(nogil=True, error_model="numpy", cache=True, fastmath=FAST)
def soft_transform(lo, hi, ptr, idx, rows, cols, x, y, potential, log_mass, eps, out):
    """out_i = -eps log sum_j m_j exp((p_j - |x_i - y_j|^2/2) / eps) over the pairs of row i."""
    width = _width(lo, hi, ptr, idx, cols)
    which, z = np.empty(width, np.int32), np.empty((y.shape[1], width))
    w, s = np.empty(width), np.empty(width)
    logs = log_mass + potential / eps
    for I in range(lo, hi):
        m = _gather(I, ptr, idx, cols, y, logs, which, z, w)
        for i in range(rows[I], rows[I + 1]):
            _exponents(x, i, m, z, w, 0.5 / eps, s)
            top = -1e300
            for k in range(m):
                top = max(top, s[k])
            total = 0.0
            for k in range(m):
                if s[k] > top - NEGLIGIBLE:
                    total += math.exp(s[k] - top)
            out[i] = -eps * (top + math.log(total))


@njit(nogil=True, error_model="numpy", cache=True)
def count_pairs(lo, hi, ptr, idx, rows, cols, x, y, f, g, log_a, log_b, eps, log_delta, out):
    """out_i = number of j in row i with P_ij > delta min(a_i, b_j), at least one.

    P_ij = a_i b_j exp(s_ij), so that the test reads s_ij + max(log a_i, log b_j) > log delta.  No
    FAST here and in `fill_pairs`: both must decide alike to the last bit, or rows overrun.
    """
    width = _width(lo, hi, ptr, idx, cols)
    which, z = np.empty(width, np.int32), np.empty((y.shape[1], width))
    w, s, b = np.empty(width), np.empty(width), np.empty(width)
    scaled = g / eps
    for I in range(lo, hi):
        m = _gather(I, ptr, idx, cols, y, scaled, which, z, w)
        for k in range(m):
            b[k] = log_b[which[k]]
        for i in range(rows[I], rows[I + 1]):
            _exponents(x, i, m, z, w, 0.5 / eps, s)
            limit, ai = log_delta - f[i] / eps, log_a[i]
            count = 0
            for k in range(m):
                count += s[k] + max(ai, b[k]) > limit
            out[i] = max(count, 1)


@njit(nogil=True, error_model="numpy", cache=True)
def fill_pairs(
    lo, hi, ptr, idx, rows, cols, x, y, f, g, log_a, log_b, eps, log_delta, out_ptr, out_idx, out
):
    """The pairs that `count_pairs` counts, and R_ij = P_ij / sqrt(a_i b_j) into ``out``.

    R and not P: masses may span the whole range of floating point numbers, their roots leave room.
    """
    width = _width(lo, hi, ptr, idx, cols)
    which, z = np.empty(width, np.int32), np.empty((y.shape[1], width))
    w, s, b = np.empty(width), np.empty(width), np.empty(width)
    scaled = g / eps
    for I in range(lo, hi):
        m = _gather(I, ptr, idx, cols, y, scaled, which, z, w)
        for k in range(m):
            b[k] = log_b[which[k]]
        for i in range(rows[I], rows[I + 1]):
            _exponents(x, i, m, z, w, 0.5 / eps, s)
            shift, ai = f[i] / eps, log_a[i]
            limit = log_delta - shift
            p = out_ptr[i]
            for k in range(m):
                if s[k] + max(ai, b[k]) > limit:
                    out_idx[p] = which[k]
                    out[p] = math.exp(max(s[k] + shift + 0.5 * (ai + b[k]), LOWEST))
                    p += 1
            if p == out_ptr[i]:
                best = 0
                for k in range(1, m):
                    if s[k] + b[k] > s[best] + b[best]:
                        best = k
                out_idx[p] = which[best]
                out[p] = math.exp(max(s[best] + shift + 0.5 * (ai + b[best]), LOWEST))


@njit(nogil=True, error_model="numpy", cache=True)
def links(
    lo,
    hi,
    ptr,
    idx,
    rows,
    cols,
    x,
    y,
    f,
    g,
    log_a,
    log_b,
    eps,
    row_label,
    col_label,
    labels,
    fill,
    out_ptr,
    out_label,
    out,
):
    """log of the mass P that row i would send to each component of columns but its own.

    First call, ``fill`` False: out_ptr[i + 1] receives the number of components; second call: their
    labels and logs.
    """
    width = _width(lo, hi, ptr, idx, cols)
    which, z = np.empty(width, np.int32), np.empty((y.shape[1], width))
    w, s = np.empty(width), np.empty(width)
    logs = log_b + g / eps
    owner, place = np.full(labels, -1, np.int64), np.empty(labels, np.int64)
    for I in range(lo, hi):
        m = _gather(I, ptr, idx, cols, y, logs, which, z, w)
        for i in range(rows[I], rows[I + 1]):
            if fill:
                _exponents(x, i, m, z, w, 0.5 / eps, s)
            shift = log_a[i] + f[i] / eps
            p = out_ptr[i] if fill else 0
            for k in range(m):
                d = col_label[which[k]]
                if d == row_label[i]:
                    continue
                new = owner[d] != i
                if new:
                    owner[d] = i
                    place[d] = p
                    p += 1
                if not fill:
                    continue
                q, value = place[d], s[k] + shift
                if new:
                    out_label[q], out[q] = d, value
                else:
                    top = max(out[q], value)
                    out[q] = top + math.log1p(math.exp(min(out[q], value) - top))
            if not fill:
                out_ptr[i + 1] = p


@njit(nogil=True, error_model="numpy", cache=True)
def transpose(ptr, idx, out_ptr, out_idx):
    """The list by columns; within one, rows ascend.  ``out_ptr`` is zero on entry."""
    n, m = ptr.size - 1, out_ptr.size - 1
    for q in range(idx.size):
        out_ptr[idx[q] + 1] += 1
    for j in range(m):
        out_ptr[j + 1] += out_ptr[j]
    place = out_ptr[:m].copy()
    for i in range(n):
        for q in range(ptr[i], ptr[i + 1]):
            j = idx[q]
            out_idx[place[j]] = i
            place[j] += 1


@njit(nogil=True, error_model="numpy", cache=True)
def transpose_values(ptr, idx, values, out_ptr, out_idx, out):
    """`transpose` with one value a pair."""
    n, m = ptr.size - 1, out_ptr.size - 1
    for q in range(idx.size):
        out_ptr[idx[q] + 1] += 1
    for j in range(m):
        out_ptr[j + 1] += out_ptr[j]
    place = out_ptr[:m].copy()
    for i in range(n):
        for q in range(ptr[i], ptr[i + 1]):
            j = idx[q]
            out_idx[place[j]] = i
            out[place[j]] = values[q]
            place[j] += 1


@njit(nogil=True, error_model="numpy", cache=True)
def _jumps(i, k, means, limit):
    """Whether the images of two atoms lie further apart than ``limit``."""
    total = 0.0
    for c in range(means.shape[1]):
        d = means[i, c] - means[k, c]
        total += d * d
    return total > limit * limit


@njit(nogil=True, error_model="numpy", cache=True)
def _neighbours(i, cell, number, around):
    """Atoms in the cells that touch that of atom i, into ``around``; returns how many."""
    count = 0
    for p in range(max(cell[i, 0] - 1, 0), min(cell[i, 0] + 2, number.shape[0])):
        for q in range(max(cell[i, 1] - 1, 0), min(cell[i, 1] + 2, number.shape[1])):
            for r in range(max(cell[i, 2] - 1, 0), min(cell[i, 2] + 2, number.shape[2])):
                k = number[p, q, r]
                if k >= 0 and k != i:
                    around[count] = k
                    count += 1
    return count


@njit(nogil=True, error_model="numpy", cache=True)
def torn(means, cell, number, limit, out):
    """out_i = whether the image of atom i lies further than ``limit`` from that of a neighbour."""
    around = np.empty(26, np.int64)
    for i in range(means.shape[0]):
        out[i] = False
        for t in range(_neighbours(i, cell, number, around)):
            if _jumps(i, around[t], means, limit):
                out[i] = True


@njit(nogil=True, error_model="numpy", cache=True)
def widen(ptr, idx, means, cell, number, limit, mark, fill, out_ptr, out_idx):
    """Give each row the columns of its neighbours too, where the images of both lie apart.

    First call, ``fill`` False: ``out_ptr`` receives the new pointers; second call: the columns.
    ``mark`` holds one number < 0 a column; it is used up.
    """
    around = np.empty(26, np.int64)
    p = 0
    for i in range(ptr.size - 1):
        out_ptr[i] = p
        for q in range(ptr[i], ptr[i + 1]):
            mark[idx[q]] = i
            if fill:
                out_idx[p] = idx[q]
            p += 1
        for t in range(_neighbours(i, cell, number, around)):
            k = around[t]
            if not _jumps(i, k, means, limit):
                continue
            for q in range(ptr[k], ptr[k + 1]):
                if mark[idx[q]] != i:
                    mark[idx[q]] = i
                    if fill:
                        out_idx[p] = idx[q]
                    p += 1
    out_ptr[ptr.size - 1] = p


@njit(nogil=True, error_model="numpy", cache=True)
def unite(ptr, idx, more_ptr, more_idx, mark, fill, out_ptr, out_idx):
    """The pairs of two lists, each once, in the two calls of `widen`."""
    p = 0
    for i in range(ptr.size - 1):
        out_ptr[i] = p
        for q in range(ptr[i], ptr[i + 1]):
            mark[idx[q]] = i
            if fill:
                out_idx[p] = idx[q]
            p += 1
        for q in range(more_ptr[i], more_ptr[i + 1]):
            if mark[more_idx[q]] != i:
                if fill:
                    out_idx[p] = more_idx[q]
                p += 1
    out_ptr[ptr.size - 1] = p
