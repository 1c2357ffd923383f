"""Krylov methods for ``J x + multiplier * gauge = rhs`` that go on where another one stopped.

Truncated GCR (Eisenstat, Elman, Schultz 1983, doi:10.1137/0720023) with two kept directions needs
no more iterations than with twelve where operator and preconditioner are nearly self-adjoint in one
scalar product.  GMRES (Saad, Schultz 1986, doi:10.1137/0907058) keeps all directions, and does not
stall where they are not: with clamped weights, since the derivative of a mean over the images of
cells takes away from the diffusion, here and there more than there is; and under preconditioners
that are made for rows which differ by orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pma_grid.grid.sums import BlockSums, apart
from pma_grid.kernels.grid import vectors as kernels
from pma_grid.kernels.records import Direction
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import SERIAL, Array, Workers

Preconditioner = Callable[[Array, Array], None]

# After so many directions GMRES starts again from what it has; it estimates its residual: rounding
# may leave this many times what was asked for.
GMRES_DIRECTIONS_KEPT, GMRES_RESIDUAL_RATIO = 20, 1.1
# A cycle of GMRES that leaves more than this share of the residual is the last one.
STAGNATION = 0.99
# A preconditioner that fails may leave large errors that the residual hardly shows: what it reached
# is kept only if it left less than this share of the residual.
WORTH_KEEPING = 0.5


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


class GMRES:
    """Flexible GMRES (Saad 1993, doi:10.1137/0914028), the gauge projected out of the range.

    Preconditioned from the right, and keeping what the preconditioner gave: it may be of single
    precision.  Norms are those of rows times the stencil's equilibration.
    """

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
        system = _Projected(stencil, precondition)
        left = system.project(rhs.astype(float))
        first = float(np.linalg.norm(left))
        x, rest, done = np.zeros(rhs.size), rhs, 0
        if progress is not None:
            done = progress.iterations
            if progress.relative_residual < WORTH_KEEPING:
                x, rest = progress.x, rhs - system.apply(progress.x)
                left = system.project(rest.copy())
        norm, limit = float(np.linalg.norm(left)), done + max_iterations
        while norm > rtol * first and done < limit:
            change, taken = system.cycle(left, rtol * first, limit - done)
            x, done, before = x + change, done + taken, norm
            rest = rhs - system.apply(x)
            left = system.project(rest.copy())
            norm = float(np.linalg.norm(left))
            if not norm < STAGNATION * before:
                break
        relative = norm / first if first > 0 else 0.0
        converged = relative <= GMRES_RESIDUAL_RATIO * rtol
        return LinearResult(x, system.multiplier(rest), done, relative, converged)


class _Projected:
    """The equilibrated operator without the gauge in its range, preconditioned from the right."""

    def __init__(self, stencil: Stencil, precondition: Preconditioner) -> None:
        self._stencil, self._precondition = stencil, precondition
        equilibration = stencil.equilibration
        self._weights = np.ones(1) if equilibration is None else equilibration
        gauge = self._weights * stencil.gauge
        self._gauge = gauge / np.linalg.norm(gauge)
        self._length = float(self._gauge @ gauge)

    def project(self, rows: Array) -> Array:
        """Rows weighted and freed of the gauge, in place."""
        rows *= self._weights
        rows -= (self._gauge @ rows) * self._gauge
        return rows

    def apply(self, x: Array) -> Array:
        """J x."""
        out = np.empty(x.size)
        self._stencil.apply(x, out)
        return out

    def multiplier(self, rest: Array) -> float:
        """The multiple of the gauge nearest to what J x leaves of a right side."""
        return float(self._gauge @ (self._weights * rest)) / self._length

    def cycle(self, left: Array, goal: float, most: int) -> tuple[Array, int]:
        """Iterations for what is left until GMRES starts again: change of x, and their number."""
        memory = min(GMRES_DIRECTIONS_KEPT, most)
        basis, directions = np.empty((memory + 1, left.size)), np.empty((memory, left.size))
        hessenberg, right = np.zeros((memory + 1, memory)), np.zeros(memory + 1)
        right[0] = np.linalg.norm(left)
        basis[0] = left / right[0]
        y: Array = np.zeros(0)
        for k in range(memory):
            self._precondition(np.ascontiguousarray(basis[k] / self._weights), directions[k])
            image = self.project(self.apply(directions[k]))
            for _ in range(2):  # Gram-Schmidt is stable when repeated
                share = basis[: k + 1] @ image
                image -= share @ basis[: k + 1]
                hessenberg[: k + 1, k] += share
            length = hessenberg[k + 1, k] = np.linalg.norm(image)
            if not math.isfinite(length):  # a preconditioner beyond its range: what it gave is lost
                break
            part = hessenberg[: k + 2, : k + 1]
            y = np.asarray(np.linalg.lstsq(part, right[: k + 2], rcond=None)[0], float)
            if not (length > 0 and np.linalg.norm(right[: k + 2] - part @ y) > goal):
                break
            basis[k + 1] = image / length
        return y @ directions[: y.size], y.size
