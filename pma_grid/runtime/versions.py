"""Versions of what the numbers of a result depend on."""

from __future__ import annotations

import platform
from importlib import metadata


def versions(*more: str) -> dict[str, str]:
    """Of Python, NumPy, SciPy, Numba, and the packages named."""
    names = ("numpy", "scipy", "numba", *more)
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}
