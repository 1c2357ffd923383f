"""Anderson's acceleration of fixed-point iterations: Walker, Ni (2011), doi:10.1137/10078356X."""

from __future__ import annotations

import numpy as np

from pma_grid.runtime import Array

# Share of the trace that is added to the normal matrix's diagonal.
REGULARISATION_TRACES = 1e-10


class Anderson:
    """x <- the affine combination of recent images whose residual is least, in least squares."""

    def __init__(self, memory: int = 8) -> None:
        self.memory = memory
        self.clear()

    def clear(self) -> None:
        """Forget."""
        self._last: tuple[Array, Array] | None = None
        self._images: list[Array] = []
        self._residuals: list[Array] = []
        self._gram = np.zeros((0, 0))

    def mix(self, x: Array, image: Array) -> Array:
        """The next iterate from the present one and its image."""
        residual = image - x
        if self._last is not None:
            self._push(image - self._last[0], residual - self._last[1])
        self._last = image, residual
        n = len(self._images)
        if n == 0:
            return image
        right = np.array([_dot(d, residual) for d in self._residuals])
        normal = self._gram + REGULARISATION_TRACES * np.trace(self._gram) * np.eye(n)
        try:
            shares = np.linalg.solve(normal, right)
        except np.linalg.LinAlgError:
            self.clear()
            return image
        mixed = image.copy()
        for share, d in zip(shares, self._images, strict=True):
            mixed -= share * d
        return mixed

    def _push(self, image: Array, residual: Array) -> None:
        """Append a difference, drop the oldest."""
        self._images.append(image)
        self._residuals.append(residual)
        row = np.array([_dot(d, residual) for d in self._residuals])
        gram = np.zeros((row.size, row.size))
        gram[:-1, :-1] = self._gram
        gram[-1] = gram[:, -1] = row
        if row.size > self.memory:
            del self._images[0], self._residuals[0]
            gram = gram[1:, 1:]
        self._gram = gram


def _dot(x: Array, y: Array) -> float:
    """x . y in one thread: those of BLAS cost more than they save on vectors of this length."""
    return float(np.einsum("i,i", x, y))
