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


@contextmanager
def time_bar(
    progress: bool, steps: int | None, time: float | None
) -> Iterator[Callable[[int, float, float], None]]:
    """Yield the function that takes (step, time, residual norm): a bar with the time remaining."""
    if not progress:
        yield lambda index, t, norm: None
        return
    from tqdm import tqdm

    by_time = steps is None and time is not None
    total = time if by_time else steps
    with tqdm(file=sys.stderr, total=total, unit=" t" if by_time else " steps", leave=False) as bar:
        seen: list[float] = []

        def show(index: int, t: float, norm: float) -> None:
            now = t if by_time else float(index)
            if seen:
                bar.update(now - seen[-1])
            else:
                bar.reset(total)
                bar.update(t if by_time else 0)
            seen[:] = [now]
            bar.set_postfix_str(f"t = {t:.4g}, residual {norm:.1e}")

        yield show
