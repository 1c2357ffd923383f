"""What is recorded along a learned flow: functions of a state, 0 at the start.

d is the learned direction log(rho/mu_hat) of the step that led to a state, e = d - log(rho/mu) its
error, both at the rho where the step takes them; mu is the flow's reference, m the points' law.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.flow.observables import Observable
from pma_grid.flow.state import SEGMENT_NODES, SEGMENT_WEIGHTS, State
from pma_grid.learning.estimators.estimator import TINY_MASS
from pma_grid.learning.steps import LearnedState
from pma_grid.problem.density import Density
from pma_grid.problem.log_density import LogDensity
from pma_grid.runtime import Array
from pma_grid.transport.pullback import normalised


def learned_error(state: State) -> float:
    """(sum mu (e - mean e)^2)^{1/2}: the rms error of the direction, its constant taken out."""
    if not _moved(state):
        return 0.0
    masses = state.operator.masses
    e = state.error - (masses * state.error).sum()
    return float(np.sqrt((masses * e * e).sum()))


def learned_bias(state: State) -> float:
    """sum e (mu - rho): what the error adds to the regret of the step."""
    if not _moved(state):
        return 0.0
    return float((state.error * (state.operator.masses - state.rho)).sum())


def learned_bias_bound(state: State) -> float:
    """osc(e) TV(rho, mu), osc = max - min: at least |`learned_bias`|, often many times as much."""
    if not _moved(state):
        return 0.0
    tv = 0.5 * float(np.abs(state.operator.masses - state.rho).sum())
    return float(np.ptp(state.error)) * tv


def learned_regret(state: State) -> float:
    """<d, rho - mu>: the regret of the direction taken, towards the reference."""
    if not _moved(state):
        return 0.0
    return float((state.direction * (state.rho - state.operator.masses)).sum())


def empirical_regret(masses: Array) -> Observable:
    """<d, rho - m>: the regret of the direction taken, towards the points' law m."""

    def empirical_regret(state: State) -> float:
        """Sum of d (rho - m)."""
        if not _moved(state):
            return 0.0
        return float((state.direction * (state.rho - masses)).sum())

    return empirical_regret


def semidual_fall(masses: Array, start: Array) -> Observable:
    """J_m(u_0) - J_m(u), J_m(u) = int u dm + int u* dnu, for phi of the start u_0, length^2.

    The integral of <u - u_0, rho_s - m> over the segment between them: no conjugate is taken.
    """

    def semidual_fall(state: State) -> float:
        """Gauss-Legendre along the segment from the start."""
        operator, w = state.operator, state.phi - start
        total = 0.0
        for s, weight in zip(SEGMENT_NODES, SEGMENT_WEIGHTS, strict=True):
            residual = operator.evaluate(start + s * w, state.time)
            rho, _, _ = normalised(operator.masses, residual)
            total += weight * float((w * (rho - masses)).sum())
        return total

    return semidual_fall


def held_out(points: ArrayLike) -> Observable:
    """Mean log-likelihood of held-out points under rho by `LogDensity`, nats a point."""

    def held_out(state: State) -> float:
        """Mean of log rho at the points."""
        grid = state.operator.problem.source.grid
        density = Density(np.maximum(state.masses, TINY_MASS), grid)
        return float(LogDensity.of(density)(points).mean())

    return held_out


def _moved(state: State) -> TypeGuard[LearnedState]:
    """Whether a learned step led here."""
    return isinstance(state, LearnedState) and state.step.size > 0
