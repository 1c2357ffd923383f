"""What the studies of entropic transport share: slopes, cells of tables, numbers for JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pma_grid.runtime.arrays import Array
from pma_grid.runtime.checks import check_positive
from pma_grid.runtime.errors import InvalidInputError

# Slopes are fitted over so many halvings of eps, the last ones.
HALVINGS = 3


def fitted_slope(x: Array, errors: Array, halvings: int = HALVINGS) -> float:
    """Least-squares slope of log error over log x on the last ``halvings`` + 1 finite errors.

    NaN where there are fewer than two.
    """
    good = np.flatnonzero(np.isfinite(errors) & (errors > 0))[-halvings - 1 :]
    if good.size < 2:
        return math.nan
    return float(np.polyfit(np.log(x[good]), np.log(errors[good]), 1)[0])


def local_slopes(x: Array, errors: Array) -> Array:
    """Slopes between successive points; NaN where an error is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.diff(np.log(errors)) / np.diff(np.log(x)))


def falling(values: Sequence[float], name: str) -> tuple[float, ...]:
    """Positive numbers from large to small, at least one, or the error that says what is wrong."""
    return _ordered(values, name, "fall", lambda before, after: after < before)


def rising(values: Sequence[float], name: str) -> tuple[float, ...]:
    """Positive numbers from small to large, at least one, or the error that says what is wrong."""
    return _ordered(values, name, "rise", lambda before, after: after > before)


def _ordered(
    values: Sequence[float], name: str, verb: str, right: Callable[[float, float], bool]
) -> tuple[float, ...]:
    given = tuple(values)
    if not given:
        raise InvalidInputError(f"{name} is empty; it needs a number: for example (0.01,)")
    for value in given:
        check_positive(value, name, "its numbers are in length^2, for example (0.01,)")
    if not all(itertools.starmap(right, itertools.pairwise(given))):
        raise InvalidInputError(f"{name} is {given!r}; the numbers must {verb}: sort them")
    return tuple(float(v) for v in given)


def text_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as text: numbers right, words left, '-' for what does not exist."""
    lines = [list(heads)] + [[_cell(value) for value in row] for row in rows]
    left = [all(isinstance(row[k], str) for row in rows) for k in range(len(heads))]
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if aligned else cell.rjust(width)
            for cell, width, aligned in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
    return str(value)


def json_rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Dataclasses for JSON; what is not finite becomes None."""
    return [{key: finite(value) for key, value in asdict(row).items()} for row in rows]


def finite(value: Any) -> Any:
    """The value, None for a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
