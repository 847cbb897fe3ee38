"""Live updates: one reader of the change feed for each process, fanned out to all open streams."""

from __future__ import annotations

from dragoman.web.live.hub import Hub
from dragoman.web.live.stream import EventStream

__all__ = ["EventStream", "Hub"]
