"""Nothing depends on the unit of length, nor on where the boxes lie."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

# Changed by these, results keep every bit.
POWERS = [2.0**k for k in (-300, -40, 40, 300)]
# Units of length: the smallest, a nuclear one of metres, megaparsecs in centimetres, the largest.
UNITS = [1e-100, 1e-20, 3.0857e24, 1e100]
SHAPES = {1: ((40,), (48,)), 2: ((16, 20), (24, 18)), 3: ((8, 10, 9), (10, 8, 9))}
# Boxes of a unit, not cubes: lower corners and sides.
BOXES = (((0.25, -0.5, 0.0), (1.5, 1.0, 0.75)), ((-1.0, 0.5, 0.125), (2.0, 0.5, 1.25)))

Figures = dict[str, Any]


def smooth(shape: tuple[int, ...], slope: float) -> np.ndarray:
    """A positive density without symmetries."""
    x = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    return np.asarray(
        np.exp(slope * np.sin(sum((0.5 * k + 1.7) * axis for k, axis in enumerate(x))))
    )


def pair(dim: int, unit: float = 1.0) -> pma.Problem:
    """Two densities in boxes whose sides are given in a unit."""
    densities = []
    for shape, (lower, sides), slope in zip(SHAPES[dim], BOXES, (0.7, -1.1), strict=True):
        corner = unit * np.array(lower[:dim])
        grid = pma.Grid(shape, corner, corner + unit * np.array(sides[:dim]))
        densities.append(pma.Density(smooth(shape, slope), grid))
    return pma.Problem(*densities)


def figures(ot: pma.Transport, unit: float = 1.0) -> Figures:
    """All that a transport knows, in units of length."""
    source, target = ot.problem.source.grid, ot.problem.target.grid
    at = np.random.default_rng(5).random((7, source.dim))
    x, y = (unit * (np.array(g.lower) / unit + at * np.array(g.lengths) / unit)
            for g in (source, target))  # fmt: skip
    drawn, images = ot.sample(20, seed=3)
    assessed = pma.assess(ot)
    halfway = ot.interpolate(0.5)
    return {
        "phi": ot.phi / unit**2,
        "potential": ot.potential / unit**2,
        "w2": ot.w2 / unit,
        "w2_squared": ot.w2_squared / unit**2,
        "gradient": ot.gradient / unit,
        "displacement": ot.displacement / unit,
        "map": ot.map(x) / unit,
        "inverse": ot.inverse(y) / unit,
        "drawn": drawn / unit,
        "images": images / unit,
        "halfway": halfway.relative,
        "middle": np.array(halfway.grid.lower) / unit,
        "push_forward_error": assessed["push_forward_error"],
        "hard_dual": assessed["hard_dual"] / unit**2,
        "transport_cost": assessed["transport_cost"] / unit**2,
    } | _of_the_method(ot, unit)  # fmt: skip


def _of_the_method(ot: pma.Transport, unit: float) -> Figures:
    """What only some transports have."""
    if not isinstance(ot, pma.EntropicTransport):
        return {"hessian": ot.hessian, "residual": ot.residual, "alpha": ot.mass_constant}
    names = ("source_potential", "target_potential", "value", "eps")
    return {name: getattr(ot, name) / unit**2 for name in names}


def solved(problem: pma.Problem, unit: float) -> Figures:
    """Of `solve`, with the work it took."""
    ot = pma.solve(problem, tol=1e-9)
    counts = [(level["newton"], level["linear"]) for level in ot.stats.levels or []]
    return figures(ot, unit) | {"counts": counts}


def dense(problem: pma.Problem, unit: float) -> Figures:
    """Of the dense Sinkhorn method."""
    sk = pma.sinkhorn(problem, 0.02 * unit**2)
    return figures(sk, unit) | {"iterations": sk.stats.iterations}


def multiscale(problem: pma.Problem, unit: float) -> Figures:
    """Of the multiscale Sinkhorn method."""
    sk = pma.sinkhorn(problem, method="multiscale")
    assert sk.plan is not None
    return figures(sk, unit) | {"iterations": sk.stats.iterations, "plan": sk.plan.toarray()}


def evolved(problem: pma.Problem, unit: float) -> Figures:
    """Of a flow, its steps solved sharply: its times are squared lengths."""
    flow = pma.evolve(
        problem, schedule=pma.schedules.geometric(0.01 * unit**2, 2.0), steps=6,
        scheme=pma.ImplicitEuler(rtol=1e-9),
        record=(*pma.observables.CHEAP, "dissipation", "convexity_margin", "forward_divergence"),
    )  # fmt: skip
    scales = {"dissipation": unit**-2, "forward_divergence": unit**2}
    series = {name: flow[name] / scales.get(name, 1.0) for name in flow.series}
    averages = {
        "average_potential": flow.average_potential / unit**2,
        "average_density": flow.average_density * unit**problem.dim,
        "times": flow.times / unit**2,
        "newton": flow.stats["newton"],
    }
    return figures(flow.transport, unit) | series | averages


METHODS: dict[str, Callable[[pma.Problem, float], Figures]] = {
    f.__name__: f for f in (solved, dense, multiscale, evolved)
}


@cache
def in_ones(name: str, dim: int) -> Figures:
    """What a method finds where the unit of length is 1."""
    return METHODS[name](pair(dim), 1.0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("unit", POWERS)
def test_powers_of_two_change_no_bit(name: str, dim: int, unit: float) -> None:
    found, expected = METHODS[name](pair(dim, unit), unit), in_ones(name, dim)
    differ = [k for k in expected if not np.array_equal(found[k], expected[k], equal_nan=True)]
    assert differ == []


# What depends on where an iteration stops, or on digits that cancel: Newton's method for the
# inverse stops at steps of 1e-9 cells, residuals of a solution are differences of nothing, and in
# three dimensions second derivatives depend a little on where a walk to superbases begins.
LOOSE = {
    "inverse": 1e-8, "halfway": 1e-5, "hessian": 1e-5, "residual": 3.0, "push_forward_error": 1e-11,
}  # fmt: skip
# A flow's times and potentials are rounded in the unit given: its steps agree as far as they are
# solved, and their residuals as far as these do not depend on where a walk to superbases begins.
LOOSE_FLOWS = {"w2": 1e-6, "kl": 1e-5, "times": 1e-12, "gradient": 1e-4}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("unit", UNITS)
def test_any_unit_gives_the_same_to_rounding(name: str, dim: int, unit: float) -> None:
    found, expected = METHODS[name](pair(dim, unit), unit), in_ones(name, dim)
    bounds = LOOSE_FLOWS if name == "evolved" else {k: LOOSE.get(k, 1e-12) for k in expected}
    differ = {}
    for k, bound in bounds.items():
        difference = np.abs(np.asarray(found[k]) - np.asarray(expected[k]))
        worst = float(difference.max() / (np.abs(expected[k]).max() or 1.0))
        if not worst <= bound:
            differ[k] = worst
    assert differ == {}


def convex(unit: float) -> pma.Transport:
    """Onto a polygon."""
    grid = pma.Grid((24, 24), 0.0, unit)
    polygon = pma.Polygon(unit * np.array([[0.1, 0.2], [0.9, 0.3], [0.7, 0.9], [0.2, 0.7]]))
    target = pma.Density(polygon.fractions(grid), grid)
    source = pma.Density(smooth(grid.shape, 0.7), grid)
    return pma.solve(pma.Problem(source, target, target_domain=polygon))


@pytest.mark.parametrize("unit", POWERS)
def test_convex_targets_change_no_bit(unit: float) -> None:
    found, expected = convex(unit), convex(1.0)
    for name, power in {"phi": 2, "gradient": 1, "hessian": 0, "w2_squared": 2}.items():
        assert np.array_equal(getattr(found, name) / unit**power, getattr(expected, name)), name


@pytest.mark.parametrize("unit", [1e-102, 1e102])
def test_units_beyond_are_refused(unit: float) -> None:
    with pytest.raises(pma.InvalidInputError, match=r"axis 0 .*from 1e-101 to 1e\+101.* unit"):
        pma.Grid((4, 4), 0.0, unit)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_files_give_results_in_any_unit_back(dim: int, unit: float, tmp_path: Path) -> None:
    """Densities have values of up to 1e303 there, and tails below the smallest number there is."""
    ot = pma.solve(pair(dim, unit))
    ot.save(tmp_path / "ot.npz")
    again = pma.load(tmp_path / "ot.npz")
    for name in ("phi", "potential", "gradient", "w2_squared"):
        assert np.array_equal(getattr(again, name), getattr(ot, name)), name
    for side in ("source", "target"):
        mine, other = getattr(again.problem, side), getattr(ot.problem, side)
        assert np.array_equal(mine.masses, other.masses)
        assert np.array_equal(mine.values, other.values)


def test_tails_keep_their_digits_where_values_underflow() -> None:
    values = np.exp(-0.5 * np.linspace(-8, 8, 8) ** 2)
    values = values[:, None, None] * values[:, None] * values
    far = pma.Density(values, pma.Grid((8, 8, 8), 0.0, 1e100))
    near = pma.Density(values, pma.Grid((8, 8, 8)))
    assert far.values.min() == 0 < near.values.min()
    assert np.array_equal(far.relative, near.relative)
    assert far.working(1e-3)[1].cells == 0


# Boxes so many sides away: coordinates keep the digits that the last is a rounding of.
@pytest.mark.parametrize("away", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("dim", [1, 2])
def test_boxes_far_from_the_origin_are_as_those_near_it(dim: int, away: float) -> None:
    near, rounding = pair(dim), 4e-16 * away
    moved = []
    for density in (near.source, near.target):
        corners = (away + np.array(c) for c in (density.grid.lower, density.grid.upper))
        moved.append(pma.Density(density.masses, pma.Grid(density.shape, *corners)))
    first, other = pma.solve(near), pma.solve(pma.Problem(*moved))
    np.testing.assert_allclose(other.phi, first.phi, atol=1e-13)
    np.testing.assert_allclose(other.displacement, first.displacement, atol=rounding)
    np.testing.assert_allclose(other.hessian, first.hessian, rtol=1e-12)
    assert other.w2 == pytest.approx(first.w2, rel=1e-13)
    x = near.source.grid.points[::3]
    np.testing.assert_allclose(other.map(away + x) - away, first.map(x), atol=20 * rounding)
    back = other.inverse(other.map(away + x)) - away
    np.testing.assert_allclose(back, x, atol=20 * rounding)
    for method in ("dense", "multiscale"):
        plans = [pma.sinkhorn(ot.problem, method=method) for ot in (first, other)]
        assert plans[1].w2 == pytest.approx(plans[0].w2, rel=1e-12)
        assert plans[1].value == pytest.approx(plans[0].value, rel=1e-10)
        np.testing.assert_allclose(plans[1].source_potential, plans[0].source_potential, atol=1e-12)


@pytest.mark.parametrize("away", [1e6, 1e9])
def test_boxes_far_from_each_other(away: float) -> None:
    """phi does not see the shift; W2^2 is its square and that of what is between the laws."""
    near = pair(2)
    grid = near.target.grid
    corners = (away + np.array(c) for c in (grid.lower, grid.upper))
    target = pma.Density(near.target.masses, pma.Grid(grid.shape, *corners))
    first, other = pma.solve(near), pma.solve(pma.Problem(near.source, target))
    np.testing.assert_allclose(other.phi, first.phi, atol=1e-13)
    # means of the smooth densities, which are those of the cells up to tenths of h^2
    between = first.problem.target.mean() - first.problem.source.mean()
    assert other.w2 == pytest.approx(float(np.linalg.norm(between + away)), abs=1e-3)


# Axes, cells, and widths of two bells: solved on whole boxes, on parts of them, from the target to
# the source, and on one axis.
BELLS = [(2, 32, 0.1, 0.12), (2, 40, 0.05, 0.06), (2, 32, 0.3, 0.05), (1, 64, 0.1, 0.12)]


def bells(
    dim: int, n: int, widths: tuple[float, float], unit: float = 1.0, away: float = 0.0
) -> pma.Problem:
    """Two Gaussian densities with light tails, in boxes with sides of a unit."""
    x = np.meshgrid(*((np.arange(n) + 0.5) / n,) * dim, indexing="ij")
    squares = [sum((axis - centre) ** 2 for axis in x) for centre in (0.45, 0.55)]
    grid = pma.Grid((n,) * dim, away, away + unit)
    return pma.Problem(*(
        pma.Density(np.exp(-0.5 * square / width**2), grid)
        for square, width in zip(squares, widths, strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize(("dim", "n", "first", "second"), BELLS)
@pytest.mark.parametrize("unit", [2.0**300, 1e-100, 1e100])
def test_light_tails_take_any_unit(
    dim: int, n: int, first: float, second: float, unit: float
) -> None:
    one, other = (pma.solve(bells(dim, n, (first, second), u)) for u in (1.0, unit))
    assert other.status is one.status
    assert other.solution.to_dict() == one.solution.to_dict()
    assert steps(other) == steps(one)
    assert other.w2 / unit == pytest.approx(one.w2, rel=1e-12)
    for name, power in (("phi", 2), ("displacement", 1), ("cell_means", 1)):
        found = getattr(other, name) / unit**power
        np.testing.assert_allclose(found, getattr(one, name), atol=1e-10, err_msg=name)


@pytest.mark.parametrize(("dim", "n", "first", "second"), BELLS)
def test_light_tails_of_far_boxes_lose_no_digits(
    dim: int, n: int, first: float, second: float
) -> None:
    near, far = (pma.solve(bells(dim, n, (first, second), away=x)) for x in (0.0, 2.0**30))
    assert far.solution.to_dict() == near.solution.to_dict()
    assert far.w2 == pytest.approx(near.w2, rel=1e-12)
    np.testing.assert_allclose(far.phi, near.phi, atol=1e-12)
    np.testing.assert_allclose(far.displacement, near.displacement, atol=1e-6)


def narrow(sides: tuple[float, ...]) -> pma.Problem:
    """A smooth density and a bump, in boxes of given sides."""
    shape = {2: (64, 64), 3: (16, 16, 16)}[len(sides)]
    x = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    bump = np.exp(-8 * sum((axis - c) ** 2 for axis, c in zip(x, (0.6, 0.4, 0.5), strict=False)))
    grid = pma.Grid(shape, 0.0, sides)
    return pma.Problem(pma.Density(1 + x[0] * x[1], grid), pma.Density(bump, grid))


def steps(ot: pma.Transport) -> int:
    """Newton steps on all grids."""
    assert ot.stats.iterations is not None
    return ot.stats.iterations


@pytest.mark.parametrize("sides", [(1.0, 1e-3), (1e-3, 1.0), (1e3, 1.0), (1.0, 1e-2), (1e-5, 1e-2)])
def test_narrow_boxes_converge_as_squares_do(sides: tuple[float, ...]) -> None:
    square, narrowed = pma.solve(narrow((1.0, 1.0))), pma.solve(narrow(sides))
    assert narrowed.status is pma.Status.CONVERGED
    assert steps(narrowed) <= 1.5 * steps(square)
    assert abs(narrowed.mass_constant) < 1e-3
    # along the long side the map is all but that of the marginals
    axis = int(np.argmax(sides))
    marginals = [
        pma.Density(d.masses.sum(1 - axis), pma.Grid(64, 0.0, sides[axis]))
        for d in (narrowed.problem.source, narrowed.problem.target)
    ]
    line = pma.solve(pma.Problem(*marginals))
    error = narrowed.gradient[axis].mean(1 - axis) - line.gradient[0]
    assert np.abs(error).max() < 1e-3 * sides[axis]


@pytest.mark.parametrize("sides", [(1.0, 1e-6), (1e-6, 1.0)])
def test_boxes_too_narrow_for_rounding_are_no_success_of_newton(sides: tuple[float, ...]) -> None:
    """Differences along the short side are lost in those along the long one."""
    with pytest.raises(pma.ConvergenceError) as caught:
        pma.solve(narrow(sides), fallback=False)
    assert caught.value.result.stats.tol == 1e-2


@pytest.mark.parametrize("sides", [(1.0, 1.0, 1e-2), (1.0, 3e-2, 3e-2)])
def test_narrow_boxes_converge_in_three_dimensions(sides: tuple[float, ...]) -> None:
    cube, narrowed = pma.solve(narrow((1.0, 1.0, 1.0))), pma.solve(narrow(sides))
    assert narrowed.status is pma.Status.CONVERGED
    assert steps(narrowed) <= 1.5 * steps(cube)


@pytest.mark.parametrize("long", [2.0**10, 2.0**20])
def test_sides_that_make_up_for_each_other_are_squares(long: float) -> None:
    """Products of the two boxes' sides alone count."""
    values = [d.masses for d in (narrow((1.0, 1.0)).source, narrow((1.0, 1.0)).target)]
    grids = pma.Grid((64, 64), 0.0, (1.0, long)), pma.Grid((64, 64), 0.0, (long, 1.0))
    ot = pma.solve(pma.Problem(*(pma.Density(v, g) for v, g in zip(values, grids, strict=True))))
    square = pma.solve(narrow((1.0, 1.0)))
    np.testing.assert_allclose(ot.phi / long, square.phi, atol=1e-10)
    assert steps(ot) == steps(square)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_learned_models_and_posteriors_take_any_unit(unit: float) -> None:
    points = np.random.default_rng(2).normal(size=(400, 1))
    one, other = (pma.fit(pma.Samples(u * points), seed=0) for u in (1.0, unit))
    at = np.array([[0.3], [-1.1]])
    np.testing.assert_allclose(
        other.log_density(unit * at) + np.log(unit), one.log_density(at), rtol=1e-6
    )
    first = pma.infer(lambda x: -0.5 * x * x, box=[(-6.0, 6.0)])
    second = pma.infer(lambda x: -0.5 * (x / unit) ** 2, box=[(-6.0 * unit, 6.0 * unit)])
    assert second.std[0] == pytest.approx(unit * first.std[0], rel=1e-9)
    assert second.log_evidence == pytest.approx(first.log_evidence + np.log(unit), rel=1e-9)
