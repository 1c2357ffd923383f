"""Stages: the equation of thin data reached by way of equations that the start nearly solves.

What a start leaves over, F = log(nu(grad u) det D2u / mu) less its mean, is small where there is
mass and may be tens of nats in the tails, which then decide how far Newton's method can step.  The
start solves the equation of log mu + F exactly; log mu + theta F is solved for theta from 1 to 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from pma_grid.equation.evaluation import Evaluation
from pma_grid.runtime import Array, Status
from pma_grid.stationary.newton import Iterate, Newton

# Largest change of log mu, nats, that the first stage is asked for; 2 to 30 reach the same answers,
# this in the least time.
FIRST_STAGE_NATS = 4.0
# rms residual, and Newton steps, of stages before the last; a stage that is solved makes the next
# one longer by this factor, one that is not is halved.
STAGE_TOLERANCE, STAGE_STEPS, STAGE_GROWTH = 0.15, 6, 1.5
# Tried in all, and one after the other that fail: of hundreds of grids two that were solved took
# more.  Where the standard working densities have failed, what is gentler is worth more.
MOST_STAGES, MOST_FAILURES = 5, 2
MOST_GENTLE_STAGES, MOST_GENTLE_FAILURES = 8, 3
# Part of F that is none.
LAST_THETA = 1e-9
# rms residual below which the one weighted by mass has to meet the tolerance: what is left over
# sits where next to nothing is transported, and is less than the working densities changed there.
TAILS_RESIDUAL = 1e-2


@dataclass(frozen=True)
class Defect:
    """F of a start: ``values`` (N,), its mean over mu, and the cells where u is not convex."""

    values: Array
    mean: float
    nonconvex: int

    @classmethod
    def of(cls, evaluation: Evaluation, phi: Array) -> Defect:
        """Where u is not convex, F is that of the nearest cell where it is."""
        values = evaluation.evaluate_log(phi)
        lost = ~np.isfinite(values)
        count = int(lost.sum())
        if lost.all():
            return cls(np.zeros(values.size), 0.0, count)
        if count:
            nearest = ndimage.distance_transform_edt(
                lost, return_distances=False, return_indices=True
            )
            values = values[tuple(nearest)]
        masses = np.exp(evaluation.equation.log_source)
        flat = values.ravel()
        mean = float(flat @ masses / masses.sum())
        return cls(flat - mean, mean, count)

    @property
    def size(self) -> float:
        """The largest |F|, nats."""
        return float(np.abs(self.values).max())


@dataclass
class Staged:
    """What stages came to on one grid: the last iterate that solved one, and what they took."""

    state: Iterate
    defect: Defect
    stages: int = 0
    steps: int = 0
    linear_iterations: int = 0
    uniform: float = math.inf
    weighted: float = math.inf

    def record(self) -> dict[str, Any]:
        """For the statistics."""
        return {
            "stages": self.stages,
            "newton": self.steps,
            "linear": self.linear_iterations,
            "defect": self.defect.size,
            "nonconvex": self.defect.nonconvex,
            "residual": self.uniform,
            "weighted_residual": self.weighted,
        }


def run(
    newton: Newton, evaluation: Evaluation, phi: Array, tol: float, enough: float,
    *, gentle: bool = False,
) -> Staged:  # fmt: skip
    """Newton's method from ``phi``, in stages where one step would change log mu by too much.

    ``enough``: a last stage that stalls below this residual stays as it is: rounding keeps it from
    ``tol``.  ``gentle``: for gentler data than the standard working ones, or from their solution.
    """
    most = MOST_GENTLE_STAGES if gentle else MOST_STAGES
    bearable = MOST_GENTLE_FAILURES if gentle else MOST_FAILURES
    defect = Defect.of(evaluation, phi)
    out = Staged(Iterate(phi, defect.mean), defect)
    log_source = evaluation.equation.log_source
    short = replace(newton, max_iterations=min(STAGE_STEPS, newton.max_iterations))
    theta, step = 1.0, min(1.0, FIRST_STAGE_NATS / max(defect.size, FIRST_STAGE_NATS))
    failures = 0
    while out.stages < most and theta > 0 and failures < bearable:
        goal = theta - step if theta - step > LAST_THETA else 0.0
        superbase = evaluation.superbase.copy()
        evaluation.aim(log_source + goal * defect.values if goal else log_source)
        tried = Iterate(out.state.phi, out.state.alpha, handle=out.state.handle)
        last = goal == 0.0
        if last:
            tried = newton.run(evaluation, tried, tol, tails=TAILS_RESIDUAL)
        else:
            tried = short.run(evaluation, tried, STAGE_TOLERANCE)
        out.stages += 1
        out.steps += tried.steps
        out.linear_iterations += tried.linear_iterations
        out.uniform, out.weighted = tried.residual, evaluation.weighted_rms()
        if last and out.uniform <= TAILS_RESIDUAL:
            tried.residual = min(out.uniform, out.weighted)
        if tried.status.succeeded or (last and tried.residual <= enough):
            out.state, theta = tried, goal
            step = min(STAGE_GROWTH * step, theta)
            if tried.steps:  # else what has failed is tried from the same iterate again
                failures = 0
        else:
            out.state.status, out.state.residual = tried.status, tried.residual
            evaluation.restart(superbase)
            step, failures = 0.5 * step, failures + 1
    if theta > 0 and out.state.status.succeeded:
        # the last that was solved is a stage before the end
        out.state.status = Status.MAX_ITERATIONS
    evaluation.aim(log_source)
    return out
