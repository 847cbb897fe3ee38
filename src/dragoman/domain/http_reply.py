"""Says what came of a request: a reply, or none and why. Rooms that are neighbours share these values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A reply; header names are in lower case. ``body`` is that of a success, or how the answer to a notice begins."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReply:
    """No reply that could be used came; ``message`` is ours alone and quotes nothing that the other side sent.

    ``certain_not_sent``: nothing had been sent by then.
    """

    error_class: str
    message: str
    may_retry: bool = False
    certain_not_sent: bool = False
