"""`pma-grid compare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pma_grid.cli import output
from pma_grid.cli.entropic import KERNELS
from pma_grid.cli.options import given, option, takes
from pma_grid.cli.output import DONE, NOT_CONVERGED, say
from pma_grid.cli.reading import BoxesAndFloors, check_distinct, transport_of
from pma_grid.runtime import ConvergenceError, InvalidInputError, Status

if TYPE_CHECKING:
    from pma_grid.problem.problem import Problem
    from pma_grid.transport.transport import Transport

PEERS = ("pot", "ott", "geomloss")
# The benchmark problems of the docs: the case and what it takes, and cells an axis by default.
CASES: dict[str, tuple[str, tuple[int, ...], int]] = {
    "P1": ("gaussian_mixtures", (), 64),
    "P2": ("manufactured", (2,), 64),
    "P3": ("photographs", (), 64),
    "P4": ("concentrated", (), 64),
    "P5": ("manufactured", (3,), 24),
}
# eps where none is given, in units of the square of the box's length.
DEFAULT_EPS = (1e-2, 1e-3)
# L1 marginal errors asked for where none is given.
TOLERANCE = {"dense": 1e-6, "multiscale": 1e-4}


@dataclass(frozen=True)
class Entropic:
    """What is asked of every entropic solver.

    eps : Regularisations of the entropic solvers, in length^2, for the cost |x - y|^2/2.
        [default: 0.01 0.001 of the box's length squared]
    peers : Other packages to run at each eps: pot, ott, geomloss.
    method : Algorithm of sinkhorn; multiscale is for eps near the square of a cell.
    kernel : Kernel of sinkhorn; reflect makes no boundary layer.
    debiased : Compare maps of debiased potentials.
    tol : Stop at this L1 error of the marginals.  [default: 1e-6, multiscale 1e-4]
    max_iterations : Sweeps to take at most.
    """

    eps: tuple[float, ...] = option(type=float, multiple=True, metavar="E E ...")
    peers: tuple[str, ...] = option(
        "--peer", "peers", multiple=True, type=click.Choice(PEERS), metavar="NAME ..."
    )
    method: str = option(type=click.Choice(tuple(TOLERANCE)), default="dense")
    kernel: str = option(type=click.Choice(KERNELS), default="plain")
    debiased: bool = option()
    tol: float | None = option()
    max_iterations: int = option(type=click.IntRange(1), default=10_000)

    @property
    def tolerance(self) -> float:
        """Of the marginals."""
        return TOLERANCE[self.method] if self.tol is None else self.tol


@dataclass(frozen=True)
class BuiltIn:
    """A built-in problem instead of files.

    case : A built-in problem instead of files: P1 Gaussian mixtures, P2 manufactured, P3
        photographs, P4 concentrated, P5 manufactured in 3-D.
    size : Number of cells along each axis of --case.  [default: 64; P5 24]
    """

    case: str | None = option(type=click.Choice(tuple(CASES)))
    size: int | None = option(type=click.IntRange(2, 4096))


@click.command()
@click.argument("files", metavar="[SOURCE TARGET | RESULT ...]", nargs=-1)
@takes(BuiltIn, Entropic, BoxesAndFloors)
@output.picture
@output.as_json
@output.quiet
def compare(
    built_in: BuiltIn, asked: Entropic, boxes: BoxesAndFloors, files: tuple[str, ...],
    picture: str | None, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Compare solve with sinkhorn, and with other packages, on one problem.

    Prints W2 and its gap, the distances of the maps (L2 weighted by the source, and largest), the
    error of the push-forward, the error of the plan's marginals, iterations and seconds.  The
    first row is the reference.  Instead of two densities give RESULT files of one problem, as
    solve wrote them: then nothing is solved.

    \b
    pma-grid compare a.npy b.npy --eps 0.01 0.001 --plot compared.png
    pma-grid compare --case P1 --size 32 --eps 0.001 --debiased --peer ott pot
    pma-grid compare one.npz two.npz
    """
    check_distinct(files, filter(None, (picture,)))
    _check_options(asked)
    names: list[str] | None = None
    failures: list[str] = []
    if built_in.case is None and files and _are_results(files):
        for name in given(BuiltIn, Entropic, BoxesAndFloors):
            raise InvalidInputError(
                f"{name} is for problems that are solved; these are results: omit it"
            )
        names, transports = list(files), _saved(files)
    else:
        problem = _problem(files, built_in, boxes)
        transports, failures = _solved(problem, asked, output.progress(quiet))
    status = _report(transports, names, picture, as_json)
    for failure in failures:
        say(f"did not converge: {failure}; it has no row.")
    return NOT_CONVERGED if failures else status


def _check_options(asked: Entropic) -> None:
    """What only fits together, before anything is computed."""
    from pma_grid.runtime import check_positive

    if asked.method == "multiscale" and (asked.kernel != "plain" or asked.debiased):
        raise InvalidInputError(
            "--method multiscale has no --kernel reflect and no --debiased; use --method dense"
        )
    for value in asked.eps:
        check_positive(value, "--eps", "it is in length^2, for example 1e-3")
    if asked.tol is not None:
        check_positive(asked.tol, "--tol", "for example 1e-6")


def _are_results(files: tuple[str, ...]) -> bool:
    """Whether all files are results; some only is an error."""
    from pma_grid.runtime import storage

    stored = [storage.is_stored(file) for file in files]
    if any(stored) and not all(stored):
        other = files[stored.index(False)]
        raise InvalidInputError(
            f"{other} is no result, as others are; give two densities, or results of one problem"
        )
    return all(stored)


def _saved(files: tuple[str, ...]) -> list[Transport]:
    """The results in files, each of them another."""
    from pma_grid.loading import load

    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise InvalidInputError(f"{twice} is given twice; rows have the names of files: omit one")
    return [transport_of(load(file)) for file in files]


def _problem(files: tuple[str, ...], built_in: BuiltIn, boxes: BoxesAndFloors) -> Problem:
    """That of two files, or a built-in one."""
    if built_in.case is None:
        if built_in.size is not None:
            raise InvalidInputError("--size is for --case; a file's cells are its own: omit it")
        if len(files) != 2:
            raise InvalidInputError(
                f"{len(files)} files are given; two densities are needed, or --case, or "
                "results that solve wrote"
            )
        return boxes.problem(*files)
    if files or given(BoxesAndFloors):
        raise InvalidInputError("--case is a problem of its own; omit files, boxes and floors")
    from pma_grid import cases

    name, arguments, default = CASES[built_in.case]
    made = getattr(cases, name)(*arguments)
    problem: Problem = made.problem((built_in.size or default,) * made.dim)
    return problem


def _solved(problem: Problem, asked: Entropic, progress: bool) -> tuple[list[Transport], list[str]]:
    """solve, then at each eps sinkhorn and the peers; and why some peers gave nothing."""
    from pma_grid.entropic import peers
    from pma_grid.entropic.solving import sinkhorn
    from pma_grid.stationary.solving import solve

    for name in asked.peers:  # those that cannot run, before anything is solved
        peers.check(name, problem)
    try:
        transports = [solve(problem, progress=progress)]
    except ConvergenceError as error:
        transports = [error.result]
    # shares of the square of the boxes' length, the geometric mean over both and all axes
    volumes = problem.source.grid.volume * problem.target.grid.volume
    usual = tuple(share * volumes ** (1 / problem.dim) for share in DEFAULT_EPS)
    failures = []
    for eps in asked.eps or usual:
        transports.append(
            sinkhorn(
                problem, eps, tol=asked.tolerance, max_iterations=asked.max_iterations,
                method=asked.method, kernel=asked.kernel,  # type: ignore[arg-type]
                map="debiased" if asked.debiased else "barycentric", progress=progress,
            )
        )  # fmt: skip
        for name in asked.peers:
            run = peers.PEERS[name]
            try:
                transports.append(
                    run(problem, eps, asked.tolerance, asked.max_iterations,
                        debiased=asked.debiased)
                )  # fmt: skip
            except ConvergenceError as error:
                failures.append(str(error))
    return transports, failures


def _report(
    transports: list[Transport], names: list[str] | None, picture: str | None, as_json: bool
) -> int:
    """Print the table; the exit status says whether every row converged."""
    from pma_grid.transport.comparison import compare as run

    found = run(*transports, names=names)
    output.draw(lambda plotting: plotting.comparison(found), picture)
    files = [picture] if picture else []
    text = found.table() + (f"\nfiles  {picture}" if picture else "")
    output.tell(found.to_dict() | {"files": files}, text, as_json)
    missed = [
        row.name
        for row, transport in zip(found.rows, transports, strict=True)
        if not (transport.status.succeeded or transport.status is Status.NOT_SOLVED)
    ]
    if missed:
        say(f"did not converge: {', '.join(missed)}.")
    return NOT_CONVERGED if missed else DONE
