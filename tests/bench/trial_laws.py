"""Random problems with known answers for `trials.py`, each made from its own number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import interpolate, optimize, sparse

import pma_grid as pma

Array = np.ndarray

SEED = 90127
KINDS = ("product", "product", "product", "programme", "copy")  # number K is of kind K mod 5
MOST_DECADES = 12.0  # of contrast
MOST_CELLS_AN_AXIS, MOST_CELLS = 200, 20000
MOST_ATOMS = 144  # of a side of a linear programme
MOST_CUT_ATOMS = 600  # of one whose cells are cut
PRIMES = (2, 3, 5, 7, 11, 13, 31, 61, 97, 127, 193)
REFINED = 16  # parts of a cell of the smooth reading
NOISE = 1e-10  # relative, by which near-equal densities differ


@dataclass(frozen=True)
class Trial:
    """A problem and what its models say.

    Attributes
    ----------
    kind : str
    problem : Problem
    values : dict
        W2 by model, length: "cells" (constant on cells), "atoms" (at the centres), "smooth".
    maps : dict
        Means of the map over the source's cells by model, (d, *shape); empty where not known.
    """

    kind: str
    problem: pma.Problem
    values: dict[str, float]
    maps: dict[str, Array] = field(default_factory=dict)


def trial(number: int) -> Trial:
    """Problem K, the same on every machine."""
    rng = np.random.default_rng([SEED, number])
    return MAKERS[KINDS[number % len(KINDS)]](rng)


# ---- densities -----------------------------------------------------------------------------------


def steps(rng: np.random.Generator, n: int) -> Array:
    """Levels in [0, 1] on some intervals."""
    ends = np.sort(rng.integers(0, n + 1, rng.integers(0, 6)))
    return rng.random(ends.size + 1)[np.searchsorted(ends, np.arange(n), side="right")]


def waves(rng: np.random.Generator, n: int) -> Array:
    """A smooth curve from 0 to 1."""
    x = (np.arange(n) + 0.5) / n
    curve = sum(rng.normal() / k * np.cos(np.pi * k * x + 6 * rng.random()) for k in range(1, 5))
    span = np.ptp(curve)
    return (curve - curve.min()) / span if span > 0 else np.ones(n)


def bumps(rng: np.random.Generator, n: int) -> Array:
    """A sum of Gaussians of any width, at most 1."""
    x, total = (np.arange(n) + 0.5) / n, np.zeros(n)
    for _ in range(rng.integers(1, 5)):
        width = np.exp(rng.uniform(np.log(0.01), np.log(0.4)))
        total += rng.random() * np.exp(-0.5 * ((x - rng.random()) / width) ** 2)
    return total / total.max() if total.max() > 0 else np.ones(n)


def line(rng: np.random.Generator, n: int) -> Array:
    """Averages of a random law over n cells: any contrast, spikes, gaps of exact zeros."""
    contrast = 10 ** rng.uniform(0, MOST_DECADES)
    kind = rng.choice(["steps", "waves", "noise", "bumps", "spikes", "gaps"])
    if kind in ("steps", "waves", "noise"):
        level = {"steps": steps, "waves": waves, "noise": lambda r, n: r.random(n)}[kind](rng, n)
        return contrast ** (level - 1)
    if kind == "bumps":
        return 1 / contrast + bumps(rng, n)
    if kind == "spikes":
        values = np.full(n, 1 / contrast)
        values[rng.integers(0, n, rng.integers(1, 4))] = 1
        return values
    values = contrast ** (waves(rng, n) - 1) * (steps(rng, n) > rng.uniform(0.2, 0.7))
    return values if values.any() else np.ones(n)


def shape(rng: np.random.Generator, dim: int, most: int, cells: int) -> tuple[int, ...]:
    """1 to ``most`` cells an axis: any numbers, primes, one; at most so many cells."""
    while True:
        found = []
        for _ in range(dim):
            any_number = int(np.exp(rng.uniform(0, np.log(most + 1))))
            odd = rng.random()
            found.append(1 if odd < 0.05 else int(rng.choice(PRIMES)) if odd < 0.25 else any_number)
        if math.prod(found) <= cells and max(found) <= most:
            return tuple(found)


def box(rng: np.random.Generator, shape: tuple[int, ...]) -> pma.Grid:
    """The unit box, or one of any place and sides."""
    if rng.random() < 0.5:
        return pma.Grid(shape)
    sides = 10 ** rng.uniform(-1, 1, len(shape))
    lower = rng.uniform(-2, 2, len(shape))
    return pma.Grid(shape, lower, lower + sides)


# ---- products of lines ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """Masses of equal cells of an interval; ``points``: all of it at the centres."""

    masses: Array
    lower: float
    upper: float
    points: bool = False

    def quantiles(self) -> tuple[Array, Array, Array]:
        """Ends of probability of every cell (n + 1), and the quantile at both ends of each."""
        ends = np.concatenate([[0.0], np.cumsum(self.masses / self.masses.sum())])
        ends[-1] = 1.0
        faces = np.linspace(self.lower, self.upper, self.masses.size + 1)
        if self.points:
            centres = 0.5 * (faces[1:] + faces[:-1])
            return ends, centres, centres
        return ends, faces[:-1], faces[1:]

    def smooth(self) -> Line:
        """With the same averages: the derivative of a monotone cubic through the masses below."""
        n = self.masses.size
        below = np.concatenate([[0.0], np.cumsum(self.masses)])
        if n == 1:
            return self
        cubic = interpolate.PchipInterpolator(np.arange(n + 1.0), below)
        fine = np.diff(cubic(np.linspace(0, n, n * REFINED + 1)))
        return Line(np.maximum(fine, 0), self.lower, self.upper)


def transported(a: Line, b: Line) -> tuple[Array, Array]:
    """int (G^-1 - F^-1)^2 and int G^-1 over the probabilities of every cell of a.

    On pieces between all ends of probabilities both quantiles are linear: exact.
    """
    ends, low, high = a.quantiles()
    others, left, right = b.quantiles()
    p = np.union1d(ends, others)
    width, middle = np.diff(p), 0.5 * (p[1:] + p[:-1])
    cell = np.clip(np.searchsorted(ends, middle) - 1, 0, low.size - 1)
    image = np.clip(np.searchsorted(others, middle) - 1, 0, left.size - 1)

    def at(q: Array, e: Array, k: Array, start: Array, stop: Array) -> Array:
        span = e[k + 1] - e[k]
        share = np.divide(q - e[k], span, out=np.zeros_like(q), where=span > 0)
        return start[k] + (stop[k] - start[k]) * share

    first = [at(q, ends, cell, low, high) for q in (p[:-1], p[1:])]
    second = [at(q, others, image, left, right) for q in (p[:-1], p[1:])]
    gap = [y - x for x, y in zip(first, second, strict=True)]
    square = width * (gap[0] ** 2 + gap[0] * gap[1] + gap[1] ** 2) / 3
    mean = width * 0.5 * (second[0] + second[1])
    n = low.size
    return np.bincount(cell, square, n), np.bincount(cell, mean, n)


def means(a: Line, b: Line, n: int) -> Array:
    """Means of the map over n cells of a; where there is no mass, the image of its place."""
    _, total = transported(a, b)
    parts = a.masses.size // n
    mass = (a.masses / a.masses.sum()).reshape(n, parts).sum(axis=1)
    total = total.reshape(n, parts).sum(axis=1)
    below = np.cumsum(mass) - mass
    others, left, _ = b.quantiles()
    place = left[np.clip(np.searchsorted(others, below) - 1, 0, left.size - 1)]
    return np.divide(total, mass, out=place, where=mass > 0)


def product(rng: np.random.Generator) -> Trial:
    """Products of random lines on any boxes: every axis is transported by itself."""
    dim = int(rng.integers(1, 4))
    grids = [box(rng, shape(rng, dim, MOST_CELLS_AN_AXIS, MOST_CELLS)) for _ in range(2)]
    sides = [
        [
            Line(line(rng, n), low, high)
            for n, low, high in zip(grid.shape, grid.lower, grid.upper, strict=True)
        ]
        for grid in grids
    ]
    densities = [
        pma.Density(math.prod(np.meshgrid(*[s.masses for s in side], indexing="ij")), grid)
        for side, grid in zip(sides, grids, strict=True)
    ]
    models = {
        "cells": sides,
        "atoms": [[Line(s.masses, s.lower, s.upper, True) for s in side] for side in sides],
        "smooth": [[s.smooth() for s in side] for side in sides],
    }
    values, maps = {}, {}
    for name, (first, second) in models.items():
        pairs = list(zip(first, second, strict=True))
        values[name] = math.sqrt(sum(float(transported(a, b)[0].sum()) for a, b in pairs))
        lines = [means(a, b, n) for (a, b), n in zip(pairs, grids[0].shape, strict=True)]
        maps[name] = np.stack(np.meshgrid(*lines, indexing="ij"))
    return Trial("product", pma.Problem(*densities), values, maps)


# ---- linear programmes ---------------------------------------------------------------------------


def field_of(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A random density that is no product: the largest of some products."""
    parts = [
        math.prod(np.meshgrid(*[line(rng, n) for n in shape], indexing="ij"))
        for _ in range(rng.integers(1, 4))
    ]
    return np.maximum.reduce(parts)


