"""Time against error of `solve`, `sinkhorn` and other packages, in one run and on equal terms.

    python tests/bench/peers.py --json peers.json --plot peers.png
    python tests/bench/peers.py --problems P2 P5 --methods solve bfm ott --limit 60
    python tests/bench/peers.py --from data/peers.json --plot docs/peers.png

P1 Gaussian mixtures, P2 manufactured cosine, P3 photographs, P4 narrow Gaussians on a floor of
1e-6, P5 the 3-D twin of P2.  Every method runs over a range of its own grids, eps, tolerances or
iterations.  Each row has a process of its own, pinned to one core, with one thread for all
libraries; seconds are the processor's, so that other programs on the machine do not count;
compiling is outside the clock, short runs are medians of three.  ``units`` are seconds to the map
over those of one pass of a stencil of 9 coefficients over 256^2, measured between the runs.  Stars
mark the rows that no faster row of the same method beats, in map error and in W2^2 error; errors
are taken as they come, so that a value that crosses the truth on its way counts at its luckiest.

With ``--json`` rows are added to the file; rows done again replace their forerunners.  A row whose
process takes longer than ``--limit`` is skipped, and with it the method's further rows of that grid
or a finer one; the limit counts everything: imports, compiling, the schedules that GeomLoss tries.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
from solve import ONE_THREAD

PACKAGES = (
    "pma_grid", "numpy", "scipy", "numba", "POT", "ott-jax", "jax", "geomloss", "torch", "w2",
    "scikit-image",
)  # fmt: skip
COLUMNS = (
    ("problem", "s"), ("method", "s"), ("n", "d"), ("detail", "s"), ("seconds", ".3g"),
    ("units", ".0f"), ("map_l2", ".1e"), ("w2_seconds", ".3g"), ("w2_rel", "+.1e"),
)  # fmt: skip
# Errors, and the clock that each is held against.
MEASURES = {"map_l2": "seconds", "w2_rel": "w2_seconds"}
TARGETS = {"map_l2": (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5), "w2_rel": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)}
KEY = ("problem", "method", "n", "detail")


# ---- rows in processes of their own --------------------------------------------------------------


def environment() -> dict[str, str]:
    """One thread for every library."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return os.environ | dict.fromkeys(ONE_THREAD, "1") | {"XLA_FLAGS": flags}


