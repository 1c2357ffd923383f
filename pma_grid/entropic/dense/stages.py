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

from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.entropic.dense.relaxation import Potentials, sweeps
from pma_grid.grid.transfer import halved
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array

# On the coarsest grid eps starts at this share of the squared diagonal and falls by this factor.
FIRST_EPS_SQUARED_DIAGONALS, EPS_RATIO = 0.25, 0.25
# Coarse grids only start finer ones; their errors against the tolerance of the finest.
COARSE_TOLERANCE, COARSE_ITERATIONS = 1e-4, 200
# The averaged iteration of a density to itself contracts by about a half a sweep.
MOST_SELF_SWEEPS = 1000


@dataclass(frozen=True)
class Settings:
    """How the dense iteration runs; ``omega`` fixes the relaxation factor, None adapts it."""

    tol: float
    max_iterations: int
    omega: float | None = None
    reflect: bool = False
    single: bool = False
    threads: int = 1
    scaling: bool = True  # coarse grids and larger eps first

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
    """Potentials of the entropic problem, and what each grid took; ``initial``: reduced f."""
    stages = [GridStage(reduced, eps, settings.tol, settings.max_iterations)]
    if initial is None and settings.scaling:
        stages = _stages(reduced, eps, settings)
    first = stages[0].grids
    at = Potentials(np.zeros(first.a.shape), np.zeros(first.b.shape))
    if initial is not None:
        at.F = initial / eps
    records: list[dict[str, Any]] = []
    for k, stage in enumerate(stages):
        if k:
            at = _handed_on(stages[k - 1], stage, at, settings)
        begun = perf_counter()
        last = k == len(stages) - 1
        sweeps(
            settings.kernel(stage.grids, stage.eps), at, tol=stage.tol,
            max_iterations=stage.max_iterations, omega=settings.omega,
            report=report if last else None,
        )  # fmt: skip
        records.append(
            {
                "shape": list(stage.grids.a.shape),
                "target_shape": list(stage.grids.b.shape),
                "eps": stage.eps,
                "iterations": at.iterations,
                "error": at.error,
                "omega": at.omega,
                "seconds": perf_counter() - begun,
            }
        )
    return at, records


@dataclass(frozen=True, eq=False)
class GridStage:
    """A pair of grids, its eps, and how well it is to be solved."""

    grids: Reduced
    eps: float
    tol: float
    max_iterations: int


def _stages(reduced: Reduced, eps: float, settings: Settings) -> list[GridStage]:
    """Grids from coarse to fine with eps of at least a cell; the coarsest from a large eps on."""
    levels = _levels(reduced)
    smallest = [max(eps, level.cell) for level in levels]
    steps = [(levels[0], FIRST_EPS_SQUARED_DIAGONALS * float((reduced.lengths**2).sum()))]
    while EPS_RATIO * steps[-1][1] > smallest[0]:
        steps.append((levels[0], EPS_RATIO * steps[-1][1]))
    steps += list(zip(levels, smallest, strict=True))
    if steps[-1][1] > eps * (1 + 1e-9):  # a cell squared is often what was asked for
        steps.append((reduced, eps))
    tol = max(settings.tol, COARSE_TOLERANCE)
    coarse = [GridStage(level, now, tol, COARSE_ITERATIONS) for level, now in steps[:-1]]
    return [*coarse, GridStage(reduced, eps, settings.tol, settings.max_iterations)]


def _levels(reduced: Reduced) -> list[Reduced]:
    """Grids from coarse to fine, every axis halved down to the coarsest size."""
    levels = [reduced]
    while True:
        finer = levels[0].a.shape, levels[0].b.shape
        shapes = halved(finer[0]), halved(finer[1])
        if shapes == finer:
            return levels
        levels.insert(0, levels[0].coarsened(shapes))


def _handed_on(
    before: GridStage, stage: GridStage, at: Potentials, settings: Settings
) -> Potentials:
    """The start of a stage: potentials on its grids, in units of its eps."""
    F, G = at.F, at.G
    if before.grids is not stage.grids:
        coarse, fine, logs = before.grids, stage.grids, before.grids.log_masses
        up = settings.kernel(Reduced.over(fine.a, coarse.b, fine.lengths), before.eps)
        down = settings.kernel(Reduced.over(coarse.a, fine.b, fine.lengths), before.eps)
        F, G = -up.to_source(logs[1] + at.G), -down.to_target(logs[0] + at.F)
    ratio = before.eps / stage.eps
    return Potentials(F * ratio, G * ratio, omega=at.omega)


def self_potential(density: Reduced, eps: float, settings: Settings) -> tuple[Array, Array, float]:
    """f = -eps log sum a exp((f - |x - x'|^2/2) / eps), E[x' | x], and the marginals' L1 error."""
    # f <- (f + f')/2 converges linearly whatever eps: Feydy et al. 2019, arXiv:1810.08278, sec. 3.1
    kernel = settings.kernel(density, eps)
    log_a = density.log_masses[0]
    F = -0.5 * kernel.to_source(log_a)
    error = np.inf
    for _ in range(MOST_SELF_SWEEPS):
        new = -kernel.to_source(log_a + F)
        with np.errstate(over="ignore"):
            wrong = np.where(density.a > 0, np.expm1(F - new), 0.0)
        error = float(np.vdot(density.a, np.abs(wrong)))
        F = 0.5 * (F + new)
        if error <= settings.tol:
            break
    F = -kernel.to_source(log_a + F)
    return eps * F, kernel.mean_on_source(log_a + F), error
