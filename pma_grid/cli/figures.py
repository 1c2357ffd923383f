"""Figures of results as lines of text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = list[tuple[str, str]]

# Characters of the column of names, unless one is longer.
NAMES_WIDTH = 13


def aligned(rows: Rows, files: Sequence[str]) -> str:
    """Two columns, the files last."""
    shown = [*rows, ("files", ", ".join(files))] if files else rows
    width = max(NAMES_WIDTH, *(len(name) for name, _ in shown))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in shown)


def seconds(stats: Mapping[str, Any]) -> Rows:
    """The time that a solver took, with what it compiled apart."""
    if "seconds" not in stats:
        return []
    compiling = f"   (and {stats['compile_seconds']:.2f} for compiling or loading kernels)"
    return [("seconds", f"{stats['seconds']:.2f}{compiling}")]


def floors(stats: Mapping[str, Any]) -> Rows:
    """A row for each density that was raised to a working floor."""
    return [
        (
            "floor",
            f"{name}: {floor['cells']} cells raised to {floor['relative']:.1e} of the mean, "
            f"{floor['mass_added']:.1e} of the mass",
        )
        for name, floor in stats.get("floors", {}).items()
        if floor["cells"]
    ]
