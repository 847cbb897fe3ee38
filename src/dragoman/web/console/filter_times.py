"""The days of the record lists' filters, read in the zone of the page, and put on record as the moments they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from dragoman.store.conversation_list.filter_catalogue import SINCE, UNTIL, ValueKind

_KINDS: Mapping[str, tuple[str, ValueKind]] = {"from": ("From", SINCE), "to": ("To", UNTIL)}


def bound(given: Mapping[str, str], name: str, zone: tzinfo) -> datetime | None:
    """Read the filter ``from`` or ``to``, where it is given. Raises ValueError with what to do."""
    label, kind = _KINDS[name]
    if not given[name]:
        return None
    try:
        moment: datetime = kind.read_in(zone, given[name])
    except ValueError as error:
        raise ValueError(f"{label}: {error}.") from error
    return moment


def on_record(given: Mapping[str, str], zone: tzinfo) -> dict[str, str]:
    """What was asked for; a day says nothing without its zone, so moments stand for days. Raises ValueError."""
    asked = {name: text for name, text in given.items() if text}
    return asked | {name: at.isoformat() for name in _KINDS if (at := bound(given, name, zone)) is not None}
