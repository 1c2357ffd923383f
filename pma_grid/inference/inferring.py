"""`infer`: a posterior from its unnormalised log-density, by the flow from a base law."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from pma_grid.flow.beginning import begin
from pma_grid.flow.evolution import stationary_phi
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import Ends, gather, march
from pma_grid.flow.observables import CHEAP, resolve
from pma_grid.flow.recording import Recorder
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.settling import MOST_STEPS, Settled, growing, solved, while_easy
from pma_grid.flow.stepping import ImplicitEuler
from pma_grid.grid.grid import Grid
from pma_grid.inference.box import Found, checked_place, find_box
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.evidence import Evidence, bounds, conjugate_bounds
from pma_grid.inference.integrals import CellMasses, Rule, evaluate
from pma_grid.inference.posterior import InferenceReport, Posterior
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.problem.samples import cell_counts, checked_names, default_names
from pma_grid.runtime import Array, Status, check_choice, check_positive
from pma_grid.sampling.base_laws import base_law

# Cells an axis by dimension: what takes seconds.
DEFAULT_CELLS = {1: 512, 2: 128, 3: 40}
# The flow ends where the bounds of log Z are so close: the root of it is the residual.
DEFAULT_GAP_NATS = 1e-10
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

    def __post_init__(self) -> None:
        check_choice(self.side, ("source", "target"), "side")
        check_positive(self.gap, "gap", "it is in nats, say 1e-8")
        Ends(self.steps).check()

    @property
    def ends(self) -> Ends:
        """So many steps, or bounds within the gap, whose root is the residual."""
        return Ends(MOST_STEPS, tol=math.sqrt(self.gap)) if self.steps is None else Ends(self.steps)


def infer(
    log_density: Callable[..., Any],
    box: Sequence[tuple[float, float]] | None = None,
    *,
    start: ArrayLike | None = None,
    shape: int | Sequence[int] | None = None,
    base: str | Density | None = None,
    side: str = "source",
    tail_bound: float | None = None,
    schedule: Schedule | StateSchedule | None = None,
    steps: int | None = None,
    gap: float = DEFAULT_GAP_NATS,
    quadrature: int = 2,
    names: Sequence[str] = (),
    progress: bool = False,
) -> Posterior:
    """The posterior of a density known up to a constant: samples, moments and the evidence log Z.

    With f = ``log_density``, the posterior is mu = exp(f) / Z.  The flow du/dt = log(rho_u / mu)
    needs mu up to Z alone; it brackets log Z on the way, and the map that it ends at takes a base
    law, such as the normal one, to the posterior.

    Parameters
    ----------
    log_density : callable
        The function ``f(*coordinates)`` of 1 to 3 arrays of one shape, evaluated element by
        element; -inf stands for density zero.
    box : sequence of (lower, upper), optional
        One pair an axis: the support, or any box that holds the law.  The smallest box around the
        points {f >= max f - 15 nats} in it is found and taken.
    start : array_like, shape (d,), optional
        Point to climb from if no box is given; the box then grows as long as the density has not
        fallen off.
    shape : int or sequence of int, optional
        Cells along each axis; default 512, 128 x 128, 40 x 40 x 40.
    base : {"gaussian", "uniform"} or Density, optional
        The base law that samples are drawn from before the map moves them; default Gaussian, or
        uniform where ``box`` cuts the density off.
    side : {"source", "target"}
        The grid that the flow is solved on: the posterior's ("source") or the base law's.
    tail_bound : float, optional
        A bound of the mass beyond the box, over the mass within; default: that mass is integrated,
        in shells of boxes twice as large each, as far as ``box`` goes.
    schedule : callable, optional
        Step sizes, length^2, see `pma_grid.schedules`; default: growing ones.
    steps : int, optional
        Steps to take; default: until the bounds of log Z are within ``gap``.
    gap : float
        Distance > 0 of the bounds of log Z, nats, at which the flow ends.
    quadrature : int
        Gauss points an axis in each cell: 2 makes log Z fourth order in the spacing.
    names : sequence of str, optional
        Names of the coordinates, for tables and pictures.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    Posterior
        With ``sample``, ``mean``, ``covariance``, ``marginal`` and ``evidence``, whose error is
        split into quadrature, tails, floors and the gap of the flow.

    Raises
    ------
    InvalidInputError
        The function gives NaN, +inf or a wrong shape, is -inf wherever it was looked for, does not
        fall off, or fills a sliver of its box alone; or an argument is out of range.

    Notes
    -----
    The limit of the bounds, the log of a sum over cells, is there before the flow: what the flow
    adds is the law of the samples.  The bounds hold for the sum over cells; see `Evidence` for what
    separates it from log Z.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> posterior = pma.infer(lambda x, y: -(x**2 + x * y + y**2), start=(1.0, 0.0), shape=64)
    >>> error = posterior.log_evidence - np.log(2 * np.pi / np.sqrt(3))
    >>> bool(abs(error) < posterior.evidence.error)
    True
    >>> posterior.sample(1000, seed=0).shape
    (1000, 2)
    """
    began = time.perf_counter()
    f = LogFunction(log_density)
    limits, origin = checked_place(box, start)
    rule, options = Rule(quadrature, tail_bound), InferenceOptions(side, schedule, steps, gap)
    found = find_box(f, limits, origin)
    counts = cell_counts(shape, found.lower.size, DEFAULT_CELLS)
    law = evaluate(f, Grid(counts, tuple(found.lower), tuple(found.upper)), limits, rule)
    named = checked_names(names, law.grid.dim) or default_names(law.grid.dim)
    nu = base_law(base or ("uniform" if found.truncated else "gaussian"), law.grid.shape)
    end, limit = _flow(law, nu, options, progress=progress)
    stats = InferenceReport(
        modes=found.modes.tolist(), side=side, base=nu.describe(),
        seconds=time.perf_counter() - began,
    )  # fmt: skip
    return Posterior(
        end.flow, end.transport, law.density, _evidence(law, end.flow, limit, found),
        names=named, evaluations=f.evaluations, stats=stats, function=f,
    )  # fmt: skip


def _evidence(law: CellMasses, flow: Flow, limit: float, found: Found) -> Evidence:
    """log Z, and what its error is made of."""
    return Evidence(
        log_evidence=law.log_mass + math.log1p(law.beyond.share),
        limit=limit,
        lower=float(flow["evidence_lower"][-1]),
        upper=float(flow["evidence_upper"][-1]),
        quadrature=law.resolution,
        tail=math.log1p(law.beyond.share),
        tail_error=math.log1p(law.beyond.error),
        floor=max(0.0, limit - law.log_mass),
        # upper - lower as one sum: the bounds themselves are rounded to the digits of log Z
        gap=float(flow["symmetrised_kl"][-1]),
        mass_constant=float(flow["mass_constant"][-1]),
        truncated=found.truncated,
    )


def _flow(
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
    values = nu.relative
    flat = values.min() > values.max() * math.exp(-FLAT_BASE_DEPTH_NATS)
    depth = FLAT_BASE_DEPTH_NATS if flat else FLOOR_DEPTH_NATS[law.grid.dim]
    raised = np.logaddexp(law.logs, law.logs.max() - depth)
    lowest = values.max() * math.exp(-depth)
    source = Density(np.exp(raised - raised.max()), law.grid)
    return Problem(source, Density(values + lowest, nu.grid)), np.asarray(raised)
