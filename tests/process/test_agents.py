"""Agents while the server is killed with -9: what they send is on record once, and what they have begun is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import httpx

from dragoman.runtime import SystemClock
from dragoman.store.accounts import api_tokens
from dragoman.store.database import Database
from tests.process.test_kill import KilledServer, server, until
from tests.waiting import PATIENCE_S

__all__ = ["server"]

INBOX = "/communications/handoff-inbox"
KILLS = 4


async def agents_token(made: KilledServer) -> str:
    database = await Database.connect(made.urls.application)
    (tenant,) = await made.rows("SELECT tenant_id FROM tenant")
    now = SystemClock().now()
    async with database.tenant(tenant["tenant_id"]) as connection:
        token = await api_tokens.create_token(
            connection, tenant["tenant_id"], token_id=uuid4(), name="Ana Lima", role="agent", now=now,
            expires_at=now + timedelta(days=1),
        )  # fmt: skip
    await database.close()
    return token


def agent(made: KilledServer, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{made.port}", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S
    )


async def test_an_agents_answers_and_draft_survive_kills(server: KilledServer) -> None:
    running = server.start()
    await server.ready()
    token = await agents_token(server)
    await server.say("I want to talk to a human")
    await until(lambda: with_agent(server), server.home)
    (session,) = await server.rows("SELECT session_id FROM session")
    talk = f"{INBOX}/{session['session_id']}"
    async with agent(server, token) as client:
        assert (await client.post(f"{talk}/claim")).status_code == 303
        assert (await client.post(f"{talk}/draft", data={"text": "I am looking"})).status_code == 204

    for number in range(KILLS):
        key, text = uuid4(), f"answer {number}"
        async with agent(server, token) as client:
            sending = asyncio.create_task(send(client, talk, key, text))
            # Each kill comes a little later than the one before: before, in and after the answer's transaction.
            await asyncio.sleep(0.01 * number)
            server.kill(running)
            await asyncio.gather(sending, return_exceptions=True)
        running = server.start()
        await server.ready()
        async with agent(server, token) as client:
            # The browser repeats what it has no answer to, with the same key.
            assert await send(client, talk, key, text) in (200, 303)
            assert await send(client, talk, key, text) in (200, 303)

    texts = [f"answer {number}" for number in range(KILLS)]
    await until(lambda: all_sent(server, texts), server.home)
    rows = await server.rows("SELECT content->>'body' AS body FROM message WHERE sender = 'agent' ORDER BY ordinal")
    assert [row["body"] for row in rows] == texts, "each answer stands on record once"
    unanswered = await server.rows("SELECT 1 FROM outbox_attempt WHERE result = 'unanswered'")
    assert len(await wire(server)) <= KILLS + len(unanswered), "sent twice only where the first answer was never seen"
    # What was sent takes the draft's place; the last thing that was begun is kept.
    async with agent(server, token) as client:
        assert (await client.post(f"{talk}/draft", data={"text": "one more thing"})).status_code == 204
    server.kill(running)
    (kept,) = await server.rows("SELECT body FROM reply_draft")
    assert kept["body"] == "one more thing"


async def send(client: httpx.AsyncClient, talk: str, key: UUID, text: str) -> int:
    return (await client.post(f"{talk}/answer", data={"request_id": str(key), "text": text})).status_code


async def with_agent(made: KilledServer) -> bool:
    return any(row["state"] == "WITH_AGENT" for row in await made.rows("SELECT state FROM session"))


async def wire(made: KilledServer) -> list[str]:
    """The agent's texts in the order in which they reached the channel."""
    texts = [entry["request"]["text"]["body"] for entry in await made.journal() if entry["type"] == "text"]
    return [text for text in texts if text.startswith("answer")]


async def all_sent(made: KilledServer, texts: list[str]) -> bool:
    return set(texts) <= set(await wire(made))
