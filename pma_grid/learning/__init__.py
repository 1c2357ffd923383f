"""Learning from samples: the mirror direction log(rho/mu) where mu is known through points only."""

from pma_grid.learning.estimators import Estimator, Histogram, Kernel, Logistic, Score
from pma_grid.learning.fitting import fit
from pma_grid.learning.model import Model
from pma_grid.learning.observations import (
    empirical_regret,
    held_out,
    learned_bias,
    learned_bias_bound,
    learned_error,
    semidual_fall,
)
from pma_grid.learning.regret import LearnedRegret, learned_regret
from pma_grid.learning.selection import Selection, held_out_log_likelihood, select
from pma_grid.learning.steps import LearnedExplicit, LearnedImplicit, LearnedState

__all__ = [
    "Estimator", "Histogram", "Kernel", "LearnedExplicit", "LearnedImplicit", "LearnedRegret",
    "LearnedState", "Logistic", "Model", "Score", "Selection", "empirical_regret", "fit",
    "held_out", "held_out_log_likelihood", "learned_bias", "learned_bias_bound", "learned_error",
    "learned_regret", "select", "semidual_fall",
]  # fmt: skip
