"""Symmetric positive definite problems on grids: penalties, projections, regressions.

K = D^T D is minus the Laplacian with reflection at the faces, in units of the box's sides: what is
computed with it does not depend on the units of the data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from threadpoolctl import threadpool_limits

from pma_grid.linsolve.amg import reproducible, silent
from pma_grid.runtime import Array

# Rows of a screened operator keep this share of the largest weight, so that none is singular.
LOWEST_WEIGHT = 1e-9
# pyamg's hierarchies end with grids of at most so many cells, solved by a pseudo-inverse.
COARSEST_CELLS = 50
# Conjugate gradients take 16 to 33 iterations where the preconditioner serves.
MOST_ITERATIONS = 200
# Relative residual of projections, whose solution is taken for exact.
POISSON_TOLERANCE = 1e-10
# The true residual may be this many times the one kept track of.
TRUE_RESIDUAL_RATIO = 2.0


@dataclass(frozen=True)
class EllipticResult:
    """A solution, of the right side's shape, and how it was reached."""

    x: Array
    iterations: int
    residual: float  # |b - A x| / |b| in the Euclidean norm, computed afresh
    converged: bool  # by that one: what iterations keep track of falls on where rounding holds it


def difference(shape: tuple[int, ...], axis: int) -> sparse.csr_array:
    """D along one axis: n_i (q(x + e_i) - q(x)) on the inner faces, (faces, cells)."""
    n = shape[axis]
    row = sparse.diags_array([-np.ones(max(n - 1, 0)), np.ones(max(n - 1, 0))], offsets=[0, 1],
                             shape=(max(n - 1, 0), n)) * n  # fmt: skip
    out = sparse.csr_array(np.ones((1, 1)))
    for other, m in enumerate(shape):
        out = sparse.kron(out, row if other == axis else sparse.eye_array(m), format="csr")
    return sparse.csr_array(out)


def differences(shape: tuple[int, ...]) -> sparse.csr_array:
    """D along all axes, one below the other."""
    return sparse.csr_array(sparse.vstack([difference(shape, i) for i in range(len(shape))]))


def laplacian(shape: tuple[int, ...]) -> sparse.csr_array:
    """K = D^T D, minus the Laplacian with reflection: (cells, cells), semi-definite."""
    d = differences(shape)
    return sparse.csr_array(d.T @ d)


class Screened:
    """V-cycles of pyamg for S = diag(weights) + coefficient K, weights >= 0 and not all 0."""

    def __init__(self, operator: sparse.csr_array, weights: Array, coefficient: float) -> None:
        weights = np.maximum(weights, LOWEST_WEIGHT * weights.max())
        # csr_matrix: pyamg multiplies with *
        self.matrix = sparse.csr_matrix(sparse.diags_array(weights) + coefficient * operator)
        self._cycle = _v_cycle(self.matrix)

    def __call__(self, residual: Array) -> Array:
        """About S^{-1} residual: symmetric positive definite."""
        return np.asarray(self._cycle.matvec(residual))

    def solve(self, rhs: Array, *, rtol: float = 1e-8) -> EllipticResult:
        """S x = rhs by conjugate gradients."""
        return conjugate_gradients(self.matrix, rhs, self, rtol=rtol)


class Biharmonic:
    """A = diag(weights) + coefficient K^2, preconditioned by two V-cycles of its square root."""

    # with S = diag(weights)^{1/2} + coefficient^{1/2} K, S^2 is A and positive cross terms: a^2
    # + b^2 <= (a + b)^2 <= 2 (a^2 + b^2) where the two commute: iterations do not grow with the
    # grid, and each costs two cycles of a second-order problem
    def __init__(
        self,
        operator: sparse.csr_array,  # K
        weights: Array,
        coefficient: float,
        smooth: Array | None = None,  # weights for the preconditioner, where those of A are noisy
    ) -> None:
        self._operator, self._weights, self._coefficient = operator, weights, coefficient
        of = weights if smooth is None else smooth
        self._root = Screened(operator, np.sqrt(of), float(np.sqrt(coefficient)))

    def apply(self, x: Array) -> Array:
        """A x."""
        bent = self._operator @ (self._operator @ x)
        return np.asarray(self._weights * x + self._coefficient * bent)

    def __call__(self, residual: Array) -> Array:
        """About A^{-1} residual."""
        return self._root(self._root(residual))

    def solve(self, rhs: Array, *, rtol: float = 1e-8) -> EllipticResult:
        """A x = rhs by conjugate gradients."""
        n = rhs.size
        matrix = linalg.LinearOperator((n, n), matvec=self.apply, dtype=float)
        return conjugate_gradients(matrix, rhs, self, rtol=rtol)


def poisson(weighted: sparse.csr_array, rhs: Array) -> EllipticResult:
    """x of mean 0 with D^T diag(w) D x = rhs - mean(rhs), weights w > 0 on the faces."""
    cycle = _v_cycle(sparse.csr_matrix(weighted))
    centred = rhs - rhs.mean()

    def precondition(residual: Array) -> Array:
        out = cycle.matvec(residual - residual.mean())
        return np.asarray(out - out.mean())

    found = conjugate_gradients(weighted, centred, precondition, rtol=POISSON_TOLERANCE)
    return dataclasses.replace(found, x=found.x - found.x.mean())


def conjugate_gradients(
    matrix: Any, rhs: Array, precondition: Any, *, rtol: float
) -> EllipticResult:
    """Preconditioned conjugate gradients (scipy), counted."""
    n, count = rhs.size, [0]

    def step(_: Array) -> None:
        count[0] += 1

    operator = linalg.LinearOperator((n, n), matvec=precondition, dtype=float)
    # BLAS threads wait for one another longer than such short vectors take
    with threadpool_limits(1, user_api="blas"):
        x, info = linalg.cg(
            matrix, rhs, rtol=rtol, atol=0.0, M=operator, maxiter=MOST_ITERATIONS, callback=step
        )
    whole = float(np.linalg.norm(rhs))
    residual = float(np.linalg.norm(rhs - matrix @ x)) / whole if whole > 0 else 0.0
    return EllipticResult(
        x, count[0], residual, bool(info == 0 and residual <= TRUE_RESIDUAL_RATIO * rtol)
    )


def _v_cycle(matrix: sparse.csr_matrix) -> Any:
    """One V-cycle of classical AMG."""
    import pyamg

    # the second pass of the coarsening makes fine points which depend on each other share a coarse
    # one, as classical interpolation assumes: iterations for weights that jump from face to face
    # grow from 16 at 32^2 to 33 at 128^2 without it; one sweep forwards before and one backwards
    # after the coarse grid make the cycle symmetric
    with reproducible(), silent():
        hierarchy = pyamg.ruge_stuben_solver(
            matrix, CF=("RS", {"second_pass": True}), max_coarse=COARSEST_CELLS,
            coarse_solver="pinv", presmoother=("gauss_seidel", {"sweep": "forward"}),
            postsmoother=("gauss_seidel", {"sweep": "backward"}),
        )  # fmt: skip
        return hierarchy.aspreconditioner(cycle="V")
