"""`pma-grid evolve`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import inputs, scheduling
from pma_grid.cli.ending import Ending, Outputs, run_and_write

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow

# Names of pma_grid.observables (a test compares): --help must not import it.
RECORDS = (
    "kl", "reverse_kl", "symmetrised_kl", "dissipation", "tv", "chi2", "max_h", "min_h",
    "mass_defect", "mass_constant", "convexity_margin", "hessian_max", "lot_speed", "semidual",
    "potential_mean", "forward_divergence", "backward_divergence", "bregman",
)  # fmt: skip
ALL_CHEAP = "all-cheap"
# What the picture of a flow shows.
DRAWN = ("kl", "reverse_kl", "max_h", "min_h")


def _times(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse "0,0.1,1"."""
    if value is None:
        return None
    try:
        return tuple(float(word) for word in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no list of times; write them as in 0,0.1,1", param=parameter
        ) from None


@click.command()
@click.option("-o", "--output", required=True, metavar="FILE", help="Flow to write (.npz).")
@click.option("--schedule", callback=scheduling.parse, metavar="NAME:ARG,...",
              help="Step sizes, length^2, by one of " + ", ".join(scheduling.SCHEDULES)
              + "  [default: geometric:1e-3,1.5,1e3 for boxes of side 1; with explicit the "
              "largest stable ones]")  # fmt: skip
@click.option("--scheme", type=click.Choice(scheduling.SCHEMES), default="implicit_euler",
              show_default=True, help="How a step is taken.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), help="Steps to take.")
@click.option("--time", type=click.FloatRange(0, min_open=True), help="Time to end at, length^2.")
@click.option("--until", type=click.FloatRange(0, min_open=True), metavar="TOL",
              help="End once the residual (sum mu hbar^2)^(1/2) is below TOL  [default: 1e-8 if "
              "neither --steps nor --time is given, and 1000 steps at most]")  # fmt: skip
@click.option("--record", multiple=True, type=click.Choice((ALL_CHEAP, *RECORDS)),
              default=(ALL_CHEAP,), metavar="NAME NAME ...", help="Series to record, of "
              + ", ".join(RECORDS) + "  [default: all-cheap, a pass each]")  # fmt: skip
@click.option("--keep", type=click.IntRange(1), metavar="N", help="A snapshot every N steps.")
@click.option("--keep-times", callback=_times, metavar="T,T,...", help="Snapshots at these times.")
@click.option("--side", type=click.Choice(("source", "target")), default="source",
              show_default=True, help="The grid to solve on.")  # fmt: skip
@click.option("--initial", metavar="FILE", help="Start: a flow to go on from, a transport, or an "
              "array of the potential u.")  # fmt: skip
@click.option("--linear-solver", type=click.Choice(inputs.SOLVERS),
              help="Preconditioner of implicit steps  [default: auto]")  # fmt: skip
@click.option("--rtol", type=float,
              help="Relative residual of implicit steps  [default: 1e-4; trbdf2 1e-6]")  # fmt: skip
@click.option("--cap", type=click.Choice(scheduling.CAPS), help="Limit of explicit steps  "
              "[default: stability without --schedule, else none]")  # fmt: skip
@inputs.two_densities
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@click.option("--animate", "film", metavar="FILE", help="Film to write as well (.gif or .mp4).")
@click.option("--series", is_flag=True, help="With --json: the recorded series too.")
@inputs.as_json
@inputs.quiet
def evolve(
    source: str, target: str, output: str, floor_source: float | None, floor_target: float | None,
    box_source: Any, box_target: Any, schedule: Any, scheme: str, steps: int | None,
    time: float | None, until: float | None, record: tuple[str, ...], keep: int | None,
    keep_times: Any, side: str, initial: str | None, linear_solver: str | None, rtol: float | None,
    cap: str | None, picture: str | None, film: str | None, series: bool, as_json: bool,
    quiet: bool,
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
    _check_pairs(keep, keep_times, series, as_json)
    out = _outputs(output, picture, film, as_json, series)
    inputs.check_inputs(filter(None, (source, target, initial)), out.files)
    if cap is None and scheme == "explicit":
        cap = "stability" if schedule is None else "none"
    method = scheduling.make_scheme(scheme, linear_solver, rtol, cap)
    problem = inputs.read_problem(
        source, target, boxes=(box_source, box_target), floors=(floor_source, floor_target)
    )
    start = None if initial is None else inputs.read_initial(initial)
    unit = scheduling.time_unit(problem)
    rule = scheduling.default(scheme, unit, start) if schedule is None else schedule
    ending = Ending(steps, time, until)
    shots = keep or keep_times or out.snapshots(ending, unit)

    def run() -> Flow:
        from pma_grid.flow.evolution import evolve as run_flow

        return run_flow(
            problem, schedule=rule, scheme=method, steps=ending.most_steps, time=time,
            tol=ending.tol, initial=start, record=_names(record, out.picture is not None),
            keep=shots, side=side,  # type: ignore[arg-type]
            progress=sys.stderr.isatty() and not quiet,
        )  # fmt: skip

    return run_and_write(run, out, ending)


def _check_pairs(keep: int | None, keep_times: Any, series: bool, as_json: bool) -> None:
    """Options that exclude or need one another."""
    if keep is not None and keep_times is not None:
        raise click.UsageError("--keep and --keep-times are both given; choose one")
    if series and not as_json:
        raise click.UsageError("--series adds to --json, which is missing; give both")


def _outputs(
    output: str, picture: str | None, film: str | None, as_json: bool, series: bool
) -> Outputs:
    """The files to write, all checked before anything is read."""
    return Outputs(
        inputs.check_output(output),
        inputs.check_picture(picture) if picture else None,
        inputs.check_picture(film, inputs.FILMS) if film else None,
        as_json,
        series,
    )


def _names(record: tuple[str, ...], drawn: bool) -> tuple[str, ...]:
    """Names of series, each once, with those that a picture shows."""
    from pma_grid.flow.observables import CHEAP

    chosen: list[str] = []
    for name in (*record, *(DRAWN if drawn else ())):
        chosen += CHEAP if name == ALL_CHEAP else (name,)
    return tuple(dict.fromkeys(chosen))
