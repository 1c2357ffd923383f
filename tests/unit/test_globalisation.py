"""What `solve` tries and returns on hard data: statuses, candidates, starts, nothing non-finite."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.problem.support import gap_share
from pma_grid.problem.working import STANDARD, Data
from pma_grid.stationary import candidates as globalisation
from pma_grid.stationary.newton import NO_RESIDUAL, Newton

Shape = tuple[int, ...]
Pair = tuple[Any, Any]


def _rough(shape: Shape, seed: int) -> np.ndarray:
    """Independent cells over six orders of magnitude."""
    return np.asarray(np.random.default_rng(seed).random(shape) ** 4 + 1e-6)


def _sparse(shape: Shape, seed: int) -> np.ndarray:
    """A tenth of the cells, at least one."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape) * (rng.random(shape) < 0.1)
    values.flat[0] += 1e-3
    return np.asarray(values)


def _peak(shape: Shape, centre: float, width: float) -> np.ndarray:
    square = sum(
        ((i + 0.5) / n - centre) ** 2 for i, n in zip(np.indices(shape), shape, strict=True)
    )
    return np.asarray(np.exp(-square / (2 * width**2)))


def _atom(shape: Shape, cell: int) -> np.ndarray:
    values = np.zeros(shape)
    values.flat[cell] = 1.0
    return values


def _halves(shape: Shape) -> Pair:
    """Rough in one half and empty in the other, and the other way round."""
    middle = shape[0] // 2
    first, second = 0.1 + _rough(shape, 5), 0.1 + _rough(shape, 6)
    first[middle:], second[:middle] = 0, 0
    return first, second


def _contrast(shape: Shape) -> Pair:
    left = np.indices(shape)[0] * 2 < shape[0]
    return np.where(left, 1.0, 1e8), np.where(left, 1e8, 1.0)


def _decades(shape: Shape) -> Pair:
    rng = np.random.default_rng(3)
    return 10 ** rng.uniform(-30, 0, shape), 10 ** rng.uniform(-30, 0, shape)


def _long(values: np.ndarray, spacing: float) -> pma.Density:
    """Cells whose sides are ``spacing`` to 1."""
    n, m = values.shape
    return pma.Density(values, pma.Grid((n, m), (0.0, 0.0), (spacing * n / m, 1.0)))


SHAPES: dict[str, Shape] = {
    "1d": (64,), "prime": (17,), "2d": (24, 24), "primes": (23, 17), "3d": (8, 9, 8),
}  # fmt: skip
MAKERS: dict[str, Any] = {
    "rough": lambda s: (_rough(s, 1), _rough(s, 2)),
    "sparse": lambda s: (_sparse(s, 1), _sparse(s, 2)),
    "peaks": lambda s: (_peak(s, 0.3, 0.02), _peak(s, 0.7, 0.02)),
    "bumps": lambda s: (_peak(s, 0.3, 0.08), _peak(s, 0.7, 0.08)),
    "atoms": lambda s: (_atom(s, 0), _atom(s, -1)),
    "atom onto all": lambda s: (_atom(s, 1), np.ones(s)),
    "all onto atom": lambda s: (np.ones(s), _atom(s, 1)),
    "halves": _halves,
    "contrast": _contrast,
    "decades": _decades,
}
PAIRS: dict[str, Pair] = {
    f"{name} {kind}": make(shape) for kind, shape in SHAPES.items() for name, make in MAKERS.items()
}
LINES: tuple[Shape, ...] = ((1, 30), (30, 1), (1, 29, 1), (1, 1), (1,), (2,))
PAIRS |= {f"rough {s}": (_rough(s, 1), _rough(s, 2)) for s in LINES}
PAIRS |= {f"sparse {s}": (_sparse(s, 1), _sparse(s, 2)) for s in LINES}
PAIRS |= {
    "rough 30:1": (_long(_rough((20, 24), 1), 30.0), _long(_rough((20, 24), 2), 30.0)),
    "bumps 30:1": (_long(_peak((20, 24), 0.3, 0.1), 30.0), _long(_peak((20, 24), 0.7, 0.1), 30.0)),
    "unequal boxes": (
        pma.Density(_rough((20, 24), 1)),
        pma.Density(_rough((17, 19), 2), pma.Grid((17, 19), (5.0, -2.0), (6.0, 3.0))),
    ),
    "sparse on unequal boxes": (
        _long(_sparse((20, 24), 1), 30.0),
        pma.Density(_sparse((17, 19), 2), pma.Grid((17, 19), (5.0, -2.0), (6.0, 3.0))),
    ),
}
# A few of each kind, where all of them would take too long.
SOME = (
    "rough 2d", "rough 3d", "sparse primes", "bumps primes", "atom onto all 2d", "contrast 2d",
    "decades 1d", "rough (1, 30)", "bumps 30:1",
)  # fmt: skip


