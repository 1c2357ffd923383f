"""`Samples`: data points, checked once, on a grid around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.grid import MAX_DIM, Grid
from pma_grid.runtime import Array, Integers, InvalidInputError, check_inside, check_seed

# Fewer different points say nothing about a density.
LEAST_POINTS = 10
# Share of the range that a box found from the points is widened by at each end.
PADDING_RANGES = 0.15
# Cells an axis by default, by dimension.
DEFAULT_CELLS = {1: 512, 2: 128, 3: 32}


class Samples:
    """Data points drawn from an unknown law, and the grid on which that law is to be learned.

    Parameters
    ----------
    points : array_like, shape (n, d) or (n,)
        One point a row, in 1 to 3 dimensions.  At least 10 of them must differ, all be finite, and
        no coordinate be the same for all.  The array is copied.
    grid : Grid, optional
        The box and its cells.  Without it they follow from ``shape`` and ``box``.
    shape : int or sequence of int, optional
        Number of cells along each axis.  The default is 512 in one dimension, 128 x 128 in two and
        32 x 32 x 32 in three.
    box : sequence of (lower, upper), optional
        One pair for each axis.  The default is the range of the points, widened by 15 % at each
        end.
    name : str
        What error messages call the points.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        Read-only.
    grid : Grid
    duplicates : int
        Number of points equal to an earlier one.  Rounded data have some; they are kept.

    Raises
    ------
    InvalidInputError
        The points are not numbers, not finite, too few, nearly all the same, constant along an
        axis, of more than three coordinates, or outside the box; the message names the first.

    Examples
    --------
    >>> samples = Samples(np.linspace(0, 1, 11), shape=4, box=[(0, 2)])
    >>> samples.n, samples.dim, samples.masses().round(2).tolist()
    (11, 1, [0.45, 0.45, 0.09, 0.0])
    """

    def __init__(
        self,
        points: ArrayLike,
        *,
        grid: Grid | None = None,
        shape: int | Sequence[int] | None = None,
        box: Sequence[tuple[float, float]] | None = None,
        name: str = "samples",
    ) -> None:
        self.points = _checked(points, name)
        if grid is not None and (shape is not None or box is not None):
            raise InvalidInputError(
                "grid is given beside shape or box, which it has itself; leave these out"
            )
        self.grid = _grid(self.points, shape, box) if grid is None else grid
        if self.grid.dim != self.dim:
            raise InvalidInputError(
                f"grid has {self.grid.dim} axes and {name} {self.dim} coordinates; they must "
                "agree: give one axis for each coordinate"
            )
        self.points = self.grid.check_points(self.points, name)
        self.points.setflags(write=False)
        different = len(np.unique(self.points, axis=0))
        if different < LEAST_POINTS:
            raise InvalidInputError(
                f"{name} has {self.n} points of which only {different} are different; at least "
                f"{LEAST_POINTS} are needed to learn a density: count such data, do not fit them"
            )
        self.duplicates = self.n - different

    @property
    def n(self) -> int:
        """The number of points."""
        return len(self.points)

    @property
    def dim(self) -> int:
        """The number of coordinates."""
        return int(self.points.shape[1])

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.grid.shape))
        return f"Samples({self.n} points in {self.dim}-D on {shape} cells)"

    def masses(self) -> Array:
        """The histogram: the points' shares in the cells, ``grid.shape``, of sum 1."""
        cells = np.ravel_multi_index(tuple(self.grid.cell_index(self.points).T), self.grid.shape)
        counts = np.bincount(cells, minlength=self.grid.size).reshape(self.grid.shape)
        return np.asarray(counts / self.n)

    def split(self, held_out: float, seed: int) -> tuple[Samples, Samples]:
        """Two random parts on the same grid; the second has a share ``held_out`` of the points."""
        check_inside(held_out, 0, 1, "held_out", "a share of the samples, 0.2 for a fifth")
        order = check_seed(seed).permutation(self.n)
        count = min(max(1, round(held_out * self.n)), self.n - 1)
        return self._part(order[count:]), self._part(order[:count])

    def _part(self, rows: Integers) -> Samples:
        """Some of the points, which were checked before."""
        part = Samples.__new__(Samples)
        part.points, part.grid = self.points[rows], self.grid
        part.points.setflags(write=False)
        part.duplicates = len(rows) - len(np.unique(part.points, axis=0))
        return part


