"""Single hard problems for `tails.py`: contrast, concentration, bent and dark targets, a tear."""

from __future__ import annotations

import math
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
FINEST = 512  # pixels an axis of the photograph, and cells of the grid of references
DARKEST = 1e-6  # of the brightest pixel, added to photographs
BLACK_SHARE = 0.05
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


def dark() -> Array:
    """A photograph with black parts on FINEST^2 pixels; scikit-image's astronaut where it is."""
    if images.have_scenes():
        photo = images.named_scene("astronaut", FINEST)
    else:  # the cat of the package, its darkest part black
        photo = images.scene(images.bundled_photograph("cat"), FINEST)
        photo = np.maximum(photo - np.quantile(photo, BLACK_SHARE), 0)
    return photo + DARKEST * photo.max()


def bent(name: str, reverse: bool = False) -> Family:
    """Between the uniform law and the bent one on the same box."""

    def build(n: int) -> Given:
        grid = pma.Grid((n, n), *BANANA_BOX)
        pair = pma.Density(np.ones((n, n)), grid), pma.Density(banana(grid), grid)
        return with_reference(name, pma.Problem(*(pair[::-1] if reverse else pair)))

    return Family(name, "single", 2, build)


def photograph() -> Family:
    """The uniform law to a dark photograph."""

    def build(n: int) -> Given:
        target = pma.Density(dark()).resampled(pma.Grid((n, n)))
        return with_reference("uniform-dark", pma.Problem(np.ones((n, n)), target))

    return Family("uniform-dark", "single", 2, build)


def with_reference(name: str, problem: pma.Problem) -> Given:
    """The problem with the map's means and W2 of a finer grid, where they are stored."""
    n = problem.source.shape[0]
    if not REFERENCES.exists():
        return Given(problem, None, None, math.nan)
    with np.load(REFERENCES) as stored:
        means = stored.get(f"{name}-{n}")
        return Given(problem, None, means, float(stored[f"{name}-w2"]))


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
        photograph(),
        ring(),
    ]
    return {family.name: family for family in found}
