"""Convergence studies: errors of `solve` against closed forms, over grids, with observed orders."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.cases.convergence.rows import Rows, fitted_slope, local_slopes
from pma_grid.cases.stationary import Case
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.stationary.solving import solve

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
    return Study(case.name, case.dim, tuple(_row(case, n) for n in sizes))


def _row(case: Case, n: int) -> Row:
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
