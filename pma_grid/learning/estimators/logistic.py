"""`Logistic`: regression on a grid, the discriminator between a density and points.

    F(h) = sum rho log(1 + e^{-h}) + sum m log(1 + e^h) + (strength / 2N) |K h|^2

with cell masses rho (known) and m (the points' shares in the N cells), K minus the Laplacian in
units of the box's sides.  Without the penalty the minimiser is log(rho / m).

References
----------
Goodfellow et al. (2014), Generative Adversarial Nets, arXiv:1406.2661: the discriminator.
Sugiyama, Suzuki, Kanamori (2012), Density Ratio Estimation in Machine Learning, Cambridge Univ.
Press: log(rho / mu) by logistic regression.
Silverman (1982), On the estimation of a probability density function by the maximum penalized
likelihood method, Ann. Statist. 10, 795-810: penalties on the log-density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.special import expit, logsumexp

from pma_grid.grid.grid import Grid
from pma_grid.learning.estimators.estimator import OneStrength, limited
from pma_grid.linsolve.elliptic import Biharmonic, EllipticResult, Screened, laplacian
from pma_grid.linsolve.line_search import backtrack
from pma_grid.runtime import Array, check_choice

# Newton's method ends where its decrement, twice what F can still fall by, is below this: nats a
# point, far below what any estimate is good for, and above the rounding of F.
DECREMENT_NATS = 1e-12
# It moves by about one nat a step along exponential tails, and logits span some tens.
MOST_NEWTON_STEPS = 50
# Share of the predicted fall of F that a step must reach (Armijo's customary one), and the smallest
# fraction of a step that is tried: below, F is flat to rounding.
ARMIJO_SLOPE, SMALLEST_FRACTION = 1e-4, 2.0**-20
# Relative residuals of the linear solves: no smaller than Newton's steps make use of, the root of
# the decrement between these two.
LOOSEST_RESIDUAL, SHARPEST_RESIDUAL = 0.1, 1e-3


@dataclass(frozen=True)
class Logistic(OneStrength):
    """Logistic regression: a discriminator h between rho and the points, log mu = log rho - h.

    Parameters
    ----------
    strength : float, optional
        Weight of the penalty on rough h: lengths of about strength^{1/4} of the box (H1:
        strength^{1/2}) are smoothed over.  None lets held-out samples choose it.
    penalty : {"h2", "h1"}
        Whether second or first differences of h are penalised.  H2 is clearly better where log mu
        is smooth.
    """

    penalty: Literal["h2", "h1"] = "h2"

    name = "logistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.penalty, ("h2", "h1"), "penalty")

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
class Discriminator:
    """A minimiser h, of the grid's shape, about log(rho / mu), and whether F is at its minimum.

    ``newton`` and ``linear`` count iterations of Newton's method, and of the linear solves in it.
    """

    logit: Array
    newton: int
    linear: int
    converged: bool


def discriminate(
    rho: Array,
    masses: Array,
    strength: float,
    *,
    penalty: Literal["h2", "h1"] = "h2",
    start: Array | None = None,
) -> Discriminator:
    """The logit that tells ``rho`` from the points, cell masses of sum 1, by Newton's method.

    It begins at ``start``, or 0.  ``strength`` > 0 and ``penalty`` are those of `Logistic`:
    |K h|^2, or <h, K h>, which lets a logit be rough.

    Notes
    -----
    F is strictly convex; steps are found by conjugate gradients with pyamg and halved where F does
    not fall enough.  The steps do not depend on the grid but on how far down the tails go: these
    are exponentials, along which Newton's method moves by about one nat a step.

    With strengths that held-out points choose, KL(mu | learned) falls as n^{-4/(4 + d)}, the rate
    of densities with two derivatives (Stone 1982, Ann. Statist. 10, 1040-1053), in n points of d
    coordinates: mixtures of normal laws, n from 10^3 to 10^5, give the exponents -.784 +- .024 on a
    line (24 seeds) and -.658 +- .016 in the plane (6 seeds).  It is slower where mu jumps.
    """
    objective = _Objective(rho.ravel(), masses.ravel(), strength, laplacian(rho.shape), penalty)
    h = np.zeros(rho.size) if start is None else np.array(start, float).ravel()
    now, linear, decrement = objective.value(h), 0, math.inf
    for count in range(MOST_NEWTON_STEPS + 1):
        gradient = objective.gradient(h)
        rtol = min(LOOSEST_RESIDUAL, max(SHARPEST_RESIDUAL, math.sqrt(decrement)))
        solved = objective.newton_step(h, gradient, rtol)
        step, linear = solved.x, linear + solved.iterations
        decrement = -float((gradient * step).sum())
        if decrement <= DECREMENT_NATS or count == MOST_NEWTON_STEPS:
            return Discriminator(h.reshape(rho.shape), count, linear, decrement <= DECREMENT_NATS)
        lower = objective.lower(h, now, step, decrement)
        if lower is None:  # F is flat to rounding
            flat = decrement <= math.sqrt(DECREMENT_NATS)
            return Discriminator(h.reshape(rho.shape), count, linear, flat)
        h, now = lower
    raise AssertionError  # the loop returns


@dataclass(frozen=True, eq=False)
class _Objective:
    """F and its derivatives, on flat arrays."""

    rho: Array
    masses: Array
    strength: float
    operator: sparse.csr_array  # K
    penalty: str

    @property
    def coefficient(self) -> float:
        """Of the quadratic form of the penalty."""
        return self.strength / self.rho.size

    def bend(self, h: Array) -> Array:
        """K^2 h, or K h."""
        once = self.operator @ h
        return np.asarray(self.operator @ once if self.penalty == "h2" else once)

    def value(self, h: Array) -> float:
        """F."""
        fit = (self.rho * np.logaddexp(0.0, -h)).sum() + (self.masses * np.logaddexp(0.0, h)).sum()
        return float(fit + 0.5 * self.coefficient * (h * self.bend(h)).sum())

    def gradient(self, h: Array) -> Array:
        """dF/dh."""
        fit = self.masses * expit(h) - self.rho * expit(-h)
        return np.asarray(fit + self.coefficient * self.bend(h))

    def lower(
        self, h: Array, now: float, step: Array, decrement: float
    ) -> tuple[Array, float] | None:
        """The point along a step, and F there, by backtracking from F = ``now``."""

        def trial(size: float) -> tuple[Array, float]:
            point = h + size * step
            return point, self.value(point)

        found = backtrack(
            trial,
            merit=lambda at: at[1],
            enough=lambda size: now - ARMIJO_SLOPE * size * decrement,
            smallest=SMALLEST_FRACTION,
        )
        return None if found is None else found[1]

    def newton_step(self, h: Array, gradient: Array, rtol: float) -> EllipticResult:
        """Minus the inverse Hessian times the gradient."""
        # the weights (rho + m) s (1 - s) are as noisy as the counts m; where m is as the logit
        # expects they are rho (1 - s), of which the preconditioner is made
        expected = self.rho * expit(-h)
        weights = (self.rho + self.masses) * expit(h) * expit(-h)
        if self.penalty == "h2":
            solver = Biharmonic(self.operator, weights, self.coefficient, expected)
            return solver.solve(-gradient, rtol=rtol)
        return Screened(self.operator, weights, self.coefficient).solve(-gradient, rtol=rtol)
