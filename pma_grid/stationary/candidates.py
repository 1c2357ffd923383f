"""What is tried, and which of the candidates is returned.

1. Maps onto targets with gaps tear, and those of sources with gaps are held by nothing there: the
   sparse entropic solver is tried first, and is the answer where its map is torn.
2. Newton's method, for thin data from the side of the smaller entropy: of source to target and
   target to source one is easy, and the map is the other's inverse.
3. Where that does not succeed, or on gentler data alone: from the other side.
4. Where neither does, or the mass constant says that the grid does not resolve the data: the sparse
   entropic solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.entropic.solving import sinkhorn
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.support import gap_share
from pma_grid.problem.working import STANDARD, entropy, thin
from pma_grid.runtime import InvalidInputError, Status
from pma_grid.stationary.cascade import DEFAULT_TOLERANCE, Reached
from pma_grid.stationary.outcome import Attempt
from pma_grid.transport.atomic_dual import atomic_dual
from pma_grid.transport.transport import Transport

# Newton steps after which a start is given up while there are others to try.
PATIENCE_STEPS = 30
# |mass constant| above which the equation is not resolved by the grid.
RESOLVED_MASS_CONSTANT = 1e-2
# Share of empty cells in the convex hull of the others from which a density has gaps.
GAP_SHARE = 1e-2
# Cycles of the entropic solver on one grid: it takes some tens, on photon counts hundreds.
ENTROPIC_CYCLES = 1000
# Entropy, nats, by which the target must fall below the source for the sides to be exchanged.
ENTROPY_MARGIN = 0.25


@dataclass
class Candidate:
    """One way to the answer.

    Attributes
    ----------
    name : str
        "newton", "newton from the target" or "entropic".
    status : Status
    transport : Transport
        Of the problem as given; interpolated where no solution was reached on its grid.
    dual : float
        Lower bound of W2^2 between the atoms at the cell centres, length^2.
    """

    name: str
    status: Status
    transport: Transport
    attempt: Attempt | None = None
    reached: Reached | None = None
    dual: float = -np.inf

    @classmethod
    def of(cls, attempt: Attempt, reached: Reached) -> Candidate:
        """What Newton's method came to."""
        status = reached.state.status
        if status is Status.CONVERGED and reached.softening != STANDARD:
            status = Status.REGULARISED
        name = "newton from the target" if attempt.turned else "newton"
        solution = attempt.solution(reached)
        transport = Transport.of_solution(attempt.problem, solution, status=status)
        return cls(name, status, transport, attempt, reached)

    @property
    def settled(self) -> bool:
        """Whether Newton's result needs no comparison.

        Nor is there anything better to try where rounding keeps it from a very small ``tol``.
        """
        if self.attempt is None or self.reached is None:
            return False
        levels, reached = self.attempt.cascade.levels, self.reached
        accurate = reached.index == levels.last and reached.state.residual <= DEFAULT_TOLERANCE
        if self.status is Status.REGULARISED or not (self.status.succeeded or accurate):
            return False
        problem = levels.data.problem
        if problem.target_domain is not None and problem.source.values.min() > 0:
            # the entropic solver takes cells that a domain cuts at their centres, some of them
            # outside
            return True
        return abs(reached.state.alpha) < RESOLVED_MASS_CONSTANT

    def record(self) -> dict[str, Any]:
        """For the statistics."""
        dual = self.dual if np.isfinite(self.dual) else None
        return {"name": self.name, "status": str(self.status), "dual": dual}


def globalise(
    problem: Problem,
    newton: Callable[[bool], Candidate],
    *,
    turnable: bool,
    fallback: bool,
    threads: int,
) -> tuple[Candidate, list[Candidate]]:
    """The candidate to be returned and all of them.

    ``newton`` is Newton's method, from the target if its argument is True; ``turnable``: whether
    both sides will do.
    """
    candidates = _entropic(problem, threads) if fallback and _gapped(problem) else []
    if any(c.status.succeeded and _torn(c) for c in candidates):
        return candidates[0], candidates
    turned = turnable and _wider_source(problem)
    candidates.append(newton(turned))
    if not fallback or candidates[-1].settled:
        return candidates[-1], candidates
    if turnable and thin(problem.source.values, problem.target.values):
        candidates.append(newton(not turned))
        if candidates[-1].settled:
            return candidates[-1], candidates
    if not any(isinstance(c.transport, EntropicTransport) for c in candidates):
        candidates += _entropic(problem, threads)
    for candidate in candidates:
        candidate.dual = atomic_dual(problem, candidate.transport.potential)
    return max(candidates, key=lambda c: (c.status.succeeded, c.dual)), candidates


def _wider_source(problem: Problem) -> bool:
    """Whether the data are thin and the target's entropy is clearly the smaller one."""
    source, target = problem.source, problem.target
    if problem.dim == 1 or not thin(source.values, target.values):
        return False
    return entropy(target) < entropy(source) - ENTROPY_MARGIN


def _gapped(problem: Problem) -> bool:
    """Whether more than a few cells within the source or the target are empty.

    A convex target domain is solved with what is empty outside it, and an empty source around; on
    one axis maps are known whatever the gaps.
    """
    if problem.dim == 1:
        return False
    if problem.target_domain is not None:
        inside = problem.target_domain.fractions(problem.target.grid) > 0
        return bool(np.mean(problem.target.values[inside] == 0) >= GAP_SHARE)
    return any(gap_share(d.values) >= GAP_SHARE for d in (problem.source, problem.target))


def _torn(candidate: Candidate) -> bool:
    """Whether the map of a sparse plan jumps between neighbours."""
    transport = candidate.transport
    tears = transport.tears if isinstance(transport, EntropicTransport) else None
    return tears is not None and bool(tears.any())


def _entropic(problem: Problem, threads: int) -> list[Candidate]:
    """The sparse entropic solver, unless its plan does not fit into memory."""
    try:
        sk = sinkhorn(problem, method="multiscale", max_iterations=ENTROPIC_CYCLES, threads=threads)
    except InvalidInputError:
        return []
    return [Candidate("entropic", sk.status, sk)]
