"""Learning from samples: the mirror direction log(rho/mu) where mu is known through points only."""
