"""The monotone rearrangement of one axis: where the equation has a solution in closed form."""

from __future__ import annotations

import numpy as np

from pma_grid.lattice import Array
from pma_grid.operator import MongeAmpere
from pma_grid.target import SPLINE_HALO, cell_means

# Halvings of a cell until the point with a given mass to its left is known to rounding.
HALVINGS = 52


def rearranged(equation: MongeAmpere) -> Array:
    """phi of F_nu(T) = F_mu at the faces of a one-dimensional grid, T = grad u.

    It solves the equation, with the mass constant 0, of box to box.  Images must have been averaged
    over, by an evaluation at any phi.
    """
    images, frame = equation.images, equation.frame
    assert images is not None and frame.source.dim == 1
    source = np.exp(images.shift + equation.log_source)
    left = np.cumsum(source)[:-1] / source.sum()
    coefficients = images.footprint.densities[SPLINE_HALO - 1 : 1 - SPLINE_HALO]
    masses = cell_means(coefficients)[1:-1]
    cumulative = np.concatenate([[0.0], np.cumsum(masses)])
    left *= cumulative[-1]
    cells = np.searchsorted(cumulative, left, side="right") - 1
    cells = np.clip(cells, 0, masses.size - 1)
    positions = cells + _quantile(coefficients, cells, left - cumulative[cells])
    faces = np.arange(1, source.size)
    slopes = frame.target.spacing[0] * (positions + 0.5)
    slopes -= frame.stretch[0] * frame.source.spacing[0] * faces
    phi = np.concatenate([[0.0], np.cumsum(frame.source.spacing[0] * slopes)])
    return np.asarray(phi - phi.mean())


def _quantile(coefficients: Array, cells: Array, mass: Array) -> Array:
    """Offset s in [-1/2, 1/2] from a cell's centre up to which the quadratic B-spline has a mass.

    ``coefficients`` begin one cell before the first.
    """
    before, here, after = (coefficients[cells + k] for k in range(3))
    low, high = np.full(cells.size, -0.5), np.full(cells.size, 0.5)
    for _ in range(HALVINGS):
        s = 0.5 * (low + high)
        reached = before * (1 - (0.5 - s) ** 3) / 6 + after * (0.5 + s) ** 3 / 6
        reached += here * (0.75 * (s + 0.5) - (s**3 + 0.125) / 3)
        low, high = np.where(reached < mass, s, low), np.where(reached < mass, high, s)
    return np.asarray(0.5 * (low + high))
