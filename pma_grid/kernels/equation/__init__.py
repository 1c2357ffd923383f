"""Kernels of the Monge-Ampère equation, a module for each dimension."""

from pma_grid.kernels.equation import monge_ampere_1d, monge_ampere_2d, monge_ampere_3d

DIMENSION = {1: monge_ampere_1d, 2: monge_ampere_2d, 3: monge_ampere_3d}
