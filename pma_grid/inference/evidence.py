"""`Evidence`: log Z, the bounds of it along the flow, and where its error comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pma_grid.flow.observables import Observable
from pma_grid.flow.state import State
from pma_grid.runtime import Array


@dataclass(frozen=True)
class Evidence:
    """The evidence log Z = log int exp(f), nats, with what its error is made of.

    Attributes
    ----------
    log_evidence : float
        log of the mass in the box and of the tails beyond it.
    limit : float
        log of the sum of the cell masses, floors included: what the flow's bounds close in on.
    lower, upper : float
        Bounds of ``limit`` at the end of the flow: the evidence lower bound (ELBO) of the law that
        it ended with, and its counterpart from above.
    quadrature : float
        Error of the sum over cells: the largest of twice the change of the cells' masses with half
        the spacing, a quarter of the change with twice the spacing, and twice that of log Z on
        grids with other faces; and half of what neighbouring cells more than 2 nats apart differ
        by.  Changes of both signs add up.
    tail : float
        The mass beyond the box, as log(1 + share): included in ``log_evidence``, unless it is the
        bound that was given.
    tail_error : float
        How much of ``tail`` is uncertain.
    floor : float
        log(1 + share) of the mass that raising the thinnest cells added to the law of the flow and
        its samples: ``limit`` less the log of the mass in the box.
    gap : float
        upper - lower at the end of the flow: how far the law of the samples is from the posterior.
    mass_constant : float
        alpha of the last state, which says how well the grid resolves the flow, 0 at best; bounds
        are normalised by it.
    truncated : tuple of (axis, side)
        Faces of the given box that cut the density off.
    """

    log_evidence: float
    limit: float
    lower: float
    upper: float
    quadrature: float
    tail: float
    tail_error: float
    floor: float
    gap: float
    mass_constant: float
    truncated: tuple[tuple[int, str], ...] = ()

    @property
    def error(self) -> float:
        """Error of ``log_evidence``, which has no floors in it: quadrature + tail_error + gap."""
        return self.quadrature + self.tail_error + self.gap

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"error": self.error}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """From the output of `to_dict`."""
        fields = {key: value for key, value in data.items() if key != "error"}
        return cls(**fields | {"truncated": tuple(map(tuple, data["truncated"]))})


def bounds(log_masses: Array) -> tuple[Observable, Observable]:
    """The evidence sandwich at a state, from unnormalised log cell masses of the source.

        evidence_lower = sum rho log(m / rho) <= log sum m <= sum mu log(m / rho) = evidence_upper

    with mu = m / sum m: Jensen's inequality on the grid, for every rho.  Derived from du/dt =
    log(rho/mu): -du/dt plus a constant averages to either bound.
    """

    def log_ratio(state: State) -> Array:
        """log(m / rho) at the cells."""
        log_rho = np.log(state.operator.masses) + state.log_ratio
        return np.asarray(log_masses - log_rho)

    def evidence_lower(state: State) -> float:
        """sum rho log(m / rho)."""
        return float((state.masses * log_ratio(state)).sum())

    def evidence_upper(state: State) -> float:
        """sum mu log(m / rho)."""
        return float((state.operator.masses * log_ratio(state)).sum())

    return evidence_lower, evidence_upper


def conjugate_bounds(limit: float) -> tuple[Observable, Observable]:
    """The same for a flow on the base law's side, where the roles of rho and mu are exchanged.

    log Z - KL of the pushed base law, in the normalised form: bounds close in on ``limit`` whether
    the grid resolves the flow or not, which the mass constant says.
    """

    def evidence_lower(state: State) -> float:
        """limit - KL(nu|rho)."""
        return limit - float((state.operator.masses * (state.excess - state.log_ratio)).sum())

    def evidence_upper(state: State) -> float:
        """limit + KL(rho|nu)."""
        x, excess = state.log_ratio, state.excess
        return limit + float((state.operator.masses * (x + excess * (x - 1.0))).sum())

    return evidence_lower, evidence_upper
