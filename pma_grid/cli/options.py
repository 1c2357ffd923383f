"""Groups of options: a dataclass declares them, and a command gets their values as one object."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]
Callback = Callable[[click.Context, click.Parameter, Any], Any]


def option(*names: str, **settings: Any) -> Any:
    """A field of a group that is an option, with the settings of click; help says its default."""
    settings.setdefault("show_default", "default" in settings and not settings.get("multiple"))
    return field(click.option(*names, **settings))


def field(decorator: Callable[[Command], Command]) -> Any:
    """A field of a group that a decorator of click adds to commands."""
    return dataclasses.field(metadata={"click": decorator})


def takes(*groups: type) -> Callable[[Command], Command]:
    """Add the options of groups to a command, which is called with one object of each group."""

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(**given: Any) -> Any:
            objects = [
                group(**{entry.name: given.pop(entry.name) for entry in dataclasses.fields(group)})
                for group in groups
            ]
            return command(*objects, **given)

        for group in reversed(groups):
            for entry in reversed(dataclasses.fields(group)):
                entry.metadata["click"](gathered)
        return gathered

    return add


def parsed(read: Callable[[str], Any], what: str, how: str) -> Callback:
    """A callback of click that reads a text by a function that raises ValueError."""

    def callback(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return read(text)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is no {what}; give {how}", param=parameter
            ) from None

    return callback


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of "0.5,2"."""
    return tuple(float(word) for word in text.split(","))


def pairs(text: str, least: int = 1) -> list[tuple[float, ...]]:
    """The pairs of "0,1 0,2", so many at least."""
    found = [numbers(word) for word in text.split()]
    if len(found) < least or any(len(pair) != 2 for pair in found):
        raise ValueError
    return found


def _cells(text: str) -> int | tuple[int, ...]:
    """The cells an axis of "128" or "128,64"."""
    counts = tuple(int(word) for word in text.split(","))
    if min(counts) < 2:
        raise ValueError
    return counts[0] if len(counts) == 1 else counts


def box(name: str, text: str) -> Any:
    """An option for a box: a pair of lower and upper end for each axis."""
    how = "lower,upper for each axis, as in '0,1 0,2'"
    return option(name, callback=parsed(pairs, "box", how), metavar="'LO,HI ...'", help=text)


def cells(defaults: str) -> Any:
    """An option for the number of cells, one or one for each axis."""
    how = "cells an axis, at least 2, as in 128 or 128,64"
    return option(
        "--size",
        callback=parsed(_cells, "size", how),
        metavar="N[,N...]",
        help="Number of cells, one for all axes or one for each.  [default: "
        f"{defaults} in 1, 2 or 3 dimensions]",
    )
