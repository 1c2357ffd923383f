"""Exit statuses, and the one line on standard error that goes with them."""

from __future__ import annotations

import click

DONE, NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def say(message: str) -> None:
    """One line on standard error."""
    click.echo(f"pma-grid: {' '.join(message.split())}", err=True)
