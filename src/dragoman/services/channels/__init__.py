"""Channel accounts as administrators handle them, and the simulated phone that writes to them."""
