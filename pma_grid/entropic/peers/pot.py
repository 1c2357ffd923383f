"""POT (Flamary et al. 2021, JMLR 22(78)): dense Sinkhorn in the log domain."""

from __future__ import annotations

import time
import warnings

import numpy as np

from pma_grid.entropic.peers.plans import (
    PeerRun,
    Request,
    atoms,
    check_pairs,
    imported,
    on_cells,
    transport,
)
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced


def solve_pot(
    problem: Problem,
    eps: float,
    tol: float = 1e-6,
    max_iterations: int = 10_000,
    *,
    debiased: bool = False,
) -> EntropicTransport:
    """`ot.sinkhorn(a, b, M, reg=2 eps, method="sinkhorn_log")`, M_ij = |x_i - y_j|^2.

    Parameters
    ----------
    problem : Problem
        Cells without mass are left out.
    eps : float
        length^2, cost |x - y|^2/2, reference measure mu x nu.
    tol : float
        L1 marginal error.  POT stops on the L2 norm: it gets tol / sqrt(atoms of the target).
    max_iterations : int
    debiased : bool
        Subtract the potential of the source to itself; a second run.

    Returns
    -------
    EntropicTransport
        ``stats["seconds"]`` is the call of POT, without forming M; iterations are sweeps, checked
        every tenth.

    Raises
    ------
    InvalidInputError
        POT is not installed, the matrices would not fit, or an argument is out of range.
    """
    request = Request(eps, tol, max_iterations, debiased)
    check_pot(problem)
    ot = imported("pot", "ot", "POT")

    def run(reduced: Reduced) -> PeerRun:
        check_pairs("pot", reduced)
        (a, x), (b, y) = atoms(reduced.a, reduced.x), atoms(reduced.b, reduced.y)
        cost = ot.dist(x, y)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the status says whether it converged
            _, log = ot.sinkhorn(
                a, b, cost, 2 * eps, method="sinkhorn_log", numItermax=int(max_iterations),
                stopThr=tol / np.sqrt(b.size), log=True,
            )  # fmt: skip
        seconds = time.perf_counter() - began
        return PeerRun(on_cells(log["log_v"], reduced.b), int(log["niter"]) + 1, seconds)

    return transport("pot", "POT", problem, request, run)


def check_pot(problem: Problem) -> None:
    """Refuse at once what POT cannot solve."""
    imported("pot", "ot", "POT")
    check_pairs("pot", Reduced.of(problem))
