"""`solve`: its contract on small problems, from tolerance to what it reports when it fails."""

import importlib
import itertools
import pkgutil
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
import pma_grid.kernels
from pma_grid.linsolve import LinearSolver
from pma_grid.stationary.newton import Record

SHAPES = {1: (40,), 2: (20, 22), 3: (9, 10, 11)}
DIMS = pytest.mark.parametrize("dim", [1, 2, 3])


def _values(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A smooth positive density on the unit box."""
    rng = np.random.default_rng(seed)
    log = np.zeros(shape)
    for i, n in zip(np.indices(shape), shape, strict=True):
        s = (i + 0.5) / n
        log += 0.4 * rng.normal() * np.cos(np.pi * s) + 0.2 * rng.normal() * np.cos(2 * np.pi * s)
    return np.exp(log)


def _problem(dim: int) -> pma.Problem:
    return pma.Problem(_values(SHAPES[dim], 1), _values(SHAPES[dim], 2))


@DIMS
def test_equal_densities_stay_where_they_are(dim: int) -> None:
    a = _values(SHAPES[dim], 1)
    ot = pma.solve(pma.Problem(a, a))
    assert ot.w2 < 1e-6
    assert np.abs(ot.displacement).max() < 1e-6
    assert ot.status is pma.Status.CONVERGED and ot.converged


@DIMS
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-9])
def test_residual_is_within_the_tolerance_asked_for(dim: int, tol: float) -> None:
    # point values: means over images are those of a step or two before
    ot = pma.solve(_problem(dim), tol=tol, averaging=False)
    assert ot.stats["tol"] == tol
    assert ot.stats["residual"] <= tol
    assert ot.stats["levels"][-1]["status"] == "converged"
    # the residual of the equation, not of the iteration only
    h = ot.residual - ot.stats["mass_constant"]
    assert np.sqrt((h**2).mean()) < 20 * tol


@DIMS
def test_residual_of_means_is_close_to_that_of_the_iteration(dim: int) -> None:
    ot = pma.solve(_problem(dim), tol=1e-9)
    assert ot.stats["residual"] <= 1e-9
    h = ot.residual - ot.stats["mass_constant"]
    assert (
        np.sqrt((h**2).mean()) < {1: 1e-11, 2: 1e-7, 3: 5e-6}[dim]
    )  # walks in 3-D depend on their start


def test_default_tolerance_is_at_most_a_hundred_thousandth() -> None:
    ot = pma.solve(_problem(2))
    assert ot.stats["tol"] <= 1e-5 and ot.stats["residual"] <= ot.stats["tol"]


@DIMS
def test_tighter_tolerance_moves_the_answer_little(dim: int) -> None:
    loose, tight = (pma.solve(_problem(dim), tol=tol) for tol in (1e-4, 1e-10))
    assert loose.w2 == pytest.approx(tight.w2, rel=1e-4)
    assert np.abs(loose.gradient - tight.gradient).max() < 1e-3


def test_callback_receives_every_record() -> None:
    records: list[Record] = []
    ot = pma.solve(_problem(2), callback=records.append)
    assert len(records) == len(ot.stats["history"])
    assert records[-1].level == SHAPES[2] and records[0].level < SHAPES[2]
    assert records[-1].residual == ot.stats["residual"]
    seconds = [r.seconds for r in records]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    levels = list(dict.fromkeys(r.level for r in records))
    assert [list(level) for level in levels] == [e["shape"] for e in ot.stats["levels"]]
    for level, summary in zip(levels, ot.stats["levels"], strict=True):
        mine = [r for r in records if r.level == level]
        assert [r.step for r in mine] == list(range(summary["newton"] + 1))
        assert sum(r.linear_iterations for r in mine) == summary["linear"]
        assert all(b.residual < a.residual for a, b in itertools.pairwise(mine))
        assert all(0 < r.step_size <= 1 for r in mine)
    assert ot.stats["iterations"] == sum(r.step > 0 for r in records)


def test_error_in_a_callback_reaches_the_caller() -> None:
    def stop(record: Record) -> None:
        raise KeyboardInterrupt(str(record.level))

    with pytest.raises(KeyboardInterrupt):
        pma.solve(_problem(2), callback=stop)


@DIMS
def test_running_out_of_steps_raises_with_the_partial_result(dim: int) -> None:
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(_problem(dim), tol=1e-11, max_iterations=1, averaging=False, fallback=False)
    partial = caught.value.result
    assert isinstance(partial, pma.Transport)
    assert partial.status is pma.Status.MAX_ITERATIONS and not partial.converged
    assert partial.stats["residual"] > 1e-11
    assert "max_iterations" in str(caught.value)
    # one step from the coarser grids is not far off
    assert partial.w2 == pytest.approx(pma.solve(_problem(dim)).w2, rel=0.05)


@DIMS
def test_partial_result_can_be_continued(dim: int) -> None:
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(_problem(dim), tol=1e-10, max_iterations=1, averaging=False, fallback=False)
    partial = caught.value.result
    ot = pma.solve(_problem(dim), tol=1e-10, initial=partial, averaging=False)
    reference = pma.solve(_problem(dim), tol=1e-10, averaging=False)
    assert ot.w2 == pytest.approx(reference.w2, rel=1e-7)


@DIMS
def test_inputs_are_not_modified(dim: int) -> None:
    problem = _problem(dim)
    start = 0.5 * (problem.source.grid.coordinates() ** 2).sum(axis=0)
    before = problem.source.values.copy(), problem.target.values.copy(), start.copy()
    pma.solve(problem)
    pma.solve(problem, initial=start)
    for now, then in zip(
        (problem.source.values, problem.target.values, start), before, strict=True
    ):
        np.testing.assert_array_equal(now, then)


@DIMS
def test_solving_twice_gives_the_same_bits(dim: int) -> None:
    first, second = (pma.solve(_problem(dim)) for _ in range(2))
    np.testing.assert_array_equal(first.potential, second.potential)


@pytest.mark.parametrize("tol", [0.0, -1e-3, np.nan, np.inf, [1e-3]])
def test_bad_tolerances_are_refused(tol: float) -> None:
    with pytest.raises(pma.InvalidInputError, match="tol is"):
        pma.solve(_problem(1), tol=tol)


@pytest.mark.parametrize("count", [0, -3])
def test_bad_step_limits_are_refused(count: int) -> None:
    with pytest.raises(pma.InvalidInputError, match="max_iterations is"):
        pma.solve(_problem(1), max_iterations=count)


@pytest.mark.parametrize("shape", [(39,), (40, 1), ()])
def test_start_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(pma.InvalidInputError, match="initial"):
        pma.solve(_problem(1), initial=np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_start_that_is_no_potential_is_refused(value: complex) -> None:
    with pytest.raises(pma.InvalidInputError):
        pma.solve(_problem(1), initial=np.full(40, value))


@DIMS
def test_solution_as_start_needs_no_step(dim: int) -> None:
    ot = pma.solve(_problem(dim), tol=1e-8)
    again = pma.solve(_problem(dim), tol=1e-5, initial=ot)
    assert again.stats["iterations"] <= 1
    assert len(again.stats["levels"]) == 1
    assert again.w2 == pytest.approx(ot.w2, rel=1e-5)
    # the constant of the potential does not matter
    assert pma.solve(_problem(dim), tol=1e-5, initial=ot.potential + 3.0).stats["iterations"] <= 1


@DIMS
def test_any_start_leads_to_the_same_solution(dim: int) -> None:
    nested = pma.solve(_problem(dim), tol=1e-9)
    x = nested.problem.source.grid.coordinates()
    plain = pma.solve(_problem(dim), tol=1e-9, initial=0.5 * (x**2).sum(axis=0))
    assert len(plain.stats["levels"]) == 1 < len(nested.stats["levels"])
    assert plain.w2 == pytest.approx(nested.w2, rel=1e-6)


def test_monotone_gradient_is_close_to_first_order() -> None:
    """The Lax-Friedrichs term is O(h): it moves the answer, and half as much on half the cells."""
    differences = []
    for n in (16, 32, 64):
        problem = pma.Problem(_values((n, n), 1), _values((n, n), 2))
        plain = pma.solve(problem, tol=1e-8)
        monotone = pma.solve(problem, tol=1e-8, monotone_gradient=True)
        assert monotone.converged
        differences.append(np.abs(plain.gradient - monotone.gradient).max())
    assert 1e-4 < differences[2] < 0.02
    order = np.log2(np.array(differences[:-1]) / differences[1:])
    assert order.min() > 0.7 and order.max() < 1.4


@DIMS
def test_monotone_gradient_solves_in_every_dimension(dim: int) -> None:
    ot = pma.solve(_problem(dim), monotone_gradient=True)
    assert ot.converged
    assert ot.w2 == pytest.approx(pma.solve(_problem(dim)).w2, rel=0.2)


def test_what_working_densities_change_is_reported() -> None:
    a, b = _values((16, 16), 1), _values((16, 16), 2)
    a[:3] = 0.0
    ot = pma.solve(pma.Problem(a, b), fallback=False)
    assert ot.status is pma.Status.CONVERGED
    source = ot.stats["floors"]["source"]
    # a floor of mass 10 / n^4 on the box that holds the mass, n^2 = 13 * 16 here, 16^2 there
    assert source["relative"] == pytest.approx(10 / 256**2)
    assert source["cells"] == 0 and 0 < source["mass_added"] < source["relative"]
    # the data stay as given
    assert not ot.problem.source.values[:3].any()


def test_floor_of_the_target_is_the_one_chosen() -> None:
    a, b = _values((16, 16), 1), _values((16, 16), 2)
    b[:, 12:] = 0.0
    chosen = pma.solve(pma.Problem(a, pma.Density(b, floor=0.05)), fallback=False)
    assert chosen.stats["floors"]["target"]["relative"] == 0.05
    assert chosen.stats["floors"]["target"]["cells"] == 64
    assert chosen.status is pma.Status.REGULARISED
    assert "floor" in chosen.message


@pytest.mark.parametrize("bad", ["nonsense", np.zeros((3, 3)), np.full((16, 16), np.nan)])
@pytest.mark.parametrize("gaps_first", [False, True])
def test_initial_is_checked_where_a_plan_answers(bad: Any, gaps_first: bool) -> None:
    gaps = np.zeros((16, 16))
    gaps[2:5, 2:5] = gaps[10:14, 10:14] = 1.0
    pair = (gaps, np.ones((16, 16))) if gaps_first else (np.ones((16, 16)), gaps)
    with pytest.raises(pma.InvalidInputError, match="initial"):
        pma.solve(pma.Problem(*pair), initial=bad)


@pytest.mark.parametrize("solver", [pma.Direct(), pma.Multigrid(), pma.AMG(), pma.Auto()])
def test_linear_solvers_agree(solver: LinearSolver) -> None:
    reference = pma.solve(_problem(2), tol=1e-9)
    ot = pma.solve(_problem(2), tol=1e-9, linear_solver=solver)
    np.testing.assert_allclose(ot.gradient, reference.gradient, atol=1e-6)


def test_statistics_are_complete() -> None:
    stats = pma.solve(_problem(2)).stats
    assert stats["seconds"] > 0 and stats["compile_seconds"] >= 0
    assert {"python", "numpy", "scipy", "numba", "pyamg"} <= stats["versions"].keys()
    assert stats["linear_solver"] == ["multigrid"]
    assert abs(stats["mass_constant"]) < 0.05
    shapes = [tuple(level["shape"]) for level in stats["levels"]]
    assert shapes == [(5, 6), (10, 11), (20, 22)]
    assert sum(level["linear"] for level in stats["levels"]) == stats["linear_iterations"]


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (1, 1), (2, 1), (1, 2, 1), (2, 2, 2)])
def test_tiny_grids_are_solved(shape: tuple[int, ...]) -> None:
    ot = pma.solve(pma.Problem(_values(shape, 1), _values(shape, 2)))
    assert ot.converged and np.isfinite(ot.w2)
    assert np.isfinite(ot.gradient).all()


def _signatures() -> dict[str, int]:
    """How many signatures every compiled function of the package has been compiled for."""
    counts = {}
    for found in pkgutil.walk_packages(pma_grid.kernels.__path__, "pma_grid.kernels."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            members = value if isinstance(value, dict) else {"": value}
            for key, function in members.items():
                if hasattr(function, "signatures"):
                    counts[f"{found.name}.{name}{key}"] = len(function.signatures)
    return counts


@DIMS
def test_another_size_compiles_nothing(dim: int) -> None:
    for k, shape in enumerate((SHAPES[dim], tuple(n + 7 - dim for n in SHAPES[dim]))):
        ot = pma.solve(pma.Problem(_values(shape, 1), _values(shape, 2)))
        ot.interpolate(0.3)
        ot.sample(5, seed=0)
        assert np.isfinite(ot.residual).all()
        if k == 0:
            before = _signatures()
    assert sum(before.values()) > 15
    assert _signatures() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iterations": 2.5}, r"max_iterations is 2\.5"),
        ({"max_iterations": "a"}, r"max_iterations is 'a'"),
        ({"max_iterations": True}, r"max_iterations is True"),
        ({"linear_solver": "direct"}, r"linear_solver is 'direct'"),
        ({"linear_solver": pma.Auto}, r"linear_solver is <class"),
        ({"callback": 3}, r"callback is 3"),
        ({"averaging": None}, r"averaging is None; it must be True or False"),
        ({"fallback": np.array([1, 0])}, r"fallback is array"),
        ({"monotone_gradient": 2}, r"monotone_gradient is 2"),
        ({"progress": "no"}, r"progress is 'no'"),
        ({"initial": [[1.0], [1.0, 2.0]]}, r"initial .*array"),
        ({"initial": np.ma.masked_less(np.arange(5.0), 2.0)}, r"initial .*masked"),
    ],
)
def test_arguments_of_the_wrong_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.solve(pma.Problem(np.ones(5), np.ones(5)), **options)


def test_a_problem_is_asked_for() -> None:
    with pytest.raises(pma.InvalidInputError, match=r"problem .*tuple"):
        pma.solve((np.ones(5), np.ones(5)))  # type: ignore[arg-type]


def test_boxes_far_from_the_origin_lose_no_digits() -> None:
    """Potentials are measured from the corners of their boxes."""
    rng = np.random.default_rng(0)
    values = rng.random((2, 12)) + 0.2

    def problem(away: float) -> pma.Problem:
        grid = pma.Grid((12,), (away,), (away + 1,))
        return pma.Problem(pma.Density(values[0], grid), pma.Density(values[1], grid))

    near = pma.solve(problem(0.0)).w2_squared
    for away in (9e3, 1e7, -1e12):
        assert pma.solve(problem(away)).w2_squared == pytest.approx(near, rel=1e-12)
