"""`solve`: Newton's method on nested grids, and what is tried where it stalls."""
