"""Digests of results, to the bit: what a change of structure must leave as it was.

    python tests/bench/same_bits.py > before.txt      # on one checkout
    python tests/bench/same_bits.py > after.txt       # on the other
    diff before.txt after.txt

Solves, evolves, runs Sinkhorn, fits and infers small problems in one to three dimensions, with one
thread and with two where a call takes threads, and prints one line for each: a digest of the arrays
and scalars of its result, not of the form of its report.  Only names of the public interface are
used, so that the script runs on any checkout.  `--only solve` runs the lines whose names begin so.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import pma_grid as pma

Parts = Iterator[tuple[str, Any]]
SEED = 7


def digest(parts: Parts) -> str:
    """Hash of names, shapes and bytes; signed zeros and NaN count as they are."""
    total = hashlib.sha256()
    for name, value in parts:
        array = np.ascontiguousarray(value)
        if array.dtype.kind in "US":
            array = np.frombuffer("".join(array.ravel().tolist()).encode(), np.uint8)
        total.update(f"{name}{array.shape}{array.dtype.str}".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:24]


def bump(shape: tuple[int, ...], slope: float = 1.0) -> np.ndarray:
    """A smooth positive density without symmetries."""
    axes = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    phase = sum((k + 1.3) * x for k, x in enumerate(axes))
    return np.exp(slope * np.sin(2.1 * phase) + 0.4 * axes[0])


def asked(value: Callable[[], Any]) -> Any:
    """The value, or that it does not exist."""
    try:
        return value()
    except pma.InvalidInputError:
        return "none"


def transport(ot: Any) -> Parts:
    """What a Transport knows: fields, distances, maps at points, draws, interpolation."""
    grid = ot.problem.source.grid
    points = np.array(grid.lower) + np.random.default_rng(SEED).random((9, grid.dim)) * np.array(
        grid.lengths
    )
    yield "status", str(ot.status)
    yield "potential", ot.potential
    yield "gradient", ot.gradient
    yield "w2_squared", ot.w2_squared
    yield "residual", asked(lambda: ot.residual)
    yield "hessian", asked(lambda: ot.hessian)
    yield "map", ot.map(points)
    images = np.array(ot.problem.target.grid.lower) + 0.3 * np.array(ot.problem.target.grid.lengths)
    yield "inverse", ot.inverse(images[None])
    for name, drawn in zip("xy", ot.sample(50, seed=SEED), strict=True):
        yield name, drawn
    if ot.problem.target_domain is None:
        yield "halfway", asked(lambda: ot.interpolate(0.5).values)
    for name, value in sorted(pma.assess(ot).items()):
        if isinstance(value, float | int):
            yield name, value


def entropic(sk: Any) -> Parts:
    """An EntropicTransport: its potentials, costs and plan besides."""
    yield from transport(sk)
    yield "source_potential", sk.source_potential
    yield "target_potential", sk.target_potential
    yield "eps", sk.eps
    if getattr(sk, "plan", None) is not None:
        yield "plan", sk.plan.tocsr().data
        yield "columns", sk.plan.tocsr().indices


def flow(run: Any) -> Parts:
    """A Flow: its series, its last potential."""
    yield "times", run.times
    for name in sorted(run.series):
        yield name, run.series[name]
    yield "status", str(run.status)
    yield "potential", run.transport.potential
    yield "w2_squared", run.transport.w2_squared


def model(fitted: Any) -> Parts:
    """A Model: its flow, density, draws and likelihoods."""
    yield from flow(fitted.flow)
    yield "density", fitted.density.values
    new = fitted.sample(40, seed=SEED)
    yield "sample", new
    yield "log_density", fitted.log_density(new)


def posterior(found: Any) -> Parts:
    """A Posterior: its moments, evidence and draws."""
    yield "mean", found.mean
    yield "covariance", found.covariance
    yield "log_evidence", found.log_evidence
    yield "error", found.evidence.error
    yield "density", found.density.values
    yield "sample", found.sample(40, seed=SEED)


def attempted(call: Callable[[], Any]) -> Any:
    """The result, or the one that the error carries."""
    try:
        return call()
    except pma.ConvergenceError as error:
        return error.result


def problems() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Names, problems and keywords of `solve`."""
    Problem, Grid, Density = pma.Problem, pma.Grid, pma.Density
    yield "1d", Problem(bump((67,)), bump((50,), -1.0)), {}
    yield "1d-gaps", Problem(bump((64,)) * (np.arange(64) % 16 > 4), bump((64,))), {}
    yield "2d", Problem(bump((40, 33)), bump((29, 40), -1.5)), {}
    boxes = Grid((24, 48), (-3.0, 1.0), (1.0, 1.5)), Grid((32, 32), (0.0, 0.0), (2.0, 9.0))
    pair = (Density(bump(grid.shape, s), grid) for grid, s in zip(boxes, (1.0, -1.0), strict=True))
    yield "2d-boxes", Problem(*pair), {}
    rough = np.random.default_rng(SEED).random((2, 48, 48)) + 0.02
    yield "2d-noise", Problem(*rough), {}
    yield "2d-photograph", pma.cases.photographs().problem((64, 64)), {}
    yield "2d-mixtures", pma.cases.gaussian_mixtures().problem((64, 64)), {"tol": 1e-8}
    x, y = np.meshgrid(*2 * [(np.arange(48) + 0.5) / 48 - 0.5], indexing="ij")
    two = ((np.abs(x) - 0.25) ** 2 + y**2 < 0.03).astype(float)
    yield "2d-torn", Problem(np.ones((48, 48)), two), {}
    tails = np.exp(-((x - 0.1) ** 2 + y**2) / 0.01) + 1e-9, np.exp(-((x + y) ** 2 + y**2) / 0.02)
    yield "2d-tails", Problem(*tails), {}
    yield "2d-plain", Problem(rough[0], bump((48, 48))), {"averaging": False, "fallback": False}
    lax = {"monotone_gradient": True}
    yield "2d-monotone", Problem(bump((32, 32), 0.2), bump((32, 32), -0.2)), lax
    disc, grid = pma.Ellipse((0.5, 0.5), axes=0.4), Grid((40, 40))
    onto = Density(disc.averages(lambda a, b: 1 + a * b, grid), grid)
    yield "2d-disc", Problem(np.ones((40, 40)), onto, target_domain=disc), {}
    corner = pma.Polygon([(0.1, 0.1), (0.9, 0.2), (0.3, 0.9)])
    onto = Density(corner.fractions(grid), grid)
    yield "2d-triangle", Problem(bump((40, 40)), onto, target_domain=corner), {}
    yield "2d-line", Problem(bump((1, 30)), bump((1, 24), -1.0)), {}
    yield "3d", Problem(bump((16, 13, 18), 0.3), bump((15, 16, 14), -0.3)), {}
    yield "3d-steep", Problem(bump((16, 13, 18)), bump((15, 16, 14), -1.0)), {}
    yield "3d-manufactured", pma.cases.manufactured(dim=3).problem((20, 20, 20)), {"tol": 1e-8}
    rough = np.random.default_rng(SEED).random((2, 16, 16, 16)) + 0.1
    yield "3d-noise", Problem(*rough), {}
    for solver in (pma.AMG(), pma.Direct(), pma.Multigrid()):
        name = type(solver).__name__.lower()
        yield f"2d-{name}", Problem(bump((40, 33)), bump((29, 40), -1.5)), {"linear_solver": solver}


