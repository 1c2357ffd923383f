"""Claims about Sinkhorn's algorithm: the limit of small eps, and what holds at a fixed one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pma_grid.cases import gaussian_mixtures, gaussian_pair, gaussians, manufactured
from pma_grid.cases.convergence import SmallEps, fixed_point_bias, reference, small_eps
from pma_grid.cases.convergence.references import FINER
from pma_grid.cases.oracles import GaussianPair
from pma_grid.claims.problems import bumps, conjugate_integral, gentle, halved, order, spacings
from pma_grid.claims.result import Curve, Findings, slope_line
from pma_grid.entropic.solving import Kernel
from pma_grid.flow import theory
from pma_grid.flow.sinkhorn import iterate_sinkhorn, sinkhorn_flow
from pma_grid.problem.problem import Problem

KERNELS: tuple[Kernel, ...] = ("plain", "reflect")
# While the flow still moves: KL(rho|mu) is down to 5 %, 3 % and 1 % of its start.
MOVING_TIMES = (0.02, 0.04, 0.08)
# The flow's own error may be this share of the smallest error that is measured against it.
FLOOR_SHARE = {"limit": 0.1, "richardson": 0.25}
# From the first of these times on nothing may grow; the flow has ended long before the last.
LONG_TIMES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
MIDDLE_TIME = 0.16
# Defects of identities, relative to what was paid, that count as rounding.
LARGEST_DEFECT = 1e-9
# Of the Gaussian runs: box in standard deviations, eps and sweeps.
BOX_DEVIATIONS, EPS, SWEEPS = 8.0, 0.2, 10


def _pair(name: str, n: int) -> tuple[Problem, Problem]:
    """A problem on n cells an axis, and on three times as many for the flow."""
    makers = {
        "bumps": lambda size: bumps(1, size),
        "mixtures": lambda size: gaussian_mixtures().problem((size, size)),
        "gentle": lambda size: gentle(1, size),
        "gentle 2-D": lambda size: gentle(2, size),
        "cosines": lambda size: manufactured(1).problem((size,)),
    }
    return makers[name](n), makers[name](FINER * n)


def _studies(
    name: str, n: int, eps: Sequence[float], times: Sequence[float], steps: int,
    kernels: tuple[Kernel, ...] = KERNELS,
) -> dict[Kernel, SmallEps]:  # fmt: skip
    """The study of a problem with each kernel, against one run of the flow."""
    problem, finer = _pair(name, n)
    against = reference(problem, times, finer=finer, steps=steps)
    return {k: small_eps(problem, eps, times, kernel=k, against=against) for k in kernels}


def _curve(label: str, study: SmallEps, name: str, time: float) -> Curve:
    errors = study.errors(name, time)
    good = np.isfinite(errors)
    return Curve(label, np.array(study.eps)[good], errors[good])


def limit(findings: Findings, quick: bool) -> None:
    """Sup error of u, its constant included, on bumps (1-D) and Gaussian mixtures (2-D)."""
    runs = [
        ("bumps", 256, halved(0.005, 4), 32),
        ("mixtures", 48, halved(0.01, 4), 6) if quick else ("mixtures", 80, halved(0.005, 4), 12),
    ]
    for name, n, eps, steps in runs:
        studies = _studies(name, n, eps, MOVING_TIMES, steps)
        curves = []
        for kernel, study in studies.items():
            for time in MOVING_TIMES:
                findings.near(
                    f"{name}, {kernel} kernel, t = {time:g}: slope of sup |u^eps - u_t|", 1.0,
                    study.slope("u_max", time), 0.1,
                )  # fmt: skip
            curves.append(_curve(f"{kernel} kernel", study, "u_max", MOVING_TIMES[1]))
        study = studies["reflect"]
        findings.below(f"{name}: h / sqrt(smallest eps)", 1.0, study.resolution)
        least = min(float(study.errors("u_max", t)[-1]) for t in MOVING_TIMES)
        findings.below(
            f"{name}: the flow's own error over the smallest measured", FLOOR_SHARE["limit"],
            study.floor / least,
        )  # fmt: skip
        curves.append(slope_line(curves[-1], 1.0))
        findings.panel(f"{name}, t = {MOVING_TIMES[1]:g}", "eps", "sup error of u", curves)


def map_error(findings: Findings, quick: bool) -> None:
    """Sup error of E[y | x] against grad u_t: at the faces the plain kernel sees half a plan.

    The cell next to a face lies h/2 from it, so that the plain kernel's slope needs h << sqrt(eps).
    """
    runs = [("bumps", 384 if quick else 512, halved(0.00125, 4), halved(0.00125, 4), 16)]
    if not quick:
        runs.append(("mixtures", 96, halved(0.005, 4), halved(0.02, 4), 10))
    times = (0.04, 0.08)
    for name, n, small, large, steps in runs:
        problem, finer = _pair(name, n)
        against = reference(problem, times, finer=finer, steps=steps)
        studies = {
            kernel: small_eps(problem, small, times, kernel=kernel, against=against)
            for kernel in KERNELS
        }
        wide = studies["plain"]
        if large != small:
            wide = small_eps(problem, large, times, kernel="plain", against=against)
        for time in times:
            where = f"{name}, t = {time:g}"
            for kernel, study in studies.items():
                findings.near(f"{where}, {kernel} kernel: slope of the map's error inside", 1.0,
                              study.slope("map_interior", time), 0.1)  # fmt: skip
            findings.near(f"{where}, reflecting kernel: slope up to the faces", 1.0,
                          studies["reflect"].slope("map_max", time), 0.1)  # fmt: skip
            findings.near(f"{where}, plain kernel: slope at the faces", 0.5,
                          wide.slope("map_max", time), 0.1)  # fmt: skip
        plain = _curve("plain, up to the faces", wide, "map_max", times[0])
        reflecting = _curve("reflecting, up to the faces", studies["reflect"], "map_max", times[0])
        inside = _curve("plain, inside", studies["plain"], "map_interior", times[0])
        curves = (plain, slope_line(plain, 0.5), reflecting, inside, slope_line(reflecting, 1.0))
        findings.panel(f"{name}, t = {times[0]:g}", "eps", "sup error of the map", curves)


def richardson(findings: Findings, quick: bool) -> None:
    """2 u^{eps/2} - u^eps with the reflecting kernel: order 2 inside, 3/2 at faces with slopes.

    Log densities without slope at the faces continue evenly across them: there order 2 is kept.
    """
    inside, faces = "richardson_interior", "richardson_max"
    fine, wide, steps_wide = (256, 64, 8) if quick else (384, 96, 12)
    runs = [
        ("gentle", 256, halved(0.01, 5), 32, 2.0, inside, "inside"),
        ("gentle 2-D", wide, halved(0.02, 5), steps_wide, 2.0, inside, "inside"),
        ("cosines", fine, halved(0.01, 5), 32, 2.0, faces, "up to faces without slope"),
        ("gentle", 256, halved(0.01, 5), 32, 1.5, faces, "up to faces with slopes"),
    ]
    times = (0.04, 0.08) if quick else (0.04, 0.08, 0.16)
    for name, n, eps, steps, predicted, column, where in runs:
        study = _studies(name, n, eps, times, steps, ("reflect",))["reflect"]
        for time in times:
            findings.near(f"{name}, {where}, t = {time:g}: slope of 2 u^(eps/2) - u^eps", predicted,
                          study.slope(column, time), 0.2)  # fmt: skip
        findings.below(f"{name}, {where}: h / sqrt(smallest eps)", 0.5, study.resolution)
        least = min(float(study.errors(column, t)[-1]) for t in times)
        floor = study.floor_interior if column == inside else study.floor
        findings.below(f"{name}, {where}: the flow's own error over the smallest measured",
                       FLOOR_SHARE["richardson"], floor / least)  # fmt: skip
        plain = _curve("Sinkhorn", study, column.replace("richardson", "u"), times[0])
        better = _curve("extrapolated", study, column, times[0])
        curves = (plain, better, slope_line(better, predicted))
        findings.panel(f"{name}, {where}", "eps", "error of u", curves)


def saturation(findings: Findings, quick: bool) -> None:
    """sup |u^eps - u_t| / eps up to t = 2.56: neither growth in t nor a factor log(1/eps).

    With C t eps it would grow 16-fold from the middle to the end, with eps log(1/eps) by 1.12 from
    the last eps but one to the last.
    """
    runs = [("bumps", 256, halved(0.005, 3), 16)]
    if not quick:
        runs.append(("mixtures", 64, halved(0.005, 3), 10))
    for name, n, eps, steps in runs:
        curves = []
        for kernel, study in _studies(name, n, eps, LONG_TIMES, steps).items():
            ratios = study.ratios("u_max")
            middle, growth = ratios[-1, LONG_TIMES.index(MIDDLE_TIME)], np.max(ratios, axis=1)
            findings.below(
                f"{name}, {kernel} kernel: error/eps at t = {LONG_TIMES[-1]:g} over "
                f"t = {MIDDLE_TIME:g}", 1.0, ratios[-1, -1] / middle, slack=0.05,
            )  # fmt: skip
            findings.near(f"{name}, {kernel} kernel: largest error/eps, last over previous eps",
                          1.0, growth[-1] / growth[-2], 0.05)  # fmt: skip
            curves += [
                Curve(f"{kernel}, eps = {value:.3g}", np.array(LONG_TIMES), ratios[k])
                for k, value in enumerate(eps) if k in (0, len(eps) - 1)
            ]  # fmt: skip
            late = np.array(LONG_TIMES[LONG_TIMES.index(MIDDLE_TIME) :])
            curves.append(Curve(f"{kernel}: no growth", late, np.full(late.size, middle),
                                "predicted"))  # fmt: skip
        findings.panel(name, "t", "sup |u^eps - u_t| / eps", curves, yscale="linear")


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
        plain = Curve("closed form", h, errors[0])
        widened = Curve("closed form, widened by h²/12", h, errors[1])
        curves = (plain, slope_line(plain, 2.0), widened, slope_line(widened, 4.0))
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
        error = Curve("u^eps - ubar", study.eps, study.errors("error"))
        interior = Curve("+ eps f/2, inside", study.eps, study.errors("interior"))
        curves = (error, slope_line(error, 1.0), interior, slope_line(interior, 2.0))
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
