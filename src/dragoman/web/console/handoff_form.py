"""Reads and writes the forms of the handoff settings: durations and hours as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

from babel import Locale
from starlette.datastructures import FormData

from dragoman.bounded import reads_outside_text
from dragoman.dispatch.texts import LANGUAGES
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plain_text import cut
from dragoman.domain.policies import (
    DAYS,
    HandoffRules,
    Holiday,
    Routing,
    holiday_from_json,
    routing_from_json,
    span_text,
)
from dragoman.store.handoff.agents import AgentProfile
from dragoman.translations import deferred, reader_language, translated
from dragoman.translations import gettext as _
from dragoman.web.console.formatting import bot_languages

UNITS = {"seconds": 1, "minutes": 60, "hours": 60 * 60, "days": 24 * 60 * 60}

UNIT_WORDS = {
    "seconds": deferred("seconds"),
    "minutes": deferred("minutes"),
    "hours": deferred("hours"),
    "days": deferred("days"),
}
"""What each unit is called in the form."""

TIMES = {
    "target": (
        deferred("Reply target"),
        deferred("How long a contact should wait at most for an agent’s reply. 0 means no target."),
    ),
    "unattended": (
        deferred("Report unclaimed sessions after"),
        deferred("Adds an event to the timeline. 0 turns this off."),
    ),
    "idle": (
        deferred("End inactive conversations after"),
        deferred("The bot then answers the contact’s next message. 0 turns this off."),
    ),
    "absent": (
        deferred("Return sessions to the queue when the agent is away for"),
        deferred("Only while the contact is waiting for a reply. 0 turns this off."),
    ),
    "phone_app_silence": (
        deferred("Pause the bot after replies from the phone app for"),
        deferred("Counted from the last message to the contact. 0 turns this off."),
    ),
}
"""What each time is called and what it does; its field is ``…_seconds`` in the policy."""

_LONGEST_TEXT = 4000
_CLOCK = r"(\d{1,2})(?:[:.](\d{2}))?"
_SPAN = re.compile(rf"{_CLOCK} ?(?:-|–|—|to) ?{_CLOCK}")
_REGION = re.compile(r"(?:Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/")


def text_of(form: FormData, name: str) -> str:
    """A field's text without what cannot be stored; empty where it is missing."""
    value = form.get(name, "")
    if not isinstance(value, str):
        return ""
    return cut(value.replace("\0", "").replace("\r\n", "\n").strip(), _LONGEST_TEXT)


def texts_of(form: FormData, *names: str) -> dict[str, str]:
    """Read several of these by name."""
    return {name: text_of(form, name) for name in names}


