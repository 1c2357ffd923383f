"""`LogFunction`: the user's log-density, checked at every value and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pma_grid.runtime import Array, InvalidInputError

# Points that the function is asked for at a time: it may hold one row of data for each.
POINTS_AT_A_TIME = 1 << 14


class LogFunction:
    """log of an unnormalised density, ``function(*coordinates)`` by elements, and its count."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise InvalidInputError(
                f"log_density is {function!r}; it must be a function of the coordinates: for "
                "example lambda x, y: -(x**2 + y**2) / 2"
            )
        self._function = function
        self.evaluations = 0

    def __call__(self, *coordinates: Array) -> Array:
        """Values at coordinates of one shape, finite or -inf; what is neither is refused."""
        shape, size = coordinates[0].shape, coordinates[0].size
        self.evaluations += size
        flat = [np.ascontiguousarray(c).reshape(-1) for c in coordinates]
        starts = range(0, max(size, 1), POINTS_AT_A_TIME)
        pieces = [slice(k, k + POINTS_AT_A_TIME) for k in starts]
        out = np.concatenate([self._piece([c[piece] for c in flat]) for piece in pieces])
        return out.reshape(shape)

    def _piece(self, coordinates: list[Array]) -> Array:
        """Checked values at some points, coordinates of shape (m,)."""
        shape = coordinates[0].shape
        try:
            values = self._asked(coordinates)
        except Exception as error:
            raise InvalidInputError(
                f"log_density raises {type(error).__name__}: {error}{self._culprit(coordinates)}; "
                f"it must take {len(coordinates)} arrays of one shape: use NumPy functions by "
                "elements"
            ) from error
        if values.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"log_density returns dtype {values.dtype} at {_told(coordinates, 0)}; real "
                "numbers are needed: take np.real"
            )
        if values.shape not in (shape, ()):
            raise InvalidInputError(
                f"log_density returns shape {values.shape} for coordinates of shape {shape}; one "
                "value for each point is needed: sum over data inside, along an axis of their own"
            )
        out = np.broadcast_to(values, shape).astype(float)
        wrong = np.isnan(out) | (out == np.inf)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise InvalidInputError(
                f"log_density is {out[first]} at {_told(coordinates, first)}; it must be finite, "
                "or -inf where the density is zero: mend it there, or give a box without such "
                "points"
            )
        return out

    def _asked(self, coordinates: list[Array]) -> Array:
        """What the function returns; zeros and overflows inside are told by the values."""
        with np.errstate(all="ignore"):
            return np.asarray(self._function(*coordinates))

    def _culprit(self, coordinates: list[Array]) -> str:
        """Where the function raises, by halving: at a point, or for all arrays of more than one."""

        def raises(points: list[Array]) -> bool:
            try:
                self._asked(points)
            except Exception:
                return True
            return False

        first = [c[:1] for c in coordinates]
        if raises(first):
            return f" at {_told(coordinates, 0)}"
        if raises([np.repeat(c, 2) for c in first]):
            return ", for arrays of more than one point"
        good, bad = 1, coordinates[0].size
        while bad - good > 1:
            middle = (good + bad) // 2
            if raises([c[:middle] for c in coordinates]):
                bad = middle
            else:
                good = middle
        return f" at {_told(coordinates, bad - 1)}"

    def at(self, points: Array) -> Array:
        """Values at points (m, d)."""
        return self(*points.T)


def _told(coordinates: list[Array], k: int) -> list[float]:
    """The coordinates of a point, short."""
    return [float(f"{c[k]:.6g}") for c in coordinates]
