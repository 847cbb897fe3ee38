"""A trigger as the fields of a form, which are all text: from its definition, to it, and its faults at their fields.

A condition of one comparison, or of several joined by ``and``, stands in rows. A richer one stands as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import FormData

from dragoman.domain.definitions import DefinitionProblem, Path
from dragoman.domain.flows import Combined, Comparison, Condition, IsSet, Of, VariableType, condition_to_json
from dragoman.domain.triggers import FACTS, RecipientKind, Trigger, TriggerChannel, TriggerEvent
from dragoman.services.catalogue.import_definitions import dump_definition
from dragoman.skills.yaml_with_lines import UnreadableError, read_document
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web.console.page import said

OPERATORS = {
    "eq": deferred("is"),
    "ne": deferred("is not"),
    "contains": deferred("contains"),
    "in": deferred("is one of (comma-separated)"),
    "lt": deferred("is less than"),
    "le": deferred("is at most"),
    "gt": deferred("is more than"),
    "ge": deferred("is at least"),
    "known": deferred("is known"),
    "unknown": deferred("is not known"),
}
"""What a row compares by, in words; the last two are ``is_set``, true and false."""

PAYLOAD_TYPES: Mapping[str, str] = {
    VariableType.TEXT: deferred("text"),
    VariableType.NUMBER: deferred("number"),
    VariableType.DATE: deferred("date"),
    VariableType.BOOLEAN: deferred("boolean"),
    VariableType.EMAIL: deferred("email"),
    VariableType.PHONE: deferred("phone"),
    VariableType.BUSINESS_PARTNER_ID: deferred("business partner ID"),
}
"""What a field of a request may hold, in words; a choice needs more than a form can say."""

MOST_ROWS = 30
LONGEST_FIELD = 2000
LONGEST_YAML = 50_000

_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One comparison of a condition; an empty ``fact`` is a row that nobody has filled in."""

    fact: str = ""
    operator: str = "eq"
    value: str = ""


@dataclass(frozen=True, slots=True)
class PayloadRow:
    """One field that a request brings; ``is_recipient`` where the message goes to what stands in it."""

    name: str = ""
    type: str = "text"
    is_recipient: bool = False


@dataclass(frozen=True, slots=True)
class ValueChoice:
    """What a variable of the template gets: empty for the fact of its name, ``fact:NAME``, or ``text`` as it stands."""

    source: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerFields:
    """What stands in the form. ``condition_yaml`` is None where the condition stands in rows.

    ``data`` are the facts that a webhook brings under their own names; other values of it stand in ``values``.
    """

    name: str = ""
    label: str = ""
    event: str = TriggerEvent.OUTCOME
    outcomes: tuple[str, ...] = ()
    minutes: str = "10"
    cron: str = "0 8 * * 1-5"
    zone: str = "UTC"
    payload: tuple[PayloadRow, ...] = ()
    conditions: tuple[ConditionRow, ...] = ()
    condition_yaml: str | None = None
    kinds: frozenset[str] = frozenset()
    addresses: str = ""
    channel: str = TriggerChannel.EMAIL
    email_template: str = ""
    whatsapp_template: str = ""
    email_sender: str = ""
    whatsapp_sender: str = ""
    url: str = ""
    data: frozenset[str] = frozenset()
    values: Mapping[str, ValueChoice] = field(default_factory=dict)
    delay_minutes: str = ""
    once_per_minutes: str = ""
    quiet_from: str = ""
    quiet_until: str = ""

    @property
    def facts(self) -> list[str]:
        """The names that a condition and a value may use: the facts, and what a request brings."""
        brought = [row.name for row in self.payload if row.name] if self.event == TriggerEvent.REQUEST else []
        return [*FACTS, *(name for name in brought if name not in FACTS)]

    def with_room(self) -> TriggerFields:
        """The same with an empty row more where rows can be filled in."""
        return replace(
            self, payload=(*_filled(self.payload), PayloadRow()), conditions=(*_filled(self.conditions), ConditionRow())
        )


def _filled(rows: Sequence[Any]) -> tuple[Any, ...]:
    kept = tuple(row for row in rows if row not in (ConditionRow(), PayloadRow()))
    return kept[: MOST_ROWS - 1]


# From a trigger.


