"""Progress on standard error and the user's callback, one record at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reporter(
    progress: bool, callback: Callable[[Any], None] | None
) -> Iterator[Callable[[Any], None]]:
    """Yield the function that takes records: it feeds the progress line and the callback."""
    bar = None
    if progress:
        from tqdm import tqdm

        bar = tqdm(file=sys.stderr, unit=" steps", leave=False)

    def report(record: Any) -> None:
        if bar is not None:
            shape = "x".join(map(str, record.level))
            bar.set_postfix_str(f"grid {shape}, residual {record.residual:.1e}")
            bar.update(record.step > 0)
        if callback is not None:
            callback(record)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
