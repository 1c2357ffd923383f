"""The two densities, and what is done to them before anything is solved."""