def fields_of(trigger: Trigger) -> TriggerFields:
    """Fill the form in with *trigger*."""
    rows = None if trigger.condition is None else rows_of(trigger.condition)
    yaml = None
    if trigger.condition is not None and rows is None:
        yaml = dump_definition(condition_to_json(trigger.condition))
    to_fields = {one.value for one in trigger.recipients if one.kind is RecipientKind.PAYLOAD}
    is_mail, is_whatsapp = trigger.channel is TriggerChannel.EMAIL, trigger.channel is TriggerChannel.WHATSAPP
    data = _own_names(trigger) if trigger.channel is TriggerChannel.WEBHOOK else frozenset()
    begin = TriggerFields()
    return TriggerFields(
        name=trigger.name,
        label=trigger.label,
        event=trigger.event,
        outcomes=tuple(map(str, trigger.outcomes)),
        minutes=str(trigger.minutes or begin.minutes),
        cron=trigger.cron or begin.cron,
        zone=trigger.zone,
        payload=tuple(PayloadRow(name, str(type_), name in to_fields) for name, type_ in trigger.payload.items()),
        conditions=tuple(rows or ()),
        condition_yaml=yaml,
        kinds=frozenset(str(one.kind) for one in trigger.recipients if not one.value),
        addresses="\n".join(one.value for one in trigger.recipients if one.kind is RecipientKind.ADDRESS),
        channel=trigger.channel,
        email_template=trigger.template if is_mail else "",
        whatsapp_template=f"{trigger.template}|{trigger.language}" if is_whatsapp else "",
        email_sender=trigger.sender if is_mail else "",
        whatsapp_sender=trigger.sender if is_whatsapp else "",
        url=trigger.url,
        data=data,
        values={
            name: ValueChoice(f"fact:{given.variable}") if isinstance(given, Of) else ValueChoice("text", _text(given))
            for name, given in trigger.values.items()
            if name not in data
        },
        delay_minutes=_minutes(trigger.delay.total_seconds()),
        once_per_minutes=_minutes(trigger.once_per.total_seconds()),
        quiet_from=f"{trigger.quiet_hours.begin:%H:%M}" if trigger.quiet_hours else "",
        quiet_until=f"{trigger.quiet_hours.end:%H:%M}" if trigger.quiet_hours else "",
    )


def _own_names(trigger: Trigger) -> frozenset[str]:
    return frozenset(name for name, given in trigger.values.items() if isinstance(given, Of) and given.variable == name)


