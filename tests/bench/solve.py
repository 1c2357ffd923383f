"""Time of `solve` against one stencil pass, with errors, memory and the back-and-forth method.

    python tests/bench/solve.py --sizes 256 512 1024 2048 4096
    python tests/bench/solve.py --dim 3 --sizes 64 128 256
    python tests/bench/solve.py --problems P3 --sizes 256 512 1024

P1 Gaussian mixtures, P2 manufactured cosine, P3 photographs (scikit-image's camera to moon where it
is installed, else the bundled pair; plus 5 % of the maximum), P5 manufactured in 3-D.
Each row runs in a process of its own, kernels compiled beforehand; times of `solve` and of the
pass, on one thread and on more, are taken in turn, so that their ratios survive a noisy machine:
medians.
Speed-ups are of the whole solve and of the pass itself, which is bound by memory.  Peak memory is
above that of the imports and the problem.  `--plain` leaves the averages over images of cells out.
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


def in_turn(problem, keywords: dict, threads: int, repeats: int) -> tuple[list, dict]:
    """Transports of the last round and times: of solve and of the pass, alone and shared."""
    import unit

    import pma_grid as pma

    run = unit.Pass(problem.source.shape)
    run(), run(threads)
    times: dict = {"alone": [], "shared": [], "unit": [], "unit_shared": []}
    for _ in range(repeats):
        for key, count in (("alone", 1), ("shared", threads)):
            began = time.perf_counter()
            transport = pma.solve(problem, threads=count, **keywords)
            times[key].append(time.perf_counter() - began)
        for key, count in (("unit", 1), ("unit_shared", threads)):
            times[key].append(float(np.median([run(count) for _ in range(5)])))
    return transport, {key: np.array(values) for key, values in times.items()}


def measure(name: str, n: int, options: argparse.Namespace) -> dict:
    """One row, in this process."""
    import bfm

    import pma_grid as pma

    case = build(name)
    dim = 3 if name == "P5" else 2
    pma.warmup((dim,))
    keywords = {"tol": options.tol, "averaging": not options.plain}
    pma.solve(case.problem((48,) * dim), threads=options.threads, **keywords)
    problem = case.problem((n,) * dim)
    baseline = resident()
    began = time.perf_counter()
    pma.solve(problem, **keywords)
    once = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - baseline
    repeats = max(1, min(options.repeats, int(options.seconds / (2 * once))))
    transport, t = in_turn(problem, keywords, options.threads, repeats)
    row = {
        "problem": name, "n": n, "seconds": float(np.median(t["alone"])),
        "unit": float(np.median(t["unit"])), "ratio": float(np.median(t["alone"] / t["unit"])),
        "threads": options.threads, "shared": float(np.median(t["shared"])),
        "speed_up": float(np.median(t["alone"] / t["shared"])),
        "unit_up": float(np.median(t["unit"] / t["unit_shared"])),
        "newton": transport.stats["levels"][-1]["newton"],
        "linear": transport.stats["levels"][-1]["linear"],
        "residual": transport.stats["residual"],
        "map_l2": map_error(case.gradient, transport.gradient, problem.source),
        "w2_rel": case.w2_squared and transport.w2_squared / case.w2_squared - 1,
        "peak_mb": peak,
    }  # fmt: skip
    if dim == 2 and n <= 1024:
        other = bfm.run(problem.source.values, problem.target.values)
        if other is not None:
            row["bfm_seconds"] = other["seconds"]
            row["bfm_ratio"] = other["seconds"] / row["seconds"]
            row["bfm_map_l2"] = map_error(case.gradient, other["map"], problem.source)
            row["bfm_w2_rel"] = case.w2_squared and other["w2_squared"] / case.w2_squared - 1
    return row


COLUMNS = (
    ("problem", "s"), ("n", "d"), ("seconds", ".3f"), ("unit", ".4f"), ("ratio", ".0f"),
    ("threads", "d"), ("shared", ".3f"), ("speed_up", ".2f"), ("unit_up", ".2f"),
    ("newton", "d"), ("linear", "d"), ("residual", ".1e"), ("map_l2", ".1e"), ("w2_rel", ".1e"),
    ("peak_mb", ".0f"), ("bfm_seconds", ".2f"), ("bfm_map_l2", ".1e"), ("bfm_w2_rel", ".1e"),
)  # fmt: skip


def main() -> None:
    """Run the rows asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, help="default by --dim")
    parser.add_argument("--dim", type=int, choices=(2, 3), default=2)
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--tol", type=float, default=1e-5, help="rms residual (default 1e-5)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, at most")
    parser.add_argument("--seconds", type=float, default=60, help="for the rounds of a row")
    parser.add_argument("--threads", type=int, default=2, help="for the second column of times")
    parser.add_argument("--plain", action="store_true", help="without averages over images")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker[0], int(options.worker[1]), options)))
        return
    if not options.json:
        print(" ".join(f"{name:>11}" for name, _ in COLUMNS))
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    problems = options.problems or (["P1", "P2"] if options.dim == 2 else ["P5"])
    passed = [
        f"--{key}={getattr(options, key)}" for key in ("tol", "repeats", "seconds", "threads")
    ]
    passed += ["--plain"] if options.plain else []
    for name in problems:
        for n in options.sizes:
            command = [sys.executable, __file__, "--worker", name, str(n), *passed]
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
