"""`fixed_point_bias`: what the fixed point of Sinkhorn's algorithm misses the Brenier potential by.

With mu x nu as reference measure it is -(eps/2) f to first order, f = -log mu of the same side:

    u^eps = ubar - (eps/2) f + constant + O(eps^2),
    v^eps = ubar* - (eps/2) g + constant + O(eps^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pma_grid.cases.convergence.limit import EPS, face_distance
from pma_grid.cases.convergence.rows import FITTED_HALVINGS, Rows, fitted_slope, ordered
from pma_grid.cases.stationary import Case
from pma_grid.entropic.solving import Kernel, sinkhorn
from pma_grid.flow.stepping.scheme import half_oscillation
from pma_grid.grid.splines import log_centre_values
from pma_grid.runtime import Array, InvalidInputError, text_table

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
