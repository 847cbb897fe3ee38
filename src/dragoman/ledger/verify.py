"""Checks the chain of seals: any changed, missing, reordered or inserted event of a session is named.

What it proves today: the events of a session are those that were sealed, in that order, none missing up to the
head on the session's row. Whoever may rewrite all of that may also rewrite the seals; signed checkpoints outside the
database will close that gap.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dragoman.ledger import retention, seal
from dragoman.ledger.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Something is wrong with a session's record at *position*; *kind* says what, in words."""

    session_id: UUID
    position: int
    kind: str


async def verify_session(connection: Connection, tenant_id: UUID, session_id: UUID) -> tuple[int, Breach | None]:
    """How many events were checked, and the first breach if there is one."""
    session = await connection.fetchrow(
        "SELECT next_position, head, started_at FROM session WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session_id,
    )
    if session is None:
        return 0, Breach(session_id=session_id, position=0, kind="the session is missing")
    rows = await connection.fetch(
        "SELECT position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, payload, seal "
        "FROM audit_event WHERE tenant_id = $1 AND session_id = $2 ORDER BY position",
        tenant_id,
        session_id,
    )
    start = Start()
    if await retention.cut_of(connection, tenant_id, session["started_at"]) is not None:
        if not rows:
            return 0, None  # all of it was lawfully removed; the head on the row is what is left
        start = await _after_removal(connection, tenant_id, session_id, rows)
    position, kind = first_breach(_links(session_id, rows), session["next_position"], session["head"], start)
    return len(rows), Breach(session_id=session_id, position=position, kind=kind) if kind else None


def _links(session_id: UUID, rows: list[Any]) -> Iterator[Link]:
    for row in rows:
        fields = {name: row[name] for name in row.keys() if name != "seal"}  # noqa: SIM118 - a record
        yield Link(row["position"], seal.canonical(session_id=session_id, **fields), row["seal"])


@dataclass(frozen=True, slots=True)
class Link:
    """An event as its seal covers it: its position, its canonical bytes, its seal."""

    position: int
    canonical: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """Where the check of a chain begins: after *position*, whose seal is known unless it is None."""

    position: int = 0
    seal: bytes | None = seal.GENESIS


async def _after_removal(connection: Connection, tenant_id: UUID, session_id: UUID, rows: list[Any]) -> Start:
    """The last event that retention removed, as its anchor has it."""
    anchor = await connection.fetchrow(
        "SELECT position, seal FROM retention_anchor WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
    )
    if anchor is not None:
        return Start(anchor["position"], anchor["seal"])
    first: int = rows[0]["position"]
    # What came after everything had been removed: the row's head of then was not kept, so that the seal of this one
    # event is taken as it stands.
    return Start() if first == 1 else Start(first - 1, None)


def first_breach(links: Iterable[Link], next_position: int, head: bytes | None, start: Start) -> tuple[int, str]:
    """Where the chain breaks and how; the text is empty where it does not."""
    previous = start.seal
    expected = start.position
    for link in links:
        expected += 1
        if link.position != expected:
            kind = "an event is missing" if link.position > expected else "an event stands here twice"
            return expected, kind
        if previous is None:
            previous = link.seal
            continue
        previous = seal.seal(previous, link.canonical)
        if previous != link.seal:
            return expected, "the event is not the one that was sealed"
    if expected + 1 < next_position:
        return expected + 1, "events are missing at the end"
    if expected + 1 > next_position:
        return next_position, "events were added at the end"
    return expected, "the head is not the last seal" if expected > start.position and previous != head else ""


async def session_ids(connection: Connection, tenant_id: UUID) -> AsyncIterator[UUID]:
    """All sessions of the tenant, a few hundred at a time; needs a transaction for its cursor."""
    async for row in connection.cursor(
        "SELECT session_id FROM session WHERE tenant_id = $1 ORDER BY session_id", tenant_id, prefetch=500
    ):
        yield row["session_id"]
