"""Arrays and pictures from files: sizes are checked before memory is taken, nothing is unpickled.

Every refusal is one `InvalidInputError` that names the file.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pma_grid.runtime import InvalidInputError
from pma_grid.runtime.files import PathLike, check_file, check_size, one_line

# 2 GiB hold 512^3 float64 values; 2^26 pixels are 8192 x 8192.
MAX_BYTES = 2**31
MAX_PIXELS = 2**26

IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
ARRAY_NAMES = ("values", "density")
SUFFIXES = (".npy", ".npz", ".csv", *IMAGE_FORMATS)
LUMINANCE = (0.299, 0.587, 0.114)  # Rec. ITU-R BT.601

Pixels = NDArray[Any]


def read_array(
    path: PathLike,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    channel: int | None = None,
) -> NDArray[Any]:
    """The array of a file as it is stored; the suffix says the format.

    Parameters
    ----------
    path : str or path
        ``.npy``; ``.npz`` with one array, or with one named ``values`` or ``density``; ``.csv``
        of comma-separated numbers, without a header: of one row or column it has one axis;
        ``.png .jpg .jpeg .tif .tiff``.  ``"-"`` reads a .npy stream from standard input.
    max_bytes, max_pixels : int
        Larger arrays and csv files, and larger pictures, all pages together, are refused.
    channel : int, optional
        Colour channel of a picture; None is the luminance.

    Raises
    ------
    InvalidInputError
        If the file is missing, unreadable, empty, truncated, too large, holds Python objects or
        is not what its suffix says.

    Notes
    -----
    Pictures: rows are axis 0.  Colour becomes luminance (Rec. 601), alpha is ignored, 16-bit grey
    is kept (16-bit colour has 8 bits left in Pillow), the pages of a tif are stacked along a new
    first axis, orientation tags are ignored.
    """
    if os.fspath(path) == "-":
        return _npy_from(sys.stdin.buffer, None, "standard input", max_bytes)
    file = _checked_file(path, SUFFIXES)
    if file.suffix.lower() in IMAGE_FORMATS:
        return read_image(file, max_pixels=max_pixels, channel=channel)[0]
    reader = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}[file.suffix.lower()]
    return reader(file, max_bytes)


def read_image(
    path: PathLike, *, max_pixels: int = MAX_PIXELS, channel: int | None = None
) -> tuple[Pixels, float]:
    """Pixels of a picture, (rows, columns) or (pages, rows, columns), and what is white.

    White is the largest value of the pixel type, for float pictures the largest value present.
    Arguments and refusals are those of `read_array`.
    """
    file = _checked_file(path, tuple(IMAGE_FORMATS))
    with warnings.catch_warnings():
        # Pillow warns between one and two times its own limit; max_pixels decides here.
        warnings.simplefilter("ignore")
        with _opened_image(file, max_pixels) as image:
            with decoding(file):
                pages = int(image.n_frames) if image.format == "TIFF" else 1
            # by the numbers of the header, before anything is decoded
            if math.prod(image.size) * pages > max_pixels:
                raise InvalidInputError(
                    f"{file} is too large: {image.size[1]} x {image.size[0]} pixels, {pages} "
                    f"page(s); at most {max_pixels} pixels are read: scale it down or raise "
                    "max_pixels"
                )
            return _decoded(image, pages, channel, file)


def _opened_image(file: Path, max_pixels: int) -> Any:
    """The picture with its header read and its pixels not decoded."""
    from PIL import Image

    with decoding(file):
        try:
            # Only the decoder of the suffix: a renamed file of another kind is refused.
            return Image.open(file, formats=[IMAGE_FORMATS[file.suffix.lower()]])
        except Image.DecompressionBombError as error:
            raise InvalidInputError(
                f"{file} is too large: {error}; at most {max_pixels} pixels are read: scale it down"
            ) from error


def _decoded(image: Any, pages: int, channel: int | None, file: Path) -> tuple[Pixels, float]:
    """Decode every page to one grey array each and stack them."""
    size, stack = image.size, []
    for page in range(pages):
        with decoding(file):
            image.seek(page)
            if image.size != size:
                raise ValueError(f"page {page} has size {image.size}, page 0 has {size}")
            # modes that hold indices or other colour spaces become RGB
            plain = image.mode in ("1", "L", "LA", "RGB", "RGBA", "F") or image.mode[0] == "I"
            pixels = np.asarray(image if plain else image.convert("RGB"))
        stack.append(_grey(pixels, channel, file))
    values = stack[0] if pages == 1 else np.stack(stack)
    if pixels.dtype.kind == "b":
        return values, 1.0
    # Mode "I" is 32 bits wide, but a png stores at most 16 of them.
    bits = 16 if pixels.dtype == np.int32 and image.format == "PNG" else 8 * pixels.dtype.itemsize
    white = float(2**bits - 1) if pixels.dtype.kind in "iu" else float(values.max())
    return values, white


def _grey(pixels: Pixels, channel: int | None, file: Path) -> Pixels:
    """One value for each pixel: luminance, or the channel asked for."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channel is not None and not 0 <= channel < channels:
        raise InvalidInputError(
            f"channel is {channel!r} but {file} has {channels}; channels count from 0: choose one "
            "of them, or None for the luminance"
        )
    if pixels.ndim == 2:
        return pixels.astype(pixels.dtype.newbyteorder("="))
    if channel is not None:
        return pixels[..., channel].copy()
    if channels == 2:  # grey and alpha
        return pixels[..., 0].copy()
    grey: Pixels = pixels[..., :3] @ np.array(LUMINANCE)
    return grey


