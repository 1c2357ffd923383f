"""`Rows`: what all studies share: columns of figures, their slopes, tables, numbers for JSON."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.runtime import Array, InvalidInputError, check_choice, check_positive, plain

# Slopes in eps are fitted over so many of its halvings, the last ones: those nearest to the limit.
FITTED_HALVINGS = 3


class Rows:
    """A study as a dataclass with ``rows``, dataclasses whose ``COLUMNS`` may be asked for."""

    COLUMNS: ClassVar[tuple[str, ...]] = ()
    rows: tuple[Any, ...]

    def column(self, name: str) -> Array:
        """One figure of every row."""
        check_choice(name, self.COLUMNS, "name")
        return np.array([getattr(row, name) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything for JSON; what is not finite becomes None."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rows"}  # type: ignore[arg-type]
        rows = {"rows": [asdict(row) for row in self.rows]}
        return dict(plain(facts | rows | self._conclusions()))

    def _conclusions(self) -> dict[str, Any]:
        """What the rows say together, for `to_dict`."""
        return {}


def fitted_slope(x: ArrayLike, errors: ArrayLike, last: int = 0) -> float:
    """Least-squares slope of log error over log x, on the ``last`` finite errors (0: on all).

    NaN where there are fewer than two.
    """
    x, errors = np.asarray(x), np.asarray(errors)
    good = np.flatnonzero(np.isfinite(errors) & (errors > 0))[-last:]
    if good.size < 2:
        return math.nan
    return float(np.polyfit(np.log(x[good]), np.log(errors[good]), 1)[0])


def local_slopes(x: Array, errors: Array) -> Array:
    """Slopes between successive points; NaN where an error is none."""
    known = np.where(errors > 0, errors, math.nan)
    return np.asarray(np.diff(np.log(known)) / np.diff(np.log(x)))


def ordered(values: Sequence[float], name: str, verb: Literal["fall", "rise"]) -> tuple[float, ...]:
    """Positive numbers in that order, at least one, or the error that says what is wrong."""
    given = tuple(values)
    if not given:
        raise InvalidInputError(f"{name} is empty; it needs a number: for example (0.01,)")
    for value in given:
        check_positive(value, name, "its numbers are in length^2, for example (0.01,)")
    right = operator.gt if verb == "fall" else operator.lt
    if not all(itertools.starmap(right, itertools.pairwise(given))):
        raise InvalidInputError(f"{name} is {given!r}; the numbers must {verb}: sort them")
    return tuple(float(v) for v in given)
