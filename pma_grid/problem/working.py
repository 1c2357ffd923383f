"""Working densities: what an equation is solved with where data thin out, and what that changed.

Where a density falls to zero, or towards it by orders of magnitude, its logarithm says nothing of
the mass but decides whether Newton's method converges.  Three things are changed, each by less than
the error of the scheme:

crop    Each box is cut to the smallest one that holds all cells with more than the floor's mass.
slopes  log densities change by at most ``slope`` nats from cell to cell: the least such function
        above the data.  Stencils resolve no more; it concerns cells where data fall by e^2 a cell,
        and ever less mass on finer grids.
floor   A background of mass m = 10 / n^4, n the cells an axis, is added.  A mass m moves the map by
        about sqrt(m) times the box, so that this keeps second order.  Its shape is

            b(x) = c (1 + q/4)^-2 / sqrt(det S),    q = (x - a)^T S^-1 (x - a),

        a and S the mean and the covariance of the data of that side, c the same on both sides: so
        far out the map is the affine one between the moments.

What is solved for such data is the transport of the working densities; W2 is the dual value of its
potential with the data as given, which is right to first order in all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.floors import floored
from pma_grid.problem.problem import Problem
from pma_grid.problem.raising import FloorReport
from pma_grid.runtime import Array

# Mass of the floor times n^4.  From 1 to 100 maps differ by a tenth; with .1 Newton's method fails
# on some data.
FLOOR_MASS_CELLS = 10.0
# Where it stops to fall: the map's error is 1e-7 there.
LEAST_FLOOR_MASS = 1e-14
# Largest change of a log density from cell to cell, nats.
STEEPEST_SLOPE = 2.0
# Degrees of freedom and exponent of the background, a Student law: 1, 4 and 16, and 1 to 3, give
# the same within a tenth.
BACKGROUND_DEGREES, BACKGROUND_POWER = 4.0, 2.0
# Density over its mean from which on, on both sides, data are taken as they are.
THIN_DENSITY = 1e-2
# log of a density over its mean that stands for zero.
LOG_ZERO = -700.0
# Changes of a logarithm below this are rounding.
LOG_ROUNDING = 1e-9

Window = tuple[slice, ...]


@dataclass(frozen=True)
class Softening:
    """How much data are changed: the slope limit, nats a cell, and the floor's mass over 10/n^4."""

    slope: float = STEEPEST_SLOPE
    floor: float = 1.0


# What changes data by less than the scheme's error.
STANDARD = Softening()


@dataclass(frozen=True, eq=False)
class Side:
    """The data of one side that working densities are made of, on any grid of its box.

    Attributes
    ----------
    mean, covariance : ndarray, shapes (d,) and (d, d)
        Of the law on the finest grid, in the box's own lengths.
    floored : bool
        Whether the user has set a floor: then no other is added.
    """

    mean: Array
    covariance: Array
    floored: bool

    @classmethod
    def of(cls, values: Array, grid: Grid, *, floored: bool = False) -> Side:
        """Moments of cell averages, the variance within cells included."""
        points = grid.coordinates().reshape(grid.dim, -1)
        weights = values.ravel() / values.sum()
        mean = points @ weights
        away = points - mean[:, None]
        covariance = (away * weights) @ away.T + np.diag(np.square(grid.spacing)) / 12
        return cls(mean, covariance, floored)

    def background(self, grid: Grid) -> Array:
        """b over c times the box's volume at the cell centres."""
        away = grid.coordinates() - self.mean.reshape((-1,) + (1,) * grid.dim)
        q = np.einsum("i...,ij,j...->...", away, np.linalg.inv(self.covariance), away)
        scale = grid.volume / math.sqrt(np.linalg.det(self.covariance))
        return np.asarray(scale * (1 + q / BACKGROUND_DEGREES) ** -BACKGROUND_POWER)


def thin(*densities: Array) -> bool:
    """Whether any of the densities falls so low that it is not taken as it is."""
    return any(float(v.min()) < THIN_DENSITY * float(v.mean()) for v in densities)


def floor_mass(*shapes: tuple[int, ...]) -> float:
    """10 / n^4, n the cells an axis (geometric mean) of the finer grid."""
    cells = max(math.prod(shape) for shape in shapes) ** (1 / len(shapes[0]))
    return max(LEAST_FLOOR_MASS, FLOOR_MASS_CELLS / cells**4)


