"""The group of commands, and options that take several values in one go."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from pma_grid import __version__
from pma_grid.cli.comparing import compare
from pma_grid.cli.entropic import sinkhorn
from pma_grid.cli.flows import evolve
from pma_grid.cli.generating import fit, sample
from pma_grid.cli.inferring import infer
from pma_grid.cli.output import DONE
from pma_grid.cli.results import info, plot
from pma_grid.cli.solving import demo, solve
from pma_grid.cli.studies import study
from pma_grid.cli.validation import validate

# Options with several values, and what a further value looks like.  Names of series have no dot
# and no slash, which every input file has.
SEVERAL = {
    "--sizes": re.compile(r"-*\d+"),
    "--record": re.compile(r"[a-z][a-z0-9_-]*"),
    "--eps": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "--peer": re.compile(r"pot|ott|geomloss"),
}


class Group(click.Group):
    """Commands that end in peace when the reader of their output is gone, as in `... | head`."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; click itself would exit with 1, which here means something else."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # what is still buffered goes nowhere, else Python complains when it flushes it
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pma-grid")
def cli() -> None:
    """Optimal transport between densities on 1-, 2- and 3-D grids.

    Two arrays or images in; the optimal (Brenier) map, its potential, the Wasserstein distance W2
    and a picture out: at once with solve, or as the limit of a flow with evolve.

    \b
    pma-grid demo                              two photographs, demo.npz and demo.png
    pma-grid solve a.npy b.npy -o ot.npz       your own densities
    pma-grid evolve a.npy b.npy -o flow.npz    the parabolic flow to the same solution
    pma-grid sinkhorn a.npy b.npy -o sk.npz    entropic optimal transport
    pma-grid compare a.npy b.npy --eps 0.01    with Sinkhorn, and with other packages
    pma-grid fit points.csv -o model.npz       learn the law of samples
    pma-grid sample model.npz -n 9 -o new.csv  draw from what was learned, or solved
    pma-grid infer f.py:log_f --box '-9,9' -o posterior.npz
                                               samples and evidence of a log-density
    pma-grid plot ot.npz -o ot.png             a picture of a result
    pma-grid validate                          the claims of the theory, checked with numbers
    """


for command in (
    demo, solve, evolve, sinkhorn, compare, study, validate, fit, sample, infer, plot, info,
):  # fmt: skip
    cli.add_command(command)


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values, so that `--sizes 32 64` reads as it looks."""
    out: list[str] = []
    option, values = "", 0
    for argument in arguments:
        if argument in SEVERAL:
            out += [option] if option and not values else []
            option, values = argument, 0
        elif option and SEVERAL[option].fullmatch(argument):
            out += [option, argument]
            values += 1
        else:
            # an option without a value: let the parser say so
            out += [option] if option and not values else []
            option = ""
            out.append(argument)
    return out + ([option] if option and not values else [])
