"""The JSON API as the contract has it, and that nothing a client sends is a 500."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from dragoman.domain.content import Text, to_json
from dragoman.runtime import Runtime
from dragoman.store import tenants

from .tenant_fixture import TenantFixture, bearer

NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
async def reader(tenant: TenantFixture) -> dict[str, str]:
    """The header of a script that may read."""
    return bearer(await tenant.token("auditor"))


async def get(client: httpx.AsyncClient, path: str, reader: dict[str, str], **parameters: Any) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/conversations{path}", params=parameters, headers=reader)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_item_is_what_the_contract_says(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    partner = uuid4()
    session_id = await tenant.session(
        state="AWAITING_USER",
        outcome="NONE",
        intent="invoices",
        skill="finance.invoices",
        business_partner_id=partner,
        business_partner_name="Kübel & Söhne",
        last_user_message="Wo ist meine Rechnung?",
        message_count=3,
        last_activity_at=NOON,
    )
    page = await get(client, "", reader)
    assert page["next_cursor"] is None
    (item,) = page["items"]
    assert list(item) == [
        "session_id", "thread_id", "contact", "channel", "state", "outcome", "intent", "skill",
        "last_user_message", "last_user_message_deleted_after_days", "message_count", "started_at",
        "last_activity_at", "resolved_at", "match", "late_message",
    ]  # fmt: skip
    assert item["session_id"] == str(session_id)
    assert item["contact"] == {
        "id": item["contact"]["id"],
        "phone": "+436601234567",
        "name": "Ada",
        "username": None,
        "user_id": None,
        "business_partner": {"id": str(partner), "name": "Kübel & Söhne"},
    }
    assert (item["state"], item["outcome"], item["channel"]) == ("AWAITING_USER", "NONE", "whatsapp")
    assert item["last_activity_at"] == NOON.isoformat().replace("+00:00", "Z")
    assert RFC_3339_UTC.fullmatch(item["started_at"])
    assert item["resolved_at"] is None

    assert (item.pop("match"), item.pop("late_message")) == (None, None)  # nothing was searched for, no time asked for

    summary = await get(client, f"/{session_id}", reader)
    assert {key: summary[key] for key in item} == item
    assert summary["channel_account"] == {"id": str(tenant.channel_account_id), "display": "+43 1 0000"}
    assert (summary["seal"], summary["event_count"], summary["truncated_at"]) == (None, 0, None)


async def test_a_login_session_reads_it_too(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    await tenant.session()
    cookie = await tenant.cookie(await tenant.user("auditor"))
    assert len((await get(client, "", cookie))["items"]) == 1


async def test_cursors_walk_the_whole_list(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    for number in range(7):
        await tenant.session(last_activity_at=NOON - timedelta(minutes=number), outcome="SUCCESS")
        await tenant.session(last_activity_at=NOON - timedelta(minutes=number), outcome="NONE")
    found: list[str] = []
    parameters: dict[str, Any] = {"limit": 3, "outcome": "SUCCESS"}
    while True:
        page = await get(client, "", reader, **parameters)
        found += [item["last_activity_at"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        assert re.fullmatch(r"[A-Za-z0-9_-]+", page["next_cursor"])
        parameters["cursor"] = page["next_cursor"]
    assert len(found) == len(set(found)) == 7
    assert found == sorted(found, reverse=True)


NARROWING: list[tuple[dict[str, str], set[str]]] = [
    ({}, {"new", "old"}),
    ({"phone": "+43 660 111"}, {"new"}),
    ({"phone": "0660-111"}, {"new"}),
    ({"skill": "orders.status"}, {"old"}),
    ({"intent": "orders"}, {"old"}),
    ({"state": "EXPIRED"}, {"old"}),
    ({"outcome": "NONE"}, {"old"}),
    ({"channel": "whatsapp"}, {"new", "old"}),
    ({"channel": "email"}, set()),
    ({"q": "greetings"}, {"new"}),
    ({"from": NOON.isoformat()}, {"new"}),
    ({"from": NOON.isoformat().replace("+", " ")}, {"new"}),
    ({"from": f"{NOON:%Y-%m-%dT%H:%M:%S.000Z}"}, {"new"}),
    ({"to": f"{NOON:%Y-%m-%dT%H:%M:%Sz}"}, {"old"}),
    ({"to": f"{NOON - timedelta(days=3):%Y-%m-%d}"}, {"old"}),
    ({"from": f"{NOON - timedelta(days=3):%Y-%m-%d}", "to": f"{NOON - timedelta(days=3):%Y-%m-%d}"}, {"old"}),
    ({"from": f"{NOON - timedelta(days=2):%Y-%m-%d}"}, {"new"}),
    ({"state": "EXPIRED", "q": "greetings"}, set()),
]


async def test_each_parameter_narrows(client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]) -> None:
    new = await tenant.session(contact_phone="+436601110000", last_activity_at=NOON)
    await tenant.message(new, 1, {"kind": "text", "body": "Greetings"}, at=NOON)
    old = await tenant.session(
        contact_phone="+491512220000",
        last_activity_at=NOON - timedelta(days=3),
        skill="orders.status",
        intent="orders",
        state="EXPIRED",
        outcome="NONE",
    )
    ids = {str(new): "new", str(old): "old"}
    for parameters, expected in NARROWING:
        page = await get(client, "", reader, **parameters)
        assert {ids[item["session_id"]] for item in page["items"]} == expected, parameters


MALFORMED = [
    ("", "state", "open"),
    ("", "state", "OPEN'--"),
    ("", "outcome", "Success"),
    ("", "channel", "fax"),
    ("", "channel", "00000000-0000-0000-0000-00000000000"),
    ("", "phone", "\0"),
    ("", "phone", "1" * 201),
    ("", "q", "a\0b"),
    ("", "q", "a" * 201),
    ("", "intent", "\0"),
    ("", "skill", "a" * 121),
    ("", "from", "yesterday"),
    ("", "from", "2026-13-01"),
    ("", "from", "2026-11-23T25:00:00Z"),
    ("", "from", "2026-11-23T10:00:00"),
    ("", "from", "1700000000"),
    ("", "from", "0001-01-01T00:00:00+14:00"),
    ("", "from", "２０２６-11-23"),
    ("", "to", "9999-12-31"),
    ("", "to", "99999-01-01"),
    ("", "to", "\0"),
    ("", "limit", "0"),
    ("", "limit", "-1"),
    ("", "limit", "10000"),
    ("", "limit", "9" * 5000),
    ("", "limit", "1.5"),
    ("", "limit", "ten"),
    ("", "limit", "\0"),
    ("", "cursor", "x"),
    ("", "cursor", "_" * 32),
    ("", "cursor", "A" * 3000),
    ("", "cursor", "ä" * 32),
    ("", "sort", "phone"),
    ("", "sorted", ""),
    ("", "state[]", "OPEN"),
    ("/{id}/transcript", "cursor", "x"),
    ("/{id}/transcript", "cursor", "ZQAAAAE"),
    ("/{id}/transcript", "limit", "501"),
    ("/{id}/transcript", "after", "1"),
    ("/{id}/timeline", "cursor", "dAAAAAE"),
    ("/{id}/timeline", "cursor", "Zf____8"),
    ("/{id}/timeline", "limit", "0"),
]


async def test_a_malformed_parameter_is_422_and_named(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    session_id = await tenant.session()
    for path, parameter, value in MALFORMED:
        address = f"/api/v1/conversations{path.format(id=session_id)}"
        answer = await client.get(address, params={parameter: value}, headers=reader)
        assert answer.status_code == 422, (path, parameter, value, answer.text)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == 422
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert [error["parameter"] for error in problem["errors"]] == [parameter]
        assert parameter in problem["detail"]


async def test_a_parameter_given_twice_is_422(client: httpx.AsyncClient, reader: dict[str, str]) -> None:
    answer = await client.get("/api/v1/conversations?phone=1&phone=2", headers=reader)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": "phone", "detail": "given more than once"}]


async def test_a_malformed_id_is_422(client: httpx.AsyncClient, reader: dict[str, str]) -> None:
    for path in ("x", "1", "%00", "00000000-0000-0000-0000-00000000000g", "é", "a" * 3000, "'"):
        for part in ("", "/transcript", "/timeline"):
            answer = await client.get(f"/api/v1/conversations/{path}{part}", headers=reader)
            assert answer.status_code == 422, (path, part, answer.text)
            assert answer.json()["errors"][0]["parameter"] == "session_id"


async def test_broken_encodings_are_never_a_500(client: httpx.AsyncClient, reader: dict[str, str]) -> None:
    for query in ("%ff=1", "state=%ff", "phone=%ed%a0%80", "q=%c3%28", "&&&", "=", "q=%", "q=%zz"):
        answer = await client.get(f"/api/v1/conversations?{query}", headers=reader)
        assert answer.status_code in {200, 422}, query


@pytest.mark.parametrize("part", ["", "/transcript", "/timeline"])
async def test_another_tenants_conversation_is_404(
    runtime: Runtime, client: httpx.AsyncClient, reader: dict[str, str], part: str
) -> None:
    other = await TenantFixture.build(runtime, "other")
    theirs = await other.session()
    for session_id in (theirs, uuid4()):
        answer = await client.get(f"/api/v1/conversations/{session_id}{part}", headers=reader)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    own = await client.get(f"/api/v1/conversations/{theirs}{part}", headers=bearer(await other.token("developer")))
    assert own.status_code == 200
    assert (await get(client, "", reader))["items"] == []


async def test_the_transcript_comes_in_order_with_how_far_each_reply_got(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    session_id = await tenant.session(started_at=NOON, last_activity_at=NOON + timedelta(minutes=1))
    # It was received before the session began: no worker ran.
    await tenant.message(
        session_id, 1, to_json(Text("Hi 👋")), at=NOON - timedelta(hours=3), channel_at=NOON,
        channel_message_id="wamid.in", forwarded=True, referral={"headline": "Sale"},
    )  # fmt: skip
    outcomes = {
        "queued": {"status": "RETRYING"},
        "sent": {"status": "SENT", "channel_message_id": "wamid.out"},
        "delivered": {"status": "SENT", "delivery": "delivered"},
        "read": {"status": "SENT", "delivery": "read"},
        "failed": {"status": "FAILED", "reason": "131047: more than 24 hours"},
    }
    for ordinal, columns in enumerate(outcomes.values(), 2):
        message_id = await tenant.message(
            session_id, ordinal, to_json(Text("Hello")), sender="bot", at=NOON + timedelta(seconds=ordinal)
        )
        await tenant.outbox(session_id, message_id, **columns)
    await tenant.message(session_id, 7, to_json(Text("Bye")), sender="bot")

    items = (await get(client, f"/{session_id}/transcript", reader))["items"]
    assert [item["ordinal"] for item in items] == [1, 2, 3, 4, 5, 6, 7]
    first = items[0]
    assert first["content"] == {"kind": "text", "body": "Hi 👋"}
    assert (first["sender"], first["delivery"], first["forwarded"]) == ("contact", None, True)
    assert (first["referral"], first["channel_message_id"]) == ({"headline": "Sale"}, "wamid.in")
    assert [item["delivery"]["status"] for item in items[1:6]] == list(outcomes)
    assert items[2]["channel_message_id"] == "wamid.out"
    assert items[5]["delivery"]["reason"] == "131047: more than 24 hours"
    assert items[6]["delivery"] is None

    parts: list[int] = []
    cursor = None
    while True:
        part = await get(client, f"/{session_id}/transcript", reader, limit=3, **({"cursor": cursor} if cursor else {}))
        parts += [item["ordinal"] for item in part["items"]]
        cursor = part["next_cursor"]
        if cursor is None:
            break
    assert parts == [1, 2, 3, 4, 5, 6, 7]


async def test_a_message_of_an_unknown_kind_is_shown_as_such(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    session_id = await tenant.session()
    await tenant.message(session_id, 1, {"kind": "hologram", "depth": 3})
    await tenant.message(session_id, 2, {"kind": "text", "body": "Hi", "tone": "blue"})
    items = (await get(client, f"/{session_id}/transcript", reader))["items"]
    assert [item["content"]["kind"] for item in items] == ["unsupported", "unsupported"]
    assert items[0]["content"]["channel_type"] == "hologram"


async def test_the_timeline_comes_in_order_with_labels_and_seals(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    session_id = await tenant.session(started_at=NOON)
    dispatch_id = uuid4()
    await tenant.event(session_id, 1, "session.opened", payload={"channel": "whatsapp"}, dispatch_id=dispatch_id)
    await tenant.event(session_id, 2, "skill.failed", actor_kind="administrator", actor_name="Eve", trace_id="ab")
    await tenant.event(session_id, 3, "something.newer")
    timeline = await get(client, f"/{session_id}/timeline", reader)
    first, second, third = timeline["items"]
    assert timeline["next_cursor"] is None
    assert (first["position"], first["type"], first["label"]) == (1, "session.opened", "Session opened")
    assert (first["payload"], first["dispatch_id"]) == ({"channel": "whatsapp"}, str(dispatch_id))
    assert first["actor"] == {"kind": "dispatcher", "name": ""}
    assert (second["actor"], second["trace_id"]) == ({"kind": "administrator", "name": "Eve"}, "ab")
    assert second["seal"] == "02" * 32
    # A version that does not know a type shows it all the same.
    assert (third["type"], third["label"]) == ("something.newer", "something.newer")
    head = await get(client, f"/{session_id}/timeline", reader, limit=2)
    tail = await get(client, f"/{session_id}/timeline", reader, cursor=head["next_cursor"])
    assert [*head["items"], *tail["items"]] == timeline["items"]


async def test_nothing_from_before_the_retention_window_is_read(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str], app: FastAPI
) -> None:
    limit = runtime.clock.now() - timedelta(days=runtime.settings.retention_days)
    session_id = await tenant.session(started_at=limit - timedelta(days=1))
    async with runtime.database.directory() as connection:
        await connection.execute("SELECT ensure_partitions($1, $2)", (limit - timedelta(7)).date(), limit.date())
    for ordinal, at in enumerate((limit - timedelta(minutes=1), limit + timedelta(minutes=1)), 1):
        await tenant.message(session_id, ordinal, to_json(Text("Hi")), at=at)
        await tenant.event(session_id, ordinal, "session.opened", at=at)
    for part, key in (("transcript", "ordinal"), ("timeline", "position")):
        items = (await get(client, f"/{session_id}/{part}", reader))["items"]
        assert [item[key] for item in items] == [2]


async def test_a_tenants_shorter_window_holds_at_once(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    now = runtime.clock.now()
    session_id = await tenant.session(started_at=now - timedelta(days=7), last_user_message="")
    for ordinal, age in enumerate((timedelta(days=6), timedelta(days=1)), 1):
        await tenant.message(session_id, ordinal, to_json(Text(f"Kettle {ordinal}")), at=now - age)
        await tenant.event(session_id, ordinal, "session.opened", at=now - age)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, 3)
        assert await tenants.retention_days(connection, tenant.tenant_id) == 3
    for part, key in (("transcript", "ordinal"), ("timeline", "position")):
        assert [item[key] for item in (await get(client, f"/{session_id}/{part}", reader))["items"]] == [2]
    assert (await get(client, "", reader, q='"kettle 1"'))["items"] == []
    # A tenant cannot keep more than the installation does.
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, 900)
    assert len((await get(client, f"/{session_id}/transcript", reader))["items"]) == 2
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, None)
        assert await tenants.retention_days(connection, tenant.tenant_id) is None
