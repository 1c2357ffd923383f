"""What implicit steps cost beside `solve`, and geometric multigrid beside pyamg.

    python tests/bench/flow.py                  all three tables
    python tests/bench/flow.py --tables step    one of them

step     seconds per Newton iteration of one implicit step over those of `solve` on the same grid
         (both from the affine map, on the finest grid alone), P1 at 1024^2
flow     seconds of 200 implicit steps over those of `solve` at 256^2, with Newton iterations and
         set-ups a step
solvers  a flow of 30 steps with each linear solver in 1, 2 and 3 dimensions (direct: in 1-D)

One thread, kernels compiled beforehand; both sides of a ratio are timed in turn, medians are
printed.
"""

from __future__ import annotations

import argparse
import os
import time

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
os.environ |= dict.fromkeys(ONE_THREAD, "1")

import numpy as np  # noqa: E402  (after the number of threads is set)

import pma_grid as pma  # noqa: E402

TABLES = ("step", "flow", "solvers")


def timed(function):
    """Result and seconds of a call."""
    began = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began


def step_table(n: int, repeats: int) -> None:
    """Seconds per Newton iteration of an implicit step and of `solve`, finest grid alone."""
    print(f"one implicit step, P1, {n}x{n}: seconds per Newton iteration over those of solve")
    problem = pma.cases.gaussian_mixtures().problem((n, n))
    affine = pma.Transport.from_potential(
        problem, 0.5 * (problem.source.grid.coordinates() ** 2).sum(axis=0)
    )
    print(f"{'step size':>10}{'flow':>10}{'Newton':>8}{'solve':>10}{'Newton':>8}{'ratio':>8}")
    for eta in (1e-3, 1e-2, 1e-1):
        flows, solves = [], []
        for _ in range(repeats):
            ot, _ = timed(lambda: pma.solve(problem, initial=affine, tol=1e-4))
            level = ot.stats["levels"][-1]
            solves.append(level["seconds"] / level["newton"])
            states = pma.iterate(
                problem, schedule=pma.schedules.constant(eta), initial=affine, steps=1
            )
            next(states)
            state, seconds = timed(lambda: next(states))  # noqa: B023  (called at once)
            flows.append(seconds / state.step.newton)
        ratio = float(np.median(np.array(flows) / np.array(solves)))
        print(
            f"{eta:10.0e}{np.median(flows):10.3f}{state.step.newton:8d}"
            f"{np.median(solves):10.3f}{level['newton']:8d}{ratio:8.2f}",
            flush=True,
        )


def flow_table(n: int, repeats: int) -> None:
    """200 implicit steps against one solve."""
    print(f"200 implicit steps, {n}x{n}: seconds over those of solve")
    head = ("problem", "flow", "solve", "ratio", "Newton/step", "V/step", "set-ups", "last KL")
    print("".join(f"{name:>12}" for name in head))
    cases = {"P1": pma.cases.gaussian_mixtures(), "P2": pma.cases.manufactured(2)}
    for name, case in cases.items():
        problem = case.problem((n, n))
        schedule = pma.schedules.constant(5e-3)
        ratios = []
        for _ in range(repeats):
            flow, seconds = timed(lambda: pma.evolve(problem, schedule=schedule, steps=200))  # noqa: B023
            single = np.median([timed(lambda: pma.solve(problem))[1] for _ in range(5)])  # noqa: B023
            ratios.append(seconds / single)
        stats = flow.stats
        print(
            f"{name:>12}{seconds:12.2f}{single:12.3f}{np.median(ratios):12.1f}"
            f"{stats['newton'] / 200:12.2f}{stats['linear'] / 200:12.2f}{stats['setups']:12d}"
            f"{flow['kl'][-1]:12.1e}",
            flush=True,
        )


def solver_table() -> None:
    """Linear solvers beside each other, the same 30 steps."""
    print("30 implicit steps with each linear solver (seconds; linear iterations; set-ups)")
    print(f"{'grid':>12}{'step size':>11}{'solver':>12}{'seconds':>10}{'linear':>8}{'set-ups':>9}")
    cases = (
        (pma.cases.manufactured(1), (4096,)),
        (pma.cases.gaussian_mixtures(), (256, 256)),
        (pma.cases.manufactured(3), (40, 40, 40)),
    )
    solvers = {
        "multigrid": pma.Multigrid(lag=True), "amg": pma.AMG(), "default": None,
        "direct": pma.Direct(),
    }  # fmt: skip
    for case, shape in cases:
        problem = case.problem(shape)
        for eta in (1e-3, 1e-1):
            for name, solver in solvers.items():
                if name == "direct" and len(shape) > 1:
                    continue  # fill-in: minutes in 2-D, gigabytes in 3-D
                scheme = pma.ImplicitEuler() if solver is None else pma.ImplicitEuler(solver)
                schedule = pma.schedules.constant(eta)
                flow, seconds = timed(
                    lambda: pma.evolve(problem, schedule=schedule, scheme=scheme, steps=30)  # noqa: B023
                )
                label = "x".join(map(str, shape))
                print(
                    f"{label:>12}{eta:11.0e}{name:>12}{seconds:10.2f}{flow.stats['linear']:8d}"
                    f"{flow.stats['setups']:9d}",
                    flush=True,
                )


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--step-size", type=int, default=1024, help="cells an axis of table 1")
    parser.add_argument("--flow-size", type=int, default=256, help="cells an axis of table 2")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for dim in (1, 2, 3):
        pma.warmup((dim,))
        small = pma.cases.manufactured(dim).problem((12,) * dim)
        pma.evolve(small, schedule=pma.schedules.constant(0.1), steps=2)
    if "step" in options.tables:
        step_table(options.step_size, options.repeats)
    if "flow" in options.tables:
        flow_table(options.flow_size, options.repeats)
    if "solvers" in options.tables:
        solver_table()


if __name__ == "__main__":
    main()
