"""Matrix scaling: sweeps over a sparse positive matrix, its aggregation, moments of the plan.

The plan is P_ij = u_i R_ij v_j.  Kernels that take ``lo, hi`` work on a range of rows; those that
add into columns add into ``out``, so that ranges may run side by side with one ``out`` each.
"""

import math

import numpy as np
from numba import njit

from pma_grid.kernels.compilation import ANY_ORDER_NO_NAN
from pma_grid.kernels.entropic.plans import NEGLIGIBLE, add_logs

# Factors stay in this range: what lies beyond is reached by absorbing them first.
SMALLEST, LARGEST = 1e-280, 1e280


@njit(nogil=True, error_model="numpy", cache=True, fastmath=ANY_ORDER_NO_NAN)
def sweep(lo, hi, matrix, a, v, u, out):
    """u = a / (R v), then out += R^T u, each row while it is at hand."""
    ptr, idx, val = matrix
    for i in range(lo, hi):
        total = 0.0
        for k in range(ptr[i], ptr[i + 1]):
            total += val[k] * v[idx[k]]
        ui = min(max(a[i] / total, SMALLEST), LARGEST)
        u[i] = ui
        for k in range(ptr[i], ptr[i + 1]):
            out[idx[k]] += ui * val[k]


@njit(nogil=True, error_model="numpy", cache=True)
def aggregate_pairs(ptr, idx, rows, parent, mark, out_ptr, out_idx, place):
    """Pairs of groups of rows and columns that hold an entry; place[k] = the pair of entry k.

    ``rows[I]`` is the first row of group I, ``parent[j]`` the group of column j; ``mark`` holds -1
    a group of columns; ``out_idx`` has room for every entry.  Returns the number of pairs.
    """
    count = 0
    for I in range(rows.size - 1):
        first = count
        out_ptr[I] = first
        for k in range(ptr[rows[I]], ptr[rows[I + 1]]):
            J = parent[idx[k]]
            if mark[J] < first:
                mark[J] = count
                out_idx[count] = J
                count += 1
            place[k] = mark[J]
    out_ptr[rows.size - 1] = count
    return count


@njit(nogil=True, error_model="numpy", cache=True)
def aggregate_values(lo, hi, coarse, matrix, u, v, rows, place):
    """coarse = sums of u_i R_ij v_j over the entries of each pair of groups."""
    ptr, idx, val = matrix
    out = coarse.values
    for I in range(lo, hi):
        for k in range(coarse.pointers[I], coarse.pointers[I + 1]):
            out[k] = 0.0
        for i in range(rows[I], rows[I + 1]):
            ui = u[i]
            for k in range(ptr[i], ptr[i + 1]):
                out[place[k]] += ui * val[k] * v[idx[k]]


@njit(nogil=True, error_model="numpy", cache=True)
def means(lo, hi, matrix, v, y, out):
    """out_i = sum_j P_ij y_j / sum_j P_ij."""
    ptr, idx, val = matrix
    for i in range(lo, hi):
        total = 0.0
        for c in range(y.shape[1]):
            out[i, c] = 0.0
        for k in range(ptr[i], ptr[i + 1]):
            p = val[k] * v[idx[k]]
            total += p
            for c in range(y.shape[1]):
                out[i, c] += p * y[idx[k], c]
        for c in range(y.shape[1]):
            out[i, c] /= total


@njit(nogil=True, error_model="numpy", cache=True)
def column_moments(matrix, u, x, out):
    """out_j += sum_i u_i R_ij (1, x_i): weight and moments; the column's v_j drops out of means."""
    ptr, idx, val = matrix
    for i in range(u.size):
        for k in range(ptr[i], ptr[i + 1]):
            p = u[i] * val[k]
            j = idx[k]
            out[j, 0] += p
            for c in range(x.shape[1]):
                out[j, c + 1] += p * x[i, c]


