"""Versions of what the numbers of a result depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata


def versions(*more: str) -> dict[str, str]:
    """Of Python, NumPy, SciPy, Numba, and the packages named."""
    names = ("numpy", "scipy", "numba", *more)
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


@cache
def _version(name: str) -> str:
    """Of one package; a file is read for it, which takes as long as a small grid."""
    return metadata.version(name)
