"""Holds what all routes share: middleware, compression, problems, dependencies, readers of parameters."""
