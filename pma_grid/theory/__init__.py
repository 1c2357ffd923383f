"""Pure functions of a Flow: regret, averages, the discrete EVI, bounds and rates."""
