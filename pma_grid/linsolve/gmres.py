"""GMRES for operators that are far from self-adjoint: all directions of a solve are kept.

The derivative of a mean over the images of cells takes away from the diffusion, here and there more
than there is; preconditioners are built of clamped weights.  Two kept directions then stall where
twelve converge.

References
----------
Saad, Schultz (1986), GMRES: a generalized minimal residual algorithm for solving nonsymmetric
linear systems, SIAM J. Sci. Stat. Comput. 7, 856-869. doi:10.1137/0907058
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array

# After so many directions the method starts again from what it has.
DIRECTIONS_KEPT = 20


def solve_gmres(
    stencil: Stencil,
    rhs: Array,
    precondition: Callable[[Array, Array], None],
    start: Array,
    *,
    rtol: float,
    max_iterations: int,
) -> tuple[Array, float, int, float]:
    """Solution, multiplier, iterations and relative residual of ``J x + multiplier gauge = rhs``.

    ``start`` is an approximation of x; the residual is relative to that of x = 0, in the norm of
    the rows' equilibration, the gauge projected out.
    """
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
        memory = min(DIRECTIONS_KEPT, max_iterations)
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
    return x, multiplier, len(norms), relative
