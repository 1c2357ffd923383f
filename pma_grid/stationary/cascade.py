"""Nested iteration: the equation on coarsened grids first, each solution the start of a finer one.

Starts are extrapolated in h^2 from two coarser solutions where that helps; superbases come along.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.rearrangement import Quantiles, rearranged
from pma_grid.grid.transfer import Transfer
from pma_grid.problem.frame import Frame, mean_free
from pma_grid.problem.working import STANDARD, Softening
from pma_grid.runtime import Array, Integers, Status
from pma_grid.stationary import stages
from pma_grid.stationary.levels import Levels
from pma_grid.stationary.newton import Iterate, Newton
from pma_grid.stationary.start import ROUGH_NODES, Comparison, Start

# The tolerance of `tol=None`, and its share of the estimated truncation error if that is smaller.
DEFAULT_TOLERANCE = 1e-5
TRUNCATION_SHARE = 0.1
# Coarse grids only start finer ones: solved to this share of their own truncation error.
COARSE_SHARE = 0.05
COARSE_TOLERANCE = 1e-3
# No residual is asked to be smaller: rounding.
SMALLEST_COARSE_TOLERANCE, SMALLEST_TOLERANCE = 1e-10, 1e-12
# Nor is a larger one a solution, whatever rounding allows: in boxes as narrow as 1 : 1e5.
LARGEST_TOLERANCE = 1e-2
# Units in the last place that second differences of phi lose to rounding.
ROUNDING_ULPS = 50
# Truncation error assumed where there is no coarser grid to tell: the final tolerance is small.
UNKNOWN_TRUNCATION = 1e-7
NOTHING_SEEN = Comparison(smooth=True, truncation=UNKNOWN_TRUNCATION, sure=False)
# Where stages from the standard working densities fail: up again from ones that are easier, each
# solution the start of the next.
LADDER = (Softening(1.0, 1000.0), Softening(1.5, 30.0), STANDARD)
# |mass constant| on the finest grid of gentler working densities from which the standard ones, of
# which it is larger, are no solution.
HOPELESS_MASS_CONSTANT = 0.1
# Share of the average of a cell by which a spline may miss it.
LARGEST_MISSED_SHARE = 1e-3
# What rearranged marginals leave of the residual of a start of thin data where they are taken: less
# gains no step, and comparing costs an evaluation on every grid.
MUCH_BETTER_SHARE = 0.2
# rms residual of a grid that is not solved up to which it starts the next finer one all the same.
STARTING_RESIDUAL = 0.5


@dataclass(frozen=True)
class Tolerances:
    """rms residuals to be reached on the grids; ``asked`` is the user's for the finest, or None."""

    asked: float | None

    def coarse(self, truncation: float) -> float:
        """Of a grid that only starts a finer one, from its estimated truncation error."""
        share = COARSE_SHARE * truncation
        return max(self.asked or 0.0, min(COARSE_TOLERANCE, share), SMALLEST_COARSE_TOLERANCE)

    def staged(self, *, finest: bool) -> float:
        """Of a grid of thin data, of which no truncation error is known."""
        tol = self.asked or DEFAULT_TOLERANCE
        return tol if finest else max(tol, COARSE_TOLERANCE)

    def final(self, coarse_truncation: float, phi: Array, frame: Frame) -> float:
        """Of the finest grid: as asked, or from the next coarser truncation error."""
        if self.asked is not None:
            return self.asked
        # second differences of phi round to about eps |phi|, in units of the metric
        rounding = ROUNDING_ULPS * np.finfo(float).eps * np.abs(phi).max() / frame.metric.min()
        hoped = min(DEFAULT_TOLERANCE, TRUNCATION_SHARE * coarse_truncation / 4)
        return min(max(hoped, float(rounding), SMALLEST_TOLERANCE), LARGEST_TOLERANCE)


@dataclass
class Reached:
    """The finest grid that was reached: its level, its equation, and the iterate there.

    ``softening`` is that of its working densities; ``rearranged``: the map is known, without an
    iteration.
    """

    index: int
    evaluation: Evaluation
    state: Iterate
    tol: float
    softening: Softening = STANDARD
    rearranged: bool = False


@dataclass
class _Below:
    """What coarser grids leave to the next one.

    Attributes
    ----------
    start : Start
    superbase : ndarray, optional
        Where its superbases begin.
    separable : bool
        Whether rearranged marginals were the better start so far.
    seen : Comparison
        What the starts of the last grid said of the data.
    """

    start: Start
    superbase: Integers | None = None
    separable: bool = True
    seen: Comparison = NOTHING_SEEN


