"""`fixed_point_bias`: what the fixed point of Sinkhorn's algorithm misses the Brenier potential by.

With mu x nu as reference measure it is -(eps/2) f to first order, f = -log mu of the same side:

    u^eps = ubar - (eps/2) f + constant + O(eps^2),
    v^eps = ubar* - (eps/2) g + constant + O(eps^2).

`warm_starts` starts `solve` from the one and Sinkhorn's algorithm from the other: with that put in
or taken out a start is of second order in eps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.cases.convergence.closed_forms import newton_steps
from pma_grid.cases.convergence.limit import EPS, face_distance
from pma_grid.cases.convergence.rows import FITTED_HALVINGS, Rows, fitted_slope, ordered
from pma_grid.cases.stationary import Case
from pma_grid.entropic.solving import Kernel, sinkhorn
from pma_grid.flow.stepping.scheme import half_oscillation
from pma_grid.grid.splines import log_centre_values
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, ConvergenceError, InvalidInputError, text_table
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# L1 error of the marginals at the fixed points; errors of u are about eps times that.
MARGINAL_TOLERANCE = 1e-10


@dataclass(frozen=True)
class BiasRow:
    """One eps: sizes are half oscillations, as potentials at a fixed point have no gauge.

    Attributes
    ----------
    eps : float
        Regularisation, length^2.
    error : float
        Size of u^eps - ubar, length^2.
    remainder, interior : float
        Size of u^eps - ubar + (eps/2) f over the box, and farther than the margin from the faces.
    coefficient : float
        Least-squares factor of eps f in u^eps - ubar over the interior; -1/2 in the limit.
    iterations : int
        Sweeps that Sinkhorn's algorithm took.
    """

    eps: float
    error: float
    remainder: float
    interior: float
    coefficient: float
    iterations: int


@dataclass(frozen=True)
class Bias(Rows):
    """What `fixed_point_bias` found: a row for every eps, which falls.

    ``n`` counts the cells an axis; the interior is farther than ``margin`` from the faces, length.
    """

    case: str
    kernel: str
    n: int
    margin: float
    rows: tuple[BiasRow, ...]

    COLUMNS = ("error", "remainder", "interior", "coefficient")

    @property
    def eps(self) -> Array:
        """The eps of the rows."""
        return np.array([row.eps for row in self.rows])

    def errors(self, name: str) -> Array:
        """One of `COLUMNS`, by eps."""
        return self.column(name)

    def slope(self, name: str) -> float:
        """Least-squares slope in eps over the last three halvings."""
        return fitted_slope(self.eps, self.errors(name), FITTED_HALVINGS + 1)

    @property
    def limit(self) -> float:
        """The coefficient extrapolated to eps = 0 from the last two rows."""
        (a, b), (x, y) = self.errors("coefficient")[-2:], self.eps[-2:]
        return float(b + (b - a) * y / (x - y))

    def table(self) -> str:
        """Rows and slopes as text."""
        rows: list[list[object]] = [
            [f"{r.eps:g}", r.error, r.remainder, r.interior, f"{r.coefficient:.4f}", r.iterations]
            for r in self.rows
        ]
        slopes = [f"{self.slope(name):.2f}" for name in ("error", "remainder", "interior")]
        rows.append(["slope", *slopes, f"-> {self.limit:.4f}", ""])
        heads = ["eps", "u - ubar", "+ eps f/2", "interior", "of eps f", "sweeps"]
        where = f"{self.case}, {self.n} cells an axis, {self.kernel} kernel"
        return f"{where}; interior: {self.margin:g} from the faces\n{text_table(heads, rows)}"

    def _conclusions(self) -> dict[str, Any]:
        slopes = {n: self.slope(n) for n in ("error", "remainder", "interior")}
        return {"slopes": slopes, "limit": self.limit}


def fixed_point_bias(
    case: Case,
    eps: Sequence[float] = EPS,
    *,
    n: int = 256,
    kernel: Kernel = "reflect",
    margin: float = 0.25,
) -> Bias:
    """Compare Sinkhorn's fixed points with the Brenier potential of a case, as eps falls.

    Parameters
    ----------
    case : Case
        A case with a potential in closed form.
    eps : sequence of float
        At least two numbers that fall, length^2.
    n : int
        Cells an axis.
    kernel : {"reflect", "plain"}
        With the plain kernel the remainder is of first order at the faces.
    margin : float
        Distance of the interior from the faces, length; it must leave some of the box.

    Examples
    --------
    >>> import pma_grid as pma
    >>> found = pma.convergence.fixed_point_bias(pma.cases.manufactured(1))
    >>> bool(abs(found.limit + 0.5) < 0.01), bool(found.slope("interior") > 1.9)
    (True, True)
    """
    if case.potential is None:
        raise InvalidInputError(
            f"case {case.name} has no potential in closed form; take for example "
            "cases.manufactured(2)"
        )
    chosen = ordered(eps, "eps", "fall")
    if len(chosen) < 2:
        raise InvalidInputError(f"eps is {chosen}; a slope needs at least two of them")
    problem = case.problem((n,) * case.dim)
    grid = problem.source.grid
    inside = face_distance(grid) > margin
    if not inside.any():
        raise InvalidInputError(
            f"margin is {margin!r}, which leaves nothing of the box; take a smaller one"
        )
    exact = case.potential(*grid.coordinates())
    f = -log_centre_values(np.array(problem.source.values))
    centred = f[inside] - f[inside].mean()
    rows = []
    for value in chosen:
        sk = sinkhorn(problem, value, tol=MARGINAL_TOLERANCE, kernel=kernel, threads=1)
        bias = sk.potential - exact
        remainder = bias - predicted_bias(value, f)
        rows.append(
            BiasRow(
                value,
                half_oscillation(bias),
                half_oscillation(remainder),
                half_oscillation(remainder[inside]),
                float((bias[inside] * centred).sum() / (centred**2).sum()) / value,
                int(sk.stats["iterations"]),
            )
        )
    return Bias(case.name, kernel, n, float(margin), tuple(rows))


def predicted_bias(eps: float, f: Array) -> Array:
    """-(eps/2) f, of first order and up to a constant."""
    return np.asarray(-0.5 * eps * f)


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
SOLVE_TOLERANCE, SWEEPS_TOLERANCE, MOST_SWEEPS = 1e-8, 1e-9, 10_000
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
        "tol": SWEEPS_TOLERANCE, "kernel": kernel, "max_iterations": MOST_SWEEPS, "threads": 1
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
