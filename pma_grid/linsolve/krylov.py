"""Krylov methods that accept any preconditioner, changing ones included, and solves that may fail.

Truncated GCR (Eisenstat, Elman, Schultz 1983, doi:10.1137/0720023) with two kept directions needs
no more iterations than with twelve for operators that are nearly self-adjoint.  Those with clamped
weights are not: the derivative of a mean over the images of cells takes away from the diffusion,
here and there more than there is; they are left to GMRES (Saad, Schultz 1986, doi:10.1137/0907058).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from pma_grid.grid.sums import BlockSums, apart
from pma_grid.kernels.grid import vectors as kernels
from pma_grid.kernels.records import Direction
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import SERIAL, Array, Workers

Preconditioner = Callable[[Array, Array], None]

# Solves that serve take 5 to 30 iterations; one that needs more than this will not end.
MOST_LINEAR_ITERATIONS = 60
# A lagged preconditioner is rebuilt once a solve needs this many times the iterations of its first
# one, or the reaction changes by more than this factor.
STALE_ITERATIONS_RATIO, SIMILAR_REACTIONS_RATIO = 2.0, 2.0
# After so many directions GMRES starts again from what it has; it estimates its residual: rounding
# may leave this many times what was asked for.
GMRES_DIRECTIONS_KEPT, GMRES_RESIDUAL_RATIO = 20, 1.1


@dataclass(frozen=True)
class LinearResult:
    """Solution of ``J x + multiplier * gauge = rhs`` and how it was reached.

    ``relative_residual`` is the 2-norm of what is left over that of the (projected) right side.
    """

    x: Array
    multiplier: float
    iterations: int
    relative_residual: float
    converged: bool


class GCR:
    """GCR with two kept directions, the gauge projected out of the range.

    Two directions need no more iterations than twelve for these nearly self-adjoint operators;
    those with clamped weights are not, and are left to GMRES.
    The buffers live as long as the object, so that successive solves allocate nothing large.
    """

    def __init__(self, size: int, workers: Workers = SERIAL) -> None:
        # the new direction, and the two kept, the last one first
        self._directions = [Direction(apart(size), apart(size)) for _ in range(3)]
        self._residual = apart(size)
        self._sums = BlockSums(size, workers)

    def solve(
        self,
        stencil: Stencil,
        rhs: Array,
        precondition: Preconditioner,
        *,
        rtol: float,
        max_iterations: int,
        progress: LinearResult | None = None,
    ) -> LinearResult:
        """Solve to ``rtol``; ``progress`` continues a solve begun with another preconditioner."""
        if stencil.clamped is not None:
            return _by_gmres(stencil, rhs, precondition, rtol, max_iterations, progress)
        gauge, residual = stencil.gauge, self._residual
        weights = np.empty(0) if stencil.equilibration is None else stencil.equilibration
        if progress is None:
            x = apart(rhs.size)
            share, gauge_norm, *_ = self._sums(kernels.gcr_begin, rhs, gauge, weights, residual)
            multiplier = share / gauge_norm
            first = self._norm(kernels.gcr_project, multiplier, gauge, weights, residual)
            relative, done = (1.0 if first > 0 else 0.0), 0
        else:
            x, multiplier = progress.x, progress.multiplier
            relative, done = progress.relative_residual, progress.iterations
            gauge_norm = self._norm(kernels.squares, gauge, weights) ** 2
            first = self._norm(kernels.dot, residual, residual) / relative
        norms = [math.inf, math.inf]
        shares = [0.0, 0.0]
        limit = done + max_iterations
        while relative > rtol and done < limit and first > 0:
            direction, last, older = self._directions
            (z, q), earlier = direction, (last, older)
            precondition(residual if weights.size == 0 else self._unweighted(weights, q), z)
            stencil.apply(z, q)
            g, qq, qr, q1, q2 = self._sums(
                kernels.gcr_products, q, gauge, weights, residual, earlier
            )
            share = g / gauge_norm
            c1, c2 = q1 / norms[0], q2 / norms[1]
            # the kept directions and the residual are orthogonal to the gauge and to each other
            square = qq - share * g - c1 * q1 - c2 * q2
            if not square > 0 or not math.isfinite(qr):
                break
            step = qr / square
            coefficients = (share, c1, c2, step)
            left = self._norm(
                kernels.gcr_update, coefficients, gauge, weights, earlier, direction, x, residual
            )
            kept = share - c1 * shares[0] - c2 * shares[1]
            multiplier -= step * kept
            norms, shares = [square, norms[0]], [kept, shares[0]]
            self._directions = [older, direction, last]
            done += 1
            relative = left / first
        return LinearResult(x, float(multiplier), done, relative, relative <= rtol)

    def _norm(self, kernel: Callable[..., None], *arguments: object) -> float:
        """Root of the first sum of a kernel."""
        return math.sqrt(self._sums(kernel, *arguments)[0])

    def _unweighted(self, weights: Array, out: Array) -> Array:
        """The residual itself, in ``out``."""
        self._sums.each(lambda c: np.divide(self._residual[c], weights[c], out=out[c]))
        return out


def _by_gmres(
    stencil: Stencil,
    rhs: Array,
    precondition: Preconditioner,
    rtol: float,
    max_iterations: int,
    progress: LinearResult | None,
) -> LinearResult:
    """`GCR.solve` for a stencil with clamped weights; norms with the rows' equilibration."""
    start = np.zeros(rhs.size) if progress is None else progress.x
    weights = np.ones(1) if stencil.equilibration is None else stencil.equilibration
    gauge = weights * stencil.gauge
    gauge /= np.linalg.norm(gauge)

    def project(rows: Array) -> Array:
        rows *= weights
        rows -= (gauge @ rows) * gauge
        return rows

    def apply(x: Array) -> Array:
        out = np.empty(x.size)
        stencil.apply(x, out)
        return out

    def preconditioned(y: Array) -> Array:
        z = np.empty(y.size)
        precondition(np.ascontiguousarray(y / weights), z)
        return z

    right = project(rhs.astype(float))
    first = float(np.linalg.norm(right))
    left = right - project(apply(start)) if start.any() else right
    norms: list[float] = []
    if first == 0 or float(np.linalg.norm(left)) <= rtol * first:
        x = start
    else:
        memory = min(GMRES_DIRECTIONS_KEPT, max_iterations)
        operator = LinearOperator(
            (rhs.size, rhs.size), matvec=lambda y: project(apply(preconditioned(y))), dtype=float
        )
        y, _ = gmres(
            operator, left, rtol=0.0, atol=rtol * first, restart=memory,
            maxiter=math.ceil(max_iterations / memory), callback=norms.append,
            callback_type="pr_norm",
        )  # fmt: skip
        x = start + preconditioned(y)
    rest = rhs - apply(x)
    multiplier = float(gauge @ (weights * rest)) / float(gauge @ (weights * stencil.gauge))
    relative = float(np.linalg.norm(project(rest))) / first if first > 0 else 0.0
    done = len(norms) + (0 if progress is None else progress.iterations)
    return LinearResult(x, multiplier, done, relative, relative <= GMRES_RESIDUAL_RATIO * rtol)


