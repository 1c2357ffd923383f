"""The command line: `pma-grid demo | solve | study | plot | info`.  No numerics here.

Exit status: 0 done, 1 did not converge (the partial result is written and said so), 2 bad input or
usage, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid import __version__
from pma_grid.errors import ConvergenceError, InvalidInputError, PMAError

if TYPE_CHECKING:
    from pma_grid.density import Density
    from pma_grid.linsolve import LinearSolver
    from pma_grid.problem import Problem
    from pma_grid.transport import Transport

DONE, NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STUDIES = (
    "manufactured", "anisotropic", "affine-gaussian", "separable", "quantile", "radial",
    "gaussian-mixtures",
)  # fmt: skip
SOLVERS = ("auto", "multigrid", "amg", "direct")
SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
quiet = click.option("--quiet", is_flag=True, help="No progress line on stderr.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pma-grid")
def cli() -> None:
    """Optimal transport between densities on 1-, 2- and 3-D grids.

    Two arrays or images in; the optimal (Brenier) map, its potential, the Wasserstein distance W2
    and a picture out.

    \b
    pma-grid demo                          two photographs, demo.npz and demo.png
    pma-grid solve a.npy b.npy -o ot.npz   your own densities
    pma-grid plot ot.npz -o ot.png         a picture of a result
    """


@cli.command()
@click.option(
    "-o", "--output", default=".", help="Folder for demo.npz and demo.png.", metavar="DIR"
)
@click.option("--size", default=256, show_default=True, type=click.IntRange(8, 4096),
              help="Cells an axis.")  # fmt: skip
@as_json
@quiet
def demo(output: str, size: int, as_json: bool, quiet: bool) -> int:
    """Transport one bundled photograph onto another; writes demo.npz and demo.png.

    Prints W2 (unit square, cost |x - y|^2), the rms residual, the mass constant, the Newton steps,
    and the seconds with those for compiling apart.
    """
    from pma_grid import cases, storage

    paths = [str(storage.check_writable(Path(output) / f"demo.{s}")) for s in ("npz", "png")]
    problem = cases.photographs().problem((size, size))
    return _solve_and_write(problem, paths[0], paths[1], as_json, quiet, {})


def _box(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse "0,1 0,2" into one (lower, upper) pair an axis."""
    if value is None:
        return None
    try:
        pairs = [tuple(float(c) for c in axis.split(",")) for axis in value.split()]
    except ValueError:
        pairs = []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise click.BadParameter(
            f"{value!r} is no box; give lower,upper for each axis, as in '0,1 0,2'",
            param=parameter,
        )
    return pairs


@cli.command()
@click.argument("source")
@click.argument("target")
@click.option("-o", "--output", required=True, metavar="FILE", help="Result to write (.npz).")
@click.option("--tol", type=float, help="rms residual asked for  [default: 1e-5 or a tenth of the "
              "estimated discretisation error, whichever is smaller]")  # fmt: skip
@click.option("--floor-source", type=float, help="Floor of the source, relative to its mean.")
@click.option("--floor-target", type=float, help="Floor of the target, relative to its mean.")
@click.option("--box-source", callback=_box, help="Box of the source, 'lo,hi' an axis.")
@click.option("--box-target", callback=_box, help="Box of the target, 'lo,hi' an axis.")
@click.option("--linear-solver", type=click.Choice(SOLVERS), default="auto", show_default=True,
              help="Preconditioner of the Newton steps.")  # fmt: skip
@click.option("--max-iterations", type=click.IntRange(1), default=50, show_default=True,
              help="Newton steps allowed on each grid.")  # fmt: skip
