"""Schedules and schemes as words: NAME:ARG[,ARG...]."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pma_grid.flow.stepping import Scheme
    from pma_grid.linsolve import LinearSolver
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
FIRST, RATIO, LARGEST = 1e-3, 1.5, 1e3


def parse(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """The schedule that a text names; None for the default."""
    if text is None:
        return None
    from pma_grid.flow import schedules
    from pma_grid.runtime.errors import InvalidInputError

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


def default(scheme: str, unit: float, start: object) -> Any:
    """The schedule that just works, for boxes whose `time_unit` is ``unit``.

    One that goes on from a flow grows from the flow's last step, not from step 0 of the rule.
    """
    from pma_grid.flow import schedules
    from pma_grid.flow.flow import Flow

    if scheme == "explicit":
        # larger than any stable step: the cap sets the steps
        return schedules.constant(unit)
    if not (isinstance(start, Flow) and len(start)):
        return schedules.geometric(FIRST * unit, RATIO, LARGEST * unit)
    done = start.first + len(start)
    rule = schedules.geometric(RATIO * float(start.step_sizes[-1]), RATIO, LARGEST * unit)
    return schedules.Formula(f"{rule!r} from step {done}", lambda k, t, r: rule(k - done, t, r))


def make_scheme(
    name: str, linear_solver: str | None, rtol: float | None, cap: str | None
) -> Scheme:
    """The scheme with its options.

    Raises
    ------
    click.UsageError
        An option of another scheme.
    """
    from pma_grid.flow import stepping

    if name == "explicit":
        for option, value in (("--linear-solver", linear_solver), ("--rtol", rtol)):
            if value is not None:
                raise click.UsageError(
                    f"{option} is for implicit schemes; leave it out with --scheme explicit"
                )
        limit: Any = None if cap == "none" else cap
        return stepping.Explicit(cap=limit)
    if cap is not None:
        raise click.UsageError(f"--cap is for --scheme explicit; leave it out with {name}")
    options: dict[str, Any] = {} if rtol is None else {"rtol": rtol}
    if linear_solver is not None and linear_solver != "auto":
        options["linear_solver"] = _lagged(linear_solver)
    return stepping.TRBDF2(**options) if name == "trbdf2" else stepping.ImplicitEuler(**options)


def _lagged(name: str) -> LinearSolver:
    """A linear solver whose set-up serves several steps."""
    from pma_grid import linsolve

    solvers: dict[str, LinearSolver] = {
        "multigrid": linsolve.Multigrid(lag=True),
        "amg": linsolve.AMG(lag=True),
        "direct": linsolve.Direct(),
    }
    return solvers[name]
