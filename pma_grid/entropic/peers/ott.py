"""OTT-JAX (Cuturi et al. 2022, arXiv:2201.12324): Sinkhorn with separable kernels on a grid."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pma_grid.entropic.peers.plans import PeerRun, Request, imported, transport
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array, InvalidInputError


def solve_ott(
    problem: Problem,
    eps: float,
    tol: float = 1e-6,
    max_iterations: int = 10_000,
    *,
    debiased: bool = False,
) -> EntropicTransport:
    """OTT's `Sinkhorn(lse_mode=False)` on a `Grid` geometry, epsilon = 2 eps on |x - y|^2.

    Kernel mode in double precision, the fastest of OTT's on a CPU: its default log mode is some 50
    times slower there.

    Parameters
    ----------
    problem : Problem
        Both grids of the same shape: OTT's geometry is one grid.  Boxes may differ.
    eps : float
        length^2, cost |x - y|^2/2.
    tol : float
        L1 marginal error, OTT's threshold with norm_error=1.
    max_iterations : int
    debiased : bool
        Subtract the potential of the source to itself.

    Returns
    -------
    EntropicTransport
        ``stats["seconds"]`` is a second call, compiled; ``stats["compile_seconds"]`` what the first
        took longer.  Iterations are sweeps, checked every tenth.

    Raises
    ------
    InvalidInputError
        OTT is not installed, the shapes differ, or an argument is out of range.
    ConvergenceError
        The kernel underflows: displacement^2 / eps is above some 1400.
    """
    request = Request(eps, tol, max_iterations, debiased)
    check_ott(problem)
    jax = imported("ott", "jax", "ott-jax")
    grid = imported("ott", "ott.geometry.grid", "ott-jax")
    linear = imported("ott", "ott.problems.linear.linear_problem", "ott-jax")
    sinkhorn = imported("ott", "ott.solvers.linear.sinkhorn", "ott-jax")
    solver = sinkhorn.Sinkhorn(
        lse_mode=False, threshold=tol, norm_error=1, max_iterations=int(max_iterations)
    )

    def solve(axes: Any, a: Array, b: Array) -> Any:
        geometry = grid.Grid(x=axes, epsilon=2 * eps)
        out = solver(linear.LinearProblem(geometry, a, b))
        # log of the scaling: the kernel's exponent is -|x - y|^2 / (2 eps)
        return out.g / (2 * eps), out.n_iters

    def run(reduced: Reduced) -> PeerRun:
        with jax.enable_x64(True):
            compiled = jax.jit(solve)
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                logs, count = compiled(list(reduced.x), reduced.a.ravel(), reduced.b.ravel())
                logs.block_until_ready()
                seconds.append(time.perf_counter() - began)
            found = np.array(logs, float).reshape(reduced.b.shape)
        found[reduced.b == 0] = -np.inf
        return PeerRun(found, int(count), seconds[1], max(0.0, seconds[0] - seconds[1]))

    return transport("ott", "ott-jax", problem, request, run)


def check_ott(problem: Problem) -> None:
    """Refuse at once what OTT cannot solve on a grid."""
    shapes = problem.source.shape, problem.target.shape
    if shapes[0] != shapes[1]:
        raise InvalidInputError(
            f"peer ott needs source and target of one shape, here {shapes[0]} and {shapes[1]}: "
            "resample one of them"
        )
    imported("ott", "ott", "ott-jax")