def window(values: Array, least: float) -> Window:
    """The smallest box with all cells of more than ``least`` times the mean density."""
    heavy, cuts = values > least * values.mean(), []
    for axis in range(values.ndim):
        others = tuple(k for k in range(values.ndim) if k != axis)
        cells = np.flatnonzero(heavy.any(others))
        cuts.append(slice(int(cells[0]), int(cells[-1]) + 1))
    return tuple(cuts)


def cut(grid: Grid, part: Window) -> Grid:
    """The grid of a window of cells."""
    faces = [f[[s.start, s.stop]] for f, s in zip(grid.faces, part, strict=True)]
    lower, upper = ([float(f[k]) for f in faces] for k in (0, 1))
    return Grid([s.stop - s.start for s in part], lower, upper)


def limited(logarithms: Array, slope: float) -> Array:
    """The least function above that changes by at most ``slope`` from cell to cell.

    A supremal convolution, max_j (L_j - slope |i - j|_1), one axis after the other.
    """
    out = logarithms
    for axis in range(out.ndim):
        ramp = slope * np.arange(out.shape[axis], dtype=float)
        ramp = ramp.reshape((-1,) + (1,) * (out.ndim - axis - 1))
        rising = np.maximum.accumulate(out + ramp, axis) - ramp
        falling = np.flip(np.maximum.accumulate(np.flip(out - ramp, axis), axis), axis) + ramp
        highest = np.maximum(rising, falling)
        out = np.where(highest > out + LOG_ROUNDING, highest, out)
    return np.asarray(out)


def softened(
    pair: tuple[Array, Array],
    grids: tuple[Grid, Grid],
    sides: tuple[Side, Side],
    softening: Softening = STANDARD,
) -> tuple[tuple[Array, Array], tuple[FloorReport, FloorReport]]:
    """Working densities of cell averages on two grids, and what they changed on each side."""
    backgrounds = [side.background(grid) for side, grid in zip(sides, grids, strict=True)]
    unit = 0.5 * sum(float(b.mean()) for b in backgrounds)
    mass = softening.floor * floor_mass(*(v.shape for v in pair))
    made = [
        _soft(values, grid, 0.0 if side.floored else mass, background / unit, softening.slope)
        for values, grid, side, background in zip(pair, grids, sides, backgrounds, strict=True)
    ]
    return (made[0][0], made[1][0]), (made[0][1], made[1][1])


def _soft(
    values: Array, grid: Grid, mass: float, background: Array, slope: float
) -> tuple[Array, FloorReport]:
    """One side: slopes limited, the floor added; of mass one."""
    relative = values / values.mean()
    with np.errstate(divide="ignore"):
        logarithms = np.maximum(np.log(relative), LOG_ZERO)
    working = np.exp(limited(logarithms, slope))
    working /= working.mean()
    working += mass * background
    working /= working.mean()
    moved = 0.5 * float(np.abs(working - relative).mean())
    raised = int(np.count_nonzero(working > 2 * relative))
    return working / grid.volume, FloorReport(mass, raised, moved)


def cropped(problem: Problem) -> tuple[Problem, tuple[Window, Window]]:
    """The problem on the boxes where there is mass, and the windows of cells that they are.

    Data that are not thin keep their boxes, and so do those with a target domain, and lines, on
    which the map is known.
    """
    source, target, _ = floored(problem)
    whole = [tuple(slice(0, n) for n in v.shape) for v in (source, target)]
    whole_boxes = problem.dim == 1 or problem.target_domain is not None
    if whole_boxes or not thin(source, target):
        return problem, (whole[0], whole[1])
    least = floor_mass(source.shape, target.shape)
    parts = window(source, least), window(target, least)
    if parts == (whole[0], whole[1]):
        return problem, parts
    pair = [
        Density(np.ascontiguousarray(values[part]), cut(density.grid, part))
        for values, density, part in zip(
            (source, target), (problem.source, problem.target), parts, strict=True
        )
    ]
    return Problem(*pair), parts


def entropy(density: Density) -> float:
    """Relative to the uniform law of the box, nats, at most 0: it counts cells, not lengths."""
    relative = density.values / density.values.mean()
    return -float((relative * np.log(np.maximum(relative, np.finfo(float).tiny))).mean())
