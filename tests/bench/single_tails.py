"""Single hard problems for `tails.py`: contrast, concentration, bent and dark targets, a tear."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import images
import numpy as np
from light_tails import UNIFORM, product, unit_spot
from tail_cases import Family, Given, cell_points
from tail_laws import Exponential, Gaussian, Mixture

import pma_grid as pma
from pma_grid import cases

Array = np.ndarray

DECADES = 6.0
REFERENCES = Path(__file__).parents[2] / "data" / "tails_references.npz"
REFERENCE = 128  # cells an axis of stored means, which are whole shares of the target's box
LEVELS = 2**16 - 1
LEAST_MASS = 1e-30  # of a cell that weighs means, relative: tails underflow
FINEST = 512  # pixels an axis of photographs, and cells of the grid of references
BANANA_FINEST = 256  # the same for the bent law
DARKEST = 1e-6  # of the brightest pixel, added to photographs
BLACK_SHARE = 0.5  # of the cat
# Box and law of the bent target: x ~ N(0, 1), y ~ N(x^2, 1/4)
BANANA_BOX = (-4.0, -2.5), (4.0, 9.5)
BANANA_WIDTH = 0.5
BANANA_NODES = 16  # Gauss points in x a cell; y is exact


def contrast(dim: int) -> Family:
    """Mass in one corner to the opposite one, densities over a range of 1e6."""
    rate = DECADES * math.log(10) / dim
    return product(f"contrast-{dim}d", "single", ((Exponential(-rate), Exponential(rate)),) * dim)


def banana(grid: pma.Grid) -> Array:
    """Cell averages of the bent law."""
    nodes, weights = np.polynomial.legendre.leggauss(BANANA_NODES)
    faces, total = grid.faces[1], np.zeros(grid.shape)
    for node, weight in zip(nodes, weights, strict=True):
        x = grid.axes[0][:, None] + 0.5 * grid.spacing[0] * node
        line = Mixture(faces[0], faces[-1], ((1.0, x**2, BANANA_WIDTH),))  # type: ignore[arg-type]
        total += weight * Gaussian()(x) * line.raw_mass(faces[:-1], faces[1:])
    return total


def dark(name: str) -> Array:
    """A photograph with black parts on FINEST^2 pixels: of scikit-image's, or the package's cat."""
    if name == "cat":
        photo = images.scene(images.bundled_photograph(name), FINEST)
        photo = np.maximum(photo - np.quantile(photo, BLACK_SHARE), 0)
    else:
        photo = images.named_scene(name, FINEST)
    return photo + DARKEST * photo.max()


def bent(name: str, reverse: bool = False) -> Family:
    """Between the uniform law and the bent one on the same box."""

    def build(n: int) -> Given:
        grid = pma.Grid((n, n), *BANANA_BOX)
        pair = pma.Density(np.ones((n, n)), grid), pma.Density(banana(grid), grid)
        return with_reference(name, pma.Problem(*(pair[::-1] if reverse else pair)))

    return Family(name, "single", 2, build)


def photograph(name: str) -> Family:
    """The uniform law to a dark photograph."""

    def build(n: int) -> Given:
        target = pma.Density(dark(name)).resampled(pma.Grid((n, n)))
        return with_reference(f"uniform-{name}", pma.Problem(np.ones((n, n)), target))

    return Family(f"uniform-{name}", "rough" if name == "cat" else "single", 2, build)


# ---- references ----------------------------------------------------------------------------------


def with_reference(name: str, problem: pma.Problem) -> Given:
    """The problem with the means of the map and W2 of a finer grid, where they are stored."""
    n = problem.source.shape[0]
    with np.load(REFERENCES) as stored:
        if name not in stored or REFERENCE % n:
            return Given(problem, None, None, math.nan)
        grid = problem.target.grid
        corner, sides = (np.array(v)[:, None, None] for v in (grid.lower, grid.lengths))
        means = corner + sides * stored[name].astype(float) / LEVELS
        mass = np.maximum(stored[f"{name}-mass"].astype(float), LEAST_MASS)
        w2 = float(stored[f"{name}-w2"])
    return Given(problem, None, blocks(mass * means, n) / blocks(mass, n), w2)


def blocks(values: Array, n: int) -> Array:
    """Sums over the last two axes down to n^2."""
    k = values.shape[-1] // n
    return values.reshape(*values.shape[:-2], n, k, n, k).sum(axis=(-3, -1))


def reference(name: str, solve: Callable[[pma.Problem], pma.Transport]) -> dict[str, Array]:
    """Means of the map on REFERENCE^2 from a finer grid, solved from the bent or dark side.

    That side is the easy one: from the uniform law the map is torn, or nearly so.  The map the
    other way is the inverse; both are taken at the centres of the fine cells.
    """
    n = BANANA_FINEST if "banana" in name else FINEST
    problem = singles()[name].build(n).problem
    if name == "banana-uniform":
        transport = solve(problem)
        fine = np.asarray(transport.gradient)
    else:
        transport = solve(problem.swapped())
        points = problem.source.grid.points
        fine = transport.inverse(points).T.reshape(2, n, n)
    mass = problem.source.values / problem.source.values.max()
    mass, grid = np.maximum(mass, LEAST_MASS), problem.target.grid
    means = blocks(mass * fine, REFERENCE) / blocks(mass, REFERENCE)
    corner, sides = (np.array(v)[:, None, None] for v in (grid.lower, grid.lengths))
    share = np.rint((means - corner) / sides * LEVELS).astype(np.uint16)
    coarse = blocks(mass, REFERENCE)
    return {
        name: share, f"{name}-w2": np.array(transport.w2),
        f"{name}-mass": coarse.astype(np.float32),
    }  # fmt: skip


def make_references(solve: Callable[[pma.Problem], pma.Transport] = pma.solve) -> None:
    """Write the file of references; photographs of scikit-image's are needed for all of them."""
    names = [name for name in singles() if name.startswith("uniform-") and "gauss" not in name]
    stored = [reference(name, solve) for name in (*names, "banana-uniform")]
    np.savez_compressed(REFERENCES, **{key: v for part in stored for key, v in part.items()})


def ring() -> Family:
    """A disc to a ring: torn at the centre."""
    case = cases.ball_to_shell(2)

    def build(n: int) -> Given:
        problem = case.problem((n, n))
        grid, inside = problem.source.grid, problem.source.values > 0
        first, mass = np.zeros((2, n, n)), np.zeros((n, n))
        for weight, x in cell_points(grid, 8):
            here = weight * (((x - 0.5) ** 2).sum(axis=0) <= 0.3**2)
            mass += here
            first += here * case.gradient(*x)
        centres = case.gradient(*grid.coordinates())
        means = np.divide(first, mass, out=centres.copy(), where=inside & (mass > 0))
        return Given(problem, centres, means, math.sqrt(case.w2_squared))

    return Family("disc-ring", "torn", 2, build)


def singles() -> dict[str, Family]:
    """By name."""
    found = [
        *(contrast(dim) for dim in (1, 2, 3)),
        product("uniform-gauss.1", "single", ((UNIFORM, unit_spot(0.5, 0.1)),) * 2),
        product("gauss.05-uniform", "single", ((unit_spot(0.5, 0.05), UNIFORM),) * 2),
        bent("uniform-banana"),
        bent("banana-uniform", reverse=True),
        *(photograph(name) for name in ("cat", *(("astronaut",) * images.have_scenes()))),
        ring(),
    ]
    return {family.name: family for family in found}


if __name__ == "__main__":
    make_references()
