"""Claims of the no-regret analysis: sums, averages and last iterates under many schedules."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.cases import gaussian_pair
from pma_grid.cases.convergence.rows import fitted_slope
from pma_grid.claims.problems import bumps, settled, sharp
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import schedules, theory
from pma_grid.flow.evolution import evolve
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.transport.transport import Transport

# Some bounds are sharp: an identity once D_K has vanished.
BOUND_ROUNDING = 1e-12
# The bounds of the other schedules lie on that of constant steps.
BOUNDS_DRAWN = ("constant", "polyak", "self_bounding")


def _many(scale: float) -> dict[str, Schedule | StateSchedule]:
    """One schedule of every kind, of steps of about ``scale``."""
    return {
        "constant": schedules.constant(scale),
        "inverse_sqrt": schedules.inverse_sqrt(2 * scale),
        "inverse": schedules.inverse(4 * scale),
        "geometric": schedules.geometric(scale / 4, 1.1, largest=10 * scale),
        "polyak": schedules.polyak(largest=10 * scale),
        "self_bounding": schedules.self_bounding(0.5, largest=10 * scale),
        "residual_balanced": schedules.residual_balanced(scale, 10 * scale),
    }


def gaussian_schedules(findings: Findings, quick: bool) -> None:
    """Explicit mirror steps on Gaussians, where no stability limit of a grid caps the schedules."""
    steps = 60 if quick else 400
    for dim in (1, 2, 3):
        pair = gaussian_pair(dim)
        runs = _many(0.05)
        probe = pair.mirror_flow(schedules.constant(0.05), steps)
        top = float(probe["dissipation"].max())
        runs["horizon"] = schedules.horizon(float(probe["bregman"][0]), top, steps)
        curves = []
        for name, schedule in runs.items():
            flow = pair.mirror_flow(schedule, steps)
            regret = theory.regret(flow)
            early = regret.bound_phase
            defect = np.abs(theory.evi_residual(flow))[early | (np.arange(steps) == 0)]
            findings.below(f"{dim}-D, {name}: EVI to rounding", 1e-9, float(defect.max()))
            findings.below(
                f"{dim}-D, {name}: avg S / master bound",
                1.0 + BOUND_ROUNDING,
                float(regret.tightness.max()),
            )
            curves.append(Curve(name, regret.elapsed, np.maximum(regret.average, 1e-18)))
            if name in BOUNDS_DRAWN:
                label = f"master bound, {name}"
                curves.append(Curve(label, regret.elapsed, regret.bound, "predicted"))
            _closed_bounds(findings, f"{dim}-D", name, flow, regret)
        findings.panel(
            f"explicit mirror steps, {dim}-D Gaussians",
            "sum of steps",
            "average S",
            curves,
        )


def _closed_bounds(
    findings: Findings, where: str, name: str, flow: Flow, regret: theory.Regret
) -> None:
    """The bounds of the table of `pma_grid.schedules`."""
    # G is the largest dissipation met, on the segments of the steps too: 2 D / eta^2 in the mean
    along = 2 * flow["forward_divergence"][1:] / flow.step_sizes**2
    g = max(float(flow["dissipation"].max()), float(along.max()))
    d0, k = float(flow["bregman"][0]), len(flow)
    average = float(regret.average[-1])
    if name == "horizon":
        bound = math.sqrt(2 * d0 * g / k)
        findings.below(f"{where}, horizon: avg S / sqrt(2 D0 G / K)", 1.0, average / bound)
    if name == "inverse_sqrt":
        c = float(flow.step_sizes[0])
        bound = (d0 + 0.5 * c * c * g * (1 + math.log(k))) / (2 * c * (math.sqrt(k + 1) - 1))
        findings.below(f"{where}, inverse_sqrt: avg S / its bound", 1.0, average / bound)
    if name == "self_bounding":
        paid = flow.step_sizes * flow["symmetrised_kl"][:-1]
        # near equilibrium divergences are below their own rounding
        early = regret.bound_phase
        share = float((flow["forward_divergence"][1:][early] / paid[early]).max())
        findings.below(f"{where}, self_bounding: D(k|k+1) / (eta S)", 0.5 + 1e-9, share)
        bound = d0 / (0.5 * float(regret.elapsed[-1]))
        findings.below(f"{where}, self_bounding: avg S / (2 D0 / W)", 1.0, average / bound)


def regret_on_grids(findings: Findings, quick: bool) -> None:
    """Implicit steps: sum eta S = D_0 - D_K - sum D(rho_{k+1}|rho_k), avg S <= D_0 / W_K."""
    for dim, n in ({1: 128, 2: 48} if quick else {1: 256, 2: 96, 3: 20}).items():
        problem = bumps(dim, n)
        exact = settled(problem, 1e-10)
        curves = []
        for name, schedule in _many(2e-3).items():
            flow = evolve(
                problem, schedule=schedule, steps=30 if quick or dim == 3 else 80, scheme=sharp(),
                record=theory.SERIES,
            )  # fmt: skip
            regret = theory.regret(flow)
            defect = abs(float(theory.regret_residual(flow)[-1]))
            where = f"{dim}-D, {name}"
            findings.below(f"{where}: sum eta S against divergences", 1e-3, defect)
            findings.below(f"{where}: avg S / (D0 / W)", 1.0, float(regret.tightness.max()))
            _averages(findings, where, flow, regret, exact)
            curves.append(Curve(name, regret.elapsed, np.maximum(regret.average, 1e-18)))
        edge = np.geomspace(1e-3, max(float(c.x[-1]) for c in curves), 40)
        d0 = float(flow["bregman"][0])
        curves.append(Curve("D0 / W", edge, d0 / edge, "predicted"))
        findings.panel(f"implicit steps, {dim}-D", "sum of steps W", "average S", curves)


def _averages(
    findings: Findings, where: str, flow: Flow, regret: theory.Regret, exact: Transport
) -> None:
    """Convexity of KL for the average density, of J for the average potential."""
    both = sum(theory.mixture_divergences(flow))
    findings.below(
        f"{where}: S of the average iterate / avg S",
        1.0 + BOUND_ROUNDING,
        both / regret.average[-1],
    )
    average = float((flow.step_sizes * flow["bregman"][1:]).sum() / flow.step_sizes.sum())
    findings.below(
        f"{where}: D of the average potential / avg D", 1.0 + BOUND_ROUNDING,
        theory.average_divergence(flow, exact) / average,
    )  # fmt: skip


def phases(findings: Findings, quick: bool) -> None:
    """Where the bound is at work (D_K > 0.1 D_0), and the slope -1 that follows convergence."""
    n, steps = (128, 300) if quick else (256, 1200)
    flow = evolve(
        bumps(1, n), schedule=schedules.constant(1e-3), steps=steps, scheme=sharp(),
        record=theory.SERIES,
    )  # fmt: skip
    regret = theory.regret(flow)
    active = regret.bound_phase
    findings.above("steps in the bound phase", 10, int(active.sum()))
    late = flow["bregman"][1:] < 1e-3 * flow["bregman"][0]
    slopes = [fitted_slope(regret.elapsed[k], regret.average[k]) for k in (late, active)]
    findings.near("slope of avg S over W once converged", -1.0, slopes[0], 0.02)
    findings.above("slope of avg S over W in the bound phase (slower than 1/W)", -0.9, slopes[1])
    defect = float(np.abs(theory.regret_residual(flow)[active]).max())
    findings.below("sum eta S against divergences in the bound phase", 1e-3, defect)
    findings.below(
        "largest of avg S / (D0 / W) in the bound phase", 1.0, float(regret.tightness[active].max())
    )
    last = flow["kl"][1:] / theory.last_iterate_bound(flow)
    findings.below("largest of KL(rho_K|mu) / (D0 / W)", 1.0, float(last.max()))
    both = regret.last / theory.last_iterate_bound(flow)
    findings.below("largest of S_K / (D0 / W), small steps", 1.0, float(both.max()))
    findings.panel(
        "average and last iterate",
        "sum of steps W",
        "S",
        (
            Curve("average", regret.elapsed, regret.average),
            Curve("last iterate", regret.elapsed, np.maximum(regret.last, 1e-16)),
            Curve("D0 / W", regret.elapsed, regret.bound, "predicted"),
        ),
    )


def last_iterate(findings: Findings, quick: bool) -> None:
    """KL(rho_K|mu) <= D_0 / W_K for implicit steps of any sizes."""
    curves = []
    for dim, n in ({1: 128, 2: 32} if quick else {1: 256, 2: 96, 3: 20}).items():
        worst = 0.0
        for eta in (1e-3, 1e-1, 1e1):
            flow = evolve(
                bumps(dim, n), schedule=schedules.constant(eta), steps=10, scheme=sharp(),
                record=theory.SERIES,
            )  # fmt: skip
            bound = theory.last_iterate_bound(flow)
            worst = max(worst, float((flow["kl"][1:] / bound).max()))
            d = flow["bregman"]
            kept = (d[0] - d[1] - flow["backward_divergence"][1]) / eta
            findings.near(
                f"{dim}-D, eta = {eta:g}: S_1 over the bound with nothing dropped", 1.0,
                float(flow["symmetrised_kl"][1] / kept), 2e-3,
            )  # fmt: skip
            if dim == 2:
                curves += [
                    Curve(f"eta = {eta:g}", flow.times[1:], np.maximum(flow["kl"][1:], 1e-24)),
                    Curve(f"D0 / W, eta = {eta:g}", flow.times[1:], bound, "predicted"),
                ]
        findings.below(f"{dim}-D: largest of KL(rho_K|mu) W / D0", 1.0, worst)
    findings.panel("last iterate, 2-D", "sum of steps W", "KL(rho|mu)", curves)
