"""The parabolic Monge-Ampère flow at given times, far sharper than the grid that it is read on.

The flow runs on the grid itself and on three times the cells an axis with a third of the step.
Every third centre of the finer grid is a centre of the coarser one, so that nothing has to be
interpolated; the errors, of second order in the spacing and in the step, are a ninth of each other,
and

    u = (9 u_fine - u_coarse) / 8

is free of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline

from pma_grid.flow import observables
from pma_grid.flow.evolution import iterate
from pma_grid.flow.schedules import constant
from pma_grid.flow.state import State
from pma_grid.flow.stepping import TRBDF2
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError

# Cells of the finer grid along a cell of the coarser one; odd, so that centres coincide.
FINER = 3


@dataclass(frozen=True, eq=False)
class Reference:
    """u_t and grad u_t at the cell centres of a grid at given times, and how sharp they are.

    Attributes
    ----------
    times : tuple of float
        The times, length^2.
    potentials : tuple of ndarray, shape ``source.shape``
        u_t with its constant, one a time, length^2.
    gradients : tuple of ndarray, shape (d, *source.shape)
        grad u_t by centred differences, one a time, length.
    defects : tuple of ndarray, shape ``source.shape``
        |u_fine - u_coarse| / 8, the estimated error of the finer flow itself, length^2: a bound of
        that of the extrapolated values.
    map_floor : float
        Largest of the same of grad u, length.
    spread : float
        Largest eigenvalue of A = (D2u)^{-1} over cells and times, dimensionless.
    """

    times: tuple[float, ...]
    potentials: tuple[Array, ...]
    gradients: tuple[Array, ...]
    defects: tuple[Array, ...]
    map_floor: float
    spread: float


def reference(
    problem: Problem, times: Sequence[float], *, finer: Problem | None = None, steps: int = 16
) -> Reference:
    """Run the flow of a problem sharply, and keep it at given times.

    Parameters
    ----------
    problem : Problem
        Smooth positive densities.
    times : sequence of float
        Times in increasing order, length^2.
    finer : Problem, optional
        The same densities on three times the cells an axis, axes of one cell kept; default
        `refined`.
    steps : int
        Steps of TR-BDF2 from one time to the next on the grid itself, three times as many on the
        finer one.
    """
    fine = refined(problem) if finer is None else _checked(problem, finer)
    pick = tuple(slice(None) if n == 1 else slice(1, None, FINER) for n in problem.source.shape)
    ours = _states(problem, times, steps)
    theirs = _states(fine, times, FINER * steps)
    potentials, gradients, defects, map_floor = [], [], [], 0.0
    for coarse, sharp in zip(ours, theirs, strict=True):
        pairs = (
            (coarse.potential, sharp.potential[pick]),
            (coarse.gradient, sharp.gradient[(slice(None), *pick)]),
        )
        u, p = ((FINER**2 * b - a) / (FINER**2 - 1) for a, b in pairs)
        potentials.append(u)
        gradients.append(p)
        errors = [np.abs(b - a) / (FINER**2 - 1) for a, b in pairs]
        defects.append(errors[0])
        map_floor = max(map_floor, float(errors[1].max()))
    spread = max(float(np.linalg.eigvalsh(observables.inverse_hessian(s)).max()) for s in ours)
    return Reference(
        tuple(map(float, times)), tuple(potentials), tuple(gradients), tuple(defects), map_floor,
        spread,
    )  # fmt: skip


def _states(problem: Problem, times: Sequence[float], steps: int) -> list[State]:
    """States of the flow at the times; steps grow with the gaps, as the flow slows down."""
    found: list[State] = []
    before = 0.0
    for time in times:
        state = found[-1] if found else None
        run = iterate(
            problem, schedule=constant((time - before) / steps), time=time, scheme=TRBDF2(),
            initial=state,
        )  # fmt: skip
        *_, last = run
        found.append(last)
        before = time
    return found


def refined(problem: Problem) -> Problem:
    """The densities on three times the cells an axis, smooth, with the same mass in every old cell.

    Along each axis a quintic spline through the sums of masses at the edges of the cells: its
    differences are averages over the finer cells, of sixth order up to the faces.
    """
    return Problem(*(_refined(getattr(problem, side), side) for side in ("source", "target")))


def _refined(density: Density, side: str) -> Density:
    values = np.array(density.values)
    for axis, n in enumerate(density.shape):
        if n > 1:
            values = _finer_averages(values, axis)
    if not (values > 0).all():
        raise InvalidInputError(
            f"{side} has zeros, or is too rough for a smooth function between its cells; pass "
            "finer=, the problem on three times the cells, or a smoother density with a floor"
        )
    return Density(values, finer_grid(density.grid))


def _finer_averages(values: Array, axis: int) -> Array:
    """Averages over thirds of cells along an axis."""
    n = values.shape[axis]
    degree = next(k for k in (5, 3, 1) if n >= k)
    edges = np.arange(n + 1.0)
    sums = np.insert(np.cumsum(values, axis=axis), 0, 0.0, axis=axis)
    spline = make_interp_spline(edges, sums, k=degree, axis=axis)
    fine = spline(np.arange(FINER * n + 1) / FINER)
    return np.asarray(FINER * np.diff(fine, axis=axis))


def finer_grid(grid: Grid) -> Grid:
    """Three times the cells along every axis of more than one."""
    return Grid(tuple(FINER * n if n > 1 else 1 for n in grid.shape), grid.lower, grid.upper)


def _checked(problem: Problem, finer: Problem) -> Problem:
    """The finer problem, if its grids are."""
    for side in ("source", "target"):
        grid, given = finer_grid(getattr(problem, side).grid), getattr(finer, side).grid
        if given != grid:
            raise InvalidInputError(
                f"the {side} of finer lives on {given}, it must be {grid}: three times the cells "
                "of problem along each axis, on the same box"
            )
    return finer
