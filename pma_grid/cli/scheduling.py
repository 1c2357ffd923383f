"""Schedules and schemes as words: NAME:ARG[,ARG...]."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli.options import option
from pma_grid.cli.solving import SOLVERS, linear_solver

if TYPE_CHECKING:
    from pma_grid.flow.stepping import Scheme
    from pma_grid.problem.problem import Problem

SCHEDULES = (
    "constant", "inverse_sqrt", "inverse", "geometric", "horizon", "residual_balanced", "polyak",
    "self_bounding", "adaptive",
)  # fmt: skip
SCHEMES = ("implicit_euler", "trbdf2", "explicit")
CAPS = ("none", "convexity", "stability")
# The default of implicit schemes, for boxes of side 1.  The bundled photographs at 128^2 then take
# 21 steps, 137 Newton and 1554 linear iterations to a residual of 1e-8, Gaussian mixtures 19 steps
# and 46 Newton iterations; ratio 2 from 1e-4 takes a quarter more linear iterations.
FIRST_STEP, RATIO, LARGEST_STEP = 1e-3, 1.5, 1e3


def parse(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """The schedule that a text names; None for the default."""
    if text is None:
        return None
    from pma_grid.flow import schedules
    from pma_grid.runtime import InvalidInputError

    name, _colon, rest = text.partition(":")
    name = name.strip().replace("-", "_")
    words = [word.strip() for word in rest.split(",")] if rest.strip() else []
    if name not in SCHEDULES:
        raise click.BadParameter(
            f"{text!r} names no schedule; use {_signatures(SCHEDULES)}", param=parameter
        )
    maker = getattr(schedules, name)
    wanted = list(inspect.signature(maker).parameters.values())
    needed = sum(p.default is p.empty for p in wanted)
    try:
        # annotations are text in that module
        values = [int(w) if p.annotation == "int" else float(w)
                  for w, p in zip(words, wanted, strict=False)]  # fmt: skip
    except ValueError:
        raise click.BadParameter(
            f"{text!r} holds something else than numbers; use {_signatures([name])}",
            param=parameter,
        ) from None
    if not needed <= len(words) <= len(wanted):
        raise click.BadParameter(
            f"{text!r} has {len(words)} values; use {_signatures([name])}", param=parameter
        )
    try:
        return maker(*values)
    except InvalidInputError as error:
        raise click.BadParameter(f"{text!r}: {error}", param=parameter) from None


def _signatures(names: Iterable[str]) -> str:
    """The ways to write schedules, as in geometric:FIRST,RATIO[,LARGEST]."""
    from pma_grid.flow import schedules

    texts = []
    for name in names:
        text, mark = name, ":"
        wanted = inspect.signature(getattr(schedules, name)).parameters.values()
        for parameter in wanted:
            word = f"{mark}{parameter.name.upper()}"
            text += word if parameter.default is parameter.empty else f"[{word}"
            mark = ","
        texts.append(text + "]" * text.count("["))
    return ", ".join(texts)


def time_unit(problem: Problem) -> float:
    """The time that belongs to the boxes, length^2: 1 for unit boxes."""
    sides = math.prod(problem.source.grid.lengths) * math.prod(problem.target.grid.lengths)
    return float(sides ** (1.0 / problem.dim))


@dataclass(frozen=True)
class Scheduling:
    """Step sizes and how a step is taken.

    scheme : Time-stepping scheme.
    linear_solver : Preconditioner of the linear systems of implicit steps.  [default: auto]
    rtol : Relative residual at which an implicit step counts as solved.  [default: 1e-4; trbdf2
        1e-6]
    cap : What limits explicit steps.  [default: stability without --schedule, else none]
    """

    schedule: Any = option(
        callback=parse,
        metavar="NAME:ARG,...",
        help=f"Rule for the step sizes, in length^2: one of {', '.join(SCHEDULES)}. [default: "
        "geometric:1e-3,1.5,1e3 for boxes of side 1; with explicit the largest stable ones]",
    )
    scheme: str = option(type=click.Choice(SCHEMES), default="implicit_euler")
    linear_solver: str | None = option(type=click.Choice(SOLVERS))
    rtol: float | None = option()
    cap: str | None = option(type=click.Choice(CAPS))

    def make_schedule(self, unit: float, start: object) -> Any:
        """The schedule given, or one that just works for boxes whose `time_unit` is ``unit``."""
        from pma_grid.flow import schedules
        from pma_grid.flow.flow import Flow

        if self.schedule is not None:
            return self.schedule
        if self.scheme == "explicit":
            # larger than any stable step: the cap sets the steps
            return schedules.constant(unit)
        if not (isinstance(start, Flow) and len(start)):
            return schedules.geometric(FIRST_STEP * unit, RATIO, LARGEST_STEP * unit)
        # on from a flow: from its last step, not from step 0 of the rule
        done = start.first + len(start)
        rule = schedules.geometric(RATIO * float(start.step_sizes[-1]), RATIO, LARGEST_STEP * unit)
        return schedules.Formula(f"{rule!r} from step {done}", lambda k, t, r: rule(k - done, t, r))

    def make_scheme(self) -> Scheme:
        """The scheme with its options; click.UsageError for an option of another scheme."""
        from pma_grid.flow import stepping

        if self.scheme == "explicit":
            for name, value in (("--linear-solver", self.linear_solver), ("--rtol", self.rtol)):
                if value is not None:
                    raise click.UsageError(
                        f"{name} is for implicit schemes; leave it out with --scheme explicit"
                    )
            cap: Any = self.cap or ("stability" if self.schedule is None else "none")
            return stepping.Explicit(cap=None if cap == "none" else cap)
        if self.cap is not None:
            raise click.UsageError(
                f"--cap is for --scheme explicit; leave it out with {self.scheme}"
            )
        options: dict[str, Any] = {} if self.rtol is None else {"rtol": self.rtol}
        if self.linear_solver not in (None, "auto"):
            options["linear_solver"] = linear_solver(str(self.linear_solver), lag=True)
        made = stepping.TRBDF2 if self.scheme == "trbdf2" else stepping.ImplicitEuler
        scheme: Scheme = made(**options)
        return scheme
