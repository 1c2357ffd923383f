"""Problems and flows with answers in closed form, and the benchmark problems of the docs."""

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
    "Case", "affine_gaussian", "anisotropic", "concentrated", "gaussian_mixtures", "manufactured",
    "photograph", "photographs", "pulled_back", "quantile", "radial", "separable",
]  # fmt: skip
