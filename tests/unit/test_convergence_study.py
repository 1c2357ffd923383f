"""Studies: rows, orders, tables, refusals."""

import json
import math
from dataclasses import replace

import pytest

from pma_grid import cases
from pma_grid.cases import convergence
from pma_grid.cases.convergence import ERRORS, Row, Study, closed_forms
from pma_grid.problem.problem import Problem
from pma_grid.runtime.errors import InvalidInputError
from pma_grid.transport.transport import Transport

ROW = Row(8, 1 / 8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3, 7, 0.5)


def _made(order: float, sizes: tuple[int, ...] = (8, 16, 40)) -> Study:
    """A study whose errors are 3 h^order; W2^2 and alpha negative, the potential unknown."""
    rows = []
    for n in sizes:
        error = 3 * n**-order
        rows.append(
            replace(
                ROW, n=n, h=1 / n, map_max=error, map_l2=error, w2_squared=-error,
                mass_constant=-error, potential_max=math.nan, potential_l2=math.nan,
            )
        )  # fmt: skip
    return Study("made", 2, tuple(rows))


@pytest.fixture(scope="module")
def study() -> Study:
    return convergence.study(cases.quantile(), (32, 64, 128))


@pytest.mark.parametrize("order", [0.5, 2.0, 4.0])
def test_orders_are_slopes(order: float) -> None:
    made = _made(order)
    for name in ("map_max", "w2_squared", "mass_constant"):
        assert made.order(name) == pytest.approx(order)
        assert made.orders(name) == pytest.approx([order, order])
        assert (made.errors(name) > 0).all()


def test_unknown_errors_have_no_order_and_zero_ones_no_slope() -> None:
    made = _made(2.0)
    assert math.isnan(made.order("potential_max"))
    assert all(math.isnan(order) for order in made.orders("potential_max"))
    with pytest.raises(InvalidInputError, match="name is 'n'; it must be one of"):
        made.errors("n")
    rows = list(made.rows)
    rows.append(replace(rows[-1], n=80, h=1 / 80, map_max=0.0))
    made = Study("made", 2, tuple(rows))
    assert made.order("map_max") == pytest.approx(2.0)
    assert math.isnan(made.orders("map_max")[-1])


def test_rows_are_of_the_grids(study: Study) -> None:
    assert (study.case, study.dim) == ("quantile", 1)
    assert [row.n for row in study.rows] == [32, 64, 128]
    assert [row.h for row in study.rows] == [1 / 32, 1 / 64, 1 / 128]
    for row in study.rows:
        assert row.newton == 0  # rearranged marginals solve the equation on one axis
        assert row.seconds > 0
        assert 0 < row.map_l2 <= row.map_max
        assert 0 < row.potential_l2 <= row.potential_max


def test_the_scheme_is_of_second_order(study: Study) -> None:
    assert study.order("map_max") == pytest.approx(2, abs=0.2)
    assert study.order("potential_max") == pytest.approx(2, abs=0.2)
    assert study.errors("map_max")[-1] < 1e-4


def test_table(study: Study) -> None:
    lines = [line.split() for line in study.table().splitlines()]
    assert [line[0] for line in lines[1:]] == ["32", "64", "128", "order"]
    assert float(lines[2][3]) == pytest.approx(study.rows[1].map_max, rel=5e-3)
    assert lines[4][3] == f"{study.order('map_max'):.2f}"


def test_to_dict_is_json(study: Study) -> None:
    out = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert (out["case"], out["dim"]) == ("quantile", 1)
    assert set(out["orders"]) == set(ERRORS)
    assert out["rows"][0]["map_max"] == study.rows[0].map_max
    # a case without a closed form
    mixtures = convergence.study(cases.gaussian_mixtures(), (8, 16))
    unknown = json.loads(json.dumps(mixtures.to_dict(), allow_nan=False))
    assert unknown["rows"][0]["map_max"] is unknown["orders"]["map_max"] is None
    assert unknown["rows"][0]["w2_squared"] is not None


def test_the_exact_potential_as_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of the centred differences."""
    case = cases.quantile()

    def exact(problem: Problem, **_: object) -> Transport:
        assert case.potential is not None
        ot = Transport.from_potential(problem, case.potential(*problem.source.grid.coordinates()))
        ot.stats.levels = [{"newton": 0, "linear": 0}]
        ot.stats.mass_constant = ot.stats.seconds = 0.0
        ot.stats.history = []
        return ot

    monkeypatch.setattr(closed_forms, "solve", exact)
    study = convergence.study(case, (16, 32, 64))
    assert study.errors("potential_max").max() < 1e-14
    assert study.order("map_l2") == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("sizes", [(), (16,), (32, 16), (16, 16)])
def test_bad_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="sizes is .*increasing order"):
        convergence.study(cases.quantile(), sizes)