@njit(nogil=True, error_model="numpy", cache=True)
def squared_cost(plan, x, y):
    """sum_ij P_ij |x_i - y_j|^2, summed row by row."""
    ptr, idx, mass = plan
    total = 0.0
    for i in range(ptr.size - 1):
        line = 0.0
        for k in range(ptr[i], ptr[i + 1]):
            d = 0.0
            for c in range(x.shape[1]):
                e = x[i, c] - y[idx[k], c]
                d += e * e
            line += mass[k] * d
        total += line
    return total


@njit(nogil=True, error_model="numpy", cache=True)
def plan_values(matrix, u, v, out):
    """Entries u_i R_ij v_j."""
    ptr, idx, val = matrix
    for i in range(u.size):
        for k in range(ptr[i], ptr[i + 1]):
            out[k] = u[i] * val[k] * v[idx[k]]


@njit(nogil=True, error_model="numpy", cache=True)
def merge_links(order, first, links, mark, out):
    """Rows of a list summed, in logarithms, over groups order[first[c]] .. order[first[c + 1] - 1].

    ``mark`` holds -1 a column; ``out`` has room for every entry.  Returns how many pairs of group
    and column there are.
    """
    count = 0
    for c in range(first.size - 1):
        start = count
        out.pointers[c] = start
        for r in range(first[c], first[c + 1]):
            i = order[r]
            for k in range(links.pointers[i], links.pointers[i + 1]):
                d = links.indices[k]
                if mark[d] < start:
                    mark[d] = count
                    out.indices[count], out.values[count] = d, links.values[k]
                    count += 1
                else:
                    q = mark[d]
                    out.values[q] = add_logs(out.values[q], links.values[k])
    out.pointers[first.size - 1] = count
    return count


@njit(nogil=True, error_model="numpy", cache=True)
def _log_sum(c, links, sign, offsets):
    """log sum_d W_cd exp(sign o_d) over the row of c; -inf if it is empty."""
    ptr, idx, logs = links
    top = -np.inf
    for k in range(ptr[c], ptr[c + 1]):
        top = max(top, logs[k] + sign * offsets[idx[k]])
    if top == -np.inf:
        return top
    total = 0.0
    for k in range(ptr[c], ptr[c + 1]):
        below = logs[k] + sign * offsets[idx[k]] - top
        if below > -NEGLIGIBLE:
            total += math.exp(below)
    return top + math.log(total)


@njit(nogil=True, error_model="numpy", cache=True)
def join(there, back, surplus, passes, out):
    """Offsets o with sum_d W_cd e^(o_c - o_d) - sum_d W_dc e^(o_d - o_c) = surplus_c.

    One component after the other, X e^o - Y e^-o = m: o = asinh(m / (2 sqrt(X Y))) + log(Y / X)/2.
    A component of rows only (Y = 0) is scaled to its mass, one of columns only (X = 0) too; one
    that nothing reaches keeps its offset.  ``there`` holds the logarithms of W by rows, ``back`` by
    columns.
    """
    n = surplus.size
    for t in range(passes):
        change = 0.0
        for r in range(n):
            c = r if t % 2 == 0 else n - 1 - r
            x = _log_sum(c, there, -1.0, out)
            y = _log_sum(c, back, 1.0, out)
            m = surplus[c]
            if x == -np.inf or y == -np.inf:
                if m > 0.0 and x > -np.inf:
                    out[c] = math.log(m) - x
                elif m < 0.0 and y > -np.inf:
                    out[c] = y - math.log(-m)
                continue
            half = 0.5 * (x + y)
            # asinh of a ratio that may overflow: log of twice it, for large ratios
            if m == 0.0:
                turn = 0.0
            elif math.log(abs(m)) - half > 30.0:
                turn = math.copysign(math.log(abs(m)) - half, m)
            else:
                turn = math.asinh(0.5 * m * math.exp(-half))
            new = turn + 0.5 * (y - x)
            change = max(change, abs(new - out[c]))
            out[c] = new
        if change < 0.1:
            break
