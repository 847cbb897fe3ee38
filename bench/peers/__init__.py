"""What others show the same rows with. Each file runs on its own, in an environment that has the peer installed."""
