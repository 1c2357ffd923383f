"""`solve_multiscale`: sparse entropic transport, coarse to fine, with exact zeros and tears.

Only cells with mass take part: no floor, no lift.  Both sides are summed to coarser grids, the
coarsest pair is solved between all its atoms, and each finer one between the children of the pairs
that carry mass, at an eps of about half a cell squared: 12 to 40 pairs a cell in 2-D, and some 15
to 30 cycles; O(N) altogether.  Exact Legendre transforms of the potentials then forget eps: their
dual value is a lower bound of W2^2 of the atoms whatever the errors (up to rounding), about .1 h^2
below it at eps = .5 h^2, .06 at .125 and .016 at .03.  Rows of the plan are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pma_grid.entropic.iteration import Iteration
from pma_grid.entropic.multiscale.candidates import Candidates, extended, widened
from pma_grid.entropic.multiscale.chunks import Chunks
from pma_grid.entropic.multiscale.outcome import outcome
from pma_grid.entropic.multiscale.pyramid import ALL_PAIRS, Level, pyramid
from pma_grid.entropic.multiscale.refinement import EpsStage, LevelPlan, Refinement
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array
from pma_grid.transport.atomic_dual import from_source

# Default eps, and where every level but the last ends, in cells squared.
DEFAULT_EPS_CELLS = 0.5
# Stages of a level, and of the last one on its way to smaller eps, in cells squared.
EPS_LADDER_CELLS = (1.0, 0.5, 0.25, 0.125, 0.06, 0.03)
# The first eps over the squared diagonal of the box, and the ratio of the first stages.
FIRST_EPS_SQUARED_DIAGONALS, FIRST_EPS_RATIO = 0.5, 0.6
# L1 error and cycles of levels that only start finer ones; a share of them for earlier stages.
COARSE_TOLERANCE = 1e-4
COARSE_CYCLES = 20
STAGE_CYCLES = 6
# A start whose rows miss their masses by less than this, in L1 at the first eps of the ladder, is
# used.  Measured: optimal potentials .03 to .44; the identity's, noise, any other problem's 1 to 2.
LARGEST_START_ERROR = 0.5
# Pairs with less than this share of the smaller of their masses are dropped.
LARGEST_DELTA, SMALLEST_DELTA = 1e-5, 1e-12


def solve_multiscale(
    problem: Problem,
    reduced: Reduced,
    eps: float,
    *,
    tol: float,
    max_iterations: int,
    initial: Array | None,  # reduced f; given up on the first level on which it is far off
    threads: int,
    report: Callable[[Iteration], None],
) -> EntropicTransport:
    """The sparse entropic plan, hard potentials, a rigorous lower bound of W2."""
    goal = _Goal(eps, tol, max_iterations)
    with Chunks(threads) as chunks:
        if initial is not None:
            # its convex envelope; with its largest value at 0, the transforms are of the size of
            # the cost and keep their digits
            initial = from_source(reduced, initial - initial[reduced.a > 0].max()).f
        descent = _Descent(pyramid(reduced), goal, chunks, report)
        plan = descent.run(initial)
        result = outcome(problem, reduced, plan, tol)
    stats = result.stats
    stats.iterations, stats.levels = descent.records[-1]["iterations"], descent.records
    stats.cell, stats.eps_over_h2 = reduced.cell, eps / reduced.cell
    stats.tol, stats.threads = tol, chunks.threads
    return result


@dataclass(frozen=True)
class _Goal:
    """What is asked for."""

    eps: float
    tol: float
    cycles: int

    def stages(self, level: Level, *, coarsest: bool, finest: bool, warm: bool) -> list[EpsStage]:
        """Falling values of eps on one level; each starts the next one."""
        cell = level.cell
        end = self.eps if finest else max(self.eps, DEFAULT_EPS_CELLS * cell)
        values = [k * cell for k in EPS_LADDER_CELLS]
        if coarsest and not warm:
            first = FIRST_EPS_SQUARED_DIAGONALS * _diagonal(level)
            steps = math.log(first / values[0], 1 / FIRST_EPS_RATIO) if first else 0.0
            values = [first * FIRST_EPS_RATIO**k for k in range(math.ceil(steps))] + values
        values = [v for v in values if v > end * (1 + 1e-9)] + [end]
        tol = min(self.tol, COARSE_TOLERANCE) if finest else COARSE_TOLERANCE
        delta = min(LARGEST_DELTA, max(SMALLEST_DELTA, 0.1 * tol))
        stages = [EpsStage(v, COARSE_TOLERANCE, STAGE_CYCLES, delta, False) for v in values[:-1]]
        if finest:
            return [*stages, EpsStage(end, self.tol, self.cycles, delta, True)]
        return [*stages, EpsStage(end, COARSE_TOLERANCE, COARSE_CYCLES, delta, False)]


class _Descent:
    """From the coarsest level to the finest."""

    def __init__(
        self,
        levels: list[Level],
        goal: _Goal,
        chunks: Chunks,
        report: Callable[[Iteration], None],
    ) -> None:
        self.levels, self.goal, self.chunks, self.report = levels, goal, chunks, report
        self.records: list[dict[str, Any]] = []

    def run(self, initial: Array | None) -> LevelPlan:
        """The plan of the finest level; ``initial``: f on the source's whole grid."""
        starts = None if initial is None else _restricted(self.levels, initial)
        first = next(k for k, level in enumerate(self.levels) if level.pairs <= ALL_PAIRS)
        candidates = Candidates.all(self.levels[first], self.chunks)
        f = np.zeros(self.levels[first].source.size)
        for index in range(first, -1, -1):
            if starts is not None and self._near(candidates, starts[index]):
                f = starts[index]
            else:
                starts = None
            refinement = Refinement(candidates, self.levels[index:], self.report)
            stages = self.goal.stages(
                self.levels[index],
                coarsest=index == first,
                finest=index == 0,
                warm=starts is not None,
            )
            plan = refinement.solve(f, stages)
            self.records.append(refinement.record(plan))
            if index > 0:
                candidates, f = self._descend(plan, self.levels[index - 1])
        return plan

    def _near(self, candidates: Candidates, start: Array) -> bool:
        """Whether a start is so good that the first stages need not be gone through."""
        eps = max(self.goal.eps, candidates.level.cell)
        return candidates.imbalance(start, eps) < LARGEST_START_ERROR

    def _descend(self, plan: LevelPlan, fine: Level) -> tuple[Candidates, Array]:
        """Candidates and first potential of the next finer level."""
        coarse = plan.level
        pairs = widened(plan.pairs, coarse, plan.images(), plan.preimages())
        f = extended(coarse, fine, pairs, plan.g, plan.eps, self.chunks)
        return Candidates.children(fine, coarse, pairs, self.chunks), f


def _diagonal(level: Level) -> float:
    """Largest squared distance of two cells, length^2."""
    side = np.maximum(*(s.spacing * (np.array(s.shape) - 1) for s in (level.source, level.target)))
    return float((side**2).sum())


def _restricted(levels: list[Level], initial: Array) -> list[Array]:
    """A potential on the source's grid, averaged by mass on every level."""
    values = [initial.ravel()[levels[0].source.flat]]
    for fine, coarse in pairwise(levels):
        share = fine.source.mass / coarse.source.mass[fine.source.parent]
        values.append(np.asarray(np.bincount(fine.source.parent, share * values[-1]), float))
    return values