@dataclass
class Cascade:
    """Newton's method on a sequence of grids from coarse to fine, in stages where data are thin.

    Attributes
    ----------
    levels : Levels
    newton : Newton
    tolerances : Tolerances
    persist : bool
        Go on to finer grids from one on which Newton's method stalled.
    gentler : bool
        Whether gentler working densities may lead to the standard ones.
    records : list of dict
        What was done on each grid.
    """

    levels: Levels
    newton: Newton
    tolerances: Tolerances
    persist: bool = False
    gentler: bool = True
    records: list[dict[str, Any]] = field(init=False, default_factory=list)

    def nested(self) -> Reached:
        """From the coarsest grid, box to box affinely, to the finest or the first that stalls."""
        return self._on_line() or self.climb(0, Start.at(np.zeros(self.levels.shape(0))))

    def _spiked(self) -> bool:
        """Whether the splines of the equation, being positive, miss averages of the data."""
        given = self.levels.densities[self.levels.last]
        return any(Quantiles.of(values).missed > LARGEST_MISSED_SHARE for values in given)

    def _on_line(self) -> Reached | None:
        """On one axis: the rearrangement of the data as given, where they are thin or spiked.

        What is confirmed is that the rearrangement of the working densities solves their equation.
        """
        if not (self.levels.on_line and (self.levels.data.thin or self._spiked())):
            return None
        index, begun = self.levels.last, time.perf_counter()
        evaluation, grids = Evaluation(self.levels.equation(index)), self.levels.grids(index)
        (source, target), given = self.levels.working(index), self.levels.densities[index]
        uniform = evaluation.evaluate(rearranged(source, grids[0], target, grids[1]), 0.0)
        residual = min(uniform, evaluation.weighted_rms())
        answer = rearranged(given[0], grids[0], given[1], grids[1], exact=True)
        state = Iterate(answer, 0.0, residual)
        tol = self.tolerances.staged(finest=True)
        if residual > tol:
            state.status = Status.LINE_SEARCH_STALLED
        reached = Reached(index, evaluation, state, tol, rearranged=True)
        self._record(reached, begun)
        return reached if state.status.succeeded else None

    def refine(self, index: int, phi: Array) -> Reached:
        """From a potential given on one grid on, in the unit of its `Frame`."""
        known = self._on_line()
        if known is not None:
            return known
        if index < self.levels.last or self.levels.data.thin:
            return self.climb(index, Start.at(phi))
        evaluation = Evaluation(self.levels.equation(index))
        tol = self.tolerances.asked or DEFAULT_TOLERANCE
        return self._solve(index, evaluation, Iterate(phi, 0.0), tol)

    def climb(self, first: int, start: Start) -> Reached:
        """Solve on level ``first`` and on all finer ones, each from the solution before.

        Starts are made in the way that paid last: of coarser solutions, or by rearranging the
        marginals, as long as that is the better one.
        """
        thin, last = self.levels.data.thin, self.levels.last
        below = _Below(start)
        for index in range(first, last + 1):
            solved = (self._in_stages if thin else self._at_once)(index, below)
            usable = self.persist or solved.state.status.succeeded
            if thin:
                usable = usable or solved.state.residual < STARTING_RESIDUAL
            if index == last or not usable:
                return solved
            evaluation, trended = solved.evaluation, index > first and not thin
            below.start = Start.after(
                self.levels, index, evaluation.lattice, solved.state,
                below.start if trended else None, sure=below.seen.sure,
            )  # fmt: skip
            below.superbase = self.levels.transfer(index).nearest(evaluation.superbase_field())
            del solved, evaluation  # a fifth of the peak on the next grid
        raise AssertionError("the last grid returns")

    def _at_once(self, index: int, below: _Below) -> Reached:
        """Newton's method on one level, from the better of its starts."""
        evaluation = Evaluation(self.levels.equation(index), below.superbase)
        if index == self.levels.last:
            state = below.start.iterate(below.seen.smooth)
            tol = self.tolerances.final(below.seen.truncation, state.phi, evaluation.frame)
        else:
            state, below.seen = below.start.compare(evaluation)
            tol = self.tolerances.coarse(below.seen.truncation)
        if below.separable:
            state, below.separable = self._or_rearranged(index, evaluation, state)
        return self._solve(index, evaluation, state, tol)

    def _in_stages(self, index: int, below: _Below) -> Reached:
        """The same for thin data: what starts leave over sits in the tails, whatever they are."""
        evaluation = Evaluation(self.levels.equation(index), below.superbase)
        state = Iterate(below.start.plain(), below.start.alpha)
        if below.separable:
            state, below.separable = self._or_rearranged(
                index, evaluation, state, share=MUCH_BETTER_SHARE
            )
        return self._staged(index, evaluation, state.phi)

    def _staged(self, index: int, evaluation: Evaluation, phi: Array) -> Reached:
        """Stages on one level; where they fail, up the ladder as far as it leads.

        Rungs start the next one, and are solved like coarse grids; the last that is, as asked,
        unless it is hopeless.
        """
        finest = index == self.levels.last
        tol, rough = (self.tolerances.staged(finest=end) for end in (finest, False))
        superbase = evaluation.superbase.copy()
        failed = self._on_rung(index, evaluation, phi, tol, STANDARD)
        stalled = failed.state.residual <= DEFAULT_TOLERANCE  # by rounding
        if failed.state.status.succeeded or stalled or not self.gentler:
            return failed
        reached: Reached | None = None
        for softening in LADDER:
            evaluation = Evaluation(self.levels.equation(index, softening), superbase)
            goal = tol if softening == STANDARD else rough
            tried = self._on_rung(index, evaluation, phi, goal, softening, gentle=True)
            if not tried.state.status.succeeded:
                break
            reached, phi = tried, tried.state.phi
            if finest and abs(tried.state.alpha) > HOPELESS_MASS_CONSTANT:
                return reached
        if reached is not None and reached.tol > tol:
            softening, evaluation = reached.softening, reached.evaluation
            reached = self._on_rung(index, evaluation, phi, tol, softening, gentle=True)
        return failed if reached is None or not reached.state.status.succeeded else reached

    def _on_rung(
        self, index: int, evaluation: Evaluation, phi: Array, tol: float, softening: Softening,
        *, gentle: bool = False,
    ) -> Reached:  # fmt: skip
        """Stages for working densities of one kind."""
        begun = time.perf_counter()
        staged = stages.run(self.newton, evaluation, phi, tol, DEFAULT_TOLERANCE, gentle=gentle)
        reached = Reached(index, evaluation, staged.state, tol, softening)
        self._record(reached, begun, staged.record() | {"softening": asdict(softening)})
        return reached

    def _or_rearranged(
        self, index: int, evaluation: Evaluation, state: Iterate, *, share: float = 1.0
    ) -> tuple[Iterate, bool]:
        """The rearrangement of the marginals, and True, where its residual is the smaller one.

        Smaller than this ``share`` of the other's.
        """
        (source, target), grids = self.levels.working(index), self.levels.grids(index)
        other = Iterate(rearranged(source, grids[0], target, grids[1]), 0.0)
        before, after = (evaluation.evaluate(one.phi, one.alpha) for one in (state, other))
        return (other, True) if after < share * before else (state, False)

    def phi(self, reached: Reached) -> Array:
        """phi on the finest grid, length^2, mean zero; interpolated where that was not reached."""
        phi = reached.state.phi
        phi = Transfer(self.levels.shape(self.levels.last), phi.shape).interpolate(phi, ROUGH_NODES)
        return mean_free(reached.evaluation.frame.unit * phi)

    def _solve(self, index: int, evaluation: Evaluation, state: Iterate, tol: float) -> Reached:
        """Newton's method on one level, with a record of what it took."""
        begun = time.perf_counter()
        state = self.newton.run(evaluation, state, tol)
        hoped = self.tolerances.asked is None and index == self.levels.last
        if hoped and tol < state.residual <= DEFAULT_TOLERANCE:
            # a share of the truncation error was hoped for; rounding or a walk kept it from that
            state.status, tol = Status.CONVERGED, DEFAULT_TOLERANCE
        reached = Reached(index, evaluation, state, tol)
        self._record(reached, begun)
        return reached

    def _record(self, reached: Reached, begun: float, more: dict[str, Any] | None = None) -> None:
        """What one level took."""
        state = reached.state
        record = {
            "shape": list(reached.evaluation.lattice.shape),
            "newton": state.steps,
            "linear": state.linear_iterations,
            "residual": state.residual,
            "tol": reached.tol,
            "mass_constant": state.alpha,
            "faces": reached.evaluation.faces,
            "linear_solver": list(state.solvers),
            "status": str(state.status),
            "seconds": time.perf_counter() - begun,
        }
        self.records.append(record | (more or {}))
