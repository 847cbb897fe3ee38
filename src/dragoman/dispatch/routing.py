"""Who goes straight to a person, by the tenant's rules; and when the people are there.

Wall-clock times are those of the tenant's time zone (:mod:`zoneinfo`, whose tables are part of the machine as those of
any calendar are); the moment itself comes with the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from dragoman.dispatch import menu, words
from dragoman.dispatch.texts import pick, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain import content
from dragoman.domain.content import Choice
from dragoman.domain.nouns import Awaiting, AwaitingKind
from dragoman.domain.policies import DAYS, BusinessHours, RoutingRule

_IN_THE_MIDDLE = frozenset({AwaitingKind.PARAMETER, AwaitingKind.FLOW, AwaitingKind.CODE})

WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "pt": ("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"),
    "it": ("lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"),
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


def opens_at(hours: BusinessHours, now: datetime) -> datetime | None:
    """When the people are back, in their own time zone; None while they are there, as they always are without hours."""
    if not any(hours.weekly.values()):
        return None
    local = now.astimezone(_zone(hours.time_zone))
    for opens, closes in _spans(hours, local):
        if closes > now:
            return None if opens <= now else opens
    return None


def back(inputs: Inputs, now: datetime) -> str:
    """What is said about when somebody will be there; empty while somebody is."""
    opens = opens_at(inputs.policy.routing.hours, now)
    if opens is None:
        return ""
    locales = menu.locales(inputs)
    names = {locale: days[opens.weekday()] for locale, days in WEEKDAYS.items()}
    return sentence("back_at", *locales, when=f"{pick(names, *locales)}, {opens:%H:%M}")


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
        closed = opens_at(inputs.policy.routing.hours, now) is not None
        if closed is not (rule.hours == "closed"):
            return None
        reasons.append("outside business hours" if closed else "within business hours")
    return ", ".join(reasons) or "for everybody"


def _spans(hours: BusinessHours, local: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The spans from *local*'s day on, for eight days: the same span of next week is among them."""
    zone = local.tzinfo
    for ahead in range(8):
        day = local.date() + timedelta(days=ahead)
        for opens, closes in hours.weekly.get(DAYS[day.weekday()], ()):
            yield datetime.combine(day, opens, zone), datetime.combine(day, closes, zone)


def _zone(name: str) -> ZoneInfo | timezone:
    """UTC where this machine does not know the zone: it was known where the policy was set."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
