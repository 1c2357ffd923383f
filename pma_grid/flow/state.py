"""`State`: one instant of a flow, with all that the next step may reuse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pma_grid.flow.mirror_operator import MirrorOperator
from pma_grid.linsolve import Handle
from pma_grid.runtime import Array
from pma_grid.transport.potential import Potential
from pma_grid.transport.pullback import normalised


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
