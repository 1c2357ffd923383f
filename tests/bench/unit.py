"""The unit of cost: one out-of-place pass of a variable-coefficient stencil over the same grid."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _pass_2d(first, last, c, q, out):
    for i in range(max(first, 1), min(last, q.shape[0] - 1)):
        for j in range(1, q.shape[1] - 1):
            value = 0.0
            for a in range(3):
                for b in range(3):
                    value += c[i, j, 3 * a + b] * q[i + a - 1, j + b - 1]
            out[i, j] = value


@njit(cache=True, nogil=True)
def _pass_3d(first, last, c, q, out):
    for i in range(max(first, 1), min(last, q.shape[0] - 1)):
        for j in range(1, q.shape[1] - 1):
            for k in range(1, q.shape[2] - 1):
                value = 0.0
                for a in range(3):
                    for b in range(3):
                        for d in range(3):
                            w = c[i, j, k, 9 * a + 3 * b + d]
                            value += w * q[i + a - 1, j + b - 1, k + d - 1]
                out[i, j, k] = value


class Pass:
    """A pass over a grid of one shape: 9 float64 coefficients a cell in 2-D, 27 in 3-D."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.kernel = _pass_2d if len(shape) == 2 else _pass_3d
        rng = np.random.default_rng(7130)
        self.coefficients = rng.random((*shape, 3 ** len(shape)))
        self.q, self.out = rng.random(shape), np.zeros(shape)

    def __call__(self, threads: int = 1) -> float:
        """Seconds of one pass, its rows shared among threads."""
        n = self.q.shape[0]
        cuts = [k * n // threads for k in range(threads + 1)]

        def part(k: int) -> None:
            self.kernel(cuts[k], cuts[k + 1], self.coefficients, self.q, self.out)

        with ThreadPoolExecutor(max(1, threads - 1)) as pool:
            list(pool.map(int, range(threads)))  # the pool's threads are there before the clock
            began = time.perf_counter()
            others = [pool.submit(part, k) for k in range(1, threads)]
            part(0)
            for other in others:
                other.result()
            return time.perf_counter() - began


def seconds(shape: tuple[int, ...], repeats: int = 15, threads: int = 1) -> float:
    """Median time of a pass."""
    run = Pass(shape)
    return float(np.median([run(threads) for _ in range(repeats + 1)][1:]))
