"""Claims about Sinkhorn's algorithm at a fixed eps: closed forms, bias, mirror identities."""

from __future__ import annotations

import numpy as np

from pma_grid.cases import gaussian_pair, gaussians, manufactured
from pma_grid.cases.convergence import fixed_point_bias
from pma_grid.cases.oracles import GaussianPair
from pma_grid.claims.problems import bumps, conjugate_integral, halved, order, spacings
from pma_grid.claims.result import Curve, Findings, slope_line
from pma_grid.claims.small_eps import KERNELS
from pma_grid.flow import theory
from pma_grid.flow.sinkhorn import iterate_sinkhorn, sinkhorn_flow

# Defects of identities, relative to what was paid, that count as rounding.
LARGEST_DEFECT = 1e-9
# Of the Gaussian runs: box in standard deviations, eps and sweeps.
BOX_DEVIATIONS, EPS, SWEEPS = 8.0, 0.2, 10


def gaussian_iterates(findings: Findings, quick: bool) -> None:
    """Sinkhorn on boxes of eight standard deviations against the iterates of the whole space.

    Cell masses as atoms at the centres widen a Gaussian by h^2/12 along each axis (Sheppard 1898):
    that is the quadrature error, of order 2.  Against the iterates of the widened Gaussians order 4
    is left.
    """
    sizes = {1: (64, 128, 256), 2: (48, 64) if quick else (48, 64, 96, 128)}
    for dim, counts in sizes.items():
        errors = np.array([_gaussian_errors(dim, n) for n in counts]).T
        h = spacings(counts)
        for name, predicted, slack, values in (
            ("the closed form", 2.0, 0.15, errors[0]),
            ("the closed form widened by h^2/12", 4.0, 0.4, errors[1]),
        ):
            findings.near(f"{dim}-D: order in h of the distance to {name}", predicted,
                          order(h, values), slack)  # fmt: skip
        findings.below(f"{dim}-D: distance to the widened closed form, finest grid", 1e-5,
                       errors[1][-1])  # fmt: skip
        curves = (
            Curve("closed form", h, errors[0]),
            slope_line(h, errors[0], 2.0),
            Curve("closed form, widened by h²/12", h, errors[1]),
            slope_line(h, errors[1], 4.0),
        )
        findings.panel(f"Gaussians, {dim}-D", "spacing / box", "error of u in L2(mu)", curves)


def _gaussian_errors(dim: int, n: int) -> tuple[float, float]:
    """Largest L2(mu) distances over the sweeps to the closed form, as it is and widened."""
    case, pair = gaussians(dim, BOX_DEVIATIONS), gaussian_pair(dim)
    problem = case.problem((n,) * dim)
    grid = problem.source.grid
    x = grid.coordinates()
    masses = problem.source.values * grid.cell_volume
    wide = np.diag(np.array(grid.spacing) ** 2 / 12)
    widened = GaussianPair(
        pair.source_mean, pair.source_cov + wide, pair.target_mean, pair.target_cov + wide
    )
    exact = [one.entropic(EPS).iterates(pair.identity()) for one in (pair, widened)]
    worst = np.zeros(2)
    start = 0.5 * (x**2).sum(axis=0)
    for state in iterate_sinkhorn(problem, EPS, steps=SWEEPS, initial=start):
        found = [next(iterates).potential(*x) for iterates in exact]
        gaps = [np.sqrt((masses * (state.potential - u) ** 2).sum()) for u in found]
        worst = np.maximum(worst, gaps)
    return float(worst[0]), float(worst[1])


def bias(findings: Findings, quick: bool) -> None:
    """u^eps = ubar - (eps/2) f + constant + O(eps^2), with the reflecting kernel inside the box."""
    runs = [(1, 256, 0.005), (2, 64 if quick else 128, 0.01)]
    for dim, n, first in runs:
        study = fixed_point_bias(manufactured(dim), halved(first, 4), n=n)
        name = study.case
        findings.near(f"{name}: factor of eps f in u^eps - ubar, eps to 0", -0.5, study.limit,
                      0.01)  # fmt: skip
        findings.near(f"{name}: slope of u^eps - ubar + eps f/2 inside", 2.0,
                      study.slope("interior"), 0.2)  # fmt: skip
        curves = (
            Curve("u^eps - ubar", study.eps, study.errors("error")),
            slope_line(study.eps, study.errors("error"), 1.0),
            Curve("+ eps f/2, inside", study.eps, study.errors("interior")),
            slope_line(study.eps, study.errors("interior"), 2.0),
        )
        findings.panel(name, "eps", "half oscillation", curves)


def mirror(findings: Findings, quick: bool) -> None:
    """A sweep is the explicit mirror step of size eps for the entropic cost, on every grid."""
    sizes = {1: 64, 2: 24} if quick else {1: 256, 2: 64, 3: 16}
    curves = []
    for dim, n in sizes.items():
        for kernel in KERNELS:
            flow = sinkhorn_flow(
                bumps(dim, n), 0.02, steps=12, kernel=kernel,
                record=(*theory.SERIES, conjugate_integral),
            )  # fmt: skip
            where = f"{dim}-D, {kernel} kernel"
            evi, regret = theory.evi_residual(flow), theory.regret_residual(flow)
            findings.below(
                f"{where}: defect of the EVI / (eps S)", LARGEST_DEFECT, np.abs(evi).max()
            )
            findings.below(f"{where}: defect of sum eps S = D_0 - D_K + sum D", LARGEST_DEFECT,
                           np.abs(regret).max())  # fmt: skip
            # v falls by eps KL(rho_k|mu) less the divergence: the half that needs the conjugate
            paid = flow.step_sizes * flow["kl"][:-1]
            fall = np.diff(flow["conjugate_integral"]) + paid - flow["forward_divergence"][1:]
            findings.below(f"{where}: defect of the fall of int v dnu / (eps KL_0)", LARGEST_DEFECT,
                           float(np.abs(fall).max() / paid[0]))  # fmt: skip
            rise = float(np.diff(flow["kl"]).max()) / float(flow["kl"][0])
            findings.below(f"{where}: rise of KL(rho_k|mu) over its start", 1e-12, rise)
            steps = np.arange(1.0, len(flow) + 1)
            label = f"{dim}-D, {kernel}"
            curves.append(Curve(label, steps, np.maximum(np.abs(evi), 1e-18)))
    curves.append(Curve("counted as rounding", steps, np.full(steps.size, LARGEST_DEFECT), "floor"))
    findings.panel("Sinkhorn's sweeps", "sweep", "EVI defect / (eps S)", curves, xscale="linear")
