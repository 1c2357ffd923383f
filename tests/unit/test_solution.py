"""A result is read off the equation that was solved: raised, cut, finer, or from the other side."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import pma_grid as pma
from pma_grid import plotting
from pma_grid.cli import main
from pma_grid.grid.crops import Crop, cut, whole
from pma_grid.problem.floors import Raised
from pma_grid.sampling.sampler import Sampler
from pma_grid.transport import solution as solutions
from pma_grid.transport.solution import Solution

SHAPES = {1: (48,), 2: (32, 36), 3: (14, 16, 15)}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])


def _density(shape: tuple[int, ...], seed: int, lower: float, side: float) -> pma.Density:
    """A smooth positive density of a few cosine modes."""
    rng, dim = np.random.default_rng(seed), len(shape)
    grid = pma.Grid(shape, (lower,) * dim, (lower + side,) * dim)
    log = np.zeros(shape)
    for x in grid.coordinates():
        s = (x - lower) / side
        log += 0.4 * rng.normal() * np.cos(np.pi * s) + 0.2 * rng.normal() * np.cos(2 * np.pi * s)
    if dim > 1:
        log += 0.2 * np.cos(np.pi * grid.coordinates().sum(axis=0) / side)
    return pma.Density(np.exp(log), grid)


def _problem(shape: tuple[int, ...]) -> pma.Problem:
    other = tuple(n + 4 for n in shape)
    return pma.Problem(_density(shape, 3, 0.0, 1.0), _density(other, 8, -1.0, 2.0))


def _turned(problem: pma.Problem, **options: Any) -> pma.Transport:
    """The transport of a problem, solved from its target."""
    back = pma.solve(problem.swapped(), **options).solution
    assert not back.turned
    figures = back.mass_constant, back.averaged
    solution = Solution(back.problem, back.phi, back.working, True, *figures)
    return pma.Transport.of_solution(problem, solution, status=pma.Status.CONVERGED)


@pytest.fixture(scope="module")
def both() -> Callable[[tuple[int, ...]], tuple[pma.Transport, pma.Transport]]:
    """Both directions of one problem."""
    made: dict[tuple[int, ...], tuple[pma.Transport, pma.Transport]] = {}

    def make(shape: tuple[int, ...]) -> tuple[pma.Transport, pma.Transport]:
        if shape not in made:
            problem = _problem(shape)
            made[shape] = pma.solve(problem, tol=1e-9), _turned(problem, tol=1e-9)
        return made[shape]

    return make


def _gaps(one: pma.Transport, other: pma.Transport) -> dict[str, float]:
    """How far two transports are apart: rms over the cells, relative to the range."""
    x = one.problem.source.grid.points
    y = one.problem.target.grid.points
    pairs = {
        "map": (one.map(x), other.map(x)),
        "gradient": (one.gradient, other.gradient),
        "inverse": (one.inverse(y), other.inverse(y)),
        "potential": tuple(t.potential - t.potential.mean() for t in (one, other)),
        "hessian": (one.hessian, other.hessian),
        "between": tuple(t.interpolate(0.3).values for t in (one, other)),
    }
    gaps = {k: float(np.sqrt(np.mean((a - b) ** 2)) / np.ptp(a)) for k, (a, b) in pairs.items()}
    gaps["w2"] = abs(one.w2 / other.w2 - 1)
    # of the direct one the residual is its constant up to the tolerance
    gaps["residual"] = float(np.abs(one.residual - other.residual).mean())
    return gaps


@DIMS
def test_both_directions_agree(dim: int, both: Any) -> None:
    bounds = {"map": 5e-3, "gradient": 5e-3, "inverse": 5e-3, "potential": 2e-3, "hessian": 3e-2,
              "between": 2e-2, "w2": 2e-3, "residual": 1e-2}  # fmt: skip
    for name, gap in _gaps(*both(SHAPES[dim])).items():
        assert gap < bounds[name], name


def test_the_directions_differ_by_the_second_order(both: Any) -> None:
    coarse, fine = (_gaps(*both(shape)) for shape in ((40, 44), (80, 88)))
    for name, gap in coarse.items():
        assert gap / fine[name] > 3.0, (name, gap, fine[name])


@DIMS
def test_map_and_inverse_of_a_turned_solution_undo_each_other(dim: int, both: Any) -> None:
    ot = both(SHAPES[dim])[1]
    x = np.random.default_rng(0).random((200, dim))
    np.testing.assert_allclose(ot.inverse(ot.map(x)), x, atol=1e-7)
    centres = ot.problem.source.grid
    mapped = ot.map(centres.points).T.reshape(dim, *centres.shape)
    np.testing.assert_array_equal(mapped, ot.gradient)


def test_turned_potential_has_the_turned_gradient(both: Any) -> None:
    errors = []
    for shape in ((40, 44), (80, 88)):
        ot = both(shape)[1]
        inner = (slice(1, -1), slice(1, -1))
        differences = np.gradient(ot.potential, *ot.problem.source.grid.spacing)
        gaps = [d[inner] - g[inner] for d, g in zip(differences, ot.gradient, strict=True)]
        errors.append(np.abs(gaps).max())
    assert errors[1] < 2e-3 and errors[0] / errors[1] > 3


@DIMS
def test_turned_mass_constant_is_that_of_its_residual(dim: int, both: Any) -> None:
    ot = both(SHAPES[dim])[1]
    # superbases are found anew, and are not always the same at corners and in three dimensions
    np.testing.assert_allclose(ot.residual, ot.mass_constant, atol=1e-8 if dim == 1 else 5e-4)


def test_residual_of_what_solves_nothing_is_that_of_the_other_direction() -> None:
    problem = _problem((64, 70))
    back = problem.swapped()
    phi = np.zeros(back.source.shape)
    for x in back.source.grid.coordinates():
        phi += 0.03 * np.cos(np.pi * (x + 1) / 2)
    ot = pma.Transport.of_solution(problem, Solution(back, phi, Raised(back), True, 0.25))
    direct = pma.Transport.from_potential(problem, ot.potential)
    assert ot.mass_constant == -0.25
    assert np.ptp(ot.residual) > 1
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ot.residual[inner], direct.residual[inner], atol=2e-2)
    law = Sampler(ot).density.values / Sampler(direct).density.values
    np.testing.assert_allclose(law[inner], 1, atol=3e-2)


@DIMS
def test_turned_sampler_has_the_law_of_the_data(dim: int, both: Any) -> None:
    ot = both(SHAPES[dim])[1]
    law = Sampler(ot).density.values
    np.testing.assert_allclose(law, ot.problem.source.values, rtol=1e-3)
    x, y = ot.sample(2000, seed=1)
    np.testing.assert_array_equal(x, ot.problem.source.sample(2000, 1))
    np.testing.assert_array_equal(y, ot.map(x))


def test_peaks_are_reached_from_every_face() -> None:
    """From uniform to a peak, cells along faces have images of many cells; solved from the peak."""
    n, width = 128, 0.1
    x = (np.arange(n) + 0.5) / n
    line = np.exp(-0.5 * ((x - 0.5) / width) ** 2)
    ot = _turned(pma.Problem(np.ones((n, n)), np.outer(line, line)))
    cumulative = np.concatenate([[0.0], np.cumsum(line) / line.sum()])
    exact = np.interp(x, cumulative, np.arange(n + 1) / n)
    assert np.abs(ot.gradient[0] - exact[:, None]).max() < 1 / n
    assert np.abs(ot.gradient[1] - exact[None, :]).max() < 1 / n


def _concentrated(n: int, **options: Any) -> pma.Transport:
    x = (np.arange(n) + 0.5) / n - 0.5
    line = np.exp(-0.5 * (x / 0.05) ** 2)
    return pma.solve(pma.Problem(np.outer(line, line), np.ones((n, n))), **options)


def test_softened_data_are_those_of_hessian_residual_and_interpolation(tmp_path: Path) -> None:
    ot = _concentrated(32)
    assert ot.status is pma.Status.CONVERGED
    ot.save(tmp_path / "ot.npz")
    for found in (ot, pma.load(tmp_path / "ot.npz")):
        matrices = np.moveaxis(found.hessian, (0, 1), (-2, -1))
        assert np.linalg.eigvalsh(matrices).min() > 0
        masses = ot.problem.source.values / ot.problem.source.values.sum()
        wrong = (masses * np.abs(found.residual - found.mass_constant)).sum()
        assert wrong < 1e-3
        assert np.isfinite(found.interpolate(0.5).values).all()
        assert Sampler(found).density.values.min() > 0


@dataclass(frozen=True)
class Part:
    """Densities of parts of the boxes, with a floor."""

    problem: pma.Problem
    crop: tuple[Crop, Crop]

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        sides = self.problem.source, self.problem.target
        grids = [cut(d.grid, c) for d, c in zip(sides, self.crop, strict=True)]
        parts = [
            pma.Density(d.values[c], g)
            for d, c, g in zip(sides, self.crop, grids, strict=True)
        ]  # fmt: skip
        return parts[0].relative, parts[1].relative

    @property
    def floors(self) -> dict[str, Any]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "part", "crop": [[[c.start, c.stop] for c in side] for side in self.crop]}

    @classmethod
    def of(cls, problem: pma.Problem, meta: dict[str, Any]) -> "Part":
        crops = [tuple(slice(*ends) for ends in side) for side in meta["crop"]]
        return cls(problem, (crops[0], crops[1]))


def _gaussian(centre: float, width: float, *x: np.ndarray) -> np.ndarray:
    logs = -0.5 * np.sum([((one - centre) / width) ** 2 for one in x], axis=0)
    return np.asarray(logs)


def _cut_transport(turned: bool, dim: int) -> pma.Transport:
    """Between two peaks in boxes of eight widths, solved on parts of five by the affine map."""
    sides = []
    for centre, width in ((-0.3, 1.0), (0.4, 1.3)):
        ends = centre - 8 * width, centre + 8 * width
        grid = pma.Grid((40,) * dim, *((end,) * dim for end in ends))
        sides.append(pma.Density.from_log(partial(_gaussian, centre, width), grid, quadrature=4))
    problem, crop = pma.Problem(*sides), (slice(7, 33),) * dim
    solution = Solution(problem, np.zeros((26,) * dim), Part(problem, (crop, crop)), turned)
    return pma.Transport.of_solution(problem.swapped() if turned else problem, solution)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dim", [1, 2])
def test_cut_boxes_are_those_of_the_equation(turned: bool, dim: int, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setitem(solutions.KINDS, "part", Part.of)
    ot = _cut_transport(turned, dim)
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    for name in ("potential", "gradient", "residual", "hessian", "w2"):
        np.testing.assert_array_equal(getattr(again, name), getattr(ot, name))
    masses = ot.problem.source.values / ot.problem.source.values.sum()
    matrices = np.moveaxis(ot.hessian, (0, 1), (-2, -1))
    stretch = 1 / 1.3 if turned else 1.3
    np.testing.assert_allclose(matrices - stretch * np.eye(dim), 0, atol=1e-9)
    assert (masses * np.abs(ot.residual)).sum() < 1e-9
    assert ot.w2 == pytest.approx(np.sqrt(dim * (0.7**2 + 0.3**2)), rel=1e-5)
    x = ot.problem.source.grid.points
    np.testing.assert_allclose(ot.inverse(ot.map(x)), x, atol=1e-6)
    between = ot.interpolate(0.5)
    assert between.mean() == pytest.approx(np.full(dim, 0.05), abs=1e-4)


def test_finer_solutions_are_read_on_the_grids_as_given(tmp_path: Path) -> None:
    problem = _problem((10, 12))
    fine = pma.Problem(
        problem.source.resampled(pma.Grid((30, 24))),
        problem.target.resampled(pma.Grid((42, 32), -1.0 * np.ones(2), np.ones(2))),
    )
    solved = pma.solve(fine)
    ot = pma.Transport.of_solution(problem, solved.solution, status=solved.status)
    assert ot.w2 == solved.w2
    points = np.random.default_rng(0).random((40, 2))
    np.testing.assert_array_equal(ot.map(points), solved.map(points))
    assert ot.potential.shape == ot.residual.shape == (10, 12)
    assert ot.gradient.shape == (2, 10, 12) and ot.hessian.shape == (2, 2, 10, 12)
    # centres of three cells in a row are one of theirs, of two the face between them
    there = solved.potential[1::3]
    expected = 0.5 * (there[:, ::2] + there[:, 1::2])
    difference = ot.potential - expected
    np.testing.assert_allclose(difference, difference[0, 0], atol=2e-3)
    np.testing.assert_allclose(ot.residual, ot.mass_constant, atol=1e-3)
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    assert again.w2 == ot.w2 and again.solution.problem.source.shape == (30, 24)
    np.testing.assert_array_equal(again.hessian, ot.hessian)


@pytest.mark.parametrize("turned", [False, True])
def test_files_give_the_same_bits(turned: bool, both: Any, tmp_path: Path) -> None:
    ot = both((20, 22))[turned]
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    assert again.w2 == ot.w2 and again.mass_constant == ot.mass_constant
    assert again.averaged == ot.averaged and again.solution.turned == turned
    for name in ("potential", "gradient", "residual", "hessian"):
        np.testing.assert_array_equal(getattr(again, name), getattr(ot, name))


def test_potentials_keep_their_bits_and_their_constant(tmp_path: Path) -> None:
    problem = _problem((12, 14))
    u = problem.source.grid.coordinates().sum(axis=0) ** 2 + 7.0
    ot = pma.Transport.from_potential(problem, u)
    ot.save(tmp_path / "ot.npz")
    np.testing.assert_array_equal(pma.load(tmp_path / "ot.npz").potential, u)
    assert isinstance(ot.solution.working, Raised) and ot.solution.working.crop == (
        whole(problem.source.grid), whole(problem.target.grid),
    )  # fmt: skip


def test_solutions_of_other_problems_are_refused() -> None:
    problem = _problem((12, 14))
    solution = Solution.of(problem, np.zeros((12, 14)))
    with pytest.raises(pma.InvalidInputError, match="box"):
        pma.Transport.of_solution(problem.swapped(), solution)
    disc, grid = pma.Ellipse((0.5, 0.5), axes=0.4), pma.Grid((12, 12))
    target = pma.Density(disc.fractions(grid), grid)
    onto = pma.Problem(np.ones((12, 12)), target, target_domain=disc)
    back = Solution(onto.swapped(), np.zeros((12, 12)), Raised(onto.swapped()), True)
    with pytest.raises(pma.InvalidInputError, match="target_domain"):
        pma.Transport.of_solution(onto, back)


def test_everything_else_reads_turned_and_finer_answers(
    tmp_path: Path, both: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Quality, comparison, pictures and the command line."""
    direct, turned = both((40, 44))
    errors = pma.assess(direct)["push_forward_error"], pma.assess(turned)["push_forward_error"]
    assert max(errors) < 2e-2
    row = pma.compare(direct, turned, names=("direct", "turned"))["turned"]
    assert row.map_l2 < 2e-3 and abs(row.relative_gap) < 1e-4
    few = pma.solve(pma.Problem(np.ones((2, 12)), 1 + np.indices((9, 12)).sum(axis=0)))
    for ot, word in ((turned, "from target to source"), (few, "from source to target")):
        ot.save(tmp_path / "ot.npz")
        plotting.save(plotting.transport(ot), tmp_path / "ot.png")
        capsys.readouterr()
        assert main(["info", str(tmp_path / "ot.npz")]) == 0
        assert word in capsys.readouterr().out
    assert main(["info", str(tmp_path / "ot.npz"), "--json"]) == 0
    equation = json.loads(capsys.readouterr().out)["equation"]
    assert equation["turned"] is False and equation["shapes"][0][1] == 12
    assert equation["shapes"][0][0] >= 8


