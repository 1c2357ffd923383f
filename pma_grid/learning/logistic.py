"""Logistic regression on a grid: the discriminator between a density and points.

    F(h) = sum rho log(1 + e^{-h}) + sum m log(1 + e^h) + (strength / 2N) |K h|^2

with cell masses rho (known) and m (the points' shares in the N cells), K minus the Laplacian in
units of the box's sides.  Without the penalty the minimiser is log(rho / m).

References
----------
Goodfellow et al. (2014), Generative Adversarial Nets, arXiv:1406.2661: the discriminator.
Silverman (1982), On the estimation of a probability density function by the maximum penalized
likelihood method, Ann. Statist. 10, 795-810: penalties on the log-density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from pma_grid.lattice import Array
from pma_grid.linsolve.elliptic import Biharmonic, EllipticResult, Screened, laplacian

# Newton's method ends where the decrement, twice what F can still fall by, is below this.
DECREMENT = 1e-12
MOST_STEPS = 50
SLOPE, SMALLEST_STEP = 1e-4, 2.0**-20
# Relative residual of the linear solves: Newton's steps need not be sharper.
RTOL = 1e-3


@dataclass(frozen=True)
class Discriminator:
    """A minimiser h, of the grid's shape.

    Attributes
    ----------
    logit : ndarray
        h, about log(rho / mu).
    newton, linear : int
        Iterations.
    converged : bool
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
    """The logit that tells rho from the points, by Newton's method.

    Parameters
    ----------
    rho, masses : ndarray, 1 to 3 axes
        Cell masses, of sum 1.
    strength : float
        > 0; of the penalty: lengths of about strength^{1/4} (H1: strength^{1/2}) of the box are
        smoothed over.
    penalty : {"h2", "h1"}
        |K h|^2, or <h, K h>, which lets a logit be rough.
    start : ndarray, optional
        Logit to begin from.

    Notes
    -----
    F is strictly convex; steps are found by conjugate gradients with pyamg and halved where F does
    not fall enough.  A handful of steps, whatever the grid.
    """
    shape = rho.shape
    operator = laplacian(shape)
    coefficient = strength / rho.size
    rho, masses = rho.ravel(), masses.ravel()
    h = np.zeros(rho.size) if start is None else np.array(start, float).ravel()
    linear = 0

    def bend(x: Array) -> Array:
        """Derivative of the penalty, without its coefficient."""
        once = operator @ x
        return np.asarray(operator @ once if penalty == "h2" else once)

    def value(x: Array) -> float:
        """F."""
        fit = (rho * np.logaddexp(0.0, -x)).sum() + (masses * np.logaddexp(0.0, x)).sum()
        return float(fit + 0.5 * coefficient * (x * bend(x)).sum())

    now = value(h)
    for count in range(MOST_STEPS + 1):
        up, down = expit(h), expit(-h)
        gradient = masses * up - rho * down + coefficient * bend(h)
        solved = _newton_step(
            gradient, (rho + masses) * up * down, rho * down, operator, coefficient, penalty
        )
        step, linear = solved.x, linear + solved.iterations
        slope = float((gradient * step).sum())
        if -slope <= DECREMENT or count == MOST_STEPS:
            return Discriminator(h.reshape(shape), count, linear, -slope <= DECREMENT)
        size = 1.0
        while (after := value(h + size * step)) > now + SLOPE * size * slope:
            size *= 0.5
            if size < SMALLEST_STEP:  # F is flat to rounding
                return Discriminator(h.reshape(shape), count, linear, -slope <= np.sqrt(DECREMENT))
        h, now = h + size * step, after
    raise AssertionError  # the loop returns


def _newton_step(
    gradient: Array, weights: Array, smooth: Array, operator: object, coefficient: float,
    penalty: str,
) -> EllipticResult:  # fmt: skip
    """Minus the inverse Hessian times the gradient.

    The weights (rho + m) s (1 - s) are as noisy as the counts m; where m is as the logit expects
    they are rho (1 - s), of which the preconditioner is made.
    """
    if penalty == "h2":
        return Biharmonic(operator, weights, coefficient, smooth).solve(-gradient, rtol=RTOL)
    return Screened(operator, weights, coefficient).solve(-gradient, rtol=RTOL)
