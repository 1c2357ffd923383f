"""The pairs of images and their stored exact distances."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def images() -> Iterator[Any]:
    """The generator, a script beside the benchmarks."""
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("images")
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def rows(images: Any) -> list[dict[str, Any]]:
    """What is stored."""
    return list(json.loads(images.STORE.read_text(encoding="utf-8"))["pairs"])


def test_the_store_is_whole(images: Any, rows: list[dict[str, Any]]) -> None:
    """Ten classes of four pairs in two sets; photographs from either place."""
    want = {
        images.key(vars(pair))
        for name in images.SETS
        for origin in ("scikit-image", "bundled")
        for pair in images.pairs(name, origin=origin)
    }
    assert len(images.CLASSES) == 10
    assert len(want) == 2 * 44
    assert sorted(map(images.key, rows)) == sorted(want)


def test_the_readme_names_this_file(images: Any) -> None:
    digest = hashlib.sha256(images.STORE.read_bytes()).hexdigest()
    assert digest in (images.STORE.parent / "README.md").read_text(encoding="utf-8")


def test_digests(images: Any, rows: list[dict[str, Any]]) -> None:
    """The first pair of every class in the first set, the last one in the second."""
    stored = {images.key(row): row["sha256"] for row in rows}
    origins = {"bundled", "scikit-image" if images.have_scenes() else "bundled"}
    for name, index in (("first", 0), ("second", 3)):
        for origin in origins:
            kinds = images.CLASSES if origin == "bundled" else ("photograph",)
            for pair in images.pairs(name, kinds, origin):
                if pair.index == index:
                    assert pair.digests() == stored[images.key(vars(pair))], str(pair)
    assert len({digest for both in stored.values() for digest in both}) > 160


def test_stored_distances_are_consistent(rows: list[dict[str, Any]]) -> None:
    """Cutting pixels in four moves their mass by sqrt(2)/4 of a pixel on either side."""
    for row in rows:
        whole, split = (row[name] ** 0.5 for name in ("w2_squared", "w2_squared_split"))
        assert 0 < whole < 2**0.5
        assert abs(whole - split) <= 2**0.5 / 2 / 32


@pytest.mark.parametrize("kind", ["shapes", "microscopy", "white noise"])
def test_linear_programmes_again(images: Any, kind: str) -> None:
    pair = images.pairs("first", (kind,))[1]
    problem = pair.problem(32)
    exact = images.exact(pair)
    assert images.programme(problem) == pytest.approx(exact, rel=1e-10)
    bound = pma.sinkhorn(problem, method="multiscale").stats["hard_dual"]
    assert -0.3 < (bound - exact) * 32**2 < 1e-9


def test_a_changed_image_has_no_exact_distance(
    images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = images.pairs("first", ("shapes",))[0]
    assert images.exact(pair, 32, 2) is not None
    assert images.exact(pair, 64) is None
    monkeypatch.setitem(images.SETS, "first", 1)
    assert images.exact(pair) is None


@pytest.mark.parametrize("kind", ["log field", "shapes", "microscopy", "photograph"])
def test_all_sizes_show_the_same_image(images: Any, kind: str) -> None:
    pair = images.pairs("first", (kind,), "bundled")[0]
    full, small = pair.images(512), pair.images(32)
    for fine, coarse in zip(full, small, strict=True):
        assert np.array_equal(fine, np.rint(fine))
        assert fine.min() >= 0
        assert np.array_equal(fine.reshape(32, 16, 32, 16).sum(axis=(1, 3)), coarse)
    if kind in ("shapes", "microscopy"):
        assert min((image == 0).mean() for image in small) > 0.4
    split = pair.problem(32, 2)
    assert split.source.shape == (64, 64)
    np.testing.assert_allclose(
        split.source.values[::2, 1::2], pair.problem(32).source.values, rtol=1e-12
    )


def test_overlapping_pixels(images: Any) -> None:
    """Summed by overlaps, whatever the sizes: a gradient keeps its mean and its slope."""
    photo = np.broadcast_to(np.arange(303.0), (303, 303))
    view = images.scene(photo, 32)
    assert np.array_equal(view, np.rint(view))
    # a pixel of the old image counts for n^2 parts
    assert view.sum() == photo.sum() * 32**2
    np.testing.assert_allclose(np.diff(view[3]), np.diff(view[3])[0], rtol=0.02)
    colours = np.repeat(photo[..., None], 3, axis=2)
    assert np.array_equal(images.scene(colours, 32), 10_000 * view)
