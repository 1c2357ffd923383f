"""`Start`: what Newton's method begins from on a grid, made of the coarser solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.runtime.arrays import Array
from pma_grid.stationary.newton import Iterate

# Share of the rough start's residual below which the smooth one is much the better.
MUCH = 0.3


@dataclass
class Start:
    """Starts of one grid, made when they are asked for.

    For smooth data ``plain``, the potential of the coarser grid, or ``smooth``, extrapolated in
    h^2; for rough data ``linear``, which rings least.
    """

    plain: Callable[[], Array]
    smooth: Callable[[], Array]
    linear: Callable[[], Array]
    alpha: float = 0.0
    alpha_trend: float = 0.0
    sure: bool = False

    @classmethod
    def at(cls, phi: Array) -> Start:
        """A given potential, without a trend."""
        return cls(plain=lambda: phi, smooth=lambda: phi, linear=lambda: phi)

    def iterate(self, smooth: bool) -> Iterate:
        """The start as an iterate of its own."""
        if smooth:
            return Iterate(self.smooth(), self.alpha + self.alpha_trend)
        return Iterate(self.linear(), self.alpha)

    def compare(self, equation: MongeAmpere) -> tuple[Iterate, Comparison]:
        """The start of the smaller residual, and what the comparison says.

        The coarser solution misses by the difference of two truncation errors, three quarters of
        the coarser one: a third of its residual is that of this grid.  Where the smooth start was
        much the better one on the coarser grid and helps on this one, it is not compared again.
        """
        plain = equation.evaluate(self.plain(), self.alpha)
        smooth = self.iterate(True)
        better = equation.evaluate(smooth.phi, smooth.alpha)
        if self.sure and better <= plain:
            return smooth, Comparison(True, plain / 3, True)
        linear = self.iterate(False)
        rough = equation.evaluate(linear.phi, linear.alpha)
        if better > rough:
            return linear, Comparison(False, rough / 3, False)
        return smooth, Comparison(True, plain / 3, better < MUCH * rough)


@dataclass(frozen=True)
class Comparison:
    """Whether the smooth start is the better one, by much, and the truncation error estimated."""

    smooth: bool
    truncation: float
    sure: bool