def solves() -> Iterator[tuple[str, Callable[[], Parts]]]:
    """`solve` on all problems, one thread and two."""
    for name, problem, keywords in problems():
        for threads in (1, 2):
            yield (
                f"solve {name} threads={threads}",
                lambda p=problem, k=keywords, t=threads: transport(
                    attempted(lambda: pma.solve(p, threads=t, **k))
                ),
            )
    pair = pma.Problem(bump((32, 32)), bump((32, 32), -1.0))
    yield (
        "solve 2d-initial",
        lambda: transport(pma.solve(pair, initial=pma.sinkhorn(pair, 1e-3))),
    )


def sinkhorns() -> Iterator[tuple[str, Callable[[], Parts]]]:
    """Entropic transport by both methods."""
    one = pma.Problem(bump((60,)), bump((45,), -1.0))
    two = pma.Problem(bump((40, 33)), bump((29, 40), -1.5))
    three = pma.Problem(bump((12, 13, 10)), bump((12, 11, 14), -1.0))
    gaps = pma.Problem(
        bump((48,)) * (np.arange(48) % 12 > 3), bump((48,)) * (np.arange(48) % 9 > 2)
    )
    runs = [
        ("1d", one, {"eps": 1e-3}),
        ("1d-narrow", one, {"eps": 1e-6}),
        ("1d-multiscale", gaps, {"method": "multiscale", "eps": 1e-4}),
        ("2d", two, {"eps": 2e-3}),
        ("2d-reflect", two, {"eps": 2e-3, "kernel": "reflect"}),
        ("2d-debiased", two, {"eps": 2e-3, "map": "debiased"}),
        ("2d-single", two, {"eps": 2e-3, "dtype": "float32"}),
        ("2d-unscaled", two, {"eps": 5e-3, "scaling": False, "relaxation": 1.0}),
        ("2d-multiscale", two, {"method": "multiscale"}),
        ("3d", three, {"eps": 5e-3}),
        ("3d-multiscale", three, {"method": "multiscale"}),
    ]
    for name, problem, keywords in runs:
        for threads in (1, 2):
            yield (
                f"sinkhorn {name} threads={threads}",
                lambda p=problem, k=keywords, t=threads: entropic(
                    attempted(lambda: pma.sinkhorn(p, threads=t, **k))
                ),
            )


