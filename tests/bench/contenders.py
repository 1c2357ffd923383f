"""What `peers.py` races: methods with their ranges of settings, and the truth they are held to.

A method is a function from a problem and one setting to `Outcome`s: seconds without compiling, the
map at the source's cell centres and W2^2.  Ours are timed from the call until the map, and until
W2^2 too, is at hand; the others by the seconds that their packages iterate, which is to their
advantage: what turns their potentials into maps and W2^2 is outside the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bfm
import numpy as np
from scipy import special
from solve import build as build_smooth

import pma_grid as pma
from pma_grid import peers

Array = np.ndarray
Setting = dict[str, Any]

PROBLEMS = {
    "P1": "P1 Gaussian mixtures", "P2": "P2 manufactured", "P3": "P3 photographs",
    "P4": "P4 concentrated", "P5": "P5 manufactured, 3-D",
}  # fmt: skip
# Grids of `solve` that give the reference where no closed form exists; rows of `solve` itself are
# held to it up to a quarter of the finest grid only: nearer, they would be compared to themselves.
REFERENCE_SIZES = (1024, 2048)
OWN_LIMIT = 512
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


def dimension(name: str) -> int:
    """Axes of a problem."""
    return 3 if name == "P5" else 2


def build(name: str) -> Any:
    """The case of a problem's name."""
    return pma.cases.concentrated() if name == "P4" else build_smooth(name)


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


# ---- the truth -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What errors are measured against.

    Attributes
    ----------
    gradient : callable or None
        Coordinates to the map (d, ...), exact; None: use ``fine``.
    fine : ndarray or None
        The map at the centres of a fine grid.
    w2_squared : float
    origin : str
        In words.
    own : bool
        Made by `solve` itself.
    """

    gradient: Callable[..., Array] | None
    fine: Array | None
    w2_squared: float
    origin: str
    own: bool = False

    def map_on(self, grid: pma.Grid) -> Array | None:
        """The map at the centres of a grid; None where it is unknown."""
        if self.gradient is not None:
            return self.gradient(*grid.coordinates())
        field = self.fine
        while field is not None and field.shape[1] > grid.shape[0]:
            field = halved(field)
        return field


def halved(field: Array) -> Array:
    """A field at the centres of a grid, at those of the one twice as coarse; cubic along axes.

    Centres of the coarse grid lie midway between fine ones: weights (-1, 9, 9, -1)/16, and beyond
    the faces the cubic through the last four values.
    """
    for axis in range(1, field.ndim):
        v = np.moveaxis(field, axis, 0)
        before = 4 * v[0] - 6 * v[1] + 4 * v[2] - v[3]
        after = 4 * v[-1] - 6 * v[-2] + 4 * v[-3] - v[-4]
        v = np.concatenate([before[None], v, after[None]])
        middle = (9 * (v[1:-1:2] + v[2:-1:2]) - v[:-2:2] - v[3::2]) / 16
        field = np.moveaxis(middle, 0, axis)
    return field


def concentrated_value() -> float:
    """W2^2 of P4: axis by axis between Gaussians cut to the box, less the floor's share.

    The floor, a uniform part of mass 1e-6, may stay where it is, so that W2^2 is at most that share
    less; what more it saves is of the same order: linear programmes on grids whose cells the shift
    respects, 10^2 and 20^2, lie 1e-6 and 7e-7 lower.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    p, total, width = 0.5 + 0.5 * nodes, 0.0, 0.05
    for centres in ((0.2, 0.8), (0.25, 0.75)):
        places = []
        for centre in centres:
            low, high = special.ndtr(np.array((-centre, 1 - centre)) / width)
            places.append(centre + width * special.ndtri(low + p * (high - low)))
        total += float((0.5 * weights * (places[1] - places[0]) ** 2).sum())
    return total * (1 - 1e-6)


def make_reference(name: str, path: Path) -> None:
    """Solve on two fine grids and store map and W2^2: extrapolated on P1, the finer one on P3."""
    case, found = build(name), []
    for n in REFERENCE_SIZES:
        transport = pma.solve(case.problem((n, n)))
        found.append((np.array(transport.gradient), transport.w2_squared))
    (coarse, value), (fine, finer) = found
    down = halved(fine)
    # photographs are constant on pixels: their errors follow no power of h
    kept = (4 * down - coarse) / 3 if name == "P1" else down
    spread = float(np.sqrt(((kept - down) ** 2).sum(axis=0).mean()))
    if name != "P1":
        spread = float(np.sqrt(((down - coarse) ** 2).sum(axis=0).mean()))
    np.savez(path, fine=kept, w2_squared=finer, spread=[spread, abs(finer / value - 1)])


def truth(name: str, case: Any, path: str | None) -> Truth:
    """What is known of a problem; ``path`` is where its reference is stored, if it has one."""
    if name == "P4":
        return Truth(None, None, concentrated_value(), "W2^2 exact to about 1e-6; no exact map")
    if case.gradient is not None:
        return Truth(case.gradient, None, case.w2_squared, "exact")
    sizes = " and ".join(f"{n}^2" for n in REFERENCE_SIZES)
    assert path is not None
    with np.load(path) as stored:
        fine, value, spread = stored["fine"], float(stored["w2_squared"]), stored["spread"]
    how = "extrapolated from" if name == "P1" else "finer of"
    change = f"map {spread[0]:.0e}, W2^2 {spread[1]:.0e}"
    return Truth(None, fine, value, f"solve, {how} {sizes}; last change {change}", True)


def map_error(truth: Truth, gradient: Array, source: pma.Density) -> float | None:
    """L2(mu) distance to the true map over the method's own cell centres."""
    exact = truth.map_on(source.grid)
    if exact is None:
        return None
    squares = ((gradient - exact) ** 2).sum(axis=0)
    return float(np.sqrt((source.values * source.grid.cell_volume * squares).sum()))


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
