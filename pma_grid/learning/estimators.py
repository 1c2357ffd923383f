"""Estimators of log mu on a grid from points: configurations with one number to choose."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
from scipy.special import logsumexp

from pma_grid.grid.grid import Grid
from pma_grid.learning.logistic import discriminate
from pma_grid.learning.plug_in import padded, smoothed
from pma_grid.learning.score import log_score, projected, score_field
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.checks import check_positive
from pma_grid.runtime.errors import InvalidInputError

# Learned log-densities are cut so many nats below their maximum.  det D2u is mu / nu(grad u): from
# about 15 nats on second differences of u drown in rounding, and from 12 on implicit steps from the
# affine map are hard to solve.  Where data leave most of their box empty it gets 4e-5 of the mass.
DEPTH = 12.0


class Estimator(Protocol):
    """Learns log mu from the points' shares in the cells, given the density reached.

    Attributes
    ----------
    name : str
    strength : float or None
        What held-out points choose; None: to be chosen.
    """

    @property
    def name(self) -> str: ...

    @property
    def strength(self) -> float | None: ...

    def with_strength(self, strength: float) -> Self:
        """The same estimator with a strength."""
        ...

    def strengths(self) -> Array:
        """Candidates, increasing by a constant factor; see `select`."""
        ...

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log mu at the cells up to a constant, finite.

        Parameters
        ----------
        masses : ndarray, ``grid.shape``
            Shares of the points in the cells, sum 1.
        rho : ndarray, ``grid.shape``
            Cell masses of the density reached, sum 1, positive.
        grid : Grid
        start : ndarray, optional
            An earlier answer to begin from.
        """
        ...


@dataclass(frozen=True)
class _OneStrength:
    """What all estimators share: one positive number."""

    strength: float | None = None

    def __post_init__(self) -> None:
        if self.strength is not None:
            check_positive(self.strength, "strength", "None lets held-out samples choose it")

    def with_strength(self, strength: float) -> Self:
        """The same estimator with a strength."""
        return dataclasses.replace(self, strength=float(strength))

    @property
    def chosen(self) -> float:
        """The strength, which must be there."""
        if self.strength is None:
            raise InvalidInputError(
                "strength is None; choose it with learning.select, or give a number"
            )
        return self.strength


@dataclass(frozen=True)
class Logistic(_OneStrength):
    """A discriminator h between rho and the points; log mu = log rho - h.

    Parameters
    ----------
    strength : float, optional
        Of the penalty; see `pma_grid.learning.logistic.discriminate`.
    penalty : {"h2", "h1"}
        On second or on first differences of h.  H2 is clearly better where log mu is smooth.
    """

    penalty: Literal["h2", "h1"] = "h2"

    name = "logistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("penalty", self.penalty, ("h2", "h1"))

    def strengths(self) -> Array:
        """1e-11 ... 0.01 (H1: 1e-5 ... 1), by factors of 10^{1/2}."""
        low, high = (-11.0, -2.0) if self.penalty == "h2" else (-5.0, 0.0)
        return np.logspace(low, high, round(2 * (high - low)) + 1)

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log rho - h."""
        logs = np.log(rho)
        # a law known up to a factor leaves its logit open by a constant, and one that is nats off
        # costs Newton's method as many steps
        begin = None if start is None else logs - (start - logsumexp(start))
        found = discriminate(rho, masses, self.chosen, penalty=self.penalty, start=begin)
        return limited(logs - found.logit)


@dataclass(frozen=True)
class Score(_OneStrength):
    """A field that matches the score of the points, projected to a gradient.

    Parameters
    ----------
    strength : float, optional
        "implicit": of the penalty; "denoising": the standard deviation of the noise, in units of
        the box's sides.
    objective : {"implicit", "denoising"}
        Hyvärinen's, boundary term included; or Vincent's, with the noise averaged out exactly.
    control : bool
        Estimate the score of rho in the same way and add what is known of it: errors that both
        estimates share cancel where rho = mu.

    Notes
    -----
    The field is projected in L2 of the points' law, smoothed over the length that the field is: it
    is known where points are.  Where rho is uniform, weights rho would cost .05 to .1 nats a point.
    A potential that matches the score itself, (D^T diag(m) D + strength K^2 / N) l = K m, is no
    better.  Scores determine masses of modes that lie apart badly: look at these.
    """

    objective: Literal["implicit", "denoising"] = "implicit"
    control: bool = False

    name = "score"
    # of the field's penalty beside noise, which smooths already
    RIDGE = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("objective", self.objective, ("implicit", "denoising"))

    def strengths(self) -> Array:
        """1e-7 ... 1 by factors of 10^{1/2}; noise of .003 to .3 of the box by factors of 1.5."""
        if self.objective == "denoising":
            return np.asarray(0.003 * 1.5 ** np.arange(12))
        return np.logspace(-7, 0, 15)

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """The potential of the projected field, up to a constant."""
        fields = self._field(masses)
        if self.control:
            same, known = self._field(rho), log_score(rho)
            fields = [s - a + b for s, a, b in zip(fields, same, known, strict=True)]
        return limited(projected(fields, smoothed(masses, self._length)))

    @property
    def _length(self) -> float:
        """What the field is smoothed over, in units of the box's sides."""
        return self.chosen if self.objective == "denoising" else math.sqrt(self.chosen)

    def _field(self, masses: Array) -> list[Array]:
        if self.objective == "denoising":
            return score_field(smoothed(masses, self.chosen), self.RIDGE)
        return score_field(masses, self.chosen)


@dataclass(frozen=True)
class Kernel(_OneStrength):
    """Gaussian kernels, reflected at the faces; the strength is their bandwidth.

    Parameters
    ----------
    strength : float, optional
        Standard deviation in units of the box's sides.
    """

    name = "kde"

    def strengths(self) -> Array:
        """.002 to .3 of the box by factors of 1.25."""
        return np.asarray(0.002 * 1.25 ** np.arange(23))

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log of the smoothed histogram."""
        spread = smoothed(masses, self.chosen)
        return limited(np.log(np.maximum(spread, 1e-300)))


@dataclass(frozen=True)
class Histogram(_OneStrength):
    """Counts in the cells; the strength is the weight of a uniform law mixed in.

    Parameters
    ----------
    strength : float, optional
        Pseudo-counts of all cells together over the number of points.
    """

    name = "histogram"

    def strengths(self) -> Array:
        """1e-4 ... 100 by factors of 10^{1/2}."""
        return np.logspace(-4, 2, 13)

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """log of the histogram."""
        return limited(np.log(padded(masses, self.chosen)))


def limited(logarithms: Array) -> Array:
    """A log-density cut `DEPTH` nats below its maximum, which is moved to 0."""
    return np.asarray(np.maximum(logarithms - logarithms.max(), -DEPTH))


def floor_mass(learned: Array) -> float:
    """Share of the mass of a learned law in cells where `limited` cut it."""
    masses = np.exp(learned - learned.max())
    return float(masses[learned <= learned.max() - DEPTH].sum() / masses.sum())


def _one_of(name: str, value: object, words: tuple[str, ...]) -> None:
    """One of some words."""
    if value not in words:
        raise InvalidInputError(f"{name} is {value!r}; it must be one of {', '.join(words)}")
