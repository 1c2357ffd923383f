"""The right-hand side of the parabolic Monge-Ampère equation du/dt = h(u, t) on a grid.

    h(u, t) = log nu(grad u) + log det D2u - log mu + forcing(t)

in the monotone log form of `MongeAmpere`.  Potentials are phi, the part of u beyond the affine
stretch of box to box, with mean zero: the gauge mean(u) is kept apart, since it drifts with the
mass constant and would drown the second differences in rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.flow.state import MirrorOperator
from pma_grid.linsolve import Stencil
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.transport.duality import cell_integral
from pma_grid.transport.potential import Potential

Forcing = Callable[[float], Array]

# The rows of the linearisation are weighted by rho = mu e^h; far from equilibrium h is cut here.
LARGEST_LOG_RATIO = 10.0


class ParabolicOperator(MirrorOperator):
    """h and its linearisation for one problem, with the cell masses of the source.

    The mirror is half the squared Wasserstein distance to nu.  A divergence comes out below 0 where
    the grid does not resolve the target (log nu changes by more than 2 across the image of a cell).
    ``masses`` include the working floor, ``work`` the iterations of refused steps.
    """

    def __init__(self, problem: Problem, forcing: Forcing | None = None) -> None:
        self.problem, self.forcing = problem, forcing
        self.equation = Evaluation(MongeAmpere.of(problem))
        self.frame = self.equation.frame
        masses, _, self.floors = positive(problem)
        self.masses = masses / masses.sum()
        self.work = {"newton": 0, "linear": 0, "setups": 0}
        self._at: tuple[Array, float] | None = None
        self._residual = np.empty(0)

    def follow(self, other: ParabolicOperator) -> None:
        """Take over the superbases of another operator on the same grid: their h then agree."""
        self.equation.restart(other.equation.superbase)
        self._at = None

    def evaluate(self, phi: Array, time: float) -> Array:
        """h at phi (mean zero, never modified), NaN where u is not convex; fills the stencil."""
        at = self._at
        if at is None or at[0] is not phi or at[1] != time:
            residual = self.equation.evaluate_log(phi / self.frame.unit)
            if self.forcing is not None:
                residual += self._force(time)
            self._at, self._residual = (phi, time), residual
        return self._residual

    def _force(self, time: float) -> Array:
        """The forcing, checked: a user's function."""
        assert self.forcing is not None
        shape = self.problem.source.shape
        try:
            value = np.asarray(self.forcing(time), float)
        except (TypeError, ValueError):
            value = np.empty(0)
        if value.shape != shape or not np.isfinite(value).all():
            raise InvalidInputError(
                f"forcing({time:g}) has shape {value.shape} or values that are not finite; it must "
                f"return a finite array of the source's shape {shape}: evaluate it at "
                "grid.coordinates()"
            )
        return value

    def linearise(self, residual: Array, reaction: float) -> Stencil:
        """The stencil of the last evaluation with a reaction, rows weighted by rho = mu e^h.

        Of potentials in the unit of the frame, as the reaction is, over that unit, dimensionless.
        Residuals are measured over the root of the diagonal.  Where det D2u nearly vanishes rows
        are large: unweighted, Krylov's method sees nothing else; over the diagonal itself, it
        leaves an h there from which the next step cannot be solved.
        """
        stencil = self.equation.stencil
        level = float((self.masses * residual).sum())
        np.clip(residual.ravel() - level, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO,
                out=stencil.row_scale)  # fmt: skip
        np.exp(stencil.row_scale, out=stencil.row_scale)
        stencil.row_scale *= self.masses.ravel()
        stencil.reaction = reaction
        stencil.equilibration = None
        if reaction:
            diagonal = reaction + 2.0 * stencil.total_weights()
            stencil.equilibration = np.sqrt(reaction / diagonal)
        return stencil

    def linearised(self, phi: Array, time: float) -> Stencil:
        """The derivative of h at phi; valid until the operator is evaluated elsewhere."""
        return self.linearise(self.evaluate(phi, time), 0.0)

    def dissipation(self, phi: Array, time: float, log_ratio: Array, rho: Array) -> float:
        """I = int <grad h, A grad h> drho = sum over edges of rho w_e (difference of hbar)^2."""
        energy = self.linearised(phi, time).energy(log_ratio.ravel(), rho.ravel())
        return energy / self.frame.unit

    def inverse_hessian(self, phi: Array, time: float) -> Array:
        """A = (D2u)^{-1} at every cell, (N, d, d): the diffusion tensors of the stencil."""
        return self.linearised(phi, time).tensor(self.frame.spacing) / self.frame.hessian_unit

    def conjugate(self, phi: Array, offset: float) -> tuple[Array, float]:
        """phi and offset of u* on the target's grid, by inverting the interpolated gradient."""
        source, target = self.problem.source.grid, self.problem.target.grid
        potential = Potential(phi, source, target)
        w = target.at_origin.points
        z, values = potential.inverse_from(w)
        # <x, y> - u(x) - (stretch of the target's box), but for the product of the lower corners
        psi = (z * w).sum(axis=1) - potential.frame.bend(z) - values
        psi = psi.reshape(target.shape) - Frame(target, source).bends
        mean = float(psi.mean())
        return psi - mean, mean + float(np.dot(source.lower, target.lower)) - offset

    def conjugate_integral(self, phi: Array, offset: float) -> float:
        """int u* dnu of the interpolated potential, length^2: order 2 in the spacing."""
        psi, mean = self.conjugate(phi, offset)
        target = self.problem.target
        quadratic = Frame(target.grid, self.problem.source.grid).quadratic()
        return cell_integral(psi + quadratic, target.masses) + mean
