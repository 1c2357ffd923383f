"""Progress on standard error and the user's callback, one record at a time."""

from __future__ import annotations

import math
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
def tally(progress: bool, unit: str) -> Iterator[Callable[[str], None]]:
    """Yield the function that counts one more of something, and says what came of it."""
    if not progress:
        yield lambda text: None
        return
    from tqdm import tqdm

    with tqdm(file=sys.stderr, unit=f" {unit}", leave=False) as bar:

        def one_more(text: str) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(1)

        yield one_more


@contextmanager
def time_bar(
    progress: bool, steps: int | None, time: float | None, tol: float | None = None
) -> Iterator[Callable[[int, float, float], None]]:
    """Yield the function that takes (step, time, residual norm): a bar with the time remaining."""
    # the share of the way is the largest of those to the ends given: of the steps, of the time, and
    # of the orders of magnitude down to ``tol``
    if not progress:
        yield lambda index, t, norm: None
        return
    from tqdm import tqdm

    # the unit is the way to the end: a share shows as percent
    form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    # miniters: steps differ in cost, so the clock alone says when to draw
    bar = tqdm(file=sys.stderr, total=1.0, leave=False, bar_format=form, miniters=0)
    start: list[tuple[int, float, float]] = []

    def show(index: int, t: float, norm: float) -> None:
        bar.set_postfix_str(f"step {index}, t = {t:.3g}, residual {norm:.1e}", refresh=not start)
        start[:] = start or [(index, t, norm)]
        share = way(start[0], (index, t, norm), (steps, time, tol))
        bar.update(max(0.0, share - bar.n))  # the residual may rise: the bar does not go back

    with bar:
        yield show


def way(
    start: tuple[int, float, float],
    now: tuple[int, float, float],
    ends: tuple[int | None, float | None, float | None],
) -> float:
    """Share in [0, 1] of the way from ``start`` to the nearest end: (step, time, residual norm)."""
    steps, time, tol = ends
    shares = [0.0]
    if steps is not None:
        shares.append((now[0] - start[0]) / max(steps, 1))
    if time is not None and time > start[1]:
        shares.append((now[1] - start[1]) / (time - start[1]))
    if tol is not None and tol > 0 and min(now[2], start[2]) > 0 and start[2] > tol:
        shares.append(math.log(start[2] / now[2]) / math.log(start[2] / tol))
    return min(1.0, max(shares))
