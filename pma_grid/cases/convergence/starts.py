"""`warm_starts`: `solve` started from Sinkhorn's potential, and Sinkhorn's from that of `solve`.

The two differ by -(eps/2) f to first order (`fixed_point_bias`), f = -log mu: with that put in or
taken out the start is of second order in eps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pma_grid.cases.convergence.bias import predicted_bias
from pma_grid.cases.convergence.closed_forms import newton_steps
from pma_grid.cases.convergence.rows import Rows, ordered
from pma_grid.entropic.solving import sinkhorn
from pma_grid.grid.splines import log_centre_values
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, ConvergenceError, InvalidInputError, text_table
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport


@dataclass(frozen=True)
class StartRow:
    """One run.

    Attributes
    ----------
    solver : str
        "solve" or "sinkhorn".
    start : str
        What it began from.
    eps : float or None
        Regularisation of Sinkhorn's potential, whichever side of the start it is on; length^2.
    finest, total : int
        Newton steps or sweeps on the finest grid, and on all grids.
    seconds : float
        Time without compilation, and without what the start cost.
    converged : bool
        Whether the run met its tolerance.
    """

    solver: str
    start: str
    eps: float | None
    finest: int
    total: int
    seconds: float
    converged: bool


@dataclass(frozen=True)
class Starts(Rows):
    """What `warm_starts` found on a grid of ``shape``; cold starts come before warm ones."""

    shape: tuple[int, ...]
    rows: tuple[StartRow, ...]

    def of(self, solver: str, start: str, eps: float | None = None) -> StartRow:
        """The row of a solver, its start and eps."""
        for row in self.rows:
            if (row.solver, row.start, row.eps) == (solver, start, eps):
                return row
        raise InvalidInputError(
            f"there is no row ({solver!r}, {start!r}, {eps!r}); the rows are "
            + ", ".join(f"({row.solver}, {row.start}, {row.eps})" for row in self.rows)
        )

    def table(self) -> str:
        """The rows as text."""
        rows = [
            [r.solver, r.start, "-" if r.eps is None else f"{r.eps:g}", r.finest, r.total,
             r.seconds, "" if r.converged else "not converged"]
            for r in self.rows
        ]  # fmt: skip
        heads = ["solver", "start", "eps", "finest grid", "all grids", "seconds", ""]
        return f"{'x'.join(map(str, self.shape))} cells\n{text_table(heads, rows)}"


# Root mean square residual of `solve`, L1 marginal error of `sinkhorn`, and the sweeps it may take:
# far beyond what either needs, so that counts compare.
SOLVE_TOLERANCE, MARGINAL_TOLERANCE, MOST_SWEEPS = 1e-8, 1e-9, 10_000
# Names of the starts.
COLD, COARSE, OTHER = "the identity", "coarser grids", "the other's potential"
CORRECTED = "the other's, less the bias"


def warm_starts(
    problem: Problem,
    eps: Sequence[float] = (4e-3, 1e-3),
    *,
    kernel: str = "reflect",
) -> Starts:
    """Count what each of the two solvers gains from starting at the other's potential.

    Parameters
    ----------
    problem : Problem
        What both solvers solve.
    eps : sequence of float
        Numbers that fall, length^2.
    kernel : {"reflect", "plain"}
        Of Sinkhorn's algorithm.

    Returns
    -------
    Starts
        `solve` from coarser grids (its own start), from the identity, from u^eps and from
        u^eps + (eps/2) f; `sinkhorn` from the identity without coarse grids, from coarser grids,
        from ubar and from ubar - (eps/2) f.

    Raises
    ------
    ConvergenceError
        `solve` fails from its own start; a failure from another one is a row.

    Notes
    -----
    u^eps + (eps/2) f need not be convex: `solve` then has to find its way first, and needs more
    steps than from u^eps.
    """
    chosen = ordered(eps, "eps", "fall")
    f = -log_centre_values(positive(problem)[0])
    exact = solve(problem, tol=SOLVE_TOLERANCE, fallback=False)
    frame = Frame(problem.source.grid, problem.target.grid)
    rows = [
        _newton(exact, COARSE, None),
        _solved(problem, COLD, None, frame.quadratic()),
    ]
    options: dict[str, Any] = {
        "tol": MARGINAL_TOLERANCE, "kernel": kernel, "max_iterations": MOST_SWEEPS, "threads": 1
    }  # fmt: skip
    for value in chosen:
        coarse = sinkhorn(problem, value, **options)
        bias = predicted_bias(value, f)
        rows += [
            _solved(problem, OTHER, value, coarse.potential),
            _solved(problem, CORRECTED, value, coarse.potential - bias),
            _sweeps(sinkhorn(problem, value, scaling=False, **options), COLD),
            _sweeps(coarse, COARSE),
            _sweeps(sinkhorn(problem, value, initial=exact, **options), OTHER),
            _sweeps(sinkhorn(problem, value, initial=exact.potential + bias, **options), CORRECTED),
        ]
    return Starts(problem.source.shape, tuple(rows))


def _solved(problem: Problem, start: str, eps: float | None, initial: Array) -> StartRow:
    """`solve` from a potential on the finest grid alone; a failure is a row too."""
    try:
        ot = solve(problem, tol=SOLVE_TOLERANCE, initial=initial, fallback=False)
        return _newton(ot, start, eps)
    except ConvergenceError as error:
        assert isinstance(error.result, Transport)
        return _newton(error.result, start, eps)


def _newton(ot: Transport, start: str, eps: float | None) -> StartRow:
    finest = int(ot.stats["levels"][-1]["newton"])
    seconds = float(ot.stats["seconds"])
    return StartRow("solve", start, eps, finest, newton_steps(ot), seconds, ot.converged)


def _sweeps(sk: Any, start: str) -> StartRow:
    total = sum(int(level["iterations"]) for level in sk.stats["levels"])
    return StartRow(
        "sinkhorn", start, sk.eps, int(sk.stats["iterations"]), total, float(sk.stats["seconds"]),
        sk.converged,
    )  # fmt: skip
