"""Nothing depends on the unit of length, nor on where the boxes lie."""

from collections.abc import Callable
from functools import cache
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


def pair(dim: int, unit: float = 1.0, power: float = 0.0) -> pma.Problem:
    """Two densities in boxes whose sides are given in a unit; ``power`` spreads their tails."""
    densities = []
    for shape, (lower, sides), slope in zip(SHAPES[dim], BOXES, (0.7, -1.1), strict=True):
        corner = unit * np.array(lower[:dim])
        grid = pma.Grid(shape, corner, corner + unit * np.array(sides[:dim]))
        values = smooth(shape, slope)
        if power:
            values = np.where(values < np.median(values), values * power, values)
        densities.append(pma.Density(values, grid))
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
    scaled = {"f": ot.source_potential, "g": ot.target_potential, "value": ot.value, "eps": ot.eps}
    return {name: value / unit**2 for name, value in scaled.items()}


def solved(problem: pma.Problem, unit: float) -> Figures:
    """Of `solve`, with the work it took."""
    ot = pma.solve(problem, tol=1e-9)
    counts = [(level["newton"], level["linear"]) for level in ot.stats.levels]
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
    """Of a flow: its times are squared lengths."""
    flow = pma.evolve(
        problem, schedule=pma.schedules.geometric(0.01 * unit**2, 2.0), steps=6,
        record=(*pma.observables.CHEAP, "dissipation", "convexity_margin", "forward_divergence"),
    )  # fmt: skip
    scales = {"dissipation": unit**-2, "forward_divergence": unit**2}
    series = {name: flow[name] / scales.get(name, 1.0) for name in flow.series}
    work = {"newton": flow.stats["newton"], "linear": flow.stats["linear"]}
    return figures(flow.transport, unit) | series | {"times": flow.times / unit**2} | work


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
# inverse stops at steps of 1e-9 cells, residuals of a solution are differences of nothing.
LOOSE = {"inverse": 1e-8, "halfway": 1e-6, "residual": 1e-8, "hessian": 1e-9, "plan": 1e-9}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("unit", UNITS)
def test_any_unit_gives_the_same_to_rounding(name: str, dim: int, unit: float) -> None:
    found, expected = METHODS[name](pair(dim, unit), unit), in_ones(name, dim)
    worst = {}
    for k in expected:
        scale = np.abs(expected[k]).max()
        worst[k] = float(np.max(np.abs(np.asarray(found[k]) - np.asarray(expected[k]))) / scale)
    print({k: f"{v:.0e}" for k, v in worst.items() if v > 1e-13})
    assert {k: v for k, v in worst.items() if not v <= LOOSE.get(k, 1e-12)} == {}
