"""Fused passes over vectors for the truncated GCR iteration: memory traffic is the cost there."""

from numba import njit


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def dot(a, b):
    """Inner product of two flat vectors."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def add_multiple(factor, b, a):
    """a += factor * b."""
    for i in range(a.size):
        a[i] += factor * b[i]


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_products(q, gauge, residual, q1, q2, out):
    """``out`` receives <gauge,q>, <q,q>, <q,residual>, <q1,q>, <q2,q> in one pass."""
    s0 = s1 = s2 = s3 = s4 = 0.0
    for i in range(q.size):
        v = q[i]
        s0 += gauge[i] * v
        s1 += v * v
        s2 += residual[i] * v
        s3 += q1[i] * v
        s4 += q2[i] * v
    out[0] = s0
    out[1] = s1
    out[2] = s2
    out[3] = s3
    out[4] = s4


@njit(error_model="numpy", cache=True, nogil=True, fastmath=True)
def gcr_update(coefficients, gauge, q1, q2, z1, z2, q, z, solution, residual):
    """q -= c0 gauge + c1 q1 + c2 q2; z -= c1 z1 + c2 z2; solution += c3 z; residual -= c3 q."""
    c0, c1, c2, c3 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    for i in range(q.size):
        v = q[i] - c0 * gauge[i] - c1 * q1[i] - c2 * q2[i]
        w = z[i] - c1 * z1[i] - c2 * z2[i]
        q[i] = v
        z[i] = w
        solution[i] += c3 * w
        residual[i] -= c3 * v
