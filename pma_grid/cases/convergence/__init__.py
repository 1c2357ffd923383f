"""Studies: errors over grids against closed forms, and the limit of small eps of Sinkhorn's."""

from pma_grid.cases.convergence.bias import Bias, BiasRow, fixed_point_bias
from pma_grid.cases.convergence.closed_forms import ERRORS, Cost, CostRow, Row, Study, cost, study
from pma_grid.cases.convergence.limit import LimitRow, SmallEps, small_eps
from pma_grid.cases.convergence.references import Reference, reference
from pma_grid.cases.convergence.starts import StartRow, Starts, warm_starts

__all__ = [
    "ERRORS", "Bias", "BiasRow", "Cost", "CostRow", "LimitRow", "Reference", "Row", "SmallEps",
    "StartRow", "Starts", "Study", "cost", "fixed_point_bias", "reference", "small_eps", "study",
    "warm_starts",
]  # fmt: skip
