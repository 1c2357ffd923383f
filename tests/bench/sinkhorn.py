"""Seconds of `sinkhorn` an iteration and to a marginal error, against OTT-JAX in the same run.

    python tests/bench/sinkhorn.py                            P2 at 256^2 and P5 at 64^3
    python tests/bench/sinkhorn.py --problems P1 P2 --sizes 128 256 512 --eps 5e-4
    python tests/bench/sinkhorn.py --kernels                  the two kinds of kernel sums

Each row runs in a process of its own on one thread, everything compiled beforehand; ours and
theirs are timed in turn, so that their ratios survive a noisy machine.  OTT-JAX runs its fastest
way on a CPU: Grid geometry, kernel mode, double precision, sweeps without over-relaxation as by
default.  eps counts with |x - y|^2/2: OTT's is twice that (5e-4 here is its 1e-3).  ``sweep`` is
ours over OTT's seconds an iteration, both plain; ``total`` OTT's seconds over ours until the L1
marginal error is met, ours with coarse grids, falling eps and over-relaxation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
from solve import ONE_THREAD, build, map_error

DIMENSIONS = {"P1": 2, "P2": 2, "P3": 2, "P5": 3}
PLAIN_SWEEPS = 50


def ours(problem, eps: float, tol: float, dtype: str) -> dict:
    """Seconds of a plain sweep, and to the tolerance."""
    import pma_grid as pma

    plain = pma.sinkhorn(
        problem, eps, max_iterations=PLAIN_SWEEPS, relaxation=1.0, scaling=False, dtype=dtype,
        threads=1, tol=1e-300,
    )  # fmt: skip
    full = pma.sinkhorn(problem, eps, tol=tol, dtype=dtype, threads=1)
    return {
        "sweep": plain.stats["levels"][-1]["seconds"] / PLAIN_SWEEPS,
        "seconds": full.stats["seconds"],
        "iterations": full.stats["iterations"],
        "error": full.stats["marginal_error"],
        "result": full,
    }


def measure(name: str, n: int, eps: float, tol: float, repeats: int) -> dict:
    """One row, in this process."""
    from pma_grid.entropic import peers

    case = build(name)
    problem = case.problem((n,) * DIMENSIONS[name])
    ours(problem, eps, tol, "float64")
    try:
        peers.check("ott", problem)
        other = True
    except ValueError:
        other = False
    rows: list[dict] = []
    for _ in range(repeats):
        mine = ours(problem, eps, tol, "float64")
        single = ours(problem, eps, max(tol, 1e-5), "float32")
        row = {
            "ms": 1e3 * mine["sweep"], "ms32": 1e3 * single["sweep"], "seconds": mine["seconds"],
            "iterations": mine["iterations"], "error": mine["error"],
        }  # fmt: skip
        if other:
            theirs = peers.PEERS["ott"](problem, eps, tol=tol, max_iterations=20_000).stats
            row |= {
                "ott_ms": 1e3 * theirs["seconds"] / theirs["iterations"],
                "ott_seconds": theirs["seconds"], "ott_iterations": theirs["iterations"],
                "ott_error": theirs["marginal_error"],
                "sweep": mine["sweep"] * theirs["iterations"] / theirs["seconds"],
                "total": theirs["seconds"] / mine["seconds"],
            }  # fmt: skip
        rows.append(row)
    found = {key: float(np.median([row[key] for row in rows])) for key in rows[0]}
    found["map_l2"] = map_error(case.gradient, mine["result"].gradient, problem.source)
    return {"problem": name, "n": n, "eps": eps, **found}


COLUMNS = (
    ("problem", "s"), ("n", "d"), ("eps", ".0e"), ("ms", ".2f"), ("ms32", ".2f"), ("ott_ms", ".2f"),
    ("sweep", ".2f"), ("iterations", ".0f"), ("error", ".0e"), ("seconds", ".3f"),
    ("ott_iterations", ".0f"), ("ott_error", ".0e"), ("ott_seconds", ".2f"), ("total", ".0f"),
    ("map_l2", ".1e"),
)  # fmt: skip


def line(row: dict | None) -> str:
    """One line of the table; the header for None."""
    if row is None:
        return "".join(f"{name.replace('iterations', 'its'):>12}" for name, _ in COLUMNS)
    cells = [row.get(name) for name, _ in COLUMNS]
    return "".join(
        f"{'-' if cell is None else format(int(cell) if form == 'd' else cell, form):>12}"
        for cell, (_, form) in zip(cells, COLUMNS, strict=True)
    )


def kernels(repeats: int) -> None:
    """Milliseconds of a half sweep by products and by tilted sums, over n and eps / h^2."""
    from threadpoolctl import threadpool_limits

    from pma_grid import Problem
    from pma_grid.entropic.dense.kernel import SeparableKernel
    from pma_grid.problem.reduction import Reduced

    print("".join(f"{h:>14}" for h in ("shape", "eps / h^2", "products", "tilted", "chosen")))
    threadpool_limits(1)
    rng = np.random.default_rng(8230)
    for shape in ((64, 64), (256, 256), (1024, 1024), (64, 64, 64), (4096,)):
        reduced = Reduced.of(Problem(1 + rng.random(shape), np.ones(shape)))
        wave = sum(np.ix_(*(np.cos(3 * x) for x in reduced.x)))
        for ratio in (0.25, 1.0, 16.0, 256.0):
            eps = ratio * reduced.cell
            logs = 0.3 * wave + np.log(reduced.a)
            cells = ["x".join(map(str, shape)), f"{ratio:g}"]
            for tilted in (False, True):
                kernel = SeparableKernel(reduced, eps)
                chosen = "products" if kernel.by_products else "tilted"
                kernel._precisions = [[] if tilted else [np.dtype(float)] for _ in (0, 1)]
                kernel.to_target(logs)
                times = []
                for _ in range(repeats):
                    began = time.perf_counter()
                    kernel.to_target(logs)
                    times.append(time.perf_counter() - began)
                held = tilted or bool(kernel._precisions[0])
                cells.append(f"{1e3 * np.median(times):.2f} ms" if held else "underflow")
            cells.append(chosen)
            print("".join(f"{cell:>14}" for cell in cells), flush=True)


def main() -> None:
    """Parse the command line; run each row in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=["P2", "P5"], choices=DIMENSIONS)
    parser.add_argument("--sizes", nargs="+", type=int, help="default 256 in 2-D, 64 in 3-D")
    parser.add_argument("--eps", nargs="+", type=float, default=[5e-4])
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(*json.loads(options.row))))
        return
    if options.kernels:
        kernels(options.repeats)
        return
    if not options.json:
        print(line(None))
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    for name in options.problems:
        for n in options.sizes or [64 if name == "P5" else 256]:
            for eps in options.eps:
                row = json.dumps([name, n, eps, options.tol, options.repeats])
                command = ["taskset", "-c", "0"] if sys.platform == "linux" else []
                command += [sys.executable, __file__, "--row", row]
                done = subprocess.run(
                    command, env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                found = done.stdout.splitlines()[-1]
                print(found if options.json else line(json.loads(found)), flush=True)


if __name__ == "__main__":
    main()
