"""`State`, one instant of a flow, and `MirrorOperator`, what a flow must know of its mirror.

Both flows of this package are mirror flows du/dt = h(u) = log(rho_u / mu), where mu - rho_u is the
derivative of the convex J(u) = int u dmu + int u* dnu.  In the Monge-Ampère flow u* is the convex
conjugate and rho_u the pullback of nu; in Sinkhorn's iteration u* is the soft conjugate and rho_u
the source's marginal of the plan.  States, observables and recorders know this alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pma_grid.linsolve import Handle
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array
from pma_grid.transport.potential import Potential
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


@dataclass(frozen=True, eq=False)
class Step:
    """How the step that led to a state was made.

    Attributes
    ----------
    size : float
        Step size eta that was taken, length^2; 0 at the start.
    phi, slope : ndarray
        What the state before the step had under these names.
    error : float
        Estimated local error of the potential: half its oscillation, length^2.
    newton, linear : int
        Newton and linear iterations that the step took.
    attempts : int
        Step sizes that were tried: 1 where the first was accepted.
    """

    size: float
    phi: Array
    slope: Array
    error: float = 0.0
    newton: int = 0
    linear: int = 0
    attempts: int = 1


@dataclass(frozen=True, eq=False)
class State:
    """One instant of a flow of potentials, as `iterate` yields them and observables read them.

    A state is immutable and carries all that the next step may reuse.  Its potential is
    u = stretch of box to box + phi + offset; rho is the pullback of the target nu under grad u.

    Attributes
    ----------
    index : int
        Number of steps taken up to here.
    time : float
        The time t, length^2.
    phi : ndarray, shape ``source.shape``
        The potential u without the affine stretch of box to box and without its mean; read only.
    offset : float
        The mean that was taken out of it (the gauge), length^2.
    residual : ndarray, shape ``source.shape``
        h = log(rho_u / mu), before normalisation.
    slope : ndarray, shape ``source.shape``
        h - mean h as the equation of the step has it, (v - base) / beta: without the algebraic
        error of h, which sits in the highest frequencies, where differences amplify it.
    gauge_rate : float
        The constant beside it: h = slope + gauge_rate up to that error.
    operator : MirrorOperator
        What evaluates h for this flow, with the geometry that observables need.
    step : Step
        The step by which the flow came here.
    order : int
        Order of the scheme: the error estimate goes like step_size^{order + 1}.
    older : Step or None
        The step before that one, from which starts of Newton's method are extrapolated.
    handle : Handle or None
        Preconditioner of the last implicit step, which the next may reuse.
    """

    index: int
    time: float
    phi: Array
    offset: float
    residual: Array
    slope: Array
    gauge_rate: float
    operator: MirrorOperator
    step: Step
    order: int = 1
    older: Step | None = None
    handle: Handle | None = None

    @property
    def potential(self) -> Array:
        """u at the cell centres, length^2, gauge included."""
        return self.operator.potential(self.phi, self.offset)

    @cached_property
    def _normalised(self) -> tuple[Array, Array, float]:
        return normalised(self.operator.masses, self.residual)

    @property
    def masses(self) -> Array:
        """rho = mu e^{h - alpha}, the cell masses of the pullback; they sum to 1."""
        return self._normalised[0]

    @property
    def log_ratio(self) -> Array:
        """hbar = h - alpha = log(rho / mu)."""
        return self._normalised[1]

    @cached_property
    def excess(self) -> Array:
        """rho / mu - 1 = e^hbar - 1, to full relative accuracy near equilibrium; 0 where mu is."""
        full = self.operator.masses > 0
        return np.asarray(np.expm1(self.log_ratio if full.all() else self.log_ratio * full))

    @property
    def mass_constant(self) -> float:
        """alpha = log sum mu e^h; it goes to 0 with the spacing."""
        return self._normalised[2]

    @property
    def gradient(self) -> Array:
        """grad u at the cell centres by centred differences, (d, *shape), length."""
        grids = self.operator.problem.source.grid, self.operator.problem.target.grid
        return Potential(self.phi, *grids).centred_gradient()

    @cached_property
    def symmetrised_kl(self) -> float:
        """S = KL(rho|mu) + KL(mu|rho) = sum mu (e^hbar - 1) hbar."""
        return float((self.operator.masses * self.excess * self.log_ratio).sum())

    @cached_property
    def dissipation(self) -> float:
        """I = int <grad h, A grad h> drho, A = (D2u)^{-1}: how fast S falls, d2J along h."""
        return self.operator.dissipation(self.phi, self.time, self.log_ratio, self.masses)

    @cached_property
    def forward_divergence(self) -> float:
        """D(rho_k | rho_{k+1}) of the step that led here; 0 at the start."""
        before = self.time - self.step.size
        return self.operator.divergence(self.step.phi, self.phi, before) if self.step.size else 0.0

    @cached_property
    def backward_divergence(self) -> float:
        """D(rho_{k+1} | rho_k) of the step that led here; 0 at the start."""
        before, now = self.step.phi, self.phi
        return self.operator.divergence(now, before, self.time) if self.step.size else 0.0

    @cached_property
    def residual_norm(self) -> float:
        """(sum mu hbar^2)^{1/2}, the norm that schedules receive."""
        return float(np.sqrt((self.operator.masses * self.log_ratio**2).sum()))
