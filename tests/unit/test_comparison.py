"""`compare`: columns, names, refusals; the push-forward error on maps that are known."""

import json
import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.runtime.errors import InvalidInputError, Status
from pma_grid.transport import comparison, pushforward
from pma_grid.transport.comparison import Comparison, compare
from pma_grid.transport.pushforward import push_forward_error


def _problem(n: int = 32) -> pma.Problem:
    x = (np.arange(n) + 0.5) / n
    waves = np.cos(np.pi * x[:, None]) * np.cos(np.pi * x)
    return pma.Problem(1 + 0.4 * waves, 1 - 0.3 * waves)


def _identity(problem: pma.Problem) -> pma.Transport:
    x = problem.source.grid.coordinates()
    return pma.Transport.from_potential(problem, 0.5 * (x**2).sum(axis=0))


@pytest.fixture(scope="module")
def pair() -> tuple[pma.Transport, pma.Transport]:
    ot = pma.solve(_problem())
    return ot, _identity(ot.problem)


@pytest.fixture(scope="module")
def found(pair: tuple[pma.Transport, pma.Transport]) -> Comparison:
    return compare(*pair, names=("solve", "identity"))


# --- the columns


def test_the_reference_differs_from_itself_by_nothing(found: Comparison) -> None:
    row = found.rows[0]
    assert (row.gap, row.relative_gap, row.map_l2, row.map_max) == (0, 0, 0, 0)
    assert row.name == "solve"
    assert row.converged
    assert row.push_l1 < 0.02


def test_figures_are_those_of_the_transports(found: Comparison, pair: Any) -> None:
    ot, still = pair
    row = found["identity"]
    masses = ot.problem.source.values / ot.problem.source.values.sum()
    moved = np.linalg.norm(ot.displacement, axis=0)
    assert row.map_l2 == pytest.approx(math.sqrt((masses * moved**2).sum()))
    assert row.map_max == pytest.approx(moved.max())
    assert row.w2 == still.w2
    assert row.gap == pytest.approx(still.w2 - ot.w2)
    assert row.relative_gap == pytest.approx(still.w2 / ot.w2 - 1)
    assert row.gap < 0, "the dual value of the wrong potential is lower"
    assert found.rows[0].iterations == ot.stats["iterations"]
    assert found.rows[0].seconds == ot.stats["seconds"]
    assert row.iterations is None
    assert math.isnan(row.seconds)
    assert row.status == "not_solved"
    assert not row.converged


def test_the_largest_difference_counts_cells_with_mass_only() -> None:
    values = np.ones(8)
    values[6:] = 0
    problem = pma.Problem(values, np.ones(8))
    x = problem.source.grid.axes[0]
    u = 0.5 * x**2
    bent = u + 0.05 * np.maximum(0, np.arange(8) - 5.5)  # moves cells 6 and 7, and 5 by a share
    row = compare(*(pma.Transport.from_potential(problem, v) for v in (u, bent))).rows[1]
    shifts = np.abs(compare(pma.Transport.from_potential(problem, bent)).reference.gradient[0] - x)
    assert row.map_max == pytest.approx(shifts[:6].max())
    assert row.map_max < shifts[6:].max()


def test_marginal_errors_and_names_come_from_the_statistics() -> None:
    problem = _problem(8)
    still = _identity(problem)
    stats = [
        {"eps": 0.01, "method": "dense", "marginal_error": 2e-7, "iterations": 12},
        {"eps": 0.01, "peer": "pot"},
        {"eps": 0.01, "peer": "pot"},
        {"eps": 0.02, "peer": "ott", "debiased": True},
        {"eps": 0.02, "method": "dense", "map": "debiased"},
        {"eps": 0.02, "method": "multiscale"},
        {"eps": 0.02, "schedule": "constant(0.02)"},
    ]
    others = [
        pma.Transport(problem, still.potential, status=Status.ENTROPIC, stats=s) for s in stats
    ]
    out = compare(still, *others)
    assert out.names == (
        "potential", "sinkhorn eps=0.01", "pot eps=0.01", "pot eps=0.01 (2)",
        "ott eps=0.02 debiased", "sinkhorn eps=0.02 debiased", "multiscale eps=0.02", "flow",
    )  # fmt: skip
    assert out.rows[1].marginal_error == 2e-7
    assert math.isnan(out.rows[2].marginal_error)
    assert out.rows[1].iterations == 12


def test_two_runs_agree_to_the_last_digit(found: Comparison, pair: Any) -> None:
    assert compare(*pair, names=("solve", "identity")).to_dict() == found.to_dict()


# --- the push-forward error


def test_the_identity_pushes_without_error() -> None:
    values = np.random.default_rng(0).random((41, 70)) ** 8
    values[:10] = 0
    assert push_forward_error(_identity(pma.Problem(values, values))) < 1e-14


@pytest.mark.parametrize("shapes", [((33,), (70,)), ((33, 20), (70, 130)), ((5, 6, 7), (20, 3, 4))])
def test_affine_maps_of_box_to_box_push_without_error(shapes: Any) -> None:
    d = len(shapes[0])
    lower, upper = (1.0, -2.0, 0.5)[:d], (2.5, 5.0, 0.75)[:d]
    target = pma.Density(np.ones(shapes[1]), pma.Grid(shapes[1], lower, upper))
    problem = pma.Problem(np.ones(shapes[0]), target)
    x = problem.source.grid.coordinates()
    parts = [0.5 * (b - a) * v**2 + a * v for a, b, v in zip(lower, upper, x, strict=True)]
    ot = pma.Transport.from_potential(problem, np.sum(parts, axis=0))
    assert push_forward_error(ot) < 1e-13


