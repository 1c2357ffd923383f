"""The command line; see `commands`."""

from pma_grid.cli.commands import main

__all__ = ["main"]
