"""`Start`: what Newton's method begins from on a grid, made of the coarser solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.ghosts import prolongations
from pma_grid.grid.lattice import Lattice
from pma_grid.runtime import Array
from pma_grid.stationary.levels import Levels
from pma_grid.stationary.newton import Iterate

# Nodes an axis for prolonging phi.  Smooth data: an error of h^6 in phi is one of h^4 in second
# differences, as good as the extrapolated start.  Rough data: linear interpolation rings least.
SMOOTH_NODES = 6
ROUGH_NODES = 2
# Share of the rough start's residual below which the smooth one is so much better that it is not
# compared again.
CLEARLY_BETTER_SHARE = 0.3


@dataclass(frozen=True)
class Comparison:
    """What the starts of one grid say of the data.

    Attributes
    ----------
    smooth : bool
        Whether the extrapolated start was better than the rough one.
    truncation : float
        Estimated rms truncation error of the grid.
    sure : bool
        Whether it was better by so much that it need not be compared on the next grid.
    """

    smooth: bool
    truncation: float
    sure: bool


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

    @classmethod
    def after(
        cls, levels: Levels, index: int, lattice: Lattice, solved: Iterate, before: Start | None,
        *, sure: bool,
    ) -> Start:  # fmt: skip
        """Of the solution on level ``index``; ``before`` is its own start, if that had a trend."""
        phi, alpha_trend = solved.phi, 0.0
        potential, direction = prolongations(lattice, levels.transfer(index))
        change: Array | None = None
        if before is not None:
            ratio = levels.trend_ratio(index)
            change = ratio * (phi - before.plain())
            alpha_trend = ratio * (solved.alpha - before.alpha)

        def smooth() -> Array:
            values = potential(phi, SMOOTH_NODES)
            if change is not None:
                values += direction(change, SMOOTH_NODES)
            return values

        return cls(
            plain=lambda: potential(phi, SMOOTH_NODES),
            smooth=smooth,
            linear=lambda: potential(phi, ROUGH_NODES),
            alpha=solved.alpha,
            alpha_trend=alpha_trend,
            sure=sure,
        )

    def iterate(self, smooth: bool) -> Iterate:
        """The start as an iterate of its own."""
        if smooth:
            return Iterate(self.smooth(), self.alpha + self.alpha_trend)
        return Iterate(self.linear(), self.alpha)

    def compare(self, evaluation: Evaluation) -> tuple[Iterate, Comparison]:
        """The start of the smaller residual, and what the comparison says.

        The coarser solution misses by the difference of two truncation errors, three quarters of
        the coarser one: a third of its residual is that of this grid.  Where the smooth start was
        much the better one on the coarser grid and helps on this one, it is not compared again.
        """
        plain = evaluation.evaluate(self.plain(), self.alpha)
        smooth = self.iterate(True)
        better = evaluation.evaluate(smooth.phi, smooth.alpha)
        if self.sure and better <= plain:
            return smooth, Comparison(smooth=True, truncation=plain / 3, sure=True)
        linear = self.iterate(False)
        rough = evaluation.evaluate(linear.phi, linear.alpha)
        if better > rough:
            return linear, Comparison(smooth=False, truncation=rough / 3, sure=False)
        sure = better < CLEARLY_BETTER_SHARE * rough
        return smooth, Comparison(smooth=True, truncation=plain / 3, sure=sure)
