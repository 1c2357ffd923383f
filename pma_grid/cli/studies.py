"""`pma-grid study`."""

from __future__ import annotations

import json

import click

from pma_grid.cli import inputs
from pma_grid.cli.outcome import DONE
from pma_grid.errors import InvalidInputError

STUDIES = (
    "manufactured", "anisotropic", "affine-gaussian", "separable", "quantile", "radial",
    "gaussian-mixtures",
)  # fmt: skip
# Cases made for any number of axes; the others have the number given, else 2.
ANY_AXES = ("manufactured", "affine-gaussian", "separable")
AXES = {"quantile": (1,)}
SIZES = {1: (64, 128, 256, 512, 1024), 2: (32, 64, 128, 256), 3: (16, 32, 64)}


@click.command()
@click.argument("name", type=click.Choice(STUDIES), metavar="NAME")
@click.option("--dim", type=click.IntRange(1, 3), help="Axes  [default: 2 where there is a choice]")
@click.option("--sizes", multiple=True, type=click.IntRange(4, 8192), metavar="N N ...",
              help="Cells an axis, increasing  [default: a few that take seconds]")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Convergence plot to write.")
@inputs.as_json
def study(
    name: str, dim: int | None, sizes: tuple[int, ...], output: str | None, as_json: bool
) -> int:
    """Errors against a closed form on several grids, with the observed orders.

    NAME is manufactured, anisotropic, affine-gaussian, separable, quantile, radial or
    gaussian-mixtures.

    \b
    pma-grid study manufactured --dim 2 --sizes 32 64 128 256
    """
    drawn = inputs.check_picture(output) if output else None
    from pma_grid import cases, convergence

    allowed = (1, 2, 3) if name in ANY_AXES else AXES.get(name, (2,))
    if dim is not None and dim not in allowed:
        raise InvalidInputError(f"--dim is {dim}; {name} exists for --dim {allowed}: omit it")
    maker = getattr(cases, name.replace("-", "_"))
    case = maker(dim or 2) if name in ANY_AXES else maker()
    result = convergence.study(case, tuple(sizes or SIZES[case.dim]))
    if drawn:
        from pma_grid import plotting

        plotting.save(plotting.convergence(result).figure, drawn)
    click.echo(json.dumps(result.to_dict()) if as_json else f"{case.name}\n{result.table()}")
    return DONE
