"""Logistic regression of beetle mortality on the dose, for `pma-grid infer`.

The log-odds of dying at log-dose x are intercept + slope (x - 1.8) / 0.05, with independent normal
priors of standard deviation 10.
"""

from pathlib import Path

import numpy as np

TABLE = np.loadtxt(Path(__file__).with_name("beetles.csv"), delimiter=",", skiprows=2)
DOSE, EXPOSED, KILLED = TABLE.T


def log_posterior(intercept, slope):
    """log of likelihood times prior, without the binomial coefficients."""
    odds = intercept[..., None] + slope[..., None] * (DOSE - 1.8) / 0.05
    log_likelihood = (KILLED * odds - EXPOSED * np.logaddexp(0, odds)).sum(axis=-1)
    prior = -(intercept**2 + slope**2) / (2 * 10**2) - np.log(2 * np.pi * 10**2)
    return log_likelihood + prior
