"""Two ways to hold the potentials of a Sinkhorn sweep: logarithms, or the scalings themselves.

Scalings alpha = a e^F, beta = b e^G need no exponential and no logarithm a sweep, but a floating-
point number must hold them: as soon as one comes near the smallest there is, or a kernel sum does,
the sweeps go on in logarithms.
"""

from __future__ import annotations

import copy

import numpy as np

from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.kernels.entropic import softmax
from pma_grid.runtime import Array

# Scalings smaller than this are not used: the next ones could underflow.
SMALLEST_SCALING = 1e-250
# Errors below this are as good as the mean change of the logarithms.
ERROR_LIKE_CHANGE = 0.1

Pair = tuple[float, float]


class Logarithms:
    """F = f/eps and G = g/eps; any range."""

    def __init__(self, kernel: SeparableKernel, F: Array, G: Array) -> None:
        self.kernel, self.F, self.G = kernel, np.array(F), np.array(G)
        self._masses = kernel.reduced.a, kernel.reduced.b
        self._logs = kernel.reduced.log_masses

    def sweep(self, omega: Pair) -> Pair:
        """Move G, then F, by omega of the way; L1 marginal errors, and mean changes, before it."""
        new = -self.kernel.to_target(self._logs[0] + self.F)
        columns, moved = self._relax(self.G, new, 1, omega[0])
        new = -self.kernel.to_source(self._logs[1] + self.G)
        rows, also = self._relax(self.F, new, 0, omega[1])
        return rows + columns, moved + also

    def _relax(self, old: Array, new: Array, side: int, omega: float) -> Pair:
        masses = self._masses[side]
        change = new - old
        old += omega * change
        moved = float(np.vdot(masses, np.abs(change)))
        # far away exp overflows: an infinite error says so
        with np.errstate(over="ignore"):
            np.exp(-change, out=change)
        change -= 1.0
        np.abs(change, out=change)
        return float(np.vdot(masses, np.where(masses > 0, change, 0.0))), moved

    def logarithms(self) -> Logarithms:
        """Itself."""
        return self

    def copy(self) -> Logarithms:
        """A form of its own at the same potentials."""
        return Logarithms(self.kernel, self.F, self.G)

    def finish(self) -> tuple[Array, Array, float]:
        """F made from G, so that the rows are exact; F, G and the columns' L1 error."""
        self.F = -self.kernel.to_source(self._logs[1] + self.G)
        new = -self.kernel.to_target(self._logs[0] + self.F)
        error, _ = self._relax(self.G.copy(), new, 1, 0.0)
        return self.F, self.G, error


class Scalings:
    """alpha = a e^F and beta = b e^G, as long as doubles can hold them."""

    def __init__(self, kernel: SeparableKernel, F: Array, G: Array, track: bool = True) -> None:
        # without ``track`` the mean change of plain sweeps is not measured: it is their error
        self.kernel, self._track = kernel, track
        self._masses = kernel.reduced.a, kernel.reduced.b
        # 1 where there is no mass, or None: keeps 0/0 and the tests of range out of those cells
        self._empty = [None if m.min() > 0 else (m == 0).astype(float) for m in self._masses]
        self._start = F, G
        shift = float(F[self._masses[0] > 0].max())
        with np.errstate(over="ignore", under="ignore"):
            self._scalings = [
                # potentials off the support may be anything
                masses * np.exp(np.where(masses > 0, logs, 0.0))
                for masses, logs in zip(self._masses, (F - shift, G + shift), strict=True)
            ]
        self._usable = self._holds(0, self._scalings[0]) and self._holds(1, self._scalings[1])
        self._swept = False

    def sweep(self, omega: Pair) -> Pair | None:
        """As `Logarithms.sweep`; None where a number would leave the range: `logarithms` go on."""
        error = moved = 0.0
        for side in (0, 1):
            sums = self.kernel.product(side, self._scalings[side]) if self._usable else None
            balanced = None if sums is None else self._balance(1 - side, sums, omega[side])
            if balanced is None:
                self._usable = False
                return None
            error, moved = error + balanced[0], moved + balanced[1]
            self._swept = True
        return error, moved

    def copy(self) -> Scalings:
        """A form of its own at the same potentials."""
        other = copy.copy(self)
        # arrays are replaced, never changed
        other._scalings = list(self._scalings)
        return other

    def _balance(self, side: int, sums: Array, omega: float) -> Pair | None:
        """scaling *= (masses / (scaling sums))^omega; L1 error and mean change before it."""
        scaling, masses, empty = self._scalings[side], self._masses[side], self._empty[side]
        if omega == 1.0 and empty is None:
            new = np.empty(masses.shape)
            error, least, largest = softmax.balance(
                scaling.ravel(), sums.ravel(), masses.ravel(), new.ravel()
            )
            if error < ERROR_LIKE_CHANGE or not self._track:
                if not SMALLEST_SCALING < least <= largest < 1 / SMALLEST_SCALING:
                    return None
                self._scalings[side] = new
                return error, error
        present = scaling * sums
        error = float(np.abs(present - masses).sum())
        if empty is not None:
            present += empty
            masses = masses + empty
        # what leaves the range here is infinite below, which no scaling may be
        with np.errstate(divide="ignore", over="ignore", under="ignore"):
            logs = np.log(masses / present)
            moved = float(np.vdot(self._masses[side], np.abs(logs)))
            logs *= omega
            new = scaling * np.exp(logs, out=logs)
        if not self._holds(side, new):
            return None
        self._scalings[side] = new
        return error, moved

    def _holds(self, side: int, scaling: Array) -> bool:
        """Whether the scalings of a side are well within the range of doubles."""
        empty = self._empty[side]
        smallest = float((scaling if empty is None else scaling + empty).min())
        return smallest > SMALLEST_SCALING and float(scaling.max()) < 1 / SMALLEST_SCALING

    def logarithms(self) -> Logarithms:
        """The same potentials in the other form."""
        if not self._swept:
            return Logarithms(self.kernel, *self._start)
        potentials = []
        for scaling, masses in zip(self._scalings, self._masses, strict=True):
            # where there is no mass the potential plays no part in the other one
            present = masses > 0
            ratio = np.where(present, scaling, 1.0) / np.where(present, masses, 1.0)
            potentials.append(np.log(ratio))
        return Logarithms(self.kernel, *potentials)