def test_a_wrong_map_is_off_by_the_distance_of_the_densities() -> None:
    problem = _problem(64)
    masses = [d.values / d.values.sum() for d in (problem.source, problem.target)]
    expected = np.abs(masses[0] - masses[1]).sum()
    assert push_forward_error(_identity(problem)) == pytest.approx(expected, rel=1e-12)


def test_disjoint_supports_are_at_distance_two() -> None:
    left, right = np.zeros((16, 16)), np.zeros((16, 16))
    left[:4], right[-4:] = 1, 1
    assert push_forward_error(_identity(pma.Problem(left, right))) == pytest.approx(2, rel=1e-12)


def test_one_dimension_against_fine_sampling() -> None:
    case = pma.cases.quantile()
    problem = case.problem((48,))
    assert case.potential is not None
    x = problem.source.grid.axes[0]
    wrong = pma.Transport.from_potential(problem, case.potential(x) + 0.004 * np.cos(3 * np.pi * x))
    faces = problem.source.grid.faces[0]
    s = (np.arange(4000) + 0.5) / 4000
    points = (faces[:-1, None] + np.diff(faces)[:, None] * s).ravel()
    masses = problem.source.values / problem.source.values.sum()
    image = wrong.map(points[:, None]).ravel()
    pushed = np.histogram(image, problem.target.grid.faces[0], weights=np.repeat(masses, 4000))[0]
    expected = np.abs(pushed / 4000 - problem.target.values / problem.target.values.sum()).sum()
    assert push_forward_error(wrong) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("dim, sizes", [(1, (64, 256)), (2, (64, 256)), (3, (16, 32))])
def test_the_exact_map_has_a_small_error_of_second_order(dim: int, sizes: tuple[int, int]) -> None:
    case = pma.cases.manufactured(dim)
    errors = []
    for n in sizes:
        problem = case.problem((n,) * dim)
        assert case.potential is not None
        u = case.potential(*problem.source.grid.coordinates())
        errors.append(push_forward_error(pma.Transport.from_potential(problem, u)))
    assert errors[0] < 0.01
    assert errors[1] < errors[0] * (1.5 * sizes[0] / sizes[1]) ** 1.5


def test_slabs_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch, pair: Any) -> None:
    before = [push_forward_error(t) for t in pair]
    monkeypatch.setattr(pushforward, "CORNERS_AT_ONCE", 1)
    monkeypatch.setattr(pushforward, "PAIRS_AT_ONCE", 100)
    np.testing.assert_allclose([push_forward_error(t) for t in pair], before, rtol=1e-12)


def test_a_map_onto_one_point() -> None:
    problem = pma.Problem(np.ones((6, 6)), np.ones((6, 6)))
    flat = pma.Transport.from_potential(
        problem, 0.3 * problem.source.grid.coordinates().sum(axis=0)
    )
    assert np.ptp(flat.gradient[:, 1:-1, 1:-1]) < 1e-12
    assert 1 < push_forward_error(flat) <= 2


# --- text and JSON


def test_the_table_has_a_line_a_row(found: Comparison) -> None:
    _, *lines = str(found).splitlines()
    assert [line.split()[0] for line in lines] == list(found.names)
    assert "not_solved" in lines[1]
    assert "nan" not in str(found), "the identity took no time"


def test_json_knows_no_nan(found: Comparison) -> None:
    out = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert out["reference"] == "solve"
    assert out["bins"] == [32, 32]
    assert out["rows"][1]["seconds"] is None
    assert out["rows"][1]["map_l2"] == found.rows[1].map_l2
    assert set(out["rows"][0]) == set(comparison.Row.__annotations__)


def test_equal_densities_have_no_relative_gap() -> None:
    still = _identity(pma.Problem(np.ones(4), np.ones(4)))
    row = compare(still, still).rows[1]
    assert row.gap == 0
    assert math.isnan(row.relative_gap)
    assert row.name == "potential (2)"


# --- refusals


def test_refusals(pair: Any) -> None:
    ot, still = pair
    with pytest.raises(InvalidInputError, match="nothing to compare"):
        compare()
    with pytest.raises(InvalidInputError, match=r"argument 1 .*Transport"):
        compare(ot, still.potential)
    other = _identity(_problem(16))
    with pytest.raises(InvalidInputError, match=r"source of transport 1 .*16x16.*32x32"):
        compare(ot, other)
    swapped = pma.Problem(ot.problem.source, ot.problem.source)
    with pytest.raises(InvalidInputError, match="target of transport 1 .*density"):
        compare(ot, _identity(swapped))
    wrong: tuple[Any, ...] = (("one",), ("a", "a"), ("a", ""), "ab", 3)
    for names in wrong:
        with pytest.raises(InvalidInputError, match="names .*2 different"):
            compare(ot, still, names=names)
    with pytest.raises(InvalidInputError, match="nobody.*potential"):
        compare(still)["nobody"]
