"""Limits that all dimensions share: of exponents, of walks and weights, of cells side by side."""

from numba import njit

# Flips of a superbase in one walk; from where a walk before ended, a few are enough.
MOST_FLIPS = 100
# Cells that are solved side by side, in vector code: a few cache lines of each quantity.
LANES = 64
# A weight below zero by no more than this share of those of its cell is a zero of symmetric data: a
# walk would go one way or the other by rounding, to ends of different values.
ZERO_WEIGHT_SHARE = 1e-12
# log B beyond this is cut off, long before its exponential leaves the range of doubles.
LARGEST_LOG = 600.0


@njit(error_model="numpy", cache=True, nogil=True)
def log_right_side(log_source, log_target, shift):
    """log B of a cell, cut off where its exponential could overflow."""
    return min(LARGEST_LOG, max(-LARGEST_LOG, log_source - log_target + shift))
