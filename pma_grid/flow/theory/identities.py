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

    References
    ----------
    Deb & Liang (2025), arXiv:2504.09279: the evolution variational inequality; as identities
    derived in docs/theory.md.
    """
    old, _ = _mirror_weights(flow)
    gain = np.diff(flow["bregman"])
    s = regret_series(flow)
    if old == 1.0:
        spent = flow.step_sizes * s[:-1]
        defect = gain + spent - flow["forward_divergence"][1:]
    else:
        spent = flow.step_sizes * s[1:]
        defect = gain + spent + flow["backward_divergence"][1:]
    return _relative(defect, spent)


def regret_residual(flow: Flow) -> Array:
    """Defect of sum eta S = D_0 - D_K +- sum D(. | .), relative to the left side, one a step.

    The sum of the EVI over steps: + D(rho_k | rho_{k+1}) for explicit, - D(rho_{k+1} | rho_k) for
    implicit mirror steps; shape (steps,).  For TR-BDF2, by the trapezoidal rule and with no
    divergence, it is the identity of the continuous flow: zero up to the order in time.
    """
    old, new = flow.weights
    s, d = regret_series(flow), flow["bregman"]
    spent = np.cumsum(flow.step_sizes * (old * s[:-1] + new * s[1:]))
    extra = np.zeros(len(flow))
    if old == 1.0:
        extra = np.cumsum(flow["forward_divergence"][1:])
    elif new == 1.0:
        extra = -np.cumsum(flow["backward_divergence"][1:])
    return _relative(spent - (d[0] - d[1:] + extra), spent)


def dissipation_residual(flow: Flow) -> Array:
    """(KL_{k+1} - KL_k) / eta_k + (I_k + I_{k+1}) / 2, relative to the mean of I, one a step.

    dKL(rho_t|mu)/dt = -I_t: zero up to the order of the scheme and of the grid.
    """
    mean = 0.5 * (flow["dissipation"][:-1] + flow["dissipation"][1:])
    return _relative(np.diff(flow["kl"]) / flow.step_sizes + mean, mean)


def regret_series(flow: Flow) -> Array:
    """S along the flow: the symmetrised KL, smoothed where the steps were."""
    return flow["smoothed_kl" if flow.smoothing > 0 else "symmetrised_kl"]


def _mirror_weights(flow: Flow) -> tuple[float, float]:
    """The weights of a flow of mirror steps, or the error that refuses others."""
    if flow.weights not in ((1.0, 0.0), (0.0, 1.0)):
        raise InvalidInputError(
            f"flow is of the scheme {flow.scheme}; the identities are those of mirror steps: use "
            "Explicit or ImplicitEuler"
        )
    return flow.weights


def _relative(defect: Array, size: Array) -> Array:
    """Quotient, 0 where the size is."""
    return np.asarray(np.divide(defect, size, out=np.zeros_like(defect), where=size != 0))
