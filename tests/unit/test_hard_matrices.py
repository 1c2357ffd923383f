"""Linear solvers on matrices of extreme rows: stalls, refusals, units, sizes of dense inverses."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.linsolve import GCR, ILU, Handle, Stencil, amg, multigrid
from pma_grid.linsolve.automatic import AutoHandle
from pma_grid.linsolve.multigrid import COARSEST_CELLS, VCycle


def _of_newton(a: np.ndarray, b: np.ndarray, grid: pma.Grid, steps: int) -> Iterator[Evaluation]:
    """Evaluations at the iterates of a damped Newton method with sparse LU, rows counting alike."""
    equation = MongeAmpere.between(
        (pma.Density(a, grid).values, pma.Density(b, grid).values), (grid, grid)
    )
    evaluation = Evaluation(equation)
    evaluation.stencil.equilibration = None
    phi, alpha = np.zeros(grid.shape), 0.0
    for _ in range(steps):
        before = evaluation.evaluate(phi, alpha)
        yield evaluation
        rhs, superbase = evaluation.residual.copy(), evaluation.superbase.copy()
        found = pma.Direct().setup(evaluation.linearise()).solve(rhs, rtol=1e-10)
        direction, size = found.x.reshape(phi.shape), 1.0
        while evaluation.evaluate(phi + size * direction, alpha - size * found.multiplier) > before:
            evaluation.restart(superbase)
            size *= 0.5
        phi, alpha = phi + size * direction, alpha - size * found.multiplier


def _spot(n: int, floor: float) -> tuple[np.ndarray, np.ndarray, pma.Grid]:
    """A narrow Gaussian, the uniform density, and their grid."""
    grid = pma.Grid((n, n))
    x, y = grid.coordinates() - 0.5
    return np.exp(-0.5 * (x**2 + y**2) / 0.05**2) + floor, np.ones(grid.shape), grid


def _matrix(n: int = 40) -> Stencil:
    """The first matrix between a bump and the uniform density."""
    grid = pma.Grid((n, n))
    x, y = grid.coordinates()
    evaluation = next(_of_newton(np.exp(np.sin(3 * x) + y), np.ones((n, n)), grid, 1))
    return evaluation.linearise()


def _scaled(stencil: Stencil, factor: float | np.ndarray) -> Stencil:
    """The matrix with its rows times a factor."""
    rows = np.broadcast_to(factor, stencil.gauge.shape)
    return replace(
        stencil, weights=stencil.weights * rows[:, None], drift=stencil.drift * rows[:, None],
        gauge=stencil.gauge * rows, row_scale=stencil.row_scale / rows,
    )  # fmt: skip


def test_gmres_does_not_stall_where_gcr_does() -> None:
    """A Gaussian of three cells onto the uniform law: rows differ by a million."""
    stalled, counts = 0, []
    for evaluation in _of_newton(*_spot(48, 1e-6), 5):
        stencil, rhs = evaluation.linearise(), evaluation.residual.copy()
        handle = pma.AMG().setup(stencil)
        result = handle.solve(rhs, rtol=0.1)
        counts.append(result.iterations)
        assert result.converged
        alone = GCR(rhs.size).solve(stencil, rhs, handle.precondition, rtol=0.1, max_iterations=60)
        stalled += not alone.converged
        # incomplete factors are better still, and costlier
        assert ILU().setup(stencil).solve(rhs, rtol=0.1).iterations <= 4
    assert max(counts) <= 8
    assert stalled >= 2


def test_what_a_failing_cycle_left_is_not_gone_on_with() -> None:
    """GMRES begins at zero where the solve before reduced the residual by little."""
    stencil = _matrix()
    rhs = np.random.default_rng(0).normal(size=stencil.lattice.size)
    fresh = pma.AMG().setup(stencil).solve(rhs, rtol=1e-3)
    for left, same in ((0.9, True), (1e-2, False)):
        poor = replace(fresh, x=np.full(rhs.size, 1e9) + rhs, relative_residual=left, iterations=7)
        result = pma.AMG().setup(stencil).solve(rhs, rtol=1e-3, progress=poor)
        assert np.array_equal(result.x, fresh.x) == same
        assert result.iterations >= 7 + fresh.iterations


def test_gmres_respects_the_iterations_allowed() -> None:
    stencil = _matrix()
    rhs = np.random.default_rng(0).normal(size=stencil.lattice.size)
    for most in (1, 3, 23):
        result = _useless(stencil).solve(rhs, rtol=1e-14, max_iterations=most)
        assert result.iterations == most and not result.converged


def test_unknown_hierarchies_are_refused() -> None:
    with pytest.raises(pma.InvalidInputError, match="method is 'classical'; it must be one of"):
        pma.AMG(method="classical")  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_preconditioner_beyond_its_range_ends_the_solve(
    steps: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """What came before is kept, and nothing is printed by what meets the infinities."""
    stencil, calls = _matrix(), []

    def overflowing(residual: np.ndarray, out: np.ndarray) -> None:
        calls.append(1)
        out[:] = residual if len(calls) <= steps else np.inf

    rhs = np.random.default_rng(0).normal(size=stencil.lattice.size)
    with np.errstate(all="ignore"):
        result = Handle("none", stencil, overflowing, None, robust=True).solve(rhs, rtol=1e-3)
    assert not result.converged and np.isfinite(result.x).all()
    assert capfd.readouterr() == ("", "")


def _useless(stencil: Stencil) -> Handle:
    """GMRES without preconditioning."""

    def copied(residual: np.ndarray, out: np.ndarray) -> None:
        out[:] = residual

    return Handle("none", stencil, copied, None, robust=True)


def test_a_solve_that_amg_cannot_do_either_ends_with_ilu() -> None:
    """Two narrow ridges across one another: anisotropy along no axis, which turns."""
    n = 64
    grid = pma.Grid((n, n), (-4.0, -4.0), (4.0, 4.0))
    x, y = grid.coordinates()
    one, other = (
        np.exp(-0.5 * (x * x - 2 * r * x * y + y * y) / (1 - r * r)) + 1e-5 for r in (0.99, -0.99)
    )
    names = set()
    for evaluation in _of_newton(one, other, grid, 8):
        handle = pma.Auto().setup(evaluation.linearise())
        rhs = evaluation.residual.copy()
        result = handle.solve(rhs, rtol=0.1)
        assert result.converged
        assert isinstance(handle, AutoHandle)
        assert sum(handle.shares) == result.iterations and handle.shares[-1] <= 12
        names.add(handle.name)
    assert "multigrid->amg->ilu" in names


@pytest.mark.parametrize("power", [-900, -120, -30, 30, 120, 900])
def test_multigrid_does_not_depend_on_the_unit(power: int) -> None:
    """The same cycle for the matrix times a power of two, far beyond single precision."""
    stencil = _matrix()
    rhs = np.random.default_rng(0).normal(size=stencil.lattice.size)
    plain, scaled = np.empty_like(rhs), np.empty_like(rhs)
    pma.Multigrid().setup(stencil).precondition(rhs, plain)
    unit = 2.0**power
    pma.Multigrid().setup(_scaled(stencil, unit)).precondition(rhs, scaled)
    np.testing.assert_array_equal(scaled * unit, plain)


@pytest.mark.parametrize("decades", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("seed", range(3))
def test_no_grid_of_many_cells_is_inverted(decades: int, seed: int) -> None:
    """Rows of any size: the hierarchy goes down to a few cells, and Auto solves."""
    stencil = _matrix(48)
    rng = np.random.default_rng(seed)
    rows = 10.0 ** rng.uniform(-decades, decades, stencil.lattice.size)
    wild = _scaled(stencil, rows)
    wild.equilibration = 1 / rows
    handle = pma.Auto().setup(wild)
    if decades <= 8:
        assert isinstance(handle.precondition, VCycle)
        assert handle.precondition.levels[-1].lattice.size <= COARSEST_CELLS
    else:
        assert handle.name == "amg"
        with pytest.raises(ArithmeticError, match=r"too far apart for multigrid.*AMG"):
            pma.Multigrid().setup(wild)
    rhs = rows * rng.normal(size=stencil.lattice.size)
    assert handle.solve(rhs, rtol=1e-6, max_iterations=300).converged


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_matrices_that_are_no_numbers_are_refused(bad: float) -> None:
    """By every solver but the direct one, at once; so Auto refuses them."""
    stencil = _matrix()
    stencil.weights[7, 1] = bad
    for solver in (pma.Multigrid(), pma.AMG(), pma.AMG("smoothed_aggregation"), ILU(), pma.Auto()):
        with pytest.raises(ArithmeticError):
            solver.setup(stencil)


def test_tensors_that_single_precision_cannot_hold_end_in_few_cells_too() -> None:
    """Strengths that are no numbers: all axes are halved."""
    shapes, shape = [], (37, 50)
    strengths = np.full((9, 2), np.nan)
    following: tuple[int, ...] | None = shape
    while following is not None:
        shapes.append(following)
        following = multigrid._coarser(following, strengths)
    assert shapes[1] == (19, 25)
    assert np.prod(shapes[-1]) <= COARSEST_CELLS
    assert multigrid._coarser(shape, np.zeros((9, 2))) == (19, 25)
    assert multigrid._coarser(shape, np.array([[1.0, 1e-3], [np.inf, 1.0]])) == (19, 25)


def test_no_inverse_is_large_in_a_solve_of_high_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a hierarchy, geometric or algebraic, also while Newton's method fails."""
    sizes = []
    inverse, build = multigrid._pseudo_inverse, amg.AMG._build

    def watched(level: multigrid._Level, reaction: float) -> np.ndarray:
        sizes.append(level.lattice.size)
        return inverse(level, reaction)

    def built(solver: pma.AMG, stencil: Stencil) -> amg.Cycle:
        cycle = build(solver, stencil)
        sizes.append(cycle.hierarchy.levels[-1].A.shape[0])
        return cycle

    monkeypatch.setattr(multigrid, "_pseudo_inverse", watched)
    monkeypatch.setattr(amg.AMG, "_build", built)
    grid = pma.Grid((64, 64))
    x, y = grid.coordinates()
    rng = np.random.default_rng(0)
    block = 1 + 0.5 * np.cos(np.pi * x) * np.cos(np.pi * y)
    block[16:32, 16:32] = 1e-12
    wild = np.exp(20 * rng.normal(size=grid.shape))
    for pair in ((block, rng.random(grid.shape) + 1e-3), (wild, np.ones(grid.shape))):
        problem = pma.Problem(*(pma.Density(values, grid) for values in pair))
        with suppress(pma.ConvergenceError):
            pma.solve(problem, fallback=False)
    assert len(sizes) > 10
    assert max(sizes) <= amg.MOST_CELLS_LEFT


