"""`solve` on light tails, gaps and long images: errors against closed forms, time, what is missed.

    python tests/bench/tails.py                                   # everything
    python tests/bench/tails.py --dims 2 --sizes 128 --families g_mild t4 spots_h
    python tests/bench/tails.py --parts single --against ../before

families  Gaussians, truncated products, separated spots, manufactured potentials (light_tails.py).
single    Contrast 1e6, uniform to narrow and back, a bent target, a dark photograph, a tear
          (single_tails.py).

Given are cell averages, options are the defaults, and one thread works.  "map": L2 over mass of T
at the centres of cells against the truth there, over W2.  "means": the same of the means of T over
cells (`Transport.cell_means`) against the truth's means; "-" where there are none.  "W2": relative
error.  "order": of the map's error since the size before.  N, L, S: Newton and linear iterations
and stages on the finest grid.  "s": processor seconds; "ratio": over those of a smooth problem of
the same size in the same run (P2; P5 in 3-D).  What misses its limit is marked with a star, and
named in the last column.  A solve that fails is reported with its partial result.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attempts import ONE_THREAD, Row, attempt, distance, line
from light_tails import families
from single_tails import singles
from tail_cases import Family, Given

import pma_grid as pma
from pma_grid import cases

SIZES = {1: (64, 256, 1024), 2: (64, 128, 256), 3: (16, 24, 32, 48)}
SINGLE_SIZES = {1: (256,), 2: (64, 128), 3: (32,)}
SMOOTH_REPEATS, QUICK_SECONDS = 3, 0.5  # solves below that are timed as often as smooth ones

# What is to be reached: (axes, cells an axis, kinds of laws) -> largest errors.
LIMITS: tuple[tuple[int, int, tuple[str, ...], dict[str, float]], ...] = (
    (1, 256, ("gauss", "product", "laplace", "man", "narrow"), {"map": 1e-4, "w2": 1e-6}),
    (1, 256, ("gaps",), {"means": 5e-4, "w2": 1e-6}),
    (2, 128, ("gauss",), {"map": 1.5e-4, "w2": 1e-6}),
    (2, 128, ("rotx",), {"map": 1e-3, "w2": 1e-6}),
    (2, 128, ("product",), {"map": 5e-3, "w2": 1e-5}),
    (2, 128, ("laplace",), {"map": 2e-2, "w2": 2e-4}),
    (2, 128, ("gaps",), {"means": 5e-3, "w2": 6e-4}),
    (2, 128, ("man",), {"map": 1e-3, "w2": 1e-5}),
    (2, 128, ("narrow",), {"map": 1e-2, "w2": 3e-5}),
    (3, 32, ("gauss", "product", "laplace"), {"map": 5e-2}),
    (3, 32, ("gaps",), {"means": 5e-2}),
    (3, 32, ("man",), {"map": 7e-2}),
    (3, 48, ("gauss", "product", "laplace"), {"map": 1e-2, "w2": 1e-3}),
    (3, 48, ("gaps",), {"means": 1e-2, "w2": 1e-3}),
    (3, 48, ("man",), {"map": 2e-2, "w2": 1e-3}),
    (1, 256, ("single",), {"means": 1e-2}),
    (2, 128, ("single",), {"means": 1e-2}),
    (3, 32, ("single",), {"means": 1e-2}),
    (2, 128, ("rough",), {"means": 2e-2}),  # its reference sees pixels of 1/512
)
# Gaussian pairs at 256^2: of this order since 128^2, or with this error at most.
LEAST_ORDER, SMALL_ERROR = 2.0, 1e-5
# Time over that of a smooth problem: the median and nine of ten, by (axes, cells an axis).
TIMES = {
    (2, 64): (1.5, 4.0), (2, 128): (1.5, 4.0), (2, 256): (2.5, 6.0),
    (3, 16): (1.5, 4.0), (3, 24): (1.5, 4.0), (3, 32): (1.5, 4.0), (3, 48): (1.5, 4.0),
}  # fmt: skip

COLUMNS = (
    ("case", "16s"), ("dim", "3d"), ("n", "4d"), ("status", "14s"), ("map", "9s"), ("means", "9s"),
    ("w2", "9s"), ("order", "5.1f"), ("N", "3d"), ("L", "4d"), ("S", "2d"), ("s", "6.2f"),
    ("ratio", "5.1f"),
)  # fmt: skip
BEFORE = (("status", "14s"), ("map", "8.1e"), ("means", "8.1e"), ("w2", "8.1e"), ("s", "6.2f"))


# ---- one problem ---------------------------------------------------------------------------------


def map_error(given: Given, field: np.ndarray | None, truth: np.ndarray | None) -> float | None:
    """L2 over mass of a field (d, *shape) against the truth, over W2; None where not known."""
    if field is None or truth is None:
        return None
    source = given.problem.source
    square = ((np.asarray(field) - truth) ** 2).sum(axis=0)
    mass = source.values * source.grid.cell_volume
    error = math.sqrt(float((mass * square).sum())) / given.w2
    return error if math.isfinite(error) else None


def field(transport: pma.Transport, name: str) -> np.ndarray | None:
    """The map at the centres or its means; None where the package or the result has none."""
    try:
        return getattr(transport, name, None)
    except (pma.PMAError, ArithmeticError, ValueError):  # a partial potential may be anything
        return None


def timed(problem: pma.Problem, limit: float) -> tuple[pma.Transport | None, Row, float]:
    """`solve`, its figures, and the least processor time of some repeats."""
    times: list[float] = []
    while True:
        began = time.process_time()
        transport, figures = attempt(problem, limit)
        times.append(time.process_time() - began)
        if len(times) == SMOOTH_REPEATS or times[0] > QUICK_SECONDS:
            return transport, figures, min(times)


def measured(family: Family, n: int, limit: float) -> Row:
    """One problem: status, errors, iterations, time."""
    given = family.build(n)
    transport, figures, seconds = timed(given.problem, limit)
    row: Row = {
        "case": family.name, "kind": family.kind, "dim": family.dim, "n": n,
        "status": figures["status"], "s": seconds,
    }  # fmt: skip
    if transport is None:
        return row
    last = (transport.stats.get("levels") or [{}])[-1]
    row |= {"N": last.get("newton"), "L": last.get("linear"), "S": last.get("stages")}
    row["alpha"] = figures["alpha"]
    row["map"] = map_error(given, field(transport, "gradient"), given.centres)
    row["means"] = map_error(given, field(transport, "cell_means"), given.means)
    if given.centres is None:  # only the means are known: centres are held to them
        row["map"] = map_error(given, field(transport, "gradient"), given.means)
    w2 = distance(transport)
    if w2 is not None and math.isfinite(given.w2):
        row["w2"] = w2 / given.w2 - 1
    return row


class Smooth:
    """Processor seconds of `solve` on the smooth problem of a size, once a run."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], float] = {}

    def seconds(self, dim: int, n: int) -> float:
        """The least of some repeats, after a first solve."""
        if (dim, n) not in self.known:
            problem = cases.manufactured(dim=dim).problem((n,) * dim)
            times = []
            for _ in range(SMOOTH_REPEATS + 1):
                began = time.process_time()
                pma.solve(problem)
                times.append(time.process_time() - began)
            self.known[dim, n] = min(times[1:])
        return self.known[dim, n]


