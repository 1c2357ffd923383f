"""What a case of `tails.py` is, and quadrature over cells for its data and its truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import pma_grid as pma

Array = np.ndarray
Field = Callable[..., Array]


@dataclass(frozen=True)
class Given:
    """One problem and its answer.

    Attributes
    ----------
    problem : Problem
    centres : ndarray (d, *shape) or None
        The map at the centres of the source's cells, length.
    means : ndarray (d, *shape) or None
        Its means over the mass of the cells, length.
    w2 : float
        Length.
    """

    problem: pma.Problem
    centres: Array | None
    means: Array | None
    w2: float


@dataclass(frozen=True)
class Family:
    """Problems of one kind, one per number of cells an axis; ``kind`` names their limits."""

    name: str
    kind: str
    dim: int
    build: Callable[[int], Given]


# ---- quadrature ----------------------------------------------------------------------------------


def cell_points(grid: pma.Grid, count: int) -> Iterator[tuple[float, Array]]:
    """Weights (sum 1) and coordinates (d, *shape) of count^d Gauss points of every cell."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    for index in np.ndindex(*(count,) * grid.dim):
        axes = [
            x + 0.5 * h * nodes[k] for x, h, k in zip(grid.axes, grid.spacing, index, strict=True)
        ]
        yield math.prod(weights[k] / 2 for k in index), np.stack(np.meshgrid(*axes, indexing="ij"))


def moments(grid: pma.Grid, count: int, mu: Field, gradient: Field) -> tuple[Array, Array, float]:
    """Averages of mu, means of the map over its mass, and W2, all by quadrature.

    Where mu underflows, the mean is the map at the centre.
    """
    mass, first, cost = np.zeros(grid.shape), np.zeros((grid.dim, *grid.shape)), 0.0
    for weight, x in cell_points(grid, count):
        here, image = weight * mu(*x), gradient(*x)
        mass += here
        first += here * image
        cost += float((here * ((image - x) ** 2).sum(axis=0)).sum())
    means = np.divide(first, mass, out=gradient(*grid.coordinates()), where=mass > 0)
    return mass, means, math.sqrt(cost / mass.sum())


def quadrature_points(cells: float) -> int:
    """Gauss points along an axis of a cell, at least 4, for the scale of a density in cells."""
    return min(12, math.ceil(3 + 4 / cells))
