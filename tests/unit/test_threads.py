"""Threads: results that do not depend on how many there are, and errors that reach the caller."""

from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.equation.footprint import Footprint
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import log_centre_values, prefiltered
from pma_grid.grid.sums import BlockSums
from pma_grid.grid.transfer import Transfer
from pma_grid.runtime import workers
from pma_grid.runtime.workers import Workers


@pytest.fixture(autouse=True)
def _share_small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads on grids that are too small to be worth it."""
    monkeypatch.setattr(workers, "WORTHWHILE_CELLS", 1)


def _problem(shape: tuple[int, ...]) -> pma.Problem:
    """A smooth source and a target with a steep bump, whose means count."""
    x = [(i + 0.5) / n for i, n in zip(np.indices(shape), shape, strict=True)]
    source = np.prod([1 + 0.3 * np.cos(np.pi * c) for c in x], axis=0)
    target = 0.3 + np.exp(-50 * np.sum([(c - 0.6) ** 2 for c in x], axis=0))
    return pma.Problem(source, target)


@pytest.mark.parametrize("shape", [(64, 64), (97, 33), (41, 120), (20, 17, 13), (50,)])
def test_solve_gives_the_same_bits_for_any_number_of_threads(shape: tuple[int, ...]) -> None:
    problem = _problem(shape)
    alone, *shared = (pma.solve(problem, threads=k, fallback=False) for k in (1, 2, 3))
    for other in shared:
        np.testing.assert_array_equal(other.potential, alone.potential)
        assert other.stats["residual"] == alone.stats["residual"]
    assert [t.stats["threads"] for t in (alone, *shared)] == [1, 2, 3]


@pytest.mark.parametrize("shape", [(33, 70), (9, 10, 11)])
def test_passes_over_fields_give_the_same_bits(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(4).random(shape) + 0.5
    coarse = tuple((n + 1) // 2 for n in shape)
    results = []
    for threads in (1, 2, 3):
        with Workers(threads) as team:
            transfer = Transfer(shape, coarse, team)
            sums = transfer.restrict(values)
            results.append(
                (
                    sums, transfer.interpolate(sums, 6), log_centre_values(values, team),
                    prefiltered(values, team),
                )
            )  # fmt: skip
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("shape", [(37, 20), (9, 8, 7), (5,)])
def test_filters_of_overlapping_parts_give_the_same_bits(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(6).random(shape) + 0.1
    alone, *shared = (Footprint(values, np.log(values), Workers(k)) for k in (1, 2, 5))
    assert alone.variation.max() <= alone.steepest
    for other in shared:
        assert other.steepest == alone.steepest
        np.testing.assert_array_equal(other.variation, alone.variation)
        np.testing.assert_array_equal(other.far, alone.far)


def test_sums_are_those_of_fixed_blocks() -> None:
    from pma_grid.kernels.grid.vectors import BLOCK, dot

    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 5 * BLOCK + 17))
    totals = []
    for threads in (1, 2, 4):
        with Workers(threads) as team:
            totals.append(BlockSums(a.size, team)(dot, a, b)[0])
    assert totals[0] == totals[1] == totals[2]
    assert totals[0] == pytest.approx(a @ b, rel=1e-12)


@pytest.mark.parametrize("shape", [(1000, 3), (64, 64), (200, 40, 3), (7, 5), (31,), (33, 4)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_two_colours_visit_every_slab_once(shape: tuple[int, ...], threads: int) -> None:
    with Workers(threads) as team:
        lattice = Lattice(shape, workers=team)
        slabs = lattice.slabs
        assert slabs[0] == 0 and slabs[-1] == lattice.rows
        if slabs.size > 2:
            planes = np.diff(slabs) // (lattice.rows // shape[0])
            assert planes.min() > lattice.halo
        for backward in (False, True):
            seen: list[int] = []

            def visit(s: tuple[int, int], seen: list[int] = seen) -> None:
                seen.extend(range(s[0], s[1], 2))

            lattice.sweep(visit, backward=backward)
            assert sorted(seen) == list(range(slabs.size - 1))
            colours = [s % 2 for s in seen]
            assert colours == sorted(colours, reverse=backward)


def test_slabs_smooth_as_well_as_one_sweep_through_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for slabs in (1, 16):
        monkeypatch.setattr("pma_grid.grid.lattice.SLABS", slabs)
        stats = pma.solve(_problem((256, 256)), tol=1e-8).stats
        counts.append(stats["linear_iterations"])
    assert counts[1] <= counts[0] + 2


def test_errors_of_threads_reach_the_caller_after_all_have_ended() -> None:
    ended = []

    def task(item: int) -> None:
        ended.append(item)
        if item == 1:
            raise ValueError("one")

    with Workers(3) as team, pytest.raises(ValueError, match="one"):
        team.each(task, [0, 1, 2])
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_is_checked(threads: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="threads is"):
        pma.solve(_problem((16,)), threads=threads)
