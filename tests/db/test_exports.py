"""The export: every format holds the same, with its types; only who may gets it; what breaks off is no whole file."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from dragoman.domain.content import Text, to_json
from dragoman.runtime import Runtime
from dragoman.services.exports import export_conversations, spreadsheet
from dragoman.services.exports.columns import CONVERSATION, EVENT, MESSAGE
from dragoman.services.exports.formats import Parts
from dragoman.services.visibility import Visibility
from dragoman.store.conversation_list import export_batches
from dragoman.store.conversation_list.conversations import Filters

from .tenant_fixture import TenantFixture, bearer

EXPORT = "/api/v1/conversations/export"
EVIL = "=cmd|' /C calc'!A0"


@pytest.fixture
async def reader(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("auditor"))


async def furnish(tenant: TenantFixture, count: int = 5) -> list[UUID]:
    """Sessions of which each has two messages and two events; the first is hostile."""
    now = tenant.runtime.clock.now()
    made = []
    for number in range(count):
        session_id = await tenant.session(
            last_activity_at=now - timedelta(minutes=number), last_user_message=EVIL if number == 0 else f"Hi {number}",
            outcome="SUCCESS" if number % 2 else "SKILL_ERROR", cost_micros=1_250_001, message_count=2,
            next_position=3, head=b"\x01" * 32,
        )  # fmt: skip
        for place in (1, 2):
            text = EVIL if number == 0 else f"Kettle,\r\n“{place}” ü"
            await tenant.message(session_id, place, to_json(Text(text)), forwarded=place == 2)
            await tenant.event(session_id, place, "session.opened", payload={"channel": "whatsapp", "n": place})
        made.append(session_id)
    return made


async def fetch(client: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> httpx.Response:
    answer = await client.get(EXPORT, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def rows_of(text: bytes) -> list[dict[str, str]]:
    assert text.startswith(spreadsheet.BOM)
    return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline="")))


async def test_csv(client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]) -> None:
    ids = await furnish(tenant)
    answer = await fetch(client, reader, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert ".csv" in answer.headers["content-disposition"]
    rows = rows_of(answer.content)
    assert list(rows[0]) == [column.name for column in CONVERSATION]
    assert [row["session_id"] for row in rows] == sorted(map(str, ids), reverse=True)
    row = next(row for row in rows if row["session_id"] == str(ids[0]))
    assert row["last_user_message"] == f"'{EVIL}"
    assert spreadsheet.restore(row["last_user_message"]) == EVIL
    assert spreadsheet.restore(row["contact_phone"]) == "+436601234567"
    assert (row["cost"], row["message_count"], row["resolved_at"]) == ("1.250001", "2", "")
    assert datetime.fromisoformat(row["started_at"]).utcoffset() == timedelta()
    assert answer.content.count(b"\r\n") == len(rows) + 1


async def test_csv_with_parts_is_a_zip(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    ids = await furnish(tenant)
    answer = await fetch(client, reader, format="csv", transcript="true", timeline="true")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        files = {name: rows_of(archive.read(name)) for name in archive.namelist()}
    assert {name: len(rows) for name, rows in files.items()} == {
        "conversations.csv": 5,
        "messages.csv": 10,
        "events.csv": 10,
    }
    assert list(files["messages.csv"][0]) == [column.name for column in MESSAGE]
    assert list(files["events.csv"][0]) == [column.name for column in EVENT]
    texts = {spreadsheet.restore(m["text"]) for m in files["messages.csv"] if m["session_id"] == str(ids[1])}
    assert texts == {"Kettle,\r\n“1” ü", "Kettle,\r\n“2” ü"}
    assert {m["forwarded"] for m in files["messages.csv"]} == {"true", "false"}
    assert json.loads(files["events.csv"][0]["payload"])["channel"] == "whatsapp"


async def test_jsonl(client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]) -> None:
    ids = await furnish(tenant)
    answer = await fetch(client, reader, format="jsonl", transcript="true")
    records = [json.loads(line) for line in answer.text.splitlines()]
    assert len(records) == 5
    record = next(record for record in records if record["session_id"] == str(ids[0]))
    assert list(record) == [*(column.name for column in CONVERSATION), "transcript"]
    assert (record["last_user_message"], record["cost"]) == (EVIL, "1.250001")
    assert [message["content"] for message in record["transcript"]] == [{"kind": "text", "body": EVIL}] * 2
    assert record["transcript"][0]["at"].endswith("Z")


async def test_parquet(client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]) -> None:
    ids = await furnish(tenant)
    answer = await fetch(client, reader, format="parquet", transcript="true", timeline="true")
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.num_rows == 5
    types = {field.name: field.type for field in table.schema}
    assert types["started_at"] == pa.timestamp("us", tz="UTC")
    assert (types["cost"], types["message_count"]) == (pa.decimal128(18, 6), pa.int64())
    record = next(record for record in table.to_pylist() if record["session_id"] == str(ids[0]))
    assert (record["last_user_message"], record["cost"]) == (EVIL, Decimal("1.250001"))
    assert record["started_at"].tzinfo is not None
    assert [event["position"] for event in record["timeline"]] == [1, 2]
    assert record["transcript"][1]["forwarded"] is True
    assert json.loads(record["timeline"][0]["payload"]) == {"channel": "whatsapp", "n": 1}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("parts", ["false", "true"])
async def test_an_export_of_nothing_is_a_file_all_the_same(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str], kind: str, parts: str
) -> None:
    answer = await fetch(client, reader, format=kind, transcript=parts, timeline=parts)
    if kind == "parquet":
        assert pq.read_table(io.BytesIO(answer.content)).num_rows == 0
    elif kind == "csv" and parts == "true":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert rows_of(archive.read("conversations.csv")) == []
    elif kind == "csv":
        assert rows_of(answer.content) == []
    else:
        assert answer.content == b""


async def test_the_filters_are_the_lists(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str]
) -> None:
    await furnish(tenant)
    other = await TenantFixture.build(tenant.runtime, "other")
    await furnish(other, 2)
    for query, count in (({"outcome": "SUCCESS"}, 2), ({"q": "kettle"}, 4), ({"phone": "0660 123"}, 5), ({}, 5)):
        answer = await fetch(client, reader, format="jsonl", **query)
        assert len(answer.text.splitlines()) == count, query
    for text in ("format=xls", "", "format=csv&limit=3", "format=csv&shape=round", "format=csv&cursor=x"):
        assert (await client.get(f"{EXPORT}?{text}", headers=reader)).status_code == 422, text


async def test_batches_meet_exactly(
    client: httpx.AsyncClient, tenant: TenantFixture, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await furnish(tenant, 7)
    for batch, portion in ((3, 4), (7, 100), (2, 1)):
        monkeypatch.setattr(export_conversations, "BATCH", batch)
        monkeypatch.setattr(export_conversations, "BATCH_OF_PARTS", portion)
        for parts in ("false", "true"):
            answer = await fetch(client, reader, format="jsonl", transcript=parts)
            found = [json.loads(line) for line in answer.text.splitlines()]
            assert [record["session_id"] for record in found] == sorted(map(str, ids), reverse=True)
            if parts == "true":
                assert {len(record["transcript"]) for record in found} == {2}


async def test_a_session_written_to_meanwhile_is_there_once(
    runtime: Runtime, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await furnish(tenant, 6)
    monkeypatch.setattr(export_conversations, "BATCH", 2)
    export = export_conversations.Export(
        tenant_id=tenant.tenant_id, filters=Filters(), kind="jsonl",
        parts=Parts(), visibility=Visibility(unmasked=True),
        cutoff=datetime(2000, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    pieces: list[bytes] = []
    async for piece in export_conversations.stream(runtime, export):
        pieces.append(piece)
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            # Each of them becomes the latest in turn, as it would in a busy hour.
            await connection.execute(
                "UPDATE session SET last_activity_at = clock_timestamp() WHERE tenant_id = $1", tenant.tenant_id
            )
    found = [json.loads(line)["session_id"] for line in b"".join(pieces).decode().splitlines()]
    assert sorted(found) == sorted(map(str, ids))


async def test_a_masked_role_exports_masked(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    session_id = await tenant.session(last_user_message="call 0660 1234567", message_count=1)
    await tenant.message(session_id, 1, to_json(Text("I am +43 660 1234567")), channel_message_id="wamid.NDM2NjAxMjM0")
    headers = bearer(await tenant.token("analyst"))
    for kind in ("csv", "jsonl"):
        answer = await fetch(client, headers, format=kind)
        assert "1234567" not in answer.text
        assert "+43••••••67" in answer.text
    answer = await fetch(client, headers, format="jsonl", transcript="true", timeline="true")
    assert "1234567" not in answer.text.replace(" ", "")
    assert "NDM2NjAx" not in answer.text


async def test_an_export_that_fails_does_not_end_like_a_whole_one(
    app: FastAPI, tenant: TenantFixture, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(tenant, 4)
    monkeypatch.setattr(export_conversations, "BATCH", 2)
    real, calls = export_batches.batch, 0

    async def failing(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the disk is on fire")
        return await real(*arguments, **more)

    monkeypatch.setattr(export_batches, "batch", failing)
    sent: list[dict[str, Any]] = []

    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # the client stays
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": EXPORT, "raw_path": EXPORT.encode(), "query_string": b"format=csv",
        "headers": [(b"host", b"dragoman.test"), (b"authorization", reader["Authorization"].encode())],
        "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
        "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    with pytest.raises(BaseException, match=r"on fire|unhandled"):
        await app(scope, receive, send)
    # The server cuts the connection where the last piece was not announced: a client sees that.
    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:])
