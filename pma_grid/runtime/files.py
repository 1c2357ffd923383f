"""Files that are read and written: one sentence for each that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pma_grid.runtime.errors import InvalidInputError

PathLike = str | os.PathLike[str]


def check_file(path: PathLike) -> Path:
    """An existing, readable file that is not empty."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"{file} does not exist; an existing file is needed: check the path"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InvalidInputError(
            f"{file} cannot be opened: {one_line(error)}; a readable file is needed: check the "
            "path and its permissions"
        ) from error
    if empty:
        raise InvalidInputError(f"{file} is empty; data are needed: write the file again")
    return file


def check_size(file: Path, max_bytes: int) -> None:
    """Refuse a text that is larger than what is read."""
    size = file.stat().st_size
    if size > max_bytes:
        raise InvalidInputError(
            f"{file} is too large: {size} bytes; at most {max_bytes} are read: save it as .npy or "
            "raise max_bytes"
        )


def check_writable(path: PathLike) -> Path:
    """The path, if a file can be made there; asked before a long computation."""
    file = Path(path)
    folder = file.parent
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder} is no folder, so {file} cannot be written; make it first"
        )
    if file.is_dir():
        raise InvalidInputError(f"{file} is a folder; give the name of a file in it")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise InvalidInputError(f"{file} cannot be written (no permission); choose another place")
    return file


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Turns what the system says against writing a file into an error that names it."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"{os.fspath(path)} cannot be written: {error.strerror or error}; its folder must "
            "exist, be writable and have room: create it or choose another path"
        ) from error


def one_line(error: Exception) -> str:
    """First line of a foreign message, without the advice for programmers that may follow it."""
    lines = str(error).splitlines()
    return lines[0].rstrip(".;: ") if lines else type(error).__name__
