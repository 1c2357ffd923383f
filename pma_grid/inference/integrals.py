"""Integrals of exp(f) by cells, in logarithms, their errors, and its tails beyond a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pma_grid.grid.averaging import gauss_points
from pma_grid.grid.grid import Grid
from pma_grid.inference.counted import LogFunction
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError, check_not_negative, is_whole

# Cells an axis of a shell between two boxes, a quarter of them on either side.
SHELL_CELLS = {1: 2048, 2: 128, 3: 32}
# Shells are added until one holds less than this share of the mass, far below any error of log Z,
# and at most so many: 2^40 boxes wide.
NEGLIGIBLE_SHARE, MOST_SHELLS = 1e-12, 40
# Shells that keep more than this share of the mass of the one before are those of no finite mass;
# a power law r^{-d-a} keeps 2^{-a}.
MOST_KEPT_SHARE = 0.95
# Relative error that a shell on its coarse grid is granted: it need not be better than half right.
SHELL_ERROR = 0.5
# The rule is doubled to see its error, or halved where doubling took more evaluations than this.
MOST_EVALUATIONS = 3_000_000
# Changes are taken so many times: beside kinks and powers at a face the order is lower.
SAFETY_FACTOR = 2.0
# Changes from twice the spacing are divided by this: for smooth densities it could be sixteen.
COARSE_DIVISOR = 4.0
# Neighbours of a density that the grid resolves differ by less, but for the thinnest tails.
JUMP_NATS = 2.0
# Cells more an axis of other grids to compare with, whose faces lie elsewhere.
OTHER_GRIDS_CELLS = (1, 3)
# An error of log Z beyond this says that the grid misses what there is.
UNRESOLVED_NATS = 0.1
# More Gauss points an axis than this would resolve what the grid of the flow does not.
MOST_GAUSS_POINTS = 8


def log_cell_masses(f: LogFunction, grid: Grid, quadrature: int) -> Array:
    """log of the integrals of exp(f) over the cells, by Gauss's rule of so many points an axis."""
    total = np.full(grid.shape, -np.inf)
    for weight, offset in gauss_points(quadrature, grid.dim):
        moved = [x + o * h for x, o, h in zip(grid.axes, offset, grid.spacing, strict=True)]
        values = f(*np.meshgrid(*moved, indexing="ij"))
        np.logaddexp(total, values + np.log(weight), out=total)
    return total + math.log(grid.cell_volume)


@dataclass(frozen=True)
class Tail:
    """The mass beyond a box over that within, and how much of it is uncertain."""

    share: float
    error: float


def tail(f: LogFunction, grid: Grid, log_mass: float, limits: Array | None) -> Tail:
    """Mass between a grid's box and corners ``limits``, in shells of boxes twice as large each.

    With None these go on through all of space, and are refused where they do not fall: the density
    cannot be normalised.  The error is half of the shells, which are integrated coarsely, and what
    lies beyond the last, where the shells go on to fall as they did.
    """
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    total = last = before = 0.0
    for _ in range(MOST_SHELLS):
        half = 0.5 * (upper - lower)
        low, high = lower - half, upper + half
        if limits is not None:
            low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
        if not ((low < lower) | (high > upper)).any():
            return Tail(total, SHELL_ERROR * total)
        before, last = last, math.exp(_shell(f, (low, lower, upper, high)) - log_mass)
        total += last
        lower, upper = low, high
        if last <= NEGLIGIBLE_SHARE:
            return Tail(total, SHELL_ERROR * total + last)
    ratio = last / before
    if ratio > MOST_KEPT_SHARE:
        raise InvalidInputError(
            f"log_density does not fall off: of boxes twice as large each, up to {high.tolist()}, "
            f"every shell holds {ratio:.2g} of the mass of the one before; a density that can be "
            "normalised must fall off: add a prior, or give the box of its support"
        )
    return Tail(total, SHELL_ERROR * total + last * ratio / (1 - ratio))


def _shell(f: LogFunction, corners: tuple[Array, Array, Array, Array]) -> float:
    """log of the mass between two boxes, one in the other, by midpoints."""
    # cells grow with the square of their number from the inner box, where most of the mass is
    dim = corners[0].size
    quarter = SHELL_CELLS[dim] // 4
    centres, widths, inner = [], [], []
    for axis in range(dim):
        ends = [float(corner[axis]) for corner in corners]
        steps = np.linspace(0.0, 1.0, quarter + 1) ** 2
        below = ends[1] - (ends[1] - ends[0]) * steps[::-1]
        above = ends[2] + (ends[3] - ends[2]) * steps
        middle = np.linspace(ends[1], ends[2], 2 * quarter + 1)
        parts = [
            (e, inside)
            for e, inside in ((below, False), (middle, True), (above, False))
            if e[-1] > e[0]
        ]
        centres.append(np.concatenate([0.5 * (e[1:] + e[:-1]) for e, _ in parts]))
        widths.append(np.concatenate([np.diff(e) for e, _ in parts]))
        inner.append(np.concatenate([np.full(e.size - 1, inside) for e, inside in parts]))
    outside = ~np.logical_and.reduce(np.meshgrid(*inner, indexing="ij"))
    points = [c[outside] for c in np.meshgrid(*centres, indexing="ij")]
    volumes = np.prod([w[outside] for w in np.meshgrid(*widths, indexing="ij")], axis=0)
    values = f(*points)
    return float(logsumexp(values, b=volumes)) if np.isfinite(values).any() else -math.inf


