"""Nested iteration: the equation on coarsened grids first, each solution the start of a finer one.

Starts are extrapolated in h^2 from two coarser solutions where that helps; superbases come along.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pma_grid.equation.ghosts import prolongations
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.equation.rearrangement import rearranged
from pma_grid.grid.grid import Grid
from pma_grid.grid.transfer import Transfer, halved
from pma_grid.problem.floors import Floors
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.errors import Status
from pma_grid.runtime.workers import SERIAL, Workers
from pma_grid.stationary.newton import Iterate, Newton
from pma_grid.stationary.start import Comparison, Start

# Axes of at most this many cells are not coarsened further.
COARSEST_AXIS = 8
# The tolerance of `tol=None`, and its share of the estimated truncation error if that is smaller.
DEFAULT_TOLERANCE = 1e-5
TRUNCATION_SHARE = 0.1
# Coarse grids only start finer ones: solved to this share of their own truncation error.
COARSE_SHARE = 0.05
COARSE_TOLERANCE = 1e-3
# Nodes an axis for prolonging phi.  Smooth data: an error of h^6 in phi is one of h^4 in second
# differences, as good as the extrapolated start.  Rough data: linear interpolation rings least.
SMOOTH_POINTS = 6
ROUGH_POINTS = 2


@dataclass(frozen=True)
class Scheme:
    """Which discretisation: a target averaged over images of cells, a monotone gradient."""

    averaged: bool = True
    monotone_gradient: bool = False


@dataclass
class Solved:
    """The equation and the iterate of the finest grid that was reached."""

    equation: MongeAmpere
    state: Iterate
    tol: float
    index: int


@dataclass
class Cascade:
    """The sequence of grids from coarse to fine, and the solves on them.

    Attributes
    ----------
    problem : Problem
    working : tuple
        Positive cell averages of source and target on the finest grids, and what floors changed.
    newton : Newton
    tol : float or None
        rms residual asked for on the finest grid.
    scheme : Scheme
    persist : bool
        Go on to finer grids from one on which Newton's method stalled.
    workers : Workers
        Threads that share the work on every grid.
    densities : list of tuple of ndarray
        The working averages of every grid, coarsest first.
    summaries : list of dict
        What was done on each grid, for the statistics.
    """

    problem: Problem
    working: tuple[Array, Array, Floors]
    newton: Newton
    tol: float | None
    scheme: Scheme
    persist: bool = False
    workers: Workers = SERIAL
    densities: list[tuple[Array, Array]] = field(init=False)
    summaries: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.densities = [self.working[:2]]
        while True:
            finer = self.densities[0]
            pair = (_coarsened(finer[0]), _coarsened(finer[1]))
            if pair[0].shape == finer[0].shape:
                break
            self.densities.insert(0, pair)

    @property
    def last(self) -> int:
        """Index of the finest grid."""
        return len(self.densities) - 1

    def grids(self, index: int) -> tuple[Grid, Grid]:
        """Grids of one level."""
        pair = self.problem.source.grid, self.problem.target.grid
        source, target = (
            Grid(values.shape, grid.lower, grid.upper)
            for values, grid in zip(self.densities[index], pair, strict=True)
        )
        return source, target

    def level(self, index: int) -> Problem:
        """The problem on the grids of one level, exact zeros included."""
        source, target = self.grids(index)
        pair = self.problem.source.resampled(source), self.problem.target.resampled(target)
        return Problem(*pair, target_domain=self.problem.target_domain)

    def equation(self, index: int, superbase: Array | None) -> MongeAmpere:
        """The discretised equation of one level."""
        (source, target), grids = self.densities[index], self.grids(index)
        return MongeAmpere.between(
            source,
            grids[0],
            target,
            grids[1],
            averaged=self.scheme.averaged,
            domain=self.problem.target_domain,
            superbase=superbase,
            monotone_gradient=self.scheme.monotone_gradient,
            workers=self.workers,
        )

    def nested(self) -> Solved:
        """From the coarsest grid, box to box affinely, to the finest or the first that stalls."""
        return self.climb(0, Start.at(np.zeros(self.densities[0][0].shape)))

    def refine(self, index: int, phi: Array) -> Solved:
        """From a potential given on one grid on."""
        if index == self.last:
            tol = self.tol or DEFAULT_TOLERANCE
            return self._run(index, self.equation(index, None), Iterate(phi, 0.0), tol)
        return self.climb(index, Start.at(phi))

    def climb(self, first: int, start: Start) -> Solved:
        """Each start is made in the way that paid last: of coarser solutions, or rearranged."""
        superbase = None
        separable, best = True, Comparison(True, 1e-7, False)
        for index in range(first, self.last + 1):
            equation = self.equation(index, superbase)
            if index == self.last:
                state = start.iterate(best.smooth)
                tol = self._final_tolerance(best.truncation, state.phi, equation)
            else:
                state, best = start.compare(equation)
                share = COARSE_SHARE * best.truncation
                tol = max(self.tol or 0.0, min(COARSE_TOLERANCE, share), 1e-10)
            if separable:
                state, separable = self._rearranged(index, equation, state)
            solved = self._run(index, equation, state, tol)
            if index == self.last or not (self.persist or solved.state.status.succeeded):
                return solved
            start = self._next_start(index, start, solved, trend=index > first, sure=best.sure)
            superbase = self._transfer(index).nearest(equation.superbase_field())
            equation.images = None  # they know each other: the collector would come late
            del solved, equation, state  # a fifth of the peak on the next grid
        raise AssertionError("the last grid returns")

    def _rearranged(
        self, index: int, equation: MongeAmpere, state: Iterate
    ) -> tuple[Iterate, bool]:
        """The rearrangement of the marginals, and True, where its residual is the smaller one."""
        (source, target), grids = self.densities[index], self.grids(index)
        other = Iterate(rearranged(source, grids[0], target, grids[1]), 0.0)
        before, after = (equation.evaluate(one.phi, one.alpha) for one in (state, other))
        return (other, True) if after < before else (state, False)

    def potential(self, solved: Solved) -> Array:
        """u on the finest grid; interpolated where that was not reached."""
        fine, coarse = self.densities[-1][0].shape, solved.state.phi.shape
        phi = Transfer(fine, coarse).interpolate(solved.state.phi, ROUGH_POINTS)
        frame = Frame(self.problem.source.grid, self.problem.target.grid)
        return np.asarray(frame.quadratic() + phi)

    def _transfer(self, index: int) -> Transfer:
        fine, coarse = (self.densities[k][0].shape for k in (index + 1, index))
        return Transfer(fine, coarse, self.workers)

    def _next_start(
        self, index: int, before: Start, solved: Solved, *, trend: bool, sure: bool
    ) -> Start:
        """What the next finer grid may start from."""
        phi, alpha, ratio = solved.state.phi, solved.state.alpha, 0.0
        potential, direction = prolongations(solved.equation.lattice, self._transfer(index))
        if trend:
            shapes = [self.densities[k][0].shape for k in (index + 1, index, index - 1)]
            axis = int(np.argmax(shapes[0]))
            h = [1.0 / shape[axis] for shape in shapes]
            ratio = (h[1] ** 2 - h[0] ** 2) / (h[2] ** 2 - h[1] ** 2)
        change = ratio * (phi - before.plain())

        def smooth() -> Array:
            values = potential(phi, SMOOTH_POINTS)
            values += direction(change, SMOOTH_POINTS)
            return values

        return Start(
            plain=lambda: potential(phi, SMOOTH_POINTS),
            smooth=smooth,
            linear=lambda: potential(phi, ROUGH_POINTS),
            alpha=alpha,
            alpha_trend=ratio * (alpha - before.alpha),
            sure=sure,
        )

    def _final_tolerance(self, truncation: float, guess: Array, equation: MongeAmpere) -> float:
        """Tolerance of the finest grid: asked for, or from the next coarser truncation error."""
        if self.tol is not None:
            return self.tol
        # second differences of phi round to about eps |phi|, in units of the metric
        rounding = 50 * np.finfo(float).eps * np.abs(guess).max() / equation.frame.metric.min()
        return max(
            min(DEFAULT_TOLERANCE, TRUNCATION_SHARE * truncation / 4), float(rounding), 1e-12
        )

    def _run(self, index: int, equation: MongeAmpere, state: Iterate, tol: float) -> Solved:
        """Newton on one level; the summary is kept for the statistics."""
        begun = time.perf_counter()
        state = self.newton.run(equation, self.densities[index][0], state, tol)
        if self.tol is None and index == self.last and tol < state.residual <= DEFAULT_TOLERANCE:
            # a share of the truncation error was hoped for; rounding or a walk kept it from that
            state.status, tol = Status.CONVERGED, DEFAULT_TOLERANCE
        self.summaries.append(
            {
                "shape": list(equation.lattice.shape),
                "newton": state.steps,
                "linear": state.linear_iterations,
                "residual": state.residual,
                "tol": tol,
                "mass_constant": state.alpha,
                "faces": equation.faces,
                "linear_solver": list(state.solvers),
                "status": str(state.status),
                "seconds": time.perf_counter() - begun,
            }
        )
        return Solved(equation, state, tol, index)


def _coarsened(values: Array) -> Array:
    """Averages on a grid with every axis halved that still has more than the coarsest size."""
    return Transfer(values.shape, halved(values.shape)).average(values)
