"""Readers: every format, every refusal, sizes checked before memory is taken."""

import io
import os
import struct
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pma_grid.problem.readers import read_array, read_image
from pma_grid.runtime.errors import InvalidInputError

GREY = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A png whose header claims a size that its data do not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """The header of a .npy file without its data."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"shape": shape, "fortran_order": False, "descr": descr}
    )
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [bool, np.uint8, ">i4", np.float32, float, complex])
def test_npy_round_trip(tmp_path: Path, dtype: Any) -> None:
    for values in (GREY.astype(dtype), np.asfortranarray(GREY.astype(dtype))):
        np.save(tmp_path / "a.npy", values)
        read = read_array(tmp_path / "a.npy")
        np.testing.assert_array_equal(read, values)
        assert read.dtype == values.dtype and read.flags.writeable


def test_npz_takes_the_one_array_or_the_named_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, GREY)
    np.testing.assert_array_equal(read_array(path), GREY)
    np.savez(path, x=np.ones(3), density=GREY)
    np.testing.assert_array_equal(read_array(str(path)), GREY)
    np.savez(path, x=np.ones(3), y=GREY)
    with pytest.raises(InvalidInputError, match=r"a.npz holds 2 arrays \(x, y\)"):
        read_array(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(InvalidInputError, match="a.npz holds 0 arrays"):
        read_array(path)


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeff1, 2.5\n3e0,4\n", encoding="utf-8")
    np.testing.assert_array_equal(read_array(path), [[1, 2.5], [3, 4]])
    path.write_text("1\n2\n3\n")
    assert read_array(path).shape == (3,)


@pytest.mark.parametrize("text", ["x,y\n1,2\n", "1,2\n3\n", "1;2\n", "\n\n", "1,,2\n", "\xff\xfe"])
def test_bad_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInputError, match="a.csv is .*comma-separated") as caught:
        read_array(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG"])
def test_grey_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GREY).save(path)
    np.testing.assert_array_equal(read_array(path), GREY)
    assert read_image(path)[1] == 255


def test_jpeg_is_close(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_array(tmp_path / "a.jpg") - ramp.astype(float)).max() < 4


def test_sixteen_bits_and_floats_and_bilevel(tmp_path: Path) -> None:
    deep = (GREY.astype(np.uint16) * 257)[:, ::-1].copy()
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        pixels, white = read_image(tmp_path / name)
        np.testing.assert_array_equal(pixels, deep)
        assert white == 65535
    Image.fromarray(GREY / np.float32(255)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif")[1] == 1.0
    Image.fromarray(GREY > 120).save(tmp_path / "b.png")
    pixels, white = read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(pixels, GREY > 120)
    assert white == 1.0


def test_colour_becomes_luminance_and_alpha_is_ignored(tmp_path: Path) -> None:
    colour = np.zeros((2, 3, 4), np.uint8)
    colour[..., 0], colour[..., 1], colour[..., 3] = 100, GREY, 7
    expected = 0.299 * 100 + 0.587 * GREY
    path = tmp_path / "a.png"
    for mode in ("RGBA", "RGB"):
        Image.fromarray(colour).convert(mode).save(path)
        np.testing.assert_allclose(read_array(path), expected)
        np.testing.assert_array_equal(read_array(path, channel=1), GREY)
    Image.fromarray(GREY).convert("LA").save(path)
    np.testing.assert_array_equal(read_array(path), GREY)
    Image.fromarray(GREY).convert("P").save(path)
    np.testing.assert_allclose(read_array(path), GREY)
    with pytest.raises(InvalidInputError, match="channel is 5 but .*a.png has 3"):
        read_array(path, channel=5)


def test_pages_of_a_tif_are_stacked(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY + np.uint8(k)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    stack = read_array(tmp_path / "a.tif")
    assert stack.shape == (3, 2, 3)
    np.testing.assert_array_equal(stack[2], GREY + np.uint8(2))
    with pytest.raises(InvalidInputError, match=r"too large: 2 x 3 pixels, 3 page\(s\)"):
        read_array(tmp_path / "a.tif", max_pixels=17)
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[Image.fromarray(GREY.T)])
    with pytest.raises(InvalidInputError, match="page 1 has size"):
        read_array(tmp_path / "b.tif")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_image_bombs_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError, match="bomb.png is too large") as caught:
            read_array(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2**20, 2**20), "too large: .*8796093022208 bytes"),
        ((2**62, 2**62), "too large"),
        ((1000, 1000), "truncated: .*8000000 bytes"),
        ((-1, 3), "cannot be read"),
    ],
)
def test_npy_headers_that_promise_too_much(
    tmp_path: Path, shape: tuple[int, ...], message: str
) -> None:
    data = npy_header(shape)
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("values.npy", data)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InvalidInputError, match=f"{name}.*{message}"):
            read_array(tmp_path / name)


def test_limits_can_be_lowered(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(1000))
    np.savez_compressed(tmp_path / "a.npz", np.zeros(1000))
    (tmp_path / "a.csv").write_text("1\n" * 1000)
    for name in ("a.npy", "a.npz", "a.csv"):
        with pytest.raises(InvalidInputError, match=f"{name}.*too large.*raise max_bytes"):
            read_array(tmp_path / name, max_bytes=1000)


def test_objects_and_records_are_never_loaded(tmp_path: Path) -> None:
    for values in (np.array([{"a": 1}]), np.array([(1, 2.0)], "i4,f8")):
        np.save(tmp_path / "a.npy", values, allow_pickle=True)
        np.savez(tmp_path / "a.npz", values, allow_pickle=True)
        for name in ("a.npy", "a.npz"):
            with pytest.raises(InvalidInputError, match=f"{name}.*never loaded"):
                read_array(tmp_path / name)


def test_missing_empty_unreadable_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="a.npy does not exist"):
        read_array(tmp_path / "a.npy")
    (tmp_path / "dir.npy").mkdir()
    with pytest.raises(InvalidInputError, match="dir.npy cannot be opened"):
        read_array(tmp_path / "dir.npy")
    for suffix in (".npy", ".npz", ".csv", ".png", ".jpg", ".tif"):
        (tmp_path / f"e{suffix}").touch()
        with pytest.raises(InvalidInputError, match=f"e{suffix} is empty"):
            read_array(tmp_path / f"e{suffix}")
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(InvalidInputError, match="suffix '.txt'"):
        read_array(tmp_path / "a.txt")
    with pytest.raises(InvalidInputError, match="cannot be opened"):
        read_array("a\0.npy")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    (tmp_path / "a.npy").chmod(0)
    with pytest.raises(InvalidInputError, match="a.npy cannot be opened.*permissions"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.png", "a.jpg", "a.tif"])
def test_wrong_content_and_truncation(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello, this is no array")
    with pytest.raises(InvalidInputError, match=f"{name} cannot be read") as caught:
        read_array(path)
    assert "\n" not in str(caught.value)
    noise = np.random.default_rng(8713).integers(0, 255, (64, 64), np.uint8)
    if name.endswith("npy"):
        np.save(path, noise)
    elif name.endswith("npz"):
        np.savez(path, noise)
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for size in (3, 40, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidInputError, match=f"{name}.*(cannot be read|truncated)"):
            read_array(path)


def test_a_renamed_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    with pytest.raises(InvalidInputError, match="a.jpg cannot be read"):
        read_array(tmp_path / "a.jpg")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    whole = npy_header((2, 3), "|u1") + GREY.tobytes()
    feed(whole)
    np.testing.assert_array_equal(read_array("-"), GREY)
    for data, message in (
        (b"", "cannot be read"),
        (whole[:-1], "fewer than the 6 bytes"),
        (npy_header((10**9, 10**9)), "too large"),
        (b"1,2,3\n", "cannot be read"),
    ):
        feed(data)
        with pytest.raises(InvalidInputError, match=f"standard input.*{message}"):
            read_array("-")


def test_bundled_photographs() -> None:
    import pma_grid

    folder = Path(str(pma_grid.__file__)).parent / "cases" / "images"
    for name, size in (("camera.png", 512), ("cat.png", 300)):
        pixels, white = read_image(folder / name)
        assert pixels.shape == (size, size) and pixels.dtype == np.uint8 and white == 255
