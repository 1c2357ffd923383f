"""What is recorded along a flow: functions of a `State`, by name.

Pass the names, or functions of your own, as ``record=`` of `evolve`. In the formulas mu are the
source's cell masses, rho = mu e^{hbar}, hbar = h - alpha, so that both sum to 1 and every integral
is a plain sum. KL alone says "stationary", not "right": ``mass_constant`` (alpha), which says how
well the grid resolves the densities, belongs beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pma_grid.flow.state import State
from pma_grid.grid.smoothing import helmholtz
from pma_grid.runtime import Array, InvalidInputError, Mask

Observable = Callable[[State], float]


def kl(state: State) -> float:
    """KL(rho|mu) = sum mu (e^hbar hbar - e^hbar + 1): every term >= 0, no cancellation."""
    x, excess = state.log_ratio, state.excess
    return float((state.operator.masses * (x + excess * (x - 1.0))).sum())


def reverse_kl(state: State) -> float:
    """KL(mu|rho) = sum mu (e^hbar - 1 - hbar)."""
    return float((state.operator.masses * (state.excess - state.log_ratio)).sum())


def symmetrised_kl(state: State) -> float:
    """S = KL(rho|mu) + KL(mu|rho) = sum (rho - mu) hbar."""
    return state.symmetrised_kl


def dissipation(state: State) -> float:
    """I = int <grad h, A grad h> drho, A the inverse Hessian: the curvature of J along h."""
    return state.dissipation


def tv(state: State) -> float:
    """Total variation, sum |rho - mu| / 2."""
    return 0.5 * float((state.operator.masses * np.abs(state.excess)).sum())


def chi2(state: State) -> float:
    """chi^2(rho|mu) = sum (rho - mu)^2 / mu."""
    return float((state.operator.masses * state.excess * state.excess).sum())


def max_h(state: State) -> float:
    """Largest h over the cells with mass, before normalisation: falls by the maximum principle."""
    return float(_supported(state).max())


def min_h(state: State) -> float:
    """Smallest h over the cells with mass: rises."""
    return float(_supported(state).min())


def _supported(state: State) -> Array:
    """h where it is log(rho / mu) of something."""
    masses = state.operator.masses
    return state.residual if masses.all() else state.residual[masses > 0]


def mass_defect(state: State) -> float:
    """sum mu e^h - 1: how far the pullback of nu is from a probability; O(h^2)."""
    return float(np.expm1(state.mass_constant))


def mass_constant(state: State) -> float:
    """alpha = log sum mu e^h; O(h^2)."""
    return state.mass_constant


def convexity_margin(state: State) -> float:
    """Smallest eigenvalue of D2u over the cells, dimensionless; positive for a convex u."""
    return float(np.linalg.eigvalsh(inverse_hessian(state)).max() ** -1)


def hessian_max(state: State) -> float:
    """Largest eigenvalue of D2u over the cells, dimensionless."""
    return float(np.linalg.eigvalsh(inverse_hessian(state)).min() ** -1)


def lot_speed(state: State) -> float:
    """(int |A grad h|^2 drho)^{1/2}: the speed of rho_t in the linearised-OT distance to nu."""
    tensor = inverse_hessian(state)
    grid = state.operator.problem.source.grid
    slope = [
        np.gradient(state.log_ratio, x, axis=axis).ravel() if x.size > 1 else np.zeros(grid.size)
        for axis, x in enumerate(grid.axes)
    ]
    velocity = np.einsum("nij,jn->ni", tensor, np.stack(slope))
    return float(np.sqrt((state.masses.ravel() * (velocity**2).sum(axis=1)).sum()))


def semidual(state: State) -> float:
    """J(u) = int u dmu + int u* dnu with the interpolated conjugate, length^2: order 2, for plots.

    Differences of J lose all digits near equilibrium; `bregman` does not.
    """
    mine = float((state.operator.masses * state.potential).sum())
    return mine + state.operator.conjugate_integral(state.phi, state.offset)


def potential_mean(state: State) -> float:
    """Mean of u over the cells: the gauge, which drifts with the mass constant, length^2."""
    return float(state.potential.mean())


def forward_divergence(state: State) -> float:
    """D(rho_k | rho_{k+1}) of the step that led here, length^2; 0 at the start."""
    return state.forward_divergence


def backward_divergence(state: State) -> float:
    """D(rho_{k+1} | rho_k) of the step that led here, length^2; 0 at the start."""
    return state.backward_divergence


def bregman(reference: Array) -> Observable:
    """D(mu | rho_k) against the discrete stationary potential, given without its mean, length^2.

    `evolve` finds the reference itself when "bregman" is recorded by name.
    """

    def bregman(state: State) -> float:
        """D(mu | rho_k) = int_0^1 <w, mu - rho(ubar + s w)> ds, w = u_k - ubar."""
        return state.operator.divergence(reference, state.phi, state.time)

    return bregman


def smoothed_kl(smoothing: float) -> Observable:
    """<P h, rho - mu>, P = (1 - l^2 Laplacian)^{-1}: the S of explicit steps smoothed by l."""

    def smoothed_kl(state: State) -> float:
        """Sum of (rho - mu) P hbar."""
        spacing = state.operator.problem.source.grid.spacing
        direction = helmholtz(state.log_ratio, spacing, smoothing)
        return float((state.operator.masses * state.excess * direction).sum())

    return smoothed_kl


def potential_error(exact: Callable[..., Array]) -> Observable:
    """Half the oscillation of u - exact(x..., t): the sup norm up to a constant, length^2."""

    def potential_error(state: State) -> float:
        """Half the oscillation of the difference."""
        x = state.operator.problem.source.grid.coordinates()
        return 0.5 * float(np.ptp(state.potential - exact(*x, state.time)))

    return potential_error


def map_error(exact: Callable[..., Array], where: Mask | None = None) -> Observable:
    """Largest |grad u - exact(x..., t)| over components and cells (those of ``where``), length."""

    def map_error(state: State) -> float:
        """Max norm of the difference."""
        x = state.operator.problem.source.grid.coordinates()
        difference = np.abs(state.gradient - exact(*x, state.time))
        return float((difference if where is None else difference[:, where]).max())

    return map_error


def inverse_hessian(state: State) -> Array:
    """A = (D2u)^{-1} at every cell, (N, d, d), in physical units."""
    return state.operator.inverse_hessian(state.phi, state.time)


NAMED: dict[str, Observable] = {
    f.__name__: f
    for f in (
        kl, reverse_kl, symmetrised_kl, dissipation, tv, chi2, max_h, min_h, mass_defect,
        mass_constant, convexity_margin, hessian_max, lot_speed, semidual, potential_mean,
        forward_divergence, backward_divergence,
    )
}  # fmt: skip
# Recorded by default: one pass over the cells each.
CHEAP = (
    "kl", "reverse_kl", "symmetrised_kl", "tv", "chi2", "max_h", "min_h", "mass_defect",
    "mass_constant",
)  # fmt: skip
# Needs the stationary potential, which `evolve` solves for.
WITH_REFERENCE = ("bregman",)
NAMES = (*NAMED, *WITH_REFERENCE)


def resolve(record: Sequence[str | Observable]) -> dict[str, Observable | None]:
    """Functions by name of what is to be recorded; None for those that need a reference."""
    if isinstance(record, str) or not isinstance(record, Iterable):
        raise InvalidInputError(
            f"record is {record!r}; it must be a sequence of names and functions: for example "
            'record=("kl",), or () for nothing'
        )
    chosen: dict[str, Observable | None] = {}
    for entry in record:
        if callable(entry):
            name = getattr(entry, "__name__", type(entry).__name__)
            function: Observable | None = entry
        elif isinstance(entry, str) and entry in NAMES:
            name, function = entry, NAMED.get(entry)
        else:
            raise InvalidInputError(
                f"record has {entry!r}, which does not exist; the names are {', '.join(NAMES)}: "
                "pass one of them or a function of a State"
            )
        if name in chosen:
            raise InvalidInputError(f"record has {name} twice; each name may occur once")
        chosen[name] = function
    return chosen