@dataclass(frozen=True)
class Rule:
    """How integrals are taken: the options ``quadrature`` and ``tail_bound`` of `infer`."""

    points: int
    tail_bound: float | None

    def __post_init__(self) -> None:
        if not is_whole(self.points, 1) or self.points > MOST_GAUSS_POINTS:
            raise InvalidInputError(
                f"quadrature is {self.points!r}; it must be a whole number of points from 1 to "
                f"{MOST_GAUSS_POINTS}: 2"
            )
        if self.tail_bound is not None:
            remedy = "a share of the mass in the box, 0 if the density ends there"
            check_not_negative(self.tail_bound, "tail_bound", remedy)


@dataclass(frozen=True, eq=False)
class CellMasses:
    """The law exp(f), not normalised, by the cells of a grid, in logarithms.

    Attributes
    ----------
    grid : Grid
    logs : ndarray, shape ``grid.shape``
        log of the integral of exp(f) over each cell.
    log_mass : float
        log of their sum.
    beyond : Tail
        The mass beyond the box.
    resolution : float
        Error of log_mass by the spacing, nats.
    """

    grid: Grid
    logs: Array
    log_mass: float
    beyond: Tail
    resolution: float

    @property
    def density(self) -> Density:
        """The law in the box, normalised."""
        return Density(np.exp(self.logs - self.log_mass), self.grid)


def evaluate(f: LogFunction, grid: Grid, limits: Array | None, rule: Rule) -> CellMasses:
    """Integrals of exp(f) over the cells of a grid, and beyond it up to ``limits``.

    A density that the cells do not resolve, or that cannot be normalised, is refused.
    """
    logs = log_cell_masses(f, grid, rule.points)
    log_mass = float(logsumexp(logs))
    bound = rule.tail_bound
    beyond = tail(f, grid, log_mass, limits) if bound is None else Tail(0.0, bound)
    resolution = _resolution(f, logs, grid, rule.points)
    if resolution > UNRESOLVED_NATS:
        raise InvalidInputError(
            f"log_density is not resolved by {'x'.join(map(str, grid.shape))} cells: log Z changes "
            f"by {resolution / SAFETY_FACTOR:.2g} nats with the spacing; it must vary little over "
            "a cell: give a larger shape, or rotate or rescale the parameters"
        )
    return CellMasses(grid, logs, log_mass, beyond, resolution)


def _resolution(f: LogFunction, logs: Array, grid: Grid, quadrature: int) -> float:
    """Changes of the cells' masses with the spacing, over the mass: signs do not cancel."""

    def on(*shape: int) -> Array:
        """log cell masses on another number of cells."""
        return log_cell_masses(f, Grid(shape, grid.lower, grid.upper), quadrature)

    finer = tuple(2 * n for n in grid.shape)
    coarser = tuple(n // 2 if n % 2 == 0 else n for n in grid.shape)
    # against half the spacing, unless that takes too many evaluations, and against twice it, where
    # a smooth density changes sixteen times as much: kinks and jumps that one of them misses by
    # chance the other sees, or grids of a few cells more, whose faces lie elsewhere
    changes = []
    if math.prod(finer) * quadrature**grid.dim <= MOST_EVALUATIONS:
        changes.append(SAFETY_FACTOR * _change(on(*finer), logs))
    if coarser != grid.shape:
        changes.append(_change(logs, on(*coarser)) / COARSE_DIVISOR)
    whole = logsumexp(logs)
    for more in OTHER_GRIDS_CELLS:
        other = logsumexp(on(*(n + more for n in grid.shape)))
        changes.append(SAFETY_FACTOR * abs(other - whole))
    return float(max(changes)) + _jumps(logs)


def _jumps(logs: Array) -> float:
    """Half the mass by which neighbours `JUMP_NATS` nats apart differ, over the mass."""
    # where a density ends or jumps within a cell, rules of all spacings may agree by chance
    masses, total = np.exp(logs - logs.max()), 0.0
    with np.errstate(invalid="ignore"):  # neighbours that are both -inf are no jump
        for axis in range(logs.ndim):
            far = np.abs(np.diff(logs, axis=axis)) > JUMP_NATS
            total += float(np.abs(np.diff(masses, axis=axis))[far].sum())
    return 0.5 * total / float(masses.sum())


def _change(fine: Array, coarse: Array) -> float:
    """sum |fine, added up - coarse| / sum coarse, of log cell masses."""
    top = float(max(fine.max(), coarse.max()))
    masses = np.exp(fine - top)
    for axis, n in enumerate(coarse.shape):
        masses = np.add.reduceat(masses, np.arange(n) * (fine.shape[axis] // n), axis=axis)
    whole = np.exp(coarse - top)
    return float(np.abs(masses - whole).sum() / whole.sum())