def _chi_square(points: np.ndarray, density: pma.Density) -> float:
    """Probability of counts as unlikely as those of the points, in groups of ten and more."""
    grid = density.grid
    flat = np.ravel_multi_index(tuple(grid.cell_index(points).T), grid.shape)
    counts = np.bincount(flat, minlength=grid.size)
    expected = density.values.ravel() * grid.cell_volume * len(points)
    order = np.argsort(expected, kind="stable")
    group = np.unique((np.cumsum(expected[order]) // 10).astype(int), return_inverse=True)[1]
    found, wanted = (np.bincount(group, v[order]) for v in (counts, expected))
    wanted = wanted * (found.sum() / wanted.sum())
    return float(stats.chisquare(found, wanted).pvalue)


def _smooth_pair() -> pma.Problem:
    x, y = np.meshgrid(*[(np.arange(64) + 0.5) / 64] * 2, indexing="ij")
    source = 1 + 0.5 * np.cos(np.pi * x) * np.cos(2 * np.pi * y)
    return pma.Problem(source, np.exp(0.8 * np.cos(np.pi * x) + 0.5 * np.cos(np.pi * (x + y))))


def _tails_pair() -> pma.Problem:
    """Gaussians to three widths and more."""
    grid = pma.Grid((64, 64), (-3.0, -3.0), (3.0, 3.0))
    x, y = grid.coordinates()
    pair = (
        np.exp(-0.5 * (x**2 + (y / 0.9) ** 2)),
        np.exp(-0.5 * (((x - 0.3) / 0.8) ** 2 + ((y + 0.2) / 1.1) ** 2)),
    )
    return pma.Problem(*(pma.Density(values, grid) for values in pair))


@pytest.mark.parametrize("make", [_smooth_pair, _tails_pair])
@pytest.mark.parametrize("direction", ["direct", "turned"])
def test_samples_have_the_laws_of_both_ends(make: Any, direction: str) -> None:
    problem = make()
    ot = pma.solve(problem) if direction == "direct" else _turned(problem)
    x, y = ot.sample(40_000, seed=1)
    assert _chi_square(x, problem.source) > 1e-3
    assert _chi_square(y, problem.target) > 1e-3
    wrong = problem.target.grid.lower + 0.97 * (y - problem.target.grid.lower)
    assert _chi_square(wrong, problem.target) < 1e-6, "or nothing would be seen"