def _tried(ot: pma.Transport) -> dict[str, str]:
    return {c["name"]: c["status"] for c in ot.stats["candidates"]}


def _assert_finite(ot: pma.Transport) -> None:
    """Everything that a user may look at, statistics included."""
    for values in (ot.potential, ot.gradient, ot.displacement):
        assert np.isfinite(values).all()
    assert np.isfinite(ot.w2) and ot.w2 >= 0
    figures = pma.assess(ot)
    assert all(v is None or np.isfinite(v) for v in figures.values())
    json.dumps(ot.stats.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", PAIRS)
def test_hard_data_are_solved_one_way_or_another(name: str) -> None:
    problem = pma.Problem(*PAIRS[name])
    ot = pma.solve(problem)
    assert ot.converged
    _assert_finite(ot)
    if ot.status is pma.Status.ENTROPIC:
        assert isinstance(ot, pma.EntropicTransport)
        assert ot.plan is not None and ot.tears is not None
        assert ot.eps > 0 and ot.stats["eps"] == ot.eps
        assert ot.stats["newton"]["iterations"] >= 0
    else:
        # working densities of the standard kind say nothing: they change less than the scheme errs
        softening = ot.stats["levels"][-1].get("softening", asdict(STANDARD))
        standard = softening == asdict(STANDARD)
        assert ot.status is (pma.Status.CONVERGED if standard else pma.Status.REGULARISED)
        assert ot.stats["residual"] <= ot.stats["tol"]
        assert abs(ot.mass_constant) <= 1e-2
    # centres of cells and atoms are the same distance apart up to a cell
    grids = problem.source.grid, problem.target.grid
    diagonal = sum(float(np.linalg.norm(grid.spacing)) for grid in grids)
    assert abs(ot.w2 - pma.assess(ot)["hard_dual"] ** 0.5) < 0.5 * diagonal


@pytest.mark.parametrize("name", SOME)
def test_failures_carry_a_finite_result(name: str) -> None:
    problem = pma.Problem(*PAIRS[name])
    try:
        ot = pma.solve(problem, fallback=False)
    except pma.ConvergenceError as error:
        assert isinstance(error.result, pma.Transport)
        ot = error.result
        assert not ot.converged
        assert str(error).startswith(ot.message)
        assert "residual" in str(error)
    assert len(_tried(ot)) == 1  # Newton's method from one side
    _assert_finite(ot)


def test_what_the_grid_does_not_resolve_is_no_success() -> None:
    problem = pma.Problem(_sparse((23, 17), 1), _sparse((23, 17), 2))
    ot = pma.solve(problem, fallback=False)
    assert ot.status is pma.Status.UNRESOLVED and not ot.converged
    assert abs(ot.mass_constant) > 1e-2
    assert pma.solve(problem).status is pma.Status.ENTROPIC


def test_smooth_data_are_newtons_alone() -> None:
    ot = pma.solve(pma.Problem(np.ones((20, 20)), 1 + _peak((20, 20), 0.4, 0.3)))
    assert ot.status is pma.Status.CONVERGED
    assert _tried(ot) == {"newton": "converged"}
    assert "hard_dual" not in ot.stats  # nothing to compare with


def test_torn_maps_are_left_to_the_entropic_solver() -> None:
    values = np.ones((20, 20))
    values[8:12] = 0
    ot = pma.solve(pma.Problem(np.ones((20, 20)), values))
    assert ot.status is pma.Status.ENTROPIC
    assert _tried(ot) == {"entropic": "entropic"}
    assert isinstance(ot, pma.EntropicTransport) and ot.tears is not None
    # torn in the middle, along the whole width
    assert ot.tears[9:11].any(axis=0).all()
    assert not ot.tears[:7].any() and not ot.tears[13:].any()


def test_maps_that_join_parts_are_newtons() -> None:
    """int (x - T)^2 of two strips of .4 moved together: T(x) = x / .8 beside the gap."""
    values = np.ones((20, 20))
    values[8:12] = 0
    ot = pma.solve(pma.Problem(values, np.ones((20, 20))))
    assert ot.status is pma.Status.CONVERGED
    assert _tried(ot) == {"entropic": "entropic", "newton": "converged"}
    assert ot.w2 == pytest.approx(np.sqrt(0.2**2 / 12), rel=0.01)


def test_gaps_are_what_is_empty_within_the_support() -> None:
    y, x = np.mgrid[:64, :64] / 64 - 0.5
    disc, hole = np.hypot(x, y) < 0.4, np.hypot(x, y) < 0.2
    turned = np.exp(-(((x + y) / 0.02) ** 2) - ((x - y) / 0.2) ** 2)
    assert (turned == 0).mean() > 0.1 and gap_share(turned) == 0
    assert gap_share(disc * 1.0) == 0
    # the area of the hole over that of the disc
    assert gap_share((disc & ~hole) * 1.0) == pytest.approx(0.25, abs=0.02)
    line = np.zeros((9, 9))
    line[4, 1:8] = 1
    assert gap_share(line) == 0
    assert gap_share(np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0])) == 0.5


