"""The peers of the dispatch benchmark: SQL alone, which writes the very rows that messages left behind.

They go into clones of the tables with all indexes and checks (not the foreign keys, the partitions and the row-level
security). The dispatch is one transaction for each message: the mailbox row is marked, the session's row written as it
ended, its events, messages, search words, change and outbox entries inserted. Its delivery is two for each reply, one
before it is sent and one after: the attempt counted; the answer kept, the entry marked, the status put on the timeline.
Nothing is read and nothing is decided, no lease is taken, no job written, no reply sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

CONNECTIONS = 16

CLONED = (
    "mailbox",
    "session",
    "audit_event",
    "message",
    "message_words",
    "session_change",
    "outbox_entry",
    "outbox_attempt",
)

Rows = list[tuple[Any, ...]]
Transaction = Mapping[str, Rows]
"""Rows by the statement that writes them."""


@dataclass(frozen=True, slots=True)
class BareTurn:
    """What one message wrote: the transaction of its dispatch, and those of its delivery."""

    dispatch: Transaction
    delivery: Sequence[Transaction]


async def read(owner: str, like: str) -> list[BareTurn]:
    """What the messages whose channel id is *like* that have left, once their replies are sent."""
    connection = await asyncpg.connect(owner)
    try:
        names = {table: await _columns(connection, table) for table in CLONED}
        mail = await connection.fetch(
            f"SELECT {', '.join(names['mailbox'])} FROM mailbox WHERE channel_message_id LIKE $1", like
        )
        return [
            BareTurn(await _dispatch(connection, names, row), await _delivery(connection, names, row)) for row in mail
        ]
    finally:
        await connection.close()


async def begin(owner: str, like: str) -> None:
    """Make the clones as they were before: nothing but the mailbox, in which each of these messages waits."""
    connection = await asyncpg.connect(owner)
    try:
        for table in CLONED:
            await connection.execute(f"CREATE TABLE IF NOT EXISTS bare_{table} (LIKE {table} INCLUDING ALL)")
            await connection.execute(f"TRUNCATE bare_{table}")
        await connection.execute(
            "INSERT INTO bare_mailbox SELECT * FROM mailbox WHERE channel_message_id LIKE $1", like
        )
        await connection.execute("UPDATE bare_mailbox SET progress = 'waiting', outcome = NULL, done_at = NULL")
    finally:
        await connection.close()


async def _columns(connection: asyncpg.Connection[asyncpg.Record], table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' AND NOT (attrelid = 'session_change'::regclass AND attname IN ('xid', 'horizon')) "
        "ORDER BY attnum",
        table,
    )
    return [row["attname"] for row in rows]


def _insert(table: str, names: Sequence[str]) -> str:
    places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    return f"INSERT INTO bare_{table} ({', '.join(names)}) VALUES ({places})"


_REPLIES = (
    "message_id IN (SELECT message_id FROM message WHERE tenant_id = $1 AND session_id = $2 AND dispatch_id = $3)"
)
_OF_MESSAGE = {
    "audit_event": "dispatch_id = $3",
    "message": "dispatch_id = $3",
    "message_words": "ordinal IN "
    "(SELECT ordinal FROM message WHERE tenant_id = $1 AND session_id = $2 AND dispatch_id = $3)",
    # Bare is one transaction, so one change.
    "session_change": "$3::uuid IS NOT NULL LIMIT 1",
    "outbox_entry": _REPLIES,
}
_MARK = (
    "UPDATE bare_mailbox SET progress = 'done', parts = $3, outcome = $4, done_at = $5 "
    "WHERE tenant_id = $1 AND message_id = $2"
)


async def _dispatch(
    connection: asyncpg.Connection[asyncpg.Record], names: Mapping[str, list[str]], mail: asyncpg.Record
) -> dict[str, Rows]:
    columns = names["session"]
    upsert = (
        f"{_insert('session', columns)} ON CONFLICT (tenant_id, session_id) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in columns)}"
    )
    session = await connection.fetchrow(
        f"SELECT {', '.join(columns)} FROM session WHERE tenant_id = $1 AND session_id = $2",
        mail["tenant_id"],
        mail["session_id"],
    )
    assert session is not None
    marked = (mail["tenant_id"], mail["message_id"], mail["parts"], mail["outcome"], mail["done_at"])
    written: dict[str, Rows] = {_MARK: [marked], upsert: [tuple(session.values())]}
    place = (mail["tenant_id"], mail["session_id"], mail["dispatch_id"])
    for table, condition in _OF_MESSAGE.items():
        if rows := await _rows(connection, names, table, f"session_id = $2 AND {condition}", place):
            written[_insert(table, names[table])] = rows if table != "outbox_entry" else _unsent(names[table], rows)
    return written


_UNSENT = {"status": "PENDING", "attempts": 0, "sent_at": None, "channel_message_id": None, "delivery": None}


def _unsent(names: Sequence[str], rows: Rows) -> Rows:
    """Outbox entries as they were before delivery."""
    return [tuple(_UNSENT.get(name, value) for name, value in zip(names, row, strict=True)) for row in rows]


_COUNT_ATTEMPT = (
    "UPDATE bare_outbox_entry SET attempts = attempts + 1, due_at = $3 WHERE tenant_id = $1 AND outbox_entry_id = $2"
)
_MARK_SENT = (
    "UPDATE bare_outbox_entry SET status = 'SENT', sent_at = $3, channel_message_id = $4, delivery = 'sent' "
    "WHERE tenant_id = $1 AND outbox_entry_id = $2"
)
_GROW = (
    "UPDATE bare_session SET next_position = next_position + 1, head = head WHERE tenant_id = $1 AND session_id = $2"
)


async def _delivery(
    connection: asyncpg.Connection[asyncpg.Record], names: Mapping[str, list[str]], mail: asyncpg.Record
) -> list[dict[str, Rows]]:
    tenant_id, session_id = mail["tenant_id"], mail["session_id"]
    replies = await connection.fetch(
        "SELECT outbox_entry_id, message_id, due_at, sent_at, channel_message_id FROM outbox_entry "
        f"WHERE tenant_id = $1 AND session_id = $2 AND {_REPLIES}",
        tenant_id,
        session_id,
        mail["dispatch_id"],
    )
    found: list[dict[str, Rows]] = []
    for reply in replies:
        entry = (tenant_id, reply["outbox_entry_id"])
        attempts = await _rows(connection, names, "outbox_attempt", "outbox_entry_id = $2", entry)
        statuses = await _rows(
            connection, names, "audit_event",
            "session_id = $2 AND type = 'message.status' AND payload ->> 'message_id' = $3",
            (tenant_id, session_id, str(reply["message_id"])),
        )  # fmt: skip
        changes = await _rows(connection, names, "session_change", "session_id = $2 LIMIT 1", (tenant_id, session_id))
        assert attempts
        assert statuses
        assert changes
        found.append({_COUNT_ATTEMPT: [(*entry, reply["due_at"])]})
        found.append(
            {
                _insert("outbox_attempt", names["outbox_attempt"]): attempts,
                _MARK_SENT: [(*entry, reply["sent_at"], reply["channel_message_id"])],
                _insert("audit_event", names["audit_event"]): statuses,
                _GROW: [(tenant_id, session_id)],
                _insert("session_change", names["session_change"]): changes,
            }
        )
    return found


async def _rows(
    connection: asyncpg.Connection[asyncpg.Record],
    names: Mapping[str, list[str]],
    table: str,
    condition: str,
    values: Sequence[Any],
) -> Rows:
    rows = await connection.fetch(
        f"SELECT {', '.join(names[table])} FROM {table} WHERE tenant_id = $1 AND {condition}", *values
    )
    return [tuple(row.values()) for row in rows]


async def rate(owner: str, messages: Sequence[BareTurn], *, delivery: bool) -> float:
    """Messages per second, over so many connections; with the transactions of their *delivery*, or without."""
    pool = await asyncpg.create_pool(owner, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def write(part: Sequence[BareTurn]) -> None:
        async with pool.acquire() as connection:
            for one in part:
                for transaction in (one.dispatch, *(one.delivery if delivery else ())):
                    async with connection.transaction():
                        for statement, rows in transaction.items():
                            if len(rows) == 1:
                                await connection.execute(statement, *rows[0])
                            else:
                                await connection.executemany(statement, rows)

    begun = time.perf_counter()
    # A session's messages by one connection, as the lease has it: others would wait for its row.
    await asyncio.gather(*(write(messages[n::CONNECTIONS]) for n in range(CONNECTIONS)))
    taken = len(messages) / (time.perf_counter() - begun)
    await pool.close()
    return taken
