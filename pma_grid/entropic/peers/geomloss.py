"""GeomLoss (Feydy et al. 2019, AISTATS): symmetric Sinkhorn along a decreasing eps, dense."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from pma_grid.entropic.peers.plans import (
    PeerRun,
    Request,
    atoms,
    check_pairs,
    imported,
    marginal_error,
    on_cells,
    transport,
)
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced

# Ratios of successive blurs from the diameter down, as GeomLoss means it ...
BLUR_RATIOS = (0.5, 0.9)
# ... and, since those sweep but once at the blur asked for and leave an error like 1 - scaling,
# numbers of sweeps of schedules that start this close to that blur.
CLOSE_SWEEPS, CLOSE_BLUR = (100, 300, 1000, 3000, 10_000, 30_000), 1e-9
# Sweeps besides those between the first blur and the last: at the start, at both, at the end.
EXTRA_SWEEPS = 4


def solve_geomloss(
    problem: Problem,
    eps: float,
    tol: float = 1e-6,
    max_iterations: int = 10_000,
    *,
    debiased: bool = False,
) -> EntropicTransport:
    """`SamplesLoss("sinkhorn", p=2, blur=sqrt(eps), debias=False, backend="tensorized")`.

    Parameters
    ----------
    problem : Problem
        Cells without mass are left out.
    eps : float
        length^2, cost |x - y|^2/2.
    tol : float
        L1 marginal error.  GeomLoss takes a schedule of blurs, not a tolerance: schedules from the
        diameter down (scaling 0.5, 0.9), then of 100, 300, 1000, ... sweeps next to the blur asked
        for, until the error is met.
    max_iterations : int
        Schedules of more sweeps are not tried.
    debiased : bool
        Subtract the potential of the source to itself.

    Returns
    -------
    EntropicTransport
        ``stats["seconds"]`` and iterations are those of the schedule taken, without the ones tried
        before; sweeps update both potentials at once and move them half the way.

    Raises
    ------
    InvalidInputError
        GeomLoss is not installed, the matrices would not fit, or an argument is out of range.

    Notes
    -----
    GeomLoss's separable solver for images needs square grids of a power of two on the unit box,
    and KeOps; it is not used here.
    """
    request = Request(eps, tol, max_iterations, debiased)
    check_geomloss(problem)
    torch = imported("geomloss", "torch", "geomloss")
    geomloss = imported("geomloss", "geomloss", "geomloss")

    def attempt(reduced: Reduced, diameter: float, scaling: float, sweeps: int) -> PeerRun:
        (a, x), (b, y) = atoms(reduced.a, reduced.x), atoms(reduced.b, reduced.y)
        loss = geomloss.SamplesLoss(
            "sinkhorn", p=2, blur=math.sqrt(eps), scaling=scaling, diameter=diameter,
            debias=False, potentials=True, backend="tensorized",
        )  # fmt: skip
        tensors = [torch.from_numpy(np.ascontiguousarray(v)) for v in (a, x, b, y)]
        began = time.perf_counter()
        with torch.no_grad():
            _, g = loss(*tensors)
        seconds = time.perf_counter() - began
        logs = np.log(b) + g.detach().numpy().ravel() / eps
        return PeerRun(on_cells(logs, reduced.b), sweeps, seconds)

    def run(reduced: Reduced) -> PeerRun:
        check_pairs("geomloss", reduced)
        found = None
        for diameter, scaling, sweeps in _schedules(reduced, eps):
            if found is not None and sweeps > max_iterations:
                break
            found = attempt(reduced, diameter, scaling, sweeps)
            if marginal_error(reduced, found.logs, eps) <= tol:
                break
        assert found is not None
        return found

    return transport("geomloss", "geomloss", problem, request, run)


def check_geomloss(problem: Problem) -> None:
    """Refuse at once what GeomLoss cannot solve."""
    imported("geomloss", "geomloss", "geomloss")
    check_pairs("geomloss", Reduced.of(problem))


def _schedules(reduced: Reduced, eps: float) -> Iterator[tuple[float, float, int]]:
    """First blur, ratio of successive ones, and the number of sweeps."""
    blur, diameter = math.sqrt(eps), float(np.linalg.norm(reduced.lengths))
    for scaling in BLUR_RATIOS:
        between = math.ceil(math.log(diameter / blur) / -math.log(scaling))
        yield diameter, scaling, max(0, between) + EXTRA_SWEEPS
    for sweeps in CLOSE_SWEEPS:
        ratio = math.log1p(CLOSE_BLUR) / (sweeps - EXTRA_SWEEPS)
        yield blur * (1 + CLOSE_BLUR), math.exp(-ratio), sweeps
