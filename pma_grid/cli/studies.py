"""`pma-grid study`."""

from __future__ import annotations

from typing import Any

import click

from pma_grid.cli import output
from pma_grid.cli.output import DONE
from pma_grid.runtime import InvalidInputError

STUDIES = (
    "manufactured", "anisotropic", "affine-gaussian", "separable", "quantile", "radial",
    "gaussian-mixtures",
)  # fmt: skip
# Studies of Sinkhorn's algorithm: cells an axis by the number of axes; the cost is over grids.
ENTROPIC: dict[str, dict[int, tuple[int, ...]]] = {
    "small-eps": {1: (256,), 2: (64,)},
    "bias": {1: (256,), 2: (128,)},
    "cost": {1: (256, 512), 2: (64, 128)},
    "warm-starts": {1: (512,), 2: (128,)},
}
DRAWN = ("small-eps", "cost")
# Cases made for any number of axes; the others have the number given, else 2.
ANY_AXES = ("manufactured", "affine-gaussian", "separable")
AXES = {"quantile": (1,)}
SIZES = {1: (64, 128, 256, 512, 1024), 2: (32, 64, 128, 256), 3: (16, 32, 64)}


@click.command()
@click.argument("name", type=click.Choice((*STUDIES, *ENTROPIC)), metavar="NAME")
@click.option("--dim", type=click.IntRange(1, 3), help="Number of axes.  [default: 2 where there "
              "is a choice]")  # fmt: skip
@click.option("--sizes", multiple=True, type=click.IntRange(4, 8192), metavar="N N ...",
              help="Numbers of cells along each axis, increasing.  [default: a few that take "
              "seconds]")  # fmt: skip
@click.option("-o", "--output", "picture", metavar="FILE",
              callback=output.writable(*output.PICTURES), help="Draw the errors to this "
              "picture.")  # fmt: skip
@click.option("--kernel", type=click.Choice(("reflect", "plain")), default="reflect",
              show_default=True, help="Kernel of small-eps, bias and warm-starts.")  # fmt: skip
@output.as_json
def study(
    name: str, dim: int | None, sizes: tuple[int, ...], picture: str | None, kernel: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Errors against a closed form on several grids, with the observed orders.

    NAME is manufactured, anisotropic, affine-gaussian, separable, quantile, radial or
    gaussian-mixtures.

    Or a study of Sinkhorn's algorithm, in one or two dimensions: small-eps (its iterates against
    the flow as eps falls), bias (its fixed point), cost (seconds against map error, beside solve)
    or warm-starts (solve and sinkhorn started from each other).

    \b
    pma-grid study manufactured --dim 2 --sizes 32 64 128 256
    pma-grid study small-eps --dim 1 -o small-eps.png
    """
    if name in ENTROPIC:
        return _entropic(name, dim or 2, sizes, picture, kernel, as_json)
    from pma_grid import cases
    from pma_grid.cases import convergence

    allowed = (1, 2, 3) if name in ANY_AXES else AXES.get(name, (2,))
    if dim is not None and dim not in allowed:
        raise InvalidInputError(f"--dim is {dim}; {name} exists for --dim {allowed}: omit it")
    maker = getattr(cases, name.replace("-", "_"))
    case = maker(dim or 2) if name in ANY_AXES else maker()
    result = convergence.study(case, tuple(sizes or SIZES[case.dim]))
    output.draw(lambda plotting: plotting.convergence(result), picture)
    output.tell(result.to_dict(), f"{case.name}\n{result.table()}", as_json)
    return DONE


def _entropic(
    name: str, dim: int, sizes: tuple[int, ...], picture: str | None, kernel: Any, as_json: bool
) -> int:
    """A study of Sinkhorn's algorithm on the manufactured case."""
    from pma_grid import cases
    from pma_grid.cases import convergence

    if dim not in ENTROPIC[name]:
        raise InvalidInputError(f"--dim is {dim}; {name} exists for --dim (1, 2): omit it")
    if picture and name not in DRAWN:
        raise InvalidInputError(f"--output is given, but {name} has no picture: leave it out")
    chosen = sizes or ENTROPIC[name][dim]
    if name != "cost" and len(chosen) > 1:
        raise InvalidInputError(f"--sizes is {chosen}; {name} runs on one grid: give one size")
    case, n = cases.manufactured(dim), chosen[0]
    result: Any
    if name == "small-eps":
        result = convergence.small_eps(case.problem((n,) * dim), kernel=kernel)
    elif name == "bias":
        result = convergence.fixed_point_bias(case, n=n, kernel=kernel)
    elif name == "cost":
        result = convergence.cost(case, sizes=chosen)
    else:
        result = convergence.warm_starts(case.problem((n,) * dim), kernel=kernel)
    if picture:
        from pma_grid import plotting

        drawn = plotting.small_eps(result) if name == "small-eps" else plotting.cost(result)[0]
        plotting.save(drawn, picture)
    output.tell(result.to_dict(), result.table(), as_json)
    return DONE
