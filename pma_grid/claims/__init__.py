"""The claims of the theory, each checked with numbers: what ``pma-grid validate`` runs."""

from pma_grid.claims.registry import NAMES, check, statement
from pma_grid.claims.result import Check, ClaimResult, Curve, Findings, Panel

__all__ = [
    "NAMES", "Check", "ClaimResult", "Curve", "Findings", "Panel", "check", "statement",
]  # fmt: skip
