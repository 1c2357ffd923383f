"""`MirrorOperator`: what a flow of potentials must know of its mirror.

Both flows of this package are mirror flows du/dt = h(u) = log(rho_u / mu), where mu - rho_u is the
derivative of the convex J(u) = int u dmu + int u* dnu.  In the Monge-Ampère flow u* is the convex
conjugate and rho_u the pullback of nu; in Sinkhorn's iteration u* is the soft conjugate and rho_u
the source's marginal of the plan.  States, observables and recorders know this alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array
from pma_grid.transport.pullback import normalised

# Gauss-Legendre rule of eight points on [0, 1], for divergences along segments of potentials: exact
# for polynomials of degree 15, where the pullback is smooth.
SEGMENT_NODES, SEGMENT_WEIGHTS = (
    (np.polynomial.legendre.leggauss(8)[k] + 1 - k) * 0.5 for k in (0, 1)
)


class MirrorOperator(ABC):
    """h and the geometry of one mirror, for potentials phi beyond the affine stretch, mean zero.

    ``frame`` has the quadratic part of u and the spacings; ``masses`` are the cell masses mu of the
    source, which sum to 1; ``work`` counts what was done so far, and ``floors`` says what working
    floors change, by side.  An entropic mirror has eps and a kernel, of which ``narrow_kernel``
    says whether it is narrower than a cell.
    """

    problem: Problem
    frame: Frame
    masses: Array
    work: dict[str, int]
    floors: dict[str, dict[str, float]]
    eps: float | None = None
    kernel: str | None = None
    narrow_kernel: bool | None = None

    @abstractmethod
    def evaluate(self, phi: Array, time: float) -> Array:
        """h at phi (never modified), NaN where it does not exist."""

    @abstractmethod
    def dissipation(self, phi: Array, time: float, log_ratio: Array, rho: Array) -> float:
        """The second derivative of J at phi along log_ratio = log(rho / mu)."""

    @abstractmethod
    def inverse_hessian(self, phi: Array, time: float) -> Array:
        """(D2u)^{-1} at every cell, (N, d, d), in physical units."""

    @abstractmethod
    def conjugate(self, phi: Array, offset: float) -> tuple[Array, float]:
        """psi and offset of u* on the target's grid: u* = stretch of box to box + psi + offset."""

    @abstractmethod
    def conjugate_integral(self, phi: Array, offset: float) -> float:
        """int u* dnu, length^2."""

    def potential(self, phi: Array, offset: float) -> Array:
        """u at the cell centres, length^2."""
        u: Array = self.frame.quadratic() + phi + offset
        return u

    def divergence(self, a: Array, b: Array, time: float) -> float:
        """D(a|b) = int_0^1 <w, rho_a - rho(a + s w)> ds, w = b - a: Bregman's divergence, >= 0.

        Gauss-Legendre in s; no conjugate, hence no cancellation near a = b.
        """
        w = b - a
        at_a, _, _ = normalised(self.masses, self.evaluate(a, time))
        total = 0.0
        for s, weight in zip(SEGMENT_NODES, SEGMENT_WEIGHTS, strict=True):
            rho, _, _ = normalised(self.masses, self.evaluate(a + s * w, time))
            total += weight * float((w * (at_a - rho)).sum())
        return total