class Handle:
    """A preconditioner set up for one stencil, ready to solve.

    What the next set-up may reuse (buffers, hierarchies) travels here and nowhere else.

    Parameters
    ----------
    name : str
    stencil : Stencil
    precondition : callable
    previous : Handle, optional
        Of the set-up before, whose buffers are taken over if the grid is the same.
    lagged : bool
        Whether ``precondition`` is that of ``previous``, built for an earlier stencil.

    Attributes
    ----------
    iterations : int
        Of the last solve with this preconditioner; ``first_iterations`` of the first one.
    setups : int
        Preconditioners built up to here along the chain of handles.
    """

    def __init__(
        self,
        name: str,
        stencil: Stencil,
        precondition: Preconditioner,
        previous: Handle | None,
        *,
        lagged: bool = False,
    ) -> None:
        self.name = name
        self.stencil = stencil
        self.precondition = precondition
        reusable = previous is not None and previous.stencil.lattice is stencil.lattice
        self.gcr: GCR = (
            previous.gcr
            if previous is not None and reusable
            else GCR(stencil.lattice.size, stencil.lattice.workers)
        )
        self.iterations = 0
        self.lagged = lagged
        before = previous.setups if previous is not None else 0
        self.setups: int = before if lagged else before + 1
        self.reaction, self.first_iterations = stencil.reaction, 0
        if lagged and previous is not None:
            self.reaction, self.first_iterations = previous.reaction, previous.first_iterations

    def serves(self, stencil: Stencil) -> bool:
        """Whether the preconditioner is still good for ``stencil``: same grid, not stale."""
        low, high = sorted((stencil.reaction, self.reaction))
        return (
            self.stencil.lattice is stencil.lattice
            and high <= SIMILAR_REACTIONS_RATIO * low
            and self.iterations <= STALE_ITERATIONS_RATIO * self.first_iterations
        )

    def solve(
        self, rhs: Array, *, rtol: float, max_iterations: int = MOST_LINEAR_ITERATIONS
    ) -> LinearResult:
        """Solve ``J x + multiplier * gauge = rhs`` to the relative residual ``rtol``."""
        result = self.gcr.solve(
            self.stencil, rhs, self.precondition, rtol=rtol, max_iterations=max_iterations
        )
        self.count(result.iterations)
        return result

    def count(self, iterations: int) -> None:
        """Remember what a solve took; the first one is the measure of staleness."""
        self.iterations = iterations
        self.first_iterations = self.first_iterations or max(2, iterations)


class LinearSolver(Protocol):
    """Immutable configuration of a linear solver; set-up and solve are apart."""

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Prepare for ``stencil``, reusing what is still good of the previous handle."""
        ...


def attempt(
    solver: LinearSolver, stencil: Stencil, previous: Handle | None, rhs: Array, rtol: float
) -> tuple[Handle | None, LinearResult | None]:
    """Set up and solve; no result where the matrix is beyond the solver, then no handle either."""
    try:
        # a matrix of extreme range overflows inside the libraries: seen by the test below
        with np.errstate(all="ignore"):
            handle = solver.setup(stencil, previous)
            result = handle.solve(rhs, rtol=rtol)
    except (ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError):
        # singular or non-finite factors, as pyamg, SciPy and NumPy report them
        return None, None
    finite = math.isfinite(float(result.x.sum())) and math.isfinite(result.multiplier)
    return handle, (result if finite else None)
