"""The random problems with known answers: their models are right, and wrong answers are seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

FIRST = 40  # problems that are looked at


def test_problems_can_be_made_again(bench: Any) -> None:
    laws = bench("trial_laws")
    for number in (0, 3, 4):
        one, two = laws.trial(number), laws.trial(number)
        np.testing.assert_array_equal(one.problem.source.values, two.problem.source.values)
        assert one.values == two.values
        assert one.kind == laws.KINDS[number % 5].replace("linear", "programme")


def test_problems_are_of_all_sizes_and_models_agree_but_for_cells(bench: Any) -> None:
    """The models differ by cells; the numbers of cells go from one to beyond a hundred."""
    laws, trials = bench("trial_laws"), bench("trials")
    longest, single = 0, 0
    for number in range(FIRST):
        if laws.KINDS[number % 5] == "programme":
            continue
        found = laws.trial(number)
        shapes = found.problem.source.shape + found.problem.target.shape
        longest, single = max(longest, *shapes), single + shapes.count(1)
        span = max(found.values.values()) - min(found.values.values())
        cell = math.sqrt(float((trials.spacings(found.problem) ** 2).sum()))
        assert span <= cell
        for model in found.maps.values():
            assert np.isfinite(model).all()
    assert longest > 100 and single > 3


def test_gap_of_one_cell_in_three(bench: Any) -> None:
    """Half of the middle third goes to either side: .0962 for cells, .1925 for atoms."""
    laws = bench("trial_laws")
    masses = np.ones(3), np.array([1, 1e-8, 1])
    for points, exact in ((False, math.sqrt(1 / 108)), (True, math.sqrt(1 / 27))):
        line, gap = (laws.Line(m, 0.0, 1.0, points) for m in masses)
        square, _ = laws.transported(line, gap)
        assert math.sqrt(square.sum()) == pytest.approx(exact, rel=1e-6)
    mean = laws.means(laws.Line(masses[0], 0.0, 1.0), laws.Line(masses[1], 0.0, 1.0), 3)
    np.testing.assert_allclose(mean, [1 / 9, 0.5, 8 / 9], atol=1e-6)


def test_means_push_the_mean_forward(bench: Any) -> None:
    laws = bench("trial_laws")
    rng = np.random.default_rng(1)
    for n, m in ((1, 7), (7, 1), (13, 40), (97, 3)):
        a, b = laws.Line(laws.line(rng, n), 0.2, 1.7), laws.Line(laws.line(rng, m), -1.0, 0.5)
        faces = np.linspace(-1.0, 0.5, m + 1)
        exact = float((b.masses * (faces[1:] + faces[:-1]) / 2).sum() / b.masses.sum())
        mass = a.masses / a.masses.sum()
        assert float((mass * laws.means(a, b, n)).sum()) == pytest.approx(exact, abs=1e-12)
        smooth = b.smooth()
        np.testing.assert_allclose(
            smooth.masses.reshape(m, -1).sum(axis=1) if m > 1 else smooth.masses, b.masses,
            atol=1e-12 * b.masses.sum(),
        )  # fmt: skip


def test_programmes_of_products_are_sums_over_axes(bench: Any) -> None:
    """HiGHS, and POT where it is installed, against quantiles of atoms."""
    laws = bench("trial_laws")
    rng = np.random.default_rng(2)
    lines = [(laws.line(rng, n), laws.line(rng, m)) for n, m in ((5, 4), (3, 6))]
    exact = sum(
        float(laws.transported(*(laws.Line(v, 0.0, 1.0, True) for v in pair))[0].sum())
        for pair in lines
    )
    problem = pma.Problem(*(np.outer(lines[0][k], lines[1][k]) for k in (0, 1)))
    assert laws.atoms_value(problem.source, problem.target) == pytest.approx(exact, rel=1e-6)
    gap = problem.source.grid.points[:, None, :] - problem.target.grid.points[None, :, :]
    masses = [d.values.ravel() / d.values.sum() for d in (problem.source, problem.target)]
    value = laws.programme(*masses, (gap**2).sum(axis=2))
    assert value == pytest.approx(exact, rel=1e-6)


def test_wrong_answers_are_seen(bench: Any) -> None:
    """The truth passes; W2 off by a tenth, and a map off by a cell and a half, do not."""
    laws, trials = bench("trial_laws"), bench("trials")
    found = laws.trial(0)
    truth = found.values["cells"]
    assert not trials.w2_wrong(found, truth)
    cell = float(trials.spacings(found.problem).max())
    assert trials.w2_wrong(found, max(found.values.values()) * 1.06 + 0.06 * cell)
    assert trials.w2_wrong(found, None)

    class Answer:
        def __init__(self, shift: float) -> None:
            step = np.zeros(found.problem.source.dim)
            step[0] = shift * trials.spacings(found.problem)[0]
            shaped = step.reshape(-1, *[1] * found.problem.source.dim)
            self.gradient = found.maps["cells"] + shaped

    assert trials.map_cells(found, Answer(0.0)) == pytest.approx(0, abs=1e-12)
    assert trials.map_cells(found, Answer(50.0)) > trials.MAP_CELLS


def test_one_problem_from_end_to_end(bench: Any) -> None:
    row = bench("trials").judged(4, 60.0)
    assert row["kind"] == "copy" and row["good"] and row["wrong"] == []
    assert "copy" in bench("trials").told(row)
    lines = list(bench("trials").summary([row]))
    assert "wrong successes: 0 of 1" in "\n".join(lines)
