"""Kernels of the Monge-Ampère equation, a module for each dimension."""

from pma_grid.kernels.equation import monge_ampere_1d, monge_ampere_2d, monge_ampere_3d
from pma_grid.kernels.equation.barycentres import barycentre_1d, barycentre_2d, barycentre_3d
from pma_grid.kernels.equation.images_1d import add_change_1d, average_1d
from pma_grid.kernels.equation.images_2d import add_change_2d, average_2d
from pma_grid.kernels.equation.images_3d import add_change_3d, average_3d

DIMENSION = {1: monge_ampere_1d, 2: monge_ampere_2d, 3: monge_ampere_3d}
AVERAGE = {1: average_1d, 2: average_2d, 3: average_3d}
ADD_CHANGE = {1: add_change_1d, 2: add_change_2d, 3: add_change_3d}
BARYCENTRE = {1: barycentre_1d, 2: barycentre_2d, 3: barycentre_3d}
