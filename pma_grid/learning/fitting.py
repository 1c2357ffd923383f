"""`fit`: a sampler from samples, by mirror steps along learned directions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.flow.ends import Ends
from pma_grid.flow.observables import CHEAP, Observable
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.learning.estimators import METHODS, Estimator
from pma_grid.learning.model import Model
from pma_grid.learning.running import Ended, LearnedRun
from pma_grid.learning.selection import Selection, select
from pma_grid.problem.density import Density
from pma_grid.problem.samples import Samples, checked_names
from pma_grid.runtime.errors import ConvergenceError, InvalidInputError, Status
from pma_grid.sampling.base_laws import base_law
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# Boosting: a penalty so many times stronger, and at most so many steps.
STRONGER, MOST_BOOSTS = 10.0, 30
# Samples fill their box where the outermost cells hold this share of what a uniform law has there.
FILLED = 0.2


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
    """Learn the law mu of samples as the push-forward of a base law by a Brenier map.

    The flow du/dt = log(rho_u / mu) takes the affine map of box to box to the Brenier map, where
    rho_u is known on the grid and log mu is learned from the samples.

    Parameters
    ----------
    samples : Samples or array_like, shape (n, d) or (n,)
        Points in 1 to 3 dimensions.
    method : {"logistic", "score", "kde", "histogram"} or Estimator
        `Logistic` is a discriminator between rho and the samples, `Score` matches the score; the
        others are plug-in densities.  An estimator with its strength set is taken as it is.
    shape : int or sequence of int, optional
        Cells an axis; default 512, 128 x 128, 32 x 32 x 32.
    box : sequence of (lower, upper), optional
        Default: the range of the samples, widened.
    base : {"gaussian", "uniform"} or Density, optional
        What `Model.sample` draws from; default Gaussian, or uniform where the samples fill the box
        up to its faces.  log mu is learned against the uniform law all the same.
    held_out : float in (0, 1)
        Share of the samples that chooses the strength of the regularisation (and when to stop, if
        ``relearn``).  All of them are then learned from with it.
    seed : int
        Of that division.
    relearn : bool
        Learn again before every step, relative to the rho reached, with a penalty ten times as
        strong: boosting, stopped where the held-out likelihood is largest.
    explicit : bool
        Explicit steps, learned anew each time: for comparison, they come to rest early.
    schedule : callable, optional
        Step sizes, length^2; default: growing ones, with ``relearn`` constant ones.
    steps : int, optional
        Most steps to take.
    truth : Density, optional
        mu itself on the grid of the samples, for what is recorded: series then compare with it (cut
        12 nats below its maximum, as what is learned is), and those that `learned_regret` reads are
        recorded too.  It is not learned from.
    record : sequence of str or callable
        See `evolve`.  Without ``truth`` mu in these is the first learned law.
    names : sequence of str, optional
        Of the coordinates.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    Model
        `Model.converged` says whether the flow got where it was to.

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
    if not isinstance(samples, Samples):
        samples = Samples(samples, shape=shape, box=box)
    elif shape is not None or box is not None:
        raise InvalidInputError(
            "shape or box is given beside a Samples object, which has its own; leave them out"
        )
    Ends(steps).check()
    estimator = _estimator(method)
    if relearn and estimator.name != "logistic":
        raise InvalidInputError(
            f"relearn is for the logistic estimator, not {estimator.name}, which does not look at "
            "rho: leave it out"
        )
    run = LearnedRun(
        samples, estimator, base_law(base or _suited(samples), samples.grid.shape),
        truth=_checked_truth(truth, samples), relearn=relearn, explicit=explicit,
        schedule=schedule, record=tuple(record),
    )  # fmt: skip
    chosen: Selection | None = None
    if estimator.strength is None:
        chosen = select(
            estimator, samples, run.uniform(), held_out=held_out, seed=seed, progress=progress
        )
        run = run.with_estimator(chosen.estimator)
    boosts: dict[str, Any] = {}
    if relearn and not explicit:
        run, steps, boosts = _boosted(run, held_out, seed, steps, progress)
    ended = run.flow(samples.masses(), steps=steps, progress=progress)
    if boosts and ended.flow.status is Status.COMPLETED:
        # it went as far as held-out samples said
        ended = replace(ended, flow=replace(ended.flow, status=Status.CONVERGED))
    transport, origin = _transport(ended, steps)
    stats = {
        "method": run.estimator.name, "estimator": repr(run.estimator),
        "strength": run.estimator.strength, "selection": None if chosen is None else chosen.told(),
        "samples": samples.n, "duplicates": samples.duplicates, "held_out": held_out, "seed": seed,
        "relearn": relearn, "explicit": explicit, "transport": origin, **boosts,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return Model(ended.flow, transport, samples.masses(), names=checked_names(names, samples.dim),
                 stats=stats)  # fmt: skip


def _boosted(
    run: LearnedRun, held_out: float, seed: int, steps: int | None, progress: bool
) -> tuple[LearnedRun, int, dict[str, Any]]:
    """The run with the penalty of boosting, and the step at which held-out samples stop it."""
    strength = run.estimator.strength
    assert strength is not None
    run = run.with_estimator(run.estimator.with_strength(STRONGER * strength))
    train, test = run.samples.split(held_out, seed)
    trial = run.flow(
        train.masses(), held_out=test.points, steps=MOST_BOOSTS if steps is None else steps,
        progress=progress,
    )  # fmt: skip
    scores = trial.flow["held_out"]
    best = int(np.argmax(scores[1:])) + 1
    return run, best, {"held_out_log_likelihoods": scores.tolist(), "stopped_at": best}


def _transport(ended: Ended, steps: int | None) -> tuple[Transport, str]:
    """The transport of the model, and what found it.

    A flow that was to settle and did not, on data so rough that steps could not be solved, leaves
    the learned law to `solve`.
    """
    flow = ended.flow
    if steps is not None or ended.settled:
        assert flow.potential is not None
        ot = Transport(ended.learned, flow.potential, status=flow.status, stats=dict(flow.stats))
        return ot, "flow"
    try:
        return solve(ended.learned, initial=flow.potential), "solve"
    except ConvergenceError as error:
        return error.result, "solve"


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
    return "uniform" if at_faces > FILLED * if_uniform else "gaussian"


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
