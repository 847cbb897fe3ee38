"""The columns of the Conversation Logs: which there are, and which of them a reader sees, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dragoman.store.conversation_list.filters import Sort
from dragoman.translations import deferred


@dataclass(frozen=True, slots=True)
class ListColumn:
    """One column; ``key`` stands in addresses and in the remembered choice. Its heading sorts the list by ``sort``."""

    key: str
    label: str
    shown: bool = True
    numeric: bool = False
    sort: Sort | None = None


COLUMNS = {
    column.key: column
    for column in (
        ListColumn("contact", deferred("Phone / Contact")),
        ListColumn("state", deferred("State")),
        ListColumn("outcome", deferred("Outcome")),
        ListColumn("intent", deferred("Intent / Skill")),
        ListColumn("last", deferred("Last User Message")),
        ListColumn("messages", deferred("Message Count"), numeric=True, sort=Sort.MESSAGES),
        ListColumn("activity", deferred("Last Activity"), sort=Sort.ACTIVITY),
        ListColumn("started", deferred("Started"), shown=False, sort=Sort.STARTED),
        ListColumn("duration", deferred("Duration"), shown=False, numeric=True, sort=Sort.DURATION),
        ListColumn("channel", deferred("Channel"), shown=False),
        ListColumn("agent", deferred("Agent"), shown=False),
        ListColumn("cost", deferred("Cost"), shown=False, numeric=True),
        ListColumn("session", deferred("Session ID"), shown=False),
    )
}

DEFAULT = tuple(key for key, column in COLUMNS.items() if column.shown)
FIXED = "contact"
"""It carries the link that opens the conversation."""


def chosen(keys: Iterable[str]) -> tuple[str, ...]:
    """The known ones of *keys*, once each, in their order; with the fixed one; the default if none is known."""
    known = tuple(dict.fromkeys(key for key in keys if key in COLUMNS))
    if not known:
        return DEFAULT
    return known if FIXED in known else (FIXED, *known)


def offered(shown: tuple[str, ...]) -> list[ListColumn]:
    """List all columns as the chooser does: the shown ones in their order, then the others."""
    return [COLUMNS[key] for key in shown] + [c for key, c in COLUMNS.items() if key not in shown]