# ---- limits --------------------------------------------------------------------------------------


def misses(row: Row) -> list[str]:
    """What a row does not reach of its limits."""
    kind, at = row["kind"], (row["dim"], row["n"])
    found = [] if row["status"] == "converged" or kind == "torn" else ["status"]
    for dim, n, kinds, limits in LIMITS:
        if (dim, n) == at and kind in kinds:
            # without means, the map at the centres has to do
            names = {"means": "means" if row.get("means") is not None else "map"}
            for name, limit in limits.items():
                value = row.get(names.get(name, name))
                if value is None or abs(value) > limit:
                    found.append(name)
    low_order = row.get("order", math.inf) < LEAST_ORDER and row["map"] > SMALL_ERROR
    if at == (2, 256) and kind == "gauss" and low_order:
        found.append("order")
    return found


def starred(row: Row) -> Row:
    """Errors as text, those that miss their limits with a star."""
    out = dict(row)
    for name in ("map", "means", "w2"):
        if row.get(name) is not None:
            out[name] = f"{row[name]:.1e}" + "*" * (name in row["misses"])
    return out


def summary(rows: list[Row]) -> Iterator[str]:
    """Per size: how many converged, and the ratios of time against their limits."""
    yield f"{'dim':>3} {'n':>4} {'converged':>9} {'of':>3} {'median':>6} {'90 %':>6} {'worst':>6}"
    for dim, n in dict.fromkeys((row["dim"], row["n"]) for row in rows):
        some = [row for row in rows if (row["dim"], row["n"]) == (dim, n)]
        ratios = [row["ratio"] for row in some]
        middle, most = np.quantile(ratios, (0.5, 0.9))
        limits = TIMES.get((dim, n), (math.inf, math.inf))
        stars = [
            "*" * int(value > limit) for value, limit in zip((middle, most), limits, strict=True)
        ]
        worst = max(some, key=lambda row: row["ratio"])
        solved = sum(row["status"] == "converged" for row in some)
        yield (
            f"{dim:3} {n:4} {solved:9} {len(some):3} {middle:5.1f}{stars[0]:1} "
            f"{most:5.1f}{stars[1]:1} {worst['ratio']:6.1f} {worst['case']}"
        )


