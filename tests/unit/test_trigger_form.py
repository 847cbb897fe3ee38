"""The definitions of triggers: what is read, what is refused and why, and that nothing is lost on the way back."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.outcomes import Outcome
from dragoman.domain.trigger_form import trigger_from_json
from dragoman.domain.triggers import QuietHours, RecipientKind, TriggerRecipient, trigger_to_json
from dragoman.services.automation.manage_triggers import read_trigger

WHOLE: dict[str, Any] = {
    "name": "skill_error_mail",
    "label": "Tell the shop about skill errors",
    "when": {"event": "outcome", "outcomes": ["SKILL_ERROR"], "zone": "Europe/Vienna"},
    "if": {"and": [{"variable": "channel", "eq": "whatsapp"}, {"variable": "message_count", "ge": 2}]},
    "to": ["contact", "agent", {"address": "ops@shop.example"}],
    "send": {
        "channel": "email",
        "template": "skill_error",
        "from": "help@shop.example",
        "values": {"who": {"variable": "contact_name"}, "tone": "calm"},
    },
    "delay_minutes": 5,
    "once_per_minutes": 60,
    "quiet_hours": {"from": "21:00", "until": "08:00"},
}
REQUEST: dict[str, Any] = {
    "name": "parcel_sent",
    "label": "Parcel sent",
    "when": {"event": "request", "payload": {"email": "email", "order": "text"}},
    "to": [{"payload": "email"}],
    "send": {
        "channel": "whatsapp",
        "template": "parcel",
        "language": "en",
        "values": {"body.1": {"variable": "order"}},
    },
}


@pytest.mark.parametrize("document", [WHOLE, REQUEST])
def test_a_definition_comes_back_as_it_was(document: dict[str, Any]) -> None:
    assert trigger_to_json(trigger_from_json(document)) == document


def test_what_is_read() -> None:
    trigger = trigger_from_json(WHOLE)
    assert trigger.outcomes == (Outcome.SKILL_ERROR,)
    assert trigger.recipients[-1] == TriggerRecipient(kind=RecipientKind.ADDRESS, value="ops@shop.example")
    assert trigger.quiet_hours == QuietHours(begin=time(21), end=time(8))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": "Not a name"}, "name: name is a name in small letters"),
        ({"when": {"event": "sunrise"}}, "when.event: event is one of"),
        ({"when": {"event": "outcome"}}, "when: when needs outcomes"),
        ({"when": {"event": "outcome", "outcomes": ["FINE"]}}, "when.outcomes.0: 'FINE' is no outcome"),
        ({"when": {"event": "handoff_waiting"}}, "when: when needs minutes"),
        (
            {"when": {"event": "schedule", "cron": "every day"}, "to": [{"address": "a@b.example"}]},
            "when.cron: cron is five fields",
        ),
        (
            {"when": {"event": "schedule", "cron": "0 8 * * *"}},
            "to.0: there is no contact where a trigger fires on sch",
        ),
        ({"when": {"event": "expired", "zone": "Mars/Olympus"}}, "when.zone: 'Mars/Olympus' is no time zone"),
        ({"if": {"variable": "weather", "eq": "fine"}}, "if.variable: there is no variable weather"),
        ({"if": {"variable": "message_count", "eq": "two"}}, "if.eq: the value is a number"),
        ({"to": []}, "to: to is a list of recipients, not an empty list"),
        ({"to": ["everybody"]}, "to.0: a recipient is contact"),
        ({"to": [{"payload": "email"}]}, "to.0: the payload has no field email"),
        ({"send": {"channel": "pigeon", "template": "x"}}, "send.channel: channel is one of"),
        ({"send": {"channel": "email"}}, "send: send needs template"),
        ({"send": {"channel": "whatsapp", "template": "x"}}, "send: send needs language"),
        ({"send": {"channel": "email", "template": "x", "values": {"a": {"variable": "b"}}}}, "no variable b"),
        ({"delay_minutes": -1}, "delay_minutes: delay_minutes is a whole number"),
        ({"quiet_hours": {"from": "25:00", "until": "08:00"}}, "quiet_hours.from: from is a time"),
        ({"quiet_hours": {"from": "08:00", "until": "08:00"}}, "quiet_hours.until"),
        ({"sent": True}, "sent: a trigger has no key 'sent'; did you mean send?"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(DefinitionError) as found:
        read_trigger({**WHOLE, **change})
    assert fault in str(found.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*WHOLE, "x"]), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(WHOLE)), json_values)
def test_any_document_is_read_or_refused(key: str, value: Any) -> None:
    try:
        read = read_trigger({**WHOLE, key: value})
    except DefinitionError:
        return
    assert trigger_from_json(trigger_to_json(read)) == read


@pytest.mark.parametrize(
    ("due", "goes"),
    [("20:59", "20:59"), ("21:00", "+1 08:00"), ("23:30", "+1 08:00"), ("03:00", "08:00"), ("08:00", "08:00")],
)
def test_quiet_hours_over_night_are_by_the_recipients_clock(due: str, goes: str) -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    hour, minute = map(int, due.split(":"))
    at = datetime(2026, 3, 10, hour, minute, tzinfo=zone)
    moved = QuietHours(begin=time(21), end=time(8)).first_moment(at.astimezone(UTC), zone).astimezone(zone)
    days = (moved.date() - at.date()).days
    assert f"{'+1 ' if days else ''}{moved:%H:%M}" == goes


def test_quiet_hours_within_a_day() -> None:
    quiet = QuietHours(begin=time(12), end=time(14))
    noon = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    assert quiet.first_moment(noon, ZoneInfo("UTC")) == datetime(2026, 3, 10, 14, tzinfo=UTC)
    evening = datetime(2026, 3, 10, 15, tzinfo=UTC)
    assert quiet.first_moment(evening, ZoneInfo("UTC")) == evening
