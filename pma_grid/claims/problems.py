"""The problems that the claims are checked on: contrasted, not log-concave, without symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.cases import manufactured
from pma_grid.cases.stationary import averaged_pair
from pma_grid.flow.state import State
from pma_grid.flow.stepping import ImplicitEuler
from pma_grid.flow.stepping.implicit import default_linear_solver
from pma_grid.grid.grid import Grid
from pma_grid.linsolve import LinearSolver
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array
from pma_grid.stationary.solving import solve
from pma_grid.transport.transport import Transport

# Steps solved far below everything that the claims compare.
SHARP: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-13}


def sharp(linear_solver: LinearSolver | None = None) -> ImplicitEuler:
    """Implicit Euler solved to rounding."""
    return ImplicitEuler(linear_solver or default_linear_solver(), **SHARP)


def settled(problem: Problem, tol: float) -> Transport:
    """Where flows end: the equation with the target's point values, which they use."""
    return solve(problem, tol=tol, averaging=False, fallback=False)


def bumps(dim: int, n: int) -> Problem:
    """Bumps on a floor to a Gaussian cut to the unit box; 3-D: the manufactured pair."""
    if dim == 3:
        return manufactured(3).problem((n, n, n))
    grid = Grid((n,) * dim)
    if dim == 1:
        return averaged_pair(
            lambda x: 0.15
            + np.exp(-((x - 0.3) ** 2) / 0.0128)
            + 0.7 * np.exp(-((x - 0.7) ** 2) / 0.02),
            lambda y: np.exp(-((y - 0.4) ** 2) / 0.245),
            grid, grid,
        )  # fmt: skip
    return averaged_pair(
        lambda x, y: 0.2
        + np.exp(-((x - 0.3) ** 2 + (y - 0.35) ** 2) / 0.03)
        + 0.7 * np.exp(-((x - 0.7) ** 2 + (y - 0.6) ** 2) / 0.04),
        lambda x, y: np.exp(
            -((x - 0.4) ** 2 + 0.5 * (x - 0.4) * (y - 0.6) + (y - 0.6) ** 2) / 0.3
        ),
        grid, grid,
    )  # fmt: skip


def gentle(dim: int, n: int) -> Problem:
    """Log densities of low curvature with slopes at the faces, 1-D and 2-D: asymptotic early."""
    grid = Grid((n,) * dim)
    if dim == 1:
        return averaged_pair(
            lambda x: np.exp(-1.5 * (x - 0.7) ** 2 + 0.3 * np.sin(3 * x)),
            lambda y: np.exp(-1.2 * (y - 0.3) ** 2),
            grid, grid,
        )  # fmt: skip
    return averaged_pair(
        lambda x, y: np.exp(-1.5 * (x - 0.7) ** 2 - (y - 0.4) ** 2 - (x - 0.7) * (y - 0.4)),
        lambda x, y: np.exp(
            -1.2 * (x - 0.3) ** 2 - 0.8 * (y - 0.6) ** 2 + 0.6 * (x - 0.3) * (y - 0.6)
        ),
        grid, grid,
    )  # fmt: skip


def conjugate_integral(state: State) -> float:
    """Int u* dnu, of the soft conjugate in Sinkhorn's flow."""
    return state.operator.conjugate_integral(state.phi, state.offset)


def halved(first: float, count: int) -> tuple[float, ...]:
    """So many numbers, each half of the one before."""
    return tuple(first / 2**k for k in range(count))


def spacings(sizes: Sequence[int]) -> Array:
    """Spacings of grids of so many cells an axis on the unit box."""
    return np.array([1.0 / n for n in sizes])


def order(h: ArrayLike, errors: ArrayLike) -> float:
    """Least-squares slope of log error over log h."""
    return float(np.polyfit(np.log(h), np.log(np.abs(errors)), 1)[0])
