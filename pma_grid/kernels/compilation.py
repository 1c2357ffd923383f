"""How long compiling takes, so that it can be told from solving; what it may do to sums."""

from __future__ import annotations

import time

from numba.core import event

# Sums in any order, so that the compiler may use vectors; infinities and NaN keep their meaning.
ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}
# The same where no NaN occurs.
ANY_ORDER_NO_NAN = ANY_ORDER | {"nnan"}


class CompileClock(event.Listener):
    """Seconds that the ``with`` block spent on compiling kernels or loading them from the cache."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._began = 0.0

    def on_start(self, _: event.Event) -> None:
        """Compilation is recursive: only the outermost level is timed."""
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, _: event.Event) -> None:
        """Add the time when the outermost level ends."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._began

    def __enter__(self) -> CompileClock:
        event.register("numba:compiler_lock", self)
        return self

    def __exit__(self, *_: object) -> None:
        event.unregister("numba:compiler_lock", self)
