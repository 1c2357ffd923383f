"""What checking a claim gives: lines of a table, and the curves of its figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pma_grid.runtime import Array, plain


@dataclass(frozen=True)
class Check:
    """One line of the table: a quantity that was predicted and measured.

    ``measured`` must lie between ``low`` and ``high``, ends included.
    """

    quantity: str
    predicted: float
    measured: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def holds(self) -> bool:
        """The verdict; what is not finite never holds."""
        return math.isfinite(self.measured) and bool(self.low <= self.measured <= self.high)


Role = Literal["measured", "predicted", "floor"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Curve:
    """A line of a figure; those of the role "floor" mark what counts as rounding or noise."""

    label: str
    x: Array
    y: Array
    role: Role = "measured"


@dataclass(frozen=True)
class Panel:
    """One axes of a figure."""

    title: str
    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    xscale: Scale = "log"
    yscale: Scale = "log"


@dataclass(frozen=True)
class ClaimResult:
    """A claim, the lines of its table, the axes of its figure, and the time that checking took."""

    name: str
    statement: str
    checks: tuple[Check, ...]
    panels: tuple[Panel, ...]
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every check holds, and there is one."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; infinite bounds become None."""
        rows = [plain(asdict(check) | {"holds": check.holds}) for check in self.checks]
        return {
            "claim": self.name, "statement": self.statement, "holds": self.holds, "checks": rows,
            "seconds": self.seconds,
        }  # fmt: skip


@dataclass
class Findings:
    """Checks and panels as a claim collects them."""

    checks: list[Check] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    def near(self, quantity: str, predicted: float, measured: float, slack: float) -> None:
        """``measured`` within ``slack`` of ``predicted``."""
        low, high = predicted - slack, predicted + slack
        self.checks.append(Check(quantity, predicted, float(measured), low, high))

    def below(self, quantity: str, bound: float, measured: float, *, slack: float = 0.0) -> None:
        """``measured`` at most ``bound``, up to ``slack``."""
        self.checks.append(Check(quantity, bound, float(measured), high=bound + slack))

    def above(self, quantity: str, bound: float, measured: float, *, slack: float = 0.0) -> None:
        """``measured`` at least ``bound``, up to ``slack``."""
        self.checks.append(Check(quantity, bound, float(measured), low=bound - slack))

    def panel(
        self, title: str, xlabel: str, ylabel: str, curves: Iterable[Curve],
        xscale: Scale = "log", yscale: Scale = "log",
    ) -> None:  # fmt: skip
        """Add one axes to the figure."""
        self.panels.append(Panel(title, xlabel, ylabel, tuple(curves), xscale, yscale))


def slope_line(curve: Curve, slope: float) -> Curve:
    """A line of that slope a little above the last point of a log-log curve."""
    x, last = curve.x, curve.y[-1]
    return Curve(f"slope {slope:g}", x, 1.5 * last * (x / x[-1]) ** slope, "predicted")
