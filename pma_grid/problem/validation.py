"""What an array must be to become a density: the checks, one sentence for each refusal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.grid.grid import MAX_DIM
from pma_grid.runtime import Array, InvalidDensityError, check_inside


def checked_values(values: ArrayLike, name: str) -> Array:
    """A float64 copy in C order of finite numbers >= 0 in one to three axes."""
    array = _checked_array(values, name)
    with np.errstate(over="ignore"):  # longdouble may overflow; the test for infinity reports it
        copy = np.array(array, dtype=np.float64, order="C")
    for wrong, what, remedy in (
        (np.isnan(copy), "NaN", "replace or fill the missing values"),
        (np.isinf(copy), "an infinite value", "clip the array or check the reader"),
        (copy < 0, "a negative value", "clip the array or check the reader"),
    ):
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = "" if what == "NaN" else f" {copy[index]:g}"
            raise InvalidDensityError(
                f"{name} has {what}{value} at {index}; densities must be finite and >= 0: {remedy}"
            )
    copy += 0.0  # turns -0.0 into 0.0
    return copy


def _checked_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Array of a real dtype, one to three axes, not empty, nothing masked."""
    if np.ma.is_masked(values):
        raise InvalidDensityError(
            f"{name} has masked entries; every cell needs a value: fill them, for example with "
            "values.filled(0)"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidDensityError(
            f"{name} has rows of different lengths; a rectangular array is needed: check the reader"
        ) from error
    if array.dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}
        raise InvalidDensityError(
            f"{name} has dtype {array.dtype} ({kind.get(array.dtype.kind, 'not numbers')}); "
            "densities are real numbers: convert the array, for example with np.abs or "
            ".astype(float)"
        )
    if array.size == 0:
        raise InvalidDensityError(
            f"{name} is empty, shape {array.shape}; a density has at least one cell: "
            "check the slice or the reader"
        )
    if not 1 <= array.ndim <= MAX_DIM:
        raise InvalidDensityError(
            f"{name} has {array.ndim} axes, shape {array.shape}; densities have 1 to {MAX_DIM}: "
            "index or reshape the array"
        )
    return array


def checked_total(values: Array, name: str) -> float:
    """Sum of the values, positive and finite."""
    with np.errstate(over="ignore"):
        total = float(values.sum())
    if total == 0:
        raise InvalidDensityError(
            f"{name} has mass 0, every value is zero; a density needs mass somewhere: "
            "check the reader or the mask"
        )
    if not math.isfinite(total):
        raise InvalidDensityError(
            f"{name} has values up to {values.max():g} whose sum overflows; the mass must be "
            "finite: divide the array by its maximum"
        )
    return total


def checked_floor(floor: float | None) -> float | None:
    """A floor in (0, 1), or None."""
    if floor is None:
        return None
    remedy = "relative to the mean density, for example 1e-3; None leaves positive values alone"
    return check_inside(floor, 0, 1, "floor", remedy)
