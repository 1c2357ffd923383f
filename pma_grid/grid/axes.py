"""Functions of single coordinates on grids: one array an axis, spread over the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.runtime import Array


def along(line: Array, axis: int, dim: int) -> Array:
    """Values along one axis of ``dim``, in the shape that broadcasts over the others."""
    return line.reshape([-1 if k == axis else 1 for k in range(dim)])


def coordinates(axes: Sequence[Array]) -> Array:
    """Coordinate i of every point of the grid in entry i, (d, *shape)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def outer_sum(lines: Sequence[Array]) -> Array:
    """sum_i f_i(x_i) on the grid, from one array an axis."""
    total = np.zeros(tuple(line.size for line in lines))
    for axis, line in enumerate(lines):
        total += along(line, axis, len(lines))
    return total


def power_of_two_near(lengths: ArrayLike) -> float:
    """A power of two within the range of positive lengths or a factor two of it: a unit for them.

    Where all lengths are multiplied by a power of two, so is the unit, and lengths in it keep every
    bit.
    """
    exponents = np.frexp(np.asarray(lengths, float))[1] - 1
    return math.ldexp(1.0, int(exponents.sum()) // exponents.size)


def half_square(axes: Sequence[Array]) -> Array:
    """|x|^2 / 2 on the grid."""
    return outer_sum([0.5 * x * x for x in axes])