def _minutes(seconds: float) -> str:
    return str(int(seconds // 60)) if seconds else ""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows_of(condition: Condition) -> list[ConditionRow] | None:
    """The condition as rows that are joined by ``and``; None where it is richer than that."""
    parts = (condition,)
    if isinstance(condition, Combined):
        if condition.operator != "and":
            return None
        parts = condition.conditions  # type: ignore[assignment]
    rows = [_row_of(part) for part in parts]
    whole = [row for row in rows if row is not None]
    return whole if len(whole) == len(parts) < MOST_ROWS else None


def _row_of(part: Condition) -> ConditionRow | None:
    match part:
        case IsSet(variable=variable, wanted=wanted):
            row = ConditionRow(variable, "known" if wanted else "unknown")
        case Comparison(variable=variable, operator="in", operand=tuple(items)):
            row = ConditionRow(variable, "in", ", ".join(map(_text, items)))
        case Comparison(variable=variable, operator=operator, operand=operand) if not isinstance(operand, Of | tuple):
            row = ConditionRow(variable, operator, _text(operand))
        case _:
            return None
    # What a row cannot say, such as a value with a comma in it, is left as it is written.
    return row if _comparison(row, dict.fromkeys((row.fact,), _type_of(part))) == condition_to_json(part) else None


def _type_of(part: Condition) -> VariableType:
    operand = part.operand if isinstance(part, Comparison) else None
    sample = operand[0] if isinstance(operand, tuple) and operand else operand
    if isinstance(sample, bool):
        return VariableType.BOOLEAN
    return VariableType.NUMBER if isinstance(sample, int | float) else VariableType.TEXT


# From the form that was sent.


def read_fields(form: FormData) -> TriggerFields:
    """Take the fields from what a browser sent."""

    def given(name: str, limit: int = LONGEST_FIELD) -> str:
        return _clean(form.get(name, ""))[:limit].strip()

    rows = range(MOST_ROWS)
    return TriggerFields(
        name=given("name"),
        label=given("label"),
        event=given("event"),
        outcomes=tuple(_clean(one)[:100] for one in form.getlist("outcomes")),
        minutes=given("minutes"),
        cron=given("cron"),
        zone=given("zone"),
        payload=_filled(
            [
                PayloadRow(given(f"payload.{n}"), given(f"payload_type.{n}") or "text", bool(given(f"payload_to.{n}")))
                for n in rows
            ]
        ),
        conditions=_filled(
            [ConditionRow(given(f"fact.{n}"), given(f"operator.{n}") or "eq", given(f"value.{n}")) for n in rows]
        ),
        condition_yaml=given("condition_yaml", LONGEST_YAML) if "condition_yaml" in form else None,
        kinds=frozenset(_clean(one)[:100] for one in form.getlist("to")),
        addresses=given("addresses", 10_000).replace("\r\n", "\n"),
        channel=given("channel"),
        email_template=given("email_template"),
        whatsapp_template=given("whatsapp_template"),
        email_sender=given("email_sender"),
        whatsapp_sender=given("whatsapp_sender"),
        url=given("url"),
        data=frozenset(_clean(one)[:100] for one in form.getlist("data")),
        values={
            name.removeprefix("from."): ValueChoice(_clean(held)[:200], given(f"text.{name.removeprefix('from.')}"))
            for name, held in form.multi_items()
            if name.startswith("from.")
        },
        delay_minutes=given("delay_minutes"),
        once_per_minutes=given("once_per_minutes"),
        quiet_from=given("quiet_from"),
        quiet_until=given("quiet_until"),
    )


def _clean(value: object) -> str:
    return value.replace("\0", "") if isinstance(value, str) else ""


# To a definition.


def definition_of_fields(fields: TriggerFields) -> tuple[dict[str, Any], dict[str, str]]:
    """The definition that the form stands for, and what could not be read of it, by field."""
    faults: dict[str, str] = {}
    document: dict[str, Any] = {"name": fields.name or name_for(fields.label), "label": fields.label or None}
    document["when"] = _when(fields)
    condition = _condition(fields, faults)
    if condition is not None:
        document["if"] = condition
    is_webhook = fields.channel == TriggerChannel.WEBHOOK
    if not is_webhook:
        document["to"] = _recipients(fields)
    document["send"] = _send(fields)
    for name in ("delay_minutes", "once_per_minutes"):
        if (text := getattr(fields, name)) not in ("", "0"):
            document[name] = _whole(text)
    if (fields.quiet_from or fields.quiet_until) and not is_webhook:
        document["quiet_hours"] = {"from": fields.quiet_from or None, "until": fields.quiet_until or None}
    return document, faults


def keep_order(document: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Leave outcomes and recipients of *document* in the order of *before*, where they are the same otherwise."""
    pairs = (
        (document["when"], before["when"], "outcomes"),
        (document, before, "to"),
    )
    for new, old, name in pairs:
        now, was = new.get(name), old.get(name)
        if now and was and sorted(map(repr, now)) == sorted(map(repr, was)):
            new[name] = list(was)


def name_for(label: str) -> str | None:
    """A name made of the label; None where none can be made."""
    signs = "".join(sign if sign in _IN_NAMES else " " for sign in label.lower())
    name = "_".join(signs.split())[:60].strip("_")
    return (name if name[0].isalpha() else f"t_{name}") if name else None


def _whole(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


def _when(fields: TriggerFields) -> dict[str, Any]:
    when: dict[str, Any] = {"event": fields.event}
    match fields.event:
        case TriggerEvent.OUTCOME:
            when["outcomes"] = list(fields.outcomes) or None
        case TriggerEvent.HANDOFF_WAITING:
            when["minutes"] = _whole(fields.minutes) if fields.minutes else None
        case TriggerEvent.SCHEDULE:
            when["cron"] = fields.cron or None
        case TriggerEvent.REQUEST:
            when |= {"payload": payload} if (payload := _payload(fields)) else {}
    if fields.zone:
        when["zone"] = fields.zone
    return when


def _payload(fields: TriggerFields) -> dict[str, str]:
    return {row.name: row.type for row in fields.payload if row.name}


def _recipients(fields: TriggerFields) -> list[Any] | None:
    kinds = [str(kind) for kind in (RecipientKind.CONTACT, RecipientKind.BUSINESS_PARTNER, RecipientKind.AGENT)]
    found: list[Any] = [kind for kind in kinds if kind in fields.kinds]
    found += [{"address": line.strip()} for line in fields.addresses.splitlines() if line.strip()]
    if fields.event == TriggerEvent.REQUEST:
        found += [{"payload": row.name} for row in fields.payload if row.name and row.is_recipient]
    return found or None


def _send(fields: TriggerFields) -> dict[str, Any]:
    send: dict[str, Any] = {"channel": fields.channel}
    if fields.channel == TriggerChannel.WHATSAPP:
        name, __, language = fields.whatsapp_template.partition("|")
        send |= {"template": name or None, "language": language or None, "from": fields.whatsapp_sender or None}
    elif fields.channel == TriggerChannel.WEBHOOK:
        send["url"] = fields.url or None
    else:
        send |= {"template": fields.email_template or None, "from": fields.email_sender or None}
    values: dict[str, Any] = {}
    if fields.channel == TriggerChannel.WEBHOOK:
        values |= {name: {"variable": name} for name in fields.facts if name in fields.data}
    for name, choice in fields.values.items():
        if choice.source == "text":
            values[name] = choice.text
        elif choice.source.startswith("fact:"):
            values[name] = {"variable": choice.source.removeprefix("fact:")}
    return {name: given for name, given in {**send, "values": values or None}.items() if given is not None}


def _condition(fields: TriggerFields, faults: dict[str, str]) -> Any:
    if fields.condition_yaml is not None:
        if not fields.condition_yaml:
            return None
        try:
            return read_document(fields.condition_yaml).value
        except UnreadableError as error:
            faults["condition"] = _("Line %(number)s: %(fault)s.", number=error.line, fault=said(error))
            return None
    types = {**FACTS, **{row.name: VariableType(row.type) for row in fields.payload if row.type in PAYLOAD_TYPES}}
    rows = [_comparison(row, types) for row in fields.conditions if row.fact]
    if not rows:
        return None
    return rows[0] if len(rows) == 1 else {"and": rows}


def _comparison(row: ConditionRow, types: Mapping[str, VariableType]) -> dict[str, Any]:
    if row.operator in ("known", "unknown"):
        return {"variable": row.fact, "is_set": row.operator == "known"}
    type_ = types.get(row.fact, VariableType.TEXT)
    if row.operator == "in":
        return {"variable": row.fact, "in": [_literal(one.strip(), type_) for one in row.value.split(",")]}
    return {"variable": row.fact, row.operator: _literal(row.value, type_)}


def _literal(text: str, type_: VariableType) -> Any:
    if type_ is VariableType.NUMBER and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if type_ is VariableType.BOOLEAN:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    return text


# Faults.


def faults_by_field(problems: Sequence[DefinitionProblem], fields: TriggerFields) -> dict[str, str]:
    """What is wrong, at the field of the form that it is about; the first where there are several."""
    found: dict[str, str] = {}
    for problem in problems:
        path, text = problem.path, translated(problem.text)
        # "when needs minutes: how long …" stands at what misses it, not at what is missing.
        key, colon, hint = problem.text.partition(" needs ")[2].partition(": ")
        if colon and key.isidentifier():
            path, text = (*path, key), _("Required: %(hint)s", hint=hint)
        found.setdefault(_field_at(path, fields), f"{text[:1].upper()}{text[1:]}.")
    return found


_FIELDS: Mapping[Path, str] = {
    ("name",): "name",
    ("label",): "label",
    ("when", "event"): "event",
    ("when", "outcomes"): "outcomes",
    ("when", "minutes"): "minutes",
    ("when", "cron"): "cron",
    ("when", "zone"): "zone",
    ("when", "payload"): "payload",
    ("to",): "to",
    ("send", "channel"): "channel",
    ("send", "url"): "url",
    ("send", "template"): "template",
    ("send", "language"): "template",
    ("send", "from"): "sender",
    ("delay_minutes",): "delay_minutes",
    ("once_per_minutes",): "once_per_minutes",
    ("quiet_hours",): "quiet_hours",
}


def _field_at(path: Path, fields: TriggerFields) -> str:
    if path[:2] == ("send", "values") and len(path) > 2:
        return f"from.{path[2]}"
    if path[:1] == ("if",):
        return _condition_field(path, fields)
    for begin, name in _FIELDS.items():
        if path[: len(begin)] == begin:
            return name
    return ""


def _condition_field(path: Path, fields: TriggerFields) -> str:
    if fields.condition_yaml is not None:
        return "condition"
    filled = [number for number, row in enumerate(fields.conditions) if row.fact]
    which = path[2] if path[1:2] == ("and",) and len(path) > 2 else 0
    return f"fact.{filled[which]}" if isinstance(which, int) and which < len(filled) else "condition"
