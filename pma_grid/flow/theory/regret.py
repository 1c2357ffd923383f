"""Regret and averages along a flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.flow import Flow
from pma_grid.flow.mirror_operator import MirrorOperator
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.theory.bounds import master_bound
from pma_grid.flow.theory.identities import regret_series, weighted_regret
from pma_grid.problem.density import Density
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import split
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.transport.transport import Transport

# The bound phase of a run: the divergence left is above this share of the first one.  Later the
# flow has converged, sum eta S is constant, and every "rate" is only that of 1 / W_K.
BOUND_PHASE_SHARE = 0.1


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
    s, d = regret_series(flow), flow["bregman"]
    elapsed, cumulative = np.cumsum(flow.step_sizes), np.cumsum(weighted_regret(flow))
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
    values = positive(problem)[0] if flow.eps is None else problem.source.values
    full = values > 0
    log_ratio = np.log(mixture(flow).values[full] / values[full])
    masses = values[full] * problem.source.grid.cell_volume
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
