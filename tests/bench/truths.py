"""What `peers.py` holds the methods to: exact maps and values, or fine solutions of our own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special
from solve import build as build_smooth

import pma_grid as pma

Array = np.ndarray

# Grids of `solve` that give the reference where no closed form exists; rows of `solve` itself are
# held to it up to a quarter of the finest grid only: nearer, they would be compared to themselves.
REFERENCE_SIZES = (1024, 2048)
OWN_LIMIT = 512


def dimension(name: str) -> int:
    """Axes of a problem."""
    return 3 if name == "P5" else 2


def build(name: str) -> Any:
    """The case of a problem's name."""
    return pma.cases.concentrated() if name == "P4" else build_smooth(name)


@dataclass(frozen=True)
class Truth:
    """What errors are measured against.

    Attributes
    ----------
    gradient : callable or None
        Coordinates to the map (d, ...), exact; None: use ``fine``.
    fine : ndarray or None
        The map at the centres of a fine grid.
    w2_squared : float
    origin : str
        In words.
    own : bool
        Made by `solve` itself.
    """

    gradient: Callable[..., Array] | None
    fine: Array | None
    w2_squared: float
    origin: str
    own: bool = False

    def map_on(self, grid: pma.Grid) -> Array | None:
        """The map at the centres of a grid; None where it is unknown."""
        if self.gradient is not None:
            return self.gradient(*grid.coordinates())
        field = self.fine
        while field is not None and field.shape[1] > grid.shape[0]:
            field = halved(field)
        return field


def halved(field: Array) -> Array:
    """A field at the centres of a grid, at those of the one twice as coarse; cubic along axes.

    Centres of the coarse grid lie midway between fine ones: weights (-1, 9, 9, -1)/16, and beyond
    the faces the cubic through the last four values.
    """
    for axis in range(1, field.ndim):
        v = np.moveaxis(field, axis, 0)
        before = 4 * v[0] - 6 * v[1] + 4 * v[2] - v[3]
        after = 4 * v[-1] - 6 * v[-2] + 4 * v[-3] - v[-4]
        v = np.concatenate([before[None], v, after[None]])
        middle = (9 * (v[1:-1:2] + v[2:-1:2]) - v[:-2:2] - v[3::2]) / 16
        field = np.moveaxis(middle, 0, axis)
    return field


def concentrated_value() -> float:
    """W2^2 of P4: axis by axis between Gaussians cut to the box, and the floor to first order.

    The floor is a uniform part of mass 1e-6.  The potentials of a shift by s are worth
    2 s.(y - x) - |s|^2 to it, which is -|s|^2 on average, in place of |s|^2: twice its share is
    lost.  Linear programmes on grids whose cells the shift respects differ by 9e-7 (10^2) and
    1.4e-7 (20^2), relative.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total, width = 0.0, 0.05
    for start, end in ((0.2, 0.8), (0.25, 0.75)):
        # over x, not over probabilities, whose quantiles bend at the ends; 9 sigma hold all
        low, high = max(0.0, start - 9 * width), min(1.0, start + 9 * width)
        x = low + (high - low) * (0.5 + 0.5 * nodes)
        law, image = (special.ndtr(np.array((-c, 1 - c)) / width) for c in (start, end))
        share = (special.ndtr((x - start) / width) - law[0]) / (law[1] - law[0])
        moved = end + width * special.ndtri(image[0] + share * (image[1] - image[0]))
        density = np.exp(-0.5 * ((x - start) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        mass = 0.5 * (high - low) * weights * density / (law[1] - law[0])
        total += float((mass * (moved - x) ** 2).sum())
    return total * (1 - 2e-6)


def make_reference(name: str, path: Path) -> None:
    """Solve on two fine grids and store map and W2^2: extrapolated on P1, the finer one on P3."""
    case, found = build(name), []
    for n in REFERENCE_SIZES:
        transport = pma.solve(case.problem((n, n)))
        found.append((np.array(transport.gradient), transport.w2_squared))
    (coarse, value), (fine, finer) = found
    down = halved(fine)
    # photographs are constant on pixels: their errors follow no power of h
    kept = (4 * down - coarse) / 3 if name == "P1" else down
    spread = float(np.sqrt(((kept - down) ** 2).sum(axis=0).mean()))
    if name != "P1":
        spread = float(np.sqrt(((down - coarse) ** 2).sum(axis=0).mean()))
    np.savez(path, fine=kept, w2_squared=finer, spread=[spread, abs(finer / value - 1)])


def truth(name: str, case: Any, path: str | None) -> Truth:
    """What is known of a problem; ``path`` is where its reference is stored, if it has one."""
    if name == "P4":
        return Truth(None, None, concentrated_value(), "W2^2 exact to about 3e-7; no exact map")
    if case.gradient is not None:
        return Truth(case.gradient, None, case.w2_squared, "exact")
    sizes = " and ".join(f"{n}^2" for n in REFERENCE_SIZES)
    assert path is not None
    with np.load(path) as stored:
        fine, value, spread = stored["fine"], float(stored["w2_squared"]), stored["spread"]
    how = "extrapolated from" if name == "P1" else "finer of"
    change = f"map {spread[0]:.0e}, W2^2 {spread[1]:.0e}"
    return Truth(None, fine, value, f"solve, {how} {sizes}; last change {change}", True)


def map_error(truth: Truth, gradient: Array, source: pma.Density) -> float | None:
    """L2(mu) distance to the true map over the method's own cell centres."""
    exact = truth.map_on(source.grid)
    if exact is None:
        return None
    squares = ((gradient - exact) ** 2).sum(axis=0)
    return float(np.sqrt((source.values * source.grid.cell_volume * squares).sum()))
