"""The command line is the composition root: here the ports get their real implementations."""

from dragoman.cli.main import main

__all__ = ["main"]
