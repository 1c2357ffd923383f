"""Checks of arguments: kinds and ranges, one sentence for each refusal.

Every check takes the value, its rule, the name of the argument, and the remedy that ends the
message; it returns the value as a plain number where there is one.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from pma_grid.runtime.errors import InvalidInputError


def is_number(value: object) -> bool:
    """Whether it is one real number; truth values are none."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return False  # no float holds it
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: object, least: int = 0) -> bool:
    """Whether it is an integer of at least ``least``; truth values are none."""
    truth = isinstance(value, bool | np.bool_)
    return isinstance(value, numbers.Integral) and not truth and int(value) >= least


def check_positive(value: Any, name: str, remedy: str, *, finite: bool = True) -> float:
    """A number > 0, finite unless said otherwise."""
    if not (is_number(value) and value > 0 and (not finite or value < math.inf)):
        kind = "finite number" if finite else "number"
        raise InvalidInputError(f"{name} is {value!r}; it must be a {kind} > 0: {remedy}")
    return float(value)


def check_not_negative(value: Any, name: str, remedy: str) -> float:
    """A finite number >= 0."""
    if not (is_number(value) and 0 <= value < math.inf):
        raise InvalidInputError(f"{name} is {value!r}; it must be a finite number >= 0: {remedy}")
    return float(value)


def check_inside(value: Any, low: float, high: float, name: str, remedy: str) -> float:
    """A number between ``low`` and ``high``, both excluded."""
    if not (is_number(value) and low < value < high):
        raise InvalidInputError(
            f"{name} is {value!r}; it must lie between {low:g} and {high:g}, both excluded: "
            f"{remedy}"
        )
    return float(value)


def check_whole(value: Any, least: int, name: str, remedy: str) -> int:
    """A whole number of at least ``least``."""
    if not is_whole(value, least):
        raise InvalidInputError(f"{name} is {value!r}; it must be an integer >= {least}: {remedy}")
    return int(value)


def check_flag(value: Any, name: str) -> None:
    """A truth value, NumPy's too: what merely counts as one may be a slip."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidInputError(f"{name} is {value!r}; it must be True or False")


def check_choice(value: Any, known: Iterable[str], name: str) -> None:
    """One of the words that are known."""
    words = list(known)
    if not (isinstance(value, str) and value in words):
        raise InvalidInputError(
            f"{name} is {value!r}; it must be one of {', '.join(map(repr, words))}"
        )


def check_offers(value: Any, method: str, name: str, remedy: str) -> None:
    """An object, not a class, with a method of this name."""
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise InvalidInputError(
            f"{name} is {value!r}; it must be an object with a method {method}: {remedy}"
        )


def check_seed(seed: Any) -> np.random.Generator:
    """The generator of a seed, or the one given."""
    if not (is_whole(seed) or isinstance(seed, np.random.Generator)):
        raise InvalidInputError(
            f"seed is {seed!r}; it must be an integer >= 0 or a NumPy Generator: for example 0"
        )
    return np.random.default_rng(seed)


def check_count(n: Any) -> int:
    """A number of points to draw."""
    return check_whole(n, 0, "n", "pass for example 1000")


def check_threads(threads: Any) -> int:
    """A number of threads."""
    return check_whole(threads, 1, "threads", "pass at most the number of cores")
