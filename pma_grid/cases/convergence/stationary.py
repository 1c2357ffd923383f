"""Convergence studies: errors of `solve` against closed forms, over grids, with observed orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from pma_grid.cases import Case
from pma_grid.problem.problem import Problem
from pma_grid.runtime.errors import InvalidInputError
from pma_grid.stationary.solving import solve as default_solve
from pma_grid.transport.transport import Transport

# Algebraic error far below the discretisation's, so that the orders are those of the scheme.
STUDY_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Row:
    """Errors on one grid; NaN where the case has no closed form.

    ``n`` cells an axis, ``h`` the spacing over the box; potential up to a constant; map errors
    over components and cells (max) and mu-weighted (L2); ``w2_squared`` relative.
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
class Study:
    """Rows of a convergence study, coarse to fine."""

    case: str
    dim: int
    rows: tuple[Row, ...]

    def errors(self, name: str) -> np.ndarray:
        """One column in absolute value."""
        if name not in ERRORS:
            raise InvalidInputError(f"name is {name!r}; the errors are {', '.join(ERRORS)}")
        return np.abs([getattr(row, name) for row in self.rows])

    def order(self, name: str) -> float:
        """Least-squares slope of log error over log h; NaN with fewer than two finite errors."""
        h = np.array([row.h for row in self.rows])
        errors = self.errors(name)
        good = np.isfinite(errors) & (errors > 0)
        if np.count_nonzero(good) < 2:
            return math.nan
        return float(np.polyfit(np.log(h[good]), np.log(errors[good]), 1)[0])

    def orders(self, name: str) -> list[float]:
        """Slopes between successive grids."""
        h, errors = [row.h for row in self.rows], self.errors(name)
        return [
            math.log(errors[k] / errors[k + 1]) / math.log(h[k] / h[k + 1])
            if errors[k] > 0 and errors[k + 1] > 0
            else math.nan
            for k in range(len(h) - 1)
        ]

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

    def to_dict(self) -> dict[str, object]:
        """Rows and orders for JSON; what is not finite becomes None."""
        orders = {name: _finite(self.order(name)) for name in ERRORS}
        rows = [{k: _finite(v) for k, v in asdict(row).items()} for row in self.rows]
        return {"case": self.case, "dim": self.dim, "rows": rows, "orders": orders}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def study(
    case: Case,
    sizes: tuple[int, ...],
    *,
    solve: Callable[[Problem], Transport] | None = None,
) -> Study:
    """Solve a case on grids of n cells an axis and compare with its closed form.

    Parameters
    ----------
    case : Case
    sizes : sequence of int
        Increasing, at least two.
    solve : callable, optional
        Problem -> Transport; default `pma_grid.solve` with tolerance 1e-9.

    Returns
    -------
    Study

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
    solver = solve or (lambda problem: default_solve(problem, tol=STUDY_TOLERANCE, fallback=False))
    return Study(case.name, case.dim, tuple(_row(case, n, solver) for n in sizes))


def _row(case: Case, n: int, solver: Callable[[Problem], Transport]) -> Row:
    problem = case.problem((n,) * case.dim)
    ot = solver(problem)
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
