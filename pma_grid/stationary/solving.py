"""`solve`: the Brenier map of two densities by nested iteration and Newton's method.

The equation is solved on coarsened grids first; each solution, extrapolated in h^2 where that
helps, starts the next finer one, superbases included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.equation.monge_ampere import TargetRule
from pma_grid.kernels.compilation import CompileClock
from pma_grid.linsolve import Auto, LinearSolver
from pma_grid.problem.problem import Problem, check_problem
from pma_grid.problem.refining import has_few_cells
from pma_grid.problem.working import Data
from pma_grid.runtime import (
    Array,
    ConvergenceError,
    InvalidInputError,
    Status,
    Workers,
    check_flag,
    check_offers,
    check_positive,
    check_whole,
    versions,
)
from pma_grid.runtime.progress import reporter
from pma_grid.stationary.candidates import PATIENCE_STEPS, Candidate, Search
from pma_grid.stationary.cascade import Cascade, Tolerances
from pma_grid.stationary.few_cells import on_finer_cells
from pma_grid.stationary.levels import Levels
from pma_grid.stationary.newton import Newton, Record
from pma_grid.stationary.outcome import Attempt, Way
from pma_grid.transport.potential import checked_potential
from pma_grid.transport.report import TransportReport
from pma_grid.transport.transport import Transport


def solve(
    problem: Problem,
    *,
    tol: float | None = None,
    initial: Transport | ArrayLike | None = None,
    progress: bool = False,
    callback: Callable[[Record], None] | None = None,
    linear_solver: LinearSolver | None = None,
    max_iterations: int = 50,
    monotone_gradient: bool = False,
    averaging: bool = True,
    fallback: bool = True,
    threads: int = 1,
) -> Transport:
    """Optimal transport for the cost |x - y|^2 between two densities on grids.

    Finds the convex Brenier potential u whose gradient T = grad u pushes the source density mu to
    the target density nu: T is the optimal map, and the potential gives W2.  On the grid u solves

        log det D2u(x) + log nu(grad u(x)) - log mu(x) = alpha,

    with grad u filling the target's box, or the problem's ``target_domain``.  The *mass constant*
    alpha makes the discrete equation solvable; it goes to 0 like the squared spacing, and a large
    one says that the grid does not resolve the densities.

    Parameters
    ----------
    problem : Problem
        Source and target density, on grids of 1 to 3 axes each.
    tol : float, optional
        Where to stop: the root mean square of the residual, dimensionless, > 0; where data are thin
        weighted by mass, as long as the plain one is below 1e-2.  None means 1e-5 or a tenth of the
        estimated discretisation error, whichever is smaller and can be met.
    initial : Transport or array_like of shape ``source.shape``, optional
        Potential to start from on the finest grid, instead of going there over coarser grids; of no
        use where a density has gaps and the map is torn.
    progress : bool
        Whether to show a progress line on standard error.
    callback : callable, optional
        Called with a `Record` after every Newton step.
    linear_solver : LinearSolver, optional
        How Newton's linear systems are solved: `Auto` (default), `Multigrid`, `AMG`, `ILU`
        or `Direct`.
    max_iterations : int
        Newton steps allowed on each grid, and in each stage of it where data are thin; with
        ``fallback`` at most 30, after which there are other things to try.
    monotone_gradient : bool
        Evaluate nu with a Lax-Friedrichs gradient, which makes the scheme strictly monotone and of
        first order.
    averaging : bool
        Average nu over the image of each cell where it varies much within that image.  If False,
        its value at the gradient is taken everywhere, as always with ``monotone_gradient``.
    fallback : bool
        Try other ways too where Newton's method stalls, where its result is not resolved by the
        grid, and where a density has gaps: finer cells, from target to source, and the sparse
        entropic solver, whose plan is then the answer.
    threads : int
        Threads that share the rows of every grid.  What Newton's method finds is the same for any
        number, bit for bit; an entropic answer is the same up to rounding.

    Returns
    -------
    Transport
        With ``status`` CONVERGED; REGULARISED where only gentler densities than the standard
        working ones were solved, or above a floor of yours, which ``stats.floors`` describes;
        UNRESOLVED, no success, where the equation holds but the grid does not resolve the
        densities and there is no better answer.  An `EntropicTransport` with ``status`` ENTROPIC
        and its sparse plan where that is the better answer: torn maps, disconnected supports.

    Raises
    ------
    ConvergenceError
        No attempt reached its tolerance; ``result`` of the error is the partial Transport.  Also
        where a ``tol`` of yours is below 1e-5 and Newton's method stopped between the two.
    InvalidInputError
        An argument is out of its range.

    Notes
    -----
    Newton's method runs on ever finer grids; each solution, extrapolated where that helps, starts
    the next.  u and grad u are of second order in the spacing for smooth positive densities.  The
    cost is a few residual evaluations and multigrid cycles on the finest grid, O(N); the memory
    about 35 arrays of N doubles in 2-D.

    Axes on which source or target has fewer than 8 cells are divided, with the cell averages as
    given and a positive spline between them (from one or two cells, constant on each), into 8 cells
    and then further, until W2^2 changes by less than a tenth of the squared spacing, at most twice.
    Map, inverse and W2 are those of the finer solution, fields are given on the grid of the data.

    Where nu varies by more than some percent over the image of a cell, the equation is that of
    finite volumes, (mean of mu over the cell) = (mean of nu over its image) det D2u, by which
    photographs, noise and concentrated densities converge.

    ``stats.candidates`` lists what was tried.  Where none of Newton's results will do as it is, the
    potential of each candidate gives a rigorous lower bound of the W2^2 between the atoms at the
    cell centres (by Legendre transforms; ``stats.hard_dual``): successes come before the others,
    and of equals the one with the largest bound is returned.

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
    _check(problem, tol, max_iterations, linear_solver, callback)
    flags = {
        "progress": progress, "monotone_gradient": monotone_gradient, "averaging": averaging,
        "fallback": fallback,
    }  # fmt: skip
    for name, value in flags.items():
        check_flag(value, name)
    settings = Settings(
        tol, progress, callback, linear_solver or Auto(), max_iterations, monotone_gradient,
        averaging, fallback, threads,
    )  # fmt: skip
    given = initial.potential if isinstance(initial, Transport) else initial
    start = None if given is None else checked_potential(problem, given, "initial")
    if has_few_cells(problem):
        return on_finer_cells(problem, start, partial(_solve, settings, divisible=False))
    return _solve(settings, problem, start)


