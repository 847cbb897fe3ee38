"""Reads single values from what people and programs write: times, days, channels, true and false.

Each reader raises ValueError with what to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from dragoman.bounded import reads_outside_text
from dragoman.translations import deferred

Choice = TypeVar("Choice", bound=StrEnum)

CHANNEL_KINDS = frozenset({"whatsapp", "email"})
CHANNEL_PATTERN = f"^({'|'.join(sorted(CHANNEL_KINDS))}|[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})$"
"""What :func:`channel_of` takes, for a document."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MINUTE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?", re.ASCII)
# RFC 3339, 5.6. A plus sign that was not percent-encoded arrives as a space.
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)([Zz]|[-+ ]\d{2}:\d{2})", re.ASCII)


def without_nul(text: str) -> str:
    """The text, which PostgreSQL can take. Raises ValueError for U+0000."""
    if "\0" in text:
        raise ValueError(deferred("must not contain U+0000"))
    return text


def true_or_false(text: str) -> bool:
    """Read what ``true`` and ``false`` say. Raises ValueError."""
    if text not in {"true", "false"}:
        raise ValueError(deferred("use true or false"))
    return text == "true"


def read_choice(choices: type[Choice], text: str) -> Choice:
    """Read one of an enumeration's values. Raises ValueError with the nearest one and all that there are."""
    try:
        return choices(text)
    except ValueError:
        raise ValueError(choice_refusal(choices, text)) from None


def choice_refusal(choices: Iterable[str], text: str) -> str:
    """Say what to write instead of *text*, which is none of *choices*: the nearest one, if any is near, and all."""
    allowed = [str(each) for each in choices]
    by_form = {_form(each): each for each in reversed(allowed)}
    near = get_close_matches(_form(text[:_LONGEST_CHOICE]), by_form, n=1)
    known = ", ".join(allowed)
    if not near:
        return deferred("not an allowed value. Allowed values: %(known)s", known=known)
    return deferred(
        "not an allowed value. Did you mean %(near)s? Allowed values: %(known)s", near=by_form[near[0]], known=known
    )


_LONGEST_CHOICE = 60
"""Characters of a text that are compared with the choices: what is longer is near none."""


@reads_outside_text
def _form(text: str) -> str:
    # Case and separators are what people get wrong.
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def moment(text: str) -> datetime:
    """A time as RFC 3339 has it, in UTC. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(deferred("use a day (2026-11-23) or an RFC 3339 time (2026-11-23T08:30:00Z)"))
    day, hours, offset = found.groups()
    offset = "+00:00" if offset in {"Z", "z"} else offset.replace(" ", "+")
    try:
        return datetime.fromisoformat(f"{day}T{hours}{offset}").astimezone(UTC)
    except OverflowError as error:
        raise ValueError(deferred("the time is out of range")) from error


def is_day(value: str) -> bool:
    """Whether it is written as a day; the calendar may have no such day."""
    return _DAY.fullmatch(value) is not None


def day_of(value: str) -> date:
    """Read a day as it is written. Raises ValueError."""
    if not is_day(value):
        raise ValueError(deferred("use a day, such as 2026-11-23"))
    return date.fromisoformat(value)


def is_minute(value: str) -> bool:
    """Whether it is written as a day with a time of day, which needs a zone to be a moment."""
    return _MINUTE.fullmatch(value) is not None


def minute_of(value: str, zone: tzinfo) -> datetime:
    """Read a day with a time of day as clocks in *zone* show it; of one that comes twice, the first. Raises ValueError.

    The moment is in UTC. A time that the clocks leave out is as long after midnight as it says.
    """
    try:
        return datetime.fromisoformat(value).replace(tzinfo=zone).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(deferred("the time is out of range")) from error


def first_moment_in(value: str, zone: tzinfo) -> datetime:
    """Read the first moment of a day, or a day with a time of day, in *zone*; else an exact time. Raises ValueError."""
    return minute_of(value, zone) if is_minute(value) else first_moment(value, zone)


def last_moment_in(value: str, zone: tzinfo) -> datetime:
    """Read the end of a day, or a day with a time of day, in *zone*; else an exact time. Raises ValueError."""
    return minute_of(value, zone) if is_minute(value) else last_moment(value, zone)


def first_moment(value: str, zone: tzinfo = UTC) -> datetime:
    """Read the moment, or the first one of a day in *zone*. Raises ValueError."""
    return _begin(date.fromisoformat(value), zone) if is_day(value) else moment(value)


def last_moment(value: str, zone: tzinfo = UTC) -> datetime:
    """Read the moment, or the end of a day in *zone*: the first moment of the next one. Raises ValueError."""
    if not is_day(value):
        return moment(value)
    day = date.fromisoformat(value)
    if day == date.max:
        raise ValueError(deferred("the day is out of range"))
    return _begin(day + timedelta(days=1), zone)


def _begin(day: date, zone: tzinfo) -> datetime:
    # The next day's beginning is asked of the zone anew: where the clocks change, a day has 23 or 25 hours. A midnight
    # that they leave out is the moment of the change, and of one that comes twice it is the first.
    try:
        return datetime.combine(day, time.min, zone).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(deferred("the day is out of range")) from error


def channel_of(value: str) -> UUID | str:
    """Read a kind of channel, or an account's id. Raises ValueError."""
    if value in CHANNEL_KINDS:
        return value
    try:
        return UUID(value)
    except ValueError as error:
        raise ValueError(deferred("use whatsapp, email or a channel account’s ID")) from error


def partner_of(value: str) -> UUID | str:
    """A business partner's id, else what may be its number. Raises ValueError."""
    try:
        return UUID(value)
    except ValueError:
        return without_nul(value)


_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,188}[A-Za-z0-9])?")


def is_email(text: str) -> bool:
    """Whether *text* is one email address by itself, in ASCII."""
    return _EMAIL.fullmatch(text) is not None
