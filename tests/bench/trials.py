"""Random problems with known answers: how often `solve` is wrong, and how often it has no answer.

    python tests/bench/trials.py                     # a thousand
    python tests/bench/trials.py --count 200 --jobs 2
    python tests/bench/trials.py --only 17 93        # these alone, in full

product    of random 1-D laws: steps, waves, noise, bumps, spikes, gaps of exact zeros; contrasts of
           1 to 1e12; 1 to 200 cells an axis, primes, single cells; any boxes, others on both sides.
           Truth: exact transport of quantiles, for laws constant on cells, for atoms at their
           centres, and for smooth laws with these averages.
programme  no products, few cells: linear programmes between atoms, between atoms of cut cells, and
           of cells cut smoothly.
copy       a density and its copy but for noise of 1e-10, in its box or in another one.

An answer is wrong where W2 lies outside the span of the models' values by more than the larger of
5 % and .05 cell, or the map is a cell off the nearest model's in the mean over mass (means over
cells where there are any, else T at the centres).  A cell is the largest spacing of both grids, for
maps axis by axis.  No success may be wrong; at most 1 % may go unanswered.  Times are processor
seconds of one thread, over those of a smooth problem of as many cells.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from attempts import ONE_THREAD, Row, attempt, distance
from trial_laws import Trial, trial

import pma_grid as pma
from pma_grid import cases

W2_SHARE, W2_CELLS, MAP_CELLS = 0.05, 0.05, 1.0
MOST_UNANSWERED = 0.01
SLOWEST = 5  # lines of the table of times


# ---- judgement -----------------------------------------------------------------------------------


def spacings(problem: pma.Problem) -> np.ndarray:
    """The larger spacing of both grids, axis by axis."""
    return np.maximum(problem.source.grid.spacing, problem.target.grid.spacing)


def w2_wrong(found: Trial, w2: float | None) -> bool:
    """Whether W2 lies outside the span of the models by more than is allowed."""
    if w2 is None:
        return True
    low, high = min(found.values.values()), max(found.values.values())
    slack = W2_CELLS * float(spacings(found.problem).max())
    return not (low - max(slack, W2_SHARE * low) <= w2 <= high + max(slack, W2_SHARE * high))


def map_cells(found: Trial, transport: pma.Transport) -> float | None:
    """Distance of the map to the nearest model's in cells, in the mean over mass."""
    if not found.maps:
        return None
    try:
        means = getattr(transport, "cell_means", None)
        mine = np.asarray(transport.gradient if means is None else means)
    except (pma.PMAError, ArithmeticError, ValueError):
        return math.inf
    source = found.problem.source
    scale = spacings(found.problem).reshape(-1, *[1] * source.dim)
    mass = source.values * source.grid.cell_volume
    gaps = [
        float((mass * np.sqrt((((mine - truth) / scale) ** 2).sum(axis=0))).sum())
        for truth in found.maps.values()
    ]
    return min(gaps) if all(map(math.isfinite, gaps)) else math.inf


def judged(number: int, limit: float) -> Row:
    """One problem: what came of it, and whether it is right."""
    found = trial(number)
    began = time.process_time()
    transport, figures = attempt(found.problem, limit)
    row: Row = {
        "number": number, "kind": found.kind, "status": figures["status"],
        "good": bool(figures["good"]), "alpha": figures.get("alpha"),
        "seconds": time.process_time() - began, "values": found.values,
        "shapes": [found.problem.source.shape, found.problem.target.shape],
    }  # fmt: skip
    row["ratio"] = row["seconds"] / smooth_seconds(found.problem)
    if transport is None:
        return row | {"wrong": []}
    row["w2"], row["map"] = distance(transport), map_cells(found, transport)
    wrong = ["w2"] if w2_wrong(found, row["w2"]) else []
    if row["map"] is not None and row["map"] > MAP_CELLS:
        wrong.append("map")
    return row | {"wrong": wrong}


KNOWN: dict[tuple[int, int], float] = {}


