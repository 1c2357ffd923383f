"""Tables of points: text with or without a header line, arrays, and files of samples."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pma_grid.problem.readers import MAX_BYTES, read_array
from pma_grid.runtime import Array, InvalidInputError, storage
from pma_grid.runtime.files import PathLike, check_file, check_size, writing

# What points are written to.
WRITTEN = (".csv", ".npz", ".npy")


def read_table(path: PathLike) -> tuple[Array, tuple[str, ...]]:
    """Points of a file, one row each, (n, d), and the names of their coordinates if it has any.

    It is a ``.csv`` of numbers with commas, else blanks between them, after comments (lines that
    begin with #) and a header line, if any; a ``.npz`` that `write_table` wrote; a ``.npy``,
    another ``.npz`` of one array, or ``-`` for a .npy on standard input.  One that is missing,
    unreadable, too large, or has rows that are no numbers or of different lengths is refused: the
    first is named.
    """
    name = os.fspath(path)
    suffix = Path(name).suffix.lower()
    if suffix == ".csv":
        return _read_csv(Path(name))
    if suffix == ".npz" and storage.is_stored(name):
        arrays, meta = storage.load(name)
        if meta.get("kind") != "samples":
            raise InvalidInputError(
                f"{name} holds a {meta.get('kind')}, no points; give a table of points"
            )
        return arrays["points"], tuple(meta["names"])
    values = np.asarray(read_array(name))
    return values[:, None] if values.ndim == 1 else values, ()


def sidecar(path: PathLike) -> str | None:
    """The file that says where a .csv came from, name.csv.json; None for other endings."""
    name = os.fspath(path)
    return f"{name}.json" if name.lower().endswith(".csv") else None


def write_table(path: PathLike, points: Array, names: Sequence[str], facts: dict[str, Any]) -> None:
    """Write points to .csv, .npz or .npy, with the facts of where they came from beside them.

    A .csv holds one header line of names and then numbers alone, as pandas and numpy read them; the
    facts go into a file beside it, `sidecar`.  A .npz holds the facts, a .npy has no room for them.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(folder + "/a.csv", np.ones((2, 2)), ("x", "y"), {"seed": 7})
    ...     np.genfromtxt(folder + "/a.csv", delimiter=",", names=True)["y"].tolist()
    [1.0, 1.0]
    """
    name = os.fspath(path)
    suffix = Path(name).suffix.lower()
    if suffix not in WRITTEN:
        raise InvalidInputError(
            f"{name} has the ending {suffix!r}; points are written to {', '.join(WRITTEN)}: name "
            "the file so"
        )
    if suffix == ".npz":
        meta = {"kind": "samples", "names": list(names), **facts}
        storage.save(name, {"points": points}, meta)
        return
    with writing(name):
        if suffix == ".npy":
            np.save(name, points)
            return
        with open(name, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([[repr(float(x)) for x in row] for row in points])
        Path(str(sidecar(name))).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _read_csv(file: Path) -> tuple[Array, tuple[str, ...]]:
    """Numbers after comments and perhaps a header."""
    check_size(check_file(file), MAX_BYTES)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise InvalidInputError(
            f"{file} cannot be read as text: {error}; a table of numbers is needed: check the file"
        ) from error
    rows, blanks = _fields(text)
    if not rows:
        raise InvalidInputError(f"{file} is empty; rows of numbers are needed: write it again")
    names: tuple[str, ...] = ()
    if not any(_is_number(field) for field in rows[0][1]):
        names, rows = tuple(rows[0][1]), rows[1:]
        if blanks and rows and len(rows[0][1]) == 1:
            names = (" ".join(names),)  # the only column's, which has blanks in its name
    width = len(rows[0][1]) if rows else len(names)
    for number, fields in rows:
        if len(fields) != width or (names and len(names) != width):
            raise InvalidInputError(
                f"{file} has {len(fields)} numbers in line {number} where {len(names) or width} "
                "are expected; every row needs the same count: mend that line"
            )
        bad = next((field for field in fields if not _is_number(field)), None)
        if bad is not None:
            raise InvalidInputError(
                f"{file} has {bad!r} in line {number}, which is no number; rows hold numbers with "
                "commas or blanks between them, after at most one header line: mend or drop that "
                "line"
            )
    points = np.array([[float(field) for field in fields] for _, fields in rows], float)
    return points.reshape(len(rows), width), names


def _fields(text: str) -> tuple[list[tuple[int, list[str]]], bool]:
    """Numbers and fields of the lines that hold something; whether blanks part them, not commas."""
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not any("," in line for _, line in lines):
        return [(number, line.split()) for number, line in lines], True
    parsed = csv.reader([line for _, line in lines])
    pairs = zip(lines, parsed, strict=False)  # quoted line breaks would join lines
    return [(number, [field.strip() for field in fields]) for (number, _), fields in pairs], False


def _is_number(text: str) -> bool:
    """Whether it reads as a float; nan and inf do, and are refused later, by row."""
    try:
        float(text)
    except ValueError:
        return False
    return True
