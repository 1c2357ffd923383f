"""What commands share: densities and boxes from the command line, outputs checked beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow
    from pma_grid.problem.density import Density
    from pma_grid.problem.problem import Problem
    from pma_grid.runtime.arrays import Array
    from pma_grid.transport.transport import Transport

SOLVERS = ("auto", "multigrid", "amg", "direct")
PICTURES = (".png", ".pdf", ".svg", ".jpg")
FILMS = (".gif", ".mp4")

Command = Callable[..., Any]

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
quiet = click.option("--quiet", is_flag=True, help="No progress on stderr.")


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


def point(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse "0.5,2" into coordinates."""
    if value is None:
        return None
    try:
        return [float(c) for c in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no point; give its coordinates, as in '0.5,2'", param=parameter
        ) from None


def _cells(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse "128" or "128,64" into cells an axis."""
    if value is None:
        return None
    try:
        counts = tuple(int(word) for word in value.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 2:
        raise click.BadParameter(
            f"{value!r} is no size; give cells an axis, at least 2, as in 128 or 128,64",
            param=parameter,
        )
    return counts[0] if len(counts) == 1 else counts


def cells(defaults: str) -> Callable[[Command], Command]:
    """The option for the cells an axis."""
    text = f"Cells, one number or one for each axis  [default: {defaults} in 1, 2 or 3 dimensions]"
    return click.option("--size", callback=_cells, metavar="N[,N...]", help=text)


def base_law(uniform: str) -> Callable[[Command], Command]:
    """The options for the law that samplers draw from; see `read_base`."""
    text = "Law to draw from: gaussian, uniform, or a file of density values  [default: gaussian; "

    def add(command: Command) -> Command:
        command = box("--base-box", "Box of --base, where that is a file.")(command)
        return click.option("--base", metavar="LAW", help=f"{text}uniform {uniform}]")(command)

    return add


def read_base(name: str | None, box: Any) -> str | Density | None:
    """A named base law, or the density of a file."""
    if name not in (None, "gaussian", "uniform"):
        return read_density("--base", str(name), box, None)
    if box is not None:
        raise click.UsageError("--base-box is for a file given as --base; leave it out")
    return name


def _corners(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse "0,0 1,0 0,1" into corners."""
    if value is None:
        return None
    try:
        points = [tuple(float(c) for c in corner.split(",")) for corner in value.split()]
    except ValueError:
        points = []
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise click.BadParameter(
            f"{value!r} is no polygon; give x,y for each corner, as in '0,0 1,0 0,1'",
            param=parameter,
        )
    return points


def target_polygon(command: Command) -> Command:
    """The option that cuts a convex polygon out of the target."""
    return click.option("--target-polygon", callback=_corners, help="Corners 'x,y x,y ...' of a "
                        "convex polygon: the target inside it alone.")(command)  # fmt: skip


def two_densities(command: Command) -> Command:
    """The arguments SOURCE and TARGET with their boxes and floors; see `read_problem`."""
    return source_and_target(boxes_and_floors(command))


def source_and_target(command: Command) -> Command:
    """The arguments SOURCE and TARGET alone."""
    return click.argument("source")(click.argument("target")(command))


def boxes_and_floors(command: Command) -> Command:
    """The options that say where two densities live and how small they may be."""
    return floors(boxes(command))


def floors(command: Command) -> Command:
    """The options that say how small two densities may be."""
    for name in ("target", "source"):
        command = click.option(f"--floor-{name}", type=float, help=f"Floor of the {name}, relative "
                               "to its mean.")(command)  # fmt: skip
    return command


def boxes(command: Command) -> Command:
    """The options that say where two densities live."""
    for name in ("target", "source"):
        command = box(f"--box-{name}", f"Box of the {name}, 'lo,hi' an axis.")(command)
    return command


def box(name: str, text: str) -> Callable[[Command], Command]:
    """An option for a box."""
    return click.option(name, callback=_box, help=text, metavar="'LO,HI ...'")


def check_inputs(inputs: Iterable[str], outputs: Iterable[str | None]) -> None:
    """At most one input is standard input, and no result replaces the data it comes from."""
    named = list(inputs)
    if named.count("-") > 1:
        raise InvalidInputError("'-' is given more than once; only one file can be standard input")
    taken = {Path(name).resolve(): "an input too" for name in named if name != "-"}
    for output in filter(None, outputs):
        role = taken.setdefault(Path(output).resolve(), "")
        if role:
            raise InvalidInputError(f"{output} is {role}; name another file for the result")
        taken[Path(output).resolve()] = "another output too"


def read_problem(
    source: str,
    target: str,
    *,
    boxes: tuple[Any, Any],
    floors: tuple[float | None, float | None],
    polygon: Any = None,
) -> Problem:
    """The problem of two files, the target cut to a polygon if there is one."""
    from pma_grid.problem.problem import Problem

    pair = [
        read_density(name, path, box, floor)
        for name, path, box, floor in zip(
            ("source", "target"), (source, target), boxes, floors, strict=True
        )
    ]
    if polygon is None:
        return Problem(*pair)
    from pma_grid.problem.density import Density
    from pma_grid.problem.domains import Polygon

    try:
        domain = Polygon(polygon)
        values = pair[1].values * domain.fractions(pair[1].grid)
        cut = Density(values, pair[1].grid, floor=pair[1].floor)
        return Problem(pair[0], cut, target_domain=domain)
    except InvalidInputError as error:
        raise InvalidInputError(f"--target-polygon: {error}") from None


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


def read_initial(path: str) -> Transport | Flow | Array:
    """A saved result, or an array."""
    from pma_grid.flow.flow import Flow
    from pma_grid.loading import load
    from pma_grid.problem.readers import read_array
    from pma_grid.transport.transport import Transport

    foreign: InvalidInputError | None = None
    if path.lower().endswith(".npz"):
        try:
            found = load(path)
            return found if isinstance(found, Transport | Flow) else found.transport
        except InvalidInputError as error:
            foreign = error
    try:
        return read_array(path)
    except InvalidInputError as error:
        raise InvalidInputError(f"--initial: {foreign or error}") from None


def check_picture(path: str, endings: tuple[str, ...] = PICTURES) -> str:
    """A writable path with an ending that can be drawn to; asked before a long computation."""
    from pma_grid.runtime import storage

    ending = Path(path).suffix.lower()
    if ending not in endings:
        raise InvalidInputError(
            f"{path} has an ending that cannot be drawn; use one of {', '.join(endings)}"
        )
    if ending == ".mp4" and shutil.which("ffmpeg") is None:
        raise InvalidInputError(f"{path} needs ffmpeg, which is not installed; use .gif")
    return str(storage.check_writable(path))


def check_output(path: str) -> str:
    """A writable path for a result."""
    from pma_grid.runtime import storage

    return str(storage.check_writable(path))
