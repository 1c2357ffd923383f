"""`solve` on data that are rough, concentrated, torn or zero: images, closed forms, speed.

    python tests/bench/hard.py                       # everything
    python tests/bench/hard.py --part pairs --classes shapes photograph --sizes 32 128
    python tests/bench/hard.py --part closed --json

pairs   40 pairs of images (tests/bench/images.py).  At 32^2 against the exact linear programme of
        the atoms: "32/2" has every pixel cut into four, "32" has not.  dW2 in pixels of 1/32 is of
        `w2`, which belongs to cells, not atoms.  "dual" is the rigorous value of the potential for
        atoms, relative to the programme's (LP) and to that of the multiscale Sinkhorn (S) at
        eps = h^2/2; differences also in h^2.  "S plain": of the Sinkhorn potentials as they are,
        which S improves on before it forgets eps.
closed  Cases with an exact map: errors of W2 and of the map (mu-weighted) in per cent of W2, the
        latter also more than two cells away from tears.
torn    Those of the plane that are torn, finer.
speed   Concentrated Gaussians, raw photographs; a unit is one pass of a variable stencil.
convex  Targets that are no boxes, affine maps and others: errors of grad u, the largest and the L2
        mean in the interior of the source, and their orders when the number of cells is doubled.

One thread, kernels compiled beforehand.  A solve that fails is reported with its partial result.
Where `solve` hands back an entropic plan ("entropic"), the equation was not solved and the
comparison with S is one of S with itself: the summary counts such rows apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import images
import numpy as np
import unit
from attempts import ONE_THREAD, Row, attempt, distance, line, number

import pma_grid as pma
from pma_grid import cases
from pma_grid.problem.reduction import Reduction
from pma_grid.transport.atomic_dual import dual_of_atoms

CLOSED_SIZES = {1: 256, 2: 128, 3: 32}
TORN_SIZE = 256
PHOTOGRAPHS = ("astronaut", "moon", "coffee", "chelsea")


# ---- one solve -----------------------------------------------------------------------------------


def dual(transport: pma.Transport) -> float | None:
    """The largest lower bound of W2^2 between the atoms that the potential alone gives."""
    if not np.isfinite(transport.potential).all():
        return None
    return dual_of_atoms(transport.problem, transport.phi)


def plain_dual(entropic: pma.EntropicTransport) -> float:
    """The same of Sinkhorn's potentials as they are."""
    reduced = Reduction(entropic.problem).reduced(entropic.source_potential)
    return dual_of_atoms(entropic.problem, -reduced)


# ---- parts ---------------------------------------------------------------------------------------


def pairs(options: argparse.Namespace) -> Iterator[Row]:
    """Images against linear programmes and the multiscale solver."""
    for n in options.sizes or images.SIZES:
        for pair in images.pairs(options.set, tuple(options.classes)):
            for split in (2, 1) if n == 32 else (1,):
                yield pair_row(pair, n, split, options.limit)


def pair_row(pair: images.Pair, n: int, split: int, limit: float) -> Row:
    """One pair on one grid."""
    problem = pair.problem(n, split)
    transport, figures = attempt(problem, limit)
    size = str(n) if split == 1 else f"{n}/{split}"
    row: Row = {"class": pair.kind, "pair": pair.index, "n": size, **figures}
    entropic = pma.sinkhorn(problem, method="multiscale")
    bound, plain = entropic.stats["hard_dual"], plain_dual(entropic)
    row |= {"s_dual": bound, "s_plain_dual": plain, "s_seconds": entropic.stats["seconds"]}
    row["plain_s"] = 100 * (plain / bound - 1)
    exact = images.exact(pair, n, split)
    if exact is not None:
        row |= {"lp": exact, "s_lp": 100 * (bound / exact - 1)}
        row["plain_lp"] = 100 * (plain / exact - 1)
    if transport is None:
        return row
    mine, w2 = dual(transport), distance(transport)
    row |= {"dual": mine, "w2": w2}
    if mine is not None:
        h = problem.source.grid.spacing[0]
        row |= {"dual_s": 100 * (mine / bound - 1), "dual_s_h2": (mine - bound) / h**2}
        if exact is not None:
            row |= {"dual_lp": 100 * (mine / exact - 1), "dual_lp_h2": (mine - exact) / h**2}
    if exact is not None and w2 is not None:
        row["pixels"] = abs(w2 - exact**0.5) * n
    return row


