"""The columns of the Conversation Logs: which there are, and which of them a reader sees, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``key`` stands in addresses and in the remembered choice."""

    key: str
    label: str
    shown: bool = True
    numeric: bool = False


COLUMNS = {
    column.key: column
    for column in (
        Column("contact", "Phone / Contact"),
        Column("state", "State"),
        Column("outcome", "Outcome"),
        Column("intent", "Intent / Skill"),
        Column("last", "Last User Message"),
        Column("messages", "Message Count", numeric=True),
        Column("started", "Started", shown=False),
        Column("activity", "Last activity", shown=False),
        Column("duration", "Duration", shown=False, numeric=True),
        Column("channel", "Channel", shown=False),
        Column("agent", "Agent", shown=False),
        Column("cost", "Cost", shown=False, numeric=True),
        Column("session", "Session id", shown=False),
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


def offered(shown: tuple[str, ...]) -> list[Column]:
    """All columns as the chooser lists them: the shown ones in their order, then the others."""
    return [COLUMNS[key] for key in shown] + [c for key, c in COLUMNS.items() if key not in shown]
