"""`pma-grid sinkhorn`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import inputs, scheduling
from pma_grid.cli.ending import Ending, Outputs, run_and_write
from pma_grid.cli.outcome import DONE, NOT_CONVERGED, say

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow
    from pma_grid.problem.problem import Problem
    from pma_grid.transport.transport import Transport

# Options that say how the optimum is found, at the values that say nothing: a flow has no use for
# others.
PLAIN = {"method": "dense", "map": "barycentric", "dtype": "float64", "scaling": True,
         "relaxation": None, "threads": 1, "max_iterations": None}  # fmt: skip


@click.command()
@click.option("-o", "--output", required=True, metavar="FILE", help="Result to write (.npz).")
@click.option("--eps", type=float, multiple=True, metavar="E", help="Regularisation, length^2, "
              "cost |x - y|^2/2  [default: a cell squared; multiscale half of it]")  # fmt: skip
@click.option("--tol", type=float, help="L1 error of the marginals  [default: 1e-9, float32 1e-5, "
              "multiscale 1e-4]; of a flow the residual to stop at")  # fmt: skip
@click.option("--method", type=click.Choice(("dense", "multiscale")), default="dense",
              show_default=True, help="multiscale: for eps below the square of a cell and torn "
              "maps.")  # fmt: skip
@click.option("--kernel", type=click.Choice(("plain", "reflect")), default="plain",
              show_default=True, help="reflect has no layer at the faces.")  # fmt: skip
@click.option("--map", type=click.Choice(("barycentric", "debiased")), default="barycentric",
              show_default=True, help="debiased: second order in eps.")  # fmt: skip
@click.option("--max-iterations", type=click.IntRange(1), help="Iterations allowed on the finest "
              "grid  [default: 10000, multiscale 1000]")  # fmt: skip
@click.option("--relaxation", type=float, help="Over-relaxation factor in (0, 2), 1 for plain "
              "sweeps  [default: found on the way]")  # fmt: skip
@click.option("--no-scaling", "scaling", flag_value=False, default=True,
              help="Begin on the grid and at the eps asked for at once.")  # fmt: skip
@click.option("--dtype", type=click.Choice(("float64", "float32")), default="float64",
              show_default=True, help="Precision of the kernel sums.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="More pay on large grids and idle cores only.")  # fmt: skip
@click.option("--initial", metavar="FILE", help="Start: a saved result, or an array of the "
              "potential u.")  # fmt: skip
@click.option("--time", type=click.FloatRange(0, min_open=True), help="Write Sinkhorn's flow up to "
              "this time instead, length^2, one sweep a step of eps.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), help="The same, of so many sweeps.")
@inputs.source_and_target
@inputs.boxes
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@inputs.as_json
@inputs.quiet
def sinkhorn(
    source: str, target: str, output: str, eps: tuple[float, ...], tol: float | None, kernel: str,
    initial: str | None, time: float | None, steps: int | None, box_source: Any, box_target: Any,
    picture: str | None, as_json: bool, quiet: bool, **options: Any,
) -> int:  # fmt: skip
    """Entropic optimal transport from SOURCE to TARGET, by Sinkhorn's algorithm.

    Minimises E|x - y|^2/2 + eps KL(P | mu x nu).  Files and boxes are as for solve; cells without
    mass stay so, no floor is applied.  With --time or --steps the iterates themselves are written
    as a flow: as eps falls they approach the one of evolve.

    \b
    pma-grid sinkhorn a.npy b.npy -o sk.npz --eps 0.001 --plot sk.png
    pma-grid sinkhorn a.npy b.npy -o sk.npz --eps 0.001 --kernel reflect --map debiased
    pma-grid sinkhorn a.npy b.npy -o sk.npz --method multiscale --json
    pma-grid sinkhorn a.npy b.npy -o flow.npz --eps 0.01 --time 1
    """
    if len(eps) > 1:
        raise click.UsageError(f"--eps is given {len(eps)} times; compare takes several, this one")
    flows = not (time is None and steps is None)
    if flows:
        _check_flow(eps, options)
    out = Outputs(
        inputs.check_output(output), inputs.check_picture(picture) if picture else None, None,
        as_json, False,
    )  # fmt: skip
    inputs.check_inputs(filter(None, (source, target, initial)), out.files)
    problem = inputs.read_problem(
        source, target, boxes=(box_source, box_target), floors=(None, None)
    )
    start = None if initial is None else inputs.read_initial(initial)
    shared = {
        "eps": eps[0] if eps else None, "tol": tol, "kernel": kernel, "initial": start,
        "progress": sys.stderr.isatty() and not quiet,
    }  # fmt: skip
    if flows:
        return _flow(problem, out, Ending(steps, time, tol), shared)
    return _optimum(problem, out, shared | options)


def _check_flow(eps: tuple[float, ...], options: dict[str, Any]) -> None:
    """--time and --steps need --eps and take no option that says how the optimum is found."""
    for name, value in options.items():
        if value != PLAIN[name]:
            option = "no-scaling" if name == "scaling" else name.replace("_", "-")
            raise click.UsageError(
                f"--{option} says how the optimum is found; with --time or --steps every sweep is "
                "taken as it is: omit it"
            )
    if not eps:
        raise click.UsageError("--time and --steps need --eps, the step size: for example 0.01")


def _flow(problem: Problem, out: Outputs, ending: Ending, shared: dict[str, Any]) -> int:
    """Sweep, and write the iterates."""
    shots = out.snapshots(ending, scheduling.time_unit(problem))

    def run() -> Flow:
        from pma_grid.flow.sinkhorn import sinkhorn_flow

        return sinkhorn_flow(problem, time=ending.time, steps=ending.steps, keep=shots, **shared)

    return run_and_write(run, out, ending)


def _optimum(problem: Problem, out: Outputs, options: dict[str, Any]) -> int:
    """Solve, write what there is, report; the exit status says whether it converged."""
    from pma_grid.cli import transport_report
    from pma_grid.entropic.solving import sinkhorn as run

    sk: Transport = run(problem, **options)
    sk.save(out.result)
    if out.picture is not None:
        from pma_grid import plotting

        plotting.save(plotting.transport(sk), out.picture)
    figures = transport_report.summary(sk) | {"files": out.files}
    click.echo(json.dumps(figures) if out.as_json else transport_report.table(sk, out.files))
    if not sk.status.succeeded:
        say(f"did not converge: {sk.message} The partial result is in {out.result}.")
    return DONE if sk.status.succeeded else NOT_CONVERGED