def closed(options: argparse.Namespace) -> Iterator[Row]:
    """Closed forms in one, two and three dimensions."""
    for dim, n in CLOSED_SIZES.items():
        for case in cases.hard_cases(dim):
            yield case_row(case, n, options.limit)


def torn(options: argparse.Namespace) -> Iterator[Row]:
    """The torn cases of the plane and their reverses, finer."""
    every = {case.name: case for case in cases.hard_cases(2)}
    for name, case in every.items():
        forward = every[name.removesuffix("-reversed")]
        if forward.tear is not None:
            yield case_row(case, TORN_SIZE, options.limit)


def case_row(case: cases.HardCase, n: int, limit: float) -> Row:
    """One closed form on one grid."""
    problem = case.problem((n,) * case.dim)
    transport, figures = attempt(problem, limit)
    row: Row = {"case": case.name, "n": n, **figures}
    if transport is None:
        return row
    exact = case.w2_squared**0.5
    w2, bound = distance(transport), dual(transport)
    row["w2_error"] = None if w2 is None else 100 * (w2 / exact - 1)
    if bound is not None:
        h = problem.source.grid.spacing[0]
        row["dual_h2"] = (bound - case.w2_squared) / h**2
    if case.gradient is not None:
        grid, mass = problem.source.grid, problem.source.values
        gap = ((transport.gradient - case.gradient(*grid.coordinates())) ** 2).sum(axis=0)
        away = np.ones(grid.shape, bool)
        if case.tear is not None:
            away = case.tear(*grid.coordinates()) > 2 * max(grid.spacing)
        for name, where in (("map_error", np.ones_like(away)), ("map_away", away)):
            square = (mass * gap)[where].sum() / mass[where].sum()
            row[name] = number(100 * np.sqrt(square) / exact)
    return row


def speed(options: argparse.Namespace) -> Iterator[Row]:
    """Concentrated data at 256^2 and raw photographs at 512^2 and 1024^2."""
    for name, problem in speed_problems(options.sizes):
        n = problem.source.shape[0]
        transport, figures = attempt(problem, options.limit)
        row: Row = {"case": name, "n": n, **figures}
        row["units"] = figures["seconds"] / unit.seconds(problem.source.shape, repeats=5)
        if transport is not None:
            row |= {"w2": distance(transport), "dual": dual(transport)}
        yield row


def speed_problems(sizes: list[int] | None) -> Iterator[tuple[str, pma.Problem]]:
    """Names and problems, one at a time."""
    shape = (256, 256)
    concentrated = cases.concentrated().problem(shape)
    flat = np.ones(shape)
    yield "P4", concentrated
    yield "uniform-concentrated", pma.Problem(flat, concentrated.target)
    yield "concentrated-uniform", pma.Problem(concentrated.source, flat)
    for n in sizes or (512, 1024):
        if not images.have_scenes():
            both = (images.bundled_photograph(name) for name in ("camera", "cat"))
            yield "camera-cat", pma.Problem(*(images.scene(photo, n) for photo in both))
            continue
        for name in PHOTOGRAPHS:
            pair = (images.named_scene(photo, n) for photo in ("camera", name))
            yield f"camera-{name}", pma.Problem(*pair)


