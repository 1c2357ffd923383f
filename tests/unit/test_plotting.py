"""Pictures: what is drawn and where, without pyplot."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import pma_grid as pma
from pma_grid import plotting
from pma_grid.cases.convergence import Study

SHAPES = {1: (32,), 2: (16, 12), 3: (8, 8, 8)}
every_dim = pytest.mark.parametrize("dim", [1, 2, 3])


@pytest.fixture(scope="module")
def results() -> dict[int, pma.Transport]:
    return {d: pma.solve(pma.cases.separable(d).problem(SHAPES[d])) for d in SHAPES}


@pytest.fixture(scope="module")
def study() -> Study:
    return pma.convergence.study(pma.cases.manufactured(1), (16, 32, 64))


def _empty() -> Axes:
    ax = Figure().subplots()
    assert not ax.has_data()
    return ax


@every_dim
def test_density(dim: int, results: dict[int, pma.Transport]) -> None:
    source = results[dim].problem.source
    ax = _empty()
    assert plotting.density(source, ax) is ax
    assert isinstance(plotting.density(source), Axes)
    if dim == 1:
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), source.values)
    else:
        want = source.values if dim == 2 else source.values.mean(axis=2)  # a box of height 1
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), want)


def test_projections_of_boxes_of_any_height_compare() -> None:
    pictures = []
    for height in (1.0, 5.0):
        flat = pma.Density(np.ones((4, 4, 4)), pma.Grid((4, 4, 4), (0, 0, 0), (1, 1, height)))
        pictures.append(np.asarray(plotting.density(flat).images[0].get_array()))
    np.testing.assert_allclose(pictures[0], pictures[1])


@every_dim
def test_map(dim: int, results: dict[int, pma.Transport]) -> None:
    ot = results[dim]
    ax = _empty()
    assert plotting.map(ot, ax) is ax
    if dim == 1:
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), ot.gradient[0])
    else:
        shown = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
        np.testing.assert_allclose(shown.min(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(shown.max(axis=0), 1, atol=1e-9)
        shift = np.asarray(ax.collections[0].get_array())
        assert shift.max() > 5 * shift.min()
        assert ax.yaxis_inverted(), "axis 0 runs down, as in images"


@every_dim
def test_interpolation(dim: int, results: dict[int, pma.Transport]) -> None:
    ot = results[dim]
    figure = Figure()
    row = figure.subplots(1, 3)
    drawn = plotting.interpolation(ot, (0.0, 0.5, 1.0), row)
    assert drawn == list(row)
    assert all(ax.has_data() for ax in drawn)
    if dim > 1:
        assert len({ax.images[0].get_clim() for ax in drawn}) == 1, "one colour scale"
    else:
        assert len({ax.get_ylim() for ax in drawn}) == 1, "one scale"
    assert len(plotting.interpolation(ot, (0.0, 1.0))) == 2


def test_moving_boxes_share_one_scale() -> None:
    ot = pma.solve(pma.cases.affine_gaussian(2).problem((8, 8)))
    sizes = set()
    for ax in plotting.interpolation(ot, (0.0, 1.0)):
        (a, b), (c, d) = ax.get_xlim(), ax.get_ylim()
        sizes.add((round(b - a, 9), round(c - d, 9)))
    assert sizes == {(2.0, 3.0)}, "the largest box: 2 wide, 3 high"


def test_history(results: dict[int, pma.Transport]) -> None:
    ot = results[2]
    ax = _empty()
    assert plotting.history(ot, ax) is ax
    assert ax.get_yscale() == "log"
    *grids, tolerance = ax.lines
    assert sum(np.size(line.get_ydata()) for line in grids) == len(ot.stats["history"])
    assert np.asarray(tolerance.get_ydata())[0] == ot.stats["tol"]
    assert np.asarray(grids[-1].get_ydata())[-1] == pytest.approx(ot.stats["residual"], rel=1e-6)


def test_history_of_an_unsolved_transport_is_refused() -> None:
    problem = pma.Problem(np.ones(8), np.ones(8))
    given = pma.Transport.from_potential(problem, 0.5 * problem.source.grid.axes[0] ** 2)
    with pytest.raises(pma.InvalidInputError, match="no history"):
        plotting.history(given)


def test_convergence(study: Study) -> None:
    ax = _empty()
    assert plotting.convergence(study, ax) is ax
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    for name in ("potential_max", "map_max", "w2_squared"):
        assert any(np.array_equal(y, study.errors(name)) for y in drawn), name


@every_dim
def test_poster_and_saving(dim: int, results: dict[int, pma.Transport], tmp_path: Path) -> None:
    figure = plotting.transport(results[dim])
    assert isinstance(figure, Figure)
    assert all(ax.has_data() for ax in figure.axes)
    plotting.save(figure, tmp_path / "poster.png")
    with Image.open(tmp_path / "poster.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5


def test_poster_of_a_transport_that_was_not_solved() -> None:
    problem = pma.Problem(np.ones((6, 6)), np.ones((6, 6)))
    x, y = problem.source.grid.coordinates()
    figure = plotting.transport(pma.Transport.from_potential(problem, 0.5 * (x * x + y * y)))
    assert "not_solved" in figure.get_supxlabel()


def test_pyplot_is_never_imported(tmp_path: Path) -> None:
    code = """
import sys, numpy as np, pma_grid as pma
from pma_grid import plotting
from pma_grid.claims import ClaimResult, Curve, Panel
assert "matplotlib" not in sys.modules
ot = pma.solve(pma.Problem(np.ones((8, 8)), 1 + np.arange(64.0).reshape(8, 8) / 64))
plotting.save(plotting.transport(ot), sys.argv[1])
plotting.history(ot)
flow = pma.evolve(ot.problem, schedule=pma.schedules.constant(0.1), steps=2, keep=1)
plotting.save(plotting.flow(flow), sys.argv[1].replace("a.png", "b.pdf"))
plotting.animation(flow, sys.argv[1].replace("png", "gif"))
curve = Curve("a", np.ones(2), np.ones(2))
plotting.claim(ClaimResult("a", "b", (), (Panel("a", "x", "y", (curve,)),)))
print("matplotlib.figure" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    root = str(Path(str(pma.__file__)).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.split() == ["True", "False"]
    assert (tmp_path / "a.png").stat().st_size > 10_000
