"""Weights of stencils raised to least ones, for preconditioners, without much more diffusion."""

from numba import njit

# Diffusion along a vector is not multiplied by more than the inverse where its weight is raised.
LEAST_DIFFUSION_SHARE = 0.5


@njit(error_model="numpy", cache=True, nogil=True)
def balance(weights, least, i, j, k):
    """Move what the lowest of three weights lacks from the middle one to it, and to the highest.

    For vectors with e_i +- e_j +- e_k = 0: of D = sum w e e^T that changes one mixed entry alone,
    in the basis of those of the lowest and the highest weight.  Where a box is narrow, mixed
    entries are large beside the diffusion along the lowest vector, the small difference of weights
    of both signs: if one of them is raised alone, that diffusion grows by orders of magnitude.
    """
    low, middle, high = i, j, k
    if weights[low] > weights[middle]:
        low, middle = middle, low
    if weights[middle] > weights[high]:
        middle, high = high, middle
    if weights[low] > weights[middle]:
        low, middle = middle, low
    lacking = least[low] - weights[low]
    diffusion = weights[low] + weights[middle]
    if diffusion < LEAST_DIFFUSION_SHARE * (diffusion + lacking):
        moved = max(0.0, min(lacking, weights[middle] - least[middle]))
        weights[low] += moved
        weights[middle] -= moved
        weights[high] += moved