@dataclass(frozen=True)
class Onto:
    """From the uniform law on a convex set in the unit box onto a density on another set.

    ``gradient`` takes points (m, 2) to their exact images; None: those of a grid twice as fine as
    the finest, at which errors are second order where the map is.
    """

    name: str
    source: pma.Polygon | pma.Ellipse
    target: pma.Polygon | pma.Ellipse
    weight: Callable[..., np.ndarray] = lambda x, y: np.ones_like(x + y)
    gradient: Callable[[np.ndarray], np.ndarray] | None = None

    def problem(self, n: int) -> pma.Problem:
        """On n^2 cells of the unit box, and of the box around the target."""
        grid, around = pma.Grid((n, n)), pma.Grid((n, n), *self.target.bounds())
        densities = (
            pma.Density(self.source.fractions(grid), grid),
            pma.Density(self.target.averages(self.weight, around), around),
        )
        return pma.Problem(*densities, target_domain=self.target)


# An affine map, x MATRIX + SHIFT, of three sets; and the share of a source that is its interior.
MATRIX, SHIFT = np.array([[0.55, 0.2], [0.2, 0.45]]), np.array([0.1, 0.15])
SQUARE = pma.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
PENTAGON = pma.Polygon([(0.1, 0.2), (0.7, 0.1), (0.9, 0.5), (0.6, 0.9), (0.2, 0.8)])
ELLIPSE = pma.Ellipse((0.5, 0.5), axes=(0.4, 0.25))
CONVEX_SIZES = (32, 64, 128, 256)
INTERIOR = 0.7


def affine(points: np.ndarray) -> np.ndarray:
    """The images of points (m, 2)."""
    return points @ MATRIX + SHIFT


