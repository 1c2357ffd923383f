"""Flows that are run for where they end: growing steps, and `solve` where these get too hard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow import schedules
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule
from pma_grid.flow.state import State
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, ConvergenceError, Status, storage
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# Step sizes over the product of the sides of the two boxes, the unit of potentials: the first is
# solved easily from the affine map, the longest lowers the slowest mode 1 + 3 pi^2 times a step.
FIRST_STEP, STEP_RATIO, LONGEST_STEP = 1e-2, 3.0, 3.0
# Flows towards smooth laws settle in about six steps.
MOST_STEPS = 60
# A flow one of whose steps must be halved more often is left to `solve`, which takes grids from
# coarse to fine.
MOST_EASY_HALVINGS = 2


@dataclass(frozen=True, eq=False)
class Settled:
    """A flow, and the transport that stands for where it ends."""

    flow: Flow
    transport: Transport

    def storable(self) -> storage.Stored:
        """Arrays and metadata that `from_stored` makes both of."""
        parts = {"flow": self.flow.storable(), "transport": self.transport.storable()}
        return storage.packed(parts)

    @classmethod
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Settled:
        """Both, of what `storable` gave, beside which there may be more."""
        kind = EntropicTransport if meta["transport"]["kind"] == "entropic" else Transport
        return cls(
            Flow.from_stored(*storage.unpacked("flow", arrays, meta)),
            kind.from_stored(*storage.unpacked("transport", arrays, meta)),
        )


def potential_unit(problem: Problem) -> float:
    """The product of the mean sides of the two boxes, length^2: step sizes are in units of it."""
    ends = (problem.source, problem.target)
    return float(math.prod(density.grid.volume ** (1 / density.dim) for density in ends))


def growing(problem: Problem) -> Schedule:
    """Steps that grow from a small one to such as settle the flow at once."""
    unit = potential_unit(problem)
    return schedules.geometric(FIRST_STEP * unit, STEP_RATIO, LONGEST_STEP * unit)


def while_easy(states: Iterator[State]) -> Iterator[State]:
    """States up to the first step that had to be halved often, after which the flow gives up."""
    for state in states:
        yield state
        if state.step.attempts > 1 + MOST_EASY_HALVINGS:
            raise ConvergenceError(Status.STEP_FAILED.value)


def solved(problem: Problem, initial: Array | None = None) -> Transport:
    """What `solve` finds, converged or not."""
    try:
        return solve(problem, initial=initial)
    except ConvergenceError as error:
        best: Transport = error.result
        return best