def flows() -> Iterator[tuple[str, Callable[[], Parts]]]:
    """`evolve` by every scheme and schedule, `sinkhorn_flow`, and flows that go on."""
    one = pma.Problem(bump((48,)), bump((40,), -0.7))
    two = pma.Problem(bump((24, 20)), bump((22, 24), -0.7))
    three = pma.Problem(bump((9, 10, 11)), bump((10, 9, 11), -0.5))
    schedules = pma.schedules
    everything = pma.theory.SERIES
    runs: list[tuple[str, Any, dict[str, Any]]] = [
        ("1d", one, {"schedule": schedules.constant(0.02), "steps": 12, "record": everything}),
        ("2d", two, {"schedule": schedules.constant(0.02), "steps": 8, "record": everything}),
        ("3d", three, {"schedule": schedules.constant(0.02), "steps": 4, "record": everything}),
        (
            "2d-trbdf2",
            two,
            {"schedule": schedules.adaptive(1e-4), "scheme": pma.TRBDF2(), "time": 0.05},
        ),
        (
            "2d-explicit",
            two,
            {"schedule": schedules.constant(1e-5), "scheme": pma.Explicit(), "steps": 20},
        ),
        ("2d-target", two, {"schedule": schedules.constant(0.05), "steps": 5, "side": "target"}),
        ("2d-sqrt", two, {"schedule": schedules.inverse_sqrt(0.05), "steps": 6}),
        ("2d-geometric", two, {"schedule": schedules.geometric(0.02, 1.4), "tol": 1e-6}),
        (
            "2d-amg",
            two,
            {
                "schedule": schedules.constant(0.05),
                "scheme": pma.ImplicitEuler(linear_solver=pma.AMG()),
                "steps": 4,
            },
        ),
    ]
    for name, problem, keywords in runs:
        yield (
            f"evolve {name}",
            lambda p=problem, k=keywords: flow(attempted(lambda: pma.evolve(p, **k))),
        )

    def gone_on() -> Parts:
        first = pma.evolve(two, schedule=schedules.constant(0.02), steps=4)
        return flow(
            pma.evolve(two, schedule=schedules.constant(0.02), steps=4, initial=first, keep=2)
        )

    yield "evolve 2d-continued", gone_on
    for name, problem, keywords in (
        ("1d", one, {"eps": 1e-2, "steps": 20, "record": everything}),
        ("2d", two, {"eps": 2e-2, "steps": 10}),
        ("2d-reflect", two, {"eps": 2e-2, "steps": 10, "kernel": "reflect"}),
        ("3d", three, {"eps": 3e-2, "time": 0.1}),
    ):
        yield (
            f"sinkhorn_flow {name}",
            lambda p=problem, k=keywords: flow(pma.sinkhorn_flow(p, **k)),
        )

    def regret() -> Parts:
        run = pma.evolve(one, schedule=schedules.constant(0.02), steps=20, record=everything)
        found = pma.theory.regret(run)
        for name, value in sorted(vars(found).items()):
            yield name, np.asarray(value)
        yield "evi", pma.theory.evi_residual(run)

    yield "theory regret", regret


