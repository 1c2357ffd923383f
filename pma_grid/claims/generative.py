"""Claims of generative modelling and inference: samplers, learned steps, evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp

from pma_grid.cases import DataSet, circles, gaussian_mixture, two_moons
from pma_grid.claims.problems import order
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import schedules
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule
from pma_grid.grid.grid import Grid
from pma_grid.inference import infer
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.integrals import log_cell_masses
from pma_grid.learning import LearnedRegret, Logistic, fit, learned_regret
from pma_grid.problem.problem import Problem
from pma_grid.problem.samples import Samples
from pma_grid.runtime import Array
from pma_grid.sampling import quality
from pma_grid.sampling.sampler import Sampler
from pma_grid.stationary.solving import solve

# Of all points that are drawn.
SEED = 20504
# Points of an energy distance: its threshold is found from a matrix of all distances.
ENERGY_POINTS = 1200


def correlated(x: Array, y: Array) -> Array:
    """A normal law of correlation 0.8; Z = 2 pi 0.6."""
    return np.asarray(-0.5 * (x * x - 1.6 * x * y + y * y) / 0.36)


def beta(x: Array, y: Array) -> Array:
    """Beta(3, 4) times Beta(3, 2): slopes at faces."""
    with np.errstate(divide="ignore"):
        parts = 2 * np.log(x) + 3 * np.log1p(-x) + 2 * np.log(y) + np.log1p(-y)
    return np.asarray(parts)


LOG_BETA = float(gammaln(3) + gammaln(4) - gammaln(7) + gammaln(3) + gammaln(2) - gammaln(5))
# Log densities, where `infer` looks, and log Z.
POSTERIORS: dict[str, tuple[Callable[..., Array], dict[str, Any], float]] = {
    "correlated": (correlated, {"box": [(-20, 20)] * 2}, math.log(2 * math.pi * 0.6)),
    "banana": (
        lambda x, y: -0.5 * (x * x + 4 * (y - 0.5 * x * x) ** 2),
        {"start": (0.5, 0.5)}, math.log(math.pi),
    ),
    "gamma": (
        lambda x: np.where(x > 0, 2 * np.log(np.maximum(x, 1e-300)) - 3 * x, -np.inf),
        {"box": [(0, 50)]}, math.log(2 / 27),
    ),
    "cut at a face": (
        lambda x, y: -0.5 * (x * x + y * y), {"box": [(0, 10), (-10, 10)]}, math.log(math.pi)
    ),
    "beta": (beta, {"box": [(0, 1)] * 2}, LOG_BETA),
    "3-D": (
        lambda x, y, z: -0.5 * (x * x + 0.25 * y * y + 4 * z * z),
        {"start": (1, 1, 1)}, 1.5 * math.log(2 * math.pi),
    ),
}  # fmt: skip


def evidence(findings: Findings, quick: bool) -> None:
    """lo <= log sum m <= hi in every state; log Z within its stated error; orders in h."""
    curves = []
    for name, (f, place, exact) in POSTERIORS.items():
        size = {1: 512, 2: 64 if quick else 128, 3: 24}[f.__code__.co_argcount]
        posterior = infer(f, shape=size, **place)
        found, flow = posterior.evidence, posterior.flow
        low, high = flow["evidence_lower"] - found.limit, flow["evidence_upper"] - found.limit
        findings.below(f"{name}: largest lower bound - limit", 0.0, float(low.max()), slack=1e-12)
        findings.above(f"{name}: smallest upper bound - limit", 0.0, float(high.min()), slack=1e-12)
        findings.below(f"{name}: gap at the end", 1e-6, found.gap)
        error = abs(posterior.log_evidence - exact)
        findings.below(f"{name}: error of log Z", 1e-4, error)
        findings.below(f"{name}: error of log Z / stated", 1.0, error / found.error)
        times = np.maximum(flow.times, 1e-3 * flow.times[1])
        curves.append(Curve(f"{name}: upper - lower", times, np.maximum(high - low, 1e-16)))
    check = infer(correlated, box=[(-20, 20)] * 2, shape=64).importance(20000, seed=SEED)
    away = abs(check.log_evidence - math.log(1.2 * math.pi)) / check.standard_error
    findings.below("draws through the map: |log Z - closed form| in standard errors", 4.0, away)
    _orders(findings)
    span = np.array([min(c.x[0] for c in curves), max(c.x[-1] for c in curves)])
    curves.append(Curve("asked for", span, np.full(2, 1e-6), "floor"))
    findings.panel("bounds of log Z close in", "time [length²]", "gap [nats]", curves)


def _orders(findings: Findings) -> None:
    """log of the sum of cell masses, by midpoints and by two Gauss points an axis."""
    sizes = (16, 32, 64)
    for quadrature, predicted in ((1, 2.0), (2, 4.0)):
        errors = [
            float(logsumexp(log_cell_masses(LogFunction(beta), Grid((n, n)), quadrature)))
            - LOG_BETA
            for n in sizes
        ]
        measured = order([1 / n for n in sizes], errors)
        findings.near(
            f"beta, {quadrature} Gauss points: order of the limit in h", predicted, measured, 0.3
        )


def bias(findings: Findings, quick: bool) -> None:
    """Learned steps stop at a floor: the regret left is <e, mu - rho> <= osc(e) TV."""
    n, counts = (48, (1000, 8000)) if quick else (96, (1000, 8000, 64000))
    for case in (gaussian_mixture(1), gaussian_mixture(2)):
        size = 256 if case.dim == 1 else n
        errors = []
        for count in counts:
            flow = learned(case, size, count, schedules.constant(1.0), steps=12)
            where = f"{case.dim}-D, {count} samples"
            bound, found = flow["learned_bias_bound"][1:], flow["learned_bias"][1:]
            findings.below(f"{where}: |<e, mu - rho>| / (osc(e) TV)", 1.0,
                           float((np.abs(found) / bound).max()))  # fmt: skip
            last = float(flow["symmetrised_kl"][-1] / flow["learned_bias"][-1])
            findings.near(f"{where}: S at rest / <e, mu - rho>", 1.0, last, 1e-2)
            regret = learned_regret(flow)
            findings.below(f"{where}: avg S / (bound + avg osc(e) TV)", 1.0,
                           float((regret.average / regret.guarantee).max()))  # fmt: skip
            errors.append(float(flow["learned_error"][1]))
        slope = order(counts, errors)
        # lengths of n^{-1/4} are smoothed over: variance n^{-1} over that to the power d
        findings.near(
            f"{case.dim}-D: slope of the direction's error in the samples", -(4 - case.dim) / 8,
            slope, 0.1,
        )  # fmt: skip
        x = np.array(counts, float)
        law = errors[0] * (x / x[0]) ** (-(4 - case.dim) / 8)
        curves = (Curve("learned", x, np.array(errors)), Curve("predicted", x, law, "predicted"))
        findings.panel(f"direction's rms error, {case.dim}-D", "samples", "error [nats]", curves)


def regret(findings: Findings, quick: bool) -> None:
    """avg <d, rho - m> <= D_0 / W for learned directions d, towards the truth and the points."""
    case, size, count = gaussian_mixture(2), 48 if quick else 96, 4000
    rules = {
        "constant": schedules.constant(0.3),
        "inverse_sqrt": schedules.inverse_sqrt(0.5),
        "inverse": schedules.inverse(1.0),
        "geometric": schedules.geometric(0.05, 1.5, 3.0),
    }
    curves = []
    for name, rule in rules.items():
        flow = learned(case, size, count, rule, steps=15 if quick else 40)
        found = learned_regret(flow)
        _no_regret(findings, name, flow, found)
        curves.append(Curve(name, found.elapsed, np.maximum(found.average, 1e-12)))
    floor = np.full(2, float(found.bias[-1]))
    curves.append(Curve("floor", found.elapsed[[0, -1]], floor, "floor"))
    flow = learned(case, size, count, schedules.constant(0.02), steps=15, explicit=True)
    _no_regret(findings, "explicit", flow, learned_regret(flow))
    findings.panel("learned steps towards the truth", "sum of steps", "average S", curves)


def _no_regret(findings: Findings, name: str, flow: Flow, found: LearnedRegret) -> None:
    """Bounds and sums towards both laws; the sums telescope up to the order of the grid."""
    findings.below(
        f"{name}: avg <d, rho - mu> / bound", 1.0, float((found.learned / found.bound).max()),
        slack=2e-3,
    )  # fmt: skip
    findings.below(
        f"{name}: avg <d, rho - m> / bound", 1.0,
        float((found.empirical / found.empirical_bound).max()), slack=2e-3,
    )  # fmt: skip
    total = float((flow.step_sizes * flow["learned_regret"][1:]).sum())
    if flow.weights[0]:
        total -= float(flow["forward_divergence"][1:].sum())
    else:
        total += float(flow["backward_divergence"][1:].sum())
    fall = float(flow["bregman"][0] - flow["bregman"][-1])
    findings.near(
        f"{name}: sum eta <d, rho - mu> +- sum D, over D_0 - D_K", 1.0, total / fall, 0.01
    )


def sampler(findings: Findings, quick: bool) -> None:
    """Draws through the map cannot be told from draws of the law itself."""
    cases = (gaussian_mixture(1), two_moons(), circles(), gaussian_mixture(3))
    for case in cases if not quick else cases[:3]:
        size = {1: 512, 2: 128, 3: 32}[case.dim]
        law = case.density(case.grid(size))
        base = np.ones(law.shape)
        drawn = Sampler(solve(Problem(law, base)))
        new, truth = drawn.sample(ENERGY_POINTS, seed=SEED), case.sample(ENERGY_POINTS, SEED + 1)
        _alike(findings, f"{case.name}: base to data", new, truth)
        back = drawn.encode(case.sample(ENERGY_POINTS, SEED + 2))
        _alike(findings, f"{case.name}: data to base", back,
               drawn.base.sample(ENERGY_POINTS, SEED + 3))  # fmt: skip
        if case.dim == 1:
            _distribution(findings, new, drawn)
        likelihood = quality.log_likelihood(drawn.log_density, case.sample(20000, SEED + 4))
        findings.below(
            f"{case.name}: |log-likelihood + entropy|, less 4 standard errors", 2e-2,
            abs(likelihood.value + case.entropy()) - 4 * likelihood.error,
        )  # fmt: skip


def _distribution(findings: Findings, new: Array, drawn: Sampler) -> None:
    """The distribution function of draws on a line, beside that of the law."""
    x = np.sort(new[:, 0])
    share = (np.arange(x.size) + 0.5) / x.size
    law = drawn.transport.problem.source
    below = np.cumsum(law.values) * law.grid.cell_volume
    curves = (
        Curve("draws", x, share),
        Curve("law", law.grid.faces[0][1:], below, "predicted"),
    )
    findings.panel("distribution of draws, 1-D", "x", "share below", curves, "linear", "linear")


def _alike(findings: Findings, what: str, x: Array, y: Array) -> None:
    """The energy distance is below what samples of one law have."""
    threshold = quality.energy_threshold(x, y, seed=SEED, level=0.005)
    ratio = quality.energy_distance(x, y) / threshold
    findings.below(f"{what}: energy distance / Monte-Carlo threshold", 1.0, ratio)


def learned(
    case: DataSet, size: int, count: int, rule: Schedule, *, steps: int, explicit: bool = False
) -> Flow:
    """A learned flow that is compared with the truth; the strength falls like 1 / samples."""
    grid = case.grid(size)
    samples = Samples(case.sample(count, SEED), grid=grid)
    estimator = Logistic((1e-3 if case.dim > 1 else 1e-4) / count)
    return fit(
        samples, estimator, base="gaussian", truth=case.density(grid), schedule=rule, steps=steps,
        explicit=explicit,
    ).flow  # fmt: skip
