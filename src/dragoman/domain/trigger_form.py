"""Reads a trigger's definition: strict about keys, names, types and texts, and with all faults at once.

name: skill_error_mail
label: Tell the shop about skill errors
when: {event: outcome, outcomes: [SKILL_ERROR]}      expired, resolved, handoff_waiting (minutes), channel_stopped,
                                                     job_given_up, request (payload), schedule (cron, zone)
if: {variable: channel, eq: whatsapp}                a condition over the facts, as in a flow's branch
to: [contact, agent, {address: ops@shop.example}]    contact, business_partner, agent, address, payload (its field)
send: {channel: email, template: skill_error}        email, or whatsapp with the language of the template; or
                                                     {channel: webhook, url: https://…}, to nobody else
delay_minutes: 5
once_per_minutes: 60
quiet_hours: {from: "21:00", until: "08:00"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dragoman.domain.condition_form import Vocabulary, read_condition, read_operand
from dragoman.domain.definitions import NAME, DefinitionError, DefinitionProblem, Form, shown
from dragoman.domain.flows import Operand, VariableType
from dragoman.domain.outcomes import Outcome
from dragoman.domain.triggers import (
    FACTS,
    OF_SESSIONS,
    QuietHours,
    RecipientKind,
    Trigger,
    TriggerChannel,
    TriggerEvent,
    TriggerRecipient,
    variables_of,
)

MOST_RECIPIENTS = 20
MOST_PAYLOAD = 50
MOST_MINUTES = 60 * 24 * 90
LONGEST_ADDRESS = 254
LONGEST_URL = 2000

_KEYS = ("name", "label", "when", "if", "to", "send", "delay_minutes", "once_per_minutes", "quiet_hours")
_WHEN: Mapping[TriggerEvent, tuple[str, ...]] = {
    TriggerEvent.OUTCOME: ("outcomes",),
    TriggerEvent.HANDOFF_WAITING: ("minutes",),
    TriggerEvent.REQUEST: ("payload",),
    TriggerEvent.SCHEDULE: ("cron",),
}
_SEND: Mapping[TriggerChannel, tuple[str, ...]] = {
    TriggerChannel.EMAIL: ("template", "from", "values"),
    TriggerChannel.WHATSAPP: ("template", "language", "from", "values"),
    TriggerChannel.WEBHOOK: ("url", "values"),
}
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
# A parameter of a WhatsApp template stands under its key: body.1, header.name, button.0.
_VALUE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}|(header|body|button)\.[A-Za-z0-9_]{1,100}")
_PLAIN_NAMES = frozenset({RecipientKind.CONTACT, RecipientKind.BUSINESS_PARTNER, RecipientKind.AGENT})


def trigger_from_json(value: object) -> Trigger:
    """Read a trigger. Raises DefinitionError, with every fault and its path."""
    problems: list[DefinitionProblem] = []
    form = Form(value, (), problems, what="a trigger", keys=_KEYS)
    name = form.text("name", hint="a name in small letters, such as skill_error_mail", shape=NAME)
    label = form.text("label", hint="what the trigger is called on pages")
    fields = _read_when(form, problems)
    vocabulary = Vocabulary(variables=variables_of(fields["payload"]), steps=frozenset())
    condition = None
    if "if" in form:
        condition = read_condition(form.raw("if"), ("if",), problems, vocabulary)
    sending = _read_send(form, problems, vocabulary)
    if sending["channel"] is TriggerChannel.WEBHOOK:
        recipients: tuple[TriggerRecipient, ...] = ()
        for key in ("to", "quiet_hours"):
            if key in form:
                form.fault("a webhook goes to its url, at any hour", key)
    else:
        recipients = _read_recipients(form, problems, fields["event"], fields["payload"])
    delay = form.whole_number("delay_minutes", default=0, low=0, high=MOST_MINUTES)
    once_per = form.whole_number("once_per_minutes", default=0, low=0, high=MOST_MINUTES)
    quiet_hours = _read_quiet_hours(form, problems)
    if problems:
        raise DefinitionError(problems)
    return Trigger(
        name=name, label=label, condition=condition, recipients=recipients, delay=timedelta(minutes=delay),
        once_per=timedelta(minutes=once_per), quiet_hours=quiet_hours, **fields, **sending,
    )  # fmt: skip


def _read_when(form: Form, problems: list[DefinitionProblem]) -> dict[str, Any]:
    given = form.raw("when")
    event = TriggerEvent.RESOLVED
    if isinstance(given, Mapping) and given.get("event") in set(TriggerEvent):
        event = TriggerEvent(given["event"])
    when = Form(given, ("when",), problems, what="when", keys=("event", "zone", *_WHEN.get(event, ())))
    when.one_of("event", [str(each) for each in TriggerEvent])
    outcomes = []
    if event is TriggerEvent.OUTCOME:
        for item, path in when.items("outcomes", hint="a list of outcomes", most=len(Outcome)):
            if item in set(Outcome):
                outcomes.append(Outcome(item))
            else:
                problems.append(DefinitionProblem(path, f"{shown(item)} is no outcome; {', '.join(Outcome)}"))
    minutes = 0
    if event is TriggerEvent.HANDOFF_WAITING:
        if "minutes" not in when:
            when.missing("minutes", "how long somebody has waited")
        minutes = when.whole_number("minutes", default=1, low=1, high=MOST_MINUTES)
    cron = when.text("cron", hint="five fields, such as 0 8 * * 1-5") if event is TriggerEvent.SCHEDULE else ""
    return {
        "event": event,
        "outcomes": tuple(outcomes),
        "minutes": minutes,
        "cron": cron,
        "zone": _read_zone(when),
        "payload": _read_payload(when, problems) if event is TriggerEvent.REQUEST else {},
    }


def _read_zone(form: Form) -> str:
    zone = form.text("zone", hint="a time zone, such as Europe/Vienna", required=False) or "UTC"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        form.fault(f"{zone!r} is no time zone; write Europe/Vienna or UTC", "zone")
        return "UTC"
    return zone


def _read_payload(form: Form, problems: list[DefinitionProblem]) -> dict[str, VariableType]:
    found: dict[str, VariableType] = {}
    types = [str(each) for each in VariableType if each is not VariableType.CHOICE]
    entries = form.mapping("payload", hint="types by name, such as {order: text}", required=False)
    if len(entries) > MOST_PAYLOAD:
        form.fault(f"payload has {len(entries)} fields; at most {MOST_PAYLOAD} are allowed", "payload")
    for name, type_ in entries[:MOST_PAYLOAD]:
        path = (*form.path, "payload", name)
        if not NAME.fullmatch(name):
            problems.append(DefinitionProblem(path, f"{name!r} is a name in small letters, digits and underscores"))
        elif name in FACTS:
            problems.append(DefinitionProblem(path, f"{name} is known already; choose another name"))
        elif type_ not in types:
            problems.append(DefinitionProblem(path, f"the type of {name} is one of {', '.join(types)}"))
        else:
            found[name] = VariableType(type_)
    return found


def _read_send(form: Form, problems: list[DefinitionProblem], vocabulary: Vocabulary) -> dict[str, Any]:
    given = form.raw("send")
    channel = TriggerChannel.EMAIL
    if isinstance(given, Mapping) and given.get("channel") in set(TriggerChannel):
        channel = TriggerChannel(given["channel"])
    send = Form(given, ("send",), problems, what="send", keys=("channel", *_SEND[channel]))
    send.one_of("channel", [str(each) for each in TriggerChannel])
    values: dict[str, Operand] = {}
    hint = "values by name, such as {order: {variable: order}}"
    for name, value in send.mapping("values", hint=hint, required=False):
        path = ("send", "values", name)
        if not _VALUE_NAME.fullmatch(name):
            problems.append(DefinitionProblem(path, f"{name!r} is no name of a variable; a template shows its own"))
        elif (operand := read_operand(value, path, problems, vocabulary)) is not None:
            values[name] = operand
    if channel is TriggerChannel.WEBHOOK:
        return {"channel": channel, "url": _read_url(send), "values": values}
    is_whatsapp = channel is TriggerChannel.WHATSAPP
    return {
        "channel": channel,
        "template": send.text("template", hint="the name of a template"),
        "language": send.text("language", hint="such as en or pt_BR", limit=20) if is_whatsapp else "",
        "sender": send.text("from", hint="a mailbox or number", required=False, limit=LONGEST_ADDRESS),
        "values": values,
    }


def _read_url(send: Form) -> str:
    url = send.text("url", hint="an address that begins with https://", limit=LONGEST_URL)
    if url and not url.startswith(("https://", "http://")):
        send.fault("url begins with https://, or with http:// for a host that the operator has listed", "url")
    return url


def _read_recipients(
    form: Form,
    problems: list[DefinitionProblem],
    event: TriggerEvent,
    payload: Mapping[str, VariableType],
) -> tuple[TriggerRecipient, ...]:
    found = []
    for item, path in form.items("to", hint="a list of recipients", most=MOST_RECIPIENTS):
        recipient = _read_recipient(item)
        fault = "" if recipient else "a recipient is contact, business_partner, agent, {address: …} or {payload: …}"
        if recipient and recipient.kind in _PLAIN_NAMES and event not in OF_SESSIONS | {TriggerEvent.REQUEST}:
            fault = f"there is no {recipient.kind.replace('_', ' ')} where a trigger fires on {event}"
        elif recipient and recipient.kind is RecipientKind.PAYLOAD and recipient.value not in payload:
            fault = f"the payload has no field {recipient.value}"
        if fault or recipient is None:
            problems.append(DefinitionProblem(path, fault))
        else:
            found.append(recipient)
    return tuple(dict.fromkeys(found))


def _read_recipient(item: object) -> TriggerRecipient | None:
    if isinstance(item, str) and item in _PLAIN_NAMES:
        return TriggerRecipient(kind=RecipientKind(item))
    if isinstance(item, Mapping) and len(item) == 1:
        ((kind, value),) = item.items()
        if kind in ("address", "payload") and isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_ADDRESS:
            return TriggerRecipient(kind=RecipientKind(kind), value=value.strip())
    return None


def _read_quiet_hours(form: Form, problems: list[DefinitionProblem]) -> QuietHours | None:
    if "quiet_hours" not in form:
        return None
    quiet = Form(form.raw("quiet_hours"), ("quiet_hours",), problems, what="quiet_hours", keys=("from", "until"))
    begin, end = (quiet.text(key, hint="a time such as 21:00", shape=_CLOCK) for key in ("from", "until"))
    if not begin or not end:
        return None
    if begin == end:
        quiet.fault("quiet hours have a beginning and another end", "until")
        return None
    return QuietHours(begin=time.fromisoformat(begin), end=time.fromisoformat(end))