def test_a_few_zeros_are_no_matter() -> None:
    source = 1 - 0.9 * _peak((20, 20), 0.4, 0.1)
    source[7, 8] = 0
    ot = pma.solve(pma.Problem(source, np.ones((20, 20))))
    assert ot.status is pma.Status.CONVERGED
    floors = ot.stats["floors"]
    assert floors["source"]["cells"] == 1
    assert floors["source"]["relative"] == pytest.approx(10 / 20**4)
    assert 0 < floors["source"]["mass_added"] < 1e-3
    assert ot.problem.source.values[7, 8] == 0


def test_a_useless_start_is_left_for_a_cold_one() -> None:
    problem = pma.Problem(np.ones((20, 20)), 1 + _peak((20, 20), 0.4, 0.3))
    noise = 1e200 * np.random.default_rng(7).normal(size=problem.source.shape)
    ot = pma.solve(problem, initial=noise)
    tried = _tried(ot)
    assert list(tried) == ["newton from the start given", "newton"]
    assert "converged" not in tried["newton from the start given"]
    assert ot.status is pma.Status.CONVERGED
    assert ot.stats["iterations"] == sum(level["newton"] for level in ot.stats["levels"])


def test_floors_of_the_user_replace_others() -> None:
    values = _peak((20, 20), 0.3, 0.05)
    problem = pma.Problem(pma.Density(values, floor=0.02), pma.Density(values.T))
    data = Data.of(problem)
    working, floors = data.softened(data.pair)
    assert floors["source"]["relative"] == 0.02
    assert working[0].min() == pytest.approx(0.02, rel=0.05)
    assert floors["target"]["relative"] == pytest.approx(10 / working[0].size ** 2)
    ot = pma.solve(problem)
    assert ot.status is pma.Status.REGULARISED
    assert ot.stats["floors"]["source"] == floors["source"]


def _candidate(name: str, problem: pma.Problem, status: pma.Status, alpha: float = 0.0) -> Any:
    u = problem.source.grid.coordinates()[0] ** 2 / 2
    ot = pma.Transport(problem, u, status=status, mass_constant=alpha)
    return globalisation.Candidate(name, status, ot)


