"""`pma-grid sinkhorn`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import output, reading, scheduling
from pma_grid.cli.flows import Ending, run_and_write
from pma_grid.cli.options import given, option, takes
from pma_grid.cli.output import Output

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow

KERNELS = ("plain", "reflect")


@dataclass(frozen=True)
class Regularisation:
    """The entropic problem and where its solution starts.

    eps : Strength of the regularisation, in length^2, for the cost |x - y|^2/2.  [default: a
        cell squared; multiscale half of it]
    tol : Stop at this L1 error of the marginals, with --time or --steps at this residual.
        [default: 1e-9, float32 1e-5, multiscale 1e-4]
    kernel : Kernel; reflect makes no boundary layer.
    initial : Where to start: a saved result, or an array of the potential u.
    """

    eps: tuple[float, ...] = option(type=float, multiple=True, metavar="E")
    tol: float | None = option()
    kernel: str = option(type=click.Choice(KERNELS), default="plain")
    initial: str | None = option(metavar="FILE")


@dataclass(frozen=True)
class Optimising:
    """How the optimum is found, which a flow has no use for.

    method : Algorithm; multiscale is for eps below the square of a cell and for torn maps.
    map : Map to report; debiased is of second order in eps.
    max_iterations : Iterations to take at most on the finest grid.  [default: 10000, multiscale
        1000]
    relaxation : Factor of over-relaxation in (0, 2); 1 takes plain sweeps.  [default: found on
        the way]
    scaling : Begin with the grid and the eps asked for, not coarser.
    dtype : Precision of the kernel sums.
    threads : Number of threads; more pay on large grids only.
    """

    method: str = option(type=click.Choice(("dense", "multiscale")), default="dense")
    map: str = option(type=click.Choice(("barycentric", "debiased")), default="barycentric")
    max_iterations: int | None = option(type=click.IntRange(1))
    relaxation: float | None = option()
    scaling: bool = option(
        "--no-scaling", "scaling", flag_value=False, default=True, show_default=False
    )
    dtype: str = option(type=click.Choice(("float64", "float32")), default="float64")
    threads: int = option(type=click.IntRange(1), default=1)


@dataclass(frozen=True)
class Sweeping:
    """The end of a flow, if one is to be written.

    time : Write the iterates up to this time as a flow, in length^2: a sweep is a step of eps.
    steps : Write so many iterates as a flow.
    """

    time: float | None = option(type=click.FloatRange(0, min_open=True))
    steps: int | None = option(type=click.IntRange(0))


@click.command()
@reading.two_densities
@takes(Output, Regularisation, Optimising, Sweeping, reading.Boxes)
def sinkhorn(
    out: Output, entropic: Regularisation, how: Optimising, flow: Sweeping, boxes: reading.Boxes,
    source: str, target: str,
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
    eps = entropic.eps
    if len(eps) > 1:
        raise click.UsageError(f"--eps is given {len(eps)} times; compare takes several, this one")
    ending = Ending(flow.steps, flow.time, entropic.tol)
    if not ending.open:
        _check_flow(eps)
    reading.check_distinct((source, target, entropic.initial), out.files)
    problem = boxes.problem(source, target)
    shared: dict[str, Any] = {
        "eps": eps[0] if eps else None, "tol": entropic.tol, "kernel": entropic.kernel,
        "initial": reading.read_initial(entropic.initial), "progress": out.progress,
    }  # fmt: skip
    if ending.open:
        from pma_grid.entropic.solving import sinkhorn as run

        found = run(problem, **shared, **dataclasses.asdict(how))
        return output.deliver(found, out, lambda plotting: plotting.transport(found))

    shots = ending.snapshots("picture" if out.picture else None, scheduling.time_unit(problem))

    def run_flow() -> Flow:
        from pma_grid.flow.sinkhorn import sinkhorn_flow

        return sinkhorn_flow(problem, time=ending.time, steps=ending.steps, keep=shots, **shared)

    return run_and_write(run_flow, out, ending)


def _check_flow(eps: tuple[float, ...]) -> None:
    """--time and --steps need --eps and take no option that says how the optimum is found."""
    for name in given(Optimising):
        raise click.UsageError(
            f"{name} says how the optimum is found; with --time or --steps every sweep is taken as "
            "it is: omit it"
        )
    if not eps:
        raise click.UsageError("--time and --steps need --eps, the step size: for example 0.01")
