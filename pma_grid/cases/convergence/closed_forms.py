"""Studies against closed forms, over grids: errors of `solve` with observed orders, and costs.

`cost` sets seconds and iterations beside the error of the map, for `solve` and for Sinkhorn's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.cases.convergence.limit import extrapolated
from pma_grid.cases.convergence.rows import Rows, fitted_slope, local_slopes, ordered
from pma_grid.cases.stationary import Case
from pma_grid.entropic.solving import sinkhorn
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, text_table
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# Algebraic error far below the discretisation's, so that the orders are those of the scheme.
STUDY_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Row:
    """Errors on one grid; NaN where the case has no closed form.

    Attributes
    ----------
    n : int
        Cells an axis.
    h : float
        Spacing over the side of the box.
    potential_max, potential_l2 : float
        Errors of the potential, up to a constant: largest, and in L2(mu), length^2.
    map_max, map_l2 : float
        Errors of the map: largest over components and cells, and in L2(mu), length.
    w2_squared : float
        Relative error of W2^2.
    mass_constant : float
        alpha, how far the discrete pullback is from a probability.
    newton, linear : int
        Newton and linear iterations on the finest grid.
    seconds : float
        Time without compilation.
    """

    n: int
    h: float
    potential_max: float
    potential_l2: float
    map_max: float
    map_l2: float
    w2_squared: float
    mass_constant: float
    newton: int
    linear: int
    seconds: float


ERRORS = ("potential_max", "potential_l2", "map_max", "map_l2", "w2_squared", "mass_constant")


@dataclass(frozen=True)
class Study(Rows):
    """Rows of a convergence study of the case of this name, from coarse grids to fine ones."""

    case: str
    dim: int
    rows: tuple[Row, ...]

    COLUMNS = ERRORS

    def errors(self, name: str) -> Array:
        """One column of `ERRORS` in absolute value, by grid."""
        return np.asarray(np.abs(self.column(name)))

    def order(self, name: str) -> float:
        """Observed order: least-squares slope of log error over log h, NaN below two errors."""
        return fitted_slope([row.h for row in self.rows], self.errors(name))

    def orders(self, name: str) -> list[float]:
        """Slopes between successive grids."""
        h = np.array([row.h for row in self.rows])
        return [float(slope) for slope in local_slopes(h, self.errors(name))]

    def table(self) -> str:
        """Errors and observed orders as text."""
        head = ["n", "u max", "u L2", "map max", "map L2", "W2^2 rel", "alpha", "Newton", "cycles"]
        lines = ["".join(f"{name:>11}" for name in [*head, "seconds"])]
        for row in self.rows:
            cells = [f"{row.n:d}", *(f"{getattr(row, name):.2e}" for name in ERRORS)]
            cells += [f"{row.newton:d}", f"{row.linear:d}", f"{row.seconds:.2f}"]
            lines.append("".join(f"{cell:>11}" for cell in cells))
        cells = ["order", *(f"{self.order(name):.2f}" for name in ERRORS)]
        lines.append("".join(f"{cell:>11}" for cell in cells))
        return "\n".join(lines)

    def _conclusions(self) -> dict[str, Any]:
        return {"orders": {name: self.order(name) for name in ERRORS}}


def study(case: Case, sizes: tuple[int, ...]) -> Study:
    """Solve a case on grids of n cells an axis and compare with its closed form.

    Parameters
    ----------
    case : Case
        One of `pma_grid.cases` with a potential, a map or a value that is known.
    sizes : sequence of int
        Cells an axis of the grids, increasing, at least two.

    Examples
    --------
    >>> import pma_grid as pma
    >>> result = pma.convergence.study(pma.cases.quantile(), (32, 64, 128))
    >>> bool(result.order("map_max") > 1.9)
    True
    """
    sizes = tuple(sizes)
    if len(sizes) < 2 or any(b <= a for a, b in itertools.pairwise(sizes)):
        raise InvalidInputError(
            f"sizes is {sizes}; an order needs at least two sizes in increasing order: "
            "for example (32, 64, 128)"
        )
    return Study(case.name, case.dim, tuple(_errors(case, n) for n in sizes))


def _errors(case: Case, n: int) -> Row:
    """The errors of `solve` on n cells an axis."""
    problem = case.problem((n,) * case.dim)
    ot = solve(problem, tol=STUDY_TOLERANCE, fallback=False)
    source = problem.source
    x = source.grid.coordinates()
    masses = source.values * source.grid.cell_volume
    potential = np.full(source.shape, np.nan)
    gradient = np.full(x.shape, np.nan)
    if case.potential is not None:
        potential = ot.potential - case.potential(*x)
        potential -= potential.mean()
    if case.gradient is not None:
        gradient = ot.gradient - case.gradient(*x)
    last = ot.stats["levels"][-1]
    return Row(
        n=n,
        h=1.0 / n,
        potential_max=float(np.abs(potential).max()),
        potential_l2=float(np.sqrt((masses * potential**2).sum())),
        map_max=float(np.abs(gradient).max()),
        map_l2=float(np.sqrt((masses * (gradient**2).sum(axis=0)).sum())),
        w2_squared=ot.w2_squared / case.w2_squared - 1 if case.w2_squared else math.nan,
        mass_constant=ot.stats["mass_constant"],
        newton=last["newton"],
        linear=last["linear"],
        seconds=ot.stats["seconds"],
    )


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
