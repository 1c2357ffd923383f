"""`select`: how strongly to smooth, by the likelihood of held-out points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid import Grid
from pma_grid.lattice import Array
from pma_grid.learning.estimators import Estimator
from pma_grid.log_density import LogDensity
from pma_grid.samples import Samples

# Weaker and weaker strengths are tried until the likelihood has fallen so many times in a row.
PATIENCE = 3
# The best and its neighbours are then divided so many times.
REFINEMENTS = 2


@dataclass(frozen=True, eq=False)
class Selection:
    """The strengths tried and what held-out points said of them.

    Attributes
    ----------
    estimator : Estimator
        With the strength chosen.
    strengths : ndarray, shape (k,)
        Increasing.
    log_likelihoods : ndarray, shape (k,)
        Means over the held-out points, nats a point.
    at_edge : bool
        Whether the best is the weakest or the strongest candidate there is.
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
    estimator: Estimator, samples: Samples, rho: Array, *, held_out: float = 0.2, seed: int = 0
) -> Selection:
    """The strength of an estimator that held-out points are likeliest under.

    Parameters
    ----------
    estimator : Estimator
    samples : Samples
    rho : ndarray, ``samples.grid.shape``
        Cell masses of the density that is compared with, sum 1.
    held_out : float in (0, 1)
        Share of the samples, chosen at random.
    seed : int

    Returns
    -------
    Selection
    """
    train, test = samples.split(held_out, seed)
    masses, grid = train.masses(), samples.grid
    candidates = estimator.strengths()
    scores: dict[float, float] = {}
    learned: Array | None = None
    falls = 0
    for strength in candidates[::-1]:  # from smooth to rough, each starts the next
        learned = estimator.with_strength(strength).learn(masses, rho, grid, start=learned)
        scores[float(strength)] = held_out_log_likelihood(learned, grid, test.points)
        falls = falls + 1 if scores[float(strength)] < max(scores.values()) else 0
        if falls >= PATIENCE:
            break
    factor = float(candidates[1] / candidates[0]) if len(candidates) > 1 else 1.0
    for _ in range(REFINEMENTS):
        factor = math.sqrt(factor)
        best = max(scores, key=lambda s: scores[s])
        for strength in (best / factor, best * factor):
            learned = estimator.with_strength(strength).learn(masses, rho, grid, start=learned)
            scores[strength] = held_out_log_likelihood(learned, grid, test.points)
    best = max(scores, key=lambda s: scores[s])
    order = sorted(scores)
    return Selection(
        estimator.with_strength(best),
        np.array(order),
        np.array([scores[s] for s in order]),
        at_edge=bool(best <= candidates[0] or best >= candidates[-1]),
    )


def held_out_log_likelihood(learned: Array, grid: Grid, points: ArrayLike) -> float:
    """Mean log-likelihood of points under cell averages exp(learned), normalised, nats a point."""
    return float(LogDensity.of_logs(learned, grid)(points).mean())
