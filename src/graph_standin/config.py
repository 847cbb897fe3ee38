"""How one stand-in is set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from graph_standin.templates import Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Is one business phone number. ``app_secret`` signs what is sent to the webhook."""

    phone_number_id: str
    token: str
    app_secret: str
    display_phone_number: str = "15550100000"
    waba_id: str = "100000000000001"
    verified_name: str = "A business"
    subscribed_apps: tuple[str, ...] = ("Dispatcher",)


def _now() -> datetime:
    return datetime.now(UTC)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinConfig:
    """All that a stand-in is told.

    ``control_token`` opens ``/journal``, ``/control`` and ``/inbound``. ``http`` makes the client that calls
    the webhook; give it an ASGI transport to stay in one process. ``status_delay`` is in seconds and stands
    before every status; with ``statuses_together`` all statuses of a message come in one webhook call, as
    Meta may do. A webhook call is tried ``webhook_attempts`` times, with pauses that start at
    ``webhook_pause`` seconds and double. ``journal_path`` None keeps the journal in memory only.

    ``messages_per_second`` refuses what a number sends faster, ``pair_limit`` what goes to one user faster than
    Meta allows. ``templates`` are those that exist, as Meta lists them or by name with how many parameters their
    body takes (None: every one exists, and none is listed). ``user_ids`` are the business-scoped ids of numbers; a
    number that is not there has one that is made up from it. A file's address is good for ``media_url_seconds``.
    """

    webhook_url: str
    control_token: str
    numbers: tuple[Number, ...]
    journal_path: Path | None = None
    public_url: str = "http://127.0.0.1:8010"
    http: Callable[[], httpx.AsyncClient] = _client
    clock: Callable[[], datetime] = _now
    statuses: bool = True
    status_delay: float = 0.0
    statuses_together: bool = False
    webhook_attempts: int = 5
    webhook_pause: float = 0.2
    messages_per_second: int | None = None
    pair_limit: bool = False
    templates: Templates | None = None
    user_ids: Mapping[str, str] = field(default_factory=dict)
    media_url_seconds: float = 300.0

    def number(self, phone_number_id: str) -> Number | None:
        """Find the number with this id, or None."""
        return next((n for n in self.numbers if n.phone_number_id == phone_number_id), None)
