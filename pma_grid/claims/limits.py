"""Claims about explicit steps: their two limits, and a smoothed direction, as learned ones are."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from pma_grid.claims.problems import bumps, order, sharp, spacings
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import observables, theory
from pma_grid.flow.evolution import evolve, iterate
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule, constant, inverse, inverse_sqrt
from pma_grid.flow.state import State
from pma_grid.flow.stepping import Explicit
from pma_grid.flow.stepping.explicit import convexity_limit, stability_limit
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, LostConvexityError

# Explicit steps near the stability limit: 1.01 of it then grow the fastest mode 1.02^1000-fold.
MOST_STEPS = 1000
# Curvature of the noise that they start from, of the convexity of the solution.
NOISE_CURVATURE = 1e-6
# Distance of the step that loses convexity to eta_max, relative to it; in 3-D, where the scheme
# looks along few directions, it is up to so many times as long.
LIMIT_SHARE = 0.01
FEW_DIRECTIONS_SHARE = 1.25
# Length of the smoothing, a tenth of the box, and a step that it makes stable.
SMOOTHING_LENGTH = 0.1
STEP_SIZE = 2e-3
# Some bounds are sharp up to rounding.
BOUND_ROUNDING = 1e-12


def _near_equilibrium(problem: Problem) -> State:
    """The solution with noise of 1e-6 of the convexity that it has."""
    *_, state = iterate(problem, schedule=constant(10.0), steps=6, scheme=sharp())
    rng = np.random.default_rng(31847)
    spacing = 1.0 / state.phi.shape[0]
    noise = NOISE_CURVATURE * spacing**2 * rng.uniform(-1, 1, state.phi.shape)
    *_, state = iterate(problem, schedule=constant(1.0), steps=0, initial=state.potential + noise)
    return state


def _run(state: State, share: float) -> Array:
    """Residuals of explicit steps at a share of the limit, up to where convexity is lost."""
    eta = share * stability_limit(state)
    norms = []
    states = iterate(
        state.operator.problem, schedule=constant(eta), steps=MOST_STEPS, scheme=Explicit(),
        initial=state.potential,
    )  # fmt: skip
    with contextlib.suppress(LostConvexityError):
        for step in states:
            norms.append(step.residual_norm)
    return np.array(norms)


def stability(findings: Findings, quick: bool) -> None:
    """eta = .99 and 1.01 times 2 / lambda_max(-L), 1000 steps from a noisy solution."""
    sizes = {1: (32,), 2: (12,)} if quick else {1: (32, 64, 128), 2: (16, 32), 3: (8,)}
    curves: list[Curve] = []
    for dim, counts in sizes.items():
        for n in counts:
            state = _near_equilibrium(bumps(dim, n))
            where = f"{dim}-D, {n} cells an axis"
            runs = {share: _run(state, share) for share in (0.99, 1.01)}
            for share, norms in runs.items():
                name = f"{where}, {share:g} of the limit: growth"
                if share < 1:
                    findings.below(name, 1.0, norms[-1] / norms[0])
                else:
                    findings.above(name, 1e2, norms[-1] / norms[0])
            x, line, factor = _growth(runs[1.01])
            # the fastest mode is multiplied by 1 - eta lambda_max; in 3-D its superbases change
            slack = 0.002 if dim < 3 else 0.01
            findings.near(f"{where}, 1.01 of the limit: growth a step", 1.02, factor, slack)
            if dim == 1 and n == counts[-1]:
                curves = [
                    Curve(f"{share:g} of the limit", np.arange(1.0, len(norms) + 1), norms)
                    for share, norms in runs.items()
                ]
                curves.append(Curve("growth of 1.02 a step", x, line, "predicted"))
    findings.panel("explicit steps, 1-D", "step", "residual", curves, xscale="linear")


def _growth(norms: Array) -> tuple[Array, Array, float]:
    """Steps at which the fastest mode rules, growth by 1.02 a step through them, and what it is."""
    lowest = int(np.argmin(norms))
    # tenfold from the least value on, and below the start, where nothing is linear any more
    rules = np.arange(lowest, len(norms))
    rules = rules[(norms[rules] > 10 * norms[lowest]) & (norms[rules] < 0.1 * norms.max())]
    if len(rules) < 10:
        return np.ones(1), norms[:1], math.nan
    slope = np.polyfit(rules, np.log(norms[rules]), 1)[0]
    return rules + 1.0, 2 * norms[rules[0]] * 1.02 ** (rules - rules[0]), math.exp(slope)


def convexity(findings: Findings, quick: bool) -> None:
    """D2(u + eta h) stays positive below eta_max = 1/max(0, -lambda_min(A^{1/2} D2h A^{1/2})).

    The lattice vectors that the 3-D scheme looks along are few: it sees the loss later.
    """
    curves = []
    for dim, n in ({1: 128, 2: 48} if quick else {1: 512, 2: 128, 3: 32}).items():
        *_, state = iterate(bumps(dim, n), schedule=constant(2e-3), steps=2, scheme=sharp())
        limit = convexity_limit(state)
        kept, lost = 0.5, 2.0
        shares, verdicts = [kept, lost], [float(_loses(state, s * limit)) for s in (kept, lost)]
        while lost - kept > 1e-3:
            middle = 0.5 * (kept + lost)
            shares.append(middle)
            verdicts.append(float(_loses(state, middle * limit)))
            kept, lost = (kept, middle) if verdicts[-1] else (middle, lost)
        name = f"{dim}-D: step that loses convexity / eta_max"
        findings.above(f"{name}, at least", 1 - LIMIT_SHARE, lost if not verdicts[0] else 0.0)
        above = 1 + LIMIT_SHARE if dim < 3 else FEW_DIRECTIONS_SHARE
        findings.below(f"{name}, at most", above, lost if verdicts[1] else math.inf)
        places = np.argsort(shares)
        curves.append(Curve(f"{dim}-D", np.array(shares)[places], np.array(verdicts)[places]))
    edge = np.array((0.5, 1.0, 1.0, 2.0))
    curves.append(Curve("eta_max", edge, np.array((0.0, 0.0, 1.0, 1.0)), "predicted"))
    findings.panel(
        "explicit step",
        "step size / eta_max",
        "convexity lost",
        curves,
        xscale="linear",
        yscale="linear",
    )


def _loses(state: State, step_size: float) -> bool:
    """Whether an explicit step of that size reports that it lost convexity."""
    try:
        Explicit().step(state, step_size)
    except LostConvexityError:
        return True
    return False


def _smoothed(dim: int, n: int, schedule: Schedule, steps: int) -> Flow:
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
            state = next(iterate(bumps(dim, n), schedule=constant(STEP_SIZE)))
            limits.append(stability_limit(state, SMOOTHING_LENGTH))
            plain.append(stability_limit(state))
            residual = theory.evi_residual(_smoothed(dim, n, constant(STEP_SIZE), 20))
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
        "constant": constant(STEP_SIZE),
        "inverse_sqrt": inverse_sqrt(2 * STEP_SIZE),
        "inverse": inverse(2 * STEP_SIZE),
    }
    curves = []
    for name, schedule in runs.items():
        flow = _smoothed(1, n, schedule, steps)
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
