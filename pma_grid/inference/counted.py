"""`LogFunction`: the user's log-density, checked at every value and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pma_grid.errors import InvalidInputError
from pma_grid.lattice import Array


class LogFunction:
    """log of an unnormalised density, ``function(*coordinates)`` by elements.

    Attributes
    ----------
    evaluations : int
        Points that it was asked for.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise InvalidInputError(
                f"log_density is {function!r}; it must be a function of the coordinates: for "
                "example lambda x, y: -(x**2 + y**2) / 2"
            )
        self._function = function
        self.evaluations = 0

    def __call__(self, *coordinates: Array) -> Array:
        """Values at coordinates of one shape, -inf where the density is zero.

        Raises
        ------
        InvalidInputError
            The function raises, or gives NaN, +inf, numbers that are not real or another shape.
        """
        shape = coordinates[0].shape
        self.evaluations += coordinates[0].size
        try:
            # zeros and overflows inside are told by the values
            with np.errstate(all="ignore"):
                values = np.asarray(self._function(*coordinates))
        except Exception as error:
            raise InvalidInputError(
                f"log_density raises {type(error).__name__}: {error}; it must take "
                f"{len(coordinates)} arrays of one shape: use NumPy functions by elements"
            ) from error
        if values.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"log_density returns dtype {values.dtype}; real numbers are needed: take np.real"
            )
        if values.shape not in (shape, ()):
            raise InvalidInputError(
                f"log_density returns shape {values.shape} for coordinates of shape {shape}; one "
                "value for each point is needed: sum over data inside, along an axis of their own"
            )
        out = np.broadcast_to(values, shape).astype(float)
        wrong = np.isnan(out) | (out == np.inf)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            point = [float(f"{c[where]:.6g}") for c in coordinates]
            raise InvalidInputError(
                f"log_density is {out[where]} at {point}; it must be finite, or -inf where the "
                "density is zero: mend it there, or give a box without such points"
            )
        return out

    def at(self, points: Array) -> Array:
        """Values at points (m, d)."""
        return self(*np.ascontiguousarray(points.T))
