"""The flow of `infer`: from the affine map to the posterior, with the bounds of log Z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pma_grid.flow import schedules
from pma_grid.flow.beginning import begin
from pma_grid.flow.ends import Ends
from pma_grid.flow.equilibrium import stationary_phi
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import gather, march, while_easy
from pma_grid.flow.observables import CHEAP, resolve
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.state import State
from pma_grid.flow.stepping import ImplicitEuler
from pma_grid.grid.grid import Grid
from pma_grid.inference.evidence import bounds, conjugate_bounds
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.errors import ConvergenceError, Status
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# To both laws their largest value is added, this many nats down.  det D2u is their ratio, and where
# one falls off and the other does not, steps are hard to solve.  A sum has no kink, as the larger
# of the two would: that takes half the Newton iterations.
DEPTH = {1: 14.0, 2: 12.5, 3: 10.5}
# The same where the base law does not fall off.
DEPTH_FLAT = 9.5
# Steps of the default schedule over the product of the sides of the two boxes.
FIRST, RATIO, LONGEST, MOST_STEPS = 1e-2, 3.0, 3.0, 60
# A flow whose steps must be halved more often is left to `solve`.
HALVINGS = 2


@dataclass(frozen=True)
class Ended:
    """A flow and its transport, the log of the sum of the masses that it was towards."""

    flow: Flow
    transport: Transport
    limit: float


def run(
    logs: Array, grid: Grid, nu: Density, *, side: str, schedule: Schedule | StateSchedule | None,
    steps: int | None, tol: float, progress: bool,
) -> Ended:  # fmt: skip
    """The flow towards exp(logs), log cell masses, from the base law nu, thin cells raised."""
    flat = nu.values.min() > nu.values.max() * math.exp(-DEPTH_FLAT)
    depth = DEPTH_FLAT if flat else DEPTH[grid.dim]
    raised = np.logaddexp(logs, logs.max() - depth)
    limit = float(logsumexp(raised))
    lowest = nu.values.max() * math.exp(-depth)
    problem = Problem(
        Density(np.exp(raised - raised.max()), grid),
        Density(nu.values + lowest, nu.grid),
    )
    unit = math.prod(d.grid.volume ** (1 / d.dim) for d in (problem.source, problem.target))
    rule = schedule or schedules.geometric(FIRST * unit, RATIO, LONGEST * unit)
    observables = bounds(raised) if side == "source" else conjugate_bounds(limit)
    scheme = ImplicitEuler()
    recorder = Recorder(
        problem, scheme, rule, side=side, record=resolve([*CHEAP, *observables]),
        stationary=stationary_phi,
    )  # fmt: skip
    ends = Ends(MOST_STEPS, tol=tol) if steps is None else Ends(steps)
    states = while_easy(march(begin(problem, None, side, None), scheme, rule, ends), HALVINGS)
    flow = gather(states, recorder, ends, met=_converged, progress=progress)
    return Ended(flow, _transport(flow, problem, steps), limit)


def _converged(_: State) -> Status:
    """How a flow ended that reached its tolerance."""
    return Status.CONVERGED


def _transport(flow: Flow, problem: Problem, steps: int | None) -> Transport:
    """The flow's end, or what `solve` finds where the flow did not get there."""
    if flow.status is Status.CONVERGED or steps is not None:
        return flow.transport
    try:
        return solve(problem)
    except ConvergenceError as error:
        best: Transport = error.result
        return best
