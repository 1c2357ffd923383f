"""Pure functions of a Flow: regret, averages, the discrete EVI, bounds and rates.

D_k = D(mu|rho_k) is the Bregman divergence of the mirror W2^2(., nu)/2 ("bregman"), S_k the
symmetrised KL, I_k the dissipation, W_K = sum_{k<K} eta_k.  The functions need these series:

    flow = pma.evolve(problem, ..., record=pma.theory.SERIES)
"""

from pma_grid.flow.theory.rates import decay_rate, fitted_rate, langevin_gap, spectrum
from pma_grid.flow.theory.regret import (
    SERIES,
    Regret,
    average_divergence,
    dissipation_residual,
    evi_residual,
    hessian_bounds,
    last_iterate_bound,
    master_bound,
    mixture,
    mixture_divergences,
    regret,
    regret_residual,
)

__all__ = [
    "SERIES", "Regret", "average_divergence", "decay_rate", "dissipation_residual",
    "evi_residual", "fitted_rate", "hessian_bounds", "langevin_gap", "last_iterate_bound",
    "master_bound", "mixture", "mixture_divergences", "regret", "regret_residual", "spectrum",
]  # fmt: skip
