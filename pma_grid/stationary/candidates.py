"""What is tried, and which of the candidates is returned.

1. Maps onto targets with gaps tear, and those of sources with gaps are held by nothing there: the
   sparse entropic solver is tried first, and is the answer where its map is torn.
2. Newton's method, for thin data from the side of the smaller entropy: of source to target and
   target to source one is easy, and the map is the other's inverse.
3. Where the mass constant says that the grid does not resolve the data: on one twice as fine.
4. Where that does not succeed, or on gentler data alone: from the other side.
5. Where none of these will do: the sparse entropic solver.

Newton's result is *sound* if its mass constant is small, its map takes the mean of the source to
the target's, and its W2^2, where there is something to compare it with, lies between the lower
bound that any potential gives for the atoms at the cell centres and the cost of the plan, up to
what readings of the same data differ by.  A sound one is returned, or else the plan; a result that
is not sound is never called a success.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pma_grid.entropic.multiscale.descent import DEFAULT_EPS_CELLS
from pma_grid.entropic.solving import sinkhorn
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced
from pma_grid.problem.support import gap_share
from pma_grid.problem.working import STANDARD, entropy, thin
from pma_grid.runtime import Array, InvalidInputError, Status
from pma_grid.stationary.cascade import DEFAULT_TOLERANCE, Reached
from pma_grid.stationary.outcome import Attempt, Way
from pma_grid.transport.atomic_dual import dual_of_atoms
from pma_grid.transport.transport import Transport

# Newton steps after which a start is given up while there are others to try.
PATIENCE_STEPS = 30
# |mass constant| above which the equation is not resolved by the grid.
RESOLVED_MASS_CONSTANT = 1e-2
# Cells, the larger ones of both sides, by which a map may miss the target's mean.
MOST_MISSED_CELLS = 1.0
# On half the spacing it is a quarter: finer cells may help up to here.
HALVED_MASS_CONSTANT = 4 * RESOLVED_MASS_CONSTANT
# Squared spacings, per axis, by which W2^2 of smooth densities may leave what bounds that of atoms:
# measured on smooth densities it is .12 to .19 below.
READINGS_H2 = 0.3
# Cells of one side over those of the other from which the former costs much more.
COSTLY_RATIO = 4
# Cells, of the finer grids, up to which data that a grid does not resolve are divided.
MOST_HALVED_CELLS = 1 << 16
# Share of empty cells in the convex hull of the others from which a density has gaps.
GAP_SHARE = 1e-2
# Cycles of the entropic solver on one grid: it takes some tens, on photon counts hundreds.
ENTROPIC_CYCLES = 1000
# Cells of one axis this small beside the mean decide what eps is small.
NARROW_CELL_SHARE = 0.5
# Entropy, nats, by which the target must fall below the source for the sides to be exchanged.
ENTROPY_MARGIN = 0.25


@dataclass
class Candidate:
    """One way to the answer.

    Attributes
    ----------
    name : str
        "entropic", or the `Way` of Newton's method.
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
        """What Newton's method came to: a success only where the grid resolves the data."""
        transport = Transport.of_solution(attempt.problem, attempt.solution(reached))
        candidate = cls(attempt.way.name, reached.state.status, transport, attempt, reached)
        if candidate.status is Status.CONVERGED:
            if not candidate.resolved:
                candidate.status = Status.UNRESOLVED
            elif reached.softening != STANDARD or attempt.raised:
                candidate.status = Status.REGULARISED
        return candidate

    @property
    def plan(self) -> EntropicTransport | None:
        """The transport, if it is one by a plan."""
        return self.transport if isinstance(self.transport, EntropicTransport) else None

    @property
    def solved(self) -> bool:
        """Whether this is Newton's result for the standard working densities, accurate as can be.

        Nor is there anything better to try where rounding keeps it from a very small ``tol``.
        """
        reached = self.reached
        if self.attempt is None or reached is None or reached.softening != STANDARD:
            return False
        finest = reached.index == self.attempt.cascade.levels.last
        state = reached.state
        return state.status.succeeded or (finest and state.residual <= DEFAULT_TOLERANCE)

    @cached_property
    def resolved(self) -> bool:
        """Whether the grid resolves the data: the mass constant is small, and means are kept."""
        return abs(self.transport.mass_constant) <= RESOLVED_MASS_CONSTANT and self._keeps_means()

    def _keeps_means(self) -> bool:
        """Whether the map takes the mean of the source as given to the target's.

        It misses that by what working densities differ from the data, and no map of the one onto
        the other is closer, in the mean over mass.  Floors of the user's are meant to be felt.
        """
        problem, floors = self.transport.problem, self.transport.solution.floors
        added = sum(floor["mass_added"] for floor in floors.values())
        cell = _cell(problem)
        farthest = added * float(np.linalg.norm(problem.target.grid.lengths / cell))
        if farthest <= MOST_MISSED_CELLS or (self.attempt is not None and self.attempt.raised):
            return True
        axes = tuple(range(1, 1 + problem.dim))
        carried = (self.transport.cell_means * problem.source.masses).sum(axes)
        mean = (problem.target.grid.coordinates() * problem.target.masses).sum(axes)
        return bool(np.linalg.norm((carried - mean) / cell) <= MOST_MISSED_CELLS)

    @property
    def nearly_resolved(self) -> bool:
        """Whether the equation was solved with a mass constant that another way may make small."""
        return self.solved and abs(self.transport.mass_constant) <= HALVED_MASS_CONSTANT

    @property
    def settled(self) -> bool:
        """Whether Newton's result needs no comparison."""
        return self.solved and self.resolved

    def record(self) -> dict[str, Any]:
        """For the statistics."""
        dual = float(self.dual) if np.isfinite(self.dual) else None
        return {"name": self.name, "status": str(self.status), "dual": dual}


