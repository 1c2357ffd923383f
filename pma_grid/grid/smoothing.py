"""Smoothing of directions: the inverse of 1 - l^2 Laplacian with reflection at the faces."""

from __future__ import annotations

import numpy as np
from scipy import fft

from pma_grid.grid.axes import along
from pma_grid.runtime import Array


def helmholtz(field: Array, spacing: tuple[float, ...], length: float) -> Array:
    """(1 - length^2 Laplacian)^{-1} field, by cosine transforms: exact for centred differences."""
    symbol = np.ones(())
    for axis, (n, h) in enumerate(zip(field.shape, spacing, strict=True)):
        wave = (2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n)) * (length / h) ** 2
        symbol = symbol + along(wave, axis, field.ndim)
    return np.asarray(fft.idctn(fft.dctn(field, norm="ortho") / symbol, norm="ortho"))
