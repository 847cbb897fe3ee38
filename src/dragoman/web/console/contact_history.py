"""What became known of a contact's identities, in words, for the drawer's summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dragoman.store.contacts.identities import ContactNote
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n

_KINDS = {
    "wa_id": deferred("WhatsApp number"),
    "wa_user_id": deferred("WhatsApp user ID"),
    "email": deferred("email address"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry, as it is read."""

    at: datetime
    text: str


def _kind(detail: Mapping[str, Any]) -> str:
    return translated(_KINDS.get(str(detail.get("kind")), deferred("identity")))


def _united(detail: Mapping[str, Any]) -> str:
    moved = detail.get("sessions")
    if not isinstance(moved, int):
        return _("Threads brought together: sessions of contact %(contact)s", contact=detail["contact"])
    return _n(
        "Threads brought together: %(count)s session of contact %(contact)s",
        "Threads brought together: %(count)s sessions of contact %(contact)s",
        moved,
        contact=detail["contact"],
    )


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "linked": lambda d: _("Identity linked: %(kind)s %(value)s", kind=_kind(d), value=d["value"]),
    "identity_lost": lambda d: _(
        "The %(kind)s %(value)s belongs to somebody else now", kind=_kind(d), value=d["value"]
    ),
    "number_changed": lambda d: _("Number changed from %(old)s to %(new)s", old=d["old"], new=d["new"]),
    "user_id_changed": lambda d: _("WhatsApp user ID changed from %(old)s to %(new)s", old=d["old"], new=d["new"]),
    "merged_into": lambda d: _(
        "Turned out to be contact %(contact)s: %(reason)s", contact=d["contact"], reason=d["reason"]
    ),
    "merged_from": lambda d: _(
        "Contact %(contact)s turned out to be this one: %(reason)s", contact=d["contact"], reason=d["reason"]
    ),
    "united": _united,
    "username": lambda d: _("Username: %(name)s", name=d["value"]),
    "confirmation_dropped": lambda d: _("Confirmation dropped: %(reason)s", reason=d["reason"]),
    "marketing_stopped": lambda d: _("Asked for no more marketing messages: %(detail)s", detail=d["detail"]),
    "marketing_resumed": lambda d: _("Wants marketing messages again: %(detail)s", detail=d["detail"]),
}

WHAT = frozenset(_WORDS)
"""Every entry that there are words for."""


def lines(notes: Sequence[ContactNote]) -> list[Line]:
    """*notes* in words, in their order."""
    return [Line(note.at, _WORDS[note.what](note.detail) if note.what in _WORDS else note.what) for note in notes]