@dataclass(frozen=True)
class Settings:
    """Arguments of `solve` that do not depend on the grid."""

    tol: float | None
    progress: bool
    callback: Callable[[Record], None] | None
    linear_solver: LinearSolver
    max_iterations: int
    monotone_gradient: bool
    averaging: bool
    fallback: bool
    threads: int

    @property
    def rule(self) -> TargetRule:
        """What the equation takes for nu(grad u)."""
        if self.monotone_gradient:
            return TargetRule.LAX_FRIEDRICHS
        return TargetRule.MEAN if self.averaging else TargetRule.POINT

    def newton(self, report: Callable[[Record], None], started: float) -> Newton:
        """Newton's method on one grid."""
        patience = (
            min(PATIENCE_STEPS, self.max_iterations) if self.fallback else self.max_iterations
        )
        return Newton(self.linear_solver, patience, report, started)


def _solve(
    settings: Settings,
    problem: Problem,
    initial: Array | None = None,
    *,
    divisible: bool = True,
) -> Transport:
    """`solve` on the grids as they are, or on finer ones if ``divisible`` and that may help."""
    started = time.perf_counter()
    with (
        CompileClock() as clock,
        reporter(settings.progress, settings.callback) as report,
        Workers(settings.threads) as team,
        threadpool_limits(1, user_api="blas"),  # its threads wait for more work at our cost
    ):
        history: list[Record] = []

        def keep(record: Record) -> None:
            history.append(record)
            report(record)

        def by_newton(way: Way) -> Candidate:
            # means over images go with working densities; point values are those of the data
            plain = settings.rule is not TargetRule.MEAN
            levels = Levels(Data.of(way.lead(problem), plain=plain), settings.rule, team)
            newton = settings.newton(keep, started)
            cascade = Cascade(
                levels, newton, Tolerances(settings.tol),
                persist=not settings.fallback, gentler=not way.brief,
            )  # fmt: skip
            attempt = Attempt(problem, way, cascade)
            return Candidate.of(attempt, attempt.run(initial))

        boxed = problem.target_domain is None
        search = Search(
            problem,
            by_newton,
            given=initial is not None,
            turnable=boxed and settings.rule is TargetRule.MEAN and problem.dim > 1,
            divisible=boxed and divisible,
            fallback=settings.fallback,
            threads=settings.threads,
        )
        best, candidates = search.run()
    stats = _report(best, candidates, history)
    stats.seconds = time.perf_counter() - started - clock.seconds
    stats.compile_seconds = clock.seconds
    if stats.threads is None:
        stats.threads = team.threads
    return _conclude(best, stats)


