"""Potentials of a density to itself, which take the entropic bias out of others."""

from __future__ import annotations

import numpy as np

from pma_grid.entropic.dense.stages import Settings
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array

# The averaged iteration contracts by about a half a sweep.
MOST_SWEEPS = 1000


def self_potential(density: Reduced, eps: float, settings: Settings) -> tuple[Array, Array, float]:
    """f with f = -eps log sum a exp((f - |x - x'|^2/2) / eps), the mean E[x' | x], and the error.

    Parameters
    ----------
    density : Reduced
        A density to itself: masses ``a`` at ``x`` on both sides.
    eps : float
        length^2.
    settings : Settings

    Notes
    -----
    f <- (f + f')/2 converges linearly whatever eps (Feydy et al. 2019, arXiv:1810.08278, section
    3.1); ``error`` is the L1 error of the marginals.
    """
    kernel = settings.kernel(density, eps)
    log_a = density.log_masses[0]
    F = -0.5 * kernel.to_source(log_a)
    error = np.inf
    for _ in range(MOST_SWEEPS):
        new = -kernel.to_source(log_a + F)
        with np.errstate(over="ignore"):
            wrong = np.where(density.a > 0, np.expm1(F - new), 0.0)
        error = float(np.vdot(density.a, np.abs(wrong)))
        F = 0.5 * (F + new)
        if error <= settings.tol:
            break
    F = -kernel.to_source(log_a + F)
    return eps * F, kernel.mean_on_source(log_a + F), error
