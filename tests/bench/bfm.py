"""Driver of the back-and-forth method around its compiled module ``w2``, where that is installed.

Jacobs & Léger (2020), A fast approach to optimal transport: the back-and-forth method, Numer. Math.
146, 513-544, arXiv:1905.12154, Algorithm 2 with its step-size rule.  Two-dimensional, unit square.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy import fft

Array = np.ndarray
# Armijo-Goldstein window and factor of the paper's section on step sizes.
WINDOW = (0.25, 0.75)
FACTOR = 0.95


class BackAndForth:
    """Potentials phi (target side) and psi (source side) of two densities of mean one."""

    def __init__(self, module: Any, source: Array, target: Array) -> None:
        self.source, self.target = source.copy(), target.copy()
        n0, n1 = source.shape
        x = np.meshgrid((np.arange(n0) + 0.5) / n0, (np.arange(n1) + 0.5) / n1, indexing="ij")
        self.half_square = 0.5 * (x[0] ** 2 + x[1] ** 2)
        self.phi, self.psi = self.half_square.copy(), self.half_square.copy()
        self.core = module.BFM(n1, n0, self.source)
        k = [2 * n * n * (1 - np.cos(np.pi * np.arange(n) / n)) for n in (n0, n1)]
        self.laplacian = k[0][:, None] + k[1][None]
        self.laplacian[0, 0] = 1.0
        self.pushed = self.source.copy()
        self.step = 4 / max(source.max(), target.max())

    def value(self) -> float:
        """Half of W2^2 by the dual."""
        total = self.half_square * (self.source + self.target)
        total -= self.target * self.phi + self.source * self.psi
        return float(total.mean())

    def ascend(self, potential: Array, density: Array) -> float:
        """H1 gradient step of one potential; returns the squared norm of the gradient."""
        defect = self.pushed - density
        spectrum = fft.dctn(defect, norm="ortho") / self.laplacian
        spectrum[0, 0] = 0.0
        direction = fft.idctn(spectrum, norm="ortho")
        potential += self.step * direction
        return float((direction * defect).mean())

    def adapt(self, gained: float, slope: float) -> None:
        """Longer steps where the value rose nearly linearly, shorter where it did not."""
        if gained > WINDOW[1] * self.step * slope:
            self.step /= FACTOR
        elif gained < WINDOW[0] * self.step * slope:
            self.step *= FACTOR

    def iterate(self) -> None:
        """One back-and-forth iteration."""
        sides = ((self.phi, self.psi, self.target), (self.psi, self.phi, self.source))
        for potential, other, density in sides:
            before = self.value()
            slope = self.ascend(potential, density)
            self.core.ctransform(other, potential)
            self.core.ctransform(potential, other)
            self.adapt(self.value() - before, slope)
            self.core.pushforward(self.pushed, potential, density)

    def map(self) -> Array:
        """Centred gradient of psi, (2, *shape): the map from source to target."""
        n0, n1 = self.psi.shape
        return np.stack(np.gradient(self.psi, 1 / n0, 1 / n1))


def run(source: Array, target: Array, iterations: int = 15) -> dict[str, Any] | None:
    """Seconds, W2^2 and map after some iterations; None where ``w2`` cannot be imported."""
    try:
        import w2
    except ImportError:
        return None
    began = time.perf_counter()
    method = BackAndForth(w2, source, target)
    for _ in range(iterations):
        method.iterate()
    return {
        "seconds": time.perf_counter() - began,
        "w2_squared": 2 * method.value(),
        "map": method.map(),
    }
