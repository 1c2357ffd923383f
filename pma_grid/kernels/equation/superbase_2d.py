"""Algebra of two-dimensional superbases: differences, roots of the shift form, faces of the cone.

A superbase (e, f, g), e + f + g = 0 and det(e, f) = +-1, is the four numbers (e_x, e_y, f_x, f_y),
and (a_e, a_f, a_g) are the second differences along its vectors; see `monge_ampere_2d`.
"""

import math

from numba import njit


@njit(error_model="numpy", cache=True, nogil=True)
def load(superbase, c):
    """Superbase c of those stored (n, 2, 2), as numbers."""
    return (
        int(superbase[c, 0, 0]), int(superbase[c, 0, 1]),
        int(superbase[c, 1, 0]), int(superbase[c, 1, 1]),
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def update(base, c, stride, superbase, vectors, offsets):
    """`store` where it is not what stands there."""
    if load(superbase, c) != base:
        store(base, c, stride, superbase, vectors, offsets)


@njit(error_model="numpy", cache=True, nogil=True)
def store(base, c, stride, superbase, vectors, offsets):
    """Store the superbase e, f, -e-f of cell c, its vectors and their offsets."""
    ex, ey, fx, fy = base
    gx, gy = -ex - fx, -ey - fy
    superbase[c, 0, 0], superbase[c, 0, 1] = ex, ey
    superbase[c, 1, 0], superbase[c, 1, 1] = fx, fy
    vectors[c, 0, 0], vectors[c, 0, 1] = ex, ey
    vectors[c, 1, 0], vectors[c, 1, 1] = fx, fy
    vectors[c, 2, 0], vectors[c, 2, 1] = gx, gy
    offsets[c, 0] = ex * stride + ey
    offsets[c, 1] = fx * stride + fy
    offsets[c, 2] = gx * stride + gy


@njit(error_model="numpy", cache=True, nogil=True)
def begin(q, p, stride):
    """Superbase of the axes and of that diagonal along which u bends less: where walks begin.

    The other one is not obtuse near a solution.  Mirror images of u give mirror images of it.
    """
    along = q[p + stride + 1] + q[p - stride - 1]
    across = q[p + stride - 1] + q[p - stride + 1]
    return 1, 0, 0, (1 if along <= across else -1)


@njit(error_model="numpy", cache=True, nogil=True)
def second(q, p, x, y, stride, m0, m1):
    """Second difference of u along the vector (x, y)."""
    o = x * stride + y
    return m0 * x * x + m1 * y * y + (q[p + o] + q[p - o] - 2 * q[p])


@njit(error_model="numpy", cache=True, nogil=True)
def hessian(base, a):
    """The symmetric matrix M (xx, xy, yy) with the second differences ``a``."""
    ex, ey, fx, fy = base
    ae, af, ag = a
    cross = 0.5 * (ag - ae - af)
    return (
        fy * fy * ae - 2 * fy * ey * cross + ey * ey * af,
        -(fx * fy * ae - (fy * ex + fx * ey) * cross + ex * ey * af),
        fx * fx * ae - 2 * fx * ex * cross + ex * ex * af,
    )


@njit(error_model="numpy", cache=True, nogil=True)
def weights_of(base, d00, d01, d11):
    """Weights of e e^T, f f^T, g g^T in the tensor D."""
    ex, ey, fx, fy = base
    gx, gy = -ex - fx, -ey - fy
    return (
        -(d00 * fy * gy - d01 * (fx * gy + fy * gx) + d11 * fx * gx),
        -(d00 * ey * gy - d01 * (ex * gy + ey * gx) + d11 * ex * gx),
        -(d00 * fy * ey - d01 * (fx * ey + fy * ex) + d11 * fx * ex),
    )


@njit(error_model="numpy", cache=True, nogil=True)
def inverse_metric(m0, m1):
    """M0^{-1}: what entries of matrices in index units are in the frame of M0 = diag(m0, m1)."""
    return 1 / m0, 1 / m1, 1 / math.sqrt(m0 * m1)


@njit(error_model="numpy", cache=True, nogil=True)
def root(base, a, b2, inverse):
    """Shift c, radius R and the weights (times b/2) of e, f, g for one superbase.

    In the scaled frame M0^{-1/2} M M0^{-1/2} the trace part is m, the traceless part has norm
    sqrt(n^2 + k^2), and det(M + c) = b2 gives c = R - m with R = sqrt(b2 + n^2 + k^2).
    """
    i0, i1, i01 = inverse
    m00, m01, m11 = hessian(base, a)
    m00, k, m11 = m00 * i0, m01 * i01, m11 * i1
    n = 0.5 * (m00 - m11)
    m = 0.5 * (m00 + m11)
    radius = math.sqrt(b2 + n * n + k * k)
    d00 = (1 - n / radius) * i0
    d11 = (1 + n / radius) * i1
    d01 = -k / radius * i01
    le, lf, lg = weights_of(base, d00, d01, d11)
    return radius - m, radius, le, lf, lg


@njit(error_model="numpy", cache=True, nogil=True)
def face(ae, af, e2, f2, b2):
    """Shift, radius and the two weights (times b) when only e and f carry weight."""
    al = ae / e2
    am = af / f2
    det = b2 / (e2 * f2)
    half = 0.5 * (al - am)
    radius = math.sqrt(det + half * half)
    share = 0.5 * (1 - half / radius)
    return radius - 0.5 * (al + am), det / radius, 2 * share / e2, 2 * (1 - share) / f2
