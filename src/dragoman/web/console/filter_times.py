"""Reads the filters of the record lists: days in the zone of the page, put on record as the moments they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import ClassVar, Self
from urllib.parse import urlencode

from fastapi import Request

from dragoman.domain.text_values import choice_refusal, day_of, is_day
from dragoman.store.conversation_list.filter_catalogue import SINCE, UNTIL, ValueKind
from dragoman.translations import gettext as _
from dragoman.translations import pgettext, translated
from dragoman.web.console.page import said, times_of

_KINDS: Mapping[str, ValueKind] = {"from": SINCE, "to": UNTIL}


def bound(given: Mapping[str, str], name: str, zone: tzinfo) -> datetime | None:
    """Read the filter ``from`` or ``to``, where it is given. Raises ValueError with what to do."""
    if not given[name]:
        return None
    try:
        moment: datetime = _KINDS[name].read_in(zone, given[name])
    except ValueError as error:
        label = pgettext("day", "From") if name == "from" else pgettext("day", "To")
        raise ValueError(f"{label}: {said(error)}.") from error
    return moment


def bounds(given: Mapping[str, str], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """Read the filters ``from`` and ``to``. Raises ValueError with what to do, also where they cannot both hold."""
    since, until = bound(given, "from", zone), bound(given, "to", zone)
    if since is not None and until is not None:
        first, last = given["from"], given["to"]
        # A day ends where the next one begins, and in some zones a day was left out.
        if since > until or (is_day(first) and is_day(last) and day_of(first) > day_of(last)):
            raise ValueError(_("“From” is after “To”. Choose an earlier “From” or a later “To”."))
    return since, until


def on_record(given: Mapping[str, str], zone: tzinfo) -> dict[str, str]:
    """What was asked for; a day says nothing without its zone, so moments stand for days. Raises ValueError."""
    asked = {name: text for name, text in given.items() if text}
    return asked | {name: at.isoformat() for name in _KINDS if (at := bound(given, name, zone)) is not None}


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Holds the filters of a record list as they stand in its address.

    ``NAMES`` are those that there are, ``TAB`` the one that is chosen by tabs and narrows nothing else, ``PAGE`` the
    list's address.
    """

    given: Mapping[str, str]
    zone: tzinfo

    NAMES: ClassVar[tuple[str, ...]] = ()
    TAB: ClassVar[str] = ""
    PAGE: ClassVar[str] = ""

    @classmethod
    def read(cls, request: Request) -> Self:
        """Take them from the address; days are those of the page's zone."""
        given = {name: request.query_params.get(name, "").strip()[:200] for name in cls.NAMES}
        return cls(given, times_of(request).zone)

    def __getitem__(self, name: str) -> str:
        return self.given[name]

    @property
    def narrowed(self) -> bool:
        """Whether anything but the tab is given."""
        return any(value for name, value in self.given.items() if name != self.TAB)

    def choice(self, name: str, label: str, choices: Iterable[str]) -> str:
        """Give the filter *name* if it is empty or one of *choices*. Raises ValueError with these and the nearest."""
        if self[name] and self[name] not in (allowed := list(choices)):
            raise ValueError(f"{label}: {translated(choice_refusal(allowed, self[name]))}.")
        return self[name]

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Read ``from`` and ``to``. Raises ValueError with what to do."""
        return bounds(self.given, self.zone)

    def asked(self) -> dict[str, str]:
        """What is given, for the record. Raises ValueError."""
        return on_record(self.given, self.zone)

    def address(self, **changed: str) -> str:
        """Write the page's address with other values."""
        given = {name: value for name, value in {**self.given, **changed}.items() if value}
        return f"{self.PAGE}?{urlencode(given)}" if given else self.PAGE
