"""Flows without a grid equation: closed forms and an exact one-dimensional scheme."""

from pma_grid.cases.oracles.entropic import GaussianSinkhorn
from pma_grid.cases.oracles.gaussian import GaussianPair
from pma_grid.cases.oracles.laguerre import LaguerreScheme
from pma_grid.cases.oracles.mirror_steps import MirrorState
from pma_grid.cases.oracles.quadratic import Quadratic

__all__ = ["GaussianPair", "GaussianSinkhorn", "LaguerreScheme", "MirrorState", "Quadratic"]