def test_amg_refuses_to_invert_what_it_cannot_coarsen() -> None:
    """A matrix without couplings: nothing is strong, and the first grid is the last."""
    stencil = _matrix()
    stencil.weights[:], stencil.drift[:], stencil.gauge[:] = 0.0, 0.0, 1.0
    stencil.reaction = 2.0
    with pytest.raises(ArithmeticError, match="stopped at 1600 cells"):
        pma.AMG().setup(stencil)
    rhs = np.random.default_rng(0).normal(size=1600)
    handle = pma.Auto().setup(stencil)
    result = handle.solve(rhs, rtol=1e-12)
    assert handle.name == "ilu" and result.iterations == 1
    np.testing.assert_allclose(result.x - result.x.mean(), (rhs - rhs.mean()) / -2, atol=1e-10)


def test_large_grids_are_not_factorised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pma.linsolve.ilu.MOST_CELLS, 2, 1599)
    with pytest.raises(ArithmeticError, match="1600 cells is too large.*AMG"):
        ILU().setup(_matrix())


class Impatient(pma.Auto):
    """Auto that goes on to the next solver after one iteration."""

    def patience_for(self, rtol: float) -> int:
        return 1


def test_a_slow_amg_goes_on_where_nothing_can_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pma.linsolve.ilu.MOST_CELLS, 2, 100)
    stencil = _matrix()
    rhs = np.random.default_rng(0).normal(size=stencil.lattice.size)
    handle = Impatient().setup(stencil)
    result = handle.solve(rhs, rtol=1e-7)
    assert result.converged and handle.name == "multigrid->amg"
    assert isinstance(handle, AutoHandle) and handle.shares == [1, 1, result.iterations - 2]


@pytest.mark.parametrize("side", [1.0, 0.1, 0.01, 0.001])
def test_flat_boxes_are_solved_as_square_ones_are(side: float) -> None:
    """Diffusion a million times as strong along one axis: as `Direct` says, in few iterations."""
    n = 64
    grid = pma.Grid((n, n), (0.0, 0.0), (1.0, side))
    x, y = grid.coordinates() / np.array([1.0, side])[:, None, None]
    problem = pma.Problem(
        pma.Density(np.exp(np.sin(3 * x) + y), grid), pma.Density(np.exp(np.cos(2 * y) * x), grid)
    )
    by_default = pma.solve(problem, fallback=False)
    exact = pma.solve(problem, fallback=False, linear_solver=pma.Direct())
    assert by_default.w2 == pytest.approx(exact.w2, rel=1e-6)
    assert max(level["linear"] for level in by_default.stats["levels"]) <= 40
