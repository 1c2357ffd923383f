"""Inference: laws known up to a constant, their samples, moments and evidence."""

from pma_grid.inference.evidence import Evidence
from pma_grid.inference.inferring import infer
from pma_grid.inference.posterior import Importance, Posterior

__all__ = ["Evidence", "Importance", "Posterior", "infer"]
