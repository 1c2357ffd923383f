"""Optimal transport on 1-, 2- and 3-D grids through the (parabolic) Monge-Ampère equation.

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "AMG": "linsolve",
    "EntropicTransport": "entropic.transport",
    "EvolutionInterrupted": "errors",
    "Explicit": "stepping",
    "Flow": "flow",
    "ImplicitEuler": "stepping",
    "LostConvexityError": "errors",
    "State": "flow",
    "TRBDF2": "stepping",
    "assess": "assessment",
    "compare": "comparison",
    "evolve": "evolution",
    "iterate": "evolution",
    "Auto": "linsolve",
    "ConvergenceError": "errors",
    "ConvexSet": "domains",
    "Density": "density",
    "Direct": "linsolve",
    "Ellipse": "domains",
    "Grid": "grid",
    "InvalidDensityError": "errors",
    "InvalidInputError": "errors",
    "Multigrid": "linsolve",
    "PMAError": "errors",
    "Polygon": "domains",
    "Posterior": "inference.posterior",
    "Problem": "problem",
    "Sampler": "sampler",
    "Samples": "samples",
    "Status": "errors",
    "Transport": "transport",
    "Model": "learning.model",
    "fit": "learning.fitting",
    "infer": "inference.inferring",
    "load": "loading",
    "sinkhorn": "entropic.solving",
    "sinkhorn_flow": "entropic_flow",
    "solve": "stationary",
    "warmup": "precompile",
}
_MODULES = (
    "cases", "claims", "convergence", "inference", "learning", "observables", "oracles", "peers",
    "plotting", "quality", "schedules", "theory",
)  # fmt: skip
__all__ = ["__version__", *sorted([*_EXPORTS, *_MODULES])]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"pma_grid.{_EXPORTS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"pma_grid.{name}")
    raise AttributeError(f"module 'pma_grid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