def atoms_value(source: pma.Density, target: pma.Density) -> float:
    """W2^2 between atoms at the cell centres: a linear programme."""
    mass = [d.values.ravel() / d.values.sum() for d in (source, target)]
    gap = source.grid.points[:, None, :] - target.grid.points[None, :, :]
    cost = (gap**2).sum(axis=2)
    try:
        import ot
    except ImportError:
        return programme(mass[0], mass[1], cost)
    return float(ot.emd2(*mass, cost, numItermax=10**7))


def programme(a: Array, b: Array, cost: Array) -> float:
    """The same by SciPy."""
    rows = sparse.kron(sparse.eye(a.size), np.ones((1, b.size)))
    columns = sparse.kron(np.ones((1, a.size)), sparse.eye(b.size))
    found = optimize.linprog(
        cost.ravel(), A_eq=sparse.vstack([rows, columns]).tocsr(), b_eq=np.concatenate([a, b]),
        method="highs",
    )  # fmt: skip
    return float(found.fun)


def split(density: pma.Density, parts: int) -> pma.Density:
    """Every cell cut into so many parts of the same density along each axis."""
    values = density.values
    for axis in range(values.ndim):
        values = values.repeat(parts, axis=axis)
    return pma.Density(values, pma.Grid(values.shape, density.grid.lower, density.grid.upper))