def smooth_seconds(problem: pma.Problem) -> float:
    """Of a smooth problem with about as many cells as the larger side; measured once a size."""
    dim = problem.source.dim
    cells = max(problem.source.values.size, problem.target.values.size)
    # sizes in steps of a half power of 2, from 8 cells an axis
    n = round(2 ** (max(6, round(2 * math.log2(cells) / dim)) / 2))
    if (dim, n) not in KNOWN:
        smooth = cases.manufactured(dim=dim).problem((n,) * dim)
        times = []
        for _ in range(3):
            began = time.process_time()
            pma.solve(smooth)
            times.append(time.process_time() - began)
        KNOWN[dim, n] = min(times)
    return KNOWN[dim, n]


# ---- the run -------------------------------------------------------------------------------------


def warm_up() -> None:
    """Compile what solves need, what they fall back on included."""
    pma.warmup((1, 2, 3))
    for dim in (1, 2, 3):
        attempt(cases.corners(dim).problem((12,) * dim), 600)


def rows_of(numbers: list[int], limit: float, jobs: int) -> Iterator[Row]:
    """As they come."""
    if jobs == 1:
        warm_up()
        yield from (judged(number, limit) for number in numbers)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, warm_up) as pool:
        yield from pool.imap_unordered(_judged, [(number, limit) for number in numbers])


def _judged(task: tuple[int, float]) -> Row:
    return judged(*task)


def told(row: Row) -> str:
    """One problem in a line."""
    sides = " -> ".join("x".join(map(str, shape)) for shape in row["shapes"])
    models = " ".join(f"{name} {value:.6g}" for name, value in row["values"].items())
    w2, cells = row.get("w2"), row.get("map")
    parts = [
        f"--only {row['number']}: {row['kind']} {sides}, {row['status']}",
        f"W2 {'-' if w2 is None else format(w2, '.6g')} ({models})",
        f"map {'-' if cells is None else format(cells, '.2f')} cells off",
        f"alpha {'-' if row['alpha'] is None else format(row['alpha'], '.1e')}",
        f"{row['seconds']:.2f} s, {row['ratio']:.1f} smooth",
    ]
    return "; ".join(parts)


def summary(rows: list[Row]) -> Iterator[str]:
    """Counts, what is wrong, what has no answer, what is slow."""
    count = len(rows)
    yield "statuses: " + ", ".join(
        f"{k} {v}" for k, v in Counter(r["status"] for r in rows).items()
    )
    wrong = [row for row in rows if row["good"] and row["wrong"]]
    yield f"\nwrong successes: {len(wrong)} of {count}" + " (none allowed)" * bool(wrong)
    yield from (f"{'+'.join(row['wrong']):7} {told(row)}" for row in wrong)
    silent = [row for row in rows if not row["good"]]
    over = " (too many)" * (len(silent) > MOST_UNANSWERED * count)
    yield f"\nunanswered: {len(silent)} of {count}" + over
    yield from map(told, silent)
    ratios = np.array([row["ratio"] for row in rows])
    middle, most = np.quantile(ratios, (0.5, 0.9))
    yield f"\ntime over a smooth problem's: median {middle:.1f}, 90 % {most:.1f}, slowest"
    slow = sorted(rows, key=lambda row: -row["ratio"])[:SLOWEST]
    yield from map(told, slow)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--only", nargs="+", type=int, help="numbers of problems")
    parser.add_argument("--limit", type=float, default=120, help="seconds a solve may take")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--json", action="store_true", help="print one JSON object a problem")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # threads are counted when NumPy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv],
                  os.environ | dict.fromkeys(ONE_THREAD, "1"))  # fmt: skip
    numbers = options.only or list(range(options.first, options.first + options.count))
    rows = []
    for row in rows_of(numbers, options.limit, options.jobs):
        rows.append(row)
        if options.json:
            print(json.dumps(row), flush=True)
        elif options.only or (row["good"] and row["wrong"]) or not row["good"]:
            print(told(row), "WRONG" if row["wrong"] else "", flush=True)
    if not options.json:
        print("", *summary(rows), sep="\n")
    sys.exit(any(row["good"] and row["wrong"] for row in rows))


if __name__ == "__main__":
    main()
