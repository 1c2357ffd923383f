"""`pma-grid demo` and `pma-grid solve`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import inputs
from pma_grid.cli.outcome import DONE, NOT_CONVERGED, say
from pma_grid.runtime.errors import ConvergenceError

if TYPE_CHECKING:
    from pma_grid.linsolve import LinearSolver
    from pma_grid.problem.problem import Problem


@click.command()
@click.option(
    "-o", "--output", default=".", help="Folder for demo.npz and demo.png.", metavar="DIR"
)
@click.option("--size", default=256, show_default=True, type=click.IntRange(8, 4096),
              help="Cells an axis.")  # fmt: skip
@inputs.as_json
@inputs.quiet
def demo(output: str, size: int, as_json: bool, quiet: bool) -> int:
    """Transport one bundled photograph onto another; writes demo.npz and demo.png.

    Prints W2 (unit square, cost |x - y|^2), the rms residual, the mass constant, the Newton steps,
    and the seconds with those for compiling apart.
    """
    paths = [inputs.check_output(str(Path(output) / f"demo.{end}")) for end in ("npz", "png")]
    from pma_grid import cases

    problem = cases.photographs().problem((size, size))
    return _solve_and_write(problem, paths[0], paths[1], as_json, quiet, {})


@click.command()
@click.option("-o", "--output", required=True, metavar="FILE", help="Result to write (.npz).")
@click.option("--tol", type=float, help="rms residual asked for  [default: 1e-5 or a tenth of the "
              "estimated discretisation error, whichever is smaller]")  # fmt: skip
@click.option("--linear-solver", type=click.Choice(inputs.SOLVERS), default="auto",
              show_default=True, help="Preconditioner of the Newton steps.")  # fmt: skip
@click.option("--max-iterations", type=click.IntRange(1), default=50, show_default=True,
              help="Newton steps allowed on each grid.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads that share every grid; the result is the same.")  # fmt: skip
@click.option("--averaging/--no-averaging", default=True, show_default=True,
              help="Average the target over the images of cells where it varies much.")  # fmt: skip
@click.option("--fallback/--no-fallback", default=True, show_default=True,
              help="Try the entropic solver too where Newton's method stalls.")  # fmt: skip
@inputs.two_densities
@inputs.target_polygon
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@inputs.as_json
@inputs.quiet
def solve(
    source: str, target: str, output: str, tol: float | None, floor_source: float | None,
    floor_target: float | None, box_source: Any, box_target: Any, linear_solver: str,
    max_iterations: int, threads: int, averaging: bool, fallback: bool,
    target_polygon: Any, picture: str | None, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Optimal transport from SOURCE to TARGET, cost |x - y|^2.

    Both are .npy, .npz, .csv, .png, .jpg or .tif files of non-negative values on any scale with 1
    to 3 axes; '-' reads one .npy from standard input.  Boxes are unit boxes unless given.

    \b
    pma-grid solve a.npy b.npy -o ot.npz --plot ot.png
    pma-grid solve a.png b.png -o ot.npz --box-source '0,1 0,2' --box-target '0,1 0,2' --json
    """
    written = inputs.check_output(output)
    drawn = inputs.check_picture(picture) if picture else None
    inputs.check_inputs((source, target), (written, drawn))
    problem = inputs.read_problem(
        source, target, boxes=(box_source, box_target), floors=(floor_source, floor_target),
        polygon=target_polygon,
    )  # fmt: skip
    options = {
        "tol": tol, "linear_solver": _linear_solver(linear_solver),
        "max_iterations": max_iterations, "threads": threads, "averaging": averaging,
        "fallback": fallback,
    }  # fmt: skip
    return _solve_and_write(problem, written, drawn, as_json, quiet, options)


def _linear_solver(name: str) -> LinearSolver:
    from pma_grid import linsolve

    solvers = {
        "auto": linsolve.Auto, "multigrid": linsolve.Multigrid, "amg": linsolve.AMG,
        "direct": linsolve.Direct,
    }  # fmt: skip
    solver: LinearSolver = solvers[name]()
    return solver


def _solve_and_write(
    problem: Problem, output: str, picture: str | None, as_json: bool, quiet: bool,
    options: dict[str, Any],
) -> int:  # fmt: skip
    """Solve, write what there is, report; the exit status says whether it converged."""
    from pma_grid.cli import transport_report
    from pma_grid.stationary.solving import solve as run
    from pma_grid.transport.assessment import assess

    try:
        ot = run(problem, progress=sys.stderr.isatty() and not quiet, **options)
    except ConvergenceError as error:
        ot = error.result
    assess(ot)
    ot.save(output)
    if picture is not None:
        from pma_grid import plotting

        plotting.save(plotting.transport(ot), picture)
    files = [output] if picture is None else [output, picture]
    summary = transport_report.summary(ot) | {"files": files}
    click.echo(json.dumps(summary) if as_json else transport_report.table(ot, files))
    if not ot.converged:
        say(f"did not converge: {ot.message} The partial result is in {output}.")
    return DONE if ot.converged else NOT_CONVERGED
