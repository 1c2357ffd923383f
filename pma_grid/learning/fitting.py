"""`fit`: a sampler from samples, by mirror steps along learned directions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import Ends
from pma_grid.flow.observables import CHEAP, Observable
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.flow.settling import solved
from pma_grid.learning.estimators import METHODS, Estimator
from pma_grid.learning.model import FitReport, Model
from pma_grid.learning.running import Ended, LearnedRun, LearningOptions
from pma_grid.learning.selection import select
from pma_grid.problem.density import Density
from pma_grid.problem.samples import Samples, checked_names
from pma_grid.runtime import Array, InvalidInputError, Status
from pma_grid.sampling.base_laws import base_law
from pma_grid.transport.transport import Transport

# Boosting: a penalty so many times stronger than that of learning once, and at most so many steps.
# With these it is as good as learning once (docs/generative.md).
BOOSTING_FACTOR, MOST_BOOSTS = 10.0, 30
# Samples fill their box where the outermost cells hold this share of what a uniform law has there.
FILLED_FACES_SHARE = 0.2


def fit(
    samples: Samples | ArrayLike,
    method: str | Estimator = "logistic",
    *,
    shape: int | Sequence[int] | None = None,
    box: Sequence[tuple[float, float]] | None = None,
    base: str | Density | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    relearn: bool = False,
    explicit: bool = False,
    schedule: Schedule | StateSchedule | None = None,
    steps: int | None = None,
    truth: Density | None = None,
    record: Sequence[str | Observable] = CHEAP,
    names: Sequence[str] = (),
    progress: bool = False,
) -> Model:
    """Learn the law mu of samples, and a map that draws new points from it.

    The map is a Brenier map: the gradient of a convex potential that pushes a base law, such as the
    normal one, forward to mu.  The flow du/dt = log(rho_u / mu) finds it, starting at the affine
    map of box to box; rho_u is known on the grid, and log mu is learned from the samples.

    Parameters
    ----------
    samples : Samples or array_like, shape (n, d) or (n,)
        Points in 1 to 3 dimensions, one row each.
    method : {"logistic", "score", "kde", "histogram"} or Estimator
        How log mu is learned: by telling samples from the uniform law (`Logistic`), by matching the
        score (`Score`), or from plug-in densities (`Kernel`, `Histogram`).  An estimator whose
        strength is set is taken as it is.
    shape : int or sequence of int, optional
        Cells along each axis; default 512, 128 x 128, 32 x 32 x 32.
    box : sequence of (lower, upper), optional
        Box of the grid, one pair an axis; default: the range of the samples, widened.
    base : {"gaussian", "uniform"} or Density, optional
        The base law that `Model.sample` draws from; default Gaussian, or uniform where the samples
        fill the box up to its faces.  log mu is learned against the uniform law all the same.
    held_out : float in (0, 1)
        Share of the samples that is held out to choose the strength of the regularisation (and when
        to stop, if ``relearn``).  With that strength, all samples are then learned from.
    seed : int
        Seed of the split into samples learned from and samples held out.
    relearn : bool
        Whether to learn again before every step, relative to the rho reached, with a penalty ten
        times as strong: boosting, stopped where the held-out likelihood is largest.
    explicit : bool
        Whether to take explicit steps, learned anew each time.  They are there for comparison: they
        come to rest early.
    schedule : callable, optional
        Step sizes, length^2, see `pma_grid.schedules`; default: growing ones, with ``relearn``
        constant ones.
    steps : int, optional
        Most steps to take; default: until the flow has settled.
    truth : Density, optional
        mu itself on the grid of the samples, where it is known.  It is not learned from: recorded
        series then compare with it (cut 12 nats below its maximum, as what is learned is), and
        those that `learned_regret` reads are recorded too.
    record : sequence of str or callable
        What to record along the flow, see `evolve`; without ``truth``, mu in these is the law
        learned first.
    names : sequence of str, optional
        Names of the coordinates, for pictures and files.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    Model
        With ``sample``, ``log_density`` and ``density``; `Model.converged` says whether its map
        stands for the learned law.

    Raises
    ------
    InvalidInputError
        Samples that are not finite, too few, constant along an axis or outside ``box``, and other
        arguments out of range.

    Notes
    -----
    The rms error of h falls like n^{-2/(4+d)} for log-densities with two derivatives; the grid adds
    its O(h^2).

    References
    ----------
    Deb & Liang (2025), No-Regret Generative Modeling via Parabolic Monge-Ampère PDE,
    arXiv:2504.09279.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> points = np.random.default_rng(0).normal(size=(2000, 1))
    >>> model = pma.fit(points, shape=128)
    >>> new = model.sample(1000, seed=1)
    >>> new.shape, bool(abs(new.std() - 1) < 0.1)
    ((1000, 1), True)
    """
    began = time.perf_counter()
    options = LearningOptions(relearn, explicit, schedule, Ends(steps).check().steps, tuple(record))
    run = _prepare(_samples(samples, shape, box), method, base, truth, options)
    named = checked_names(names, run.samples.dim)
    run, choice = _choose(run, held_out, seed, progress)
    ended = run.flow(run.samples.masses(), progress=progress)
    flow, transport, origin = _conclude(ended, run.options)
    stats = FitReport(
        method=run.estimator.name, estimator=repr(run.estimator), strength=run.estimator.strength,
        samples=run.samples.n, duplicates=run.samples.duplicates, held_out=held_out, seed=seed,
        relearn=relearn, explicit=explicit, transport=origin, **choice,
        seconds=time.perf_counter() - began,
    )  # fmt: skip
    return Model(flow, transport, run.samples.masses(), names=named, stats=stats)


def _samples(
    samples: Samples | ArrayLike,
    shape: int | Sequence[int] | None,
    box: Sequence[tuple[float, float]] | None,
) -> Samples:
    """Points on a grid."""
    if not isinstance(samples, Samples):
        return Samples(samples, shape=shape, box=box)
    if shape is not None or box is not None:
        raise InvalidInputError(
            "shape or box is given beside a Samples object, which has its own; leave them out"
        )
    return samples


def _prepare(
    samples: Samples, method: str | Estimator, base: str | Density | None, truth: object,
    options: LearningOptions,
) -> LearnedRun:  # fmt: skip
    """The run that the arguments of `fit` ask for, checked."""
    estimator = _estimator(method)
    if options.relearn and estimator.name != "logistic":
        raise InvalidInputError(
            f"relearn is for the logistic estimator, not {estimator.name}, which does not look at "
            "rho: leave it out"
        )
    nu = base_law(base or _suited(samples), samples.grid.shape)
    return LearnedRun(samples, estimator, nu, _checked_truth(truth, samples), options)


def _choose(
    run: LearnedRun, held_out: float, seed: int, progress: bool
) -> tuple[LearnedRun, dict[str, Any]]:
    """The run with what held-out samples choose, and what the report says of that."""
    # they choose the strength, unless it was given, and the step to stop at if each learns again
    choice: dict[str, Any] = {}
    if run.estimator.strength is None:
        chosen = select(
            run.estimator, run.samples, run.uniform(), held_out=held_out, seed=seed,
            progress=progress,
        )  # fmt: skip
        run, choice["selection"] = run.with_estimator(chosen.estimator), chosen.told()
    if run.options.boosts:
        run, scores = _stopped(run, held_out, seed, progress)
        choice |= {"held_out_log_likelihoods": scores.tolist(), "stopped_at": run.options.steps}
    return run, choice


def _stopped(
    run: LearnedRun, held_out: float, seed: int, progress: bool
) -> tuple[LearnedRun, Array]:
    """The run with the penalty of boosting, up to the step with the best of the scores given."""
    strength, steps = run.estimator.strength, run.options.steps
    assert strength is not None
    run = run.with_estimator(run.estimator.with_strength(BOOSTING_FACTOR * strength))
    train, test = run.samples.split(held_out, seed)
    trial = run.with_steps(MOST_BOOSTS if steps is None else steps).flow(
        train.masses(), held_out=test.points, progress=progress
    )
    scores = trial.flow["held_out"]
    return run.with_steps(int(np.argmax(scores[1:])) + 1), scores


def _conclude(ended: Ended, options: LearningOptions) -> tuple[Flow, Transport, str]:
    """The flow and the transport of the model, and what found the transport."""
    # a flow that was to settle and did not, on data so rough that steps could not be solved, leaves
    # the learned law to `solve`
    flow = ended.flow
    if options.boosts and flow.status is Status.COMPLETED:
        flow = replace(flow, status=Status.CONVERGED)  # it went as far as held-out samples said
    if options.steps is None and not ended.settled:
        return flow, solved(ended.learned, flow.potential), "solve"
    transport = Transport(
        ended.learned, flow.potential, status=flow.status, stats=flow.stats,
        mass_constant=flow.stats.mass_constant or 0.0,
    )  # fmt: skip
    return flow, transport, "flow"


def _estimator(method: str | Estimator) -> Estimator:
    """An estimator, or the one of a name with its strength to be chosen."""
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]()
    if isinstance(method, str) or not callable(getattr(method, "learn", None)):
        raise InvalidInputError(
            f"method is {method!r}; it must be one of {', '.join(METHODS)}, or an estimator: for "
            "example pma.learning.Logistic(penalty='h1')"
        )
    return method


def _suited(samples: Samples) -> str:
    """The base law whose tails are like those of the samples: an end, or none, at the faces."""
    masses = samples.masses()
    inner = tuple(slice(1, -1) if n > 2 else slice(None) for n in masses.shape)
    at_faces = 1.0 - float(masses[inner].sum())
    if_uniform = 1.0 - masses[inner].size / masses.size
    return "uniform" if at_faces > FILLED_FACES_SHARE * if_uniform else "gaussian"


def _checked_truth(truth: object, samples: Samples) -> Density | None:
    """A density on the grid of the samples, or None."""
    if truth is None:
        return None
    if not isinstance(truth, Density) or truth.grid != samples.grid:
        raise InvalidInputError(
            f"truth is {truth!r}; it must be a Density on the grid of the samples, "
            f"{samples.grid!r}: make both on one Grid"
        )
    return truth