def bump(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A density that is not constant."""
    return np.exp(-3 * (x - 0.3) ** 2 - 2 * (y - 0.6) ** 2)


def onto() -> tuple[Onto, ...]:
    """The cases: affine images of three sets; densities on a polygon and on a disc."""
    images_of = {"square": SQUARE, "pentagon": PENTAGON, "ellipse": ELLIPSE}
    maps = [
        Onto(f"{name}, affine", source, pma.Polygon(affine(source.outline)), gradient=affine)
        for name, source in images_of.items()
    ]
    return (
        *maps,
        Onto("square onto pentagon", SQUARE, PENTAGON, bump),
        Onto("square onto disc", SQUARE, pma.Ellipse((0.5, 0.5), axes=0.4), bump),
    )


def convex(options: argparse.Namespace) -> Iterator[Row]:
    """Errors of grad u, and their orders."""
    sizes = options.sizes or CONVEX_SIZES
    for case in onto():
        exact = case.gradient
        if exact is None:
            reference, _ = attempt(case.problem(2 * max(sizes)), options.limit)
            exact = None if reference is None else reference.map
        before: Row = {}
        for n in sizes:
            row = convex_row(case, exact, n, options.limit)
            for error in ("largest", "mean"):
                if row.get(error) and before.get(error):
                    row[f"{error}_order"] = float(np.log2(before[error] / row[error]))
            before = row
            yield row


def convex_row(
    case: Onto, exact: Callable[[np.ndarray], np.ndarray] | None, n: int, limit: float
) -> Row:
    """One grid: the largest error in cells of the source alone, the L2 mean in its interior."""
    problem = case.problem(n)
    transport, figures = attempt(problem, limit)
    row: Row = {"case": case.name, "n": n, **figures}
    if transport is None or exact is None:
        return row
    x = problem.source.grid.coordinates().reshape(2, -1).T
    error = np.linalg.norm(transport.gradient.reshape(2, -1).T - exact(x), axis=1)
    whole = case.source.fractions(problem.source.grid).ravel() > 1 - 1e-9
    middle = case.source.outline.mean(axis=0)
    inner = case.source.contains(middle + (x - middle) / INTERIOR)
    row["largest"], row["mean"] = error[whole].max(), np.sqrt((error[inner] ** 2).mean())
    return row


# ---- tables --------------------------------------------------------------------------------------

SOLVE = (("status", "20s"), ("seconds", "8.2f"), ("newton", "6d"), ("newton_all", "10d"),
         ("linear", "6d"), ("alpha", "9.1e"))  # fmt: skip
ERRORS = (("w2_error", "8.3f"), ("map_error", "9.3f"), ("map_away", "8.3f"), ("dual_h2", "9.2f"))
COLUMNS = {
    "pairs": (("class", "15s"), ("pair", "4d"), ("n", "4s"), *SOLVE, ("pixels", "7.3f"),
              ("dual_lp", "8.3f"), ("s_lp", "8.3f"), ("plain_lp", "8.3f"), ("dual_s", "9.3f"),
              ("plain_s", "8.3f"), ("dual_s_h2", "9.3f"),
              ("s_seconds", "9.2f")),
    "closed": (("case", "27s"), ("n", "4d"), *SOLVE, *ERRORS),
    "speed": (("case", "27s"), ("n", "4d"), *SOLVE, ("units", "6.0f"), ("w2", "9.6f")),
    "convex": (("case", "27s"), ("n", "4d"), *SOLVE, ("largest", "9.2e"), ("largest_order", "5.2f"),
               ("mean", "9.2e"), ("mean_order", "5.2f")),
}  # fmt: skip
COLUMNS["torn"] = COLUMNS["closed"]
PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "pairs": pairs, "closed": closed, "torn": torn, "speed": speed, "convex": convex,
}  # fmt: skip


def summary(rows: list[Row]) -> Iterator[str]:
    """The worst of every class on every grid."""
    yield (f"{'class':15} {'n':4} {'solved':>6} {'entropic':>8} {'failed':>6} {'seconds':>8} "
           f"{'pixels':>7} {'dual LP %':>10} "
           f"{'S LP %':>8} {'S plain LP %':>12} {'dual S %':>9} {'dual S/h2':>9} "
           f"{'|alpha|':>8}")  # fmt: skip
    for n in dict.fromkeys(row["n"] for row in rows):
        for kind in dict.fromkeys(row["class"] for row in rows):
            some = [row for row in rows if row["n"] == n and row["class"] == kind]
            if some:
                failed = sum(not row["good"] for row in some)
                entropic = sum(row["status"] == "entropic" for row in some)
                solved = len(some) - failed - entropic
                yield (f"{kind:15} {n:4} {solved:6} {entropic:8} {failed:6} "
                       f"{worst(some, 'seconds', max):>8} {worst(some, 'pixels', max):>7} "
                       f"{worst(some, 'dual_lp', min):>10} "
                       f"{worst(some, 's_lp', min):>8} {worst(some, 'plain_lp', min):>12} "
                       f"{worst(some, 'dual_s', min):>9} "
                       f"{worst(some, 'dual_s_h2', min):>9} "
                       f"{worst(some, 'alpha', lambda a: max(map(abs, a))):>8}")  # fmt: skip


def worst(rows: list[Row], name: str, choose: Callable) -> str:
    """The extreme of a column with three decimals."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{choose(values):.3f}" if values else "-"


def warm_up() -> None:
    """Compile what the studies need, fallbacks included."""
    pma.warmup((1, 2, 3))
    for case in (cases.corners(1), cases.corners(2), cases.corners(3)):
        problem = case.problem((24,) * case.dim)
        transport, _ = attempt(problem, 600)
        pma.sinkhorn(problem, method="multiscale")
        if transport is not None:
            dual(transport), distance(transport)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", nargs="+", type=int, help="of pairs, photographs, convex")
    parser.add_argument("--classes", nargs="+", choices=images.CLASSES, default=images.CLASSES)
    parser.add_argument("--set", choices=images.SETS, default="first")
    parser.add_argument("--limit", type=float, default=300, help="seconds a solve may take")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # threads are counted when NumPy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv],
                  os.environ | dict.fromkeys(ONE_THREAD, "1"))  # fmt: skip
    warm_up()
    for part in options.part:
        rows = []
        if not options.json:
            names: Row = {name: name for name, _ in COLUMNS[part]}
            print(f"\n{part}", line(names, COLUMNS[part]), sep="\n", flush=True)
        for row in PARTS[part](options):
            rows.append(row)
            text = json.dumps({"part": part, **row}) if options.json else line(row, COLUMNS[part])
            print(text, flush=True)
        if part == "pairs" and not options.json:
            print("\nworst of each class", *summary(rows), sep="\n", flush=True)


if __name__ == "__main__":
    main()
