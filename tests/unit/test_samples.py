"""Samples, samplers and tables of points."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.problem.log_density import LogDensity
from pma_grid.problem.tables import read_table, write_table
from pma_grid.sampling.base_laws import base_law

POINTS = np.random.default_rng(0).normal(size=(50, 2))


@pytest.mark.parametrize(
    "points, options, message",
    [
        ([["a", "b"]] * 20, {}, "dtype"),
        ([[1.0], [1.0, 2.0]], {}, "dtype"),
        (np.ones((5, 2)), {}, "5 points; at least 10"),
        (np.where(np.arange(40).reshape(20, 2) == 7, np.nan, POINTS[:20]), {}, "in row 3"),
        (np.where(np.arange(40).reshape(20, 2) == 7, np.inf, POINTS[:20]), {}, "in row 3"),
        (np.stack([np.arange(20.0), np.full(20, 3.0)], axis=1), {}, "constant along axis 1, at 3"),
        (np.full(30, 2.0), {}, "all the same point"),
        (np.repeat(POINTS[:9], 20, axis=0), {}, "180 points of which only 9 are different"),
        (np.zeros((20, 4)), {}, "1 to 3 coordinates"),
        (POINTS, {"box": [(-1, 1), (-1, 1)]}, "outside the box"),
        (POINTS, {"box": [(-5, 5)]}, "one pair"),
        (POINTS, {"shape": (8, 8, 8)}, "one number of cells"),
        (POINTS, {"grid": pma.Grid(8)}, "must agree"),
        (POINTS, {"grid": pma.Grid((8, 8)), "shape": 8}, "beside shape"),
    ],
)
def test_bad_samples_are_refused(points: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.Samples(points, **options)


def test_samples_count_and_split() -> None:
    points = np.concatenate([POINTS, POINTS[:5]])
    samples = pma.Samples(points, shape=(16, 7))
    assert (samples.n, samples.duplicates, samples.grid.shape) == (55, 5, (16, 7))
    assert samples.masses().sum() == pytest.approx(1)
    first, second = samples.split(0.2, 3)
    assert (first.n, second.n) == (44, 11)
    again = samples.split(0.2, 3)[1]
    assert np.array_equal(second.points, again.points)
    together = np.concatenate([first.points, second.points])
    assert np.array_equal(np.sort(together, axis=0), np.sort(samples.points, axis=0))
    assert not samples.points.flags.writeable
    assert samples.split(0.2, 4)[1].points.tolist() != second.points.tolist()
    assert first.grid is second.grid is samples.grid
    assert not first.points.flags.writeable
    shares: list[Any] = [0, 1, 1.5, "x"]
    for bad in shares:
        with pytest.raises(pma.InvalidInputError, match="held_out"):
            samples.split(bad, 0)
    with pytest.raises(pma.InvalidInputError, match="seed"):
        samples.split(0.5, -1)


@pytest.mark.parametrize("dim, cells", [(1, 512), (2, 128), (3, 32)])
def test_boxes_found_from_points_are_the_range_widened(dim: int, cells: int) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 3.0, size=(40, dim))
    points[:2] = [[-1.0] * dim, [3.0] * dim]
    grid = pma.Samples(points).grid
    assert grid.shape == (cells,) * dim
    np.testing.assert_allclose(grid.lower, -1.6)
    np.testing.assert_allclose(grid.upper, 3.6)


def test_samples_copy_their_points_and_count_them_in_their_cells() -> None:
    points = np.array([0.1, 0.1, 0.3, 0.3, 0.3, *np.linspace(0.8, 0.9, 15)])
    samples = pma.Samples(points, grid=pma.Grid(4))
    points[:] = 0.5
    assert samples.masses().tolist() == [0.1, 0.15, 0.0, 0.75]
    assert samples.duplicates == 3
    assert (samples.dim, len(samples)) == (1, 20)


def test_log_density_is_normalised_and_of_fourth_order() -> None:
    errors = []
    for n in (16, 32, 64):
        law = pma.Density.from_function(lambda x: 1 + 0.8 * np.cos(np.pi * x), pma.Grid(n))
        log_density = LogDensity.of(law)
        x = np.linspace(0, 1, 2001)[:, None]
        values = np.exp(log_density(x))
        assert np.trapezoid(values, x[:, 0]) == pytest.approx(1, abs=1e-5)
        errors.append(np.abs(values - (1 + 0.8 * np.cos(np.pi * x[:, 0]))).max())
    assert errors[2] < errors[1] / 8 < errors[0] / 64
    assert log_density([[1.5]])[0] == -np.inf


@pytest.mark.parametrize("base", ["uniform", "gaussian"])
def test_sampler_density_is_the_law_solved_for(base: str) -> None:
    data = pma.cases.gaussian_mixture(2)
    law = data.density(data.grid(48))
    sampler = pma.Sampler(pma.solve(pma.Problem(law, base_law(base, law.shape))))
    assert np.abs(sampler.density.values - law.values).sum() * law.grid.cell_volume < 1e-3
    points = data.sample(2000, 1)
    gap = sampler.log_density(points) - data.log_density(*points.T)
    assert abs(gap.mean()) < 2e-2
    y, x = sampler.pairs(500, seed=4)
    assert np.median(np.abs(sampler.encode(x) - y)) < 1e-8


def test_sampler_of_an_unconverged_flow_has_the_density_of_its_map() -> None:
    """Change of variables: draws of a flow stopped early follow rho, not mu."""
    data = pma.cases.gaussian_mixture(1)
    law = data.density(data.grid(256))
    flow = pma.evolve(
        pma.Problem(law, np.ones(256)), schedule=pma.schedules.constant(0.05), steps=1
    )
    sampler = pma.Sampler(flow.transport)
    points = sampler.sample(4000, seed=0)
    counts = np.histogram(points[:, 0], law.grid.faces[0][::16])[0]
    expected = 4000 * law.grid.cell_volume * sampler.density.values.reshape(16, 16).sum(axis=1)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 16) < 4 * np.sqrt(32)
    of_mu = 4000 * law.grid.cell_volume * law.values.reshape(16, 16).sum(axis=1)
    assert ((counts - of_mu) ** 2 / of_mu).sum() > 200


def test_sampler_of_gaps_draws_nothing_into_them() -> None:
    data = pma.cases.checkerboard()
    law = data.density(data.grid(64))
    sampler = pma.Sampler(pma.solve(pma.Problem(law, np.ones((64, 64)))))
    points = sampler.sample(4000, seed=0)
    cells = law.grid.cell_index(points)
    assert (law.values[tuple(cells.T)] > 0).all()
    assert sampler.density.values.min() >= 0


@pytest.mark.parametrize("ending", [".csv", ".npz", ".npy"])
def test_tables_are_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_table(path, POINTS, ("a", "b"), {"seed": 7})
    points, names = read_table(path)
    assert np.array_equal(points, POINTS)
    assert names == (() if ending == ".npy" else ("a", "b"))


def test_tables_are_plain_files(tmp_path: Path) -> None:
    """numpy and pandas read a .csv as it is; a file beside it says where it came from."""
    path = tmp_path / "a.csv"
    write_table(path, POINTS, ("a", "b"), {"seed": 7})
    assert np.array_equal(np.loadtxt(path, skiprows=1, delimiter=","), POINTS)
    named = np.genfromtxt(path, names=True, delimiter=",")
    assert named.dtype.names == ("a", "b")
    assert np.array_equal(named["b"], POINTS[:, 1])
    assert json.loads((tmp_path / "a.csv.json").read_text()) == {"seed": 7}
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path)
    assert list(frame.columns) == ["a", "b"]
    assert np.array_equal(frame.to_numpy(), POINTS)


def test_tables_of_the_version_before_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# command pma-grid sample, version 0.9, seed 7\na,b\n1.5,2.0\n")
    points, names = read_table(path)
    assert (points.tolist(), names) == ([[1.5, 2.0]], ("a", "b"))


@pytest.mark.parametrize(
    "text, names",
    [
        ("1,2\n3,4\n", ()),
        ("# a, comment\n\nx, y\n1, 2\n# another\n3, 4\n", ("x", "y")),
        ('"x, north",y\r\n1,2\r\n3,4\r\n', ("x, north", "y")),
        ("\ufeffx,y\n1,2\n3,4\n", ("x", "y")),
        ("  1 2\n3\t4\n", ()),
        ("# one, two\nx y\n1 2\n3 4\n", ("x", "y")),
    ],
)
def test_tables_of_text(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8", newline="")
    points, found = read_table(path)
    assert points.tolist() == [[1, 2], [3, 4]]
    assert found == names


@pytest.mark.parametrize(
    "text, names", [("waiting time\n54\n74\n", ("waiting time",)), ("54\n74\n", ())]
)
def test_tables_of_one_column(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    points, found = read_table(path)
    assert (points.tolist(), found) == ([[54], [74]], names)


def test_arrays_are_tables(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS[:, 0])
    assert read_table(tmp_path / "a.npy")[0].shape == (50, 1)
    np.savez(tmp_path / "a.npz", POINTS)
    assert np.array_equal(read_table(tmp_path / "a.npz")[0], POINTS)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1\n2\n", "line 2"),
        ("1 2\n3 4 5\n", "3 numbers in line 2"),
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("a,b\n1,2\n3\n", "line 3"),
        ("1,2\n3,x\n", "'x' in line 2"),
        ("a,b\n1,2\nc,d\n", "'c' in line 3"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(pma.InvalidInputError, match=message):
        read_table(path)


def test_missing_tables_and_endings(tmp_path: Path) -> None:
    with pytest.raises(pma.InvalidInputError, match="does not exist"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(pma.InvalidInputError, match="ending"):
        write_table(tmp_path / "a.txt", POINTS, ("a", "b"), {})
    pma.solve(pma.Problem([1.0, 2.0], [1.0, 1.0])).save(tmp_path / "ot.npz")
    with pytest.raises(pma.InvalidInputError, match="no points"):
        read_table(tmp_path / "ot.npz")
