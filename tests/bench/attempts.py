"""One `solve` of a study, whatever comes of it, and rows of tables; for any checkout's package."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import pma_grid as pma

Row = dict[str, object]
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds of the processor, once compiled code returns."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(problem: pma.Problem, limit: float) -> tuple[pma.Transport | None, Row]:
    """`solve` by its defaults, whatever comes of it: the (partial) result and its figures."""
    transport, status = None, ""
    began = time.perf_counter()
    try:
        with limited(limit):
            transport = pma.solve(problem)
    except pma.ConvergenceError as error:
        transport = error.result
    except TimeoutError:
        status = f"over {limit:g} s"
    except Exception as error:  # the study reports every failure
        status = type(error).__name__
    row: Row = {"status": status, "seconds": time.perf_counter() - began}
    if transport is None:
        return None, row | {"good": False}
    stats = transport.stats
    last = (stats.get("levels") or [{}])[-1]
    return transport, row | {
        "status": str(transport.status),
        "good": transport.converged,
        "newton": last.get("newton"),
        "newton_all": stats.get("iterations"),
        "linear": last.get("linear"),
        "alpha": number(stats.get("mass_constant")),
        "residual": number(stats.get("residual")),
        "candidates": stats.get("candidates"),  # what `solve` chose from; in JSON only
    }


def number(value: object) -> float | None:
    """A finite float, or None."""
    return float(value) if value is not None and np.isfinite(value) else None


def distance(transport: pma.Transport) -> float | None:
    """`w2`, None where it cannot be taken: a partial potential may be anything."""
    try:
        return number(transport.w2)
    except (pma.PMAError, ArithmeticError, ValueError):
        return None


def line(row: Row, columns: tuple[tuple[str, str], ...]) -> str:
    """One row of a table; a dash for what is not known."""
    cells = []
    for name, form in columns:
        width = max(int(form.rstrip("sdef").split(".")[0]), len(name))
        value = row.get(name)
        text = "-" if value is None else value
        if not isinstance(text, str):
            text = format(value, form).strip()
        cells.append(f"{text:<{width}}" if form.endswith("s") else f"{text:>{width}}")
    return " ".join(cells)
