"""The explicit mirror step, with its two limits: convexity and stability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import linalg

from pma_grid.flow.state import State
from pma_grid.flow.stepping.scheme import advance_explicitly, linearised
from pma_grid.grid.smoothing import helmholtz
from pma_grid.runtime import Array, InvalidInputError, LostConvexityError, check_not_negative

# Share of a limit that capped steps keep.
SHARE_OF_LIMIT = 0.9
# Relative error of the largest eigenvalue, and the seed of the vector that Arnoldi's method starts
# from.
EIGENVALUE_TOLERANCE = 1e-6
START_SEED = 90021
# Matrices below this size are handed to a dense solver: Arnoldi's method needs room.
DENSE_BELOW = 5


@dataclass(frozen=True)
class Explicit:
    """The explicit mirror step as Deb & Liang write it: u_{k+1} = u_k + eta_k log(rho_k / mu).

    It costs one evaluation of h and no linear solve, but must stay below two limits, of which that
    of stability shrinks with the square of the spacing: it is here for comparison with the theory.

    Parameters
    ----------
    cap : {None, "convexity", "stability"}
        What steps of the schedule that are too long are shortened to.  None takes them as they are:
        one that leaves the convex potentials raises `LostConvexityError`.  "convexity" shortens
        them to 0.9 of the `convexity_limit`, "stability" also to 0.9 of the stability limit
        (without smoothing: of Gershgorin's bound of it); `flow.step_sizes` has the steps taken.
    smoothing : float
        Length l >= 0 of P = (1 - l^2 Laplacian)^{-1}: the step is then u + eta P h, as with a
        direction learned under a Sobolev penalty.

    Notes
    -----
    The scheme is of first order, and stable for eta < 2 / lambda_max(-P L), L the linearisation of
    h.  Without smoothing that is of order h^2: on a grid every step of size O(1) is unstable,
    whatever the continuous theory allows.  With smoothing it is of order l^2, whatever the grid.
    The regret of smoothed steps is S = <P h, rho - mu> (`pma_grid.observables.smoothed_kl`).

    References
    ----------
    Deb & Liang (2025), arXiv:2504.09279.
    """

    cap: Literal["convexity", "stability"] | None = None
    smoothing: float = 0.0

    name = "explicit"
    order = 1
    weights = (1.0, 0.0)

    def __post_init__(self) -> None:
        if self.cap not in (None, "convexity", "stability"):
            raise InvalidInputError(
                f"cap is {self.cap!r}; it must be None, 'convexity' or 'stability': "
                "for example Explicit(cap='stability')"
            )
        check_not_negative(self.smoothing, "smoothing", "a length, 0 for the plain step")

    def _direction(self, state: State) -> Array:
        """P h."""
        if self.smoothing == 0:
            return state.residual
        spacing = state.operator.problem.source.grid.spacing
        return helmholtz(state.residual, spacing, self.smoothing)

    def limits(self, state: State) -> tuple[float, float]:
        """The convexity and the stability limit at a state."""
        return (
            convexity_limit(state, self._direction(state)),
            stability_limit(state, self.smoothing),
        )

    def step(self, state: State, step_size: float) -> State:
        """One step of size eta, shortened to the cap."""
        return self.along(state, self._direction(state), step_size)

    def along(self, state: State, direction: Array, step_size: float) -> State:
        """One step u + eta d along any direction of ``source.shape``, shortened to the cap."""
        if self.cap is not None:
            step_size = min(step_size, SHARE_OF_LIMIT * convexity_limit(state, direction))
        if self.cap == "stability":
            plain = self.smoothing == 0
            limit = _gershgorin_limit(state) if plain else stability_limit(state, self.smoothing)
            step_size = min(step_size, SHARE_OF_LIMIT * limit)
        operator, mean = state.operator, float(direction.mean())
        phi = state.phi + step_size * (direction - mean)
        phi -= phi.mean()
        residual = operator.evaluate(phi, state.time + step_size)
        lost = int(np.count_nonzero(~np.isfinite(residual)))
        if lost:
            raise LostConvexityError(
                f"step {state.index} of size {step_size:.3e} lost convexity at {lost} cells; "
                "explicit steps must stay below eta_max = "
                f"{convexity_limit(state, direction):.3e} and, not to grow unstable, below "
                f"{stability_limit(state, self.smoothing):.3e}: take smaller ones, "
                "Explicit(cap='stability'), or ImplicitEuler()"
            )
        return advance_explicitly(state, step_size, phi, state.offset + step_size * mean, residual)


def convexity_limit(state: State, direction: Array | None = None) -> float:
    """eta_max = 1 / max(0, -lambda_min(A^{1/2} D2h A^{1/2})) over the cells, A = (D2u)^{-1}.

    D2(u + eta h) is positive definite up to it; inf where h is convex.  Centred differences of h,
    or of another ``direction``; A from the stencil.
    """
    stencil = linearised(state)
    lattice, n = stencil.lattice, stencil.lattice.size
    dim = lattice.dim
    padded = lattice.zeros()
    lattice.fill(state.residual if direction is None else direction, padded)
    centre = (lattice.row_start[:, None] + np.arange(lattice.n_last)).ravel()
    bend = np.empty((n, dim, dim))
    strides = lattice.strides
    for i in range(dim):
        si = int(strides[i])
        bend[:, i, i] = padded[centre + si] + padded[centre - si] - 2 * padded[centre]
        for j in range(i):
            sj = int(strides[j])
            mixed = padded[centre + si + sj] + padded[centre - si - sj]
            mixed = mixed - padded[centre + si - sj] - padded[centre - si + sj]
            bend[:, i, j] = bend[:, j, i] = 0.25 * mixed
    factor = np.linalg.cholesky(stencil.tensor())
    lowest = np.linalg.eigvalsh(np.swapaxes(factor, 1, 2) @ bend @ factor)[:, 0].min()
    return state.operator.frame.unit / -float(lowest) if lowest < 0 else math.inf


def stability_limit(state: State, smoothing: float = 0.0) -> float:
    """2 / lambda_max(-P L), L the linearisation of h at the state, by Arnoldi's method.

    The sharp limit: above it some perturbation grows at each step.  P = 1 without ``smoothing``.
    """
    stencil = linearised(state)
    n, grid = stencil.lattice.size, state.operator.problem.source.grid

    def apply(x: Array) -> Array:
        out = np.empty(n)
        stencil.apply(np.ascontiguousarray(x, float), out)
        if smoothing > 0:
            field = helmholtz(out.reshape(stencil.lattice.shape), grid.spacing, smoothing)
            out = field.ravel()
        return -out

    if n < DENSE_BELOW:
        matrix = np.stack([apply(column) for column in np.eye(n)], axis=1)
        largest = float(np.abs(np.linalg.eigvals(matrix)).max())
    else:
        operator = linalg.LinearOperator((n, n), matvec=apply, dtype=float)
        start = np.random.default_rng(START_SEED).normal(size=n)
        values = linalg.eigs(operator, 1, which="LM", v0=start, tol=EIGENVALUE_TOLERANCE,
                             maxiter=100 * n, return_eigenvectors=False)  # fmt: skip
        largest = float(np.abs(values[0]))
    return 2.0 * state.operator.frame.unit / largest if largest > 0 else math.inf


def _gershgorin_limit(state: State) -> float:
    """A lower bound of the stability limit at the cost of one pass."""
    stencil = linearised(state)
    rows = 4.0 * stencil.total_weights() + np.abs(stencil.drift).sum(axis=1)
    return 2.0 * state.operator.frame.unit / float(rows.max())
