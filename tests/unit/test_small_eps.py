"""Studies of the limit of small eps: what they compute, and what they refuse."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import cases
from pma_grid.cases import convergence
from pma_grid.cases.convergence import SmallEps, reference, rows, small_eps
from pma_grid.cases.convergence.limit import extrapolated, face_distance
from pma_grid.cases.convergence.references import Reference, refined
from pma_grid.claims.problems import gentle
from pma_grid.runtime.errors import InvalidInputError
from pma_grid.runtime.tabular import text_table

EPS, TIMES = (0.01, 0.005, 0.0025), (0.02, 0.04)


# the reference -----------------------------------------------------------------------------------


def test_the_reference_is_a_ninth_and_the_extrapolation_better_still() -> None:
    coarse, fine = (gentle(1, n) for n in (24, 72))
    found = reference(coarse, TIMES, finer=fine, steps=8)
    truth = reference(gentle(1, 216), TIMES, finer=gentle(1, 648), steps=72)
    run = [
        list(pma.iterate(fine, schedule=pma.schedules.constant(0.02 / 24), time=time,
                         scheme=pma.TRBDF2()))[-1].potential[1::3]
        for time in TIMES
    ]  # fmt: skip
    for k in range(len(TIMES)):
        exact = truth.potentials[k][4::9]
        own = np.abs(run[k] - exact).max()
        assert own == pytest.approx(found.defects[k].max(), rel=0.3)
        assert np.abs(found.potentials[k] - exact).max() < 0.2 * own


def test_refined_densities_are_those_of_the_finer_grid() -> None:
    coarse, fine = gentle(2, 20), gentle(2, 60)
    made = refined(coarse)
    for side in ("source", "target"):
        ours, exact = getattr(made, side), getattr(fine, side)
        assert ours.grid == exact.grid
        np.testing.assert_allclose(ours.values, exact.values, rtol=1e-5)
        old = getattr(coarse, side).values
        blocks = ours.values.reshape(20, 3, 20, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(blocks, old, rtol=1e-12)


def test_rough_densities_are_not_refined() -> None:
    values = np.ones(32)
    values[16] = 1e-6
    with pytest.raises(InvalidInputError, match="target has zeros"):
        refined(pma.Problem(np.ones(32), values))


def test_axes_of_one_cell_stay() -> None:
    values = np.exp(-np.linspace(0, 1, 16))[:, None]
    problem = pma.Problem(values, values[::-1])
    assert refined(problem).source.shape == (48, 1)
    thin = small_eps(problem, EPS, TIMES)
    line = small_eps(pma.Problem(values[:, 0], values[::-1, 0]), EPS, TIMES)
    np.testing.assert_allclose(thin.errors("u_max", 0.04), line.errors("u_max", 0.04), rtol=1e-6)


# the limit ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study() -> SmallEps:
    return small_eps(gentle(1, 96), EPS, TIMES)


def test_errors_are_those_of_the_iterates(study: SmallEps) -> None:
    problem = gentle(1, 96)
    against = reference(problem, TIMES)
    flow = pma.sinkhorn_flow(problem, 0.005, 0.04, kernel="reflect")
    error = flow.potential - against.potentials[1]
    assert study.errors("u_max", 0.04)[1] == pytest.approx(np.abs(error).max(), rel=1e-12)
    half = pma.sinkhorn_flow(problem, 0.0025, 0.04, kernel="reflect").potential
    assert half is not None
    both = 2 * half - flow.potential - against.potentials[1]
    assert study.errors("richardson_max", 0.04)[2] == pytest.approx(np.abs(both).max(), rel=1e-9)
    inside = face_distance(problem.source.grid) > study.interior
    assert inside.any()
    assert study.errors("u_interior", 0.04)[1] == pytest.approx(np.abs(error[inside]).max())


def test_the_map_is_the_gradient_of_the_iterate() -> None:
    # E[y | x] is the exact derivative of u: centred differences come close to it at order 2
    gaps = []
    for n in (48, 96):
        found = small_eps(gentle(1, n), (0.005,), (0.02,))
        gaps.append(abs(found.rows[0].map_interior - found.rows[0].difference_interior))
    assert gaps[1] < 0.35 * gaps[0] < 1e-4


def test_slopes_ratios_and_tables(study: SmallEps) -> None:
    errors = study.errors("u_max", 0.04)
    assert study.slopes("u_max", 0.04) == pytest.approx(np.log2(errors[:-1] / errors[1:]))
    assert study.slope("u_max", 0.04, halvings=1) == pytest.approx(np.log2(errors[1] / errors[2]))
    np.testing.assert_allclose(study.ratios("u_max")[:, 1], errors / np.array(EPS))
    assert math.isnan(study.errors("richardson_max", 0.02)[0])
    assert study.resolution == pytest.approx(1 / 96 / math.sqrt(0.0025))
    assert study.table().count("slope") == 2
    stored = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert stored["rows"][0]["richardson_max"] is None
    assert len(stored["slopes"]["u_max"]) == 2


def test_one_reference_serves_several_runs(study: SmallEps) -> None:
    problem = gentle(1, 96)
    known = reference(problem, TIMES)
    again = small_eps(problem, EPS, TIMES, against=known).rows
    for row, other in zip(again, study.rows, strict=True):
        assert asdict(row) == pytest.approx(asdict(other), rel=1e-9, nan_ok=True)
    plain = small_eps(problem, EPS, TIMES, against=known, kernel="plain")
    assert plain.errors("map_max", 0.04)[0] > 3 * study.errors("map_max", 0.04)[0]


def test_the_default_scales_with_the_box() -> None:
    unit = gentle(1, 64)
    grid = pma.Grid(64, 0.0, 3.0)
    large = pma.Problem(*(pma.Density(d.values, grid) for d in (unit.source, unit.target)))
    ours, theirs = (small_eps(p) for p in (large, unit))
    assert ours.eps == pytest.approx([9 * eps for eps in theirs.eps])
    assert ours.errors("u_max", ours.times[1]) == pytest.approx(
        9 * theirs.errors("u_max", theirs.times[1]), rel=1e-6
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rising eps": ({"eps": (0.01, 0.02)}, "must fall"),
    "no eps": ({"eps": ()}, "eps is empty"),
    "nan": ({"eps": (math.nan,)}, "eps is nan"),
    "falling times": ({"times": (0.08, 0.04)}, "must rise"),
    "no multiple": ({"eps": (0.03,), "times": (0.04,)}, "multiples of every eps"),
    "before the first sweep": ({"eps": (0.1,), "times": (0.04,)}, "multiples of every eps"),
}


@pytest.mark.parametrize("options, words", REFUSED.values(), ids=REFUSED)
def test_small_eps_refuses(options: dict[str, Any], words: str) -> None:
    given = {"eps": EPS, "times": TIMES} | options
    with pytest.raises(InvalidInputError, match=words):
        small_eps(gentle(1, 16), given["eps"], given["times"])


def test_references_that_do_not_fit_are_refused(study: SmallEps) -> None:
    problem = gentle(1, 16)
    with pytest.raises(InvalidInputError, match="three times the cells"):
        reference(problem, TIMES, finer=gentle(1, 32))
    known = reference(problem, TIMES)
    with pytest.raises(InvalidInputError, match="against is"):
        small_eps(gentle(1, 20), EPS, TIMES, against=known)
    with pytest.raises(InvalidInputError, match="against is"):
        small_eps(problem, EPS, (0.04,), against=known)
    values = np.ones(16)
    values[3] = 0
    with pytest.raises(InvalidInputError, match="source has zeros"):
        reference(pma.Problem(values, np.ones(16)), TIMES)
    with pytest.raises(InvalidInputError, match="name is 'w2'; it must be one of"):
        study.errors("w2", 0.04)
    with pytest.raises(InvalidInputError, match="time is"):
        study.errors("u_max", 0.05)


def test_a_box_without_interior_says_so() -> None:
    found = small_eps(gentle(1, 16), (0.04,), (0.04,))
    assert math.isnan(found.rows[0].u_interior)
    assert "take smaller eps" in found.table()
    assert isinstance(reference(gentle(1, 16), (0.04,)), Reference)


def test_pieces() -> None:
    np.testing.assert_allclose(extrapolated(np.array([1.0]), np.array([1.5])), [0.5])
    distance = face_distance(pma.Grid((4, 1, 2), (0, 0, 0), (4, 1, 10)))
    np.testing.assert_allclose(distance[:, 0, 0], [0.5, 1.5, 1.5, 0.5])
    x = np.array([0.4, 0.2, 0.1])
    assert rows.fitted_slope(x, 3 * x**2) == pytest.approx(2)
    # only the last errors count, and those that exist
    assert rows.fitted_slope(x, np.array([9.0, 0.2, 0.1]), last=2) == pytest.approx(1)
    assert rows.fitted_slope(x, np.array([math.nan, 0.2, 0.1])) == pytest.approx(1)
    assert math.isnan(rows.fitted_slope(x, np.array([math.nan, math.nan, 0.1])))
    text = text_table(["name", "n"], [["a", 1], ["long", math.nan], ["b", 2e-7]])
    assert [len(line) for line in text.splitlines()] == [14] * 4
    assert text.splitlines()[2].endswith("-")


# bias, cost, starts ------------------------------------------------------------------------------


def test_the_bias_is_minus_half_eps_f_and_not_g() -> None:
    found = convergence.fixed_point_bias(cases.manufactured(1), (0.005, 0.0025, 0.00125), n=192)
    assert found.limit == pytest.approx(-0.5, abs=0.01)
    assert found.slope("interior") == pytest.approx(2, abs=0.15)
    assert found.slope("remainder") == pytest.approx(2, abs=0.15)
    assert found.slope("error") == pytest.approx(1, abs=0.1)
    problem = cases.manufactured(1).problem((192,))
    sk = pma.sinkhorn(problem, 0.00125, tol=1e-10, kernel="reflect")
    x = problem.source.grid.axes[0]
    exact = cases.manufactured(1).potential
    assert exact is not None
    bias = sk.potential - exact(x)
    f, g = (-np.log(d.values) for d in (problem.source, problem.target))
    parts = [0.5 * np.ptp(bias + 0.5 * 0.00125 * w) for w in (f, g)]
    assert parts[0] < 0.02 * parts[1]
    rows = json.loads(json.dumps(found.to_dict(), allow_nan=False))["rows"]
    assert rows[0]["eps"] == 0.005
    assert found.table().splitlines()[-1].split()[0] == "slope"


def test_the_bias_of_the_plain_kernel_is_larger_at_the_faces_only() -> None:
    eps = (0.005, 0.0025)
    plain, reflecting = (
        convergence.fixed_point_bias(cases.manufactured(1), eps, n=128, kernel=kernel)
        for kernel in ("plain", "reflect")
    )
    assert plain.errors("remainder")[-1] > 10 * reflecting.errors("remainder")[-1]
    assert plain.errors("interior")[-1] < 1.2 * reflecting.errors("interior")[-1]


def test_the_bias_refuses() -> None:
    case = cases.manufactured(1)
    with pytest.raises(InvalidInputError, match="no potential in closed form"):
        convergence.fixed_point_bias(cases.photographs())
    with pytest.raises(InvalidInputError, match="at least two"):
        convergence.fixed_point_bias(case, (0.01,))
    with pytest.raises(InvalidInputError, match="leaves nothing"):
        convergence.fixed_point_bias(case, (0.01, 0.005), n=16, margin=0.5)
    with pytest.raises(InvalidInputError, match="name is 'u'; it must be one of"):
        convergence.fixed_point_bias(case, (0.01, 0.005), n=16).errors("u")


def test_costs_rank_the_maps() -> None:
    case = cases.manufactured(2)
    found = convergence.cost(case, (4e-3, 2e-3, 1e-3), (32,), tol=1e-7)
    assert found.methods[0] == "solve"
    assert found.sizes == (32,)
    best = {method: found.best(method, 32).map_l2 for method in found.methods}
    assert best["solve"] < best["reflecting, debiased"] < best["debiased"] < best["plain"]
    assert best["reflecting, extrapolated"] < 0.2 * best["reflecting"]
    for method in found.methods:
        assert all(row.converged and row.iterations > 0 for row in found.of(method))
    # smaller eps, smaller error, more sweeps
    plain = found.of("plain", 32)
    assert [row.map_l2 for row in plain] == sorted((row.map_l2 for row in plain), reverse=True)
    assert [row.iterations for row in plain] == sorted(row.iterations for row in plain)
    # an extrapolated map pays for both of its runs
    pair = found.of("extrapolated", 32)
    assert [row.eps for row in pair] == [4e-3, 2e-3]
    assert pair[0].iterations == plain[0].iterations + plain[1].iterations
    problem = case.problem((32, 32))
    sk = pma.sinkhorn(problem, 4e-3, tol=1e-7, threads=1)
    assert case.gradient is not None
    gap = ((sk.gradient - case.gradient(*problem.source.grid.coordinates())) ** 2).sum(axis=0)
    masses = problem.source.values * problem.source.grid.cell_volume
    assert plain[0].map_l2 == pytest.approx(math.sqrt((masses * gap).sum()), rel=1e-6)
    json.dumps(found.to_dict(), allow_nan=False)
    assert "map L2" in found.table()


def test_runs_cut_short_are_reported() -> None:
    found = convergence.cost(
        cases.manufactured(1), (1e-3,), (64,), methods=("plain",), max_iterations=2
    )
    assert [row.converged for row in found.rows] == [True, False]
    assert "not converged" in found.table()


def test_costs_refuse() -> None:
    case = cases.manufactured(1)
    with pytest.raises(InvalidInputError, match="no map in closed form"):
        convergence.cost(cases.photographs())
    with pytest.raises(InvalidInputError, match="there are plain"):
        convergence.cost(case, methods=("magic",))
    with pytest.raises(InvalidInputError, match="sizes is empty"):
        convergence.cost(case, sizes=())
    found = convergence.cost(case, (1e-2,), (16,), methods=("plain",))
    with pytest.raises(InvalidInputError, match="there are solve, plain"):
        found.of("debiased")


def test_each_solver_gains_from_the_other() -> None:
    problem = cases.manufactured(2).problem((48, 48))
    found = convergence.warm_starts(problem, (2e-3,))
    cold, warm = found.of("solve", "the identity"), found.of("solve", "the other's potential", 2e-3)
    assert warm.finest < cold.finest
    assert found.of("solve", "coarser grids").finest <= warm.finest
    cold = found.of("sinkhorn", "the identity", 2e-3)
    warm = found.of("sinkhorn", "the other's potential", 2e-3)
    assert warm.total < cold.total
    assert found.of("sinkhorn", "the other's, less the bias", 2e-3).total < warm.total
    assert all(row.converged for row in found.rows)
    json.dumps(found.to_dict(), allow_nan=False)
    assert "finest grid" in found.table()
    with pytest.raises(InvalidInputError, match="the rows are"):
        found.of("solve", "nowhere")
