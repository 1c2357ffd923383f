"""One level of the multiscale solver: scale, absorb the factors, thin the pairs anew, and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pma_grid.entropic.iteration import Iteration
from pma_grid.entropic.multiscale.anderson import Anderson
from pma_grid.entropic.multiscale.candidates import Candidates, Pairs
from pma_grid.entropic.multiscale.components import Components
from pma_grid.entropic.multiscale.pyramid import Level
from pma_grid.entropic.multiscale.scaling import MatrixScaling
from pma_grid.kernels.entropic import sparse
from pma_grid.runtime import Array

# A thinned list is good for factors e^-3 .. e^3 only: beyond, pairs that it lacks would matter.
# Thin lists also fall into parts whose masses do not match; their factors then drift until the
# list, made anew from all the candidates, joins them.
DRIFT_LIMIT = 3.0
# Factors beyond the inverse of delta at the very start: the list knows nothing of such places.
FIRST_DRIFT_LIMIT = 12.0
# At the end the pairs dropped must not matter either: as many new lists as may be made for that,
# since factors of atoms that weigh nothing may go on drifting.
FINAL_DRIFT_LIMIT, FINAL_LISTS = 1.5, 3
# An iterate this much worse than the best so far is given up for plain sweeps from that one.
ERROR_GROWTH_ALLOWED = 4.0
# The mixed logarithms stay this near to the plain ones.
MIXING_REACH = 3.0
# So many cycles must reduce the error below this share, or the list stalls.
PATIENCE_CYCLES, STALLED_RATIO = 10, 0.8


@dataclass(frozen=True)
class EpsStage:
    """What to solve on a level: eps, length^2, to which L1 error, in at most how many cycles."""

    eps: float
    tol: float
    limit: int
    delta: float
    last: bool


@dataclass(frozen=True, eq=False)
class LevelPlan:
    """A solved level: P_ij = u_i R_ij v_j = a_i b_j exp((f_i + g_j - c_ij)/eps) on ``pairs``."""

    level: Level
    eps: float
    f: Array
    g: Array
    scaling: MatrixScaling
    u: Array
    v: Array
    error: float

    @property
    def pairs(self) -> Pairs:
        """The pairs kept."""
        return self.scaling.pairs

    def values(self) -> Array:
        """P_ij, pair by pair."""
        return self.scaling.plan(self.u, self.v)

    def images(self) -> Array:
        """E[y | x_i], reduced, shape (n, max(d, 2))."""
        target = self.level.target
        out = np.empty((self.level.source.size, target.position.shape[1]))
        self.scaling.chunks.rows(sparse.means, self.scaling.entries, self.v, target.position, out)
        return out

    def preimages(self) -> Array:
        """E[x | y_j], reduced; the atom itself where no row reaches it."""
        source, target = self.level.source, self.level.target
        moments = np.zeros((target.size, source.position.shape[1] + 1))
        sparse.column_moments(self.scaling.entries, self.u, source.position, moments)
        weight = moments[:, :1]
        out = target.position.copy()
        return np.asarray(np.divide(moments[:, 1:], weight, out=out, where=weight > 0))


class Refinement:
    """Solves one level, the first of ``levels``, stage after stage, and keeps account."""

    def __init__(
        self, candidates: Candidates, levels: list[Level], report: Callable[[Iteration], None]
    ) -> None:
        self.candidates, self.levels, self.report = candidates, levels, report
        self.cycles = self.builds = 0
        self._began = time.perf_counter()

    def solve(self, f: Array, stages: Sequence[EpsStage]) -> LevelPlan:
        """The plan of the last stage, from a source potential."""
        for stage in stages:
            plan = self._settle(f, stage)
            f = plan.f
        return plan

    def record(self, plan: LevelPlan) -> dict[str, object]:
        """Account of the level."""
        return {
            "shape": list(plan.level.source.shape), "target_shape": list(plan.level.target.shape),
            "atoms": [plan.level.source.size, plan.level.target.size], "eps": plan.eps,
            "candidates": self.candidates.pairs.size, "entries": plan.pairs.size,
            "iterations": self.cycles, "builds": self.builds, "error": plan.error,
            "seconds": time.perf_counter() - self._began,
        }  # fmt: skip

    def _settle(self, f: Array, stage: EpsStage) -> LevelPlan:
        """Thin and scale in turn."""
        level = self.levels[0]
        left, watch, again = stage.limit, _Watch(), FINAL_LISTS if stage.last else 0
        while True:
            g = self.candidates.target_transform(f, stage.eps)
            pairs, values = self.candidates.thinned(f, g, stage.eps, stage.delta)
            scaling = MatrixScaling(pairs, values, self.levels, self.candidates.chunks)
            self.builds += 1
            run = self._scale(scaling, stage, left, watch)
            left -= run.cycles
            # the factors taken in
            f = f + stage.eps * (np.log(run.u) - 0.5 * level.source.log_mass)
            g = g + stage.eps * (np.log(run.v) - 0.5 * level.target.log_mass)
            met = run.error < stage.tol
            if left <= 0 or (met and (again == 0 or run.drift <= FINAL_DRIFT_LIMIT)):
                return LevelPlan(level, stage.eps, f, g, scaling, run.u, run.v, run.error)
            parts = None
            if watch.stalled:
                parts = Components.behind(scaling, level, run.u, run.v, run.error)
            again -= met
            del scaling, pairs, values  # before the next ones are made
            if watch.stalled:
                if parts is not None:
                    f = f + stage.eps * parts.offsets(self.candidates, f, g, stage.eps)
                watch.restart(useful=parts is not None)

    def _scale(self, scaling: MatrixScaling, stage: EpsStage, limit: int, watch: _Watch) -> _Run:
        """Cycles until the error is met, the limit, or the list is outworn or stalls."""
        v = best = scaling.target.root_mass.copy()
        least = np.inf
        anderson = Anderson()
        used = 0
        while True:
            scaling.scale_rows(v)
            error = scaling.error(v)
            used, self.cycles = used + 1, self.cycles + 1
            self.report(Iteration(scaling.source.shape, self.cycles, error, stage.eps))
            careful = not error <= ERROR_GROWTH_ALLOWED * least
            if error < least:
                least, best = error, v
            elif careful:
                anderson.clear()
                v, error = best, least
                scaling.scale_rows(v)
            watch.note(least)
            drift = _drift(scaling, v)
            outworn = drift > (DRIFT_LIMIT if used > 2 else FIRST_DRIFT_LIMIT)
            if error < stage.tol or used >= limit or watch.stalled or outworn:
                break
            image = np.log(scaling.sweeps(v) if careful else scaling.cycle(v))
            mixed = anderson.mix(np.log(v), image)
            v = np.exp(np.clip(mixed, image - MIXING_REACH, image + MIXING_REACH))
        if (used >= limit or watch.stalled) and least < error:
            v, error = best, least
            scaling.scale_rows(v)
        return _Run(scaling.u.copy(), v, error, used, _drift(scaling, v))


class _Watch:
    """Whether the error still falls, over all the lists of a stage."""

    def __init__(self) -> None:
        self.patience = PATIENCE_CYCLES
        self._since, self._mark = 0, np.inf

    def note(self, error: float) -> None:
        """One cycle."""
        if error < STALLED_RATIO * self._mark:
            self._since, self._mark = 0, error
        self._since += 1

    @property
    def stalled(self) -> bool:
        """Too many cycles without a smaller error."""
        return self._since > self.patience

    def restart(self, *, useful: bool) -> None:
        """Wait again, longer where nothing could be done."""
        self._since, self._mark = 0, np.inf
        self.patience = PATIENCE_CYCLES if useful else 2 * self.patience


@dataclass(frozen=True, eq=False)
class _Run:
    """How scaling on one list ended."""

    u: Array
    v: Array
    error: float
    cycles: int
    drift: float


def _drift(scaling: MatrixScaling, v: Array) -> float:
    """Largest logarithm of the factors since the list was made."""
    rows = np.abs(np.log(scaling.u / scaling.source.root_mass)).max()
    return float(max(rows, np.abs(np.log(v / scaling.target.root_mass)).max()))
