"""Checks of arguments: kinds and ranges, one sentence for each refusal."""

from __future__ import annotations

import numbers
import sys
from typing import Any

import numpy as np

from pma_grid.runtime.errors import InvalidInputError


def is_number(value: object) -> bool:
    """Whether it is one real number; truth values are none."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return False  # no float holds it
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_seed(seed: Any) -> np.random.Generator:
    """The generator of a seed, or the one given.

    Raises
    ------
    InvalidInputError
        It is neither a whole number >= 0 nor a generator.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    if not (whole or isinstance(seed, np.random.Generator)):
        raise InvalidInputError(
            f"seed is {seed!r}; it must be an integer >= 0 or a NumPy Generator: for example 0"
        )
    return np.random.default_rng(seed)


def check_count(n: Any) -> int:
    """A number of points to draw.

    Raises
    ------
    InvalidInputError
        It is no whole number >= 0.
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 0:
        raise InvalidInputError(f"n is {n!r}; it must be an integer >= 0: pass for example 1000")
    return int(n)
