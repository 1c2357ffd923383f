"""The flow of `infer`: from the affine map to the posterior, with the bounds of log Z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pma_grid.flow.beginning import begin
from pma_grid.flow.evolution import stationary_phi
from pma_grid.flow.marching import Ends, gather, march
from pma_grid.flow.observables import CHEAP, resolve
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.settling import MOST_STEPS, Settled, growing, solved, while_easy
from pma_grid.flow.stepping import ImplicitEuler
from pma_grid.inference.evaluation import CellMasses
from pma_grid.inference.evidence import bounds, conjugate_bounds
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, Status, check_choice, check_positive

# To both laws their largest value is added, this many nats down, by dimension.  det D2u is their
# ratio, and where one falls off and the other does not, steps are hard to solve.  A sum has no
# kink, as the larger of the two would: that takes half the Newton iterations.
FLOOR_DEPTH_NATS = {1: 14.0, 2: 12.5, 3: 10.5}
# The same where the base law does not fall off.
FLAT_BASE_DEPTH_NATS = 9.5


@dataclass(frozen=True)
class InferenceOptions:
    """How the flow of `infer` goes: its options by these names."""

    side: str
    schedule: Schedule | StateSchedule | None
    steps: int | None
    gap: float

    def check(self) -> None:
        """Refuse what is out of range."""
        check_choice(self.side, ("source", "target"), "side")
        check_positive(self.gap, "gap", "it is in nats, say 1e-8")
        Ends(self.steps).check()

    @property
    def ends(self) -> Ends:
        """So many steps, or bounds within the gap, whose root is the residual."""
        return Ends(MOST_STEPS, tol=math.sqrt(self.gap)) if self.steps is None else Ends(self.steps)


def run(
    law: CellMasses, nu: Density, options: InferenceOptions, *, progress: bool
) -> tuple[Settled, float]:
    """The flow from the base law nu towards a law, and the log of the mass that it was towards."""
    problem, raised = _raised(law, nu)
    limit = float(logsumexp(raised))
    side, rule, scheme = options.side, options.schedule or growing(problem), ImplicitEuler()
    observables = bounds(raised) if side == "source" else conjugate_bounds(limit)
    recorder = Recorder(
        problem, scheme, rule, side=side, record=resolve([*CHEAP, *observables]),
        stationary=stationary_phi,
    )  # fmt: skip
    states = march(begin(problem, None, side, None), scheme, rule, options.ends)
    flow = gather(while_easy(states), recorder, options.ends, progress=progress)
    settled = flow.status is Status.CONVERGED or options.steps is not None
    return Settled(flow, flow.transport if settled else solved(problem)), limit


def _raised(law: CellMasses, nu: Density) -> tuple[Problem, Array]:
    """The problem from a law to the base law, thin cells of both raised, and its log masses."""
    flat = nu.values.min() > nu.values.max() * math.exp(-FLAT_BASE_DEPTH_NATS)
    depth = FLAT_BASE_DEPTH_NATS if flat else FLOOR_DEPTH_NATS[law.grid.dim]
    raised = np.logaddexp(law.logs, law.logs.max() - depth)
    lowest = nu.values.max() * math.exp(-depth)
    source = Density(np.exp(raised - raised.max()), law.grid)
    return Problem(source, Density(nu.values + lowest, nu.grid)), np.asarray(raised)
