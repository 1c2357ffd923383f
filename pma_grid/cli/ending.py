"""Running a flow to its end, and leaving what there is when it does not get there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pma_grid.cli.options import option
from pma_grid.cli.outcome import BAD_INPUT, DONE, INTERRUPTED, NOT_CONVERGED, say
from pma_grid.cli.output import FILMS, Output, draw, tell, writable
from pma_grid.runtime import EvolutionInterrupted, LostConvexityError, PMAError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow

# Without any end given, the flow ends at this residual ...
DEFAULT_UNTIL = 1e-8
# ... and, as the residual may stay above it, after so many steps; so does one with --until alone.
MOST_STEPS = 1000
# Snapshots for a picture and a film where none are asked for: so many shares of the steps if their
# number is known, else so many times a decade, since the flow slows down.
SNAPSHOTS = {"picture": 6, "film": 40}
SNAPSHOTS_A_DECADE = {"picture": 3, "film": 10}
# Powers of ten of the first and the last time, in units of length^2.
DECADES = (-5, 3)


@dataclass(frozen=True)
class Ending:
    """When a flow ends: what comes first.

    steps : End after so many steps.
    time : End at this time, in length^2.
    until : End once the residual (sum mu hbar^2)^(1/2) is below TOL.  [default: 1e-8 if neither
        --steps nor --time is given, and 1000 steps at most]
    """

    steps: int | None = option(type=click.IntRange(0))
    time: float | None = option(type=click.FloatRange(0, min_open=True))
    until: float | None = option(type=click.FloatRange(0, min_open=True), metavar="TOL")

    @property
    def open(self) -> bool:
        """Whether the number of steps is nowhere bounded."""
        return self.steps is None and self.time is None

    @property
    def most_steps(self) -> int | None:
        """The steps to take at most."""
        return MOST_STEPS if self.open else self.steps

    @property
    def tol(self) -> float | None:
        """The residual to end at."""
        return DEFAULT_UNTIL if self.open and self.until is None else self.until

    def snapshots(self, kind: str | None, unit: float) -> int | Sequence[float]:
        """When to keep snapshots for a "picture" or a "film"; ``unit`` of time, length^2."""
        if kind is None:
            return ()
        if self.steps is not None and self.time is None:
            return max(1, self.steps // SNAPSHOTS[kind])
        each = SNAPSHOTS_A_DECADE[kind]
        first, last = (each * decade for decade in DECADES)
        times = [0.0, *(unit * 10 ** (k / each) for k in range(first, last + 1))]
        end = self.time
        return times if end is None else [*(t for t in times if t < end), end]


@dataclass(frozen=True)
class FlowOutput(Output):
    """With a film, and the series in what is printed.

    film : Also write a film of the densities (.gif or .mp4).
    series : Add the recorded series to --json.
    """

    film: str | None = option("--animate", "film", metavar="FILE", callback=writable(*FILMS))
    series: bool = option()

    @property
    def files(self) -> list[str]:
        """Those that were asked for."""
        return [*super().files, *([self.film] if self.film else [])]


def run_and_write(run: Callable[[], Flow], out: Output, ending: Ending) -> int:
    """Run, write what there is, report; the exit status says how it ended."""
    try:
        flow, complaint = run(), ""
    except EvolutionInterrupted as error:
        flow = error.result
        flow.save(out.result)
        _report(flow, out, [out.result])
        say(
            f"interrupted after step {flow.first + len(flow)} at t = {flow.times[-1]:.4g}; the "
            f"flow until then is in {out.result}: go on with --initial {out.result} and another -o"
        )
        return INTERRUPTED
    except LostConvexityError as error:
        flow, complaint = error.result, f"{error}; here --cap stability or --scheme trbdf2."
    flow.save(out.result)
    drawn, refusal = _draw(flow, out)
    _report(flow, out, [out.result, *drawn])
    complaint = complaint or _complaint(flow, ending)
    if complaint:
        say(f"{complaint} The flow until then is in {out.result}.")
        return NOT_CONVERGED
    if refusal:
        say(f"{refusal} The flow is in {out.result}.")
        return BAD_INPUT
    return DONE


def _complaint(flow: Flow, ending: Ending) -> str:
    """Why the end that was asked for was not reached; empty if it was."""
    if not flow.status.succeeded:
        return f"did not converge: {flow.status.value}"
    residual = float(flow.stats["residual_norm"])
    if ending.open and ending.tol is not None and residual > ending.tol:
        return (
            f"did not converge: the residual is {residual:.1e} after {len(flow)} steps, above "
            f"--until {ending.tol:.1e}; give --steps for more, or another --schedule or --scheme."
        )
    return ""


def _draw(flow: Flow, out: Output) -> tuple[list[str], str]:
    """The files drawn, and why one could not be."""
    drawn: list[str] = []
    film = getattr(out, "film", None)
    try:
        draw(lambda plotting: plotting.flow(flow), out.picture)
        drawn += [out.picture] if out.picture else []
        if film:
            from pma_grid import plotting

            plotting.animation(flow, film)
            drawn.append(film)
    except PMAError as error:
        return drawn, f"{error}."
    return drawn, ""


def _report(flow: Flow, out: Output, files: list[str]) -> None:
    """Print the figures."""
    from pma_grid.cli.reports import report

    tell(*report(flow, files, series=getattr(out, "series", False)), out.as_json)
