"""Sinkhorn's algorithm with separable kernels: coarse grids and large eps first.

Potentials of a coarse grid extend to every point by their soft conjugate,

    f(x) = -eps log sum_j b_j exp((g_j - |x - y_j|^2/2) / eps),

at the same eps wherever the coarse cells are no wider than the kernel: the slow modes then converge
where iterations cost next to nothing.  Still coarser grids take a larger eps, a cell squared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from pma_grid.entropic.kernel import SeparableKernel
from pma_grid.entropic.reduction import Reduced
from pma_grid.entropic.relaxation import Potentials, sweeps
from pma_grid.lattice import Array

# Axes of at most this many cells are not coarsened further.
COARSEST_AXIS = 8
# On the coarsest grid eps starts at this share of the squared diagonal and falls by this factor.
FIRST_EPS, FALL = 0.25, 0.25
# Coarse grids only start finer ones; their errors against the tolerance of the finest.
COARSE_TOLERANCE, COARSE_ITERATIONS = 1e-4, 200


@dataclass(frozen=True)
class Settings:
    """How the dense iteration runs.

    Attributes
    ----------
    tol : float
        L1 error of the marginals on the finest grid.
    max_iterations : int
        Sweeps allowed on the finest grid.
    omega : float or None
        Fixed relaxation factor; None adapts it.
    reflect, single : bool
    threads : int
    scaling : bool
        Coarse grids and larger eps first.
    """

    tol: float
    max_iterations: int
    omega: float | None = None
    reflect: bool = False
    single: bool = False
    threads: int = 1
    scaling: bool = True

    def kernel(self, reduced: Reduced, eps: float) -> SeparableKernel:
        """The kernel of a pair of grids."""
        return SeparableKernel(
            reduced, eps, reflect=self.reflect, single=self.single, threads=self.threads
        )


def solve_dense(
    reduced: Reduced,
    eps: float,
    settings: Settings,
    *,
    initial: Array | None = None,
    report: Callable[[int, float], None] | None = None,
) -> tuple[Potentials, list[dict[str, Any]]]:
    """Potentials of the entropic problem, and what was done on each grid.

    Parameters
    ----------
    reduced : Reduced
    eps : float
        length^2.
    settings : Settings
    initial : ndarray, optional
        Reduced f to start from on the grid itself.
    """
    levels = [reduced]
    if initial is None and settings.scaling:
        levels = _levels(reduced, eps)
    records: list[dict[str, Any]] = []
    at = Potentials(np.zeros(levels[0].a.shape), np.zeros(levels[0].b.shape))
    if initial is not None:
        at.F = initial / eps
    elif settings.scaling:
        at = _annealed(levels[0], _level_eps(levels[0], eps), at, settings, records)
    for k, level in enumerate(levels):
        now = _level_eps(level, eps) if level is not reduced else eps
        last = level is reduced
        begun = perf_counter()
        kernel = settings.kernel(level, now)
        at.iterations, at.history = 0, []
        sweeps(
            kernel, at, omega=settings.omega, report=report if last else None,
            tol=settings.tol if last else max(settings.tol, COARSE_TOLERANCE),
            max_iterations=settings.max_iterations if last else COARSE_ITERATIONS,
        )  # fmt: skip
        records.append(_record(level, now, at, begun))
        if not last:
            at = _extended(level, levels[k + 1], now, at, settings)
            at.F *= now / max(eps, _level_eps(levels[k + 1], eps))
    return at, records


def _levels(reduced: Reduced, eps: float) -> list[Reduced]:
    """Grids from coarse to fine."""
    levels = [reduced]
    while True:
        shapes = tuple(
            tuple((n + 1) // 2 if n > COARSEST_AXIS else n for n in m.shape)
            for m in (levels[0].a, levels[0].b)
        )
        if shapes == (levels[0].a.shape, levels[0].b.shape):
            return levels
        levels.insert(0, levels[0].coarsened((shapes[0], shapes[1])))


def _level_eps(level: Reduced, eps: float) -> float:
    """The eps of a coarse grid: the one asked for, or a cell squared."""
    return max(eps, level.cell)


def _annealed(
    level: Reduced, eps: float, at: Potentials, settings: Settings, records: list[dict[str, Any]]
) -> Potentials:
    """A start on the coarsest grid through falling eps."""
    now = FIRST_EPS * float((level.lengths**2).sum())
    while now > eps:
        begun = perf_counter()
        at.iterations, at.history = 0, []
        sweeps(settings.kernel(level, now), at, tol=COARSE_TOLERANCE, max_iterations=20, omega=1.0)
        records.append(_record(level, now, at, begun))
        fallen = max(FALL * now, eps)
        at.F *= now / fallen
        at.G *= now / fallen
        now = fallen
    return at


def _extended(
    coarse: Reduced, fine: Reduced, eps: float, at: Potentials, settings: Settings
) -> Potentials:
    """Soft conjugates of the coarse potentials on the finer grids."""
    with np.errstate(divide="ignore"):
        logs = np.log(coarse.a), np.log(coarse.b)
    up = settings.kernel(Reduced.over(fine.a, coarse.b, fine.lengths), eps)
    down = settings.kernel(Reduced.over(coarse.a, fine.b, fine.lengths), eps)
    return Potentials(
        F=-up.to_source(logs[1] + at.G), G=-down.to_target(logs[0] + at.F), omega=at.omega
    )


def _record(level: Reduced, eps: float, at: Potentials, begun: float) -> dict[str, Any]:
    """What was done on a grid, for the statistics."""
    return {
        "shape": list(level.a.shape),
        "eps": eps,
        "iterations": at.iterations,
        "error": at.error,
        "omega": at.omega,
        "seconds": perf_counter() - begun,
    }
