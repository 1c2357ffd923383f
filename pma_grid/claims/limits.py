"""Claims about the two limits of explicit steps."""

from __future__ import annotations

import numpy as np

from pma_grid.claims.problems import bumps, sharp
from pma_grid.claims.result import Curve, Findings, Panel
from pma_grid.errors import LostConvexityError
from pma_grid.evolution import iterate
from pma_grid.flow import State
from pma_grid.problem import Problem
from pma_grid.schedules import constant
from pma_grid.stepping import Explicit
from pma_grid.stepping.explicit import convexity_limit, stability_limit

STEPS = 1000
NOISE = 1e-6


def _near_equilibrium(problem: Problem) -> State:
    """The solution with noise of 1e-6 of the convexity that it has."""
    *_, state = iterate(problem, schedule=constant(10.0), steps=6, scheme=sharp())
    rng = np.random.default_rng(31847)
    spacing = 1.0 / state.phi.shape[0]
    noise = NOISE * spacing**2 * rng.uniform(-1, 1, state.phi.shape)
    *_, state = iterate(problem, schedule=constant(1.0), steps=0, initial=state.potential + noise)
    return state


def _run(state: State, share: float) -> tuple[list[float], int]:
    """Residuals of explicit steps at a share of the limit; where convexity was lost, or -1."""
    eta = share * stability_limit(state)
    norms = []
    states = iterate(
        state.operator.problem, schedule=constant(eta), steps=STEPS, scheme=Explicit(),
        initial=state.potential,
    )  # fmt: skip
    try:
        for step in states:
            norms.append(step.residual_norm)
    except LostConvexityError:
        return norms, len(norms)
    return norms, -1


def stability(findings: Findings, quick: bool) -> None:
    """eta = .99 and 1.01 times 2 / lambda_max(-L), 1000 steps from a noisy solution."""
    sizes = {1: (32,), 2: (12,)} if quick else {1: (32, 64, 128), 2: (16, 32), 3: (8,)}
    curves = []
    for dim, counts in sizes.items():
        for n in counts:
            state = _near_equilibrium(bumps(dim, n))
            for share in (0.99, 1.01):
                norms, _ = _run(state, share)
                growth = norms[-1] / norms[0]
                name = f"{dim}-D, {n} cells an axis, {share:g} of the limit: growth"
                if share < 1:
                    findings.below(name, 1.0, growth)
                else:
                    findings.above(name, 1e2, growth)
                if dim == 1 and n == counts[-1]:
                    x = np.arange(1.0, len(norms) + 1)
                    curves.append(Curve(f"{share:g} of the limit", x, np.array(norms)))
    findings.panels.append(
        Panel("explicit steps, 1-D", "step", "residual", tuple(curves), xscale="linear")
    )


def convexity(findings: Findings, quick: bool) -> None:
    """D2(u + eta h) stays positive below eta_max = 1/max(0, -lambda_min(A^{1/2} D2h A^{1/2}))."""
    shares = np.array((0.5, 0.9, 0.97, 1.03, 1.1, 2.0))
    curves = []
    for dim, n in ({1: 128, 2: 48} if quick else {1: 512, 2: 128, 3: 32}).items():
        *_, state = iterate(bumps(dim, n), schedule=constant(2e-3), steps=2, scheme=sharp())
        limit = convexity_limit(state)
        lost = []
        for share in shares:
            try:
                Explicit().step(state, float(share * limit))
                lost.append(0.0)
            except LostConvexityError:
                lost.append(1.0)
        first = float(shares[np.argmax(lost)]) if any(lost) else np.inf
        findings.near(f"{dim}-D: first step / eta_max that loses convexity", 1.03, first, 0.061)
        curves.append(Curve(f"{dim}-D", shares, np.array(lost)))
    findings.panels.append(
        Panel(
            "explicit step",
            "step size / eta_max",
            "convexity lost",
            tuple(curves),
            xscale="linear",
            yscale="linear",
        )
    )