def written_duration(seconds: int) -> tuple[str, str]:
    """Write a duration as a number and its unit: 300 as 5 minutes, 86400 as 24 hours, 172800 as 2 days."""
    for unit, least in (("days", 2 * UNITS["days"]), ("hours", UNITS["hours"]), ("minutes", 0)):
        if seconds >= least and seconds % UNITS[unit] == 0:
            return str(seconds // UNITS[unit]), unit
    return str(seconds), "seconds"


def written_times(rules: HandoffRules) -> dict[str, str]:
    """The fields of the form with the times, as they are filled in at first."""
    fields = {"cap": str(rules.cap), "automatic": "yes" if rules.automatic else ""}
    for name in TIMES:
        fields[name], fields[f"{name}_unit"] = written_duration(getattr(rules, f"{name}_seconds"))
    return fields


def read_times(fields: Mapping[str, str]) -> dict[str, int | bool]:
    """Read the policy's part ``handoff`` from the form's fields. Raises ConfigurationError."""
    found: dict[str, int | bool] = {"automatic": fields["automatic"] == "yes"}
    found["cap"] = _whole_number(fields["cap"], _("Maximum sessions per agent"))
    for name, (label, __) in TIMES.items():
        unit = UNITS.get(fields[f"{name}_unit"])
        if unit is None:
            units = ", ".join(map(translated, UNIT_WORDS.values()))
            raise ConfigurationError(_("“%(field)s” needs a unit: %(units)s", field=label, units=units))
        found[f"{name}_seconds"] = _whole_number(fields[name], label) * unit
    return found


def _whole_number(text: str, label: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise ConfigurationError(_("“%(field)s” must be a whole number", field=label))
    return int(text)


def written_hours(routing: Routing) -> dict[str, str]:
    """The fields of the form with the business hours, as they are filled in at first."""
    weekly = routing.hours.weekly
    return {
        "time_zone": routing.hours.time_zone,
        **{day: ", ".join(span_text(*span) for span in weekly.get(day, ())) for day in DAYS},
    }


def day_names() -> dict[str, str]:
    """The days of the week, as the reader names them where a name stands by itself."""
    names = Locale.parse(reader_language()).days["stand-alone"]["wide"]
    return {day: f"{names[number][:1].upper()}{names[number][1:]}" for number, day in enumerate(DAYS)}


def read_hours(fields: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the spans of each weekday, in the policy's form. Raises ConfigurationError for what is none."""
    return {day: _read_spans(day, fields[day]) for day in DAYS if fields[day]}


@reads_outside_text
def split_spans(text: str) -> list[str]:
    """What is written between commas; each span of hours in the policy's form: ``8 – 12`` is ``08:00-12:00``."""
    return [_normal_span(" ".join(part.split())) for part in re.split("[,;]", text) if part.strip()]


def _normal_span(text: str) -> str:
    found = _SPAN.fullmatch(text)
    if found is None:
        return text
    from_hour, from_minute, to_hour, to_minute = found.groups("00")
    return f"{from_hour:0>2}:{from_minute}-{to_hour:0>2}:{to_minute}"


def _read_spans(day: str, text: str) -> list[str]:
    spans = split_spans(text)
    for span in spans:
        try:
            routing_from_json({"hours": {"weekly": {day: [span]}}})
        except ConfigurationError as error:
            wrong = _(
                "%(day)s: “%(hours)s” is not valid; enter hours such as 08:00-12:00, 13:00-17:30",
                day=day_names()[day], hours=span,
            )  # fmt: skip
            raise ConfigurationError(wrong) from error
    return spans


def read_holiday(fields: Mapping[str, str]) -> Holiday:
    """The holiday that the form adds. Raises ConfigurationError."""
    written = fields["date"]
    if fields["yearly"] == "yes" and re.fullmatch(r"\d{4}-\d\d-\d\d", written):
        written = written[len("2026-") :]
    return holiday_from_json({"date": written, "name": fields["name"]})


def languages_of(routing: Routing) -> dict[str, str]:
    """The languages for which words can be set: those that Dragoman speaks, and those that have some."""
    return bot_languages() | {tag: tag for tag in sorted(routing.closed_text) if tag not in LANGUAGES}


def read_closed_text(fields: Mapping[str, str]) -> dict[str, str]:
    """The words by language; where none are written the ready sentence is said."""
    return {language: text for language, text in fields.items() if text}


def written_profile(profile: AgentProfile) -> dict[str, str]:
    """The fields of an agent's form that are not boxes to tick, as they are filled in at first."""
    others = [tag for tag in profile.languages if tag not in LANGUAGES]
    return {"others": ", ".join(others), "cap": "" if profile.cap is None else str(profile.cap)}


def read_profile(fields: Mapping[str, str], languages: list[str], topics: list[str]) -> AgentProfile:
    """The profile that an agent's form says. Raises ConfigurationError."""
    others = [tag.strip() for tag in fields["others"].split(",") if tag.strip()]
    return AgentProfile(
        languages=tuple(dict.fromkeys([*languages, *others])),
        topics=tuple(dict.fromkeys(topics)),
        cap=_whole_number(fields["cap"], _("Maximum sessions")) if fields["cap"] else None,
    )


@cache
def time_zones() -> tuple[str, ...]:
    """The time zones to choose from, as IANA names them: those of places, and UTC."""
    return ("UTC", *sorted(name for name in available_timezones() if _REGION.match(name)))