@pytest.mark.parametrize("duals", [(3.0, 1.0, 2.0), (1.0, 3.0, 2.0), (1.0, 2.0, 3.0)])
def test_the_largest_dual_decides_among_equals(duals: tuple[float, ...], monkeypatch: Any) -> None:
    """Also where a failure has a larger one."""
    problem = pma.Problem(np.ones(8), np.ones(8))
    every = [_candidate(name, problem, pma.Status.CONVERGED) for name in "abc"]
    failed = _candidate("failed", problem, pma.Status.MAX_ITERATIONS)
    values = iter((*(1e-4 * d for d in duals), 9e-4))
    monkeypatch.setattr(globalisation, "dual_of_atoms", lambda *_: next(values))
    search = globalisation.Search(problem, lambda _: failed, False, True, False, True, 1)
    best = search._best([*every, failed])
    assert best.dual == 1e-4 * max(duals) and best.name == "abc"[int(np.argmax(duals))]


def test_what_a_bound_contradicts_is_no_success(monkeypatch: Any) -> None:
    """A W2^2 of 0 beside a lower bound of .1, which no reading of the data explains."""
    problem = pma.Problem(np.ones(8), np.ones(8))
    monkeypatch.setattr(globalisation, "dual_of_atoms", lambda *_: 0.1)
    search = globalisation.Search(problem, lambda _: None, False, True, False, True, 1)  # type: ignore[arg-type, return-value]
    best = search._best([_candidate("newton", problem, pma.Status.CONVERGED)])
    assert best.status is pma.Status.UNRESOLVED