def smoothed(density: pma.Density, parts: int) -> pma.Density:
    """The same, in the shape of monotone cubics through the masses below, axis by axis."""
    values = density.values
    for axis, n in enumerate(density.grid.shape):
        if n == 1:
            values = values.repeat(parts, axis=axis)
            continue
        below = np.insert(np.cumsum(values, axis=axis), 0, 0.0, axis=axis)
        cubic = interpolate.PchipInterpolator(np.arange(n + 1.0), below, axis=axis)
        ends = np.linspace(0, n, n * parts + 1)
        values = np.maximum(parts * np.diff(cubic(ends), axis=axis), 0.0)
    return pma.Density(values, pma.Grid(values.shape, density.grid.lower, density.grid.upper))


def linear(rng: np.random.Generator) -> Trial:
    """Any densities on few cells: exact for atoms and on lines, else from cut cells."""
    dim = int(rng.integers(1, 4))
    most = {1: 24, 2: 12, 3: 4}[dim]
    grids = [box(rng, shape(rng, dim, most, MOST_ATOMS)) for _ in range(2)]
    pair = [pma.Density(field_of(rng, grid.shape), grid) for grid in grids]
    values = {"atoms": math.sqrt(atoms_value(*pair))}
    if dim == 1:
        a, b = (Line(d.values, *d.grid.lower, *d.grid.upper) for d in pair)
        values["cells"] = math.sqrt(float(transported(a, b)[0].sum()))
        values["smooth"] = math.sqrt(float(transported(a.smooth(), b.smooth())[0].sum()))
    else:
        # at least in two; single cells say nothing of what they are cut into
        most = max(d.grid.size for d in pair)
        parts = 2 * max(1, int((MOST_CUT_ATOMS / most) ** (1 / dim)) // 2)
        rough, fine = (atoms_value(*(split(d, k) for d in pair)) for k in (parts // 2, parts))
        values["cut"] = math.sqrt(fine)
        values["smooth"] = math.sqrt(atoms_value(*(smoothed(d, parts) for d in pair)))
        values["cells"] = math.sqrt(max((4 * fine - rough) / 3, 0.0))
    return Trial("programme", pma.Problem(*pair), values)


# ---- copies --------------------------------------------------------------------------------------


def copy(rng: np.random.Generator) -> Trial:
    """A density and its copy, up to noise, in the same box or in another one: an affine map."""
    dim = int(rng.integers(1, 4))
    grid = box(rng, shape(rng, dim, MOST_CELLS_AN_AXIS, MOST_CELLS))
    source = pma.Density(field_of(rng, grid.shape), grid)
    onto = grid if rng.random() < 0.5 else box(rng, grid.shape)
    noise = 1 + NOISE * rng.normal(size=grid.shape)
    target = pma.Density(source.values * noise, onto)
    lower, other = (np.array(g.lower)[:, None] for g in (grid, onto))
    stretch = np.array(onto.lengths) / np.array(grid.lengths)
    image = other + stretch[:, None] * (grid.points.T - lower)
    mass = source.values.ravel() * grid.cell_volume
    atoms = float((mass * ((image - grid.points.T) ** 2).sum(axis=0)).sum())
    cells = atoms + float(((stretch - 1) ** 2 * np.square(grid.spacing) / 12).sum())
    values = {"atoms": math.sqrt(atoms), "cells": math.sqrt(cells)}
    return Trial("copy", pma.Problem(source, target), values,
                 {"affine": image.reshape(dim, *grid.shape)})  # fmt: skip


MAKERS = {"product": product, "programme": linear, "copy": copy}
