"""The same densities given on more cells, where an axis has too few for an equation.

A difference scheme knows nothing of a density from one or two cells, and next to nothing from
four: cells are divided first.  The averages over the cells as given stay; between them the density
is the positive quadratic spline with these averages, which is the smooth model that W2 is given
for.  From one or two cells no shape can be told: there it is constant on every cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from pma_grid.grid.averaging import averaged
from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import histospline
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array

# Cells of an axis from which the equation is solved on it as it is.
FEWEST_CELLS = 8
# Fewest cells of an axis that tell a shape.
FEWEST_SHAPED_CELLS = 3
# Change of W2^2 with finer cells, in squared spacings, that is small enough: what two readings of
# the same cell averages differ by.
SETTLED_CHANGE_H2 = 0.1
# Divisions beyond the first: each halves the spacing along the axes in question.
MOST_HALVINGS = 2
# Cells of the finer grids beyond which they are not made only to see whether W2 still changes.
MOST_FINER_CELLS = 1 << 15
# Share of the mean density to which empty cells are raised while a spline is made.
EMPTY_CELL_SHARE = 1e-12

# Pieces that a cell is divided into, an entry an axis.
Factors = tuple[int, ...]


class HasW2(Protocol):
    """A solution whose W2^2 is known."""

    @property
    def w2_squared(self) -> float:
        """length^2."""


Solved = TypeVar("Solved", bound=HasW2)


def first_factors(problem: Problem) -> tuple[Factors, Factors]:
    """Pieces for the cells of source and target that make `FEWEST_CELLS` of an axis with fewer.

    Axes on which neither side has more than one cell stay: nothing varies along them.  So does the
    target where it has a domain, whose edge cuts cells.
    """
    shapes = problem.source.shape, problem.target.shape
    alive = [max(pair) > 1 for pair in zip(*shapes, strict=True)]
    source, target = (
        tuple(
            -(-FEWEST_CELLS // n) if varies and n < FEWEST_CELLS else 1
            for n, varies in zip(shape, alive, strict=True)
        )
        for shape in shapes
    )
    return source, target if problem.target_domain is None else (1,) * problem.dim


def has_few_cells(problem: Problem) -> bool:
    """Whether `first_factors` divides any cells."""
    return any(f > 1 for side in first_factors(problem) for f in side)


def refined(problem: Problem, factors: tuple[Factors, Factors]) -> Problem:
    """The problem with the cells of source and target divided into ``factors`` pieces an axis."""
    source, target = (
        divided(density, pieces)
        for density, pieces in zip((problem.source, problem.target), factors, strict=True)
    )
    return Problem(source, target, target_domain=problem.target_domain)


def halved_cells(problem: Problem) -> Problem:
    """The problem with the cells of both sides halved along the axes on which anything varies."""
    shapes = zip(problem.source.shape, problem.target.shape, strict=True)
    factors = tuple(2 if max(pair) > 1 else 1 for pair in shapes)
    return refined(problem, (factors, factors))


def divided(density: Density, factors: Factors) -> Density:
    """A density on cells divided into ``factors`` pieces an axis, with the averages it had."""
    if all(f == 1 for f in factors):
        return density
    grid = density.grid
    shape = tuple(n * f for n, f in zip(grid.shape, factors, strict=True))
    # a constant on cells is its own spline along axes that stay, and along those without a shape
    given = density.relative
    values = np.maximum(given, EMPTY_CELL_SHARE)
    for axis, f in enumerate(factors):
        if f > 1:
            values = _along(values, axis, f)
    # positive splines come close to the averages: what is left is a factor for each cell
    scale = given / averaged(values, grid.shape)
    for axis, f in enumerate(factors):
        scale = scale.repeat(f, axis)
    fine = Grid(shape, grid.lower, grid.upper)
    return Density._named(values * scale, fine, density.floor, "values", density.mass)


def _along(values: Array, axis: int, f: int) -> Array:
    """Averages over f pieces of every cell along an axis, by a spline of its lines."""
    n = values.shape[axis]
    if n < FEWEST_SHAPED_CELLS:
        return values.repeat(f, axis)
    lines = np.moveaxis(values, axis, -1)
    coefficients = np.stack([histospline(line) for line in lines.reshape(-1, n)])
    padded = np.pad(coefficients, ((0, 0), (1, 1)), mode="symmetric")
    ends = np.arange(f + 1) / f - 0.5
    # integrals of the three quadratic B-splines up to an end, and so over pieces
    upto = np.stack([-((0.5 - ends) ** 3) / 6, 0.75 * ends - ends**3 / 3, (0.5 + ends) ** 3 / 6])
    weights = f * np.diff(upto)
    pieces = sum(padded[:, k : k + n, None] * weights[k] for k in range(3))
    fine = np.asarray(pieces).reshape(*lines.shape[:-1], n * f)
    return np.moveaxis(fine, -1, axis)


def settled(problem: Problem, solve: Callable[[Problem], Solved]) -> Solved:
    """Solve a problem with axes of few cells on ever finer ones, until W2^2 changes no more.

    Parameters
    ----------
    problem : Problem
        One that `first_factors` divides.
    solve : callable
        Makes a solution of a problem on the grids as they are.

    Returns
    -------
    Solved
        The solution on the finest grids that were tried: W2^2 has changed by less than a tenth of
        the squared spacing there, or the cells were divided `MOST_HALVINGS` times more, or there
        would be too many.
    """
    first = first_factors(problem)
    found = solve(refined(problem, first))
    for halving in range(1, MOST_HALVINGS + 1):
        more = [tuple(f << halving if f > 1 else 1 for f in side) for side in first]
        finer = refined(problem, (more[0], more[1]))
        if max(finer.source.grid.size, finer.target.grid.size) > MOST_FINER_CELLS:
            break
        before, found = found.w2_squared, solve(finer)
        small = SETTLED_CHANGE_H2 * _spacing(problem, finer) ** 2
        if abs(found.w2_squared - before) <= small:
            break
    return found


def _spacing(problem: Problem, finer: Problem) -> float:
    """The smallest spacing of the data along the axes that were divided."""
    pairs = (problem.source, finer.source), (problem.target, finer.target)
    divided_axes = {
        axis
        for given, fine in pairs
        for axis in range(problem.dim)
        if given.shape[axis] != fine.shape[axis]
    }
    return min(given.grid.spacing[axis] for given, _ in pairs for axis in divided_axes)
