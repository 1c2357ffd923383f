"""Residuals of the identities that the flow satisfies: zero in the limit, of known order."""

from __future__ import annotations

import numpy as np

from pma_grid.flow.flow import Flow
from pma_grid.runtime import Array, InvalidInputError

# What the functions of this package read; pass it as record=.
SERIES = (
    "kl", "reverse_kl", "symmetrised_kl", "dissipation", "bregman", "forward_divergence",
    "backward_divergence", "mass_constant",
)  # fmt: skip


def evi_residual(flow: Flow) -> Array:
    """Defect of the discrete evolution variational identity at mu, relative to eta S, one a step.

    Explicit mirror steps satisfy

        D_{k+1} - D_k = -eta_k S_k + D(rho_k | rho_{k+1}),

    implicit ones

        D_{k+1} - D_k = -eta_k S_{k+1} - D(rho_{k+1} | rho_k),

    exactly in space; on a grid, with the divergences taken along segments, up to order 2 in h.
    Sinkhorn's sweeps are explicit steps that satisfy it to rounding on every grid.

    Parameters
    ----------
    flow : Flow
        A flow of `Explicit`, `ImplicitEuler` or Sinkhorn's sweeps with the series `SERIES`; with
        smoothing also `pma_grid.observables.smoothed_kl` of its length, which then is S.

    Returns
    -------
    ndarray, shape (steps,)
        (left side - right side) / (eta S), dimensionless; 0 where S is 0.

    Raises
    ------
    InvalidInputError
        The scheme is of another kind, or a series is missing.
    """
    if flow.weights not in ((1.0, 0.0), (0.0, 1.0)):
        raise InvalidInputError(
            f"flow is of the scheme {flow.scheme}; the identities are those of mirror steps: use "
            "Explicit or ImplicitEuler"
        )
    gain, spent = np.diff(flow["bregman"]), weighted_regret(flow)
    return _relative(gain + spent - _divergences(flow), spent)


def regret_residual(flow: Flow) -> Array:
    """Defect of sum eta S = D_0 - D_K +- sum D(. | .), relative to the left side, one a step.

    The sum of the EVI over steps: + D(rho_k | rho_{k+1}) for explicit, - D(rho_{k+1} | rho_k) for
    implicit mirror steps; shape (steps,).  For TR-BDF2, by the trapezoidal rule and with no
    divergence, it is the identity of the continuous flow: zero up to the order in time.
    """
    spent, d = np.cumsum(weighted_regret(flow)), flow["bregman"]
    return _relative(spent - (d[0] - d[1:] + np.cumsum(_divergences(flow))), spent)


def dissipation_residual(flow: Flow) -> Array:
    """(KL_{k+1} - KL_k) / eta_k + (I_k + I_{k+1}) / 2, relative to the mean of I, one a step.

    dKL(rho_t|mu)/dt = -I_t: zero up to the order of the scheme and of the grid.
    """
    mean = 0.5 * (flow["dissipation"][:-1] + flow["dissipation"][1:])
    return _relative(np.diff(flow["kl"]) / flow.step_sizes + mean, mean)


def regret_series(flow: Flow) -> Array:
    """S along the flow: the symmetrised KL, smoothed where the steps were."""
    return flow["smoothed_kl" if flow.smoothing > 0 else "symmetrised_kl"]


def weighted_regret(flow: Flow) -> Array:
    """eta_k S at the states where the steps evaluate h, one a step, length^2."""
    (old, new), s = flow.weights, regret_series(flow)
    return np.asarray(flow.step_sizes * (old * s[:-1] + new * s[1:]))


def _divergences(flow: Flow) -> Array:
    """What D_k - D_{k+1} and eta S differ by: a divergence a mirror step, 0 for other schemes."""
    if flow.weights == (1.0, 0.0):
        return flow["forward_divergence"][1:]
    if flow.weights == (0.0, 1.0):
        return -flow["backward_divergence"][1:]
    return np.zeros(len(flow))


def _relative(defect: Array, size: Array) -> Array:
    """Quotient, 0 where the size is."""
    return np.asarray(np.divide(defect, size, out=np.zeros_like(defect), where=size != 0))
