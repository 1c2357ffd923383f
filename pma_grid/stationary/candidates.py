"""What is tried where Newton's method stalls, and which of the candidates is returned.

1. Maps onto targets with gaps tear, and those of sources with gaps are held by nothing there: the
   sparse entropic solver is the answer.
2. Elsewhere nested iteration from the coarsest grid.
3. Where that stalls: the sparse entropic solver on the grid in question (at least 64 cells an axis)
   gives a start, thin densities are raised to working floors, and Newton goes on.
4. Where that stalls too, or the mass constant says that the grid does not resolve the data: the
   sparse entropic solver on the grid itself.

Every candidate's potential gives, by exact Legendre transforms, a lower bound of the W2^2 between
the atoms at the cell centres, of the data as given and whether it solves anything or not.  The
largest bound decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pma_grid.entropic.solving import sinkhorn
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.density import Density
from pma_grid.problem.floors import Floors, positive
from pma_grid.problem.frame import mean_free
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduction
from pma_grid.runtime import Array, InvalidInputError, Status
from pma_grid.stationary.cascade import DEFAULT_TOLERANCE, Cascade, Reached
from pma_grid.stationary.levels import Levels
from pma_grid.transport.atomic_dual import dual_of_atoms

# Smallest axis of the grid on which an entropic start is computed: there it costs next to nothing.
RESCUE_AXIS_CELLS = 64
# Floors, relative to the mean, below which a rescue raises densities: thinner ones move so little
# mass that they cannot be seen in the result, but their logarithms stall Newton's method.
RESCUE_FLOORS = {"source": 1e-4, "target": 1e-3}
# Newton steps after which a start is given up while there are others to try.
PATIENCE_STEPS = 30
# |mass constant| above which the equation is not resolved by the grid.
RESOLVED_MASS_CONSTANT = 1e-2
# Share of empty cells above which a density has gaps.
GAP_SHARE = 1e-2
# Cycles of the entropic solver on one grid: it takes some tens, on photon counts hundreds.
ENTROPIC_CYCLES = 1000


@dataclass
class Candidate:
    """One way to the answer.

    Attributes
    ----------
    name : str
        "newton", "newton from entropic" or "entropic".
    status : Status
    phi : ndarray
        u less the affine map's at the finest cell centres, length^2; interpolated where no solution
        was reached there.
    dual : float
        Lower bound of W2^2 between the atoms at the cell centres, length^2.
    """

    name: str
    status: Status
    phi: Array
    cascade: Cascade | None = None
    reached: Reached | None = None
    entropic: EntropicTransport | None = None
    dual: float = -np.inf

    def record(self) -> dict[str, Any]:
        """For the statistics."""
        dual = self.dual if np.isfinite(self.dual) else None
        return {"name": self.name, "status": str(self.status), "dual": dual}


def globalise(
    first: Cascade, attempt: Callable[[], Reached], *, fallback: bool, threads: int
) -> tuple[Candidate, list[Candidate]]:
    """The candidate to be returned and all of them; ``attempt`` is Newton's method on ``first``."""
    problem = first.levels.problem
    candidates = _entropic(problem, threads) if fallback and _gapped(problem) else []
    if any(c.status.succeeded for c in candidates):
        return candidates[0], candidates
    candidates.append(_newton("newton", first, attempt()))
    if not fallback or _settled(candidates[-1]):
        return candidates[-1], candidates
    if not candidates[-1].status.succeeded:
        candidates += _rescued(first, candidates[-1], threads)
        if _settled(candidates[-1]):
            return candidates[-1], candidates
    if not any(c.entropic for c in candidates):
        candidates += _entropic(problem, threads)
    for candidate in candidates:
        candidate.dual = dual_of_atoms(problem, candidate.phi)
    return max(candidates, key=lambda c: (c.status.succeeded, c.dual)), candidates


def _newton(name: str, cascade: Cascade, reached: Reached) -> Candidate:
    """What a cascade came to."""
    return Candidate(name, reached.state.status, cascade.phi(reached), cascade, reached)


def _settled(candidate: Candidate) -> bool:
    """Whether Newton's result needs no comparison.

    Nor is there anything better to try where rounding keeps it from a very small ``tol``.
    """
    if candidate.cascade is None or candidate.reached is None:
        return False
    levels, reached = candidate.cascade.levels, candidate.reached
    accurate = reached.index == levels.last and reached.state.residual <= DEFAULT_TOLERANCE
    if not (candidate.status.succeeded or accurate):
        return False
    problem = levels.problem
    if problem.target_domain is not None and problem.source.masses.min() > 0:
        # the entropic solver takes cells that a domain cuts at their centres, some of them outside
        return True
    return abs(reached.state.alpha) < RESOLVED_MASS_CONSTANT


def _gapped(problem: Problem) -> bool:
    """Whether more than a few cells of the source or of the target are empty.

    A convex target domain is solved with what is empty outside it, and an empty source around.
    """
    if problem.target_domain is not None:
        inside = problem.target_domain.fractions(problem.target.grid) > 0
        return bool(np.mean(problem.target.masses[inside] == 0) >= GAP_SHARE)
    return any(np.mean(d.masses == 0) >= GAP_SHARE for d in (problem.source, problem.target))


def _rescued(first: Cascade, stalled: Candidate, threads: int) -> list[Candidate]:
    """Newton from entropic starts, each on the grid that stalled last, until one does not help.

    An entropic start on the finest grid is a candidate itself, and where that is a large one the
    last: Newton's method has not been seen to raise its dual value.
    """
    levels = replace(first.levels, working=raised(first.levels.problem))
    cascade = replace(first, levels=levels)
    index = coarsest = _first_rescue(levels)
    if stalled.reached is not None:
        index = max(index, stalled.reached.index)
    while True:
        level = levels.coarse_problem(index)
        found = _entropic(level, threads)
        if not found:
            return []
        if index == levels.last > coarsest:
            return found
        reached = cascade.refine(index, _soft_phi(level, found[0].entropic))
        if reached.state.status.succeeded or reached.index == index:
            break
        index = reached.index
    rescued = _newton("newton from entropic", cascade, reached)
    return [*(found if index == levels.last else []), rescued]


def _first_rescue(levels: Levels) -> int:
    """The coarsest grid that shows what the data are like."""
    fine = (k for k in range(levels.last + 1) if max(levels.shape(k)) >= RESCUE_AXIS_CELLS)
    return next(fine, levels.last)


def _soft_phi(problem: Problem, sk: EntropicTransport | None) -> Array:
    """phi of the entropic potential: that of the hard one has kinks from cell to cell."""
    assert sk is not None
    back = Reduction(problem)
    return mean_free(-back.reduced(sk.source_potential)) / back.frames[0].unit


def _entropic(problem: Problem, threads: int) -> list[Candidate]:
    """The sparse entropic solver, unless its plan does not fit into memory."""
    try:
        sk = sinkhorn(problem, method="multiscale", max_iterations=ENTROPIC_CYCLES, threads=threads)
    except InvalidInputError:
        return []
    return [Candidate("entropic", sk.status, sk.phi, entropic=sk)]


def raised(problem: Problem) -> tuple[Array, Array, Floors]:
    """Working copies with thin densities raised too, and what that changed."""
    source, target = (
        Density(d.relative, d.grid, floor=max(RESCUE_FLOORS[name], d.floor or 0.0))
        for name, d in (("source", problem.source), ("target", problem.target))
    )
    return positive(Problem(source, target, target_domain=problem.target_domain))
