"""Densities on grids: validated and normalised once; floors are applied to copies and reported."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.averaging import averaged, exponential_averages, function_averages
from pma_grid.grid.grid import Grid
from pma_grid.problem.raising import FloorReport, raised
from pma_grid.problem.readers import MAX_PIXELS, read_image
from pma_grid.problem.validation import checked_floor, checked_total, checked_values
from pma_grid.runtime import Array, InvalidDensityError, InvalidInputError, check_count, check_seed


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Density:
    """A probability density given by its cell averages on a grid.

    Parameters
    ----------
    values : array_like, 1 to 3 axes
        Averages of the density over the cells, up to a common factor: bool, integer or real
        numbers, finite, >= 0, not all zero.  The array is copied and never modified.
    grid : Grid, optional
        Where the cells lie.  The default is the unit box, with the shape of ``values``.
    floor : float in (0, 1), optional
        Solvers that need a positive density raise smaller values to this one, relative to the mean
        density, in a copy of theirs.  With None they leave strictly positive values alone, and
        raise those with exact zeros to a default.

    Attributes
    ----------
    values : ndarray, shape ``grid.shape``
        The normalised density, in 1/length^d: ``values.sum() * grid.cell_volume`` is 1.  Float64,
        contiguous, read-only.  The floor is not applied here: the data are yours.
    masses : ndarray, shape ``grid.shape``
        Masses of the cells, which sum to 1, in any unit of length the same; read-only.
    grid : Grid
    mass : float
        Total mass of the input, before it was normalised.
    floor : float or None

    Raises
    ------
    InvalidDensityError
        The values are NaN, infinite, negative, complex, objects, text, masked or empty; or they
        have no mass or one that overflows, no axis or more than three, or not the grid's shape.
    InvalidInputError
        ``floor`` or ``grid`` is not valid.

    Examples
    --------
    >>> density = Density([[1, 3], [2, 2]])
    >>> density.values.tolist()
    [[0.5, 1.5], [1.0, 1.0]]
    >>> density.mass
    2.0
    """

    masses: Array
    grid: Grid
    mass: float
    floor: float | None

    def __init__(
        self, values: ArrayLike, grid: Grid | None = None, *, floor: float | None = None
    ) -> None:
        self._store(checked_values(values, "values"), grid, floor, "values")

    def _store(
        self, raw: Array, grid: Grid | None, floor: float | None, name: str,
        mass: float | None = None,
    ) -> None:  # fmt: skip
        """Normalise checked values, which this object owns from now on; ``mass``, if known."""
        grid = Grid(raw.shape) if grid is None else grid
        if not isinstance(grid, Grid):
            raise InvalidInputError(
                f"grid is {grid!r}; it must be a Grid: pass pma_grid.Grid({raw.shape})"
            )
        if raw.shape != grid.shape:
            raise InvalidDensityError(
                f"{name} has shape {raw.shape} but the grid has shape {grid.shape}; they must "
                "agree: pass the matching grid or resample the values"
            )
        total = checked_total(raw, name)
        raw /= total
        raw.setflags(write=False)
        for key, value in (
            ("masses", raw),
            ("grid", grid),
            ("mass", total * grid.cell_volume if mass is None else mass),
            ("floor", checked_floor(floor)),
        ):
            object.__setattr__(self, key, value)

    @classmethod
    def _named(
        cls, values: ArrayLike, grid: Grid | None, floor: float | None, name: str,
        mass: float | None = None,
    ) -> Density:  # fmt: skip
        """Density whose error messages call the values ``name``."""
        density = cls.__new__(cls)
        density._store(checked_values(values, name), grid, floor, name, mass)
        return density

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        grid: Grid,
        *,
        quadrature: int = 2,
        floor: float | None = None,
    ) -> Density:
        """Cell averages of a function by Gauss-Legendre quadrature.

        Parameters
        ----------
        function : callable
            ``function(*coordinates)`` with d arrays of the shape of the grid; the result is
            broadcast to that shape.
        grid : Grid
            Where the density is wanted.
        quadrature : int
            Number q >= 1 of Gauss points along each axis of a cell.  q points are exact for
            polynomials of degree 2 q - 1; one is the value at the centre, to second order.
        floor : float in (0, 1), optional
            As for `Density`.

        Raises
        ------
        InvalidInputError
            If ``quadrature`` is not a positive integer or the function does not return a density.

        Examples
        --------
        >>> Density.from_function(lambda x: x, Grid(4)).values.tolist()
        [0.25, 0.75, 1.25, 1.75]
        """
        total = function_averages(function, grid.axes, grid.spacing, quadrature)
        return cls._named(total, grid, floor, "function")

    @classmethod
    def from_log(
        cls,
        function: Callable[..., Any],
        grid: Grid,
        *,
        quadrature: int = 2,
        floor: float | None = None,
    ) -> Density:
        """Density exp(f) from its logarithm; a constant added to f changes nothing.

        Parameters
        ----------
        function : callable
            ``f(*coordinates)`` as in `from_function`; -inf stands for density zero.
        grid, quadrature, floor
            As in `from_function`.

        Raises
        ------
        InvalidInputError
            If ``quadrature`` is not a positive integer, f has NaN or +inf, or f is -inf everywhere.

        Notes
        -----
        The maximum of f is subtracted before the exponential, so nothing overflows; ``mass``
        refers to exp(f - max f).

        Examples
        --------
        >>> Density.from_log(lambda x: 5000 + 0 * x, Grid(4)).values.tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        total = exponential_averages(function, grid.axes, grid.spacing, quadrature)
        return cls._named(total, grid, floor, "exp(function)")

    @classmethod
    def from_image(
        cls,
        path: str | os.PathLike[str],
        *,
        grid: Grid | None = None,
        invert: bool = False,
        channel: int | None = None,
        max_pixels: int = MAX_PIXELS,
        floor: float | None = None,
    ) -> Density:
        """Density from the brightness of a picture (png, jpg, tif).

        Parameters
        ----------
        path : str or path
        grid : Grid, optional
            Where the pixels lie; by default the picture fills the unit box.
        floor : float in (0, 1), optional
            As for `Density`.
        invert : bool
            Dark is dense: the values are subtracted from the largest one that the pixel type
            holds (for float pictures: from the largest one present).
        channel : int, optional
            Colour channel to take, counted from 0; None takes the luminance.
        max_pixels : int
            Larger pictures are refused before they are decoded.

        Raises
        ------
        InvalidInputError
            If the file is missing, unreadable, too large or not a picture, or its pixels are not
            a density or do not fit the grid.

        Notes
        -----
        Axis 0 runs down the picture, axis 1 to the right; the pages of a tif come before them.
        """
        pixels, white = read_image(path, max_pixels=max_pixels, channel=channel)
        if invert:
            pixels = white - pixels.astype(np.float64)
        return cls._named(pixels, grid, floor, os.fspath(path))

    @cached_property
    def values(self) -> Array:
        """The cell averages, 1/length^d."""
        values: Array = self.masses / self.grid.cell_volume
        values.setflags(write=False)
        return values

    @property
    def relative(self) -> Array:
        """The cell averages over their mean, dimensionless; a new array.

        What is computed from these is the same in any unit of length, to the bit.
        """
        shares = (1.0 / n for n in self.shape)
        return np.asarray(self.masses / math.prod(shares))

    @property
    def dim(self) -> int:
        """Number of axes, 1 to 3."""
        return self.grid.dim

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``values``."""
        return self.grid.shape

    def working(self, default_floor: float) -> tuple[Array, FloorReport]:
        """A positive copy, for solvers that take logarithms of it or write to it.

        Parameters
        ----------
        default_floor : float in (0, 1)
            Floor, relative to the mean density, for data with exact zeros and no floor of their
            own.

        Returns
        -------
        values : ndarray, shape ``grid.shape``
            Cell averages over their mean, dimensionless: strictly positive, writable, of mean one.
        report : FloorReport

        Examples
        --------
        >>> values, report = Density([0, 1, 1, 2]).working(0.5)
        >>> report.cells, round(report.mass_added, 6)
        (1, 0.111111)
        """
        floor = self.floor
        if floor is None:
            # Positive tails, however thin, are data; only a zero has no logarithm.
            floor = 0.0 if self.masses.min() > 0 else checked_floor(default_floor) or 0.0
        return raised(self.relative, floor)

    def resampled(self, grid: Grid) -> Density:
        """The same piecewise-constant density averaged over the cells of another grid.

        Parameters
        ----------
        grid : Grid
            Any shape with the same number of axes, on the same box.

        Returns
        -------
        Density
            Exact cell averages; mass is conserved, minima and maxima are not exceeded.

        Raises
        ------
        InvalidInputError
            If the boxes differ.

        Examples
        --------
        >>> Density([1.0, 2.0, 3.0]).resampled(Grid(2)).values.tolist()
        [0.6666666666666666, 1.3333333333333333]
        """
        self.grid.check_same_box(grid)
        values = averaged(self.relative, grid.shape)
        return self._named(values, grid, self.floor, "values", self.mass)

    def mean(self) -> Array:
        """Centre of mass, shape (d,), in units of length; exact for the cell averages."""
        return np.array([self._marginal(axis) @ x for axis, x in enumerate(self.grid.axes)])

    def second_moment(self, about: ArrayLike | None = None) -> float:
        """Integral of |x - about|^2 against the piecewise-constant density, length^2.

        Parameters
        ----------
        about : array_like, shape (d,), optional
            Default: the origin.

        Notes
        -----
        Exact, so it includes h^2 / 12 for each axis of spacing h.  The variance is
        ``second_moment(about=density.mean())``.

        Examples
        --------
        >>> round(Density([1.0, 1.0]).second_moment(about=[0.5]) * 12, 12)
        1.0
        """
        centre = np.zeros(self.dim) if about is None else np.asarray(about, dtype=np.float64)
        if centre.shape != (self.dim,) or not np.isfinite(centre).all():
            raise InvalidInputError(
                f"about is {about!r}; it must be a point of {self.dim} finite coordinates: "
                "pass for example density.mean()"
            )
        return sum(
            float(self._marginal(axis) @ (x - centre[axis]) ** 2) + h**2 / 12
            for axis, (x, h) in enumerate(zip(self.grid.axes, self.grid.spacing, strict=True))
        )

    def sample(self, n: int, seed: int | np.random.Generator) -> Array:
        """Random points: a cell by its mass, then uniform inside the cell.

        Parameters
        ----------
        n : int
            Number of points, >= 0.
        seed : int or numpy Generator
            The same seed gives the same points.

        Returns
        -------
        ndarray, shape (n, d)

        Examples
        --------
        >>> points = Density([0.0, 1.0]).sample(100, seed=7)
        >>> points.shape, bool((points >= 0.5).all())
        ((100, 1), True)
        """
        n, generator = check_count(n), check_seed(seed)
        below = np.cumsum(self.masses.ravel())
        # side="right" never picks an empty cell, also for a draw of exactly 0.
        cells = np.searchsorted(below, generator.random(n) * below[-1], side="right")
        index = np.stack(np.unravel_index(np.minimum(cells, below.size - 1), self.shape), axis=1)
        inside = (index + generator.random(index.shape)) * self.grid.spacing
        return np.minimum(self.grid.lower + inside, self.grid.upper)

    def _marginal(self, axis: int) -> Array:
        """Masses of the slabs along one axis, sum 1."""
        others = tuple(k for k in range(self.dim) if k != axis)
        slabs: Array = self.masses.sum(axis=others)
        return slabs

    def describe(self) -> str:
        """Shape and box in a few characters, for messages and representations."""
        shape = "x".join(map(str, self.shape))
        box = " x ".join(
            f"[{low:g}, {high:g}]"
            for low, high in zip(self.grid.lower, self.grid.upper, strict=True)
        )
        return f"{shape} on {box}"

    def __repr__(self) -> str:
        """Shape, box, mass and floor."""
        floor = "" if self.floor is None else f", floor={self.floor:g}"
        return f"Density({self.describe()}, mass={self.mass:g}{floor})"


def as_density(values: Density | ArrayLike, name: str) -> Density:
    """``values`` if it is a Density, else that of the array, called ``name``, on the unit box."""
    return values if isinstance(values, Density) else Density._named(values, None, None, name)
