"""Time of `solve` in this checkout over that in another one, in turn within one run.

    python tests/bench/paired.py ../before --problems P1 P2 P3 --sizes 1024 --rounds 11
    python tests/bench/paired.py ../before --problems P5 --sizes 64

Both checkouts solve the same problem in a process of their own, kernels compiled beforehand, one
after the other and the other first in every second round: noise that lasts longer than a solve hits
both.  New processes take over every few rounds: where their memory lies makes a difference of some
percent.  Both keep the memory of one solve for the next (glibc's limits, below): whether the top of
the heap is free after a solve, and so handed back and asked for page by page in the next, is chance
of a few bytes, differs from process to process of one and the same code, and costs up to a tenth in
3-D.  `--default-memory` leaves the limits as they are.  Printed are the median of the ratios,
here / there, and its quartiles; processor time of one thread.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
ROUNDS_A_PROCESS = 4
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# the largest that glibc takes: arrays below 32 MiB come from the heap, which is never cut
HELD_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def serve(name: str, size: int) -> None:
    """Solve once for every line that comes in; print the seconds."""
    from solve import build

    import pma_grid as pma

    case = build(name)
    problem = case.problem((size,) * case.dim)
    pma.solve(problem)
    print("ready", flush=True)
    for _ in sys.stdin:
        gc.collect()  # what one solve left behind is memory that the next need not ask for
        started = time.process_time()
        pma.solve(problem)
        print(time.process_time() - started, flush=True)


class Checkout:
    """A process that solves one problem with the package of one checkout."""

    def __init__(self, folder: Path, name: str, size: int, memory: dict[str, str]) -> None:
        environment = (
            os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(folder)} | memory
        )
        self.process = subprocess.Popen(
            [sys.executable, str(HERE), "--serve", name, str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{folder} does not solve {name}")

    def seconds(self) -> float:
        """Processor time of one solve."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def paired(other: Path, name: str, size: int, rounds: int, memory: dict[str, str]) -> list[float]:
    """Ratios of the times, here over there."""
    ratios: list[float] = []
    while len(ratios) < rounds:
        here, there = (Checkout(root, name, size, memory) for root in (HERE.parents[2], other))
        for k in range(min(ROUNDS_A_PROCESS, rounds - len(ratios))):
            if k % 2:
                before, after = there.seconds(), here.seconds()
            else:
                after, before = here.seconds(), there.seconds()
            ratios.append(after / before)
        here.close()
        there.close()
    return ratios


def main() -> None:
    """Print a line a problem."""
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("--problems", nargs="+", default=["P1", "P2", "P3"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1024])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--default-memory", action="store_true", help="glibc's own limits")
    options = parser.parse_args()
    memory = {} if options.default_memory else HELD_MEMORY
    print("problem  cells an axis  rounds  here / there: median [quartiles]")
    for name in options.problems:
        for size in options.sizes:
            ratios = paired(options.other.resolve(), name, size, options.rounds, memory)
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(
                f"{name:<8} {size:>13}  {len(ratios):>6}  {middle:.3f} [{low:.3f}, {high:.3f}]",
                flush=True,
            )
    return None


if __name__ == "__main__":
    main()