def _check(problem: Any, tol: Any, max_iterations: Any, linear_solver: Any, callback: Any) -> None:
    """Kinds and ranges of the arguments."""
    check_problem(problem)
    if tol is not None:
        check_positive(tol, "tol", "the rms residual, for example 1e-6, or None for the default")
    check_whole(max_iterations, 1, "max_iterations", "leave it at its default")
    if linear_solver is not None:
        check_offers(linear_solver, "setup", "linear_solver", "pass for example pma.AMG()")
    if not (callback is None or callable(callback)):
        raise InvalidInputError(
            f"callback is {callback!r}; it must be a function of a Record, or None"
        )


def _report(best: Candidate, candidates: list[Candidate], history: list[Record]) -> TransportReport:
    """What all the candidates took, and how the best one ended."""
    cascades = [c.attempt.cascade for c in candidates if c.attempt is not None]
    levels = [record for cascade in cascades for record in cascade.records]
    newton: dict[str, Any] = {
        "iterations": sum(level["newton"] for level in levels),
        "linear_iterations": sum(level["linear"] for level in levels),
        "levels": levels,
        "history": [asdict(record) for record in history],
    }
    if isinstance(best.transport, EntropicTransport):
        report = best.transport.stats
        report.newton = newton
    else:
        assert best.reached is not None and best.attempt is not None
        state = best.reached.state
        report = TransportReport(
            **newton,
            residual=state.residual,
            tol=best.reached.tol,
            mass_constant=best.transport.mass_constant,
            averaged=best.transport.averaged,
            floors=best.transport.solution.floors,
            linear_solver=best.attempt.cascade.records[-1]["linear_solver"],
            hard_dual=best.dual if np.isfinite(best.dual) else None,
        )
    report.candidates = [candidate.record() for candidate in candidates]
    report.versions = versions("pyamg")
    return report


def _conclude(best: Candidate, report: TransportReport) -> Transport:
    """The Transport, or the error that carries it."""
    result = best.transport
    result.stats, result.status = report, best.status
    if not (best.status.succeeded or best.status is Status.UNRESOLVED):
        raise ConvergenceError(f"{best.status.value} ({_shortfall(report)})", result=result)
    return result


def _shortfall(report: TransportReport) -> str:
    """By how much the tolerance was missed."""
    if report.residual is not None:
        return (
            f"rms residual {report.residual:.2e}, asked for {report.tol:.2e}, mass constant "
            f"{report.mass_constant:.2e}"
        )
    return f"marginal error {report.marginal_error:.2e}, asked for {report.tol:.2e}"
