"""Groups of options: a dataclass declares them, and a command gets their values as one object."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

Command = Callable[..., Any]
Callback = Callable[[click.Context, click.Parameter, Any], Any]


# What the annotation of a field tells click.
KINDS: dict[str, dict[str, Any]] = {"bool": {"is_flag": True}, "float": {"type": float}}


def option(*names: str, **settings: Any) -> Any:
    """A field of a group that is an option, with the settings of click; its name is --field.

    Its help stands in the docstring of the group, in a line "field : what it does".
    """
    return dataclasses.field(metadata={"names": names, "settings": settings})


def field(decorator: Callable[[Command], Command]) -> Any:
    """A field of a group that a decorator of click adds to commands."""
    return dataclasses.field(metadata={"decorator": decorator})


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
                _decorator(group, entry)(gathered)
        return gathered

    return add


def _decorator(group: type, entry: dataclasses.Field[Any]) -> Callable[[Command], Command]:
    """What click needs of a field."""
    if "decorator" in entry.metadata:
        decorator: Callable[[Command], Command] = entry.metadata["decorator"]
        return decorator
    names = entry.metadata["names"] or (f"--{entry.name.replace('_', '-')}",)
    settings = dict(entry.metadata["settings"])
    if "type" not in settings and "flag_value" not in settings and "/" not in names[0]:
        settings = KINDS.get(str(entry.type).removesuffix(" | None"), {}) | settings
    settings.setdefault("help", _help(group, entry.name))
    settings.setdefault("show_default", "default" in settings and not settings.get("multiple"))
    return click.option(*names, **settings)


def _help(group: type, name: str) -> str:
    """What the docstring of a group, or of one that it extends, says of a field."""
    said = "\n".join(inspect.cleandoc(owner.__doc__ or "") for owner in group.__mro__)
    found = re.search(rf"^{name} : (.+(?:\n    .+)*)", said, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def given(*groups: type) -> list[str]:
    """The options of groups that the command line gives another value than their default."""
    context = click.get_current_context()
    names = {entry.name for group in groups for entry in dataclasses.fields(group)}
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        and context.params[parameter.name] != parameter.default
    ]


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


def box() -> Any:
    """An option for a box: a pair of lower and upper end for each axis."""
    how = "lower,upper for each axis, as in '0,1 0,2'"
    return option(callback=parsed(pairs, "box", how), metavar="'LO,HI ...'")


def cells() -> Any:
    """An option for the number of cells, one or one for each axis."""
    how = "cells an axis, at least 2, as in 128 or 128,64"
    return option(callback=parsed(_cells, "size", how), metavar="N[,N...]")