@click.option("--verify-monotone", is_flag=True, help="Check the stencils by a full scan (slow).")
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@as_json
@quiet
def solve(
    source: str, target: str, output: str, tol: float | None, floor_source: float | None,
    floor_target: float | None, box_source: Any, box_target: Any, linear_solver: str,
    max_iterations: int, verify_monotone: bool, picture: str | None, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Optimal transport from SOURCE to TARGET, cost |x - y|^2.

    Both are .npy, .npz, .csv, .png, .jpg or .tif files of non-negative values on any scale with 1
    to 3 axes; '-' reads one .npy from standard input.  Boxes are unit boxes unless given.

    \b
    pma-grid solve a.npy b.npy -o ot.npz --plot ot.png
    pma-grid solve a.png b.png -o ot.npz --box-source '0,1 0,2' --box-target '0,1 0,2' --json
    """
    from pma_grid import storage
    from pma_grid.problem import Problem

    written = str(storage.check_writable(output))
    drawn = _check_picture(picture) if picture else None
    if source == target == "-":
        raise InvalidInputError("SOURCE and TARGET are both '-'; only one can be standard input")
    for path in filter(None, (written, drawn)):
        _check_distinct((source, target), path)
    problem = Problem(
        _density("source", source, box_source, floor_source),
        _density("target", target, box_target, floor_target),
    )
    options = {
        "tol": tol, "linear_solver": _linear_solver(linear_solver),
        "max_iterations": max_iterations, "verify_monotone": verify_monotone,
    }  # fmt: skip
    return _solve_and_write(problem, written, drawn, as_json, quiet, options)


def _check_distinct(inputs: tuple[str, ...], output: str) -> None:
    """A result never replaces the data it comes from."""
    if Path(output).resolve() in [Path(name).resolve() for name in inputs if name != "-"]:
        raise InvalidInputError(f"{output} is an input too; name another file for the result")


def _density(name: str, path: str, box: Any, floor: float | None) -> Density:
    """A density from a file; errors name the file."""
    from pma_grid.density import Density
    from pma_grid.grid import Grid
    from pma_grid.readers import read_array

    values = read_array(path)
    try:
        grid = None
        if box is not None:
            grid = Grid(values.shape, [pair[0] for pair in box], [pair[1] for pair in box])
        return Density(values, grid, floor=floor)
    except InvalidInputError as error:
        raise InvalidInputError(f"{name} {path}: {error}") from None


def _linear_solver(name: str) -> LinearSolver:
    from pma_grid import linsolve

    solvers = {
        "auto": linsolve.Auto, "multigrid": linsolve.Multigrid, "amg": linsolve.AMG,
        "direct": linsolve.Direct,
    }  # fmt: skip
    solver: LinearSolver = solvers[name]()
    return solver


def _check_picture(path: str) -> str:
    """A writable path with an ending that can be drawn to."""
    from pma_grid import storage

    if Path(path).suffix.lower() not in SUFFIXES:
        raise InvalidInputError(
            f"{path} has an ending that cannot be drawn; use one of {', '.join(SUFFIXES)}"
        )
    return str(storage.check_writable(path))


def _solve_and_write(
    problem: Problem, output: str, picture: str | None, as_json: bool, quiet: bool,
    options: dict[str, Any],
) -> int:  # fmt: skip
    """Solve, write what there is, report; the exit status says whether it converged."""
    from pma_grid.stationary import solve as run

    try:
        ot = run(problem, progress=sys.stderr.isatty() and not quiet, **options)
    except ConvergenceError as error:
        ot = error.result
    ot.save(output)
    if picture is not None:
        from pma_grid import plotting

        plotting.save(plotting.transport(ot), picture)
    files = [output] if picture is None else [output, picture]
    _report(ot, files, as_json)
    if not ot.converged:
        click.echo(f"pma-grid: did not converge: {ot.message} The partial result is in {output}.",
                   err=True)  # fmt: skip
    return DONE if ot.converged else NOT_CONVERGED


def _summary(ot: Transport) -> dict[str, Any]:
    """What `solve` prints and `info` repeats."""
    stats = ot.stats
    keys = (
        "residual", "tol", "mass_constant", "iterations", "linear_iterations", "linear_solver",
        "seconds", "compile_seconds", "floors", "monotone", "versions",
    )  # fmt: skip
    return {
        "w2": ot.w2,
        "w2_squared": ot.w2_squared,
        "status": str(ot.status),
        "converged": ot.converged,
        "message": ot.message,
        "source_shape": list(ot.problem.source.shape),
        "target_shape": list(ot.problem.target.shape),
    } | {key: stats[key] for key in keys if key in stats}


def _report(ot: Transport, files: list[str], as_json: bool) -> None:
    summary = _summary(ot) | {"files": files}
    if as_json:
        click.echo(json.dumps(summary))
        return
    stats = ot.stats
    lines = [
        f"W2             {ot.w2:.8g}   (W2^2 = {ot.w2_squared:.8g}, cost |x - y|^2)",
        f"status         {ot.status}: {ot.message}",
    ]
    if "residual" in stats:
        lines += [
            f"residual       {stats['residual']:.2e}   (rms; asked for {stats['tol']:.1e})",
            f"mass constant  {stats['mass_constant']:.2e}",
            f"iterations     {stats['iterations']} Newton, {stats['linear_iterations']} linear "
            f"({', '.join(stats['linear_solver']) or 'none needed'} on the finest grid)",
            f"seconds        {stats['seconds']:.2f}   (and {stats['compile_seconds']:.2f} for "
            "compiling or loading kernels)",
        ]
        for name, floor in stats["floors"].items():
            if floor["cells"]:
                lines.append(
                    f"floor          {name}: {floor['cells']} cells raised to "
                    f"{floor['relative']:.1e} of the mean, {floor['mass_added']:.1e} of the mass"
                )
    if "monotone" in stats:
        scan = stats["monotone"]
        lines.append(
            f"monotone scan  differs in {scan['cells']} cells, by {scan['largest_gain']:.1e}"
        )
    if files:
        lines.append(f"files          {', '.join(files)}")
    click.echo("\n".join(lines))


@cli.command()
@click.argument("name", type=click.Choice(STUDIES), metavar="NAME")
@click.option("--dim", type=click.IntRange(1, 3), help="Axes  [default: 2 where there is a choice]")
@click.option("--sizes", multiple=True, type=click.IntRange(4, 8192), metavar="N N ...",
              help="Cells an axis, increasing  [default: a few that take seconds]")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Convergence plot to write.")
@as_json
def study(
    name: str, dim: int | None, sizes: tuple[int, ...], output: str | None, as_json: bool
) -> int:
    """Errors against a closed form on several grids, with the observed orders.

    NAME is manufactured, anisotropic, affine-gaussian, separable, quantile, radial or
    gaussian-mixtures.

    \b
    pma-grid study manufactured --dim 2 --sizes 32 64 128 256
    """
    from pma_grid import cases, convergence

    drawn = _check_picture(output) if output else None
    with_dim = {"manufactured": (1, 2, 3), "affine-gaussian": (1, 2, 3), "separable": (1, 2, 3)}
    allowed = with_dim.get(name, (1,) if name == "quantile" else (2,))
    if dim is not None and dim not in allowed:
        raise InvalidInputError(f"--dim is {dim}; {name} exists for --dim {allowed}: omit it")
    maker = getattr(cases, name.replace("-", "_"))
    case = maker(dim or 2) if name in with_dim else maker()
    chosen = (
        sizes or {1: (64, 128, 256, 512, 1024), 2: (32, 64, 128, 256), 3: (16, 32, 64)}[case.dim]
    )
    result = convergence.study(case, tuple(chosen))
    if drawn:
        from pma_grid import plotting

        plotting.save(plotting.convergence(result).figure, drawn)
    click.echo(json.dumps(result.to_dict()) if as_json else f"{case.name}\n{result.table()}")
    return DONE


@cli.command()
@click.argument("result")
@click.option("-o", "--output", required=True, metavar="FILE", help="Picture to write.")
@click.option("--kind", type=click.Choice(("poster", "map", "interpolation", "history")),
              default="poster", show_default=True, help="What to draw.")  # fmt: skip
def plot(result: str, output: str, kind: str) -> int:
    """Draw a RESULT (.npz of `solve` or `demo`) to a picture.

    \b
    pma-grid plot ot.npz -o ot.png --kind interpolation
    """
    from pma_grid import plotting
    from pma_grid.flow import load

    drawn = _check_picture(output)
    ot = load(result)
    figure: Any
    if kind == "poster":
        figure = plotting.transport(ot)
    elif kind == "interpolation":
        figure = plotting.interpolation(ot)[0].figure
    else:
        figure = (plotting.map(ot) if kind == "map" else plotting.history(ot)).figure
    plotting.save(figure, drawn)
    click.echo(drawn)
    return DONE


@cli.command()
@click.argument("result")
@as_json
def info(result: str, as_json: bool) -> int:
    """Say what a RESULT file holds: W2, status, residual, floors, versions.

    \b
    pma-grid info ot.npz --json
    """
    from pma_grid.flow import load

    _report(load(result), [], as_json)
    return DONE


def _spread_sizes(arguments: Sequence[str]) -> list[str]:
    """Repeat --sizes before each of its values, so that `--sizes 32 64` reads as it looks."""
    out: list[str] = []
    taking = False
    for argument in arguments:
        number = argument.lstrip("-").isdigit()
        if argument == "--sizes":
            taking = True
            continue
        if taking and number:
            out += ["--sizes", argument]
            continue
        if taking and out[-2:-1] != ["--sizes"]:
            out.append("--sizes")  # no value followed: let the parser say so
        taking = False
        out.append(argument)
    return out + (["--sizes"] if taking and out[-2:-1] != ["--sizes"] else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; errors are one line on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(_spread_sizes(given), prog_name="pma-grid", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return DONE
    except click.ClickException as error:
        return _fail(error.format_message())
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output is gone: nothing to say, and nowhere to say it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except ConvergenceError as error:
        # of a study: its grids are solved one after the other, none of them is written
        _fail(f"did not converge: {error}")
        return NOT_CONVERGED
    except (PMAError, OSError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__)
    return int(status or 0)


def _fail(message: str) -> int:
    click.echo(f"pma-grid: {' '.join(message.split())}", err=True)
    return BAD_INPUT
