"""Time of `solve` against one stencil pass, with errors, memory and the back-and-forth method.

    python tests/bench/solve.py --problems P1 P2 P3 --sizes 256 512 1024
    python tests/bench/solve.py --problems P5 --sizes 32 64

P1 Gaussian mixtures, P2 manufactured cosine, P3 photographs (scikit-image's camera to moon where it
is installed, else the bundled pair; plus 5 % of the maximum), P5 manufactured in 3-D.
Each row runs in a process of its own, one thread, kernels compiled beforehand; time and unit are
medians taken in turn, so that their ratio survives a noisy machine.  Peak memory is above that of
the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PROBLEMS = ("P1", "P2", "P3", "P5")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def build(name: str):
    """The case of a problem's name."""
    from pma_grid import cases

    return {
        "P1": lambda: cases.gaussian_mixtures(),
        "P2": lambda: cases.manufactured(dim=2),
        "P3": photographs,
        "P5": lambda: cases.manufactured(dim=3),
    }[name]()


def photographs():
    """Camera to moon, resampled by overlaps, plus 5 % of the maximum."""
    from pma_grid import Density, Grid, Problem, cases

    try:
        from skimage import data
    except ImportError:
        return cases.photographs()

    def density(image, shape):
        values = Density(image).resampled(Grid(shape)).values
        return Density(values + 0.05 * values.max())

    return cases.Case(
        "camera-moon",
        2,
        lambda shape: Problem(density(data.camera(), shape), density(data.moon(), shape)),
    )


def resident() -> float:
    """Present resident set, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def map_error(exact, gradient, source) -> float | None:
    """L2(mu) distance of a map at the cell centres to the exact one."""
    if exact is None:
        return None
    difference = gradient - exact(*source.grid.coordinates())
    masses = source.values * source.grid.cell_volume
    return float(np.sqrt((masses * (difference**2).sum(axis=0)).sum()))


def measure(name: str, n: int, tol: float, repeats: int) -> dict:
    """One row, in this process."""
    import bfm
    import unit

    import pma_grid as pma

    case = build(name)
    dim = 3 if name == "P5" else 2
    pma.warmup((dim,))
    baseline = resident()
    problem = case.problem((n,) * dim)
    pma.solve(problem, tol=tol)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - baseline
    times, units = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        transport = pma.solve(problem, tol=tol)
        times.append(time.perf_counter() - began)
        units.append(unit.seconds(problem.source.shape, repeats=5))
    row = {
        "problem": name, "n": n, "seconds": float(np.median(times)),
        "unit": float(np.median(units)),
        "ratio": float(np.median(np.array(times) / np.array(units))),
        "newton": transport.stats["levels"][-1]["newton"],
        "linear": transport.stats["levels"][-1]["linear"],
        "residual": transport.stats["residual"],
        "map_l2": map_error(case.gradient, transport.gradient, problem.source),
        "w2_rel": case.w2_squared and transport.w2_squared / case.w2_squared - 1,
        "peak_mb": peak,
    }  # fmt: skip
    if dim == 2:
        other = bfm.run(problem.source.values, problem.target.values)
        if other is not None:
            row["bfm_seconds"] = other["seconds"]
            row["bfm_map_l2"] = map_error(case.gradient, other["map"], problem.source)
            row["bfm_w2_rel"] = case.w2_squared and other["w2_squared"] / case.w2_squared - 1
    return row


COLUMNS = (
    ("problem", "s"), ("n", "d"), ("seconds", ".3f"), ("unit", ".4f"), ("ratio", ".0f"),
    ("newton", "d"), ("linear", "d"), ("residual", ".1e"), ("map_l2", ".1e"), ("w2_rel", ".1e"),
    ("peak_mb", ".0f"), ("bfm_seconds", ".2f"), ("bfm_map_l2", ".1e"), ("bfm_w2_rel", ".1e"),
)  # fmt: skip


def main() -> None:
    """Run the rows asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=["P1", "P2", "P3"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--tol", type=float, default=1e-5, help="rms residual (default 1e-5)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        row = measure(options.worker[0], int(options.worker[1]), options.tol, options.repeats)
        print(json.dumps(row))
        return
    if not options.json:
        print(" ".join(f"{name:>11}" for name, _ in COLUMNS))
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    for name in options.problems:
        for n in options.sizes:
            command = [sys.executable, __file__, "--worker", name, str(n)]
            command += ["--tol", str(options.tol), "--repeats", str(options.repeats)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} at {n} failed:\n{done.stderr}")
            row = json.loads(done.stdout)
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            cells = (format(row[k], f) if row.get(k) is not None else "-" for k, f in COLUMNS)
            print(" ".join(f"{cell:>11}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
