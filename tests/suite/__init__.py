"""How the whole suite is run: once, as ``make test`` does, and again and again, as ``make shake`` does."""
