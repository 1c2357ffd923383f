"""`Frame`: the affine map of box to box, what a potential has beyond it, and units of length.

Inside, everything is measured from the lower corners of the two boxes and in one power of two of
the unit of length that is near their sides, so that nothing depends on that unit, to the last bit
for powers of two, and nothing is lost to the distance of the boxes from the origin.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array


class Frame:
    """The affine map of the source's box onto the target's, and the units of a pair of grids.

    With z = x - a and w = y - b, the distances from the lower corners a of the source's box and b
    of the target's, and s = (target length) / (source length), the affine map is w = s z, of the
    potential sum_i s_i z_i^2 / 2 + b . z.  What a potential has beyond it is phi.

    Attributes
    ----------
    source, target : Grid
    length : float
        A power of two near the sides of the boxes: the unit of lengths inside.
    unit : float
        Its square, the unit of potentials, length^2.
    shift : ndarray, shape (d,)
        b - a, length.
    stretch : ndarray, shape (d,)
        Lengths of the target's box over those of the source's.
    spacing : ndarray, shape (d,)
        Of the source's cells, in the unit of lengths.
    metric : ndarray, shape (d,)
        Second differences of the affine map's potential along the axes, stretch times h^2, in the
        unit of potentials.
    affine : ndarray, shape (d,)
        Target cells that the affine map moves by for a source cell.
    slope, per_cell : ndarray, shape (d,)
        Target cells by which a centred, and a one-sided, difference of one unit moves an image.
    log_cell : float
        log of the source's cell volume, squared, for densities relative to their means: the log of
        the ratio of the target's volume to the source's besides.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        sides = np.array([source.lengths, target.lengths])
        # the same multiple of any power of two that multiplies all sides
        exponents = np.frexp(sides)[1] - 1
        self.length = math.ldexp(1.0, int(exponents.sum()) // exponents.size)
        self.unit = self.length * self.length
        self.shift = np.array(target.lower) - np.array(source.lower)
        self.stretch = sides[1] / sides[0]
        h, target_h = (np.array(g.spacing) / self.length for g in (source, target))
        self.spacing = h
        self.metric = self.stretch * h * h
        self.affine = self.stretch * h / target_h
        self.slope = 0.5 / (h * target_h)
        self.per_cell = 1.0 / (h * target_h)
        self.log_cell = 2.0 * float(np.log(h).sum()) + float(np.log(self.stretch).sum())

    def image_along(self, axis: int) -> Array:
        """One coordinate of the affine map at the cell centres along its axis."""
        shifted = self.source.at_origin.axes[axis]
        return np.asarray(self.target.lower[axis] + self.stretch[axis] * shifted)

    def bend(self, z: Array) -> Array:
        """The potential of the affine map without its linear part, at distances z (..., d)."""
        return np.asarray((0.5 * self.stretch * z**2).sum(axis=-1))

    @cached_property
    def bends(self) -> Array:
        """That part at the cell centres."""
        axes = zip(self.source.at_origin.axes, self.stretch, strict=True)
        return outer_sum([0.5 * s * z**2 for z, s in axes])

    def quadratic(self) -> Array:
        """The potential of the affine map at the cell centres, 0 at the box's lower corner."""
        axes = zip(self.source.at_origin.axes, self.stretch, self.target.lower, strict=True)
        return outer_sum([0.5 * s * z**2 + b * z for z, s, b in axes])


def mean_free(phi: Array) -> Array:
    """A field without its mean."""
    return np.asarray(phi - phi.mean())


def split(problem: Problem, potential: Array) -> tuple[Array, float]:
    """phi of a potential u, what remains without the quadratic part and its mean, and that mean."""
    frame = Frame(problem.source.grid, problem.target.grid)
    phi = np.asarray(potential, float) - frame.quadratic()
    mean = float(phi.mean())
    return phi - mean, mean