def cell_counts(
    shape: int | Sequence[int] | None, dim: int, default: dict[int, int]
) -> tuple[int, ...]:
    """Cells an axis: as given, one number for all axes, or the default of the dimension."""
    cells = default[dim] if shape is None else shape
    counts = (cells,) * dim if isinstance(cells, int | np.integer) else tuple(cells)
    if len(counts) != dim:
        raise InvalidInputError(
            f"shape is {counts} for {dim} coordinates; give one number of cells for each, or one "
            "for all"
        )
    return counts


def checked_names(names: Sequence[str], dim: int) -> tuple[str, ...]:
    """One name a coordinate, all different, or none."""
    given = tuple(str(name) for name in names)
    if given and len(given) != dim:
        raise InvalidInputError(
            f"names has {len(given)} entries for {dim} coordinates; give one for each, or none"
        )
    if len(set(given)) != len(given):
        raise InvalidInputError(f"names has {given}; every coordinate needs a name of its own")
    return given


def default_names(dim: int) -> tuple[str, ...]:
    """What coordinates without names are called."""
    return tuple(f"x{axis}" for axis in range(dim))


def _checked(points: ArrayLike, name: str) -> Array:
    """A float64 copy, (n, d)."""
    try:
        array = np.asarray(points)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(
            f"{name} has dtype {array.dtype}; real numbers of shape (n, d) are needed, one row for "
            "each point: convert them, for example with .astype(float)"
        )
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_DIM:
        raise InvalidInputError(
            f"{name} has shape {array.shape}; points have 1 to {MAX_DIM} coordinates, one row "
            "each: choose columns, or transpose"
        )
    if len(array) < LEAST_POINTS:
        raise InvalidInputError(
            f"{name} has {len(array)} points; at least {LEAST_POINTS} are needed to learn a "
            "density: bring more data"
        )
    copy = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(copy).all(axis=1))
    if wrong.size:
        row = int(wrong[0])
        raise InvalidInputError(
            f"{name} has {copy[row].tolist()} in row {row} ({wrong.size} such rows); coordinates "
            "must be finite: drop these rows"
        )
    _check_spread(copy, name)
    return copy


def _check_spread(points: Array, name: str) -> None:
    """Refuse points that lie on one value along an axis."""
    for axis, (low, high) in enumerate(zip(points.min(axis=0), points.max(axis=0), strict=True)):
        if not high - low > 1e-12 * max(abs(low), abs(high)):
            every = "all the same point" if points.shape[1] == 1 else "constant"
            raise InvalidInputError(
                f"{name} is {every} along axis {axis}, at {low:g}; a density needs spread in every "
                "coordinate: leave that column out"
            )


def _grid(
    points: Array, shape: int | Sequence[int] | None, box: Sequence[tuple[float, float]] | None
) -> Grid:
    """The grid of a shape and a box, either from the points by default."""
    dim = points.shape[1]
    counts = cell_counts(shape, dim, DEFAULT_CELLS)
    if box is None:
        low, high = points.min(axis=0), points.max(axis=0)
        margin = PADDING_RANGES * (high - low)
        return Grid(counts, tuple(low - margin), tuple(high + margin))
    if len(box) != dim or any(len(pair) != 2 for pair in box):
        raise InvalidInputError(
            f"box is {box!r} for points of {dim} coordinates; give one pair (lower, upper) for each"
        )
    return Grid(counts, tuple(p[0] for p in box), tuple(p[1] for p in box))