def test_plans_that_do_not_fit_are_done_without(monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise pma.InvalidInputError("the plan would need too much memory")

    monkeypatch.setattr(globalisation, "sinkhorn", refuse)
    values = np.ones((20, 20))
    values[8:12] = 0
    ot = pma.solve(pma.Problem(values, np.ones((20, 20))))
    assert _tried(ot) == {"newton": "converged"}
    ot = pma.solve(pma.Problem(_sparse((23, 17), 1), _sparse((23, 17), 2)))
    assert ot.status is pma.Status.UNRESOLVED


# ---- equal densities -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SHAPES)
def test_equal_rough_densities_stay_where_they_are(kind: str) -> None:
    values = _rough(SHAPES[kind], 4)
    ot = pma.solve(pma.Problem(values, values))
    assert ot.status is pma.Status.CONVERGED
    assert ot.w2 < 1e-6
    assert np.abs(ot.displacement).max() < 1e-6


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("make", [lambda s: _sparse(s, 4), lambda s: _atom(s, 3)])
def test_equal_densities_with_gaps_are_no_distance_apart(kind: str, make: Any) -> None:
    """The plan blurs over a cell; the distance, from its hard potentials, does not."""
    values = make(SHAPES[kind])
    ot = pma.solve(pma.Problem(values, values))
    assert ot.converged
    assert ot.w2 < 1e-6
    held = ot.displacement[:, values > 0]
    assert np.sqrt((held**2).sum(axis=0)).max() < max(ot.problem.source.grid.spacing)


# ---- starts, steps, threads ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_bad_starts_are_overcome(name: str) -> None:
    problem = pma.Problem(*PAIRS[name])
    noise = np.random.default_rng(0).normal(size=problem.source.shape)
    for start in (noise, 1e6 * noise, -1e3 * problem.source.grid.coordinates()[0] ** 2):
        ot = pma.solve(problem, initial=start)
        assert ot.converged
        _assert_finite(ot)


def test_a_start_without_a_residual_stops_at_once() -> None:
    """Noise of many cells in 3-D leaves the shift form without a root."""
    problem = pma.Problem(*PAIRS["rough 3d"])
    noise = 1e200 * np.random.default_rng(7).normal(size=problem.source.shape)
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(problem, initial=noise, fallback=False)
    stats = caught.value.result.stats
    assert stats["iterations"] == 0 and stats["residual"] <= NO_RESIDUAL


@pytest.mark.parametrize("name", SOME)
def test_one_step_a_grid_is_enough_for_an_answer(name: str) -> None:
    problem = pma.Problem(*PAIRS[name])
    ot = pma.solve(problem, max_iterations=1)
    assert ot.converged
    levels = ot.stats.get("newton", ot.stats)["levels"]
    assert all(level["newton"] <= level.get("stages", 1) for level in levels)
    _assert_finite(ot)


def test_a_tolerance_below_rounding_fails_with_the_accurate_result() -> None:
    """An entropic plan would be a coarser answer than the one at hand."""
    problem = pma.Problem(np.ones((20, 20)), 1 + _peak((20, 20), 0.4, 0.3))
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(problem, tol=1e-300)
    partial = caught.value.result
    assert not isinstance(partial, pma.EntropicTransport)
    assert list(_tried(partial)) == ["newton"]
    assert partial.w2 == pytest.approx(pma.solve(problem, tol=1e-10).w2, rel=1e-8)


@pytest.mark.parametrize("name", SOME)
def test_two_threads_find_what_one_does(name: str) -> None:
    problem = pma.Problem(*PAIRS[name])
    one, two = (pma.solve(problem, threads=threads) for threads in (1, 2))
    assert two.status is one.status
    assert _tried(two) == _tried(one)
    if isinstance(one, pma.EntropicTransport):  # sums of the plan are in another order
        np.testing.assert_allclose(two.potential, one.potential, rtol=0, atol=1e-9 * _size(problem))
    else:
        np.testing.assert_array_equal(two.potential, one.potential)


def _size(problem: pma.Problem) -> float:
    return float(max(np.abs(problem.target.grid.upper).max(), 1.0) ** 2)


@pytest.mark.parametrize("name", SOME)
def test_results_are_stored_whole(name: str, tmp_path: Path) -> None:
    ot = pma.solve(pma.Problem(*PAIRS[name]))
    figures = pma.assess(ot)
    ot.save(tmp_path / "ot.npz")
    back = pma.load(tmp_path / "ot.npz")
    assert type(back) is type(ot) and back.status is ot.status
    np.testing.assert_array_equal(back.potential, ot.potential)
    np.testing.assert_array_equal(back.gradient, ot.gradient)
    # densities are normalised once more on reading
    assert back.w2 == pytest.approx(ot.w2, rel=1e-12, abs=1e-12)
    assert back.stats["candidates"] == ot.stats["candidates"]
    assert back.stats["assessment"] == figures
    if isinstance(ot, pma.EntropicTransport):
        assert isinstance(back, pma.EntropicTransport)
        assert ot.plan is not None and back.plan is not None
        np.testing.assert_array_equal(back.tears, ot.tears)
        np.testing.assert_array_equal(back.plan.toarray(), ot.plan.toarray())


@pytest.mark.parametrize("name", SOME)
def test_nothing_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor by compiled code that writes to the file descriptors."""
    pma.solve(pma.Problem(*PAIRS[name]))
    problem = pma.Problem(*PAIRS["sparse on unequal boxes"])
    assert not pma.solve(problem, fallback=False).converged
    done = capfd.readouterr()
    assert (done.out, done.err) == ("", "")


@pytest.mark.parametrize("tol", [None, 1e-9])
def test_the_default_tolerance_is_a_hope(tol: float | None, monkeypatch: Any) -> None:
    """Below 1e-5 a stall ends well where no number was asked for; where one was, it is missed."""
    run = Newton.run

    def stall(self: Newton, evaluation: Any, state: Any, aim: float) -> Any:
        state = run(self, evaluation, state, 1e-6)
        state.status = pma.Status.LINE_SEARCH_STALLED
        state.residual = max(state.residual, 2 * aim)
        return state

    problem = pma.Problem(np.ones((8, 8)), 1 + _peak((8, 8), 0.4, 0.3))
    assert pma.solve(problem).stats["tol"] < 1e-8
    monkeypatch.setattr(Newton, "run", stall)
    if tol is not None:
        with pytest.raises(pma.ConvergenceError):
            pma.solve(problem, tol=tol)
        return
    ot = pma.solve(problem)
    assert ot.status is pma.Status.CONVERGED
    assert ot.stats["residual"] <= ot.stats["tol"] == 1e-5
    assert ot.stats["levels"][-1]["tol"] == 1e-5
