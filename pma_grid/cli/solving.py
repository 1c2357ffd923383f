"""`pma-grid demo` and `pma-grid solve`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import output, reading
from pma_grid.cli.options import option, takes
from pma_grid.cli.output import Output
from pma_grid.runtime import ConvergenceError

if TYPE_CHECKING:
    from pma_grid.linsolve import LinearSolver
    from pma_grid.problem.problem import Problem

# Linear solvers by name.
SOLVERS = ("auto", "multigrid", "amg", "ilu", "direct")


def linear_solver(name: str, *, lag: bool = False) -> LinearSolver:
    """The solver of a name; with ``lag`` the set-up of multigrid serves several steps."""
    from pma_grid import linsolve

    if name == "multigrid":
        return linsolve.Multigrid(lag=lag)
    makers: dict[str, type[LinearSolver]] = {
        "auto": linsolve.Auto, "amg": linsolve.AMG, "ilu": linsolve.ILU, "direct": linsolve.Direct,
    }  # fmt: skip
    return makers[name]()


@click.command()
@click.option("-o", "--output", "folder", default=".", metavar="DIR", help="Folder for demo.npz "
              "and demo.png.")  # fmt: skip
@click.option("--size", default=256, show_default=True, type=click.IntRange(8, 4096),
              help="Number of cells along each axis.")  # fmt: skip
@output.as_json
@output.quiet
def demo(folder: str, size: int, as_json: bool, quiet: bool) -> int:
    """Transport one bundled photograph onto another; writes demo.npz and demo.png.

    Prints W2 (unit square, cost |x - y|^2), the rms residual, the mass constant, the Newton steps,
    and the seconds with those for compiling apart.
    """
    result, picture = (
        str(output.check_writable(Path(folder) / f"demo.{ending}")) for ending in ("npz", "png")
    )
    from pma_grid import cases

    problem = cases.photographs().problem((size, size))
    return _solve(problem, Output(result, picture, as_json, quiet), {})


@dataclass(frozen=True)
class Solving:
    """How the equation is solved: the arguments of `pma_grid.solve`.

    tol : Stop at this rms residual.  [default: 1e-5 or a tenth of the estimated discretisation
        error, whichever is smaller]
    linear_solver : Preconditioner of the linear systems of Newton's method.
    max_iterations : Newton steps to take at most on each grid.
    threads : Number of threads; the result does not depend on it.
    averaging : Average the target over the images of cells where it varies much within them.
    fallback : Try the entropic solver as well where Newton's method stalls.
    """

    tol: float | None = option()
    linear_solver: str = option(type=click.Choice(SOLVERS), default="auto")
    max_iterations: int = option(type=click.IntRange(1), default=50)
    threads: int = option(type=click.IntRange(1), default=1)
    averaging: bool = option("--averaging/--no-averaging", default=True)
    fallback: bool = option("--fallback/--no-fallback", default=True)


@click.command()
@reading.two_densities
@takes(Output, Solving, reading.BoxesAndFloors)
@reading.target_polygon
def solve(
    out: Output, how: Solving, boxes: reading.BoxesAndFloors, source: str, target: str,
    target_polygon: Any,
) -> int:  # fmt: skip
    """Optimal transport from SOURCE to TARGET, cost |x - y|^2.

    Both are .npy, .npz, .csv, .png, .jpg or .tif files of non-negative values on any scale with 1
    to 3 axes; '-' reads one .npy from standard input.  Boxes are unit boxes unless given.

    \b
    pma-grid solve a.npy b.npy -o ot.npz --plot ot.png
    pma-grid solve a.png b.png -o ot.npz --box-source '0,1 0,2' --box-target '0,1 0,2' --json
    """
    reading.check_distinct((source, target), out.files)
    problem = boxes.problem(source, target)
    if target_polygon is not None:
        problem = reading.cut(problem, target_polygon)
    options = dataclasses.asdict(how) | {"linear_solver": linear_solver(how.linear_solver)}
    return _solve(problem, out, options)


def _solve(problem: Problem, out: Output, options: dict[str, Any]) -> int:
    """Solve, write what there is, report; the exit status says whether it converged."""
    from pma_grid.stationary.solving import solve as run
    from pma_grid.transport.assessment import assess

    try:
        ot = run(problem, progress=out.progress, **options)
    except ConvergenceError as error:
        ot = error.result
    assess(ot)
    return output.deliver(ot, out, lambda plotting: plotting.transport(ot))
