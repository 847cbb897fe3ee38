"""Triggers: named rules that put deliveries in the outbox when something happens.

A trigger travels as JSON in the form that its YAML file has: :func:`trigger_to_json` writes it,
:func:`dragoman.domain.trigger_form.trigger_from_json` reads it strictly. What has its default is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from dragoman.domain.flows import Condition, Of, Operand, Variable, VariableType, condition_to_json
from dragoman.domain.outcomes import Outcome


class TriggerEvent(StrEnum):
    """What a trigger may wait for."""

    RESOLVED = "resolved"
    """A session was resolved."""
    EXPIRED = "expired"
    """A session expired."""
    OUTCOME = "outcome"
    """A dispatch ended with one of the outcomes that the trigger names."""
    HANDOFF_WAITING = "handoff_waiting"
    """A session has waited for an agent for so many minutes."""
    CHANNEL_STOPPED = "channel_stopped"
    """A channel account sends nothing any more until somebody acts."""
    JOB_GIVEN_UP = "job_given_up"
    """Something that the dispatcher had to do failed for the last time."""
    REQUEST = "request"
    """Somebody asks for it by the API."""
    SCHEDULE = "schedule"
    """The time has come, by a cron expression."""


OF_SESSIONS = frozenset(
    {TriggerEvent.RESOLVED, TriggerEvent.EXPIRED, TriggerEvent.OUTCOME, TriggerEvent.HANDOFF_WAITING}
)
"""What happens in a session, so that it has a contact."""


class RecipientKind(StrEnum):
    """Who gets what a trigger sends."""

    CONTACT = "contact"
    BUSINESS_PARTNER = "business_partner"
    AGENT = "agent"
    ADDRESS = "address"
    PAYLOAD = "payload"


class TriggerChannel(StrEnum):
    """How it is sent."""

    EMAIL = "email"
    WHATSAPP = "whatsapp"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRecipient:
    """One recipient: ``value`` is the address of a fixed one, or the field of the payload that holds it."""

    kind: RecipientKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """When nothing is sent, by the recipient's clock: from ``begin`` until ``end``, which may be the next morning."""

    begin: time
    end: time

    def first_moment(self, due_at: datetime, zone: ZoneInfo) -> datetime:
        """*due_at*, or the end of the quiet hours that it lies in."""
        local = due_at.astimezone(zone)
        at = local.time().replace(tzinfo=None)
        over_night = self.begin > self.end
        is_quiet = at >= self.begin or at < self.end if over_night else self.begin <= at < self.end
        if not is_quiet:
            return due_at
        day = local.date() + timedelta(days=1) if over_night and at >= self.begin else local.date()
        return datetime.combine(day, self.end, zone).astimezone(due_at.tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A rule: on ``event``, if ``condition`` is true, send ``template`` to ``recipients`` by ``channel``.

    By webhook the ``values`` are posted to ``url`` instead, or all facts where none are named.

    ``payload`` declares what a request brings, by name. ``values`` are for the variables of the template, by name; what
    is not named there is taken from the fact of the same name. ``sender`` is the address of the mailbox or number that
    it is sent from, empty for the session's own or the tenant's first. ``once_per`` is how long a recipient gets
    nothing of this trigger again. ``zone`` is for the cron expression, and for quiet hours of whom no zone is known.
    """

    name: str
    label: str
    event: TriggerEvent
    outcomes: tuple[Outcome, ...] = ()
    minutes: int = 0
    cron: str = ""
    zone: str = "UTC"
    payload: Mapping[str, VariableType] = field(default_factory=dict)
    condition: Condition | None = None
    recipients: tuple[TriggerRecipient, ...] = ()
    channel: TriggerChannel = TriggerChannel.EMAIL
    template: str = ""
    language: str = ""
    url: str = ""
    sender: str = ""
    values: Mapping[str, Operand] = field(default_factory=dict)
    delay: timedelta = timedelta()
    once_per: timedelta = timedelta()
    quiet_hours: QuietHours | None = None


FACTS: Mapping[str, VariableType] = {
    "event": VariableType.TEXT,
    "date": VariableType.DATE,
    "reason": VariableType.TEXT,
    "link": VariableType.TEXT,
    "session_id": VariableType.TEXT,
    "contact_name": VariableType.TEXT,
    "contact_phone": VariableType.PHONE,
    "contact_email": VariableType.EMAIL,
    "contact_language": VariableType.TEXT,
    "business_partner": VariableType.TEXT,
    "channel": VariableType.TEXT,
    "channel_name": VariableType.TEXT,
    "state": VariableType.TEXT,
    "outcome": VariableType.TEXT,
    "intent": VariableType.TEXT,
    "skill": VariableType.TEXT,
    "message_count": VariableType.NUMBER,
    "last_message": VariableType.TEXT,
    "agent": VariableType.TEXT,
    "waiting_minutes": VariableType.NUMBER,
    "job": VariableType.TEXT,
}
"""What is known when a trigger fires; what does not apply is unset."""


def variables_of(payload: Mapping[str, VariableType]) -> dict[str, Variable]:
    """The facts and what a request brings, as conditions and values name them."""
    return {name: Variable(name=name, type=type_) for name, type_ in {**FACTS, **payload}.items()}


def trigger_to_json(trigger: Trigger) -> dict[str, Any]:
    """The trigger as it is stored and exported."""
    when: dict[str, Any] = {"event": str(trigger.event)}
    if trigger.outcomes:
        when["outcomes"] = [str(outcome) for outcome in trigger.outcomes]
    when |= {name: given for name in ("minutes", "cron") if (given := getattr(trigger, name))}
    if trigger.zone != "UTC":
        when["zone"] = trigger.zone
    if trigger.payload:
        when["payload"] = {name: str(type_) for name, type_ in trigger.payload.items()}
    send: dict[str, Any] = {"channel": str(trigger.channel)}
    names = {"url": "url", "template": "template", "language": "language", "sender": "from"}
    send |= {key: given for name, key in names.items() if (given := getattr(trigger, name))}
    if trigger.values:
        send["values"] = {name: _operand_json(operand) for name, operand in trigger.values.items()}
    document: dict[str, Any] = {"name": trigger.name, "label": trigger.label, "when": when}
    if trigger.condition is not None:
        document["if"] = condition_to_json(trigger.condition)
    if trigger.recipients:
        document["to"] = [_recipient_json(recipient) for recipient in trigger.recipients]
    document["send"] = send
    for name, span in (("delay_minutes", trigger.delay), ("once_per_minutes", trigger.once_per)):
        if span:
            document[name] = int(span.total_seconds() // 60)
    if trigger.quiet_hours is not None:
        quiet = trigger.quiet_hours
        document["quiet_hours"] = {"from": f"{quiet.begin:%H:%M}", "until": f"{quiet.end:%H:%M}"}
    return document


def _operand_json(operand: Operand) -> Any:
    return {"variable": operand.variable} if isinstance(operand, Of) else operand


def _recipient_json(recipient: TriggerRecipient) -> Any:
    return {str(recipient.kind): recipient.value} if recipient.value else str(recipient.kind)
