"""The Monge-Ampère equation on a pair of grids: residual, linearisation, images, ghosts."""
