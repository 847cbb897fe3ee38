"""Writes sessions and skill specs as JSON and reads them back, for the store, the scenario driver and manifests.

The forms hold plain JSON values only: ids and times as text, enumerations under their own names. Reading is
strict: a missing or unknown field raises KeyError or TypeError.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.handoff import Handoff
from dragoman.domain.nouns import (
    Awaiting,
    AwaitingKind,
    FlowPosition,
    HttpTarget,
    Level,
    Parameter,
    ParameterKind,
    Phrase,
    Session,
    SkillSpec,
)
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State


def awaiting_to_json(awaiting: Awaiting) -> dict[str, Any]:
    """Write an open question as JSON."""
    return {**_fields(awaiting), "collected": dict(awaiting.collected)}


def awaiting_from_json(value: dict[str, Any]) -> Awaiting:
    """The open question that :func:`awaiting_to_json` wrote."""
    return Awaiting(**{**value, "kind": AwaitingKind(value["kind"])})


def position_to_json(position: FlowPosition) -> dict[str, Any]:
    """The JSON form of where a session stands in its flow."""
    return {**_fields(position), "variables": dict(position.variables)}


def position_from_json(value: dict[str, Any]) -> FlowPosition:
    """The position that :func:`position_to_json` wrote."""
    return FlowPosition(**value)


def session_to_json(session: Session) -> dict[str, Any]:
    """The JSON form of a session; outside of a flow it has no field ``flow``, without notices no ``told``."""
    value = _fields(session)
    for name in ("session_id", "thread_id", "contact_id"):
        value[name] = str(value[name])
    for name in ("started_at", "last_activity_at", "resolved_at"):
        value[name] = value[name] and value[name].isoformat()
    value["awaiting"] = session.awaiting and awaiting_to_json(session.awaiting)
    flow = value.pop("flow")
    if flow is not None:
        value["flow"] = position_to_json(flow)
    human = value.pop("handoff")
    if human is not None:
        value["handoff"] = handoff_to_json(human)
    notified = value.pop("notified")
    if notified:
        value["told"] = list(notified)
    return value


def session_from_json(value: dict[str, Any]) -> Session:
    """The session that :func:`session_to_json` wrote."""
    fields = dict(value)
    for name in ("session_id", "thread_id", "contact_id"):
        fields[name] = UUID(fields[name])
    for name in ("started_at", "last_activity_at", "resolved_at"):
        fields[name] = fields[name] and datetime.fromisoformat(fields[name])
    fields["state"] = State(fields["state"])
    fields["outcome"] = Outcome(fields["outcome"])
    fields["awaiting"] = fields["awaiting"] and awaiting_from_json(fields["awaiting"])
    fields["flow"] = position_from_json(fields["flow"]) if "flow" in fields else None
    fields["handoff"] = handoff_from_json(fields["handoff"]) if "handoff" in fields else None
    fields["notified"] = tuple(fields.pop("told", ()))
    return Session(**fields)


def handoff_to_json(handoff: Handoff) -> dict[str, Any]:
    """The human part of a session, with its times in ISO form; what is not known is left out."""
    values = {field.name: getattr(handoff, field.name) for field in dataclasses.fields(handoff)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, UUID) else value
        for name, value in values.items()
        if value is not None
    }


def handoff_from_json(value: Mapping[str, Any]) -> Handoff:
    """The human part that :func:`handoff_to_json` wrote, or a row of its table as JSON."""
    fields = {field.name: value[field.name] for field in dataclasses.fields(Handoff) if field.name in value}
    for name, written in list(fields.items()):
        if name.endswith(("_at", "_since")) and written is not None:
            fields[name] = datetime.fromisoformat(written)
    if fields.get("owner_id") is not None:
        fields["owner_id"] = UUID(fields["owner_id"])
    return Handoff(**fields)


def spec_to_json(spec: SkillSpec) -> dict[str, Any]:
    """The JSON form of a skill's spec, as the ``skill`` table keeps it."""
    return {
        **_fields(spec),
        "minimum_level": spec.minimum_level.name,
        "keywords": list(spec.keywords),
        "phrases": [_fields(phrase) for phrase in spec.phrases],
        "parameters": [
            {
                **_fields(parameter),
                "choices": list(parameter.choices),
                "prompts": dict(parameter.prompts),
                "titles": {choice: dict(titles) for choice, titles in parameter.titles.items()},
            }
            for parameter in spec.parameters
        ],
        "http": spec.http and _fields(spec.http),
    }


def spec_from_json(value: dict[str, Any]) -> SkillSpec:
    """The spec that :func:`spec_to_json` wrote; fields with a default may be left out."""
    fields = dict(value)
    if "minimum_level" in fields:
        fields["minimum_level"] = Level[fields["minimum_level"]]
    fields["keywords"] = tuple(fields.get("keywords", ()))
    fields["phrases"] = tuple(Phrase(**phrase) for phrase in fields.get("phrases", ()))
    fields["parameters"] = tuple(_parameter(parameter) for parameter in fields.get("parameters", ()))
    fields["http"] = HttpTarget(**fields["http"]) if fields.get("http") else None
    return SkillSpec(**fields)


def _parameter(value: dict[str, Any]) -> Parameter:
    return Parameter(**{**value, "kind": ParameterKind(value["kind"]), "choices": tuple(value.get("choices", ()))})


def _fields(value: Session | Awaiting | FlowPosition | SkillSpec | Parameter | Phrase | HttpTarget) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
