"""What commands write and print: results, pictures, tables, JSON, exit statuses; paths first."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pma_grid.cli.options import Callback, field, option
from pma_grid.runtime import InvalidInputError, plain
from pma_grid.runtime.files import check_writable

DONE, NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

PICTURES = (".png", ".pdf", ".svg", ".jpg")
FILMS = (".gif", ".mp4")


def say(message: str) -> None:
    """One line on standard error."""
    click.echo(f"pma-grid: {' '.join(message.split())}", err=True)


def writable(*endings: str, what: str = "cannot be drawn") -> Callback:
    """A callback that checks a path that is to be written to, with one of the endings if any."""

    def check(_: click.Context, __: click.Parameter, path: str | None) -> str | None:
        if path is None:
            return None
        ending = Path(path).suffix.lower()
        if endings and ending not in endings:
            raise InvalidInputError(
                f"{path} has an ending that {what}; use one of {', '.join(endings)}"
            )
        if ending == ".mp4" and shutil.which("ffmpeg") is None:
            raise InvalidInputError(f"{path} needs ffmpeg, which is not installed; use .gif")
        return str(check_writable(path))

    return check


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
quiet = click.option("--quiet", is_flag=True, help="Show no progress on standard error.")
picture = click.option("--plot", "picture", metavar="FILE", callback=writable(*PICTURES),
                       help="Also draw the result to this picture.")  # fmt: skip


def tell(figures: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the figures as JSON, with null for what is no number there, or the text."""
    click.echo(json.dumps(plain(figures)) if as_json else text)


def draw(make: Callable[[Any], Any], path: str | None) -> None:
    """Write a figure, or the figure of axes, that is made of `pma_grid.plotting`, if asked for."""
    if path is not None:
        from pma_grid import plotting

        plotting.save(make(plotting), path)


def progress(quiet: bool) -> bool:
    """Whether to show progress: on a terminal, unless it is not wanted."""
    return sys.stderr.isatty() and not quiet


@dataclass(frozen=True)
class Output:
    """The files that a command writes, and how it prints what it found.

    result : Result to write (.npz).
    """

    result: str = option(
        "-o", "--output", "result", required=True, metavar="FILE", callback=writable()
    )
    picture: str | None = field(picture)
    as_json: bool = field(as_json)
    quiet: bool = field(quiet)

    @property
    def files(self) -> list[str]:
        """Those that were asked for."""
        return [path for path in (self.result, self.picture) if path]

    @property
    def progress(self) -> bool:
        """Whether to show progress."""
        return progress(self.quiet)


def deliver(result: Any, out: Output, page: Callable[[Any], Any], hint: str = "") -> int:
    """Write a result and its picture, and print it; the exit status says whether it converged."""
    from pma_grid.cli.reports import report

    result.save(out.result)
    draw(page, out.picture)
    tell(*report(result, out.files), out.as_json)
    if result.converged:
        return DONE
    message = getattr(result, "transport", result).message
    say(f"did not converge: {message} {hint} The partial result is in {out.result}.")
    return NOT_CONVERGED
