"""`cost`: seconds and iterations against the error of the map, for `solve` and for Sinkhorn's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.cases.convergence.limit import extrapolated
from pma_grid.cases.convergence.rows import Rows, ordered
from pma_grid.cases.stationary import Case
from pma_grid.entropic.solving import sinkhorn
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, text_table
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# Kernel and map of every way to a map by Sinkhorn's algorithm; the extrapolated ones combine two.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"kernel": "plain", "map": "barycentric"},
    "debiased": {"kernel": "plain", "map": "debiased"},
    "extrapolated": {"kernel": "plain", "map": "barycentric"},
    "reflecting": {"kernel": "reflect", "map": "barycentric"},
    "reflecting, debiased": {"kernel": "reflect", "map": "debiased"},
    "reflecting, extrapolated": {"kernel": "reflect", "map": "barycentric"},
}
SOLVE = "solve"


@dataclass(frozen=True)
class CostRow:
    """One map: who made it, on which grid, and what it cost.

    Attributes
    ----------
    method, n
        "solve" or one of `WAYS`, and cells an axis.
    eps : float or None
        Regularisation, length^2; that of extrapolated maps is the larger of both.
    map_l2 : float
        (int |T - grad ubar|^2 dmu)^{1/2} over the cell centres, length.
    iterations : int
        Newton steps of all grids; sweeps on the finest grid (of both runs, where there are two).
    seconds : float
        Without compilation; of both runs, where there are two.
    converged : bool
        Whether every run met its tolerance.
    """

    method: str
    n: int
    eps: float | None
    map_l2: float
    iterations: int
    seconds: float
    converged: bool


@dataclass(frozen=True)
class Cost(Rows):
    """What `cost` found for the case of this name; rows by grid, then by method, then by eps.

    ``tol`` is the L1 marginal error that Sinkhorn's runs were asked for.
    """

    case: str
    dim: int
    tol: float
    rows: tuple[CostRow, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods in the order of the rows, `solve` first."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cells an axis of the grids, coarse to fine."""
        return tuple(dict.fromkeys(row.n for row in self.rows))

    def of(self, method: str, n: int | None = None) -> tuple[CostRow, ...]:
        """The rows of a method, on one grid or on all."""
        if method not in self.methods:
            raise InvalidInputError(f"method is {method!r}; there are {', '.join(self.methods)}")
        return tuple(r for r in self.rows if r.method == method and n in (None, r.n))

    def best(self, method: str, n: int) -> CostRow:
        """The most accurate row of a method on a grid."""
        return min(self.of(method, n), key=lambda row: row.map_l2)

    def table(self) -> str:
        """The rows as text."""
        rows = [
            [r.method, r.n, "-" if r.eps is None else f"{r.eps:g}", r.map_l2, r.iterations,
             r.seconds, "" if r.converged else "not converged"]
            for r in self.rows
        ]  # fmt: skip
        heads = ["method", "n", "eps", "map L2", "iterations", "seconds", ""]
        return f"{self.case}, marginal error {self.tol:g}\n{text_table(heads, rows)}"


def cost(
    case: Case,
    eps: Sequence[float] = (4e-3, 2e-3, 1e-3, 5e-4, 2.5e-4),
    sizes: Sequence[int] = (64, 128),
    *,
    methods: Sequence[str] = tuple(WAYS),
    tol: float = 1e-6,
    max_iterations: int = 10_000,
) -> Cost:
    """Compare time, iterations and map error of Sinkhorn's algorithm with those of `solve`.

    Parameters
    ----------
    case : Case
        A case with a map in closed form.
    eps : sequence of float
        Numbers that fall, length^2; extrapolated maps pair each with its half, where that is given
        too.
    sizes : sequence of int
        Cells an axis of the grids.
    methods : sequence of str
        Names from `WAYS`; `solve` is always there.
    tol : float
        L1 marginal error that Sinkhorn's runs are asked for.
    max_iterations : int
        Most sweeps of a run.

    Notes
    -----
    One thread, every run by itself from a cold start.  An extrapolated map costs both of its runs.

    Examples
    --------
    >>> import pma_grid as pma
    >>> found = pma.convergence.cost(pma.cases.manufactured(1), eps=(2e-3, 1e-3), sizes=(64,))
    >>> bool(found.best("solve", 64).map_l2 < found.best("plain", 64).map_l2)
    True
    """
    if case.gradient is None:
        raise InvalidInputError(
            f"case {case.name} has no map in closed form; take for example cases.manufactured(2)"
        )
    for method in methods:
        if method not in WAYS:
            raise InvalidInputError(f"method is {method!r}; there are {', '.join(WAYS)}")
    chosen = ordered(eps, "eps", "fall")
    if not sizes:
        raise InvalidInputError("sizes is empty; name at least one: for example (64, 128)")
    rows: list[CostRow] = []
    for n in sizes:
        problem = case.problem((n,) * case.dim)
        error = _map_error(case, problem)
        ot = solve(problem)
        seconds = float(ot.stats["seconds"])
        rows.append(
            CostRow(SOLVE, n, None, error(ot.gradient), newton_steps(ot), seconds, ot.converged)
        )
        for method in methods:
            runs = [
                sinkhorn(
                    problem, e, tol=tol, max_iterations=max_iterations, threads=1, **WAYS[method]
                )
                for e in chosen
            ]
            rows += _rows(method, n, runs, error)
    return Cost(case.name, case.dim, tol, tuple(rows))


def newton_steps(transport: Transport) -> int:
    """Newton steps of `solve` on all grids."""
    return sum(int(level["newton"]) for level in transport.stats["levels"])


def _map_error(case: Case, problem: Problem) -> Callable[[Array], float]:
    """The mu-weighted L2 distance of a map to the exact one."""
    assert case.gradient is not None
    exact = case.gradient(*problem.source.grid.coordinates())
    masses = problem.source.values * problem.source.grid.cell_volume

    def error(gradient: Array) -> float:
        return float(np.sqrt((masses * ((gradient - exact) ** 2).sum(axis=0)).sum()))

    return error


def _rows(
    method: str, n: int, runs: Sequence[EntropicTransport], error: Callable[[Array], float]
) -> list[CostRow]:
    """A row a run; of extrapolated maps, a row for every run whose half was run too."""
    if not method.endswith("extrapolated"):
        return [_row(method, n, error(run.gradient), run) for run in runs]
    return [
        _row(method, n, error(extrapolated(half.gradient, whole.gradient)), whole, half)
        for whole, half in itertools.pairwise(runs)
        if np.isclose(whole.eps, 2 * half.eps)
    ]


def _row(method: str, n: int, error: float, *runs: EntropicTransport) -> CostRow:
    """One map and what the runs that made it cost together."""
    return CostRow(
        method,
        n,
        runs[0].eps,
        error,
        sum(int(run.stats["iterations"]) for run in runs),
        sum(float(run.stats["seconds"]) for run in runs),
        all(run.converged for run in runs),
    )
