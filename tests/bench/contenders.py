"""What `peers.py` races: methods with their ranges of settings.

A method is a function from a problem and one setting to `Outcome`s: seconds without compiling, the
map at the source's cell centres and W2^2.  Ours are timed from the call until the map, and until
W2^2 too, is at hand; the others by the seconds that their packages iterate, which is to their
advantage: what turns their potentials into maps and W2^2 is outside the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bfm
import numpy as np
from truths import OWN_LIMIT, Truth, build, dimension, map_error, truth

import pma_grid as pma
from pma_grid.entropic import peers

Array = np.ndarray
Setting = dict[str, Any]

PROBLEMS = {
    "P1": "P1 Gaussian mixtures", "P2": "P2 manufactured", "P3": "P3 photographs",
    "P4": "P4 concentrated", "P5": "P5 manufactured, 3-D",
}  # fmt: skip
# BFM has no tolerance: looked at after so many iterations, until the dual value stands still.
LOOKS = (3, 5, 8, 12, 16, 24, 32, 48, 64, 100, 150, 200)
STILL = 1e-6
# Cells an axis, by dimension, of the call that compiles; seconds up to which runs are repeated.
COARSE = {2: 64, 3: 16}
SHORT = 5.0


@dataclass(frozen=True)
class Outcome:
    """One run: seconds to the map (d, *shape) and to W2^2; ``detail`` tells rows of one n apart."""

    seconds: float
    w2_seconds: float
    gradient: Array
    w2_squared: float
    detail: str = ""
    status: str = ""


# ---- ours ----------------------------------------------------------------------------------------


def _called(method: Callable[[], Any], detail: str = "") -> Outcome:
    """A call of ours, timed until the map is there, and until W2^2 is."""
    began = time.perf_counter()
    try:
        transport = method()
    except pma.ConvergenceError as error:
        if error.result is None:
            raise
        transport = error.result
    gradient = transport.gradient
    seconds = time.perf_counter() - began
    value = transport.w2_squared
    both = time.perf_counter() - began
    return Outcome(seconds, both, gradient, value, detail, str(transport.status))


def run_solve(problem: pma.Problem, setting: Setting) -> list[Outcome]:
    """`solve` as it is called by default."""
    return [_called(lambda: pma.solve(problem))]


def run_sinkhorn(problem: pma.Problem, setting: Setting) -> list[Outcome]:
    """`sinkhorn`, dense, with the debiased potential."""
    eps, tol = setting["eps"], setting["tol"]
    return [_called(lambda: pma.sinkhorn(problem, eps, tol=tol, map="debiased"), _said(setting))]


def run_multiscale(problem: pma.Problem, setting: Setting) -> list[Outcome]:
    """`sinkhorn(method="multiscale")` at its default eps, h^2/2."""
    return [_called(lambda: pma.sinkhorn(problem, method="multiscale"), "eps=h^2/2")]


# ---- theirs --------------------------------------------------------------------------------------


def _peer(name: str) -> Callable[[pma.Problem, Setting], list[Outcome]]:
    """A package behind `pma_grid.peers`, debiased; W2^2 is the dual value of that potential.

    That value is ten times closer than the Sinkhorn divergence, and saves its third run.
    """

    def run(problem: pma.Problem, setting: Setting) -> list[Outcome]:
        if name == "geomloss":
            import torch

            torch.set_num_threads(1)
        found = peers.PEERS[name](
            problem, setting["eps"], tol=setting["tol"], max_iterations=20_000, debiased=True
        )
        seconds = found.stats["seconds"]
        said, status = _said(setting), str(found.status)
        return [Outcome(seconds, seconds, found.gradient, found.w2_squared, said, status)]

    return run


def run_emd(problem: pma.Problem, setting: Setting) -> list[Outcome]:
    """POT's network simplex between atoms at the cell centres; the map is the plan's mean."""
    import ot

    sides = (problem.source, problem.target)
    masses = [side.values.ravel() / side.values.sum() for side in sides]
    kept = [m > 0 for m in masses]
    (a, b) = (m[k] for m, k in zip(masses, kept, strict=True))
    x, y = (
        side.grid.coordinates().reshape(side.dim, -1)[:, k].T
        for side, k in zip(sides, kept, strict=True)
    )
    began = time.perf_counter()
    cost = ot.dist(x, y)
    plan = ot.emd(a, b, cost, numItermax=10**8)
    seconds = time.perf_counter() - began
    gradient = np.array(problem.source.grid.coordinates())
    gradient.reshape(problem.dim, -1)[:, kept[0]] = ((plan @ y) / a[:, None]).T
    return [Outcome(seconds, seconds, gradient, float((plan * cost).sum()), "exact LP")]


def run_bfm(problem: pma.Problem, setting: Setting) -> list[Outcome]:
    """The back-and-forth method, looked at on its way to its plateau."""
    import w2

    began = time.perf_counter()
    method = bfm.BackAndForth(w2, problem.source.values, problem.target.values)
    seconds, outcomes, done = time.perf_counter() - began, [], 0
    for look in LOOKS:
        began = time.perf_counter()
        for _ in range(look - done):
            method.iterate()
        seconds, done = seconds + time.perf_counter() - began, look
        value = 2 * method.value()
        outcomes.append(Outcome(seconds, seconds, method.map(), value, f"{look} iterations"))
        if len(outcomes) > 1 and abs(value - outcomes[-2].w2_squared) < STILL * abs(value):
            break
    return outcomes


# ---- settings ------------------------------------------------------------------------------------


def _said(setting: Setting) -> str:
    """A setting in words, without n."""
    return " ".join(f"{key}={value:g}" for key, value in setting.items() if key != "n")


def _grids(flat: tuple[int, ...], solid: tuple[int, ...] = ()) -> Callable[[str], list[Setting]]:
    """Settings of a method that has no parameter but the grid."""
    return lambda name: [{"n": n} for n in (solid if dimension(name) == 3 else flat)]


def _entropic(
    flat: dict[int, tuple[float, ...]],
    solid: dict[int, tuple[float, ...]],
    closer: tuple[int, ...] = (),
    tol: float = 1e-3,
) -> Callable[[str], list[Setting]]:
    """Settings by grid and eps at one marginal error; some also at 1e-4 with the smaller eps."""

    def settings(name: str) -> list[Setting]:
        table = solid if dimension(name) == 3 else flat
        rows = [{"n": n, "eps": eps, "tol": tol} for n in table for eps in table[n]]
        rows += [
            {"n": n, "eps": eps, "tol": 1e-4} for n in closer if n in table for eps in table[n][-2:]
        ]
        return sorted(rows, key=lambda row: row["n"])

    return settings


@dataclass(frozen=True)
class Method:
    """A contender.

    Attributes
    ----------
    title : str
        In the legend.
    run : callable
        (problem, setting) to outcomes.
    settings : callable
        Problem's name to settings, in order of growing cost.
    module : str or None
        What must be importable.
    compiles : bool
        A first call on a coarse grid is kept outside the clock (the packages behind `peers` see to
        it themselves).
    """

    title: str
    run: Callable[[pma.Problem, Setting], list[Outcome]]
    settings: Callable[[str], list[Setting]]
    module: str | None = None
    compiles: bool = False


# eps counts with |x - y|^2/2: OTT's own is twice that, 1e-2 to 3e-4.
_DENSE = (5e-3, 1.5e-3, 5e-4, 1.5e-4)
METHODS = {
    "solve": Method(
        "solve", run_solve, _grids((32, 64, 128, 256, 512, 1024), (16, 32, 64)), compiles=True
    ),
    "sinkhorn": Method(
        "sinkhorn, debiased", run_sinkhorn,
        _entropic(
            {64: _DENSE[:3], 128: _DENSE[1:], 256: (*_DENSE[2:], 5e-5)},
            {16: _DENSE[:2], 32: _DENSE[1:3], 64: _DENSE[1:]}, closer=(256,),
        ),
        compiles=True,
    ),
    "multiscale": Method(
        "sinkhorn, multiscale", run_multiscale, _grids((64, 128, 256, 512), (16, 32)), compiles=True
    ),
    "bfm": Method("back-and-forth (C++)", run_bfm, _grids((64, 128, 256, 512, 1024)), "w2", True),
    "ott": Method(
        "OTT-JAX grid, debiased", _peer("ott"),
        _entropic(
            {64: _DENSE[:3], 128: _DENSE[1:], 256: _DENSE[2:3]},
            {16: _DENSE[:2], 32: _DENSE[1:3], 64: _DENSE[1:3]}, closer=(128,),
        ),
        "ott",
    ),
    "geomloss": Method(
        "GeomLoss, debiased", _peer("geomloss"),
        # its sweeps at one blur converge slowly: closer than this takes thousands
        _entropic({32: _DENSE[:3], 64: _DENSE[:2]}, {8: _DENSE[:2], 16: _DENSE[:2]}, tol=0.03),
        "geomloss",
    ),
    "pot-emd": Method("POT emd (exact LP)", run_emd, _grids((16, 32, 64), (8, 16)), "ot"),
    "pot": Method(
        "POT Sinkhorn, debiased", _peer("pot"),
        _entropic({32: _DENSE[:3], 64: _DENSE[:1]}, {8: _DENSE[:2], 16: _DENSE[:1]}), "ot",
    ),
}  # fmt: skip


# ---- rows ----------------------------------------------------------------------------------------


def measure(method: str, name: str, setting: Setting, repeats: int, path: str | None) -> list[dict]:
    """Rows of one setting, in this process: medians over repeats, fewer of long runs."""
    import unit

    case = build(name)
    problem = case.problem((setting["n"],) * dimension(name))
    contender, known = METHODS[method], truth(name, case, path)
    if contender.compiles:
        coarse = min(setting["n"], COARSE[dimension(name)])
        contender.run(case.problem((coarse,) * dimension(name)), setting | {"n": coarse})
    runs, units = [], []
    began = time.perf_counter()
    while not runs or (len(runs) < repeats and time.perf_counter() - began < SHORT):
        runs.append(contender.run(problem, setting))
        units.append(unit.seconds((256, 256), repeats=9))
    return list(_rows(method, name, setting["n"], problem, runs, units, known))


def _rows(
    method: str, name: str, n: int, problem: pma.Problem, runs: list[list[Outcome]],
    units: list[float], known: Truth,
) -> Iterator[dict]:  # fmt: skip
    """One row for every outcome of a run."""
    hidden = known.own and method == "solve" and n > OWN_LIMIT
    for k, outcome in enumerate(runs[-1]):
        seconds, both = (
            np.array([getattr(run[k], clock) for run in runs])
            for clock in ("seconds", "w2_seconds")
        )
        yield {
            "problem": name, "method": method, "n": n, "detail": outcome.detail,
            "seconds": float(np.median(seconds)), "w2_seconds": float(np.median(both)),
            "units": float(np.median(seconds / np.array(units))),
            "w2_units": float(np.median(both / np.array(units))),
            "repeats": len(runs), "status": outcome.status,
            "map_l2": None if hidden else map_error(known, outcome.gradient, problem.source),
            "w2_rel": None if hidden else outcome.w2_squared / known.w2_squared - 1,
        }  # fmt: skip
