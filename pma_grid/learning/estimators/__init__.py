"""Estimators of log mu from points, a class each with one `learn`.

A new one: a file beside these, its class in `METHODS`, and `fit(samples, method=...)` knows it.
"""

from pma_grid.learning.estimators.estimator import Estimator, limited
from pma_grid.learning.estimators.logistic import Logistic
from pma_grid.learning.estimators.plug_in import Histogram, Kernel
from pma_grid.learning.estimators.score import Score

# What `fit` takes by name.
METHODS: dict[str, type[Logistic | Score | Kernel | Histogram]] = {
    made.name: made for made in (Logistic, Score, Kernel, Histogram)
}

__all__ = ["METHODS", "Estimator", "Histogram", "Kernel", "Logistic", "Score", "limited"]
