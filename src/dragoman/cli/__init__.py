"""The command line, and the composition root: where the ports get their real implementations."""

from dragoman.cli.main import main

__all__ = ["main"]
