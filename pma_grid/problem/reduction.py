"""The reduced problem: both boxes laid over each other, so that only the bend of the map is left.

Per axis with centres c, d of the boxes and s = (target length) / (source length), put

    x' = sqrt(s) (x - c),    y' = (y - d) / sqrt(s),    (x - c)(y - d) = x' y',

so that both axes run over [-L'/2, L'/2], L' = sqrt(product of the two lengths).  <x, y> differs
from <x', y'> by functions of x and of y alone: the optimal and the entropic plans are the same, for
the same eps, and the potentials differ by known quadratic ones.  The identity of the reduced
problem is the affine map of box to box.  Equal boxes are shifted only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pma_grid.grid.axes import outer_sum, power_of_two_near
from pma_grid.grid.transfer import Transfer
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, check_positive

Axes = tuple[Array, ...]
Side = Literal["source", "target"]
SIDES: tuple[Side, Side] = ("source", "target")
# Least eps over the squared side of the box L^2.  Potentials are of the size L^2, so that rounding
# moves exponents, potentials over eps, by some 2e-16 L^2 / eps: 2e-4 here.  It may not be larger:
# eps = h^2/2, the default of small eps, is 5e-11 L^2 on an axis of 1e5 cells.
LEAST_EPS_SQUARED_SIDES = 1e-12


@dataclass(frozen=True, eq=False)
class Reduced:
    """Masses of the atoms at the cell centres, and their reduced coordinates.

    Attributes
    ----------
    a, b : ndarray, shapes of the source and of the target grid
        Cell masses as given: exact zeros stay zero; each sums to 1.
    x, y : tuple of ndarray
        Reduced coordinates of the cell centres, one array an axis.
    lengths : ndarray, shape (d,)
        L', sides of the common box.
    """

    a: Array
    b: Array
    x: Axes
    y: Axes
    lengths: Array

    @classmethod
    def of(cls, problem: Problem) -> Reduced:
        """The reduced problem of a pair of densities."""
        grids = problem.source.grid, problem.target.grid
        lengths = np.sqrt(np.array(grids[0].lengths) * np.array(grids[1].lengths))
        a, b = (d.masses / d.masses.sum() for d in (problem.source, problem.target))
        return cls.over(a, b, lengths)

    @classmethod
    def over(cls, a: Array, b: Array, lengths: Array) -> Reduced:
        """Masses on two grids of one box."""
        return cls(a, b, centred(a.shape, lengths), centred(b.shape, lengths), lengths)

    @property
    def dim(self) -> int:
        """Number of axes."""
        return self.a.ndim

    @cached_property
    def log_masses(self) -> tuple[Array, Array]:
        """log a and log b, -inf in cells without mass."""
        with np.errstate(divide="ignore"):
            return np.log(self.a), np.log(self.b)

    @cached_property
    def spacing(self) -> tuple[Array, Array]:
        """Distances of the atoms along the axes: source, target; length."""
        return self.lengths / np.array(self.a.shape), self.lengths / np.array(self.b.shape)

    @cached_property
    def cell(self) -> float:
        """h^2, the natural unit of eps: the geometric mean of all spacings, squared, length^2.

        Axes of one cell on either side couple nothing and do not count, if there are others.
        """
        return squared_cell((self.a.shape, self.b.shape), self.spacing)

    @cached_property
    def widest_cell(self) -> float:
        """h_x h_y of the axis where it is largest, length^2: a smaller eps sees one cell there."""
        return float(self._cells.max())

    @cached_property
    def narrowest_cell(self) -> float:
        """h_x h_y of the axis where it is smallest, length^2: a larger eps blurs over cells."""
        return float(self._cells.min())

    @cached_property
    def _cells(self) -> Array:
        """h_x h_y of the axes that `cell` counts."""
        products = self.spacing[0] * self.spacing[1]
        return np.asarray(products[_coupling((self.a.shape, self.b.shape))])

    def swapped(self) -> Reduced:
        """Source and target exchanged."""
        return Reduced(self.b, self.a, self.y, self.x, self.lengths)

    def symmetric(self) -> Reduced:
        """The source to itself."""
        return Reduced(self.a, self.a, self.x, self.x, self.lengths)

    def coarsened(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Reduced:
        """The same boxes with fewer cells; masses are summed."""
        a, b = (
            Transfer(m.shape, shape).restrict(m)
            for m, shape in zip((self.a, self.b), shapes, strict=True)
        )
        return Reduced.over(a, b, self.lengths)


def squared_cell(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], spacings: tuple[Array, Array]
) -> float:
    """h^2 of two grids: the geometric mean of the spacings of the axes that count, squared."""
    counted = np.array(spacings)[:, _coupling(shapes)]
    unit = power_of_two_near(counted)
    return float(unit**2 * np.exp(2 * np.log(counted / unit).mean()))


def _coupling(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    """Which axes couple cells: more than one on both sides; else on one; else all."""
    cells = np.array(shapes)
    for counts in (cells.min(axis=0) > 1, cells.max(axis=0) > 1):
        if counts.any():
            return np.asarray(counts)
    return np.ones(cells.shape[1], bool)


def centred(shape: tuple[int, ...], lengths: Array) -> Axes:
    """Cell centres of a box centred at 0."""
    return tuple(
        (np.arange(n) + 0.5 - 0.5 * n) * (length / n)
        for n, length in zip(shape, lengths, strict=True)
    )


class Reduction:
    """The change of variables between a problem and its reduced one; ``stretch`` is s per axis.

    The reduced f of a potential u is -phi, what u has less than the affine map's.
    """

    def __init__(self, problem: Problem) -> None:
        grids = problem.source.grid, problem.target.grid
        self.problem = problem
        self.frames = Frame(*grids), Frame(*grids[::-1])
        self.stretch = self.frames[0].stretch
        self.centres = tuple(0.5 * (np.array(g.lower) + np.array(g.upper)) for g in grids)
        self._axes = tuple(centred(g.shape, np.array(g.lengths)) for g in grids)

    def _beyond(self, side: Side) -> Array:
        """|x|^2/2 less the affine map's potential, (1 - s) z^2/2 - (b - a) z, half the rest.

        z is measured from the lower corner a of the source's box, b is that of the target's; with
        (b - a)^2/4 on either side both sum to |x - y|^2/2 - |x' - y'|^2/2.
        """
        frame = self.frames[SIDES.index(side)]
        axes = zip(frame.source.at_origin.axes, frame.stretch, frame.shift, strict=True)
        return outer_sum([0.5 * (1 - s) * z * z - d * z + 0.25 * d * d for z, s, d in axes])

    def kantorovich(self, reduced: Array, side: Side = "source") -> Array:
        """f (or g) of the cost |x - y|^2 / 2 from the reduced one, length^2."""
        return np.asarray(self._beyond(side) + reduced)

    def reduced(self, potential: Array) -> Array:
        """The reduced f from that of the cost |x - y|^2 / 2: the inverse of `kantorovich`."""
        return np.asarray(potential - self._beyond("source"))

    def image(self, reduced: Array) -> Array:
        """Points y of the target's side from reduced ones, (d, ...)."""
        return self._shift(np.sqrt(self.stretch), self.centres[1], reduced)

    def preimage(self, reduced: Array) -> Array:
        """Points x of the source's side from reduced ones, (d, ...)."""
        return self._shift(1 / np.sqrt(self.stretch), self.centres[0], reduced)

    @staticmethod
    def _shift(factor: Array, centre: Array, points: Array) -> Array:
        shape = (-1,) + (1,) * (points.ndim - 1)
        return np.asarray(centre.reshape(shape) + factor.reshape(shape) * points)

    def squared_distance(self, reduced_value: float, columns: Array | None = None) -> float:
        """E|x - y|^2 of a coupling from its E|x' - y'|^2 / 2, for atoms at the cell centres.

        ``columns`` is the coupling's target marginal where that is not (yet) the target.
        """
        total = 2.0 * reduced_value
        masses = [d.masses / d.masses.sum() for d in (self.problem.source, self.problem.target)]
        if columns is not None:
            masses[1] = columns
        for i, s in enumerate(self.stretch):
            # without what boxes far from the origin would add to the centres
            sides = [frame.source.lengths[i] for frame in self.frames]
            shift = 0.5 * (sides[0] - sides[1]) - self.frames[0].shift[i]
            moments = []
            for k in (0, 1):
                line = masses[k].sum(axis=tuple(j for j in range(masses[k].ndim) if j != i))
                x = self._axes[k][i]
                moments.append((float(line @ x), float(line @ x**2)))
            (ex, exx), (ey, eyy) = moments
            total += (1 - s) * exx + (1 - 1 / s) * eyy + 2 * shift * (ex - ey) + shift**2
        return total


def check_eps(problem: Problem, eps: Any) -> float:
    """An eps > 0, in length^2, that is not lost in the rounding of the cost."""
    value = check_positive(eps, "eps", "it is in length^2, for example 1e-2 times a squared side")
    least = LEAST_EPS_SQUARED_SIDES * float((Reduced.of(problem).lengths ** 2).max())
    if value < least:
        raise InvalidInputError(
            f"eps is {eps!r}; for these boxes it must be at least {least:.1e}, in length^2: the "
            "cost over eps would have no digits left; take a larger eps, or solve for eps = 0"
        )
    return value
