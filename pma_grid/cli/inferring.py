"""`pma-grid infer`: the posterior of a log-density in a Python file."""

from __future__ import annotations

import inspect
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pma_grid.cli import output, reading
from pma_grid.cli.options import box, cells, numbers, option, parsed, takes
from pma_grid.cli.output import Output
from pma_grid.runtime import InvalidInputError


@dataclass(frozen=True)
class Where:
    """Where the law lives, and where it is looked for.

    box : Box that holds the mass of the density, or its support.
    start : Point 'x,y' to look for the mass from, instead of --box.
    size : Number of cells, one for all axes or one for each.  [default: 512, 128 or 40 in 1, 2 or
        3 dimensions]
    side : Grid of the flow: the posterior's or the base law's.
    tail : Bound of the mass outside the box, relative to the mass inside.  [default:
        integrated, as far as --box goes]
    """

    box: Any = box()
    start: Any = option(
        metavar="POINT", callback=parsed(numbers, "point", "its coordinates, as in '0.5,2'")
    )
    size: Any = cells()
    side: str = option(type=click.Choice(("source", "target")), default="source")
    tail: float | None = option()

    @property
    def dim(self) -> int:
        """Number of coordinates, if the options tell; else 0."""
        return len(self.box or self.start or ())


@click.command()
@click.argument("function", metavar="FILE.py:FUNCTION")
@takes(Output, Where, reading.Base)
def infer(out: Output, where: Where, base: reading.Base, function: str) -> int:
    """Samples, moments and the evidence of a density known up to a constant.

    FILE.py is executed, with all it does: run files that you trust.  FUNCTION in it takes 1 to 3
    arrays of one shape and returns the log-density by elements, -inf where the density is zero; the
    names of its parameters are those of the coordinates.

    \b
    pma-grid infer data/beetles.py:log_posterior --box '-100,100 -100,100' -o posterior.npz
    """
    file, log_density = _function(function)
    reading.check_distinct((file,), out.files)
    from pma_grid.inference.inferring import infer as run

    posterior = run(
        log_density, where.box, start=where.start, shape=where.size, base=base.read(),
        side=where.side, tail_bound=where.tail, names=_names(log_density, where.dim),
        progress=out.progress,
    )  # fmt: skip
    found = posterior.evidence
    hint = (
        f"The gap is {found.gap:.1e} nats, the mass constant {found.mass_constant:.1e}; give "
        "another --size, --base or --side."
    )
    return output.deliver(posterior, out, lambda plotting: plotting.posterior(posterior), hint)


def _function(text: str) -> tuple[str, Callable[..., Any]]:
    """The file and the function of FILE.py:FUNCTION."""
    path, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise InvalidInputError(
            f"{text} names no function; write file and function with a colon between them: for "
            "example model.py:log_posterior"
        )
    if not Path(path).is_file():
        raise InvalidInputError(f"{path} does not exist; give a Python file with {name} in it")
    before = list(sys.path)
    try:
        # as `python FILE.py` does: modules beside the file are found
        sys.path.insert(0, str(Path(path).resolve().parent))
        found = runpy.run_path(path)
    except (Exception, SystemExit) as error:  # whatever the user's file does
        line = " ".join(str(error).split()) or "no reason given"
        raise InvalidInputError(
            f"{path} raises {type(error).__name__}: {line}; it must run without errors: try it "
            "with python alone"
        ) from None
    finally:
        sys.path[:] = before
    function = found.get(name)
    if not callable(function):
        known = ", ".join(k for k, v in found.items() if inspect.isfunction(v)) or "no function"
        raise InvalidInputError(f"{path} has no function {name}; it has {known}: name one of them")
    return path, function


def _names(function: Callable[..., Any], dim: int) -> tuple[str, ...]:
    """Parameters of the function, if there is one for each coordinate."""
    try:
        names = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
    return names if len(names) == dim else ()
