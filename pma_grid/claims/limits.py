"""Claims about the two limits of explicit steps."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from pma_grid.claims.problems import bumps, sharp
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow.evolution import iterate
from pma_grid.flow.schedules import constant
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
