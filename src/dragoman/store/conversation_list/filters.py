"""What the Conversation Logs can be narrowed to and sorted by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dragoman.domain.outcomes import Outcome
from dragoman.domain.skill_calls import SkillCalls
from dragoman.domain.states import State
from dragoman.domain.text_values import read_choice
from dragoman.store.conversation_list.filter_catalogue import FILTERS, FilterField


class Sort(StrEnum):
    """What the list can be sorted by; each has an index that ends in the session's id."""

    ACTIVITY = "activity"
    STARTED = "started"
    DURATION = "duration"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class SortOrder:
    """Says what the list is sorted by, and in which direction.

    The text form has a minus before what comes greatest first: ``-activity``.
    """

    sort: Sort = Sort.ACTIVITY
    descending: bool = True

    @classmethod
    def parse(cls, text: str) -> SortOrder:
        """Read the text form. Raises ValueError."""
        return cls(read_choice(Sort, text.removeprefix("-")), text.startswith("-"))

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.sort}"


NEWEST = SortOrder()
"""Newest activity first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the list is narrowed to; a field that is None narrows nothing. All that are given must fit, of a tuple one.

    Each has its entry in :data:`~dragoman.store.conversation_list.filter_catalogue.FILTERS`, but ``whole_phone``: with
    it a phone fits only as a whole number, and ``q`` looks for no digits, for readers who may not see the digits, and
    so must not feel for them.

    ``phone`` is any part of a number in any formatting. ``skill_or_intent`` matches either column. ``channel`` is
    a channel account's id, or a kind (``whatsapp``, ``email``). ``business_partner`` is an id or a number.
    ``agent`` is the name of the agent who has or had it. ``since`` (inclusive) and ``until`` (exclusive) bound the
    last activity, or the writing of a message that arrived after ``until``. ``q`` is searched for in the transcripts
    and the contact's name, in the grammar of :meth:`dragoman.domain.search_words.Search.parse`. ``ran``: a skill was
    called in it. ``tag`` and ``reviewed`` are what reviewers left on it. ``contact`` is the id of the one who wrote,
    ``session_id`` is one session. ``had_outcome`` is an outcome that it has, or had before its present one, and
    ``undelivered`` says that a reply did not arrive. The ``not_…`` fields leave out what they name.
    """

    phone: str | None = None
    intent: tuple[str, ...] | None = None
    skill: tuple[str, ...] | None = None
    skill_or_intent: tuple[str, ...] | None = None
    state: tuple[State, ...] | None = None
    outcome: tuple[Outcome, ...] | None = None
    not_state: tuple[State, ...] | None = None
    not_outcome: tuple[Outcome, ...] | None = None
    not_skill_or_intent: tuple[str, ...] | None = None
    had_outcome: tuple[Outcome, ...] | None = None
    undelivered: bool | None = None
    channel: tuple[UUID | str, ...] | None = None
    business_partner: UUID | str | None = None
    agent: tuple[str, ...] | None = None
    errors: bool | None = None
    ran: SkillCalls | None = None
    tag: tuple[str, ...] | None = None
    reviewed: bool | None = None
    q: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    contact: UUID | None = None
    whole_phone: bool = False
    session_id: UUID | None = None

    def given(self) -> list[tuple[FilterField, Any]]:
        """Those that are set, as the catalogue has them, with their values."""
        return [(each, value) for each in FILTERS if (value := getattr(self, each.name)) is not None]

    def to_json(self) -> dict[str, Any]:
        """Those that are set, under their names, as JSON can hold them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: _json_value(value)
            for name, value in given.items()
            if value is not None and (name != "whole_phone" or value)
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Filters:
        """What :meth:`to_json` gave. Raises ValueError or TypeError for anything else."""
        return cls(**{name: _stored_value(name, value) for name, value in stored.items()})


_FIELDS = {each.name: each for each in FILTERS}


def _json_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json_value(one) for one in value]
    return value if isinstance(value, int) else value.isoformat() if isinstance(value, datetime) else str(value)


def _stored_value(name: str, value: Any) -> Any:
    # JSON has numbers and truth itself; a name that is no filter is for the class to refuse.
    if isinstance(value, int) or name not in _FIELDS:
        return value
    # What was stored when a filter took one value only has no list.
    return _FIELDS[name].read(value if isinstance(value, list) else [value])
