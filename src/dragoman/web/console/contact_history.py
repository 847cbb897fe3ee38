"""What became known of a contact's identities, in words, for the drawer's summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dragoman.domain.plurals import counted
from dragoman.store.contacts.identities import ContactNote

_KINDS = {"wa_id": "WhatsApp number", "wa_user_id": "WhatsApp user id", "email": "email address"}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry, as it is read."""

    at: datetime
    text: str


def _kind(detail: Mapping[str, Any]) -> str:
    return _KINDS.get(str(detail.get("kind")), "identity")


def _united(detail: Mapping[str, Any]) -> str:
    moved = detail.get("sessions")
    what = counted(moved, "session", "sessions") if isinstance(moved, int) else "sessions"
    return f"Threads brought together: {what} of contact {detail['contact']}"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "linked": lambda d: f"Identity linked: {_kind(d)} {d['value']}",
    "identity_lost": lambda d: f"The {_kind(d)} {d['value']} belongs to somebody else now",
    "number_changed": lambda d: f"Number changed from {d['old']} to {d['new']}",
    "user_id_changed": lambda d: f"WhatsApp user id changed from {d['old']} to {d['new']}",
    "merged_into": lambda d: f"Turned out to be contact {d['contact']}: {d['reason']}",
    "merged_from": lambda d: f"Contact {d['contact']} turned out to be this one: {d['reason']}",
    "united": _united,
    "username": lambda d: f"Username: {d['value']}",
    "confirmation_dropped": lambda d: f"Confirmation dropped: {d['reason']}",
    "marketing_stopped": lambda d: f"Asked for no more marketing messages: {d['detail']}",
    "marketing_resumed": lambda d: f"Wants marketing messages again: {d['detail']}",
}

WHAT = frozenset(_WORDS)
"""Every entry that there are words for."""


def lines(notes: Sequence[ContactNote]) -> list[Line]:
    """*notes* in words, in their order."""
    return [Line(note.at, _WORDS[note.what](note.detail) if note.what in _WORDS else note.what) for note in notes]