# ---- the run -------------------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> Iterator[tuple[str, Family, tuple[int, ...]]]:
    """Parts, families and their sizes."""
    for dim in options.dims:
        if "families" in options.parts:
            for family in families(dim).values():
                yield "families", family, SIZES[dim]
    for family in singles().values():
        if "single" in options.parts and family.dim in options.dims:
            yield "single", family, SINGLE_SIZES[family.dim]


def rows_of(options: argparse.Namespace) -> Iterator[Row]:
    """All that was asked for, in order."""
    smooth = Smooth()
    for part, family, sizes in chosen(options):
        if options.families and family.name not in options.families:
            continue
        before: Row = {}
        for n in options.sizes or sizes:
            row = {"part": part, **measured(family, n, options.limit)}
            row["ratio"] = row["s"] / smooth.seconds(family.dim, n)
            if row.get("map") and before.get("map"):
                row["order"] = math.log(before["map"] / row["map"]) / math.log(n / before["n"])
            row["misses"] = misses(row)
            before = row
            yield row


def elsewhere(checkout: Path) -> dict[tuple[object, ...], Row]:
    """The same run with the package of another checkout."""
    passed = [word for word in sys.argv[1:] if word != "--json"]
    at = next(k for k, word in enumerate(passed) if word.startswith("--against"))
    del passed[at : at + (1 if "=" in passed[at] else 2)]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, __file__, *passed, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{checkout} failed:\n{done.stderr}")
    rows = [json.loads(text) for text in done.stdout.splitlines()]
    return {(row["case"], row["dim"], row["n"]): row for row in rows}


def report(options: argparse.Namespace) -> None:
    """Print every row as it comes, and the summary."""
    there = elsewhere(options.against) if options.against else {}
    rows = []
    if not options.json:
        names = line({name: name for name, _ in COLUMNS}, COLUMNS)
        before = "| before: " + line({name: name for name, _ in BEFORE}, BEFORE) if there else ""
        print(names, before, "misses", flush=True)
    for row in rows_of(options):
        rows.append(row)
        old = there.get((row["case"], row["dim"], row["n"]))
        if options.json:
            then = {f"{name} before": old.get(name) for name, _ in BEFORE} if old else {}
            print(json.dumps(row | then), flush=True)
            continue
        text = "| before: " + line(old, BEFORE) if old else ""
        print(line(starred(row), COLUMNS), text, " ".join(row["misses"]), flush=True)
    if not options.json:
        for part in dict.fromkeys(row["part"] for row in rows):
            print(f"\n{part}", *summary([r for r in rows if r["part"] == part]), sep="\n")


def warm_up(dims: list[int]) -> None:
    """Compile what solves need, what they fall back on included."""
    pma.warmup(tuple(dims))
    for dim in dims:
        for name in ("g_mild", "one2spots"):
            transport, _ = attempt(families(dim)[name].build(16).problem, 600)
            if transport is not None:
                field(transport, "gradient"), field(transport, "cell_means"), distance(transport)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("families", "single"),
                        default=["families", "single"])  # fmt: skip
    parser.add_argument("--dims", nargs="+", type=int, choices=(1, 2, 3), default=[1, 2, 3])
    parser.add_argument("--families", nargs="+", help="names of families or single problems")
    parser.add_argument("--sizes", nargs="+", type=int, help="cells an axis")
    parser.add_argument("--limit", type=float, default=300, help="seconds a solve may take")
    parser.add_argument("--against", type=Path, help="folder of a checkout to compare with")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # threads are counted when NumPy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv],
                  os.environ | dict.fromkeys(ONE_THREAD, "1"))  # fmt: skip
    warm_up(options.dims)
    report(options)


if __name__ == "__main__":
    main()
