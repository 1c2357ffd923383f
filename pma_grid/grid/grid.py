"""The one place of the cell-centred convention: boxes of equal cells in one to three axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.grid.axes import coordinates
from pma_grid.runtime import Array, InvalidInputError

MAX_DIM = 3
# Points this share of a box length outside are rounding errors of the caller.
BOX_SLACK_LENGTHS = 1e-12
# A cell must be this much wider than the rounding error of a coordinate; below that neighbouring
# cell centres coincide.
MIN_CELL_ULPS = 8
# Sides between these, a few units of 1e-100 or 1e100: their cubes, volumes, stay in the range of
# doubles, and their squares, the unit of potentials, far from its ends.
SHORTEST_SIDE, LONGEST_SIDE = 1e-101, 1e101


@dataclass(frozen=True, init=False)
class Grid:
    """A box divided into equal cells, in one to three dimensions.

    Arrays on a grid hold one value for each cell: the average over the cell of a density, the value
    at its centre of a potential or a map.

    Parameters
    ----------
    shape : int or sequence of int
        Number of cells along each axis, each at least 1.  Nothing varies along an axis of one cell.
    lower, upper : float or sequence of float, optional
        Lower and upper corner of the box, in units of length; a single number holds for every axis.
        The default is the unit box, from 0 to 1.

    Attributes
    ----------
    shape : tuple of int
    lower, upper : tuple of float

    Raises
    ------
    InvalidInputError
        The shape has no axis or more than three, or a number of cells that is not an integer >= 1;
        or a corner is not finite, ``upper`` is not above ``lower``, a side is shorter than 1e-101
        or longer than 1e101, or the cells are so thin that rounding cannot tell them apart.

    Notes
    -----
    Cell k of an axis covers ``[lower + k h, lower + (k + 1) h]`` with ``h = (upper - lower) / n``;
    its centre is ``lower + (k + 1/2) h``.  Grids are hashable and compare by value.

    Examples
    --------
    >>> grid = Grid((4, 2), upper=(1.0, 3.0))
    >>> grid.spacing
    (0.25, 1.5)
    >>> grid.axes[0].tolist()
    [0.125, 0.375, 0.625, 0.875]
    >>> Grid(64).shape
    (64,)
    """

    shape: tuple[int, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> None:
        cells = _checked_shape(shape)
        low = _checked_corner(0.0 if lower is None else lower, "lower", len(cells))
        high = _checked_corner(1.0 if upper is None else upper, "upper", len(cells))
        _check_box(cells, low, high)
        object.__setattr__(self, "shape", cells)
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)

    @property
    def dim(self) -> int:
        """Number of axes, 1 to 3."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @cached_property
    def lengths(self) -> tuple[float, ...]:
        """Lengths of the box along the axes."""
        return tuple(high - low for low, high in zip(self.lower, self.upper, strict=True))

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Lengths of one cell along the axes."""
        return tuple(length / n for length, n in zip(self.lengths, self.shape, strict=True))

    @property
    def cell_volume(self) -> float:
        """Volume of one cell, length^d."""
        return math.prod(self.spacing)

    @property
    def volume(self) -> float:
        """Volume of the box, length^d."""
        return math.prod(self.lengths)

    @cached_property
    def at_origin(self) -> Grid:
        """The grid moved so that its lower corner is 0: coordinates without what a far box adds."""
        return Grid(self.shape, 0.0, self.lengths)

    @cached_property
    def axes(self) -> tuple[Array, ...]:
        """Coordinates of the cell centres along each axis; read-only arrays of shape (n,)."""
        return tuple(
            _read_only(low + (np.arange(n, dtype=np.float64) + 0.5) * h)
            for low, n, h in zip(self.lower, self.shape, self.spacing, strict=True)
        )

    @cached_property
    def faces(self) -> tuple[Array, ...]:
        """Coordinates of the cell faces along each axis, (n + 1,), ends exact; read-only arrays."""
        return tuple(
            _read_only(np.linspace(low, high, n + 1, dtype=np.float64))
            for low, high, n in zip(self.lower, self.upper, self.shape, strict=True)
        )

    def coordinates(self) -> Array:
        """Cell centres as one array.

        Returns
        -------
        ndarray, shape (d, *shape)
            Coordinate i of every cell centre in entry i; a new array.

        Examples
        --------
        >>> Grid((2, 2)).coordinates()[1].tolist()
        [[0.25, 0.75], [0.25, 0.75]]
        """
        return coordinates(self.axes)

    @property
    def points(self) -> Array:
        """Cell centres as points, shape (size, d), in C order of the cells; a new array."""
        return self.coordinates().reshape(self.dim, -1).T

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points lie in the box, up to rounding.

        Parameters
        ----------
        points : array_like, shape (m, d)

        Returns
        -------
        ndarray of bool, shape (m,)
            True within 1e-12 of a box length; NaN is outside.

        Raises
        ------
        InvalidInputError
            If ``points`` is not an (m, d) array of real numbers.

        Examples
        --------
        >>> Grid((8, 8)).contains([(0.5, 0.5), (0.5, 1.5)]).tolist()
        [True, False]
        """
        return self._inside(self.as_points(points, "points"))

    def check_points(self, points: ArrayLike, name: str = "points") -> Array:
        """Points as float64, or an error that names the first one outside the box.

        Parameters
        ----------
        points : array_like, shape (m, d)
        name : str
            How the caller calls them, for the message.

        Returns
        -------
        ndarray, shape (m, d)
            A new array; points outside by rounding only are moved onto the box.

        Raises
        ------
        InvalidInputError
            If a point lies outside or ``points`` is not an (m, d) array of real numbers.
        """
        array = self.as_points(points, name)
        outside = np.flatnonzero(~self._inside(array))
        if outside.size:
            first = int(outside[0])
            raise InvalidInputError(
                f"{name} has point {first} at {_format(array[first])} outside the box from "
                f"{_format(self.lower)} to {_format(self.upper)} ({outside.size} of {len(array)} "
                "are outside); every point must lie in the box: drop or move them, or take a "
                "larger box"
            )
        inside: Array = np.clip(array, self.lower, self.upper)
        return inside

    def cell_index(self, points: ArrayLike) -> NDArray[np.int64]:
        """Index of the cell that holds each point.

        Parameters
        ----------
        points : array_like, shape (m, d)
            Points in the box; on a common face the upper cell is taken, at the end the last one.

        Returns
        -------
        ndarray of int64, shape (m, d)

        Raises
        ------
        InvalidInputError
            If a point lies outside the box.

        Examples
        --------
        >>> Grid(4).cell_index([[0.0], [0.25], [1.0]]).ravel().tolist()
        [0, 1, 3]
        """
        array = self.check_points(points)
        index = np.floor((array - self.lower) / self.spacing).astype(np.int64)
        return np.clip(index, 0, np.array(self.shape) - 1)

    def check_same_box(self, other: Grid) -> None:
        """Raise InvalidInputError if the box of ``other`` differs by more than rounding."""
        if self.dim == other.dim:
            slack = BOX_SLACK_LENGTHS * np.array(self.lengths)
            lower, upper = (
                np.subtract(self.lower, other.lower),
                np.subtract(self.upper, other.upper),
            )
            if (np.maximum(abs(lower), abs(upper)) <= slack).all():
                return
        raise InvalidInputError(
            f"grid is the box from {_format(other.lower)} to {_format(other.upper)} where that "
            f"from {_format(self.lower)} to {_format(self.upper)} is needed; the boxes must agree: "
            "pass Grid(shape, old.lower, old.upper)"
        )

    def to_dict(self) -> dict[str, list[int] | list[float]]:
        """Plain lists for JSON; `from_dict` is the inverse."""
        return {"shape": list(self.shape), "lower": list(self.lower), "upper": list(self.upper)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """Grid from the output of `to_dict`.

        Raises
        ------
        InvalidInputError
            If an entry is missing or not valid.

        Examples
        --------
        >>> Grid.from_dict(Grid((4, 8)).to_dict()) == Grid((4, 8))
        True
        """
        missing = [key for key in ("shape", "lower", "upper") if key not in data]
        if missing:
            raise InvalidInputError(
                f"grid data lacks {', '.join(missing)}; shape, lower and upper are needed: "
                "write them with Grid.to_dict"
            )
        return cls(data["shape"], data["lower"], data["upper"])

    def _inside(self, points: Array) -> NDArray[np.bool_]:
        """Box test with tolerance; comparisons are False for NaN."""
        slack = BOX_SLACK_LENGTHS * np.array(self.lengths)
        above = points >= np.array(self.lower) - slack
        below = points <= np.array(self.upper) + slack
        return np.asarray((above & below).all(axis=1))

    def as_points(self, points: ArrayLike, name: str) -> Array:
        """(m, d) float64 view or copy of points, in the box or not; ``name`` is for messages."""
        try:
            array = np.asarray(points)
        except ValueError as error:
            raise InvalidInputError(
                f"{name} has rows of different lengths; an array of shape (m, {self.dim}) is "
                "needed: give every point the same number of coordinates"
            ) from error
        if array.dtype.kind not in "biuf" or array.ndim != 2 or array.shape[1] != self.dim:
            raise InvalidInputError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; real numbers of shape "
                f"(m, {self.dim}) are needed, one row for each point: for a single point pass "
                "[point]"
            )
        return array.astype(np.float64, copy=False)


