"""Problems and flows with answers in closed form, and the benchmark problems of the docs."""

from pma_grid.cases.flows import (
    FlowCase,
    bimodal,
    gaussian_pair,
    gaussians,
    manufactured_flow,
    poisson_kernel,
)
from pma_grid.cases.stationary import (
    Case,
    affine_gaussian,
    anisotropic,
    concentrated,
    gaussian_mixtures,
    manufactured,
    photograph,
    photographs,
    pulled_back,
    quantile,
    radial,
    separable,
)

__all__ = [
    "Case", "FlowCase", "affine_gaussian", "anisotropic", "bimodal", "concentrated",
    "gaussian_mixtures", "gaussian_pair", "gaussians", "manufactured", "manufactured_flow",
    "photograph", "photographs", "poisson_kernel", "pulled_back", "quantile", "radial", "separable",
]  # fmt: skip
