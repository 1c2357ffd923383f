"""`solve`: the Brenier map of two densities by nested iteration and Newton's method.

The equation is solved on coarsened grids first; each solution, extrapolated in h^2 where that
helps, starts the next finer one, superbases included.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from pma_grid.errors import ConvergenceError, InvalidInputError, Status
from pma_grid.grid import Grid
from pma_grid.kernels import CompileClock
from pma_grid.lattice import Array, Transfer
from pma_grid.linsolve import Auto, LinearSolver
from pma_grid.newton import Iterate, Newton, Record
from pma_grid.operator import (
    Frame,
    MongeAmpere,
    blurred,
    positive,
    split,
)
from pma_grid.problem import Problem
from pma_grid.progress import reporter
from pma_grid.target import LogSpline, log_centre_values
from pma_grid.transport import Transport
from pma_grid.validation import is_number

# Axes of at most this many cells are not coarsened further.
COARSEST_AXIS = 8
# The tolerance of `tol=None`, and its share of the estimated truncation error if that is smaller.
DEFAULT_TOLERANCE = 1e-5
TRUNCATION_SHARE = 0.1
# Coarse grids only start finer ones: solved to this share of their own truncation error.
COARSE_SHARE = 0.05
COARSE_TOLERANCE = 1e-3
# Passes of the [1 2 1]/4 blur of the target that a stalled grid is started again from.
BLURS = (16, 4, 1)
# Nodes an axis for prolonging phi.  Smooth data: an error of h^6 in phi is one of h^4 in second
# differences, as good as the extrapolated start.  Rough data: linear interpolation rings least.
SMOOTH_POINTS = 6
ROUGH_POINTS = 2


def solve(
    problem: Problem,
    *,
    tol: float | None = None,
    initial: Transport | Array | None = None,
    progress: bool = False,
    callback: Callable[[Record], None] | None = None,
    linear_solver: LinearSolver | None = None,
    max_iterations: int = 50,
    verify_monotone: bool = False,
    monotone_gradient: bool = False,
) -> Transport:
    """Optimal transport for the cost |x - y|^2 between two densities on grids.

    Solves log det D2u + log nu(grad u) - log mu = alpha for the convex Brenier potential u with
    grad u mapping the source box onto the target box; T = grad u is the optimal map.

    Parameters
    ----------
    problem : Problem
        Source density mu and target density nu, 1 to 3 axes each.
    tol : float, optional
        Root mean square of the scaled residual (dimensionless, > 0) at which to stop.  None means
        1e-5 or a tenth of the estimated discretisation error, whichever is smaller.
    initial : Transport or array_like of shape ``source.shape``, optional
        Potential to start from on the finest grid, instead of nested iteration.
    progress : bool
        Show a progress line on standard error.
    callback : callable, optional
        Receives a `Record` per Newton step.
    linear_solver : LinearSolver, optional
        `Auto` (default), `Multigrid`, `AMG` or `Direct`.
    max_iterations : int
        Newton steps allowed on each grid.
    verify_monotone : bool
        Compare the superbase walk with a full scan at the end; see ``stats["monotone"]``.
    monotone_gradient : bool
        Use a Lax-Friedrichs (strictly monotone, first-order) gradient in the target density.

    Returns
    -------
    Transport
        With ``status`` CONVERGED, or REGULARISED where exact zeros were raised to a floor.

    Raises
    ------
    ConvergenceError
        The residual did not reach ``tol``; its ``result`` is the partial Transport.
    InvalidInputError
        An argument is out of its range.

    Notes
    -----
    Second order in the spacing for u and grad u (smooth positive densities).  Cost: a few residual
    evaluations and multigrid cycles on the finest grid, O(N).  Memory: about 35 arrays of N doubles
    in 2-D.

    References
    ----------
    Benamou, Collino, Mirebeau (2016), Monotone and consistent discretization of the Monge-Ampère
    operator, Math. Comp. 85, 2743-2775. doi:10.1090/mcom/3080

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> x = (np.arange(64) + 0.5) / 64
    >>> ot = pma.solve(pma.Problem(np.ones(64), 2 * x))
    >>> round(ot.w2_squared, 4)   # T(x) = sqrt(x), so W2^2 = 1/30
    0.0333
    """
    _check(tol, max_iterations)
    started = time.perf_counter()
    with CompileClock() as clock, reporter(progress, callback) as report:
        history: list[Record] = []

        def keep(record: Record) -> None:
            history.append(record)
            report(record)

        newton = Newton(linear_solver or Auto(), max_iterations, keep, started)
        run = _Cascade(problem, newton, tol, monotone_gradient)
        result = run.from_potential(initial) if initial is not None else run.nested()
        scan = (
            result.equation.scan(result.state.phi, result.state.alpha) if verify_monotone else None
        )
    seconds = time.perf_counter() - started
    stats = _statistics(run, result, history, seconds, clock.seconds)
    if scan is not None:
        stats["monotone"] = {"cells": scan[0], "largest_gain": scan[1]}
    return _conclude(problem, run, result, stats)


def _check(tol: float | None, max_iterations: int) -> None:
    if tol is not None and not (is_number(tol) and np.isfinite(tol) and tol > 0):
        raise InvalidInputError(
            f"tol is {tol!r}; it must be a positive number, the rms residual asked for: "
            "pass for example tol=1e-6, or None for the default"
        )
    if max_iterations < 1:
        raise InvalidInputError(
            f"max_iterations is {max_iterations}; it must be at least 1: leave it at its default"
        )


@dataclass
class _Solved:
    """The equation and the iterate of one grid."""

    equation: MongeAmpere
    state: Iterate
    tol: float
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Start:
    """Starts of one grid: for smooth data phi + trend, for rough data the linear interpolant."""

    plain: Array
    linear: Array
    trend: Array
    alpha: float
    alpha_trend: float

    @classmethod
    def zero(cls, shape: tuple[int, ...]) -> _Start:
        """The start of the coarsest grid: box to box affinely."""
        zero = np.zeros(shape)
        return cls(zero, zero, zero, 0.0, 0.0)

    def iterate(self, smooth: bool) -> Iterate:
        """The start as an iterate of its own."""
        if smooth:
            return Iterate(self.plain + self.trend, self.alpha + self.alpha_trend)
        return Iterate(self.linear.copy(), self.alpha)

    def compare(self, equation: MongeAmpere) -> tuple[bool, float]:
        """Whether the smooth start has the smaller residual, and the truncation error estimated.

        The coarser solution misses by the difference of two truncation errors, three quarters of
        the coarser one: a third of its residual is that of this grid.
        """
        rough = equation.evaluate(self.linear, self.alpha)
        better = equation.evaluate(self.plain + self.trend, self.alpha + self.alpha_trend)
        if better > rough:
            return False, rough / 3
        return True, equation.evaluate(self.plain, self.alpha) / 3


class _Cascade:
    """The sequence of grids from coarse to fine, and the solves on them."""

    def __init__(
        self, problem: Problem, newton: Newton, tol: float | None, monotone_gradient: bool
    ) -> None:
        self.problem = problem
        self.newton = newton
        self.tol = tol
        self.monotone_gradient = monotone_gradient
        source, target, self.floors = positive(problem)
        self.densities = [(source, target)]
        while True:
            finer = self.densities[0]
            pair = (_coarsened(finer[0]), _coarsened(finer[1]))
            if pair[0].shape == finer[0].shape:
                break
            self.densities.insert(0, pair)
        self.summaries: list[dict[str, Any]] = []

    def equation(self, index: int, superbase: Array | None) -> MongeAmpere:
        """The discretised equation of one level."""
        return self._level_equation(index, self.densities[index][1], superbase)

    def _level_equation(self, index: int, target: Array, superbase: Array | None) -> MongeAmpere:
        """The equation of a level for its target or a blurred one."""
        source = self.densities[index][0]
        mine, other = self.problem.source.grid, self.problem.target.grid
        return MongeAmpere(
            log_centre_values(source),
            Grid(source.shape, mine.lower, mine.upper),
            LogSpline(log_centre_values(target), Grid(target.shape, other.lower, other.upper)),
            superbase=superbase,
            monotone_gradient=self.monotone_gradient,
        )

    def from_potential(self, initial: Transport | Array) -> _Solved:
        """Newton on the finest grid alone, from a given potential."""
        potential = initial.potential if isinstance(initial, Transport) else np.asarray(initial)
        if potential.shape != self.problem.source.shape:
            raise InvalidInputError(
                f"initial has shape {potential.shape}, the source grid "
                f"{self.problem.source.shape}; they must agree: "
                "interpolate the potential to the source grid"
            )
        potential = Transport.from_potential(self.problem, potential).potential
        state = Iterate(split(self.problem, potential)[0], 0.0)
        last = len(self.densities) - 1
        return self._run(last, self.equation(last, None), state, self.tol or DEFAULT_TOLERANCE)

    def nested(self) -> _Solved:
        """Coarse to fine; each start comes from the coarser solutions in the way that paid last."""
        start = _Start.zero(self.densities[0][0].shape)
        superbase = None
        smooth, truncation = True, 1e-7
        for index in range(len(self.densities)):
            equation = self.equation(index, superbase)
            last = index == len(self.densities) - 1
            if last:
                tol = self._final_tolerance(truncation, start.plain, equation)
            else:
                smooth, truncation = start.compare(equation)
                tol = max(self.tol or 0.0, min(COARSE_TOLERANCE, COARSE_SHARE * truncation), 1e-10)
            solved = self._run(index, equation, start.iterate(smooth), tol)
            if not last:
                start = self._next_start(index, start, solved.state)
                superbase = self._transfer(index).nearest(equation.superbase_field())
        return solved

    def _transfer(self, index: int) -> Transfer:
        return Transfer(self.densities[index + 1][0].shape, self.densities[index][0].shape)

    def _next_start(self, index: int, before: _Start, solved: Iterate) -> _Start:
        """What the next finer grid may start from."""
        transfer = self._transfer(index)
        ratio = 0.0
        if index > 0:
            shapes = [self.densities[k][0].shape for k in (index + 1, index, index - 1)]
            axis = int(np.argmax(shapes[0]))
            h = [1.0 / shape[axis] for shape in shapes]
            ratio = (h[1] ** 2 - h[0] ** 2) / (h[2] ** 2 - h[1] ** 2)
        change = ratio * (solved.phi - before.plain)
        return _Start(
            plain=transfer.interpolate(solved.phi, SMOOTH_POINTS),
            linear=transfer.interpolate(solved.phi, ROUGH_POINTS),
            trend=transfer.interpolate(change, SMOOTH_POINTS),
            alpha=solved.alpha,
            alpha_trend=ratio * (solved.alpha - before.alpha),
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

    def _run(self, index: int, equation: MongeAmpere, state: Iterate, tol: float) -> _Solved:
        """Newton on one level; the summary is kept for the statistics."""
        begun = time.perf_counter()
        source, _ = self.densities[index]
        first = Iterate(state.phi, state.alpha)
        state = self.newton.run(equation, source, state, tol)
        blurs = 0
        if not state.status.succeeded:
            blurs = len(BLURS)
            state = self._continuation(index, equation, first, state, tol)
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
                "continuation": blurs,
                "seconds": time.perf_counter() - begun,
            }
        )
        return _Solved(equation, state, tol)

    def _continuation(
        self, index: int, equation: MongeAmpere, first: Iterate, stalled: Iterate, tol: float
    ) -> Iterate:
        """Less and less blurred targets, then the target itself; the better of it and ``stalled``.

        Newton stalls where log nu varies much within a stencil's image; a blur only moves the
        start of the last solve, which is that of the data as given.
        """
        source, target = self.densities[index]
        superbase = None
        state = first
        for passes in BLURS:
            smoothed = self._level_equation(index, blurred(target, passes), superbase)
            state = self.newton.run(smoothed, source, state, max(tol, COARSE_TOLERANCE))
            superbase = smoothed.superbase_field()
        equation.restart(smoothed.superbase_field())
        final = self.newton.run(equation, source, state, tol)
        if final.residual > stalled.residual:
            equation.evaluate(stalled.phi, stalled.alpha)
            final.phi, final.alpha, final.residual = stalled.phi, stalled.alpha, stalled.residual
        final.steps += stalled.steps
        final.linear_iterations += stalled.linear_iterations
        return final


def _coarsened(values: Array) -> Array:
    """Averages on a grid with every axis halved that still has more than the coarsest size."""
    shape = tuple((n + 1) // 2 if n > COARSEST_AXIS else n for n in values.shape)
    return Transfer(values.shape, shape).average(values)


def _statistics(
    run: _Cascade, solved: _Solved, history: list[Record], seconds: float, compiling: float
) -> dict[str, Any]:
    names = ("numpy", "scipy", "numba", "pyamg")
    return {
        "iterations": sum(level["newton"] for level in run.summaries),
        "linear_iterations": sum(level["linear"] for level in run.summaries),
        "residual": solved.state.residual,
        "tol": solved.tol,
        "mass_constant": solved.state.alpha,
        "seconds": seconds - compiling,
        "compile_seconds": compiling,
        "floors": run.floors,
        "linear_solver": run.summaries[-1]["linear_solver"],
        "levels": run.summaries,
        "history": [asdict(record) for record in history],
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in names},
    }


def _conclude(problem: Problem, run: _Cascade, solved: _Solved, stats: dict[str, Any]) -> Transport:
    """The Transport, or the error that carries it."""
    status = solved.state.status
    if status is Status.CONVERGED and any(f["cells"] for f in run.floors.values()):
        status = Status.REGULARISED
    frame = Frame(problem.source.grid, problem.target.grid)
    result = Transport(problem, frame.quadratic() + solved.state.phi, status=status, stats=stats)
    if not status.succeeded:
        raise ConvergenceError(
            f"{status.value} (rms residual {solved.state.residual:.2e}, asked for "
            f"{solved.tol:.2e}, mass constant {solved.state.alpha:.2e})",
            result=result,
        )
    return result
