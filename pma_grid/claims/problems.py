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
from pma_grid.flow.stepping.stage import default_linear_solver
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
    mu, nu = (_source_1d, _target_1d) if dim == 1 else (_source_2d, _target_2d)
    return averaged_pair(mu, nu, grid, grid)


def _source_1d(x: Array) -> Array:
    left, right = np.exp(-((x - 0.3) ** 2) / 0.0128), np.exp(-((x - 0.7) ** 2) / 0.02)
    return np.asarray(0.15 + left + 0.7 * right)


def _target_1d(y: Array) -> Array:
    return np.asarray(np.exp(-((y - 0.4) ** 2) / 0.245))


def _source_2d(x: Array, y: Array) -> Array:
    one = np.exp(-((x - 0.3) ** 2 + (y - 0.35) ** 2) / 0.03)
    two = np.exp(-((x - 0.7) ** 2 + (y - 0.6) ** 2) / 0.04)
    return np.asarray(0.2 + one + 0.7 * two)


def _target_2d(x: Array, y: Array) -> Array:
    return np.asarray(
        np.exp(-((x - 0.4) ** 2 + 0.5 * (x - 0.4) * (y - 0.6) + (y - 0.6) ** 2) / 0.3)
    )


def gentle(dim: int, n: int) -> Problem:
    """Log densities of low curvature with slopes at the faces, 1-D and 2-D: asymptotic early."""
    grid = Grid((n,) * dim)
    mu, nu = (_gentle_1d, _gentle_target_1d) if dim == 1 else (_gentle_2d, _gentle_target_2d)
    return averaged_pair(mu, nu, grid, grid)


def _gentle_1d(x: Array) -> Array:
    return np.asarray(np.exp(-1.5 * (x - 0.7) ** 2 + 0.3 * np.sin(3 * x)))


def _gentle_target_1d(y: Array) -> Array:
    return np.asarray(np.exp(-1.2 * (y - 0.3) ** 2))


def _gentle_2d(x: Array, y: Array) -> Array:
    a, b = x - 0.7, y - 0.4
    return np.asarray(np.exp(-1.5 * a * a - b * b - a * b))


def _gentle_target_2d(x: Array, y: Array) -> Array:
    a, b = x - 0.3, y - 0.6
    return np.asarray(np.exp(-1.2 * a * a - 0.8 * b * b + 0.6 * a * b))


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
