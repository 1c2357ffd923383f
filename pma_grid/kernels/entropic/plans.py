"""Lists of pairs of atoms that may exchange mass: soft transforms over them, thinning, widening.

With f and g the potentials of the atoms x_i and y_j, s_ij = (f_i + g_j - |x_i - y_j|^2 / 2) / eps.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pma_grid.kernels.compilation import ANY_ORDER_NO_NAN
from pma_grid.kernels.records import Array

# Terms below e^-40 of the largest one are lost in its rounding.
NEGLIGIBLE = 40.0
# The pair kept in a row without any other may have no mass at all; its weight stays representable.
LOWEST = -600.0


class _Met(NamedTuple):
    """Room for the atoms that a row meets: their indices, positions, values and exponents."""

    index: Array
    position: Array
    value: Array
    exponent: Array


@njit(nogil=True, error_model="numpy", cache=True)
def _room(lo, hi, pairs, dim):
    """Room for the most atoms that any of the rows lo .. hi - 1 meets."""
    pointers, indices, columns = pairs.pointers, pairs.indices, pairs.columns
    widest = 0
    for I in range(lo, hi):
        m = 0
        for q in range(pointers[I], pointers[I + 1]):
            m += columns[indices[q] + 1] - columns[indices[q]]
        widest = max(widest, m)
    return _Met(
        np.empty(widest, np.int32), np.empty((dim, widest)), np.empty(widest), np.empty(widest)
    )


@njit(nogil=True, error_model="numpy", cache=True)
def _gather(I, pairs, position, values, met):
    """The atoms that row I meets, with their values; returns how many."""
    deep = position.shape[1] == 3
    m = 0
    for q in range(pairs.pointers[I], pairs.pointers[I + 1]):
        J = pairs.indices[q]
        for j in range(pairs.columns[J], pairs.columns[J + 1]):
            met.index[m] = j
            met.position[0, m] = position[j, 0]
            met.position[1, m] = position[j, 1]
            if deep:
                met.position[2, m] = position[j, 2]
            met.value[m] = values[j]
            m += 1
    return m


@njit(nogil=True, error_model="numpy", cache=True)
def _exponents(x, i, m, met, half):
    """met.value[k] - half |x_i - z_k|^2, by the same operations wherever it is compiled into."""
    z, w, s = met.position, met.value, met.exponent
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


@njit(nogil=True, error_model="numpy", cache=True, fastmath=ANY_ORDER_NO_NAN)
def soft_transform(lo, hi, pairs, x, others, eps, out):
    """out_i = -eps log sum_j m_j exp((p_j - |x_i - y_j|^2/2) / eps) over the pairs of row i."""
    met = _room(lo, hi, pairs, x.shape[1])
    s = met.exponent
    logs = others.log_mass + others.potential / eps
    for I in range(lo, hi):
        m = _gather(I, pairs, others.position, logs, met)
        for i in range(pairs.rows[I], pairs.rows[I + 1]):
            _exponents(x, i, m, met, 0.5 / eps)
            top = -1e300
            for k in range(m):
                top = max(top, s[k])
            total = 0.0
            for k in range(m):
                if s[k] > top - NEGLIGIBLE:
                    total += math.exp(s[k] - top)
            out[i] = -eps * (top + math.log(total))


@njit(nogil=True, error_model="numpy", cache=True)
def thin(lo, hi, pairs, source, target, eps, log_delta, fill, out):
    """The j of row i with P_ij > delta min(a_i, b_j), one at least; R_ij = P_ij / sqrt(a_i b_j).

    First call, ``fill`` False: out.pointers[i + 1] receives their number; second call: j and R.
    P_ij = a_i b_j exp(s_ij), so that the test reads s_ij + max(log a_i, log b_j) > log delta.
    """
    # R and not P: masses may span the whole range of floating point numbers, their roots leave
    # room.  Sums keep their order: both calls must decide alike to the last bit, or rows overrun.
    x, f, log_a = source
    met = _room(lo, hi, pairs, x.shape[1])
    s, b = met.exponent, np.empty(met.index.size)
    scaled = target.potential / eps
    for I in range(lo, hi):
        m = _gather(I, pairs, target.position, scaled, met)
        for k in range(m):
            b[k] = target.log_mass[met.index[k]]
        for i in range(pairs.rows[I], pairs.rows[I + 1]):
            _exponents(x, i, m, met, 0.5 / eps)
            shift, ai = f[i] / eps, log_a[i]
            limit = log_delta - shift
            if not fill:
                count = 0
                for k in range(m):
                    count += s[k] + max(ai, b[k]) > limit
                out.pointers[i + 1] = max(count, 1)
                continue
            p = out.pointers[i]
            for k in range(m):
                if s[k] + max(ai, b[k]) > limit:
                    out.indices[p] = met.index[k]
                    out.values[p] = math.exp(max(s[k] + shift + 0.5 * (ai + b[k]), LOWEST))
                    p += 1
            if p == out.pointers[i]:
                best = 0
                for k in range(1, m):
                    if s[k] + b[k] > s[best] + b[best]:
                        best = k
                out.indices[p] = met.index[best]
                out.values[p] = math.exp(max(s[best] + shift + 0.5 * (ai + b[best]), LOWEST))


@njit(nogil=True, error_model="numpy", cache=True)
def links(pairs, source, target, eps, labels, fill, out):
    """log of the mass P that each row would send to each component of columns but its own.

    ``labels`` are the components of rows and of columns, and how many there are; what ``out``
    receives in two calls: as in `thin`, components and logs.
    """
    x, f, log_a = source
    row_label, column_label, count = labels
    met = _room(0, pairs.rows.size - 1, pairs, x.shape[1])
    logs = target.log_mass + target.potential / eps
    owner, place = np.full(count, -1, np.int64), np.empty(count, np.int64)
    for I in range(pairs.rows.size - 1):
        m = _gather(I, pairs, target.position, logs, met)
        for i in range(pairs.rows[I], pairs.rows[I + 1]):
            if fill:
                _exponents(x, i, m, met, 0.5 / eps)
            shift = log_a[i] + f[i] / eps
            p = out.pointers[i] if fill else 0
            for k in range(m):
                d = column_label[met.index[k]]
                if d == row_label[i]:
                    continue
                new = owner[d] != i
                if new:
                    owner[d] = i
                    place[d] = p
                    p += 1
                if not fill:
                    continue
                q, value = place[d], met.exponent[k] + shift
                out.indices[q] = d
                out.values[q] = value if new else add_logs(out.values[q], value)
            if not fill:
                out.pointers[i + 1] = p


@njit(nogil=True, error_model="numpy", cache=True)
def add_logs(a, b):
    """log(e^a + e^b)."""
    top = max(a, b)
    return top + math.log1p(math.exp(min(a, b) - top))


@njit(nogil=True, error_model="numpy", cache=True)
def transpose(entries, out):
    """The list by columns, rows ascending; ``out.pointers`` are zero before, values may be none."""
    n, m = entries.pointers.size - 1, out.pointers.size - 1
    for q in range(entries.indices.size):
        out.pointers[entries.indices[q] + 1] += 1
    for j in range(m):
        out.pointers[j + 1] += out.pointers[j]
    place = out.pointers[:m].copy()
    for i in range(n):
        for q in range(entries.pointers[i], entries.pointers[i + 1]):
            j = entries.indices[q]
            out.indices[place[j]] = i
            if out.values.size > 0:
                out.values[place[j]] = entries.values[q]
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
