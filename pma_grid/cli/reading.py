"""What commands read: densities with their boxes, base laws, starts; paths that must differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli.options import Command, box, option, pairs, parsed
from pma_grid.runtime import InvalidInputError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow
    from pma_grid.problem.density import Density
    from pma_grid.problem.problem import Problem
    from pma_grid.runtime import Array
    from pma_grid.transport.transport import Transport


def two_densities(command: Command) -> Command:
    """The arguments SOURCE and TARGET."""
    return click.argument("source")(click.argument("target")(command))


@dataclass(frozen=True)
class Boxes:
    """Where two densities live.

    box_source : Box of the source, lower,upper for each axis.
    box_target : Box of the target, lower,upper for each axis.
    """

    box_source: Any = box()
    box_target: Any = box()

    @property
    def floors(self) -> tuple[float | None, float | None]:
        """Those of the source and the target."""
        return None, None

    def problem(self, source: str, target: str) -> Problem:
        """The problem of the densities in two files."""
        from pma_grid.problem.problem import Problem

        return Problem(
            read_density("source", source, self.box_source, self.floors[0]),
            read_density("target", target, self.box_target, self.floors[1]),
        )


@dataclass(frozen=True)
class BoxesAndFloors(Boxes):
    """Where two densities live and how small they may be.

    floor_source : Smallest value of the source, relative to its mean.
    floor_target : Smallest value of the target, relative to its mean.
    """

    floor_source: float | None = option()
    floor_target: float | None = option()

    @property
    def floors(self) -> tuple[float | None, float | None]:
        """Those of the source and the target."""
        return self.floor_source, self.floor_target


target_polygon = click.option(
    "--target-polygon",
    callback=parsed(
        lambda text: pairs(text, least=3), "polygon", "x,y for each corner, as in '0,0 1,0 0,1'"
    ),
    help="Corners 'x,y x,y ...' of a convex polygon to cut the target to.",
)


def cut(problem: Problem, corners: Any) -> Problem:
    """The problem with the target cut to a convex polygon."""
    from pma_grid.problem.density import Density
    from pma_grid.problem.domains import Polygon
    from pma_grid.problem.problem import Problem

    try:
        domain, target = Polygon(corners), problem.target
        values = target.values * domain.fractions(target.grid)
        inside = Density(values, target.grid, floor=target.floor)
        return Problem(problem.source, inside, target_domain=domain)
    except InvalidInputError as error:
        raise InvalidInputError(f"--target-polygon: {error}") from None


@dataclass(frozen=True)
class Base:
    """The law that samplers draw from.

    base : Law to draw from: gaussian, uniform, or a file of density values.  [default:
        gaussian; uniform if the data fill the box or --box cuts the density off]
    base_box : Box of the densities in the file given as --base.
    """

    base: str | None = option(metavar="LAW")
    base_box: Any = box()

    def read(self) -> str | Density | None:
        """The name of a law, or the density of a file."""
        if self.base not in (None, "gaussian", "uniform"):
            return read_density("--base", str(self.base), self.base_box, None)
        if self.base_box is not None:
            raise click.UsageError("--base-box is for a file given as --base; leave it out")
        return self.base


def check_distinct(inputs: Iterable[str | None], outputs: Iterable[str]) -> None:
    """At most one input is standard input, and no result replaces the data it comes from."""
    named = [name for name in inputs if name]
    if named.count("-") > 1:
        raise InvalidInputError("'-' is given more than once; only one file can be standard input")
    taken = {Path(name).resolve(): "an input too" for name in named if name != "-"}
    for output in outputs:
        role = taken.setdefault(Path(output).resolve(), "")
        if role:
            raise InvalidInputError(f"{output} is {role}; name another file for the result")
        taken[Path(output).resolve()] = "another output too"


def read_density(name: str, path: str, box: Any, floor: float | None) -> Density:
    """A density from a file; errors name the file."""
    from pma_grid.grid.grid import Grid
    from pma_grid.problem.density import Density
    from pma_grid.problem.readers import read_array

    values = read_array(path)
    try:
        grid = None
        if box is not None:
            grid = Grid(values.shape, [pair[0] for pair in box], [pair[1] for pair in box])
        return Density(values, grid, floor=floor)
    except InvalidInputError as error:
        raise InvalidInputError(f"{name} {path}: {error}") from None


def read_initial(path: str | None) -> Transport | Flow | Array | None:
    """A saved result, or an array."""
    if path is None:
        return None
    from pma_grid.flow.flow import Flow
    from pma_grid.loading import load
    from pma_grid.problem.readers import read_array

    foreign: InvalidInputError | None = None
    if path.lower().endswith(".npz"):
        try:
            found = load(path)
            return found if isinstance(found, Flow) else transport_of(found)
        except InvalidInputError as error:
            foreign = error
    try:
        return read_array(path)
    except InvalidInputError as error:
        raise InvalidInputError(f"--initial: {foreign or error}") from None


def transport_of(result: Any) -> Transport:
    """A result itself, or the transport of a flow, a model or a posterior."""
    found: Transport = getattr(result, "transport", result)
    return found
