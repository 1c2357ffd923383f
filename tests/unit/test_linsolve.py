"""Linear solvers: known answers in every shape, iteration counts, what is kept between solves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.sums import MARGIN
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.grid import lattice as kernels
from pma_grid.kernels.grid import vectors
from pma_grid.linsolve import ILU, Handle, LinearSolver, Stencil
from pma_grid.linsolve.automatic import AutoHandle

COUNT = {1: 1, 2: 3, 3: 6}
PACKED = {1: [(0, 0)], 2: [(0, 0), (0, 1), (1, 1)]}
PACKED[3] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


def _stencil(
    shape: tuple[int, ...],
    *,
    spacing: tuple[float, ...] | None = None,
    drift: float = 0.3,
    seed: int = 0,
) -> Stencil:
    """Diffusion in rows divided by a smooth density, and a smooth drift."""
    rng = np.random.default_rng(seed)
    dim = len(shape)
    h = np.array(spacing or [1.0] * dim)
    x = [(i.ravel() + 0.5) / m for i, m in zip(np.indices(shape), shape, strict=True)]
    log_density = sum(0.5 * rng.normal() * np.cos(np.pi * c) for c in x)
    tensor = np.broadcast_to(np.diag(h.min() ** 2 / h**2), (x[0].size, dim, dim))
    winds = [rng.normal() * np.sin(np.pi * c) / m for c, m in zip(x, shape, strict=True)]
    return _assembled(
        Lattice(shape), tensor, drift * np.stack(winds, axis=1),
        1 / (1 + 0.3 * np.cos(np.pi * x[0])), np.exp(np.asarray(log_density)),
    )  # fmt: skip


def _assembled(
    lattice: Lattice, tensor: np.ndarray, drift: np.ndarray, gauge: np.ndarray, scale: np.ndarray
) -> Stencil:
    """The Selling stencils of diffusion tensors (N, d, d)."""
    n, dim = lattice.size, lattice.dim
    packed = np.stack([tensor[:, i, j] for i, j in PACKED[dim]], axis=1)
    vectors = np.empty((n, COUNT[dim], dim), np.int8)
    weights, offsets = np.empty((n, COUNT[dim])), np.empty((n, COUNT[dim]), np.int32)
    DIMENSION[dim].decompose(packed, lattice.halo, vectors, weights)
    kernels.link(vectors, lattice.strides, offsets)
    return Stencil(lattice, vectors, offsets, weights, drift, gauge, scale)


def _turning(n: int, core: float) -> Stencil:
    """Cofactors of the Hessian of (core^2 + |x - x0|^2)^(1/2): anisotropic in every direction.

    The rows of a cofactor matrix are divergence-free, so that the operator is nearly symmetric.
    """
    lattice = Lattice((n, n))
    x = ((np.indices((n, n)).reshape(2, -1).T + 0.5) / n) - 0.4
    r = np.sqrt(core**2 + (x**2).sum(axis=1))[:, None, None]
    hessian = np.eye(2) / r - x[:, :, None] * x[:, None, :] / r**3
    tensor = np.linalg.inv(hessian) * np.linalg.det(hessian)[:, None, None]
    return _assembled(lattice, tensor, np.zeros_like(x), np.ones(n * n), np.ones(n * n))


def _known(stencil: Stencil, seed: int = 1) -> tuple[np.ndarray, np.ndarray, float]:
    """A right side, the solution of mean zero and its multiplier."""
    rng = np.random.default_rng(seed)
    shape = stencil.lattice.shape
    x = np.zeros(shape)
    for i, m in zip(np.indices(shape), shape, strict=True):
        x += rng.normal() * np.cos(np.pi * (i + 0.5) / m) + 0.2 * np.cos(3 * np.pi * (i + 0.5) / m)
    flat = (x + 0.05 * rng.normal(size=shape)).ravel()
    flat -= flat.mean()
    rhs = np.empty_like(flat)
    stencil.apply(flat, rhs)
    return rhs + 0.37 * stencil.gauge, flat, 0.37


def _check(stencil: Stencil, solver: LinearSolver, rtol: float, *, accurate: float) -> str:
    """Solve, compare with the known answer, return the name of what solved."""
    rhs, x, multiplier = _known(stencil)
    before = rhs.copy()
    handle = solver.setup(stencil)
    result = handle.solve(rhs, rtol=rtol, max_iterations=200)
    np.testing.assert_array_equal(rhs, before)
    assert result.converged and result.relative_residual <= rtol
    shares = handle.shares if isinstance(handle, AutoHandle) else [handle.iterations]
    assert sum(shares) == result.iterations > 0
    left = np.empty_like(rhs)
    stencil.apply(result.x, left)
    left += result.multiplier * stencil.gauge - rhs
    gauge = stencil.gauge
    size = np.linalg.norm(rhs - (gauge @ rhs) / (gauge @ gauge) * gauge)
    # what the iteration says is what the equation says
    assert np.linalg.norm(left) <= 1.01 * rtol * size + 1e-12
    error = result.x - result.x.mean() - x
    assert np.linalg.norm(error) < accurate * np.linalg.norm(x)
    assert result.multiplier == pytest.approx(multiplier, abs=accurate)
    return handle.name


SHAPES = [(64,), (31,), (2,), (12, 17), (23, 1), (1, 23), (2, 9), (31, 37), (40, 8), (7, 8, 9),
          (11, 1, 13), (5, 16, 3)]  # fmt: skip
SOLVERS: dict[str, LinearSolver] = {
    "direct": pma.Direct(),
    "multigrid": pma.Multigrid(),
    "two sweeps": pma.Multigrid(sweeps=2),
    "auto": pma.Auto(),
    "rs": pma.AMG(),
    "ilu": ILU(),
    "sa": pma.AMG("smoothed_aggregation"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_known_solution_in_any_shape(name: str, shape: tuple[int, ...]) -> None:
    stencil = _stencil(shape)
    _check(stencil, SOLVERS[name], 1e-9, accurate=1e-6)


@pytest.mark.parametrize("name", ["direct", "auto", "rs"])
@pytest.mark.parametrize("spacing", [(1.0, 3.0), (5.0, 1.0)])
def test_known_solution_on_anisotropic_cells(name: str, spacing: tuple[float, float]) -> None:
    _check(_stencil((36, 29), spacing=spacing), SOLVERS[name], 1e-9, accurate=1e-5)


def test_names_say_what_solves() -> None:
    line, square = _stencil((20,)), _stencil((16, 16))
    assert pma.Auto().setup(line).name == "direct"
    assert pma.Auto().setup(square).name == "multigrid"
    assert pma.Multigrid().setup(square).name == "multigrid"
    assert pma.AMG().setup(square).name == "amg"
    assert pma.Direct().setup(square).name == "direct"


@pytest.mark.parametrize("shape", [(30,), (14, 13), (6, 7, 5)])
def test_direct_needs_one_iteration(shape: tuple[int, ...]) -> None:
    stencil = _stencil(shape)
    rhs, _, _ = _known(stencil)
    assert pma.Direct().setup(stencil).solve(rhs, rtol=1e-10).iterations == 1


def test_zero_right_side_and_pure_gauge_need_no_iteration() -> None:
    stencil = _stencil((9, 8))
    handle = pma.Multigrid().setup(stencil)
    zero = handle.solve(np.zeros(72), rtol=1e-6)
    assert zero.iterations == 0 and not zero.x.any()
    # rounding is all that is left of it: any number of iterations is wasted
    gauge = handle.solve(2.0 * stencil.gauge, rtol=0.5, max_iterations=1)
    assert gauge.multiplier == pytest.approx(2.0, abs=1e-12)
    assert np.abs(gauge.x).max() < 1e-12


def _multigrid_count(shape: tuple[int, ...], rtol: float) -> int:
    stencil = _stencil(shape)
    rhs, _, _ = _known(stencil)
    result = pma.Multigrid().setup(stencil).solve(rhs, rtol=rtol, max_iterations=60)
    assert result.converged
    return int(result.iterations)


def test_multigrid_counts_do_not_grow_with_the_grid() -> None:
    counts = {n: _multigrid_count((n, n), 1e-6) for n in (64, 128)}
    assert counts[64] <= 12 and counts[128] <= 12
    assert abs(counts[128] - counts[64]) <= 2


@pytest.mark.parametrize("shape", [(61, 67), (127, 33), (16, 16, 16), (17, 19, 13)])
def test_multigrid_counts_on_odd_shapes(shape: tuple[int, ...]) -> None:
    assert _multigrid_count(shape, 1e-6) <= 12


def test_semi_coarsening_keeps_counts_on_stretched_cells() -> None:
    stencil = _stencil((64, 64), spacing=(1.0, 8.0))
    rhs, _, _ = _known(stencil)
    handle = pma.Multigrid().setup(stencil)
    assert handle.solve(rhs, rtol=1e-6).iterations <= 12


@dataclass(frozen=True)
class Patient(pma.Auto):
    """Auto that waits for so many cycles, whatever the reduction asked for."""

    def patience_for(self, rtol: float) -> int:
        return int(self.patience)


def test_auto_waits_for_every_digit() -> None:
    auto = pma.Auto(patience=12)
    assert [auto.patience_for(r) for r in (0.5, 0.1, 1e-2, 1e-8, 0.0)] == [12, 12, 24, 96, 192]


def test_auto_leaves_a_slow_multigrid_for_amg() -> None:
    stencil = _turning(64, 0.05)
    rhs, _, _ = _known(stencil)
    slow = pma.Multigrid().setup(stencil).solve(rhs, rtol=1e-8, max_iterations=300)
    solver = Patient(patience=12)
    assert slow.iterations > 12
    handle = solver.setup(stencil)
    assert handle.name == "multigrid"
    result = handle.solve(rhs, rtol=1e-8, max_iterations=200)
    assert handle.name == "multigrid->amg"
    assert result.converged and result.iterations < slow.iterations
    assert _check(stencil, solver, 1e-8, accurate=1e-4) == "multigrid->amg"


def test_auto_continues_the_solve_it_began() -> None:
    """The iterations of all preconditioners add up, and the answer is that of the whole."""
    stencil = _stencil((24, 20))
    handle = Patient(patience=1).setup(stencil)
    rhs, x, _ = _known(stencil)
    result = handle.solve(rhs, rtol=1e-10, max_iterations=100)
    assert handle.name == "multigrid->amg->ilu"
    assert isinstance(handle, AutoHandle)
    assert handle.shares == [1, 1, result.iterations - 2]
    np.testing.assert_allclose(result.x - result.x.mean(), x, atol=1e-7 * np.abs(x).max())
    # the later solves of the same grid begin with what was in charge
    later = Patient(patience=1).setup(stencil, handle)
    assert later.name == "ilu"
    assert later.precondition is handle.precondition
    # another grid begins with multigrid again
    other = _stencil((25, 20))
    assert Patient(patience=1).setup(other, later).name == "multigrid"


def test_auto_does_not_begin_again_with_amg() -> None:
    """Multigrid one iteration short of the goal: AMG has a step or two left to do."""
    stencil = _stencil((40, 36))
    rhs, _, _ = _known(stencil)
    alone = pma.Multigrid().setup(stencil).solve(rhs, rtol=1e-9)
    assert alone.iterations > 5
    handle = Patient(patience=alone.iterations - 1).setup(stencil)
    result = handle.solve(rhs, rtol=1e-9)
    assert handle.name == "multigrid->amg"
    assert result.converged
    assert alone.iterations <= result.iterations <= alone.iterations + 2


def test_auto_respects_the_iterations_allowed() -> None:
    stencil = _stencil((24, 20))
    rhs, _, _ = _known(stencil)
    handle = pma.Auto().setup(stencil)
    result = handle.solve(rhs, rtol=1e-12, max_iterations=2)
    assert result.iterations == 2 and not result.converged
    assert handle.name == "multigrid"


def test_amg_keeps_its_hierarchy_until_it_is_stale() -> None:
    stencil = _stencil((32, 32))
    rhs, _, _ = _known(stencil)
    solver = pma.AMG()
    first = solver.setup(stencil)
    first.solve(rhs, rtol=1e-6)
    second = solver.setup(stencil, first)
    assert second.precondition is first.precondition
    assert second.gcr is first.gcr
    second.solve(rhs, rtol=1e-6)
    assert second.iterations == first.iterations
    assert pma.AMG(lag=False).setup(stencil, first).precondition is not first.precondition
    # more than twice the iterations of the first solve: rebuilt
    second.iterations = 2 * first.iterations + 1
    assert solver.setup(stencil, second).precondition is not first.precondition
    # and never carried to another grid
    assert solver.setup(_stencil((32, 32)), first).precondition is not first.precondition


def test_lagged_hierarchy_still_solves_the_new_equation() -> None:
    old = _stencil((30, 31), seed=0)
    changed = _stencil((30, 31), seed=5)
    new = Stencil(
        old.lattice, changed.vectors, changed.offsets, changed.weights, changed.drift,
        changed.gauge, changed.row_scale,
    )  # fmt: skip
    solver = pma.AMG()
    first = solver.setup(old)
    first.solve(_known(old)[0], rtol=1e-6)
    handle = solver.setup(new, first)
    assert handle.precondition is first.precondition
    rhs, x, _ = _known(new)
    result = handle.solve(rhs, rtol=1e-10, max_iterations=100)
    np.testing.assert_allclose(result.x - result.x.mean(), x, atol=1e-6 * np.abs(x).max())


def _levels(handle: Handle) -> Any:
    precondition: Any = handle.precondition
    return precondition.levels


def test_multigrid_reuses_its_arrays_for_the_same_lattice_only() -> None:
    stencil = _stencil((40, 36))
    solver = pma.Multigrid()
    first = solver.setup(stencil)
    second = solver.setup(stencil, first)
    assert _levels(second) is _levels(first)
    assert second.gcr is first.gcr
    third = solver.setup(_stencil((40, 36)), second)
    assert _levels(third) is not _levels(first)
    assert third.gcr is not first.gcr


@pytest.mark.parametrize("name", ["multigrid", "auto", "rs"])
def test_strong_drift_is_solved(name: str) -> None:
    _check(_stencil((40, 37), drift=8.0), SOLVERS[name], 1e-8, accurate=1e-4)


def test_solves_repeat_bit_for_bit() -> None:
    stencil = _stencil((33, 31))
    rhs, _, _ = _known(stencil)
    handle = pma.Multigrid().setup(stencil)
    first = handle.solve(rhs, rtol=1e-8)
    # buffers of the first solve must not leak into the second
    second = handle.solve(rhs, rtol=1e-8)
    np.testing.assert_array_equal(first.x, second.x)
    assert first.iterations == second.iterations


# The reaction c of implicit time steps: (J - c) x + multiplier = rhs.

REACTIONS = [1e-6, 1e-2, 1.0, 100.0, 1e4, 1e8]


def _reacting(shape: tuple[int, ...], reaction: float, seed: int = 0) -> Stencil:
    """As `_stencil`, with a reaction and the constant gauge that it needs."""
    stencil = _stencil(shape, seed=seed)
    stencil.gauge = np.ones(stencil.lattice.size)
    stencil.reaction = reaction
    return stencil


@pytest.mark.parametrize("reaction", [1e-6, 3.0, 1e8])
@pytest.mark.parametrize("shape", [(1,), (9,), (1, 7), (6, 5), (3, 4, 2)])
def test_reaction_in_apply_and_matrix_agree(shape: tuple[int, ...], reaction: float) -> None:
    plain, stencil = _stencil(shape), _reacting(shape, reaction)
    q = np.random.default_rng(2).normal(size=stencil.lattice.size)
    out, without = np.empty_like(q), np.empty_like(q)
    stencil.apply(q, out)
    plain.apply(q, without)
    np.testing.assert_allclose(out, without - reaction * q, rtol=1e-13)
    np.testing.assert_allclose(stencil.matrix() @ q, out, rtol=1e-12, atol=1e-13)
    # a reaction takes constants to -c times them
    stencil.apply(np.ones_like(q), out)
    np.testing.assert_allclose(out, -reaction, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(64,), (37, 31), (1, 23), (2, 9), (7, 11, 5), (1, 13, 1)])
@pytest.mark.parametrize("name", SOLVERS)
def test_reaction_of_any_size_is_solved(name: str, shape: tuple[int, ...]) -> None:
    """Known solution and multiplier, in a bounded number of iterations over 14 decades of c."""
    for reaction in REACTIONS:
        stencil = _reacting(shape, reaction)
        rhs, x, multiplier = _known(stencil)
        result = SOLVERS[name].setup(stencil).solve(rhs, rtol=1e-8)
        assert result.converged and 1 <= result.iterations <= 10, reaction
        mean = result.x.mean()
        error = np.linalg.norm(result.x - mean - x)
        assert error < 1e-6 * np.linalg.norm(x), reaction
        # a constant c in x and a multiplier c m are the same: only their sum is determined
        assert result.multiplier - reaction * mean == pytest.approx(multiplier, abs=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_one_cell_has_nothing_to_solve(name: str) -> None:
    for shape in ((1,), (1, 1), (1, 1, 1)):
        stencil = _reacting(shape, 2.0)
        result = SOLVERS[name].setup(stencil).solve(np.array([0.7]), rtol=1e-8)
        assert result.converged and result.iterations == 0
        assert result.multiplier == pytest.approx(0.7) and result.x[0] == 0.0


def test_reaction_does_not_raise_the_multigrid_counts() -> None:
    """The reaction only helps: no more iterations than without it."""
    counts = []
    for reaction in (0.0, 1e-3, 1.0, 1e3):
        stencil = _reacting((61, 67), reaction)
        rhs, _, _ = _known(stencil)
        counts.append(pma.Multigrid().setup(stencil).solve(rhs, rtol=1e-8).iterations)
    assert max(counts) <= counts[0] + 1
    assert counts[-1] <= 4


# Hierarchies kept over successive set-ups.

LAGGED: dict[str, LinearSolver] = {
    "multigrid": pma.Multigrid(lag=True),
    "auto": pma.Auto(first=pma.Multigrid(lag=True)),
    "rs": pma.AMG(),
    "ilu": ILU(),
}
# Set-ups for six equations: pyamg's fresh hierarchy takes three iterations, and one that takes more
# than twice as many is stale.
SETUPS = {"multigrid": 1, "auto": 1, "rs": 2, "ilu": 1}


@pytest.mark.parametrize("name", LAGGED)
def test_lag_keeps_the_hierarchy_while_the_stencil_changes_slowly(name: str) -> None:
    """Six equations that drift by 2 % each: few set-ups, and the answers of fresh hierarchies."""
    solver, handle = LAGGED[name], None
    stencil = _reacting((33, 31), 5.0)
    for step in range(6):
        stencil.weights *= 1.02
        stencil.drift *= 0.98
        stencil.reaction = 5.0 * 1.1**step
        rhs, x, _ = _known(stencil, seed=step)
        handle = solver.setup(stencil, handle)
        result = handle.solve(rhs, rtol=1e-9)
        fresh = solver.setup(stencil).solve(rhs, rtol=1e-9)
        assert result.converged and result.iterations <= 2 * fresh.iterations + 2
        scale = np.abs(x).max()
        np.testing.assert_allclose(result.x - result.x.mean(), x, atol=1e-6 * scale)
        np.testing.assert_allclose(
            result.x - result.x.mean(), fresh.x - fresh.x.mean(), atol=1e-7 * scale
        )
    assert handle is not None and handle.setups <= SETUPS[name]


@pytest.mark.parametrize("name", LAGGED)
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_lag_ends_when_the_reaction_changes_much(name: str, factor: float) -> None:
    solver, stencil = LAGGED[name], _reacting((20, 21), 1.0)
    first = solver.setup(stencil)
    first.solve(_known(stencil)[0], rtol=1e-6)
    stencil.reaction = 1.9
    near = solver.setup(stencil, first)
    assert near.precondition is first.precondition and near.setups == 1
    near.solve(_known(stencil)[0], rtol=1e-6)
    # measured from the reaction that the hierarchy was built for, not from the last one
    stencil.reaction = factor
    far = solver.setup(stencil, near)
    assert far.setups == 2 and far.precondition is not first.precondition
    again = solver.setup(stencil, far)
    assert again.setups == 2 and again.precondition is far.precondition


def test_small_steps_of_the_reaction_add_up() -> None:
    """1, 1.5, 2.25: each within a factor 2 of the last, the third not of the first."""
    solver, stencil, handle = pma.Multigrid(lag=True), _reacting((20, 21), 1.0), None
    setups = []
    for reaction in (1.0, 1.5, 2.25, 3.4):
        stencil.reaction = reaction
        handle = solver.setup(stencil, handle)
        handle.solve(_known(stencil)[0], rtol=1e-6)
        setups.append(handle.setups)
    assert setups == [1, 1, 2, 2]


def test_lag_ends_when_the_iterations_double() -> None:
    solver, stencil = pma.Multigrid(lag=True), _reacting((30, 31), 1e-3)
    rhs = _known(stencil)[0]
    handle = solver.setup(stencil)
    handle.solve(rhs, rtol=1e-6)
    first = handle.first_iterations
    assert first == handle.iterations > 1
    # another equation altogether, to which the old hierarchy is a poor guide
    other = _stencil((30, 31), spacing=(1.0, 6.0), seed=9)
    stencil.vectors[:], stencil.offsets[:] = other.vectors, other.offsets
    stencil.weights[:] = other.weights
    slow = solver.setup(stencil, handle)
    assert slow.setups == 1
    rhs = _known(stencil)[0]
    result = slow.solve(rhs, rtol=1e-6, max_iterations=200)
    assert result.iterations > 2 * first
    rebuilt = solver.setup(stencil, slow)
    assert rebuilt.setups == 2
    assert rebuilt.solve(rhs, rtol=1e-6).iterations < result.iterations


@pytest.mark.parametrize("name", LAGGED)
def test_lagged_hierarchy_owns_its_arrays(name: str) -> None:
    """The stencil's buffers move on with the next evaluation; a built preconditioner must not."""
    stencil = _reacting((24, 20), 1.0)
    handle = LAGGED[name].setup(stencil)
    residual = np.random.default_rng(0).normal(size=480)
    before, after = np.empty(480), np.empty(480)
    handle.precondition(residual, before)
    other = _stencil((24, 20), spacing=(1.0, 5.0), seed=3)
    stencil.vectors[:], stencil.offsets[:] = other.vectors, other.offsets
    stencil.weights[:], stencil.drift[:] = 7.0 * other.weights, 0.0
    stencil.row_scale[:], stencil.reaction = 1.0, 50.0
    handle.precondition(residual, after)
    np.testing.assert_array_equal(before, after)


