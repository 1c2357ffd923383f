"""`pma-grid evolve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import reading
from pma_grid.cli.ending import Ending, FlowOutput, run_and_write
from pma_grid.cli.options import numbers, option, parsed, takes
from pma_grid.cli.scheduling import Scheduling, time_unit

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
