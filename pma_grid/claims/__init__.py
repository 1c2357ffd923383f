"""The claims of the theory, each checked with numbers: what ``pma-grid validate`` runs."""

from pma_grid.claims.result import Check, ClaimResult, Curve, Findings, Panel

__all__ = ["Check", "ClaimResult", "Curve", "Findings", "Panel"]