def test_nothing_that_compiled_code_prints_reaches_the_standard_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    import ctypes

    from pma_grid.linsolve import amg

    libc = ctypes.CDLL(None)
    libc.printf(b"before\n")
    with amg.silent():
        libc.printf(b"Inner denominator was zero.\n")
    libc.printf(b"after\n")
    libc.fflush(None)
    assert capfd.readouterr().out == "before\nafter\n"


@pytest.mark.parametrize("n", [47, 48, 5000])
def test_sums_do_not_depend_on_where_the_heap_puts_vectors(n: int) -> None:
    """Compiled loops that suspect an overlap take another way, and their sums round otherwise."""
    given = np.random.default_rng(1).normal(size=(3, n))

    def begun(name: int, distance: int) -> list[float]:
        memory = np.zeros(4 * n + 2 * abs(distance))
        written = memory[2 * n : 3 * n]
        start = 3 * n + distance if distance >= 0 else n + distance
        arguments = [values.copy() for values in given]
        arguments[name] = memory[start : start + n]
        arguments[name][:] = given[name]
        partial = np.zeros((2, 5))
        rhs, gauge, weights = arguments
        blocks = -(-n // vectors.BLOCK)
        vectors.gcr_begin(0, blocks, rhs, gauge, weights, written, partial)
        vectors.gcr_project(0, blocks, 0.3, gauge, weights, written, partial)
        return [*partial.ravel(), *written]

    for name in range(3):
        far = begun(name, 200)
        assert begun(name, MARGIN) == far
        assert begun(name, -MARGIN) == far


def test_vectors_of_a_solve_lie_apart() -> None:
    """What the iteration writes to has a margin within its own memory; see the test above."""
    handle = pma.Direct().setup(_stencil((24, 20)))
    result = handle.solve(np.random.default_rng(0).normal(size=480), rtol=1e-8)
    kept = [part for direction in handle.gcr._directions for part in direction]
    for written in (handle.gcr._residual, result.x, *kept):
        assert isinstance(written.base, np.ndarray)
        begins = (written.ctypes.data - written.base.ctypes.data) // written.itemsize
        assert begins >= MARGIN
        assert written.base.size - written.size - begins >= MARGIN