@dataclass(frozen=True)
class Search:
    """How to look for the answer to a problem.

    Attributes
    ----------
    problem : Problem
    newton : callable
        Newton's method, as a `Way` says.
    given : bool
        Whether a potential to start from was given.
    turnable : bool
        Whether both sides will do.
    divisible : bool
        Whether cells may be halved.
    fallback : bool
        Whether anything else is tried.
    threads : int
    """

    problem: Problem
    newton: Callable[[Way], Candidate]
    given: bool
    turnable: bool
    divisible: bool
    fallback: bool
    threads: int

    def run(self) -> tuple[Candidate, list[Candidate]]:
        """The candidate to be returned and all of them."""
        candidates = self._entropic(None) if self.fallback and _gapped(self.problem) else []
        if any(c.status.succeeded and _torn(c) for c in candidates):
            sharp = sharp_eps(self.problem)
            if sharp is not None:
                candidates += self._entropic(sharp)
            succeeded = [c for c in candidates if c.status.succeeded]
            return succeeded[-1], candidates
        for candidate in self._by_newton():
            candidates.append(candidate)
            if candidate.settled or not self.fallback:
                return candidate, candidates
        sharp = sharp_eps(self.problem)
        if sharp is not None or not any(c.plan for c in candidates):
            candidates += self._entropic(sharp)
        return self._best(candidates), candidates

    def _by_newton(self) -> Iterator[Candidate]:
        """Newton's results, each made when those before will not do.

        Finer cells come before the other side: from there a grid may resolve the data and the map
        be the worse one, where it spreads what lies between parts.
        """
        source, target = self.problem.source, self.problem.target
        turned = self.turnable and _wider_source(self.problem)
        if self.given:
            found = self.newton(Way(given=True))
            yield found
        if not self.given or not found.settled:
            found = yield from self._from_side(turned)
        # a far larger grid is not worth while where next to nothing is resolved
        led, other = (target, source) if turned else (source, target)
        costly = other.grid.size > COSTLY_RATIO * led.grid.size
        hopeless = found.solved and not found.nearly_resolved and costly
        another_may_do = not (found.settled or hopeless)
        if self.turnable and another_may_do and thin(source.masses, target.masses):
            yield from self._from_side(not turned, brief=found.solved)

    def _from_side(
        self, turned: bool, *, brief: bool = False
    ) -> Generator[Candidate, None, Candidate]:
        """Newton's result from one side, and on halved cells where these may resolve the data."""
        found = self.newton(Way(turned=turned, brief=brief))
        yield found
        source, target = self.problem.source, self.problem.target
        cells = 2**self.problem.dim * max(source.grid.size, target.grid.size)
        if found.nearly_resolved and self.divisible and cells <= MOST_HALVED_CELLS:
            yield self.newton(Way(turned=turned, finer=True, brief=True))
        return found

    def _best(self, candidates: list[Candidate]) -> Candidate:
        """A sound result of Newton's method, else the plan; of equals that of the larger bound."""
        for candidate in candidates:
            candidate.dual = dual_of_atoms(self.problem, candidate.transport.phi)
        costs = [c.plan.stats.transport_cost for c in candidates if c.plan]
        lower = max(c.dual for c in candidates)
        upper = min((cost for cost in costs if cost is not None), default=np.inf)
        slack = self._readings()
        for candidate in candidates:
            within = lower - slack <= candidate.transport.w2_squared <= upper + slack
            if candidate.status.succeeded and not (candidate.plan or within):
                candidate.status = Status.UNRESOLVED
        return max(candidates, key=lambda c: (c.status.succeeded, c.solved, c.dual))

    def _readings(self) -> float:
        """What W2^2 of different readings of the data may differ by, length^2."""
        return READINGS_H2 * float(np.square(_cell(self.problem)).sum())

    def _entropic(self, eps: float | None) -> list[Candidate]:
        """The sparse entropic solver, unless its plan does not fit into memory."""
        try:
            sk = sinkhorn(
                self.problem, eps, method="multiscale", max_iterations=ENTROPIC_CYCLES,
                threads=self.threads,
            )  # fmt: skip
        except InvalidInputError:
            return []
        return [Candidate("entropic", sk.status, sk)]


def sharp_eps(problem: Problem) -> float | None:
    """The entropic solver's eps where its own would blur over cells of the narrowest axis."""
    reduced = Reduced.of(problem)
    sharp = DEFAULT_EPS_CELLS * reduced.narrowest_cell
    return None if reduced.narrowest_cell > NARROW_CELL_SHARE * reduced.cell else sharp


def _cell(problem: Problem) -> Array:
    """The larger spacing of both sides along each axis, (d,)."""
    return np.maximum(problem.source.grid.spacing, problem.target.grid.spacing)


def _wider_source(problem: Problem) -> bool:
    """Whether the data are thin and the target's entropy is clearly the smaller one."""
    source, target = problem.source, problem.target
    if problem.dim == 1 or not thin(source.masses, target.masses):
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
        return bool(np.mean(problem.target.masses[inside] == 0) >= GAP_SHARE)
    return any(gap_share(d.masses) >= GAP_SHARE for d in (problem.source, problem.target))


def _torn(candidate: Candidate) -> bool:
    """Whether the map of a sparse plan jumps between neighbours."""
    tears = candidate.plan.tears if candidate.plan else None
    return tears is not None and bool(tears.any())
