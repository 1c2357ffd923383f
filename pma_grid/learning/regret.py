"""`learned_regret`: no-regret sums of learned steps, towards the law and towards its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.flow.flow import Flow
from pma_grid.flow.theory import master_bound
from pma_grid.runtime import Array, InvalidInputError

# What `learned_regret` reads of the observables that exact flows have too; the others are those of
# `pma_grid.learning.observations`.  `fit` records both where the truth is given.
EXACT_SERIES = ("symmetrised_kl", "bregman", "forward_divergence", "backward_divergence")


@dataclass(frozen=True)
class LearnedRegret:
    """How learned steps do on average, and what bounds it: one entry for each number K of steps.

    Averages over the first K steps are weighted by the step sizes, and written avg; rho is the law
    reached, mu the true one, m that of the points, d the learned direction and e its error.

    Attributes
    ----------
    elapsed : ndarray
        W_K, the sum of the step sizes, length^2.
    average : ndarray
        avg S, S = <log(rho/mu), rho - mu>: the regret of the exact direction at the states visited.
    learned : ndarray
        avg <d, rho - mu>: of the learned direction, towards the reference mu.
    empirical : ndarray
        avg <d, rho - m>: of the learned direction, towards the law m of the points.
    bias : ndarray
        avg <e, mu - rho> = average - learned: what the errors e of the directions add.
    bias_bound : ndarray
        avg osc(e) TV(rho, mu) >= |bias|.
    bound : ndarray
        [D_0 + explicit steps' sum of D(rho_k|rho_{k+1})] / W_K, of ``learned``: the master bound,
        which holds for any direction.
    empirical_bound : ndarray
        The same of ``empirical``, with J_m(u_0) - J_m(u_K) in place of D_0.

    Notes
    -----
    For every direction d and comparator m, mirror steps satisfy

        sum eta <d, rho - m> = J_m(u_0) - J_m(u_K) +- sum D,

    + D(rho_k|rho_{k+1}) for explicit, - D(rho_{k+1}|rho_k) for implicit steps: on a grid up to
    order 2.  With m = mu and d = log(rho/mu) + e it gives avg S <= bound + avg osc(e) TV: regret
    falls like 1/W_K down to a floor set by the error of what was learned.

    References
    ----------
    Deb & Liang (2025), arXiv:2504.09279: the bound for exact directions.
    """

    elapsed: Array
    average: Array
    learned: Array
    empirical: Array
    bias: Array
    bias_bound: Array
    bound: Array
    empirical_bound: Array

    @property
    def guarantee(self) -> Array:
        """bound + bias_bound: what ``average`` cannot exceed."""
        return np.asarray(self.bound + self.bias_bound)


def learned_regret(flow: Flow) -> LearnedRegret:
    """The no-regret sums of a learned flow.

    Parameters
    ----------
    flow : Flow
        The ``flow`` of a model that `pma_grid.fit` learned with ``truth`` given.

    Returns
    -------
    LearnedRegret
        The averages after each step, and their bounds.

    Raises
    ------
    InvalidInputError
        A series is missing, or the flow has no step.
    """
    if not len(flow):
        raise InvalidInputError("flow has no step; regret is a sum over steps: give it some")
    old, _ = flow.weights
    eta, elapsed = flow.step_sizes, np.cumsum(flow.step_sizes)
    s = flow["symmetrised_kl"][:-1] if old else flow["symmetrised_kl"][1:]
    spent = np.cumsum(flow["forward_divergence"][1:]) if old else np.zeros(len(flow))

    def average(values: Array) -> Array:
        """Over the steps up to each."""
        return np.asarray(np.cumsum(eta * values) / elapsed)

    return LearnedRegret(
        elapsed=elapsed,
        average=average(s),
        learned=average(flow["learned_regret"][1:]),
        empirical=average(flow["empirical_regret"][1:]),
        bias=average(flow["learned_bias"][1:]),
        bias_bound=average(flow["learned_bias_bound"][1:]),
        bound=master_bound(flow),
        empirical_bound=(flow["semidual_fall"][1:] + spent) / elapsed,
    )
