"""The list of claims: name, statement, and the function that checks it."""

from __future__ import annotations

import time
from collections.abc import Callable

from pma_grid.claims import (
    generative,
    identities,
    limits,
    monotone,
    regrets,
    sinkhorn,
    solutions,
    spectra,
)
from pma_grid.claims.result import ClaimResult, Findings
from pma_grid.runtime import InvalidInputError

# A new claim is a function ``run(findings, quick)`` in one of the modules here, which adds checks
# and panels, and an entry in this table with its statement.
_CLAIMS: dict[str, tuple[Callable[[Findings, bool], None], str]] = {
    "order-in-time": (solutions.order_in_time,
        "Implicit Euler is of order 1 in time and TR-BDF2 of order 2."),
    "order-in-space": (solutions.order_in_space,
        "The flow is of order 2 in space against exact solutions with true mixed derivatives."),
    "gaussians": (solutions.gaussian_flow,
        "Gaussians whose covariances do not commute follow the matrix Riccati flow."),
    "self-duality": (solutions.self_duality,
        "The conjugate of the flow solves the same equation with source and target exchanged."),
    "agreement": (solutions.agreement,
        "Flows of every scheme and schedule end at the Brenier potential that solve finds."),
    "evi": (identities.evi,
        "Mirror steps satisfy the discrete evolution variational identity, to order 2 on grids."),
    "dissipation": (identities.dissipation,
        "KL(rho|mu) falls at the rate I, the squared gradient of h in the metric of the Hessian."),
    "semidual-split": (identities.semidual_split,
        "int u* dnu falls at the rate KL(rho|mu): the half of the semidual that is not algebra."),
    "laguerre": (identities.laguerre,
        "With exact Laguerre cells the identities hold to rounding; our pullback is of order 2."),
    "monotone": (monotone.implicit_steps,
        "Implicit Euler steps of any size lower KL both ways, TV, chi2, max h, and raise min h."),
    "monotone-second-order": (monotone.second_order_steps,
        "TR-BDF2 does so too with steps chosen for time accuracy."),
    "nonexpansive": (monotone.nonexpansive,
        "Two flows do not move apart in the sup norm, and keep their order."),
    "hessian": (monotone.hessian,
        "The Hessian stays between sqrt(alpha_f/L_g) and sqrt(L_f/alpha_g), the start included."),
    "schedules": (regrets.gaussian_schedules,
        "Explicit mirror steps on Gaussians meet the regret bound of every schedule."),
    "regret": (regrets.regret_on_grids,
        "Implicit steps under every schedule: sum eta S = D_0 - D_K - sum D, avg S <= D_0/W."),
    "phases": (regrets.phases,
        "The regret bound is at work while D_K > 0.1 D_0; afterwards avg S falls like 1/W."),
    "last-iterate": (regrets.last_iterate,
        "The last implicit iterate satisfies KL(rho_K|mu) <= D_0/W_K for steps of any size."),
    "spectral-gap": (spectra.spectral_gap,
        "KL decays at twice the spectral gap, mapped through the scheme's stability function."),
    "conditioning": (spectra.gaussian_rates,
        "The rate to N(0, I) is 1/s where Langevin's is 1/s^2: sqrt(kappa) against kappa."),
    "convex-bound": (spectra.convex_bound,
        "The gap is at least sqrt(a b) where D2f >= a and D2g >= b."),
    "multimodal": (spectra.multimodal,
        "For modes that move apart the gap closes much more slowly than Langevin's."),
    "explicit-stability": (limits.stability,
        "Explicit steps are stable below 2/lambda_max(-L), and unstable above."),
    "explicit-convexity": (limits.convexity,
        "An explicit step keeps u convex below eta_max and loses convexity above, reported."),
    "smoothed-direction": (limits.smoothed_steps,
        "Along a smoothed direction explicit steps have a stability limit that no grid lowers."),
    "sinkhorn-limit": (sinkhorn.limit,
        "Sinkhorn's iterates at k = t/eps are within O(eps) of the flow at t, up to the faces."),
    "sinkhorn-map": (sinkhorn.map_error,
        "The map is within O(eps), up to the faces with reflection; else within sqrt(eps) there."),
    "sinkhorn-richardson": (sinkhorn.richardson,
        "Away from the faces 2 u^(eps/2) - u^eps follows the flow to second order in eps."),
    "sinkhorn-saturation": (sinkhorn.saturation,
        "The distance to the flow stays O(eps) for all times: no growth in t, no log(1/eps)."),
    "sinkhorn-gaussians": (sinkhorn.gaussian_iterates,
        "Sinkhorn on a grid follows the Gaussian iterates of variances increased by h^2/12."),
    "sinkhorn-bias": (sinkhorn.bias,
        "Sinkhorn's fixed point is the Brenier potential less (eps/2) f, up to O(eps^2)."),
    "sinkhorn-mirror": (sinkhorn.mirror,
        "A sweep is an explicit mirror step: EVI and regret identity to rounding, and KL falls."),
    "generative-evidence": (generative.evidence,
        "KL bounds bracket log Z all along the flow; the stated error of log Z holds the true "
        "one."),
    "generative-bias": (generative.bias,
        "Learned steps come to rest at a floor: S = <e, mu - rho>, at most osc(e) TV."),
    "generative-regret": (generative.regret,
        "Learned directions have no regret, towards the truth and the points, on any schedule."),
    "generative-sampler": (generative.sampler,
        "The Brenier map takes the base law to the data: draws cannot be told from the law's own."),
}  # fmt: skip
NAMES = tuple(_CLAIMS)


def _find(name: str) -> tuple[Callable[[Findings, bool], None], str]:
    if name not in _CLAIMS:
        raise InvalidInputError(f"claim {name!r} does not exist; the claims are {', '.join(NAMES)}")
    return _CLAIMS[name]


def statement(name: str) -> str:
    """The claim in one sentence."""
    return _find(name)[1]


def check(name: str, *, quick: bool = False) -> ClaimResult:
    """Measure what a claim predicts; ``quick`` takes small grids."""
    run, said = _find(name)
    began = time.perf_counter()
    findings = Findings()
    run(findings, quick)
    return ClaimResult(
        name, said, tuple(findings.checks), tuple(findings.panels),
        time.perf_counter() - began,
    )  # fmt: skip
