"""`Frame`: the affine map of box to box, what a potential has beyond it, and units of length.

Inside, every box is measured from its lower corner and in its longest side, so that nothing depends
on the user's unit of length, and nothing is lost to the distance of a box from the origin.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array

# Binary digits of the ratios of a box's sides: the rounding of a change of the unit of length is
# cut off, so that the equation has the same bits in every unit.  That moves results by some 1e-14.
RATIO_BITS = 44


class Frame:
    """The affine map of the source's box onto the target's, and the units of a pair of grids.

    With z = x - a and w = y - b, the distances from the lower corners a of the source's box and b
    of the target's, and s = (target length) / (source length), the affine map is w = s z, of the
    potential sum_i s_i z_i^2 / 2 + b . z.  What a potential has beyond it is phi.

    Attributes
    ----------
    source, target : Grid
    source_length, target_length : float
        The longest side of either box: the unit of lengths in it.
    unit : float
        Their product, the unit of potentials, length^2.
    hessian_unit : float
        Their ratio, target over source, the unit of second derivatives of potentials.
    shift : ndarray, shape (d,)
        b - a, length.
    stretch : ndarray, shape (d,)
        Lengths of the target's box over those of the source's.
    sides : ndarray, shape (2, d)
        Sides of the source's and of the target's box, in their units.
    spacing : ndarray, shape (d,)
        Of the source's cells, in its unit.
    metric : ndarray, shape (d,)
        Second differences of the affine map's potential along the axes, stretch times h^2, in the
        unit of potentials.
    affine : ndarray, shape (d,)
        Target cells that the affine map moves by for a source cell.
    slope, per_cell : ndarray, shape (d,)
        Target cells by which a centred, and a one-sided, difference of one unit moves an image.
    log_cell : float
        log of the source's cell volume, squared, for densities relative to their means: the log of
        the ratio of the target's volume to the source's besides; both in their units.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        self.source_length, self.target_length = max(source.lengths), max(target.lengths)
        self.unit = self.source_length * self.target_length
        self.hessian_unit = self.target_length / self.source_length
        self.shift = np.array(target.lower) - np.array(source.lower)
        self.stretch = np.array(target.lengths) / np.array(source.lengths)
        self.sides = _ratios(np.array([source.lengths, target.lengths]))
        h, target_h = self.sides / np.array([source.shape, target.shape])
        stretch = self.sides[1] / self.sides[0]
        self.spacing = h
        self.metric = stretch * h * h
        self.affine = stretch * h / target_h
        self.slope = 0.5 / (h * target_h)
        self.per_cell = 1.0 / (h * target_h)
        self.log_cell = 2.0 * float(np.log(h).sum()) + float(np.log(stretch).sum())

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


def _ratios(sides: Array) -> Array:
    """Sides over the longest of their box, (2, d), rounded."""
    mantissa, exponent = np.frexp(sides / sides.max(axis=1, keepdims=True))
    rounded = np.round(np.ldexp(mantissa, RATIO_BITS))
    return np.asarray(np.ldexp(rounded, exponent - RATIO_BITS))


def mean_free(phi: Array) -> Array:
    """A field without its mean."""
    return np.asarray(phi - phi.mean())


def split(problem: Problem, potential: Array) -> tuple[Array, float]:
    """phi of a potential u, what remains without the quadratic part and its mean, and that mean."""
    frame = Frame(problem.source.grid, problem.target.grid)
    phi = np.asarray(potential, float) - frame.quadratic()
    mean = float(phi.mean())
    return phi - mean, mean
