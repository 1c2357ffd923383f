"""`Frame`: the affine map of box to box, and the part of a potential beyond it."""

from __future__ import annotations

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array


class Frame:
    """The affine map of the source's box onto the target's, and the units of a pair of grids.

    Attributes
    ----------
    source, target : Grid
    stretch : ndarray, shape (d,)
        Lengths of the target's box over those of the source's.
    metric : ndarray, shape (d,)
        Second differences of the affine map's potential along the axes: stretch times h^2.
    affine : ndarray, shape (d,)
        Target cells that the affine map moves by for a source cell.
    slope, per_cell : ndarray, shape (d,)
        Target cells by which a centred, and a one-sided, difference of one moves an image.
    log_cell : float
        log of the source's cell volume, squared.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        h, target_h = np.array(source.spacing), np.array(target.spacing)
        self.stretch = np.array(target.lengths) / np.array(source.lengths)
        self.metric = self.stretch * h * h
        self.affine = self.stretch * h / target_h
        self.slope = 0.5 / (h * target_h)
        self.per_cell = 1.0 / (h * target_h)
        self.log_cell = 2.0 * float(np.log(h).sum())
        self._corners = np.array(source.lower), np.array(target.lower)

    def image(self, x: Array) -> Array:
        """The affine map at points (m, d)."""
        return np.asarray(self._corners[1] + self.stretch * (x - self._corners[0]))

    def image_along(self, axis: int) -> Array:
        """One coordinate of the affine map at the cell centres along its axis."""
        shifted = self.source.axes[axis] - self.source.lower[axis]
        return np.asarray(self.target.lower[axis] + self.stretch[axis] * shifted)

    def potential(self, x: Array) -> Array:
        """The potential whose gradient is the affine map, at points (..., d)."""
        shifted = x - self._corners[0]
        parts = 0.5 * self.stretch * shifted**2 + self._corners[1] * x
        return np.asarray(parts.sum(axis=-1))

    def quadratic(self) -> Array:
        """That potential at the cell centres."""
        corners = zip(self.source.axes, self.stretch, *self._corners, strict=True)
        return outer_sum([0.5 * s * (x - a) ** 2 + b * x for x, s, a, b in corners])


def split(problem: Problem, potential: Array) -> tuple[Array, float]:
    """phi of a potential u, what remains without the quadratic part and its mean, and that mean."""
    frame = Frame(problem.source.grid, problem.target.grid)
    phi = np.asarray(potential, float) - frame.quadratic()
    mean = float(phi.mean())
    return phi - mean, mean
