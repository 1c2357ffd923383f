"""`pma-grid infer`: the posterior of a log-density in a Python file."""

from __future__ import annotations

import inspect
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pma_grid.cli import inputs
from pma_grid.cli.outcome import DONE, NOT_CONVERGED, say
from pma_grid.runtime.errors import InvalidInputError


@click.command()
@click.argument("function", metavar="FILE.py:FUNCTION")
@click.option("-o", "--output", required=True, metavar="FILE", help="Posterior to write (.npz).")
@inputs.box("--box", "Box that holds the law, or its support.")
@click.option("--start", callback=inputs.point, metavar="POINT", help="Where to climb from, 'x,y', "
              "instead of --box.")  # fmt: skip
@inputs.cells("512, 128 or 40")
@inputs.base_law("if --box cuts the density off")
@click.option("--side", type=click.Choice(("source", "target")), default="source",
              show_default=True, help="Grid of the flow: posterior's or base's.")  # fmt: skip
@click.option("--tail", type=float, help="Bound of the mass beyond the box over that within  "
              "[default: integrated, as far as --box goes]")  # fmt: skip
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@inputs.as_json
@inputs.quiet
def infer(
    function: str, output: str, box: Any, start: Any, size: Any, base: str | None, base_box: Any,
    side: str, tail: float | None, picture: str | None, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Samples, moments and the evidence of a density known up to a constant.

    FILE.py is executed, with all it does: run files that you trust.  FUNCTION in it takes 1 to 3
    arrays of one shape and returns the log-density by elements, -inf where the density is zero; the
    names of its parameters are those of the coordinates.

    \b
    pma-grid infer data/beetles.py:log_posterior --box '-100,100 -100,100' -o posterior.npz
    """
    written = inputs.check_output(output)
    drawn = inputs.check_picture(picture) if picture else None
    file, log_density = _function(function)
    inputs.check_inputs((file,), (written, drawn))
    from pma_grid.inference.inferring import infer as run

    dim = len(box) if box is not None else len(start) if start is not None else 0
    posterior = run(
        log_density, box, start=start, shape=size, base=inputs.read_base(base, base_box),
        side=side, tail_bound=tail, names=_names(log_density, dim),
        progress=sys.stderr.isatty() and not quiet,
    )  # fmt: skip
    posterior.save(written)
    if drawn is not None:
        from pma_grid import plotting

        plotting.save(plotting.posterior(posterior), drawn)
    from pma_grid.cli.generative_report import posterior_table
    from pma_grid.cli.transport_report import plain_numbers

    files = [written, *filter(None, (drawn,))]
    summary = {"kind": "posterior"} | posterior.summary() | {"files": files}
    text = json.dumps(plain_numbers(summary)) if as_json else posterior_table(posterior, files)
    click.echo(text)
    if not posterior.converged:
        found = posterior.evidence
        say(
            f"did not converge: {posterior.transport.message} The gap is {found.gap:.1e} nats, the "
            f"mass constant {found.mass_constant:.1e}; give another --size, --base or --side.  "
            f"What there is is in {written}."
        )
    return DONE if posterior.converged else NOT_CONVERGED


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