def _read_npy(file: Path, max_bytes: int) -> NDArray[Any]:
    """A .npy file."""
    with file.open("rb") as stream:
        return _npy_from(stream, file.stat().st_size, str(file), max_bytes)


def _read_npz(file: Path, max_bytes: int) -> NDArray[Any]:
    """The one array of a .npz file, or the one called values or density."""
    with decoding(file), zipfile.ZipFile(file) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        name = _chosen(list(members), file)
        # The size that the archive states bounds what is ever decompressed.
        with archive.open(members[name]) as stream:
            return _npy_from(stream, members[name].file_size, f"{file} (array {name})", max_bytes)


def _chosen(names: list[str], file: Path) -> str:
    """Name of the array to read."""
    preferred = [name for name in ARRAY_NAMES if name in names]
    if preferred or len(names) == 1:
        return (preferred or names)[0]
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise InvalidInputError(
        f"{file} holds {len(names)} arrays ({listed}); one array, or one called values or density, "
        "is needed: save it alone"
    )


def _npy_from(stream: IO[bytes], size: int | None, name: str, max_bytes: int) -> NDArray[Any]:
    """Array of a .npy stream of ``size`` bytes, if known; its header is checked first."""
    with decoding(name):
        version = np.lib.format.read_magic(stream)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = header(stream)
        _check_npy(shape, dtype, size, name, max_bytes)
        flat = np.empty(math.prod(shape), dtype)
        if stream.readinto(flat.view(np.uint8)) != flat.nbytes:  # type: ignore[attr-defined]
            raise EOFError(f"fewer than the {flat.nbytes} bytes of its header are there")
        return flat.reshape(shape, order="F" if fortran else "C")


def _check_npy(
    shape: tuple[int, ...], dtype: np.dtype[Any], size: int | None, name: str, max_bytes: int
) -> None:
    """Refuse objects, records, and headers that promise too much."""
    if dtype.hasobject or dtype.kind in "OV":
        raise InvalidInputError(
            f"{name} holds {dtype} entries; pickled objects and records are never loaded: save a "
            "plain array of numbers"
        )
    needed = math.prod(shape) * dtype.itemsize  # Python integers: no overflow
    if needed > max_bytes:
        raise InvalidInputError(
            f"{name} is too large: shape {shape} of {dtype} takes {needed} bytes; at most "
            f"{max_bytes} are read: coarsen the array or raise max_bytes"
        )
    if size is not None and needed > size:
        raise InvalidInputError(
            f"{name} is truncated: shape {shape} of {dtype} takes {needed} bytes but {size} are "
            "there; the file must be complete: copy or write it again"
        )


def _read_csv(file: Path, max_bytes: int) -> NDArray[Any]:
    """Comma-separated numbers."""
    check_size(file, max_bytes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns about a file without numbers
            return np.loadtxt(file, delimiter=",", dtype=np.float64, encoding="utf-8-sig")
    except Exception as error:
        reason = one_line(error)
        raise InvalidInputError(
            f"{file} is not a table of comma-separated numbers: {reason}; every row needs the same "
            "count of numbers: remove header rows and text"
        ) from error


def _checked_file(path: PathLike, suffixes: tuple[str, ...]) -> Path:
    """An existing, readable, non-empty file with one of the suffixes."""
    file = Path(path)
    if file.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{file} has the suffix {file.suffix!r}; files are read by suffix, one of "
            f"{' '.join(suffixes)}: convert or rename it"
        )
    return check_file(file)


@contextmanager
def decoding(name: Path | str) -> Iterator[None]:
    """Turns whatever a decoder raises on malformed data into an error that names them."""
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{name} cannot be read: {one_line(error)}; the data must be complete and of the "
            "format that the suffix names (.npy for standard input): check how they were written"
        ) from error
