"""Who goes straight to a person, by the tenant's rules; and when the people are there.

Wall-clock times are those of the tenant's time zone (:mod:`zoneinfo`, whose tables are part of the machine as those of
any calendar are); the moment itself comes with the inputs.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from dragoman.dispatch import menu, words
from dragoman.dispatch.texts import pick, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain import content
from dragoman.domain.content import Choice
from dragoman.domain.nouns import Awaiting, AwaitingKind
from dragoman.domain.policies import DAYS, MIDNIGHT, WHEN, BusinessHours, RoutingRule

LOOK_AHEAD_DAYS = 8 * 7
"""People who are away for longer are not said to be back on a day."""

_WHOLE_DAY = ((MIDNIGHT, MIDNIGHT),)
_IN_THE_MIDDLE = frozenset({AwaitingKind.PARAMETER, AwaitingKind.FLOW, AwaitingKind.CODE})

WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "pt": ("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"),
    "it": ("lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"),
}

MONTHS = {
    "en": ("January", "February", "March", "April", "May", "June",
           "July", "August", "September", "October", "November", "December"),
    "de": ("Januar", "Februar", "März", "April", "Mai", "Juni",
           "Juli", "August", "September", "Oktober", "November", "Dezember"),
    "es": ("enero", "febrero", "marzo", "abril", "mayo", "junio",
           "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    "fr": ("janvier", "février", "mars", "avril", "mai", "juin",
           "juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    "pt": ("janeiro", "fevereiro", "março", "abril", "maio", "junho",
           "julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
    "it": ("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno",
           "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
}  # fmt: skip
_DATES = {
    "en": "{weekday}, {day} {month}, {time}",
    "de": "{weekday}, {day}. {month}, {time}",
    "es": "{weekday} {day} de {month}, {time}",
    "fr": "{weekday} {day} {month}, {time}",
    "pt": "{weekday}, {day} de {month}, {time}",
    "it": "{weekday} {day} {month}, {time}",
}


def rule_for(inputs: Inputs, awaiting: Awaiting | None, now: datetime) -> str | None:
    """The rule that sends this message to a person, in words; None where none does.

    A rule without keywords does not break into a question that the contact is just answering.
    """
    message = inputs.message.content
    said = () if isinstance(message, Choice) else words.tokens(content.words(message))
    answering = awaiting is not None and awaiting.kind in _IN_THE_MIDDLE
    for rule in inputs.policy.routing.rules:
        if answering and not rule.keywords:
            continue
        why = _matches(inputs, rule, said, now)
        if why:
            return f'routing rule "{rule.name}": {why}'
    return None


def is_open(hours: BusinessHours, now: datetime) -> bool:
    """Whether people are there."""
    today = now.astimezone(_zone(hours.time_zone)).date()
    return any(opens <= now < closes for opens, closes in _spans_of(hours, today))


def opens_at(hours: BusinessHours, now: datetime) -> datetime | None:
    """When the people are back, in their own time zone.

    None while they are there, and where they are away for longer than :data:`LOOK_AHEAD_DAYS`: see :func:`is_open`.
    """
    zone = _zone(hours.time_zone)
    today = now.astimezone(zone).date()
    for ahead in range(LOOK_AHEAD_DAYS + 1):
        for opens, closes in _spans_of(hours, today + timedelta(days=ahead)):
            if closes > now:
                return None if opens <= now else opens.astimezone(zone)
    return None


def back(inputs: Inputs, now: datetime) -> str:
    """What is said about when somebody will be there; empty while somebody is. The tenant's own words come first."""
    routing = inputs.policy.routing
    if is_open(routing.hours, now):
        return ""
    opens = opens_at(routing.hours, now)
    locales = menu.locales(inputs)
    own = pick({tag: tag for tag in routing.closed_text}, *locales)
    if own is None or (opens is None and WHEN in routing.closed_text[own]):
        return sentence("back_at", *locales, when=_when(opens, now, *locales)) if opens else sentence("away", *locales)
    # In the language of the words, which may be another than the contact's.
    return routing.closed_text[own].replace(WHEN, _when(opens, now, own, *locales) if opens else "")


def _when(opens: datetime, now: datetime, *locales: str) -> str:
    """The weekday and the time; with the date where the weekday alone could be taken for an earlier day."""
    language = pick({known: known for known in WEEKDAYS}, *locales) or "en"
    weekday, at = WEEKDAYS[language][opens.weekday()], f"{opens:%H:%M}"
    if (opens.date() - now.astimezone(opens.tzinfo).date()).days < len(DAYS):
        return f"{weekday}, {at}"
    month = MONTHS[language][opens.month - 1]
    return _DATES[language].format(weekday=weekday, day=opens.day, month=month, time=at)


def _matches(inputs: Inputs, rule: RoutingRule, said: tuple[str, ...], now: datetime) -> str | None:
    """Why *rule* applies, in words; None where something that it names is not true."""
    reasons = []
    if rule.keywords:
        named = next((k for k in rule.keywords if (t := words.tokens(k)) and words.contains(said, [t])), None)
        if named is None:
            return None
        reasons.append(f'the keyword "{named}"')
    if rule.business_partners:
        partner = inputs.contact.business_partner
        if partner is None or partner.number not in rule.business_partners:
            return None
        reasons.append(f"business partner {partner.number}")
    if rule.hours != "always":
        closed = not is_open(inputs.policy.routing.hours, now)
        if closed is not (rule.hours == "closed"):
            return None
        reasons.append("outside business hours" if closed else "within business hours")
    return ", ".join(reasons) or "for everybody"


def _spans_of(hours: BusinessHours, day: date) -> list[tuple[datetime, datetime]]:
    """List the spans of a day as moments in UTC, where two compare as they follow each other on every day."""
    if any(holiday.is_on(day) for holiday in hours.holidays):
        return []
    zone = _zone(hours.time_zone)
    found = []
    for opens, closes in hours.weekly.get(DAYS[day.weekday()], ()) if any(hours.weekly.values()) else _WHOLE_DAY:
        last = day + timedelta(days=1) if closes == MIDNIGHT else day
        begin = datetime.combine(day, opens, zone).astimezone(UTC)
        end = datetime.combine(last, closes, zone).astimezone(UTC)
        # A time that is skipped when clocks go forward counts as much later, and may be beyond the end or the day.
        if begin < end and begin.astimezone(zone).date() == day:
            found.append((begin, end))
    return sorted(found)


def _zone(name: str) -> ZoneInfo | timezone:
    """UTC where this machine does not know the zone: it was known where the policy was set."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
