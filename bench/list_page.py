"""The Conversation Logs list at 100,000 sessions: server time of page and API, beside the SQL of the same screen.

Sessions are written by COPY with skewed contacts, skills and states, and texts out of a vocabulary of our own. Each
request goes through the whole application (login session, permission, template), its peer is the list's own statement
on a connection of its own, without Python around it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from bench.harness import Result, compare, percentile
from bench.installation import Installation, open_installation
from dragoman.store import accounts
from dragoman.web.app import create_app

CONTACTS = 20_000
SKILLS = (
    "orders.status",
    "orders.return",
    "stores.hours",
    "finance.invoices",
    "support.open_ticket",
    "rare.skill",
)
SKILL_WEIGHTS = (40, 20, 20, 12, 7.9, 0.1)
OUTCOMES = ("SUCCESS", "SKILL_ERROR", "HANDOFF", "NONE", "SESSION_BUSY")
OUTCOME_WEIGHTS = (80, 6, 8, 5.9, 0.1)
STATES = ("RESOLVED", "EXPIRED", "ACTIVE", "WITH_AGENT")
STATE_WEIGHTS = (60, 38, 1.5, 0.5)
WORDS = [
    "where",
    "is",
    "my",
    "order",
    "please",
    "hello",
    "lamp",
    "kettle",
    "broken",
    "invoice",
    "when",
    "open",
    "thanks",
    "parcel",
    "late",
    "fridge",
    "cable",
]

QUERIES = {
    "first page": "",
    "filtered by a common outcome": "outcome=SUCCESS",
    "filtered by a rare outcome": "outcome=SESSION_BUSY",
    "filtered by state": "state=WITH_AGENT",
    "filtered by a rare skill": "skill=rare.skill",
    "filtered by part of a phone number": "phone=660 00012",
}

SQL = {
    "first page": ("", []),
    "filtered by a common outcome": ("AND outcome = $2", ["SUCCESS"]),
    "filtered by a rare outcome": ("AND outcome = $2", ["SESSION_BUSY"]),
    "filtered by state": ("AND state = $2", ["WITH_AGENT"]),
    "filtered by a rare skill": ("AND skill = $2", ["rare.skill"]),
    "filtered by part of a phone number": ("AND contact_phone LIKE $2", ["%66000012%"]),
}

COLUMNS = [
    "tenant_id",
    "session_id",
    "thread_id",
    "contact_id",
    "channel_account_id",
    "state",
    "state_path",
    "outcome",
    "intent",
    "skill",
    "contact_name",
    "contact_phone",
    "channel",
    "channel_display",
    "last_user_message",
    "message_count",
    "dispatch_count",
    "started_at",
    "last_activity_at",
]


def _sessions(made: Installation, count: int, now: datetime) -> Iterator[tuple[object, ...]]:
    chance = random.Random(7)
    threads = [(made.runtime.source.new_id(), made.runtime.source.new_id()) for _ in range(CONTACTS)]
    open_threads: set[int] = set()
    for _ in range(count):
        who = min(int(chance.paretovariate(0.9)) - 1, CONTACTS - 1)
        state = chance.choices(STATES, STATE_WEIGHTS)[0]
        if state in ("ACTIVE", "WITH_AGENT") and who in open_threads:
            state = "RESOLVED"
        elif state in ("ACTIVE", "WITH_AGENT"):
            open_threads.add(who)
        skill = chance.choices(SKILLS, SKILL_WEIGHTS)[0]
        started = now - timedelta(seconds=chance.random() * 90 * 86400)
        contact_id, thread_id = threads[who]
        yield (
            made.tenant_id, made.runtime.source.new_id(), thread_id, contact_id, made.channel_account_id, state,
            state, chance.choices(OUTCOMES, OUTCOME_WEIGHTS)[0], skill, skill, f"Contact {who}",
            f"+43660{who:07d}", "whatsapp", "+43 1 555 0100", " ".join(chance.choices(WORDS, k=8)),
            chance.randint(2, 20), chance.randint(1, 9), started, started + timedelta(minutes=5),
        )  # fmt: skip


async def _fill(made: Installation, count: int) -> None:
    owner = await asyncpg.connect(made.urls.owner)
    now = made.runtime.clock.now()
    rows = list(_sessions(made, count, now))
    account = made.channel_account_id
    people = {(row[3], row[2], row[10], row[11]) for row in rows}
    await owner.copy_records_to_table(
        "contact",
        records=[(made.tenant_id, contact, name, phone, "de", now) for contact, _, name, phone in people],
        columns=["tenant_id", "contact_id", "display_name", "phone", "locale", "created_at"],
    )
    await owner.copy_records_to_table(
        "thread",
        records=[(made.tenant_id, thread, contact, account, now) for contact, thread, _, _ in people],
        columns=["tenant_id", "thread_id", "contact_id", "channel_account_id", "created_at"],
    )
    await owner.copy_records_to_table("session", records=rows, columns=COLUMNS)
    await owner.execute("VACUUM ANALYZE session")
    await owner.close()


async def _login(made: Installation) -> dict[str, str]:
    now = made.runtime.clock.now()
    user_id: UUID = made.runtime.source.new_id()
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        await accounts.create_user(
            connection, made.tenant_id, user_id=user_id, email="bench@example.org", name="Bench",
            password="a long enough password", role="auditor", now=now,
        )  # fmt: skip
        ticket = await accounts.open_login_session(connection, made.tenant_id, user_id, now=now)
    return {"cookie": f"dragoman_session={ticket.secret}"}


async def _timed(request: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Milliseconds of each of *count* calls, after a few that warm up."""
    for _ in range(5):
        await request()
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await request()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


async def run(*, quick: bool) -> list[Result]:
    """Each screen: page, API and bare SQL in turn; p50 and p95 of the requests."""
    sessions, requests = (5_000, 20) if quick else (100_000, 200)
    results: list[Result] = []
    async with open_installation({}, httpx.MockTransport(lambda _: httpx.Response(500))) as made:
        await _fill(made, sessions)
        cookie = await _login(made)
        connection = await asyncpg.connect(made.urls.application)
        await connection.execute(f"SET app.tenant = '{made.tenant_id}'")
        transport = httpx.ASGITransport(create_app(made.runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=cookie) as client:

            async def fetch(path: str) -> None:
                response = await client.get(path)
                assert response.status_code == 200, response.text[:300]

            for name, query in QUERIES.items():
                where, values = SQL[name]
                statement = (
                    f"SELECT {', '.join(COLUMNS)} FROM session WHERE tenant_id = $1 {where} "
                    "ORDER BY last_activity_at DESC, session_id DESC LIMIT 51"
                )
                page = await _timed(lambda q=query: fetch(f"/communications/automation/logs?{q}"), requests)  # type: ignore[misc]
                api = await _timed(lambda q=query: fetch(f"/api/v1/conversations?{q}"), requests)  # type: ignore[misc]
                bare = await _timed(
                    lambda s=statement, v=values: connection.fetch(s, made.tenant_id, *v),  # type: ignore[misc]
                    requests,
                )
                for kind, taken in (("page", page), ("API", api)):
                    results.append(
                        compare(
                            f"list {kind}, {name}",
                            unit="ms",
                            ours=[percentile(taken, 0.5)],
                            peer=[percentile(bare, 0.5)],
                            peer_name="its own SQL",
                            note=f"{sessions} sessions; p50 of {requests} requests; p95 ours "
                            f"{percentile(taken, 0.95):.2f}, SQL {percentile(bare, 0.95):.2f}",
                        )
                    )
        await connection.close()
    return results
