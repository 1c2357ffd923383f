"""`pma-grid evolve`, and how a flow ends: leaving what there is when it does not get there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import output, reading
from pma_grid.cli.options import numbers, option, parsed, takes
from pma_grid.cli.output import BAD_INPUT, DONE, INTERRUPTED, NOT_CONVERGED, Output, say
from pma_grid.cli.scheduling import Scheduling, time_unit
from pma_grid.runtime import EvolutionInterrupted, LostConvexityError, PMAError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow

# Names of pma_grid.flow.observables (a test compares): --help must not import it.
RECORDS = (
    "kl", "reverse_kl", "symmetrised_kl", "dissipation", "tv", "chi2", "max_h", "min_h",
    "mass_defect", "mass_constant", "convexity_margin", "hessian_max", "lot_speed", "semidual",
    "potential_mean", "forward_divergence", "backward_divergence", "bregman",
)  # fmt: skip
ALL_CHEAP = "all-cheap"
# What the picture of a flow shows.
DRAWN = ("kl", "reverse_kl", "max_h", "min_h")
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

    film: str | None = option(
        "--animate", "film", metavar="FILE", callback=output.writable(*output.FILMS)
    )
    series: bool = option()

    @property
    def files(self) -> list[str]:
        """Those that were asked for."""
        return [*super().files, *([self.film] if self.film else [])]


@dataclass(frozen=True)
class Recording:
    """What is recorded of a flow, and when its densities are kept.

    keep : Keep the density of every N-th step.
    keep_times : Keep the densities at these times.
    """

    record: tuple[str, ...] = option(
        multiple=True,
        type=click.Choice((ALL_CHEAP, *RECORDS)),
        default=(ALL_CHEAP,),
        metavar="NAME NAME ...",
        help=f"Series to record: {', '.join(RECORDS)}. [default: all-cheap, of a pass each]",
    )
    keep: int | None = option(type=click.IntRange(1), metavar="N")
    keep_times: Any = option(
        metavar="T,T,...", callback=parsed(numbers, "list of times", "them as in 0,0.1,1")
    )

    def names(self, drawn: bool) -> tuple[str, ...]:
        """Names of series, each once, with those that a picture shows."""
        from pma_grid.flow.observables import CHEAP

        chosen: list[str] = []
        for name in (*self.record, *(DRAWN if drawn else ())):
            chosen += CHEAP if name == ALL_CHEAP else (name,)
        return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Start:
    """The grid of a flow and its first potential.

    side : Density whose grid the equation is solved on.
    initial : Where to start: a flow to go on from, another result, or an array of the potential
        u.
    """

    side: str = option(type=click.Choice(("source", "target")), default="source")
    initial: str | None = option(metavar="FILE")


@click.command()
@reading.two_densities
@takes(FlowOutput, Scheduling, Ending, Recording, Start, reading.BoxesAndFloors)
def evolve(
    out: FlowOutput, stepping: Scheduling, ending: Ending, recording: Recording, begin: Start,
    boxes: reading.BoxesAndFloors, source: str, target: str,
) -> int:  # fmt: skip
    """The parabolic Monge-Ampère flow from SOURCE to TARGET, du/dt = log(rho_u / mu).

    It ends in the potential that solve finds.  Files and boxes are as for solve.  The first of
    --steps, --time and --until ends it.  A flow given as --initial goes on: with its time, which
    --time includes, and its step count, from which --steps counts.

    \b
    pma-grid evolve a.npy b.npy -o flow.npz --plot flow.png
    pma-grid evolve a.npy b.npy -o flow.npz --schedule constant:0.01 --steps 100 --animate flow.gif
    pma-grid evolve a.npy b.npy -o flow.npz --scheme trbdf2 --time 0.2 --record kl bregman
    pma-grid evolve a.npy b.npy -o more.npz --initial flow.npz --until 1e-10
    """
    if recording.keep is not None and recording.keep_times is not None:
        raise click.UsageError("--keep and --keep-times are both given; choose one")
    if out.series and not out.as_json:
        raise click.UsageError("--series adds to --json, which is missing; give both")
    reading.check_distinct((source, target, begin.initial), out.files)
    scheme = stepping.make_scheme()
    problem = boxes.problem(source, target)
    start = reading.read_initial(begin.initial)
    unit = time_unit(problem)
    schedule = stepping.make_schedule(unit, start)
    kind = "film" if out.film else "picture" if out.picture else None
    shots = recording.keep or recording.keep_times or ending.snapshots(kind, unit)

    def run() -> Flow:
        from pma_grid.flow.evolution import evolve as run_flow

        return run_flow(
            problem, schedule=schedule, scheme=scheme, steps=ending.most_steps, time=ending.time,
            tol=ending.tol, initial=start, record=recording.names(out.picture is not None),
            keep=shots, side=begin.side,  # type: ignore[arg-type]
            progress=out.progress,
        )  # fmt: skip

    return run_and_write(run, out, ending)


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
        output.draw(lambda plotting: plotting.flow(flow), out.picture)
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

    output.tell(*report(flow, files, series=getattr(out, "series", False)), out.as_json)
