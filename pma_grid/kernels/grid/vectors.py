"""Fused passes over vectors for the truncated GCR iteration: memory traffic is the cost there.

Vectors are cut into blocks, and sums come as one row of ``partial`` (blocks, 5) for each: what they
add up to is then the same however the blocks first..last are shared among threads.  An empty
``weights`` stands for ones.
"""

from numba import njit

BLOCK = 4096


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def dot(first, last, a, b, partial):
    """Inner product of two flat vectors, block by block."""
    for block in range(first, last):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, a.size)):
            total += a[i] * b[i]
        partial[block, 0] = total


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def squares(first, last, a, weights, partial):
    """Sum of (weights a)^2, block by block."""
    weighted = weights.size > 0
    for block in range(first, last):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, a.size)):
            v = weights[i] * a[i] if weighted else a[i]
            total += v * v
        partial[block, 0] = total


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def add_multiple(factor, b, a):
    """a += factor * b."""
    for i in range(a.size):
        a[i] += factor * b[i]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_begin(first, last, rhs, gauge, weights, residual, partial):
    """residual = weights rhs; sums <g,residual>, <g,g> with g = weights gauge."""
    weighted = weights.size > 0
    for block in range(first, last):
        s0 = s1 = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, rhs.size)):
            w = weights[i] if weighted else 1.0
            v, g = w * rhs[i], w * gauge[i]
            residual[i] = v
            s0 += g * v
            s1 += g * g
        partial[block, 0], partial[block, 1] = s0, s1


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_project(first, last, multiplier, gauge, weights, residual, partial):
    """residual -= multiplier g; sum <residual,residual>."""
    weighted = weights.size > 0
    for block in range(first, last):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, residual.size)):
            w = weights[i] if weighted else 1.0
            v = residual[i] - multiplier * w * gauge[i]
            residual[i] = v
            total += v * v
        partial[block, 0] = total


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_products(first, last, q, gauge, weights, residual, kept, partial):
    """q *= weights; sums <g,q>, <q,q>, <q,residual>, <q1,q>, <q2,q> in one pass."""
    q1, q2 = kept[0].q, kept[1].q
    weighted = weights.size > 0
    for block in range(first, last):
        s0 = s1 = s2 = s3 = s4 = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, q.size)):
            w = weights[i] if weighted else 1.0
            v = w * q[i]
            q[i] = v
            s0 += w * gauge[i] * v
            s1 += v * v
            s2 += residual[i] * v
            s3 += q1[i] * v
            s4 += q2[i] * v
        partial[block, 0], partial[block, 1], partial[block, 2] = s0, s1, s2
        partial[block, 3], partial[block, 4] = s3, s4


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_update(
    first, last, coefficients, gauge, weights, kept, direction, solution, residual, partial
):
    """q -= c0 g + c1 q1 + c2 q2; z -= c1 z1 + c2 z2; solution += c3 z; residual -= c3 q.

    ``kept`` are the `Direction` 1 and 2.  Sum: <residual,residual>.
    """
    c0, c1, c2, c3 = coefficients
    z1, q1 = kept[0]
    z2, q2 = kept[1]
    z, q = direction
    weighted = weights.size > 0
    for block in range(first, last):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, q.size)):
            w = weights[i] if weighted else 1.0
            v = q[i] - c0 * w * gauge[i] - c1 * q1[i] - c2 * q2[i]
            y = z[i] - c1 * z1[i] - c2 * z2[i]
            q[i] = v
            z[i] = y
            solution[i] += c3 * y
            r = residual[i] - c3 * v
            residual[i] = r
            total += r * r
        partial[block, 0] = total
