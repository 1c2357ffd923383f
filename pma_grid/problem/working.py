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
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pma_grid.grid.axes import coordinates
from pma_grid.grid.crops import Crop, measured, whole
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.floors import Floors, floored, positive
from pma_grid.problem.problem import Problem
from pma_grid.problem.raising import FloorReport
from pma_grid.problem.reduction import SIDES
from pma_grid.runtime import Array

# Mass of the floor times n^4.  From 1 to 100 maps differ by a tenth; with .1 Newton's method fails
# on some data.
FLOOR_MASS_CELLS = 10.0
# The same times n^2 where tails go to the rim of a domain: from .03 to 3 maps differ by a fifth.
RIM_MASS_CELLS = 1.0
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


@dataclass(frozen=True)
class Softening:
    """How much data are changed: the slope limit, nats a cell, and the floor over the usual one."""

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
        Of the law on the finest grid, from the lower corner of the part of the box with mass, and
        in the sides of that part.
    floored : bool
        Whether there is a floor already: then no other is added.
    bounded : bool
        Whether the data are continued beyond a domain.
    """

    mean: Array
    covariance: Array
    floored: bool
    bounded: bool

    @classmethod
    def of(cls, values: Array, *, floored: bool, bounded: bool = False) -> Side:
        """Moments of cell averages, the variance within cells included."""
        points = _centres(values.shape).reshape(values.ndim, -1)
        weights = values.ravel() / values.sum()
        mean = points @ weights
        away = points - mean[:, None]
        covariance = (away * weights) @ away.T + np.diag(1 / np.square(values.shape)) / 12
        return cls(mean, covariance, floored, bounded)

    def background(self, shape: tuple[int, ...]) -> Array:
        """b over c times the volume at the centres of so many cells."""
        away = _centres(shape) - self.mean.reshape((-1,) + (1,) * len(shape))
        q = np.einsum("i...,ij,j...->...", away, np.linalg.inv(self.covariance), away)
        scale = 1 / math.sqrt(np.linalg.det(self.covariance))
        return np.asarray(scale * (1 + q / BACKGROUND_DEGREES) ** -BACKGROUND_POWER)


def _centres(shape: tuple[int, ...]) -> Array:
    """Cell centres of the unit box, (d, *shape)."""
    return coordinates([(np.arange(n) + 0.5) / n for n in shape])


def thin(*densities: Array) -> bool:
    """Whether any of the densities falls so low that it is not taken as it is."""
    return any(float(v.min()) < THIN_DENSITY * float(v.mean()) for v in densities)


def floor_mass(*shapes: tuple[int, ...], rim: bool = False) -> float:
    """10 / n^4, n the cells an axis (geometric mean) of the finer grid; ``rim``: 1 / n^2."""
    cells = max(math.prod(shape) for shape in shapes) ** (1 / len(shapes[0]))
    share = RIM_MASS_CELLS / cells**2 if rim else FLOOR_MASS_CELLS / cells**4
    return float(max(LEAST_FLOOR_MASS, share))


def heavy_part(values: Array, least: float) -> Crop:
    """The smallest box with all cells of more than ``least`` times the mean density."""
    heavy, crop = values > least * values.mean(), []
    for axis in range(values.ndim):
        others = tuple(k for k in range(values.ndim) if k != axis)
        cells = np.flatnonzero(heavy.any(others))
        crop.append(slice(int(cells[0]), int(cells[-1]) + 1))
    return tuple(crop)


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


@dataclass(frozen=True, eq=False)
class Data:
    """What the equations of a problem are made of: its densities where there is mass.

    Attributes
    ----------
    problem : Problem
    crop : tuple of Crop
        Of source and target: where the data are thin, the parts of the boxes with mass.  Boxes are
        whole with a target domain, and on one axis, where the map is known.
    grids : tuple of Grid
        Of the crops, measured from the lower corners of the boxes; whole boxes as they are.
    pair : tuple of ndarray
        Cell averages on the crops, over their mean in the box, raised to the floors that the user
        has set.
    sides : tuple of Side, or None
        What working densities are made of where the data are thin; elsewhere they are the data.
    floors : dict
        What those floors changed.
    rim : bool
        Whether tails of the source go to the rim of a domain that the target fills.
    plain : bool
        Whether the equation is that of the data as they are, however thin.
    """

    problem: Problem
    crop: tuple[Crop, Crop]
    grids: tuple[Grid, Grid]
    pair: tuple[Array, Array]
    sides: tuple[Side, Side] | None
    floors: Floors
    rim: bool
    plain: bool

    @classmethod
    def of(cls, problem: Problem, *, plain: bool = False) -> Data:
        """The data of a problem; ``plain``: as they are, zeros alone raised to floors."""
        source, target, floors = positive(problem) if plain else floored(problem)
        crop = whole(problem.source.grid), whole(problem.target.grid)
        soft = thin(source, target) and not plain
        bounded = problem.target_domain is not None
        rim = bounded and not thin(target)
        if soft and problem.dim > 1 and not bounded:
            least = floor_mass(source.shape, target.shape)
            crop = heavy_part(source, least), heavy_part(target, least)
        pair = np.ascontiguousarray(source[crop[0]]), np.ascontiguousarray(target[crop[1]])
        grids = measured(problem.source.grid, crop[0]), measured(problem.target.grid, crop[1])
        sides = None
        if soft:
            # targets continued beyond a domain have a floor in it
            below = problem.target.floor is not None or bounded
            sides = (
                Side.of(pair[0], floored=problem.source.floor is not None),
                Side.of(pair[1], floored=below, bounded=bounded),
            )
        return cls(problem, crop, grids, pair, sides, floors, rim, plain)

    @property
    def thin(self) -> bool:
        """Whether a density falls so low that the equations have working densities of their own."""
        return self.sides is not None

    def softened(
        self, pair: tuple[Array, Array], softening: Softening = STANDARD
    ) -> tuple[tuple[Array, Array], Floors]:
        """Working densities of cell averages on the crops, over their means, and what changed."""
        if self.sides is None:
            return pair, self.floors
        backgrounds = [side.background(v.shape) for side, v in zip(self.sides, pair, strict=True)]
        unit = 0.5 * sum(float(b.mean()) for b in backgrounds)
        mass = softening.floor * floor_mass(*(v.shape for v in pair), rim=self.rim)
        working, floors = [], self.floors.copy()
        for name, values, side, background in zip(
            SIDES, pair, self.sides, backgrounds, strict=True
        ):
            own = 0.0 if side.floored else mass
            made, report = _soft(values, own, background / unit, softening.slope)
            # of what is continued beyond a domain the part in it has the mass, not all of it
            working.append(made * values.mean() if side.bounded else made)
            changed = asdict(report)
            if not own:  # the floor is another one: what limited slopes moved comes on top
                moved = floors[name]["mass_added"] + report.mass_added
                changed = floors[name] | {"mass_added": moved}
            floors[name] = changed
        return (working[0], working[1]), floors


@dataclass(frozen=True, eq=False)
class Softened:
    """Working densities of the finest grid: what the equation of a solution is made of again."""

    data: Data
    softening: Softening = STANDARD

    @classmethod
    def of(cls, problem: Problem, slope: float, floor: float) -> Softened:
        """Of a problem, and what `to_dict` gave."""
        return cls(Data.of(problem), Softening(slope, floor))

    @property
    def crop(self) -> tuple[Crop, Crop]:
        """The cells of source and target that the equation is solved on."""
        return self.data.crop

    @property
    def pair(self) -> tuple[Array, Array]:
        """Cell averages of source and target on their crops over their means, positive."""
        return self._made[0]

    @property
    def floors(self) -> Floors:
        """What was changed, by side."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[tuple[Array, Array], Floors]:
        return self.data.softened(self.data.pair, self.softening)

    def to_dict(self) -> dict[str, Any]:
        """What these densities are made of again, beside the problem: numbers, for JSON."""
        if self.data.plain:
            return {"kind": "raised"}
        return {"kind": "softened", **asdict(self.softening)}


def _soft(values: Array, mass: float, background: Array, slope: float) -> tuple[Array, FloorReport]:
    """One side: slopes limited, the floor added; of mean one."""
    relative = values / values.mean()
    with np.errstate(divide="ignore"):
        logarithms = np.maximum(np.log(relative), LOG_ZERO)
    working = np.exp(limited(logarithms, slope))
    working /= working.mean()
    working += mass * background
    working /= working.mean()
    moved = 0.5 * float(np.abs(working - relative).mean())
    raised = int(np.count_nonzero(working > 2 * relative))
    return working, FloorReport(mass, raised, moved)


def entropy(density: Density) -> float:
    """Relative to the uniform law of the box, nats, at most 0: it counts cells, not lengths."""
    relative = density.relative
    return -float((relative * np.log(np.maximum(relative, np.finfo(float).tiny))).mean())
