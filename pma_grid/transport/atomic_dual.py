"""Hard potentials: eps forgotten, by exact Legendre transforms between the supports.

A pair with f(x) + g(y) <= |x - y|^2/2 for all atoms bounds the transport of the atoms from below:
int f dmu + int g dnu <= W2^2 / 2.  The transform of any f from the source's support is the best g
to go with it, whatever f is, so that the entropic potentials of either side give a rigorous bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.grid.axes import along, half_square, outer_sum
from pma_grid.grid.legendre import legendre
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Axes, Reduced, Reduction
from pma_grid.runtime import Array, Integers, Mask


@dataclass(frozen=True, eq=False)
class HardPair:
    """A feasible pair on whole grids, reduced.

    f + g <= |x - y|^2/2 between any source cell and the target's support, and between the source's
    support and any target cell, all finite; u = |x|^2/2 - f is convex.  ``nearest`` holds a cell
    (d, *shape) of the other side's support where equality holds: of each source cell (a subgradient
    of u), of each target cell.  ``value`` is int f dmu + int g dnu, length^2: at most W2^2/2 of the
    atoms in reduced coordinates.
    """

    f: Array
    g: Array
    nearest: tuple[Integers, Integers]
    value: float


def transform(potential: Array, support: Mask, axes: Axes, others: Axes) -> tuple[Array, Integers]:
    """min over the support of |x - y|^2/2 - p(x), for y on the whole other grid; and the arg."""
    # the minimiser comes from the Legendre transform of |x|^2/2 - p, in linear time; the value is
    # taken from the displacement, so that small costs keep their digits
    u = np.full(potential.shape, np.inf)
    u[support] = (half_square(axes) - potential)[support]
    nearest = legendre(u, axes, others)[1]
    out = -potential[tuple(nearest)]
    for k, (x, y) in enumerate(zip(axes, others, strict=True)):
        out += 0.5 * (x[nearest[k]] - along(y, k, len(others))) ** 2
    return out, nearest


def from_source(reduced: Reduced, f: Array) -> HardPair:
    """The pair that starts from f on the source's support; values off it do not matter."""
    g, _ = transform(f, reduced.a > 0, reduced.x, reduced.y)
    f, there = transform(g, reduced.b > 0, reduced.y, reduced.x)
    # the same g on the support; off it, f may have risen since
    g, back = transform(f, reduced.a > 0, reduced.x, reduced.y)
    value = float((reduced.a * f).sum() + (reduced.b * g).sum())
    return HardPair(f, g, (there, back), value)


def dual_of_atoms(problem: Problem, phi: Array) -> float:
    """A lower bound of W2^2 between the atoms at the cell centres, length^2, from any potential.

    ``phi``: what a potential, convex or not, has beyond the affine map's at the cell centres.
    """
    pair = from_source(Reduced.of(problem), -phi)
    return max(0.0, Reduction(problem).squared_distance(pair.value))


def hard_pairs(reduced: Reduced, f: Array, g: Array) -> tuple[HardPair, HardPair]:
    """The better and the worse of the pairs that start from either side.

    A third one stands in where both fall below it, as they may for masses that nearly coincide:
    the potentials of the shift between the means, whose value is at least half its square.
    """
    first = from_source(reduced, f)
    second = from_source(reduced, transform(g, reduced.b > 0, reduced.y, reduced.x)[0])
    better, worse = (first, second) if first.value >= second.value else (second, first)
    shift = [_mean(reduced.b, reduced.y, k) - _mean(reduced.a, reduced.x, k) for k in range(f.ndim)]
    if better.value < 0.5 * sum(s * s for s in shift):
        linear = outer_sum([-s * axis for s, axis in zip(shift, reduced.x, strict=True)])
        third = from_source(reduced, linear)
        if third.value > better.value:
            return third, better
    return better, worse


def _mean(masses: Array, axes: Axes, k: int) -> float:
    """Mean coordinate along an axis."""
    return float(masses.sum(axis=tuple(i for i in range(masses.ndim) if i != k)) @ axes[k])
