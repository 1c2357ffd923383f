"""The pullback rho = mu e^h of the target's law under grad u, normalised."""

from __future__ import annotations

import numpy as np

from pma_grid.runtime import Array


def normalised(masses: Array, residual: Array) -> tuple[Array, Array, float]:
    """rho = mu e^{h - alpha} (sums to 1), hbar = h - alpha, and alpha = log sum mu e^h."""
    # cells without mass have no rho, whatever h is there
    top = float((residual if masses.all() else residual[masses > 0]).max())
    rho = residual - top  # without overflow
    np.exp(np.minimum(rho, 0.0, out=rho), out=rho)
    rho *= masses
    total = float(rho.sum())
    rho /= total
    alpha = top + float(np.log(total))
    return rho, residual - alpha, alpha
