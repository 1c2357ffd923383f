"""Compiled kernels: arrays and scalars in, the output array last, nothing returned unless a scalar.

Every kernel is a module-level function (or one of three instantiations over the number of lattice
vectors), so that a new grid size compiles nothing.  Fields are flat or carry ``(outer, n, inner)``
views of one axis; padded arrays hold ``halo`` reflected cells on every side.
Division by zero gives inf or NaN, which the callers turn into a status, never an exception.
"""

import time

from numba.core import event

from pma_grid.kernels import _1d, _2d, _3d

DIMENSION = {1: _1d, 2: _2d, 3: _3d}



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

    def __enter__(self) -> "CompileClock":
        event.register("numba:compiler_lock", self)
        return self

    def __exit__(self, *_: object) -> None:
        event.unregister("numba:compiler_lock", self)
