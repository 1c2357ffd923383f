"""Running a flow to its end, and leaving what there is when it does not get there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pma_grid.cli.outcome import BAD_INPUT, DONE, INTERRUPTED, NOT_CONVERGED, say
from pma_grid.runtime.errors import EvolutionInterrupted, LostConvexityError, PMAError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow

# Without any end given, the flow ends at this residual ...
UNTIL = 1e-8
# ... and, as the residual may stay above it, after so many steps; so does one with --until alone.
MOST_STEPS = 1000
# Snapshots for a picture and a film where none are asked for: so many shares of the steps if their
# number is known, else times, so many a decade, since the flow slows down: in units of length^2.
SHARES = {"picture": 6, "film": 40}
A_DECADE = {"picture": 3, "film": 10}
DECADES = (-5, 3)


@dataclass(frozen=True)
class Ending:
    """--steps, --time and --until as given."""

    steps: int | None
    time: float | None
    until: float | None

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
        return UNTIL if self.open and self.until is None else self.until


@dataclass(frozen=True)
class Outputs:
    """Files to write, and what to print."""

    result: str
    picture: str | None
    film: str | None
    as_json: bool
    series: bool

    @property
    def files(self) -> list[str]:
        """Those that were asked for."""
        return [path for path in (self.result, self.picture, self.film) if path]

    def snapshots(self, ending: Ending, unit: float) -> int | Sequence[float]:
        """When to keep snapshots for the picture and the film; ``unit`` of time, length^2."""
        kind = "film" if self.film else "picture" if self.picture else None
        if kind is None:
            return ()
        if ending.steps is not None and ending.time is None:
            return max(1, ending.steps // SHARES[kind])
        first, last = (n * A_DECADE[kind] for n in DECADES)
        times = [0.0, *(unit * 10 ** (k / A_DECADE[kind]) for k in range(first, last + 1))]
        end = ending.time
        return times if end is None else [*(t for t in times if t < end), end]


def run_and_write(run: Callable[[], Flow], out: Outputs, ending: Ending) -> int:
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


def _draw(flow: Flow, out: Outputs) -> tuple[list[str], str]:
    """The files drawn, and why one could not be."""
    drawn: list[str] = []
    try:
        if out.picture:
            from pma_grid import plotting

            plotting.save(plotting.flow(flow), out.picture)
            drawn.append(out.picture)
        if out.film:
            from pma_grid import plotting

            plotting.animation(flow, out.film)
            drawn.append(out.film)
    except PMAError as error:
        return drawn, f"{error}."
    return drawn, ""


def _report(flow: Flow, out: Outputs, files: list[str]) -> None:
    """Print the figures."""
    from pma_grid.cli import flow_report

    if out.as_json:
        click.echo(json.dumps(flow_report.summary(flow, series=out.series) | {"files": files}))
    else:
        click.echo(flow_report.table(flow, files))
