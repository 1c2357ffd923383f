"""Problems with axes of few cells: solved on finer grids, and given on those of the data."""

from __future__ import annotations

import time
from collections.abc import Callable

from pma_grid.entropic.coarsening import coarsened
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.kernels.compilation import CompileClock
from pma_grid.problem.problem import Problem
from pma_grid.problem.refining import settled
from pma_grid.runtime import Array, ConvergenceError
from pma_grid.transport.transport import Transport


def on_finer_cells(
    problem: Problem, solve: Callable[..., Transport], start: Array | None
) -> Transport:
    """What ``solve`` finds on finer and finer grids, until W2 changes no more; see `settled`.

    ``start``: u at the cell centres, interpolated to be ``initial`` on finer ones.
    """

    def run(finer: Problem) -> Transport:
        if start is None:
            return solve(finer)
        u = Transport(problem, start).solution.function.value(finer.source.grid.points)
        return solve(finer, initial=u.reshape(finer.source.shape))

    started = time.perf_counter()
    with CompileClock() as clock:
        try:
            found = settled(problem, run)
        except ConvergenceError as error:
            raise ConvergenceError(str(error), result=_given(problem, error.result)) from None
    found.stats.seconds = time.perf_counter() - started - clock.seconds
    found.stats.compile_seconds = clock.seconds
    return _given(problem, found)


def _given(problem: Problem, found: Transport) -> Transport:
    """A transport of finer cells as one of the problem."""
    if isinstance(found, EntropicTransport):
        return coarsened(found, problem)
    return Transport.of_solution(problem, found.solution, status=found.status, stats=found.stats)
