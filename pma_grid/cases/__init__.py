"""Problems and flows with answers in closed form, and the benchmark problems of the docs."""

from pma_grid.cases.data_sets import (
    DATA_SETS,
    DataSet,
    checkerboard,
    circles,
    data_set,
    eight_gaussians,
    gaussian_mixture,
    pinwheel,
    two_moons,
)
from pma_grid.cases.flows import (
    FlowCase,
    bimodal,
    gaussian_pair,
    gaussians,
    manufactured_flow,
    poisson_kernel,
)
from pma_grid.cases.hard import (
    HardCase,
    ball_to_shell,
    contrast,
    corners,
    ellipsoids,
    gaps,
    hard_cases,
    moved_ball,
    split_ball,
    two_discs,
    vanishing,
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
    "DATA_SETS", "Case", "DataSet", "FlowCase", "HardCase", "affine_gaussian", "anisotropic",
    "ball_to_shell", "bimodal", "checkerboard", "circles", "concentrated", "contrast",
    "corners", "data_set", "eight_gaussians", "ellipsoids", "gaps", "gaussian_mixture",
    "gaussian_mixtures", "gaussian_pair", "gaussians", "hard_cases", "manufactured",
    "manufactured_flow", "moved_ball", "photograph", "photographs", "pinwheel",
    "poisson_kernel", "pulled_back", "quantile", "radial", "separable", "split_ball",
    "two_discs", "two_moons", "vanishing",
]  # fmt: skip
