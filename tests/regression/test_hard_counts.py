"""Counts, statuses and dual values of hard data: what a change must not worsen unnoticed.

Steps may rise by two or by a fifth, whichever is more; the dual value of the atoms may move by a
fiftieth of a squared cell.  Those of thin data are of stages on the cropped boxes, the concentrated
ones led up the ladder of gentler data; gaps on a line are a rearrangement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import pma_grid as pma
from pma_grid import cases


@dataclass(frozen=True)
class Measured:
    """Newton steps and linear iterations over all grids, cycles over all levels, W2^2 of atoms."""

    status: str
    newton: int
    linear: int
    cycles: int
    dual: float


def _noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """White, by a formula: the fractions of large sines of the cells' numbers."""
    phase = sum(
        (78.233 * (axis + 1) + seed) * i for axis, i in enumerate(np.indices(shape, dtype=float))
    )
    values = np.sin(12.9898 * phase + seed) * 43758.5453
    return np.asarray(values - np.floor(values))


def _noisy(shape: tuple[int, ...], floor: float) -> pma.Problem:
    return pma.Problem(floor + _noise(shape, 1), floor + _noise(shape, 2))


def _onto_disc() -> pma.Problem:
    disc, grid = pma.Ellipse((0.5, 0.5), axes=0.4), pma.Grid((64, 64))
    target = pma.Density(disc.fractions(grid), grid)
    return pma.Problem(np.ones((64, 64)), target, target_domain=disc)


PROBLEMS: dict[str, tuple[Callable[[], pma.Problem], Measured]] = {
    "photographs": (
        lambda: cases.photographs().problem((64, 64)),
        Measured("converged", 11, 17, 0, 0.0149695751),
    ),
    "concentrated": (
        lambda: cases.concentrated().problem((64, 64)),
        Measured("converged", 131, 665, 0, 0.610021658),
    ),
    "contrast": (
        lambda: cases.contrast(2).problem((64, 64)),
        Measured("converged", 6, 34, 0, 1.04177749),
    ),
    "vanishing": (
        lambda: cases.vanishing(2).problem((64, 64)),
        Measured("converged", 5, 8, 0, 0.1095753),
    ),
    "onto a vanishing one": (
        lambda: cases.vanishing(2, reverse=True).problem((64, 64)),
        Measured("converged", 5, 8, 0, 0.109573881),
    ),
    "white noise": (
        lambda: _noisy((64, 64), 0.05),
        Measured("entropic", 19, 33, 64, 0.00021282796),
    ),
    "ball to shell": (
        lambda: cases.ball_to_shell(2).problem((64, 64)),
        Measured("entropic", 0, 0, 57, 0.0126458934),
    ),
    "onto a disc": (_onto_disc, Measured("converged", 11, 16, 0, 0.0170623509)),
    "contrast on a line": (
        lambda: cases.contrast(1).problem((256,)),
        Measured("converged", 0, 0, 0, 0.735111142),
    ),
    "white noise on a line": (
        lambda: _noisy((256,), 0.0),
        # of the laws with these averages: .000138655 constant on cells, .000142908 for atoms
        Measured("converged", 0, 0, 0, 0.000141886859),
    ),
    "gaps on a line": (
        lambda: cases.gaps(1).problem((256,)),
        Measured("converged", 0, 0, 0, 0.0233537184),
    ),
    "vanishing in space": (
        lambda: cases.vanishing(3).problem((20, 20, 20)),
        Measured("converged", 5, 11, 0, 0.143576121),
    ),
    "contrast in space": (
        lambda: cases.contrast(3).problem((20, 20, 20)),
        Measured("converged", 7, 42, 0, 1.09005053),
    ),
    "split ball in space": (
        lambda: cases.split_ball(3).problem((16, 16, 16)),
        Measured("entropic", 0, 0, 25, 0.0221879382),
    ),
}


def _most(count: int) -> float:
    return max(count + 2, 1.2 * count)


@pytest.mark.parametrize("name", PROBLEMS)
def test_hard_data(name: str) -> None:
    make, measured = PROBLEMS[name]
    problem = make()
    ot = pma.solve(problem)
    assert str(ot.status) == measured.status
    newton = ot.stats.get("newton", ot.stats)
    assert newton["iterations"] <= _most(measured.newton)
    assert newton["linear_iterations"] <= _most(measured.linear)
    if isinstance(ot, pma.EntropicTransport):
        assert sum(level["iterations"] for level in ot.stats["levels"]) <= _most(measured.cycles)
    cell = max(problem.source.grid.spacing) ** 2
    assert pma.assess(ot)["hard_dual"] == pytest.approx(measured.dual, rel=0, abs=0.02 * cell)
