"""Claims about explicit steps along a smoothed direction, as learned ones are."""

from __future__ import annotations

import numpy as np

from pma_grid.claims.problems import bumps, order, spacings
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import observables, schedules, theory
from pma_grid.flow.evolution import evolve, iterate
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule
from pma_grid.flow.stepping import Explicit
from pma_grid.flow.stepping.explicit import stability_limit

# Length of the smoothing, a tenth of the box, and a step that it makes stable.
SMOOTHING_LENGTH = 0.1
STEP_SIZE = 2e-3
# Some bounds are sharp up to rounding.
BOUND_ROUNDING = 1e-12


def _flow(dim: int, n: int, schedule: Schedule, steps: int) -> Flow:
    return evolve(
        bumps(dim, n), schedule=schedule, scheme=Explicit(smoothing=SMOOTHING_LENGTH), steps=steps,
        record=(*theory.SERIES, observables.smoothed_kl(SMOOTHING_LENGTH)),
    )  # fmt: skip


def smoothed_steps(findings: Findings, quick: bool) -> None:
    """A stability limit that no grid lowers, the EVI at order 2, the master bound."""
    sizes = {1: (64, 128, 256), 2: (32, 64)} if quick else {1: (64, 128, 256), 2: (32, 64, 128)}
    for dim, counts in sizes.items():
        limits, plain, defects = [], [], []
        for n in counts:
            state = next(iterate(bumps(dim, n), schedule=schedules.constant(STEP_SIZE)))
            limits.append(stability_limit(state, SMOOTHING_LENGTH))
            plain.append(stability_limit(state))
            residual = theory.evi_residual(_flow(dim, n, schedules.constant(STEP_SIZE), 20))
            defects.append(float(np.abs(residual).max()))
        h = spacings(counts)
        findings.near(
            f"{dim}-D: stability limit on the finest grid / on the one before", 1.0,
            limits[-1] / limits[-2], 0.02,
        )  # fmt: skip
        findings.near(
            f"{dim}-D: the same without smoothing", (h[-1] / h[-2]) ** 2, plain[-1] / plain[-2],
            0.1 * (h[-1] / h[-2]) ** 2,
        )  # fmt: skip
        findings.near(f"{dim}-D: order of the EVI's defect", 2.0, order(h, defects), 0.25)
        curves = (
            Curve("smoothed", h, np.array(limits)),
            Curve("plain", h, np.array(plain)),
            Curve("h^2", h, plain[-1] * (h / h[-1]) ** 2, "predicted"),
        )
        findings.panel(f"{dim}-D", "spacing", "stability limit", curves)
    _schedules(findings, 128 if quick else 256, 60 if quick else 300)


def _schedules(findings: Findings, n: int, steps: int) -> None:
    """Schedules on a grid whose stability limit does not cap them."""
    runs = {
        "constant": schedules.constant(STEP_SIZE),
        "inverse_sqrt": schedules.inverse_sqrt(2 * STEP_SIZE),
        "inverse": schedules.inverse(2 * STEP_SIZE),
    }
    curves = []
    for name, schedule in runs.items():
        flow = _flow(1, n, schedule, steps)
        regret = theory.regret(flow)
        tightness = float(regret.tightness.max())
        findings.below(f"1-D, {name}: avg S / master bound", 1.0 + BOUND_ROUNDING, tightness)
        left = float(flow["bregman"][-1])
        kept = regret.average[-1] / (regret.bound[-1] - left / regret.elapsed[-1])
        findings.near(f"1-D, {name}: avg S / the bound less D_K / W", 1.0, float(kept), 1e-3)
        curves += [
            Curve(name, regret.elapsed, regret.average),
            Curve("master bound", regret.elapsed, regret.bound, "predicted"),
        ]
    findings.panel("smoothed explicit steps, 1-D", "sum of steps W", "average S", curves)