def work(options: argparse.Namespace) -> None:
    """What a process of its own does: a reference, or the rows of one setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # every clock read from here on, by ours and theirs alike, is the processor's
    time.perf_counter = time.process_time
    import contenders
    import truths

    task = json.loads(options.worker)
    if "reference" in task:
        truths.make_reference(task["reference"], Path(task["path"]))
        print("[]")
        return
    rows = contenders.measure(
        task["method"], task["problem"], task["setting"], options.repeats, task["path"]
    )
    print(json.dumps(rows))


def sent(task: dict, repeats: int, limit: float) -> tuple[list[dict], str]:
    """Rows of a task, or why there are none."""
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    command += ["--repeats", str(repeats)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, env=environment(), stdout=out, stderr=errors)
        began = time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if spent(process.pid, began) > limit:
                process.kill()
                process.wait()
                return [], f"over the limit of {limit:g} s"
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            lines = errors.read().strip().splitlines()
            return [], lines[-1] if lines else f"ended with status {process.returncode}"
        return json.loads(out.read().splitlines()[-1]), ""


def spent(pid: int, began: float) -> float:
    """Processor seconds of a process, where the system tells; else those since it began.

    (A limit set by the system itself would coarsen the clock to its ticks.)
    """
    try:
        # user and system time are fields 14 and 15; the name, field 2, may hold blanks
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return time.monotonic() - began


def race(name: str, options: argparse.Namespace, path: str | None) -> Iterable[tuple[dict, str]]:
    """Task by task of one problem: (row, "") or (what was skipped, why)."""
    import contenders
    import truths

    for method in options.methods:
        contender, stuck = contenders.METHODS[method], None
        if contender.module and importlib.util.find_spec(contender.module) is None:
            what = {"problem": name, "method": method}
            yield what, f"the module {contender.module} is not installed"
            continue
        if method == "bfm" and truths.dimension(name) == 3:
            yield {"problem": name, "method": method}, "knows two dimensions only"
            continue
        for setting in contenders.METHODS[method].settings(name):
            what = {"problem": name, "method": method, **setting}
            if options.sizes and setting["n"] not in options.sizes:
                continue
            if stuck is not None and setting["n"] >= stuck:
                yield what, "a row of this grid or a coarser one was over the limit"
                continue
            task = {"problem": name, "method": method, "setting": setting, "path": path}
            rows, why = sent(task, options.repeats, options.limit)
            if why.startswith("over"):
                stuck = setting["n"]
            if why:
                yield what, why
            for row in rows:
                yield row, ""


def references(names: Iterable[str], folder: str) -> dict[str, str | None]:
    """Files of the fine solutions that problems without a closed form are held to."""
    paths: dict[str, str | None] = dict.fromkeys(names)
    for name in paths:
        if name not in ("P1", "P3"):
            continue
        path = str(Path(folder) / f"{name}.npz")
        print(f"# reference of {name} ...", file=sys.stderr, flush=True)
        _, why = sent({"reference": name, "path": path}, 1, 900)
        if why:
            sys.exit(f"the reference of {name} failed: {why}")
        paths[name] = path
    return paths


# ---- results -------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Of what is installed; BFM's repository has no releases, its module calls itself 0.0.1."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """Rows of both, in order; of two with one key the newer."""
    rows = {tuple(row.get(key) for key in KEY): row for row in old}
    rows |= {tuple(row.get(key) for key in KEY): row for row in new}
    return list(rows.values())


def starred(rows: list[dict]) -> list[dict]:
    """Rows with ``best``: the measures in which no faster row of problem and method is better."""
    from pma_grid.plotting.frontiers import undominated

    marked = [row | {"best": []} for row in rows]
    for pair in dict.fromkeys((row["problem"], row["method"]) for row in rows):
        own = [row for row in marked if (row["problem"], row["method"]) == pair]
        for measure, clock in MEASURES.items():
            known = [row for row in own if row[measure] is not None]
            errors = [abs(row[measure]) for row in known]
            for k in undominated([row[clock] for row in known], errors):
                known[k]["best"].append(measure)
    return marked


def line(row: dict | None) -> str:
    """A row as text; the heading for None."""
    if row is None:
        return "".join(f"{name:>{_width(name)}}" for name, _ in COLUMNS)
    cells = []
    for name, form in COLUMNS:
        value = row.get(name)
        text = "-" if value is None else format(value, form)
        cells.append(f"{text + '*' * (name in row.get('best', ())):>{_width(name)}}")
    return "".join(cells)


def _width(name: str) -> int:
    return {"problem": 8, "method": 12, "n": 6, "detail": 25}.get(name, 11)


def table(rows: list[dict]) -> str:
    """All rows with their stars."""
    return "\n".join([line(None), *(line(row) for row in starred(rows))])


def reached(rows: list[dict], measure: str, error: float) -> float | None:
    """Seconds of the fastest row that is at least so close; None if none is."""
    clock = MEASURES[measure]
    times = [r[clock] for r in rows if r[measure] is not None and abs(r[measure]) <= error]
    return min(times, default=None)


def summary(rows: list[dict], methods: list[str]) -> str:
    """Seconds to given errors: one block for every measure and problem that has it."""
    lines = []
    for measure, problem in itertools.product(
        MEASURES, dict.fromkeys(row["problem"] for row in rows)
    ):
        here = [row for row in rows if row["problem"] == problem and row[measure] is not None]
        if not here:
            continue
        errors = TARGETS[measure]
        lines.append(f"{problem} seconds to {measure}".ljust(28))
        lines[-1] += "".join(f"{error:>9.0e}" for error in errors)
        for method in methods:
            own = [row for row in here if row["method"] == method]
            times = [reached(own, measure, error) for error in errors]
            if own:
                cells = ("-" if t is None else f"{t:.2g}" for t in times)
                lines.append(method.rjust(28) + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


def gathered(options: argparse.Namespace, old: dict) -> dict:
    """Run what is asked for; results with what there was before."""
    import contenders
    import truths

    rows, skipped, origins = [], [], dict(old.get("references", {}))
    print(line(None), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = references(options.problems, folder)
        for name in options.problems:
            case = truths.build(name)
            origins[name] = f"{case.name}: {truths.truth(name, case, paths[name]).origin}"
            for row, why in race(name, options, paths[name]):
                if why:
                    skipped.append(row | {"why": why})
                    said = " ".join(f"{value}" for value in row.values())
                    print(f"# {said}: skipped, {why}", flush=True)
                    continue
                rows.append(row)
                print(line(row), flush=True)
    asked = {(name, method) for name in options.problems for method in options.methods}
    kept = [s for s in old.get("skipped", []) if (s["problem"], s["method"]) not in asked]
    return {
        "problems": contenders.PROBLEMS,
        "methods": {name: method.title for name, method in contenders.METHODS.items()},
        "references": origins,
        "versions": versions(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "threads": 1},
        "limit": options.limit,
        "rows": merged(old.get("rows", []), rows),
        "skipped": kept + skipped,
    }


def main() -> None:
    """Run or read results; print the table, write JSON and figure."""
    import contenders

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=contenders.PROBLEMS,
                        default=list(contenders.PROBLEMS))  # fmt: skip
    parser.add_argument("--methods", nargs="+", choices=contenders.METHODS,
                        default=list(contenders.METHODS))  # fmt: skip
    parser.add_argument("--sizes", nargs="+", type=int, help="only these cells an axis")
    parser.add_argument("--limit", type=float, default=120, help="processor's seconds of a row")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to a file")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--from", dest="stored", type=Path, metavar="FILE", help="do not run")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    if options.stored:
        results = json.loads(options.stored.read_text(encoding="utf-8"))
    else:
        there = options.json is not None and options.json.exists()
        old = json.loads(options.json.read_text(encoding="utf-8")) if there else {}
        results = gathered(options, old)
        if options.json:
            text = json.dumps(results, indent=1, default=_plain)
            options.json.write_text(text + "\n", encoding="utf-8")
    print(table(results["rows"]))
    print(summary(results["rows"], list(results["methods"])))
    if options.plot:
        from pma_grid import plotting

        plotting.save(plotting.frontier(results), options.plot)


def _plain(value: object) -> object:
    """NumPy scalars for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


if __name__ == "__main__":
    main()