def _checked_shape(shape: SupportsIndex | Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Shape as a tuple of Python ints."""
    entries = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not 1 <= len(entries) <= MAX_DIM:
        raise InvalidInputError(
            f"shape has {len(entries)} axes; grids have 1 to {MAX_DIM}: "
            "pass one cell count for each axis"
        )
    return tuple(_checked_count(n, axis) for axis, n in enumerate(entries))


def _checked_count(n: Any, axis: int) -> int:
    """One entry of a shape; bool is refused although Python calls it an int."""
    try:
        count = -1 if isinstance(n, bool | np.bool_) else operator.index(n)
    except TypeError:
        count = -1
    if count < 1:
        raise InvalidInputError(
            f"shape has {n!r} along axis {axis}; cell counts are integers >= 1: "
            "pass for example Grid((64, 64))"
        )
    return count


def _checked_corner(corner: ArrayLike, name: str, dim: int) -> tuple[float, ...]:
    """One corner of the box as floats."""
    try:
        array = np.asarray(corner, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} is {corner!r}; it must be a number or {dim} numbers: pass one for each axis"
        ) from error
    if array.ndim == 0:
        array = np.full(dim, array)
    if array.shape != (dim,):
        raise InvalidInputError(
            f"{name} has shape {array.shape}, the grid has {dim} axes; one number for each axis "
            "is needed: make them agree"
        )
    if not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} is {_format(array)}; corners must be finite: cut the domain to a finite box"
        )
    return tuple(float(x) + 0.0 for x in array)  # + 0.0: a corner of -0.0 equals 0.0 and prints so


def _check_box(shape: tuple[int, ...], lower: tuple[float, ...], upper: tuple[float, ...]) -> None:
    """Refuse boxes without volume and cells that floating point cannot tell apart."""
    volume = 1.0
    for axis, (n, low, high) in enumerate(zip(shape, lower, upper, strict=True)):
        if not high > low:
            raise InvalidInputError(
                f"upper is {high!r} and lower {low!r} along axis {axis}; upper must be larger: "
                "swap them or give the axis a length"
            )
        if not SHORTEST_SIDE <= high - low <= LONGEST_SIDE:
            raise InvalidInputError(
                f"lower {low!r} and upper {high!r} along axis {axis} are {high - low:g} apart; "
                f"sides must be from {SHORTEST_SIDE:g} to {LONGEST_SIDE:g} long, or their powers "
                "leave the range of floating point: choose another unit of length"
            )
        cell = (high - low) / n
        if not cell > MIN_CELL_ULPS * np.spacing(max(abs(low), abs(high))):
            raise InvalidInputError(
                f"shape has {n} cells along axis {axis} between {low!r} and {high!r}, thinner "
                "than floating point can tell apart: move the box towards zero or use fewer cells"
            )
        volume *= cell
    if not np.finfo(float).tiny < volume < np.finfo(float).max:
        raise InvalidInputError(
            f"lower {_format(lower)} and upper {_format(upper)} give cells of volume {volume:g}; "
            "it must be a positive finite number: choose another unit of length"
        )


def _format(numbers: Iterable[float]) -> str:
    """Coordinates for a message."""
    return "(" + ", ".join(f"{x:g}" for x in numbers) + ")"


def _read_only(array: Array) -> Array:
    """The array, locked: it is cached and shared."""
    array.setflags(write=False)
    return array
