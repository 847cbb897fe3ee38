"""Dispatched messages per second, from the signed webhook to the committed reply, with one worker in the process.

The peer is the bare transaction: the very rows that a dispatch leaves behind, taken from the tables after our own run,
are written again by SQL alone, one transaction for each message, by as many connections as the worker may use.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx
from pydantic import BaseModel

from bench.harness import Result, compare
from bench.installation import APP_SECRET, PHONE_NUMBER_ID, Installation, open_installation
from dragoman.jobs import worker
from dragoman.skills import SkillContext, skill
from dragoman.web.app import create_app

CONTACTS = 200
SENDERS = 32
CONNECTIONS = 16

TABLES = ("raw_delivery", "mailbox", "message", "audit_event", "outbox_entry", "session")


class Nothing(BaseModel):
    """No parameters."""


@skill(name="bench.answer", label="Answer", version="1", phrases={"en": ["answer"]}, keywords=["answer"])
async def answer(context: SkillContext, parameters: Nothing) -> str:
    """Answers at once: what is measured is the dispatcher."""
    return "Here you are."


def _accepted(request: httpx.Request) -> httpx.Response:
    to = json.loads(request.content).get("to", "")
    wamid = f"wamid.{hashlib.sha1(request.content).hexdigest()}"
    return httpx.Response(200, json={"contacts": [{"wa_id": to}], "messages": [{"id": wamid}]})


def _body(number: int) -> bytes:
    phone = f"4366000{number % CONTACTS:05d}"
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": f"Contact {phone}"}, "wa_id": phone}],
        "messages": [
            {
                "from": phone,
                "id": f"wamid.{number}",
                "timestamp": str(int(time.time())),
                "type": "text",
                "text": {"body": "answer, please"},
            }
        ],
    }
    change = {"field": "messages", "value": value}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).encode()


async def _post(client: httpx.AsyncClient, numbers: Sequence[int]) -> None:
    for number in numbers:
        body = _body(number)
        digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
        response = await client.post(
            "/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": f"sha256={digest}"}
        )
        assert response.status_code == 200, response.text


async def _ours(made: Installation, first: int, count: int) -> float:
    """Messages per second until each one's reply is committed."""
    transport = httpx.ASGITransport(create_app(made.runtime))
    begun = time.perf_counter()
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        numbers = range(first, first + count)
        await asyncio.gather(*(_post(client, numbers[n::SENDERS]) for n in range(SENDERS)))
    while True:
        async with made.runtime.database.tenant(made.tenant_id) as connection:
            left = await connection.fetchval("SELECT count(*) FROM mailbox WHERE progress <> 'done'")
        if not left:
            return count / (time.perf_counter() - begun)
        await asyncio.sleep(0.02)


async def _rows_per_message(made: Installation, count: int) -> list[list[tuple[str, list[Any]]]]:
    """For each message the rows that it left, as (INSERT statement, values)."""
    owner = await asyncpg.connect(made.urls.owner)
    groups: list[list[tuple[str, list[Any]]]] = [[] for _ in range(count)]
    for table in TABLES:
        rows = await owner.fetch(f"SELECT * FROM {table} LIMIT {count * 12}")
        names = list(rows[0].keys())
        await owner.execute(f"CREATE TABLE IF NOT EXISTS bare_{table} (LIKE {table} INCLUDING DEFAULTS)")
        await owner.execute(f"CREATE INDEX ON bare_{table} ({names[0]}, {names[1]})")
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        statement = f"INSERT INTO bare_{table} ({', '.join(names)}) VALUES ({places})"
        for number, row in enumerate(rows):
            groups[number * count // len(rows)].append((statement, list(row.values())))
    await owner.close()
    return groups


async def _bare(made: Installation, groups: list[list[tuple[str, list[Any]]]]) -> float:
    """Transactions per second: the same rows, and nothing decided."""
    pool = await asyncpg.create_pool(made.urls.owner, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def write(part: list[list[tuple[str, list[Any]]]]) -> None:
        async with pool.acquire() as connection:
            for group in part:
                async with connection.transaction():
                    by_statement: dict[str, list[list[Any]]] = {}
                    for statement, values in group:
                        by_statement.setdefault(statement, []).append(values)
                    for statement, rows in by_statement.items():
                        await connection.executemany(statement, rows)

    begun = time.perf_counter()
    await asyncio.gather(*(write(groups[n::CONNECTIONS]) for n in range(CONNECTIONS)))
    rate = len(groups) / (time.perf_counter() - begun)
    await pool.close()
    return rate


async def run(*, quick: bool) -> list[Result]:
    """Both sides in turn, several times."""
    count, runs = (200, 1) if quick else (1500, 3)
    ours: list[float] = []
    bare: list[float] = []
    shop = {answer.spec.name: answer}
    async with open_installation(shop, httpx.MockTransport(_accepted)) as made:
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(made.runtime, made.urls.application, stop))
        try:
            await _ours(made, 0, 100)
            for number in range(1, runs + 1):
                ours.append(await _ours(made, number * 1_000_000, count))
                bare.append(await _bare(made, await _rows_per_message(made, count)))
        finally:
            stop.set()
            await working
    return [
        compare(
            "dispatched messages, webhook to committed reply",
            unit="messages/s",
            ours=ours,
            peer=bare,
            peer_name="the same rows in one bare SQL transaction each",
            higher_is_better=True,
            note="one process with web and worker, delivery included; an answering Python skill",
        )
    ]
