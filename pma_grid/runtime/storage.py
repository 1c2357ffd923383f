"""The one file format: an uncompressed .npz with a schema version, written atomically.

Nothing is pickled: arrays of numbers beside one JSON text.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pma_grid.runtime.errors import InvalidInputError
from pma_grid.runtime.files import check_file, writing

# What a result is in a file: arrays, and metadata that JSON can hold.
Stored = tuple[dict[str, NDArray[Any]], dict[str, Any]]

FORMAT = "pma_grid"
SCHEMA = 1
META = "__meta__"
# A fixed date, the first that zip can store: equal contents give equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def save(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to one file, completely or not at all.

    Parameters
    ----------
    path : str or path
        Written as given, overwritten if it exists; its directory must exist.
    arrays : mapping of str to ndarray
        Arrays of numbers or text; names are letters, digits, ``_``, ``-`` and ``.``.
    meta : mapping
        What JSON can hold; NumPy scalars and arrays become numbers and lists, tuples lists.

    Raises
    ------
    InvalidInputError
        If a name, an array or the metadata cannot be stored, or the file cannot be written.

    Notes
    -----
    A temporary file beside the target is renamed over it, so readers see the old or the new file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/a.npz", {"u": np.arange(3.0)}, {"steps": 7})
    ...     arrays, meta = load(folder + "/a.npz")
    >>> arrays["u"].tolist(), meta
    ([0.0, 1.0, 2.0], {'steps': 7})
    """
    members = {name: _checked_array(name, array) for name, array in arrays.items()}
    members[META] = np.array(_encoded(meta))
    # The target of a symbolic link is replaced, not the link.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with writing(path):
            _write(temporary, members)
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Stored:
    """Read a file written by `save`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    arrays : dict of str to ndarray
    meta : dict

    Raises
    ------
    InvalidInputError
        If the file is missing, truncated, not written by this package, or of a newer schema.
    """
    name = str(check_file(path))
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.filename: m for m in archive.infolist()}
            if f"{META}.npy" not in members:
                raise _foreign(name, "it has no metadata")
            meta = _decoded(_read(archive, members.pop(f"{META}.npy"), name), name)
            arrays = {key: _read(archive, info, name) for key, info in members.items()}
    except InvalidInputError:
        raise
    except zipfile.BadZipFile as error:
        raise _foreign(name, f"it is truncated or no .npz file ({error})") from error
    except Exception as error:  # damaged archives raise almost anything
        raise _foreign(name, str(error) or type(error).__name__) from error
    return {key.removesuffix(".npy"): array for key, array in arrays.items()}, meta


def packed(parts: Mapping[str, Stored]) -> Stored:
    """Arrays and metadata of several results as those of one, by name."""
    arrays = {f"{part}.{key}": v for part, (some, _) in parts.items() for key, v in some.items()}
    return arrays, {part: about for part, (_, about) in parts.items()}


def unpacked(part: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Stored:
    """One of the results that `packed` put together."""
    start = f"{part}."
    own = {key.removeprefix(start): v for key, v in arrays.items() if key.startswith(start)}
    return own, meta[part]


def is_stored(path: str | os.PathLike[str]) -> bool:
    """Whether a file was written by `save`: other .npz files have no metadata."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{META}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _checked_array(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array that can be written without pickling, under a name that can be a file name."""
    plain = name.replace("_", "").replace("-", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum()) or name == META:
        raise InvalidInputError(
            f"array name {name!r} cannot be stored; names are letters, digits, '_', '-' and '.', "
            f"and not {META}: rename it"
        )
    values = np.asarray(array)
    if values.dtype.kind not in "biufcU":
        raise InvalidInputError(
            f"array {name} has dtype {values.dtype}; numbers or text are needed, objects are never "
            "pickled: convert it"
        )
    return values


def _encoded(meta: Mapping[str, Any]) -> str:
    """JSON of the metadata inside its envelope."""
    try:
        return json.dumps({"format": FORMAT, "schema": SCHEMA, "meta": meta}, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"meta cannot be stored: {error}; JSON values are needed: convert it to numbers, text, "
            "lists and dicts"
        ) from error


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python numbers and lists; mappings as dicts."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"an entry of type {type(value).__name__} is not JSON")


def _decoded(text: NDArray[Any], name: str) -> dict[str, Any]:
    """Metadata out of its envelope."""
    envelope = json.loads(str(text))
    if not isinstance(envelope, dict) or envelope.get("format") != FORMAT:
        raise _foreign(name, "its metadata are of another format")
    if not isinstance(envelope["schema"], int) or envelope["schema"] > SCHEMA:
        raise InvalidInputError(
            f"path {name} has schema {envelope['schema']}; this version reads up to {SCHEMA}: "
            "upgrade pma_grid"
        )
    return dict(envelope["meta"])


def _write(path: Path, members: Mapping[str, NDArray[Any]]) -> None:
    """Write the archive and flush it to the disk before it is renamed."""
    with path.open("xb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, array in members.items():
                info = zipfile.ZipInfo(f"{name}.npy", _DATE)
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    """One array; stored members cannot unpack to more than the file holds."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise _foreign(name, f"{info.filename} is compressed")
    with archive.open(info) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _foreign(name: str, why: str) -> InvalidInputError:
    """The error for files that `save` did not write."""
    return InvalidInputError(
        f"path {name} is not a complete file of pma_grid: {why}; it must come from save: write it "
        "again"
    )
