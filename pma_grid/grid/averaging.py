"""Cell averages: of functions by quadrature, of cell averages on another number of cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pma_grid.grid.axes import along
from pma_grid.runtime import Array, InvalidDensityError, check_whole


def function_averages(
    function: Callable[..., Any], axes: Sequence[Array], spacing: Sequence[float], quadrature: int
) -> Array:
    """Cell averages of a function by Gauss-Legendre quadrature, `quadrature` points an axis."""
    total = np.zeros([len(x) for x in axes])
    for weight, values in _quadrature_values(function, axes, spacing, quadrature):
        total += weight * values
    return total


def exponential_averages(
    function: Callable[..., Any], axes: Sequence[Array], spacing: Sequence[float], quadrature: int
) -> Array:
    """Cell averages of exp(f - max f) without overflow; the maximum is over the Gauss points."""
    total, top = np.zeros([len(x) for x in axes]), -math.inf
    for weight, values in _quadrature_values(function, axes, spacing, quadrature):
        highest = float(values.max())
        if math.isnan(highest) or highest == math.inf:
            raise InvalidDensityError(
                f"function has {highest} as a log-density; it must be finite, or -inf where the "
                "density is zero: check its domain on this grid"
            )
        if highest > top:
            # What was summed so far refers to the old maximum.
            total *= math.exp(top - highest)
            top = highest
        if top > -math.inf:
            total += weight * np.exp(values - top)
    return total


def _quadrature_values(
    function: Callable[..., Any],
    axes: Sequence[Array],
    spacing: Sequence[float],
    quadrature: int,
) -> Iterator[tuple[float, Array]]:
    """Weights (sum 1) and values of the function at each Gauss point of all cells at once."""
    for weight, offset in gauss_points(quadrature, len(axes)):
        moved = [x + o * h for x, o, h in zip(axes, offset, spacing, strict=True)]
        mesh = np.meshgrid(*moved, indexing="ij", copy=False)
        yield weight, evaluated(function, mesh)


def gauss_points(quadrature: int, dim: int) -> Iterator[tuple[float, Array]]:
    """Weights, of sum 1, and offsets (dim,) from a cell's centre, in cells, of Gauss's rule."""
    remedy = "points along each axis of a cell, 2 are enough for second order"
    nodes, weights = np.polynomial.legendre.leggauss(
        check_whole(quadrature, 1, "quadrature", remedy)
    )
    for point in itertools.product(range(len(nodes)), repeat=dim):
        yield float(np.prod(weights[list(point)] / 2)), 0.5 * nodes[list(point)]


def evaluated(function: Callable[..., Any], mesh: Sequence[Array]) -> Array:
    """Result of the user's function as real numbers of the shape of its arguments."""
    values = np.asarray(function(*mesh))
    if values.dtype.kind not in "biuf":
        raise InvalidDensityError(
            f"function returns dtype {values.dtype}; real numbers are needed: take np.real or abs"
        )
    try:
        return np.broadcast_to(values, mesh[0].shape).astype(np.float64, copy=False)
    except ValueError as error:
        raise InvalidDensityError(
            f"function returns shape {values.shape} for coordinates of shape {mesh[0].shape}; one "
            "value for each point is needed: use NumPy functions that work elementwise"
        ) from error


def averaged(values: Array, shape: Sequence[int]) -> Array:
    """Averages over the cells of another shape, of the same box."""
    for axis, n in enumerate(shape):
        values = _averaged_along(values, axis, n)
    return values


def _averaged_along(values: Array, axis: int, n: int) -> Array:
    """Averages over n equal cells along one axis."""
    # faces are integers in units of 1 / (n m) of the axis, so no overlap is lost to rounding and no
    # average becomes negative, as differences of a cumulated mass would
    m = values.shape[axis]
    if m == n:
        return values
    breaks = np.union1d(np.arange(m + 1) * n, np.arange(n + 1) * m)
    pieces = np.diff(breaks) / m  # in units of a new cell
    starts = np.searchsorted(breaks, np.arange(n) * m)
    parts = values.take(breaks[:-1] // n, axis=axis) * along(pieces, axis, values.ndim)
    return np.add.reduceat(parts, starts, axis=axis)
