"""The file format: round trips, atomic writing, and refusals of anything else."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pma_grid.runtime import storage
from pma_grid.runtime.errors import InvalidInputError


def test_round_trip(tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(6.0).reshape(2, 3),
        "u-1.x": np.zeros((0, 2), np.int8),
        "names": np.array(["å", "b"]),
        "fortran": np.asfortranarray(np.ones((2, 3))),
    }
    meta = {"tol": np.float64(1e-5), "shape": (2, 3), "inf": np.inf, "list": np.arange(2)}
    storage.save(tmp_path / "a.npz", arrays, meta)
    loaded, back = storage.load(tmp_path / "a.npz")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert back == {"tol": 1e-5, "shape": [2, 3], "inf": np.inf, "list": [0, 1]}


def test_numpy_reads_it_and_bytes_repeat(tmp_path: Path) -> None:
    for name in ("a", "b"):
        storage.save(tmp_path / name, {"u": np.arange(3)}, {"k": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["u"], [0, 1, 2])
        assert json.loads(str(archive[storage.META]))["schema"] == storage.SCHEMA


def test_overwrites_completely_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    storage.save(path, {"u": np.zeros(2)}, {})
    storage.save(path, {"u": np.ones(2)}, {})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidInputError, match="a.npz cannot be written"):
        storage.save(path, {"u": np.full(2, 7.0)}, {})
    np.testing.assert_array_equal(storage.load(path)[0]["u"], [1, 1])
    assert os.listdir(tmp_path) == ["a.npz"]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    storage.save(tmp_path / "link.npz", {}, {"k": 1})
    assert (tmp_path / "link.npz").is_symlink()
    assert storage.load(tmp_path / "real.npz")[1] == {"k": 1}


def test_missing_directory_and_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="a.npz cannot be written"):
        storage.save(tmp_path / "no" / "a.npz", {}, {})
    with pytest.raises(InvalidInputError, match="cannot be written"):
        storage.save(tmp_path, {}, {})
    with pytest.raises(InvalidInputError, match="a.npz does not exist"):
        storage.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "meta", "message"),
    [
        ({"a/b": np.ones(1)}, {}, "array name 'a/b'"),
        ({"": np.ones(1)}, {}, "array name ''"),
        ({storage.META: np.ones(1)}, {}, "cannot be stored"),
        ({"u": np.array([None])}, {}, "array u has dtype object"),
        ({}, {"f": print}, "meta cannot be stored: .*type builtin"),
    ],
)
def test_what_cannot_be_stored(
    arrays: dict[str, Any], meta: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        storage.save(tmp_path / "a.npz", arrays, meta)
    assert not os.listdir(tmp_path)


def _envelope(path: Path, text: str) -> None:
    np.savez(path, **{storage.META: np.array(text)})  # type: ignore[arg-type]


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"")
    with pytest.raises(InvalidInputError, match="is empty"):
        storage.load(path)
    path.write_text("hello")
    with pytest.raises(InvalidInputError, match="truncated or no .npz"):
        storage.load(path)
    np.savez(path, u=np.ones(3))
    with pytest.raises(InvalidInputError, match="no metadata"):
        storage.load(path)
    _envelope(path, '{"format": "other", "schema": 1, "meta": {}}')
    with pytest.raises(InvalidInputError, match="another format"):
        storage.load(path)
    _envelope(path, "not json")
    with pytest.raises(InvalidInputError, match="not a complete file"):
        storage.load(path)
    with pytest.raises(InvalidInputError, match="cannot be opened"):
        storage.load(tmp_path)


def test_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    _envelope(path, json.dumps({"format": storage.FORMAT, "schema": 99, "meta": {}}))
    with pytest.raises(InvalidInputError, match="schema 99.*upgrade"):
        storage.load(path)


def test_every_truncation_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    storage.save(path, {"u": np.arange(100.0)}, {"k": 1})
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidInputError, match=r"a\.npz"):
            storage.load(path)


def test_objects_and_compressed_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = json.dumps({"format": storage.FORMAT, "schema": 1, "meta": {}})
    np.savez(path, u=np.array([None]), **{storage.META: np.array(good)})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="Object arrays cannot be loaded"):
        storage.load(path)
    storage.save(path, {}, {})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("u.npy", b"\0" * 1000)
    with pytest.raises(InvalidInputError, match=r"u\.npy is compressed"):
        storage.load(path)