def fits() -> Iterator[tuple[str, Callable[[], Parts]]]:
    """`fit` by every estimator."""
    points = {
        1: pma.cases.gaussian_mixture(dim=1).sample(300, seed=SEED),
        2: pma.cases.two_moons().sample(300, seed=SEED),
        3: pma.cases.gaussian_mixture(dim=3).sample(300, seed=SEED),
    }
    learning = pma.learning
    runs: list[tuple[str, int, dict[str, Any]]] = [
        ("1d-logistic", 1, {"shape": 64}),
        ("2d-logistic", 2, {"shape": 24}),
        ("2d-score", 2, {"shape": 24, "method": learning.Score()}),
        ("2d-kernel", 2, {"shape": 24, "method": learning.Kernel()}),
        ("2d-histogram", 2, {"shape": 24, "method": learning.Histogram()}),
        ("2d-relearn", 2, {"shape": 16, "relearn": True, "method": learning.Logistic(0.1)}),
        ("2d-uniform", 2, {"shape": 24, "base": "uniform"}),
        ("3d-kernel", 3, {"shape": 10, "method": learning.Kernel()}),
    ]
    for name, dim, keywords in runs:
        yield (
            f"fit {name}",
            lambda d=dim, k=keywords: model(attempted(lambda: pma.fit(points[d], **k))),
        )


def inferences() -> Iterator[tuple[str, Callable[[], Parts]]]:
    """`infer` on posteriors in one to three dimensions."""
    runs: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
        ("1d", lambda x: -0.5 * x**2 - 0.1 * x**4, {"start": (0.3,)}),
        ("2d", lambda x, y: -(x**2 + x * y + y**2), {"start": (1.0, 0.0), "shape": 32}),
        ("2d-box", lambda x, y: -np.cosh(x) - y**2, {"box": [(-4, 4), (-5, 5)], "shape": 32}),
        ("3d", lambda x, y, z: -0.5 * (x**2 + y**2 + z**2), {"start": (0, 0, 0), "shape": 12}),
    ]
    for name, law, keywords in runs:
        yield (
            f"infer {name}",
            lambda f=law, k=keywords: posterior(attempted(lambda: pma.infer(f, **k))),
        )


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="run the lines whose names begin so")
    only = parser.parse_args().only
    for group in (solves, sinkhorns, flows, fits, inferences):
        for name, run in group():
            if not name.startswith(only):
                continue
            try:
                text = digest(run())
            except pma.InvalidInputError as error:
                text = f"refused: {str(error)[:60]}"
            print(f"{text}  {name}", flush=True)


if __name__ == "__main__":
    main()
