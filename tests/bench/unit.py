"""The unit of cost: one out-of-place pass of a variable-coefficient stencil over the same grid."""

from __future__ import annotations

import time

import numpy as np
from numba import njit


@njit(cache=True)
def _pass_2d(c, q, out):
    for i in range(1, q.shape[0] - 1):
        for j in range(1, q.shape[1] - 1):
            value = 0.0
            for a in range(3):
                for b in range(3):
                    value += c[i, j, 3 * a + b] * q[i + a - 1, j + b - 1]
            out[i, j] = value


@njit(cache=True)
def _pass_3d(c, q, out):
    for i in range(1, q.shape[0] - 1):
        for j in range(1, q.shape[1] - 1):
            for k in range(1, q.shape[2] - 1):
                value = 0.0
                for a in range(3):
                    for b in range(3):
                        for d in range(3):
                            w = c[i, j, k, 9 * a + 3 * b + d]
                            value += w * q[i + a - 1, j + b - 1, k + d - 1]
                out[i, j, k] = value


def seconds(shape: tuple[int, ...], repeats: int = 15) -> float:
    """Median time of a pass: 9 float64 coefficients a cell in 2-D, 27 in 3-D."""
    kernel = _pass_2d if len(shape) == 2 else _pass_3d
    rng = np.random.default_rng(7130)
    coefficients = rng.random((*shape, 3 ** len(shape)))
    q, out = rng.random(shape), np.zeros(shape)
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        kernel(coefficients, q, out)
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))
