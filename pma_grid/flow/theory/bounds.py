"""Bounds of the no-regret analysis, and of the Hessian along the flow."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.flow.flow import Flow
from pma_grid.runtime import Array, InvalidInputError


def master_bound(flow: Flow) -> Array:
    """Bound of the weighted average of S after K = 1, ..., steps; shape (steps,).

    Explicit mirror steps:  [D_0 + sum_{k<K} D(rho_k | rho_{k+1})] / W_K, where the divergence of a
    step is at most eta_k^2 G_k / 2 with G_k the largest dissipation along it.  Implicit steps:
    D_0 / W_K, whatever the step sizes.

    Notes
    -----
    Both are the discrete EVI summed, with D_K >= 0 dropped (and -sum D(rho_{k+1} | rho_k) of
    implicit steps): the bound is sharp while D_K and that sum are small beside D_0.  For TR-BDF2,
    whose average is the trapezoidal rule, D_0 / W_K holds up to the order in time.
    """
    total = np.full(len(flow), flow["bregman"][0])
    if flow.weights[0] == 1.0:
        total = total + np.cumsum(flow["forward_divergence"][1:])
    return np.asarray(total / np.cumsum(flow.step_sizes))


def last_iterate_bound(flow: Flow) -> Array:
    """D_0 / W_K, the bound of KL(rho_K|mu) after K implicit steps of any sizes; shape (steps,).

    In the continuous limit it bounds S = KL(rho|mu) + KL(mu|rho) at the last time.
    """
    return np.asarray(flow["bregman"][0] / np.cumsum(flow.step_sizes))


def hessian_bounds(
    start: tuple[float, float],
    *,
    source_curvature: tuple[float, float],
    target_curvature: tuple[float, float],
) -> tuple[float, float]:
    """Bounds of the eigenvalues of D2u_t for all t (a parabolic Caffarelli theorem).

    Parameters
    ----------
    start : tuple of float
        Smallest and largest eigenvalue of D2u_0 over the domain.
    source_curvature, target_curvature : tuple of float
        Lower and upper bounds of the eigenvalues of D2f and of D2g, mu = e^{-f}, nu = e^{-g},
        1/length^2.

    Returns
    -------
    lower, upper : float
        min(lambda_min(D2u_0), sqrt(alpha_f / L_g)), 0 unless alpha_f > 0, and
        max(lambda_max(D2u_0), sqrt(L_f / alpha_g)), inf unless alpha_g > 0.

    Raises
    ------
    InvalidInputError
        A pair is not in increasing order, or the start is not positive.

    Notes
    -----
    At the largest eigenvalue over the domain d/dt u_ee <= f_ee - alpha_g u_ee^2; the lower bound is
    the same for the conjugate.  f need not be convex for the upper bound.
    """
    pairs = {
        "start": start, "source_curvature": source_curvature, "target_curvature": target_curvature,
    }  # fmt: skip
    for name, (low, high) in pairs.items():
        if not low <= high or (name == "start" and low <= 0):
            raise InvalidInputError(
                f"{name} is {(low, high)!r}; it must be a pair (lower, upper) in increasing order, "
                "positive for the start"
            )
    (alpha_f, l_f), (alpha_g, l_g) = source_curvature, target_curvature
    upper = max(start[1], math.sqrt(max(0.0, l_f) / alpha_g)) if alpha_g > 0 else math.inf
    lower = min(start[0], math.sqrt(alpha_f / l_g)) if alpha_f > 0 and l_g > 0 else 0.0
    return lower, upper
