"""The no-regret analysis of a flow: identities, bounds, regret and averages."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.flow import Flow
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import MirrorOperator
from pma_grid.problem.density import Density
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import split
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.transport.transport import Transport

# What the functions of this package read; pass it as record=.
SERIES = (
    "kl", "reverse_kl", "symmetrised_kl", "dissipation", "bregman", "forward_divergence",
    "backward_divergence", "mass_constant",
)  # fmt: skip
# The bound phase of a run: the divergence left is above this share of the first one.  Later the
# flow has converged, sum eta S is constant, and every "rate" is only that of 1 / W_K.
BOUND_PHASE_SHARE = 0.1


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
    gain, spent = np.diff(flow["bregman"]), _weighted_regret(flow)
    return _relative(gain + spent - _divergences(flow), spent)


def regret_residual(flow: Flow) -> Array:
    """Defect of sum eta S = D_0 - D_K +- sum D(. | .), relative to the left side, one a step.

    The sum of the EVI over steps: + D(rho_k | rho_{k+1}) for explicit, - D(rho_{k+1} | rho_k) for
    implicit mirror steps; shape (steps,).  For TR-BDF2, by the trapezoidal rule and with no
    divergence, it is the identity of the continuous flow: zero up to the order in time.
    """
    spent, d = np.cumsum(_weighted_regret(flow)), flow["bregman"]
    return _relative(spent - (d[0] - d[1:] + np.cumsum(_divergences(flow))), spent)


def dissipation_residual(flow: Flow) -> Array:
    """(KL_{k+1} - KL_k) / eta_k + (I_k + I_{k+1}) / 2, relative to the mean of I, one a step.

    dKL(rho_t|mu)/dt = -I_t: zero up to the order of the scheme and of the grid.
    """
    mean = 0.5 * (flow["dissipation"][:-1] + flow["dissipation"][1:])
    return _relative(np.diff(flow["kl"]) / flow.step_sizes + mean, mean)


def _regret_series(flow: Flow) -> Array:
    """S along the flow: the symmetrised KL, smoothed where the steps were."""
    return flow["smoothed_kl" if flow.smoothing > 0 else "symmetrised_kl"]


def _weighted_regret(flow: Flow) -> Array:
    """eta_k S at the states where the steps evaluate h, one a step, length^2."""
    (old, new), s = flow.weights, _regret_series(flow)
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


@dataclass(frozen=True)
class Regret:
    """Regret of a flow after K = 1, ..., steps; arrays of shape (steps,).

    Attributes
    ----------
    elapsed : ndarray
        W_K = sum_{k<K} eta_k, length^2.
    cumulative : ndarray
        sum_{k<K} eta_k S, over the states at which the steps evaluate h, length^2.
    average : ndarray
        cumulative / elapsed: the weighted average regret.
    last : ndarray
        S_K, the regret of the last iterate.
    bound : ndarray
        Master bound of ``average``; see `master_bound`.
    bound_phase : ndarray of bool
        Where D_K > 0.1 D_0: the only steps at which a rate says something about the bound.
    """

    elapsed: Array
    cumulative: Array
    average: Array
    last: Array
    bound: Array
    bound_phase: Array

    @property
    def tightness(self) -> Array:
        """average / bound: at most 1 for mirror steps, up to the order in time for TR-BDF2."""
        return np.asarray(self.average / self.bound)


def regret(flow: Flow) -> Regret:
    """Regret of a flow: its average weighted by the steps, that of the last iterate, the bound.

    Parameters
    ----------
    flow : Flow
        It must hold the series "symmetrised_kl", "bregman" and, for explicit steps,
        "forward_divergence"; for smoothed steps also `pma_grid.observables.smoothed_kl`, which then
        is S.

    Raises
    ------
    InvalidInputError
        A series is missing, or the flow has no step.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> flow = pma.evolve(problem, schedule=pma.schedules.inverse_sqrt(0.1), steps=20,
    ...                   record=pma.theory.SERIES)
    >>> bool((pma.theory.regret(flow).tightness <= 1).all())
    True
    """
    if not len(flow):
        raise InvalidInputError("flow has no step; regret is a sum over steps: evolve it first")
    s, d = _regret_series(flow), flow["bregman"]
    elapsed, cumulative = np.cumsum(flow.step_sizes), np.cumsum(_weighted_regret(flow))
    return Regret(
        elapsed=elapsed,
        cumulative=cumulative,
        average=cumulative / elapsed,
        last=s[1:],
        bound=master_bound(flow),
        bound_phase=d[1:] > BOUND_PHASE_SHARE * d[0],
    )


def mixture(flow: Flow) -> Density:
    """The average iterate sum eta rho / sum eta: a mixture of the densities along the flow."""
    if flow.average_density is None:
        raise InvalidInputError("flow has no averages; use one of at least one step from evolve")
    return Density(flow.average_density, flow.oriented.source.grid)


def mixture_divergences(flow: Flow) -> tuple[float, float]:
    """KL(average|mu) and KL(mu|average): by convexity at most the averages of KL along the flow."""
    problem = flow.oriented
    # as along the flow: zeros of the source raised to the working floor, kept by Sinkhorn's sweeps
    values = positive(problem)[0] if flow.eps is None else problem.source.relative
    full = values > 0
    log_ratio = np.log(mixture(flow).relative[full] / values[full])
    masses = values[full] / values.size
    ratio = np.exp(log_ratio)
    return (
        float((masses * (ratio * log_ratio - np.expm1(log_ratio))).sum()),
        float((masses * (np.expm1(log_ratio) - log_ratio)).sum()),
    )


def average_divergence(flow: Flow, stationary: Transport) -> float:
    """D(mu | averaged potential) for sum eta u / sum eta: by convexity at most the average of D.

    The flow is one of at least one step on the source's side, and ``stationary`` the solution of
    its problem, found by `pma_grid.solve` with a small tolerance; for Sinkhorn's flow the entropic
    one of the same eps and kernel.
    """
    if flow.average_potential is None or flow.side != "source":
        raise InvalidInputError(
            "flow has no average potential on the source's grid; use one of at least one step that "
            "evolve returned with side='source'"
        )
    problem = flow.oriented
    phi, _ = split(problem, flow.average_potential)
    return _mirror(flow).divergence(np.array(stationary.phi), phi, 0.0)


def _mirror(flow: Flow) -> MirrorOperator:
    """The mirror that a flow descends in."""
    if flow.eps is None:
        return ParabolicOperator(flow.oriented)
    return EntropicOperator(flow.oriented, flow.eps, kernel=flow.kernel or "plain")
