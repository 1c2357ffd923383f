"""Claims about identities: exact in the continuum, of second order on a grid; exact for oracles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pma_grid.cases.oracles import LaguerreScheme
from pma_grid.claims.problems import SHARP, bumps, conjugate_integral, order, sharp, spacings
from pma_grid.claims.result import Curve, Findings, slope_line
from pma_grid.flow import observables, theory
from pma_grid.flow.evolution import evolve, iterate
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import constant
from pma_grid.flow.stepping import TRBDF2, Explicit, ImplicitEuler, Scheme
from pma_grid.flow.stepping.explicit import stability_limit
from pma_grid.problem.problem import Problem

# Identities are tested from here on: the first instants of a flow from the affine map are rough.
WARM_TIME = 0.01


def _warm(problem: Problem) -> Flow:
    """A flow up to WARM_TIME, to start from."""
    return evolve(problem, schedule=constant(WARM_TIME / 4), steps=4, scheme=sharp(), record=())


def _sizes(quick: bool) -> dict[int, tuple[int, ...]]:
    if quick:
        return {1: (64, 128, 256), 2: (32, 64)}
    return {1: (64, 128, 256), 2: (32, 64, 128), 3: (16, 24, 32)}


def _defect(problem: Problem, scheme: Scheme, eta: float) -> float:
    """Relative defect of the discrete EVI over one step."""
    flow = evolve(
        problem, schedule=constant(eta), scheme=scheme, steps=1, record=theory.SERIES,
        initial=_warm(problem),
    )  # fmt: skip
    return abs(float(theory.evi_residual(flow)[0]))


def _explicit_step(dim: int, sizes: Sequence[int]) -> float:
    """Half the stability limit of the finest grid, taken on all of them."""
    problem = bumps(dim, sizes[-1])
    state = next(iterate(problem, schedule=constant(1.0), initial=_warm(problem)))
    return 0.5 * stability_limit(state)


def evi(findings: Findings, quick: bool) -> None:
    """Defect over eta S: order 2 in the spacing, below 1e-3 on 64 cells."""
    for dim, sizes in _sizes(quick).items():
        curves = []
        runs: list[tuple[str, Scheme, float]] = [
            (f"implicit, eta = {eta:g}", sharp(), eta)
            for eta in ((1e-2, 1.0) if quick or dim == 3 else (1e-3, 1e-2, 1.0))
        ]
        runs.append(("explicit", Explicit(), _explicit_step(dim, sizes)))
        for name, scheme, eta in runs:
            defects = [_defect(bumps(dim, n), scheme, eta) for n in sizes]
            h = spacings(sizes)
            slope = order(h, defects)
            # 3-D: the explicit step's defect is too small for an order on grids that fit here
            if dim < 3 or isinstance(scheme, ImplicitEuler):
                findings.near(f"{dim}-D, {name}: order of the EVI's defect", 2.0, slope, 0.2)
            n = 64 if 64 in sizes else sizes[-1]
            at = defects[sizes.index(n)]
            findings.below(f"{dim}-D, {name}: defect / (eta S) on {n} cells", 1e-3, at)
            curves.append(Curve(name, h, np.array(defects)))
        curves.append(slope_line(curves[0], 2.0))
        findings.panel(f"{dim}-D", "spacing", "EVI defect / (eta S)", curves)


def dissipation(findings: Findings, quick: bool) -> None:
    """dKL/dt + I, relative to I: to zero at second order with steps proportional to the spacing."""
    for dim, sizes in _sizes(quick).items():
        worst = []
        for n in sizes:
            problem = bumps(dim, n)
            flow = evolve(
                problem, schedule=constant(0.08 / n), time=2 * WARM_TIME, scheme=TRBDF2(**SHARP),
                record=("kl", "dissipation"), initial=_warm(problem),
            )  # fmt: skip
            worst.append(float(np.abs(theory.dissipation_residual(flow)).max()))
        h = spacings(sizes)
        findings.near(f"{dim}-D: order of dKL/dt + I", 2.0, order(h, worst), 0.3)
        findings.below(f"{dim}-D: (dKL/dt + I) / I on the finest grid", 1e-2, worst[-1])
        curve = Curve("largest over the flow", h, np.array(worst))
        curves = (curve, slope_line(curve, 2.0))
        findings.panel(f"{dim}-D", "spacing", "|dKL/dt + I| / I", curves)


def semidual_split(findings: Findings, quick: bool) -> None:
    """int u* dnu falls by eta KL(rho|mu) + D(rho_{k+1}|rho_k) over an implicit step.

    The other half of J, int u dmu, falls by eta KL(mu|rho): algebra on a grid, which tests nothing.
    """
    curves, eta = [], 0.02
    for dim, sizes in _sizes(quick).items():
        defects = []
        for n in sizes:
            problem = bumps(dim, n)
            first, second = iterate(
                problem, schedule=constant(eta), steps=1, scheme=sharp(), initial=_warm(problem)
            )
            change = conjugate_integral(second) - conjugate_integral(first)
            # the gauge of u rises by alpha a unit of time, that of u* falls by it
            paid = (
                eta * (observables.kl(second) + second.mass_constant) + second.backward_divergence
            )
            defects.append(abs(change + paid) / paid)
        h = spacings(sizes)
        findings.near(f"{dim}-D: order of the defect of int u* dnu", 2.0, order(h, defects), 0.35)
        findings.below(f"{dim}-D: that defect on the finest grid, relative", 1e-2, defects[-1])
        curves.append(Curve(f"{dim}-D", h, np.array(defects)))
    curves.append(slope_line(curves[0], 2.0))
    findings.panel("int u* dnu over a step", "spacing", "relative defect", curves)


def laguerre(findings: Findings, quick: bool) -> None:
    """The exact 1-D scheme: its EVI to rounding, and our pullback against its cells at order 2."""
    sizes = (32, 64, 128)
    gaps = []
    for n in sizes:
        problem = bumps(1, n)
        # cells of the target much finer than the source's: its density is constant in each
        scheme = LaguerreScheme(Problem(problem.source, bumps(1, 16 * n).target))
        for kind, eta in (("explicit", 0.2 / n**2), ("implicit", 0.01), ("implicit", 1.0)):
            flow = scheme.run(constant(eta), 1, scheme=kind)  # type: ignore[arg-type]
            name = f"{n} cells, {kind}, eta = {eta:.1g}"
            defect = abs(float(theory.evi_residual(flow)[0]))
            findings.below(f"{name}: EVI of Laguerre cells", 1e-9, defect)
            by_j, by_segment = np.diff(flow["semidual"])[0], np.diff(flow["bregman"])[0]
            gap = abs(float(by_j / by_segment - 1))
            findings.below(f"{name}: dJ against dD along the segment", 1e-9, gap)
        state = list(iterate(problem, schedule=constant(WARM_TIME), steps=1, scheme=sharp()))[-1]
        exact = scheme.pullback(state.potential)
        gaps.append(float(np.abs(exact - state.masses).sum()))
    curve = Curve("monotone scheme", spacings(sizes), np.array(gaps))
    findings.near("order of |rho - Laguerre masses|_1", 2.0, order(curve.x, curve.y), 0.25)
    curves = (curve, slope_line(curve, 2.0))
    findings.panel("pullback against Laguerre cells", "spacing", "L1 distance", curves)
