"""What every room stands on: arrays, errors, checks of arguments, threads, progress, files."""

from pma_grid.runtime.arrays import Array, Floats, Integers, Mask
from pma_grid.runtime.checks import (
    check_choice,
    check_count,
    check_inside,
    check_not_negative,
    check_offers,
    check_positive,
    check_seed,
    check_threads,
    check_whole,
    is_number,
    is_whole,
)
from pma_grid.runtime.errors import (
    ConvergenceError,
    EvolutionInterrupted,
    InvalidDensityError,
    InvalidInputError,
    LostConvexityError,
    PMAError,
    Status,
)
from pma_grid.runtime.report import Report
from pma_grid.runtime.tabular import plain, text_table
from pma_grid.runtime.versions import versions
from pma_grid.runtime.workers import SERIAL, Workers

__all__ = [
    "SERIAL",
    "Array",
    "ConvergenceError",
    "EvolutionInterrupted",
    "Floats",
    "Integers",
    "InvalidDensityError",
    "InvalidInputError",
    "LostConvexityError",
    "Mask",
    "PMAError",
    "Report",
    "Status",
    "Workers",
    "check_choice",
    "check_count",
    "check_inside",
    "check_not_negative",
    "check_offers",
    "check_positive",
    "check_seed",
    "check_threads",
    "check_whole",
    "is_number",
    "is_whole",
    "plain",
    "text_table",
    "versions",
]  # fmt: skip
