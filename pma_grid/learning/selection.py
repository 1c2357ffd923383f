"""`select`: how strongly to smooth, by the likelihood of held-out points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.grid import Grid
from pma_grid.learning.estimators import Estimator
from pma_grid.problem.log_density import LogDensity
from pma_grid.problem.samples import Samples
from pma_grid.runtime import Array, check_whole
from pma_grid.runtime.progress import tally

# Weaker and weaker strengths are tried until the likelihood has fallen so many times in a row: once
# or twice may be noise.
MOST_FALLS = 3
# The interval between the best and its neighbours is then halved so many times.
REFINEMENTS = 2


@dataclass(frozen=True, eq=False)
class Selection:
    """What `select` returns: the strengths tried, and what held-out points said of them.

    Attributes
    ----------
    estimator : Estimator
        The estimator with the strength that was chosen.
    strengths : ndarray, shape (k,)
        The strengths tried, increasing.
    log_likelihoods : ndarray, shape (k,)
        Mean log-likelihood of the held-out points with each of them, nats a point.
    at_edge : bool
        Whether the best is the weakest or the strongest candidate there is, so that a better one
        may lie beyond.
    """

    estimator: Estimator
    strengths: Array
    log_likelihoods: Array
    at_edge: bool

    def told(self) -> dict[str, Any]:
        """For a file."""
        return {
            "strengths": self.strengths.tolist(), "log_likelihoods": self.log_likelihoods.tolist(),
            "at_edge": self.at_edge,
        }  # fmt: skip


def select(
    estimator: Estimator,
    samples: Samples,
    rho: Array,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    divisions: int = 1,
    progress: bool = False,
) -> Selection:
    """Choose the strength of an estimator under which held-out points are likeliest.

    Parameters
    ----------
    estimator : Estimator
        The estimator; a strength that it has is not looked at.
    samples : Samples
        The points, some of which are held out from learning.
    rho : ndarray, ``samples.grid.shape``
        Cell masses, of sum 1, of the known density that the estimator compares with.
    held_out : float in (0, 1)
        Share of the samples that is held out, chosen at random.
    seed : int
        Seed of that choice.
    divisions : int
        Number of times that points are held out, each time anew; the mean likelihood decides.  The
        cost is so many times as large.
    progress : bool
        Whether to show the strengths tried on standard error.

    Returns
    -------
    Selection
        The estimator with the strength chosen, and all that were tried.

    Raises
    ------
    InvalidInputError
        ``held_out``, ``seed`` or ``divisions`` is out of range.

    Notes
    -----
    Strengths are tried from smooth to rough, each from what was learned with the nearest one: a few
    steps of Newton's method for each.  Candidates after the likelihood has fallen three times are
    left out; between the best and its neighbours the interval is halved twice.

    Examples
    --------
    >>> from pma_grid.learning import Kernel
    >>> samples = Samples(np.random.default_rng(0).normal(size=(500, 1)), shape=64)
    >>> found = select(Kernel(), samples, np.full(64, 1 / 64))
    >>> found.at_edge, 0.01 < found.estimator.strength < 0.1
    (False, True)
    """
    check_whole(divisions, 1, "divisions", "take 1, or 5 for few samples")
    parts = [samples.split(held_out, seed)]  # checks both
    parts += [samples.split(held_out, seed + k) for k in range(1, divisions)]
    candidates = estimator.strengths()
    with tally(progress, "strengths") as tell:
        search = _Search(estimator, parts, rho, tell)
        _path(search, candidates)
        _refine(search, candidates)
    order = sorted(search.scores)
    return Selection(
        estimator.with_strength(search.best),
        np.array(order),
        np.array([search.scores[s] for s in order]),
        at_edge=bool(search.best <= candidates[0] or search.best >= candidates[-1]),
    )


def _path(search: _Search, candidates: Array) -> None:
    """From smooth to rough, each starts the next, until the likelihood falls again and again."""
    falls = 0
    for strength in candidates[::-1]:
        search.score(float(strength))
        falls = 0 if search.best == strength else falls + 1
        if falls >= MOST_FALLS:
            return


def _refine(search: _Search, candidates: Array) -> None:
    """Between the best and its neighbours."""
    factor = float(candidates[1] / candidates[0]) if len(candidates) > 1 else 1.0
    for _ in range(REFINEMENTS if factor > 1 else 0):
        factor = math.sqrt(factor)
        best = search.best
        for strength in (best * factor, best / factor):
            search.score(strength)


class _Search:
    """Strengths tried on divisions of the samples into those learned from and those held out."""

    def __init__(
        self, estimator: Estimator, parts: Sequence[tuple[Samples, Samples]], rho: Array,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.estimator, self.rho, self.grid, self.tell = estimator, rho, parts[0][0].grid, tell
        self.parts = [(train.masses(), test.points) for train, test in parts]
        self.scores: dict[float, float] = {}
        self.learned: dict[float, list[Array]] = {}

    @property
    def best(self) -> float:
        """The strength of the largest likelihood so far."""
        return max(self.scores, key=lambda s: self.scores[s])

    def score(self, strength: float) -> None:
        """Try a strength, and tell the best so far."""
        estimator = self.estimator.with_strength(strength)
        near = min(self.learned, key=lambda s: abs(math.log(s / strength)), default=None)
        starts = [None] * len(self.parts) if near is None else self.learned[near]
        learned = [
            estimator.learn(masses, self.rho, self.grid, start=start)
            for (masses, _), start in zip(self.parts, starts, strict=True)
        ]
        likelihoods = [
            held_out_log_likelihood(law, self.grid, points)
            for law, (_, points) in zip(learned, self.parts, strict=True)
        ]
        self.learned[strength], self.scores[strength] = learned, float(np.mean(likelihoods))
        self.tell(f"best {self.best:.2g}: {self.scores[self.best]:.4f} nats a point")


def held_out_log_likelihood(learned: Array, grid: Grid, points: ArrayLike) -> float:
    """Mean log-likelihood of points under cell averages exp(learned), normalised, nats a point."""
    return float(LogDensity.of_logs(learned, grid)(points).mean())
