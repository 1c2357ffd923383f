"""Figures as text and as JSON: tables of rows, numbers that JSON has."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def text_table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], *, left: Collection[int] | None = None
) -> str:
    """Rows as text, '-' for what does not exist, four digits; ``left``: columns aligned there."""
    lines = [list(heads)] + [[_cell(value) for value in row] for row in rows]
    columns = range(len(heads))
    if left is None:
        left = [k for k in columns if all(isinstance(row[k], str) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in columns]
    return "\n".join(
        "  ".join(
            line[k].ljust(widths[k]) if k in left else line[k].rjust(widths[k]) for k in columns
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
    return str(value)


def plain(value: Any) -> Any:
    """The same for JSON: None where it has no number, inf and NaN; lists for tuples."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
