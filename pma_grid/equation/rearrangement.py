"""Monotone rearrangements along the axes: the map in closed form where densities are products."""

from __future__ import annotations

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import cell_means, histospline
from pma_grid.problem.frame import Frame
from pma_grid.runtime import Array

# Halvings of a cell until the point with a given mass to its left is known to rounding.
QUANTILE_BISECTIONS = 52


def rearranged(source: Array, source_grid: Grid, target: Array, target_grid: Grid) -> Array:
    """phi of the map (T_1(x_1), ..., T_d(x_d)) that rearranges one marginal to the other each.

    ``source`` and ``target`` are positive cell averages; phi is in the unit of potentials of the
    `Frame`.  On one axis this solves the equation of
    means over images, with the mass constant 0; so it nearly does for densities that are products.
    """
    parts, sides = [], Frame(source_grid, target_grid).sides
    for axis in range(source_grid.dim):
        others = tuple(i for i in range(source_grid.dim) if i != axis)
        part = _one_axis(
            source.mean(others), float(sides[0, axis]),
            target.mean(others), float(sides[1, axis]),
        )  # fmt: skip
        parts.append(part)
    return outer_sum(parts)


def _one_axis(source: Array, source_length: float, target: Array, target_length: float) -> Array:
    """phi with F_target(T) = F_source at the faces between cells of one axis, of mean zero."""
    masses = cell_means(histospline(source))
    # coefficients with one more at either end, reflected
    coefficients = np.pad(histospline(target), 1, mode="symmetric")
    cumulative = np.concatenate([[0.0], np.cumsum(cell_means(coefficients)[1:-1])])
    left = np.cumsum(masses)[:-1] * (cumulative[-1] / masses.sum())
    cells = np.clip(np.searchsorted(cumulative, left, side="right") - 1, 0, target.size - 1)
    faces = cells + 0.5 + _quantile(coefficients, cells, left - cumulative[cells])
    moved = faces / target.size - np.arange(1, source.size) / source.size
    phi = np.cumsum(np.concatenate([[0.0], moved])) * (target_length * source_length / source.size)
    return np.asarray(phi - phi.mean())


def _quantile(coefficients: Array, cells: Array, mass: Array) -> Array:
    """Offset s in [-1/2, 1/2] from a cell's centre up to which the quadratic B-spline has a mass.

    ``coefficients`` begin one cell before the first.
    """
    before, here, after = (coefficients[cells + k] for k in range(3))
    low, high = np.full(cells.size, -0.5), np.full(cells.size, 0.5)
    for _ in range(QUANTILE_BISECTIONS):
        s = 0.5 * (low + high)
        reached = before * (1 - (0.5 - s) ** 3) / 6 + after * (0.5 + s) ** 3 / 6
        reached += here * (0.75 * (s + 0.5) - (s**3 + 0.125) / 3)
        short = reached < mass
        low, high = np.where(short, s, low), np.where(short, high, s)
    return np.asarray(0.5 * (low + high))
