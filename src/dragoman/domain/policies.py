"""A tenant's policy has parts: limits, budgets, one-time codes, the classifier, routing, handing over (section 8).

Values as everywhere in the domain. :func:`part_from_json` reads one part strictly and says in one line what is wrong:
an administrator wrote it. A limit or budget of 0 is switched off.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from dragoman.domain.errors import ConfigurationError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

SAME_NUMBER = "same_number"
OTHER_NUMBER = "other_number"

LOCAL_CLASSIFIER = "local"
MODEL_CLASSIFIER = "model"

MIDNIGHT = time()
"""As the end of a span: the end of the day, written ``24:00``."""

LONGEST_WAIT_SECONDS = 366 * 24 * 60 * 60
MOST_SESSIONS = 1000
MOST_HOLIDAYS = 400
LONGEST_HOLIDAY_NAME = 80
LONGEST_CLOSED_TEXT = 1000
WHEN = "{{when}}"
"""Stands in the tenant's own words for the time when people are back."""

_SPAN = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")
_HOLIDAY = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)")
_LOCALE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BASE_URL = re.compile(r"https?://[!-~]{1,480}")
_MODEL_NAME = re.compile(r"[!-~]{1,200}")
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may come in, by the time of receipt; and how long a message waits for its session.

    ``contact_per_minute`` holds for any minute, wherever it begins, the others for each second of the clock.
    ``busy_wait_seconds`` is how long a message may wait because one earlier dispatch of its contact held the session.
    """

    contact_per_minute: int = 20
    channel_account_per_second: int = 80
    tenant_per_second: int = 200
    busy_wait_seconds: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much one session may use. ``classifier_cost_micros`` is the most that one run of the classifier costs."""

    messages: int = 200
    cost_micros: int = 1_000_000
    classifier_cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How a contact confirms who they are by a one-time code, and for how long that holds.

    ``channel`` is ``same_number`` (the one that they write from) or ``other_number`` (another one of the same contact).
    ``unmatched``: also for contacts whose phone matches no business partner. After ``attempts`` wrong codes nothing is
    sent or checked for ``locked_seconds``; a new code is not sent within ``resend_seconds`` of the last one.
    """

    channel: str = SAME_NUMBER
    unmatched: bool = False
    code_seconds: int = 10 * 60
    attempts: int = 5
    locked_seconds: int = 15 * 60
    resend_seconds: int = 30
    confirmed_seconds: int = 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a contact is shown before they are answered: that their message was read, and that somebody is writing."""

    read_marks: bool = False
    typing_indicator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffRules:
    """How long a session may wait for a person, when a human part ends by itself, and who gets the next session.

    ``target_seconds`` is the service level: how long a contact may wait for a person's answer. A session that waits
    ``unattended_seconds`` with nobody fires an event. A human part in which nobody wrote for ``idle_seconds`` ends. An
    agent who is away for ``absent_seconds`` while a contact waits gives the session back to the queue. ``automatic``:
    sessions are assigned to present agents by themselves, at most ``cap`` to each. For ``phone_app_silence_seconds``
    after staff wrote from the app of the business's phone the bot leaves the contact to them. A time of 0 is switched
    off.
    """

    target_seconds: int = 5 * 60
    unattended_seconds: int = 10 * 60
    idle_seconds: int = 24 * 60 * 60
    absent_seconds: int = 10 * 60
    phone_app_silence_seconds: int = 60 * 60
    automatic: bool = False
    cap: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierChoice:
    """What finds out which skill a message asks for, where rules do not say it.

    ``kind`` is ``local`` (trained here on the skills' phrases) or ``model``: a language model at
    ``base_url/chat/completions``, whose key is kept apart, sealed. ``allow_private`` asks for addresses inside the
    operator's network, which the operator must have listed. All of a run takes ``deadline_s`` at the most. Prices are
    in micro-units for a million tokens. An answer has ``most_answer_tokens``, thinking included where the model is
    ``reasoning``. ``phrases`` of each skill are sent as examples.
    """

    kind: str = LOCAL_CLASSIFIER
    base_url: str = ""
    model: str = ""
    allow_private: bool = False
    deadline_s: float = 4.0
    input_micros_per_million: int = 0
    output_micros_per_million: int = 0
    most_answer_tokens: int = 300
    reasoning: bool = False
    phrases: int = 5

    @property
    def is_priced(self) -> bool:
        """Say whether its tokens cost anything."""
        return self.input_micros_per_million > 0 or self.output_micros_per_million > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """Sends a contact straight to a person where all that it names is true.

    ``keywords``: the message has one of these words or phrases. ``business_partners``: the contact belongs to one of
    these (by number). ``hours``: ``open`` or ``closed`` for that part of the business hours only, or ``always``.
    """

    name: str
    keywords: tuple[str, ...] = ()
    business_partners: tuple[str, ...] = ()
    hours: str = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holiday:
    """A day on which nobody is there; without a ``year`` it comes every year."""

    month: int
    day: int
    year: int | None = None
    name: str = ""

    @property
    def written(self) -> str:
        """The date as it is written: ``2026-12-24``, or ``12-25`` for every year."""
        yearly = f"{self.month:02}-{self.day:02}"
        return yearly if self.year is None else f"{self.year:04}-{yearly}"

    def is_on(self, day: date) -> bool:
        """Whether *day* is this holiday."""
        return (self.month, self.day) == (day.month, day.day) and self.year in (None, day.year)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """When people are there: spans of the local day by weekday, but for the holidays.

    Without any span they are there at all times. A span that ends at :data:`MIDNIGHT` lasts until the day is over.
    """

    time_zone: str = "UTC"
    weekly: Mapping[str, tuple[tuple[time, time], ...]] = field(default_factory=dict)
    holidays: tuple[Holiday, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Which contacts do not speak with the dispatcher at all, and when the people are there.

    ``closed_text`` is what a contact is told outside business hours, by locale; :data:`WHEN` in it becomes the time
    when people are back. Without it there is a ready sentence in each language.
    """

    hours: BusinessHours = field(default_factory=BusinessHours)
    rules: tuple[RoutingRule, ...] = ()
    closed_text: Mapping[str, str] = field(default_factory=dict)


Part = TypeVar("Part", Limits, Budget, Confirmation, Presence, HandoffRules)


def part_to_json(
    part: Limits | Budget | Confirmation | Presence | HandoffRules | Routing | ClassifierChoice,
) -> dict[str, Any]:
    """The JSON form of a part, as an administrator writes it."""
    if not isinstance(part, Routing):
        return dataclasses.asdict(part)
    return {
        "hours": _hours_to_json(part.hours),
        "closed_text": dict(part.closed_text),
        "rules": [
            {
                "name": rule.name,
                "keywords": list(rule.keywords),
                "business_partners": list(rule.business_partners),
                "hours": rule.hours,
            }
            for rule in part.rules
        ],
    }


def _hours_to_json(hours: BusinessHours) -> dict[str, Any]:
    return {
        "time_zone": hours.time_zone,
        "weekly": {day: [span_text(*span) for span in hours.weekly[day]] for day in DAYS if hours.weekly.get(day)},
        "holidays": [
            {"date": holiday.written, "name": holiday.name} if holiday.name else holiday.written
            for holiday in hours.holidays
        ],
    }


def span_text(opens: time, closes: time) -> str:
    """A span as it is written: ``08:00-17:30``."""
    return f"{opens:%H:%M}-{'24:00' if closes == MIDNIGHT else format(closes, '%H:%M')}"


def part_from_json(kind: type[Part], value: object) -> Part:
    """Read any part but the routing; what is left out has its default. Raises ConfigurationError."""
    where = "handoff" if kind is HandoffRules else kind.__name__.lower()
    given = _fields(value, where, [f.name for f in dataclasses.fields(kind)])
    defaults = kind()
    for name, found in given.items():
        default = getattr(defaults, name)
        if isinstance(default, str):
            if found not in (SAME_NUMBER, OTHER_NUMBER):
                raise ConfigurationError(f"{where}.{name} is {found!r}; use {SAME_NUMBER} or {OTHER_NUMBER}")
        elif isinstance(default, bool):
            if not isinstance(found, bool):
                raise ConfigurationError(f"{where}.{name} is {found!r}; use true or false")
        elif not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST:
            raise ConfigurationError(f"{where}.{name} is {found!r}; use a whole number from 0")
    made = kind(**given)
    _check_bounds(made, where)
    return made


_MOST = 10**15


def _check_bounds(made: Part, where: str) -> None:
    if isinstance(made, Confirmation) and min(made.code_seconds, made.attempts, made.confirmed_seconds) < 1:
        raise ConfigurationError(f"{where}: code_seconds, attempts and confirmed_seconds are at least 1")
    if isinstance(made, HandoffRules):
        if not 1 <= made.cap <= MOST_SESSIONS:
            raise ConfigurationError(f"{where}.cap is {made.cap}; an agent takes 1 to {MOST_SESSIONS} sessions")
        for name in ("target_seconds", "unattended_seconds", "idle_seconds", "absent_seconds"):
            if getattr(made, name) > LONGEST_WAIT_SECONDS:
                raise ConfigurationError(f"{where}.{name} is {getattr(made, name)}; a year is the longest")


def classifier_from_json(value: object) -> ClassifierChoice:
    """Read the choice of a classifier; what is left out has its default. Raises ConfigurationError."""
    given = _fields(value, "classifier", [f.name for f in dataclasses.fields(ClassifierChoice)])
    defaults = ClassifierChoice()
    for name, found in given.items():
        default = getattr(defaults, name)
        where = f"classifier.{name}"
        if isinstance(default, bool) and not isinstance(found, bool):
            raise ConfigurationError(f"{where} is {found!r}; use true or false")
        if isinstance(default, str) and not isinstance(found, str):
            raise ConfigurationError(f"{where} is {found!r}; use a text")
        if name in _CLASSIFIER_BOUNDS:
            _check_number(where, found, *_CLASSIFIER_BOUNDS[name], whole=isinstance(default, int))
    choice = ClassifierChoice(**{**given, "base_url": given.get("base_url", "").rstrip("/")})
    if choice.kind not in (LOCAL_CLASSIFIER, MODEL_CLASSIFIER):
        raise ConfigurationError(f"classifier.kind is {choice.kind!r}; use {LOCAL_CLASSIFIER} or {MODEL_CLASSIFIER}")
    is_needed = choice.kind == MODEL_CLASSIFIER
    if (choice.base_url or is_needed) and not _is_base_url(choice.base_url):
        raise ConfigurationError(
            f"classifier.base_url is {choice.base_url!r}; use an address such as https://api.example.com/v1, "
            "without a user, a query or a fragment"
        )
    if (choice.model or is_needed) and not _MODEL_NAME.fullmatch(choice.model):
        raise ConfigurationError(f"classifier.model is {choice.model!r}; use the name that the server knows it by")
    return choice


_CLASSIFIER_BOUNDS: Mapping[str, tuple[float, float]] = {
    "deadline_s": (0.1, 60),
    "input_micros_per_million": (0, 10**12),
    "output_micros_per_million": (0, 10**12),
    "most_answer_tokens": (16, 100_000),
    "phrases": (0, 50),
}


def _is_base_url(text: str) -> bool:
    return _BASE_URL.fullmatch(text) is not None and not {"@", "?", "#"} & set(text)


def _check_number(where: str, found: object, least: float, most: float, *, whole: bool) -> None:
    is_number = isinstance(found, int if whole else (int, float)) and not isinstance(found, bool)
    if not is_number or not least <= found <= most:  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{where} is {found!r}; use {kind} from {least:,} to {most:,}")


def routing_from_json(value: object) -> Routing:
    """Read the routing rules and business hours. Raises ConfigurationError."""
    given = _fields(value, "routing", ["hours", "rules", "closed_text"])
    rules = given.get("rules", [])
    if not isinstance(rules, list):
        raise ConfigurationError("routing.rules must be a list")
    return Routing(
        hours=_hours(given.get("hours", {})),
        rules=tuple(_rule(rule) for rule in rules),
        closed_text=_closed_text(given.get("closed_text", {})),
    )


def _closed_text(value: object) -> dict[str, str]:
    where = "routing.closed_text"
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a mapping of languages to texts")
    for locale, text in value.items():
        check_language(locale, where)
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_CLOSED_TEXT:
            raise ConfigurationError(f"{where}.{locale} must be a text of at most {LONGEST_CLOSED_TEXT} characters")
        if _NOT_TEXT.search(text):
            raise ConfigurationError(f"{where}.{locale} has control characters")
        if unknown := sorted({*_PLACEHOLDER.findall(text)} - {WHEN}):
            raise ConfigurationError(f"{where}.{locale} has {unknown[0]}; only {WHEN} is filled in")
    return dict(value)


def check_language(tag: object, where: str) -> None:
    """Raise ConfigurationError unless *tag* is a language tag such as ``pt-BR``."""
    if not isinstance(tag, str) or not _LOCALE.fullmatch(tag):
        raise ConfigurationError(f"{where}: {tag!r} is no language; use a tag like en or pt-BR")


def _rule(value: object) -> RoutingRule:
    given = _fields(value, "routing.rules", ["name", "keywords", "business_partners", "hours"])
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigurationError("each of routing.rules needs a name")
    hours = given.get("hours", "always")
    if hours not in ("always", "open", "closed"):
        raise ConfigurationError(f"hours of routing rule {name} is {hours!r}; use always, open or closed")
    rule = RoutingRule(
        name=name,
        keywords=_texts(given.get("keywords", []), f"keywords of routing rule {name}"),
        business_partners=_texts(given.get("business_partners", []), f"business_partners of routing rule {name}"),
        hours=hours,
    )
    if not rule.keywords and not rule.business_partners and hours == "always":
        raise ConfigurationError(f"routing rule {name} would send everybody to a person; name what it is for")
    return rule


def _hours(value: object) -> BusinessHours:
    given = _fields(value, "routing.hours", ["time_zone", "weekly", "holidays"])
    zone = given.get("time_zone", "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"routing.hours.time_zone {zone!r} is not known; use one like Europe/Vienna"
        ) from error
    weekly = _fields(given.get("weekly", {}), "routing.hours.weekly", list(DAYS))
    return BusinessHours(
        time_zone=zone,
        weekly={day: _spans(day, spans) for day, spans in weekly.items()},
        holidays=_holidays(given.get("holidays", [])),
    )


def _spans(day: str, value: object) -> tuple[tuple[time, time], ...]:
    return tuple(sorted(_span(day, text) for text in _texts(value, f"routing.hours.weekly.{day}")))


def _span(day: str, text: str) -> tuple[time, time]:
    found = _SPAN.fullmatch(text)
    with suppress(ValueError):
        if found is not None and found[1] != "24:00":
            to_midnight = found[2] == "24:00"
            opens, closes = time.fromisoformat(found[1]), MIDNIGHT if to_midnight else time.fromisoformat(found[2])
            if opens < closes or to_midnight:
                return opens, closes
    raise ConfigurationError(f"routing.hours.weekly.{day}: {text!r} is no span like 08:00-17:30")


def _holidays(value: object) -> tuple[Holiday, ...]:
    if not isinstance(value, list) or len(value) > MOST_HOLIDAYS:
        raise ConfigurationError(f"routing.hours.holidays must be a list of at most {MOST_HOLIDAYS} dates")
    found = {holiday.written: holiday for holiday in map(holiday_from_json, value)}
    if len(found) < len(value):
        raise ConfigurationError("routing.hours.holidays has a date twice")
    return tuple(found[written] for written in sorted(found))


def holiday_from_json(value: object) -> Holiday:
    """Read ``2026-12-24``, ``12-25`` for every year, or either as the ``date`` beside a ``name``.

    Raises ConfigurationError.
    """
    where = "routing.hours.holidays"
    given = _fields(value, where, ["date", "name"]) if isinstance(value, dict) else {"date": value}
    written, name = given.get("date"), given.get("name", "")
    if isinstance(written, date) and not isinstance(written, datetime):  # as YAML reads an unquoted date
        written = written.isoformat()
    found = _HOLIDAY.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ConfigurationError(f"{where}: {written!r} is no date like 2026-12-24, or 12-25 for every year")
    year, month, day = None if found[1] is None else int(found[1]), int(found[2]), int(found[3])
    try:
        date(2000 if year is None else year, month, day)  # 29 February comes in leap years
    except ValueError as error:
        raise ConfigurationError(f"{where}: there is no day {written}") from error
    if not isinstance(name, str) or len(name) > LONGEST_HOLIDAY_NAME or not name.isprintable():
        raise ConfigurationError(f"{where}: a name is one line of at most {LONGEST_HOLIDAY_NAME} characters")
    return Holiday(month=month, day=day, year=year, name=name.strip())


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ConfigurationError(f"{where} must be a list of texts")
    return tuple(value)


def _fields(value: object, where: str, known: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a mapping")
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise ConfigurationError(f"{where} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return value
