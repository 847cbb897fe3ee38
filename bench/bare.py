"""The peer of the dispatch benchmark: SQL alone, which writes the very rows that dispatches left behind.

They go into clones of the tables with all indexes and checks (not the foreign keys, the partitions and the row-level
security), in one transaction for each message: the mailbox row is marked, the session's row written as it ended, its
events, messages, search words, change and outbox entries inserted. Nothing is read and nothing is decided, no lease is
taken, no job written, no reply sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

CONNECTIONS = 16

CLONED = ("mailbox", "session", "audit_event", "message", "message_words", "session_change", "outbox_entry")

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Written:
    """What one message's transaction writes, by statement."""

    by_statement: Mapping[str, Rows]


async def read(owner: str, like: str) -> list[Written]:
    """What the dispatches of messages whose channel id is *like* that have left."""
    connection = await asyncpg.connect(owner)
    try:
        for table in CLONED:
            await connection.execute(f"CREATE TABLE IF NOT EXISTS bare_{table} (LIKE {table} INCLUDING ALL)")
            await connection.execute(f"TRUNCATE bare_{table}")
        names = {table: await _columns(connection, table) for table in CLONED}
        mail = await connection.fetch(
            f"SELECT {', '.join(names['mailbox'])} FROM mailbox WHERE channel_message_id LIKE $1", like
        )
        insert = _insert("mailbox", names["mailbox"])
        await connection.executemany(insert, [tuple(row.values()) for row in mail])
        await connection.execute("UPDATE bare_mailbox SET progress = 'waiting', outcome = NULL, done_at = NULL")
        return [Written(await _of_message(connection, names, row)) for row in mail]
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


_OF_MESSAGE = {
    "audit_event": "dispatch_id = $3",
    "message": "dispatch_id = $3",
    "message_words": "ordinal IN "
    "(SELECT ordinal FROM message WHERE tenant_id = $1 AND session_id = $2 AND dispatch_id = $3)",
    # Bare is one transaction, so one change.
    "session_change": "$3::uuid IS NOT NULL LIMIT 1",
    "outbox_entry": "message_id IN "
    "(SELECT message_id FROM message WHERE tenant_id = $1 AND session_id = $2 AND dispatch_id = $3)",
}
_MARK = (
    "UPDATE bare_mailbox SET progress = 'done', parts = $3, outcome = $4, done_at = $5 "
    "WHERE tenant_id = $1 AND message_id = $2"
)


async def _of_message(
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
    for table, condition in _OF_MESSAGE.items():
        rows = await connection.fetch(
            f"SELECT {', '.join(names[table])} FROM {table} WHERE tenant_id = $1 AND session_id = $2 AND {condition}",
            mail["tenant_id"],
            mail["session_id"],
            mail["dispatch_id"],
        )
        if rows:
            written[_insert(table, names[table])] = [tuple(row.values()) for row in rows]
    return written


async def rate(owner: str, messages: Sequence[Written]) -> float:
    """Transactions per second, over so many connections."""
    pool = await asyncpg.create_pool(owner, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def write(part: Sequence[Written]) -> None:
        async with pool.acquire() as connection:
            for one in part:
                async with connection.transaction():
                    for statement, rows in one.by_statement.items():
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
