"""`Estimator`: what learns log mu on a grid from points, with one number to choose."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array, InvalidInputError, check_positive

# Learned log-densities are cut so many nats below their maximum.  det D2u is mu / nu(grad u): from
# about 15 nats on second differences of u drown in rounding, and from 12 on implicit steps from the
# affine map are hard to solve.  Where data leave most of their box empty it gets 4e-5 of the mass.
LEARNED_DEPTH_NATS = 12.0
# Masses are raised to this where a logarithm is taken: near the smallest double, far below the cut.
TINY_MASS = 1e-300


class Learns(Protocol):
    """What a learned step asks of an estimator."""

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log mu at the cells up to a constant, finite everywhere.

        Parameters
        ----------
        masses : ndarray, ``grid.shape``
            Shares of the points in the cells, of sum 1.
        rho : ndarray, ``grid.shape``
            Cell masses of the known density that is compared with, positive, of sum 1.
        grid : Grid
            The cells.
        start : ndarray, optional
            An earlier answer, from which iterative estimators begin.
        """
        ...


class Estimator(Learns, Protocol):
    """Learns log mu from the points' shares in the cells, given a density that is known.

    One positive number, the strength, says how strongly it smooths; `select` chooses it by
    held-out points.  Derive from `OneStrength` to have the first two members.

    Attributes
    ----------
    name : str
        Short name of the method, as `fit` takes it and models report it.
    strength : float or None
        How strongly the estimator smooths; None: held-out points are to choose it.
    """

    @property
    def name(self) -> str: ...

    @property
    def strength(self) -> float | None: ...

    def with_strength(self, strength: float) -> Self:
        """The same estimator with another strength."""
        ...

    def strengths(self) -> Array:
        """Strengths worth trying, increasing by a constant factor; see `select`."""
        ...


@dataclass(frozen=True)
class OneStrength:
    """What all estimators here share: one positive number."""

    strength: float | None = None

    def __post_init__(self) -> None:
        if self.strength is not None:
            check_positive(self.strength, "strength", "None lets held-out samples choose it")

    def with_strength(self, strength: float) -> Self:
        """The same estimator with another strength."""
        return dataclasses.replace(self, strength=float(strength))

    @property
    def chosen(self) -> float:
        """The strength, which must be there."""
        if self.strength is None:
            raise InvalidInputError(
                "strength is None; choose it with learning.select, or give a number"
            )
        return self.strength


def limited(logarithms: Array) -> Array:
    """A log-density cut `LEARNED_DEPTH_NATS` below its maximum, which is moved to 0."""
    return np.asarray(np.maximum(logarithms - logarithms.max(), -LEARNED_DEPTH_NATS))
