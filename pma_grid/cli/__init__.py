"""The command line `pma-grid`: one module a command, no numerics.

Exit status: 0 done, 1 did not converge or a claim fails (the partial result is written and said
so), 2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from pma_grid.cli.group import cli, spread
from pma_grid.cli.output import BAD_INPUT, DONE, INTERRUPTED, NOT_CONVERGED, say
from pma_grid.runtime import ConvergenceError, PMAError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; errors are one line on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(spread(given), prog_name="pma-grid", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return DONE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ConvergenceError as error:
        # of a study: its grids are solved one after the other, none of them is written
        say(f"did not converge: {error}")
        return NOT_CONVERGED
    except (click.ClickException, PMAError, OSError, MemoryError) as error:
        told = error.format_message() if isinstance(error, click.ClickException) else str(error)
        say(told or type(error).__name__)
        return BAD_INPUT
    return int(status or DONE)
