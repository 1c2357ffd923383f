"""Problems with axes of few cells: solved on finer grids, and given on those of the data."""

from __future__ import annotations

import time
from collections.abc import Callable

from pma_grid.entropic.coarsening import coarsened
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.grid.transfer import Transfer
from pma_grid.kernels.compilation import CompileClock
from pma_grid.problem.frame import Frame, split
from pma_grid.problem.problem import Problem
from pma_grid.problem.refining import settled
from pma_grid.runtime import Array, ConvergenceError
from pma_grid.transport.atomic_dual import dual_of_atoms
from pma_grid.transport.transport import Transport


def on_finer_cells(
    problem: Problem, initial: Array | None, solve: Callable[..., Transport]
) -> Transport:
    """What ``solve`` finds on finer and finer grids, until W2 changes no more; see `settled`.

    ``initial`` is a potential on the grid of the data to start from, or None; ``solve`` takes a
    problem and such a potential of its grid.
    """
    started = time.perf_counter()
    phi = None if initial is None else split(problem, initial)[0]

    def solve_finer(finer: Problem) -> Transport:
        if phi is None:
            return solve(finer)
        start = Transfer(finer.source.shape, phi.shape).interpolate(phi)
        frame = Frame(finer.source.grid, finer.target.grid)
        return solve(finer, initial=frame.quadratic() + start)

    with CompileClock() as clock:
        try:
            found = settled(problem, solve_finer)
        except ConvergenceError as error:
            raise ConvergenceError(str(error), result=_given(problem, error.result)) from None
    found.stats.seconds = time.perf_counter() - started - clock.seconds
    found.stats.compile_seconds = clock.seconds
    return _given(problem, found)


def _given(problem: Problem, found: Transport) -> Transport:
    """A transport of finer cells as one of the problem."""
    if isinstance(found, EntropicTransport):
        return coarsened(found, problem)
    result = Transport.of_solution(problem, found.solution, status=found.status, stats=found.stats)
    if result.stats.hard_dual is not None:  # of the atoms of the finer cells
        result.stats.hard_dual = dual_of_atoms(problem, result.phi)
    return result
