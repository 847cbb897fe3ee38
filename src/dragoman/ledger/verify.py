"""Checks a tenant's record: every chain of seals, its head, what checkpoints say of it; names what is wrong.

A chain proves that the events of a session are those that were sealed, in that order, none missing up to the head on
the session's row. Whoever may rewrite all of that may also rewrite the seals; a checkpoint that was signed before, with
a key that is not in the database, tells (docs/trust.md). The messages are those whose digests the events have.

All is read in the order of session ids, some thousand rows at a time, through cursors of one transaction: the caller
sees to it that its statements see the same moment (REPEATABLE READ).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.content import digest_of_json
from dragoman.ledger import chain as chains
from dragoman.ledger import checkpoint, merkle, retention, seal
from dragoman.ledger.chain import ALTERED, Body, Chain, ChainLink, ChainMark, EventRow, Start, Suspect
from dragoman.ledger.checkpoint import FIRST_PREVIOUS, Header, Signed
from dragoman.ledger.connection import Connection

AT_ONCE = 2000
"""Rows that are read at a time."""

MOST_SUSPECTS = 100
"""Altered events that are looked for in one another's sessions; each pair takes a few hashes for each of its events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Something is wrong with a session's record at *position*, or with a checkpoint; *kind* says what, in words."""

    session_id: UUID | None = None
    position: int = 0
    checkpoint: int | None = None
    kind: str

    @property
    def where(self) -> str:
        """Name the place in words."""
        if self.session_id is None:
            return f"checkpoint {self.checkpoint}"
        return f"session {self.session_id}, position {self.position}"


@dataclass(slots=True, kw_only=True)
class Found:
    """What was looked at, and what is wrong.

    ``messages`` are those whose content was compared with a digest in an event. ``truncated`` are sessions of which
    retention removed something, ``last_position`` is that of the last session.
    """

    sessions: int = 0
    events: int = 0
    messages: int = 0
    truncated: int = 0
    last_position: int = 0
    breaches: list[Breach] = field(default_factory=list)


Marks = Mapping[UUID, Sequence[ChainMark]]


async def verify_chains(
    connection: Connection,
    tenant_id: UUID,
    *,
    only: UUID | None = None,
    without: Collection[int] = (),
    marks: Marks = {},  # noqa: B006 - never written
    progress: Callable[[int], None] = lambda _: None,
) -> Found:
    """Check all chains of the tenant, or the one of *only*, against their heads and the checkpoints that cover them.

    What checkpoints say is read from the database, but for those of the numbers *without*; *marks* is known beside
    that. *progress* hears how many sessions are done.
    """
    reader = await _Record.open(connection, tenant_id, only, without)
    removed = await _Removed.read(connection, tenant_id, only)
    found = Found()
    suspects: list[tuple[int, Suspect]] = []
    known = dict(marks) if only is None else {only: marks[only]} if only in marks else {}
    async for row in reader.sessions:
        session_id = row["session_id"]
        found.breaches += await reader.orphans_before(session_id)
        own = [ChainMark(*leaf[1:]) for leaf in await reader.leaves.of(session_id)]
        rows, transcript = await reader.events.of(session_id), await reader.messages.of(session_id)
        truncated = await removed.reached(connection, tenant_id, session_id, row["started_at"])
        chain = Chain(
            next_position=row["next_position"],
            head=row["head"],
            start=_start(removed.anchors.get(session_id), rows) if truncated else Start(),
            marks=(*own, *known.pop(session_id, ())),
            left=chains.left(_told(rows)),
        )
        found.sessions, found.events = found.sessions + 1, found.events + len(rows)
        found.truncated += truncated
        found.last_position = row["next_position"] - 1
        position, kind = _checked(session_id, rows, chain, truncated=truncated)
        if not kind:
            position, kind, compared = _compared(rows, transcript, complete=not truncated)
            found.messages += compared
        if kind:
            suspect = _suspect(session_id, rows, position) if kind == ALTERED else None
            kind = kind if suspect is None else chains.explained(suspect)
            if suspect is not None and kind == ALTERED and len(suspects) < MOST_SUSPECTS:
                suspects.append((len(found.breaches), suspect))
            found.breaches.append(Breach(session_id=session_id, position=position, kind=kind))
        if found.sessions % 500 == 0:
            progress(found.sessions)
    found.breaches += await reader.orphans_before(None)
    found.breaches += [_missing(session_id, own[-1]) for session_id, own in known.items()]
    _find_exchanged(found.breaches, suspects)
    progress(found.sessions)
    return found


@dataclass(frozen=True, slots=True)
class _Record:
    """Reads sessions with what belongs to them, all in the order of session ids."""

    sessions: Any
    events: _Rows
    messages: _Rows
    leaves: _Rows

    @classmethod
    async def open(
        cls, connection: Connection, tenant_id: UUID, only: UUID | None, without: Collection[int]
    ) -> _Record:
        one = "" if only is None else " AND session_id = $2"
        values = (tenant_id,) if only is None else (tenant_id, only)
        return cls(
            connection.cursor(
                f"SELECT session_id, next_position, head, started_at FROM session WHERE tenant_id = $1{one} "
                "ORDER BY session_id",
                *values,
                prefetch=AT_ONCE,
            ),
            await _Rows.open(
                connection,
                "SELECT session_id, position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, "
                f"payload, seal FROM audit_event WHERE tenant_id = $1{one} ORDER BY session_id, position",
                *values,
            ),
            await _Rows.open(
                connection,
                "SELECT session_id, ordinal, message_id, content "
                f"FROM message WHERE tenant_id = $1{one} ORDER BY session_id, ordinal",
                *values,
            ),
            await _Rows.open(
                connection,
                f"SELECT session_id, events, head, number FROM checkpoint_leaf WHERE tenant_id = $1{one} "
                f"AND number <> ALL(${len(values) + 1}::int[]) ORDER BY session_id, number",
                *values,
                list(without),
            ),
        )

    async def orphans_before(self, session_id: UUID | None) -> list[Breach]:
        """What is there of sessions that are not, up to *session_id*; None for all that is left."""
        return _orphans(
            await self.events.before(session_id),
            await self.leaves.before(session_id),
            await self.messages.before(session_id),
        )


@dataclass(frozen=True, slots=True)
class _Removed:
    """What retention took of the tenant's record, and where the chains that it shortened go on."""

    cut: datetime | None
    held: Collection[UUID]
    anchors: Mapping[UUID, Start]

    @classmethod
    async def read(cls, connection: Connection, tenant_id: UUID, only: UUID | None) -> _Removed:
        anchors = await connection.fetch(
            "SELECT session_id, position, seal FROM retention_anchor WHERE tenant_id = $1 "
            "AND ($2::uuid IS NULL OR session_id = $2)",
            tenant_id,
            only,
        )
        return cls(
            await retention.latest_cut(connection, tenant_id),
            await retention.ever_held(connection, tenant_id, only),
            {row["session_id"]: Start(row["position"], row["seal"]) for row in anchors},
        )

    async def reached(self, connection: Connection, tenant_id: UUID, session_id: UUID, started_at: datetime) -> bool:
        """Whether a removal reached the session."""
        if self.cut is None or started_at >= self.cut:
            return False
        return session_id not in self.held or await retention.cut_of(connection, tenant_id, session_id) is not None


def _checked(session_id: UUID, rows: Sequence[Any], chain: Chain, *, truncated: bool) -> tuple[int, str]:
    if truncated and not rows:
        # All of it was lawfully removed; the head on the row is what is left.
        return chain.next_position - 1, chains.only_head(chain)
    return chains.first_breach(_links(session_id, rows), chain)


def _compared(rows: Sequence[Any], transcript: Sequence[Any], *, complete: bool) -> tuple[int, str, int]:
    """The first message that is not the one that was sealed, and how many of them an event has a digest of."""
    bodies = (Body(ordinal, str(message_id), digest_of_json(content)) for _, ordinal, message_id, content in transcript)
    sealed = chains.sealed_digests(_told(rows))
    compared = sum(str(message_id) in sealed for _, _, message_id, _ in transcript)
    return *chains.transcript_breach(_told(rows), bodies, complete=complete), compared


def _told(rows: Sequence[Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    return ((row["position"], row["type"], row["payload"]) for row in rows)


def _links(session_id: UUID, rows: Sequence[Any]) -> Iterator[ChainLink]:
    for _, position, at, kind, version, actor_kind, actor_name, dispatch_id, trace_id, payload, sealed in rows:
        canonical = seal.canonical(
            session_id=session_id,
            position=position,
            at=at,
            type=kind,
            schema_version=version,
            actor_kind=actor_kind,
            actor_name=actor_name,
            dispatch_id=dispatch_id,
            trace_id=trace_id,
            payload=payload,
        )
        yield ChainLink(position, canonical, sealed)


def _start(anchor: Start | None, rows: Sequence[Any]) -> Start:
    """The last event that retention removed, as its anchor has it."""
    if anchor is not None:
        return anchor
    first: int = rows[0]["position"] if rows else 1
    # What came after everything had been removed: the row's head of then was not kept, so that the seal of this one
    # event is taken as it stands.
    return Start() if first == 1 else Start(first - 1, None)


def _suspect(session_id: UUID, rows: Sequence[Any], position: int) -> Suspect:
    index = next(i for i, row in enumerate(rows) if row["position"] == position)
    return Suspect(session_id, index, [EventRow(*tuple(row)[1:]) for row in rows])


def _find_exchanged(breaches: list[Breach], suspects: Sequence[tuple[int, Suspect]]) -> None:
    """Say of altered events in which other session they were sealed, where that is so."""
    for index, suspect in suspects:
        kind = chains.exchanged(suspect, [other for _, other in suspects])
        if kind:
            breaches[index] = replace(breaches[index], kind=kind)


def _missing(session_id: UUID, mark: ChainMark) -> Breach:
    kind = f"the session is missing: checkpoint {mark.checkpoint} covers {mark.events} of its events"
    return Breach(session_id=session_id, kind=kind)


def _orphans(events: Sequence[Any], leaves: Sequence[Any], messages: Sequence[Any]) -> list[Breach]:
    """Sessions of which there is something, but no row; each has the last of every session."""
    covered = {row["session_id"]: _missing(row["session_id"], ChainMark(*row[1:])) for row in leaves}
    left = {
        row["session_id"]: Breach(session_id=row["session_id"], kind=f"the session is missing, its {what} are there")
        for what, rows in (("messages", messages), ("events", events))
        for row in rows
    }
    return list((left | covered).values())


class _Rows:
    """What a cursor gives, in the order of session ids, taken session by session."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows: list[Any] = []
        self._next = 0

    @classmethod
    async def open(cls, connection: Connection, query: str, *values: Any) -> _Rows:
        rows = cls(await connection.cursor(query, *values))
        await rows._more()
        return rows

    async def _more(self) -> bool:
        """Whether there is a row at hand, read now if need be."""
        if self._next >= len(self._rows):
            self._rows, self._next = await self._cursor.fetch(AT_ONCE), 0
        return bool(self._rows)

    async def of(self, session_id: UUID) -> list[Any]:
        """The rows of that session, if it comes next."""
        taken: list[Any] = []
        while await self._more():
            rows, at = self._rows, self._next
            while at < len(rows) and rows[at][0] == session_id:
                at += 1
            taken += rows[self._next : at]
            self._next = at
            if at < len(rows):
                break
        return taken

    async def before(self, session_id: UUID | None) -> list[Any]:
        """Passes over the sessions before that one, or all that are left; the last row of each."""
        passed: dict[UUID, Any] = {}
        while await self._more():
            row = self._rows[self._next]
            if session_id is not None and row[0] >= session_id:
                break
            passed[row[0]] = row
            self._next += 1
        return list(passed.values())


OTHER_LEAVES = "its leaves are not those that were signed"

Trusted = Collection[bytes] | None
"""Public keys whose signatures count; None where none is known and a checkpoint's own is taken at its word."""


def header_breaches(headers: Mapping[int, Signed], tenant_id: UUID, trusted: Trusted) -> list[Breach]:
    """What is wrong with checkpoints by their headers alone: gaps, signatures, links."""
    breaches = []
    for number in range(1, max(headers, default=0) + 1):
        kind = "it is missing"
        if number in headers:
            before = headers.get(number - 1)
            previous = FIRST_PREVIOUS if number == 1 else None if before is None else before.digest
            kind = header_breach(headers[number], tenant_id, number, trusted, previous=previous)
        if kind:
            breaches.append(Breach(checkpoint=number, kind=kind))
    return breaches


def header_breach(
    signed: Signed, tenant_id: UUID, number: int, trusted: Trusted, *, previous: bytes | None = None
) -> str:
    """What is wrong with a checkpoint's header; empty where nothing is. *previous* is not compared where it is None."""
    try:
        header = Header.from_bytes(signed.header)
    except ValueError as error:
        return f"it cannot be read: {error}"
    if (header.tenant_id, header.number) != (tenant_id, number):
        return "it is another one: of another tenant or number"
    if trusted is not None and header.key not in trusted:
        return f"it was signed with a key that is not known here: {header.key.hex()}"
    if not signed.signed_by(header.key):
        return "its signature does not fit: it is not what was signed"
    if previous is not None and header.previous != previous:
        return "the one before it is not the one that it names"
    return ""


async def bad_leaves(connection: Connection, tenant_id: UUID, headers: Mapping[int, Signed]) -> AsyncIterator[Breach]:
    """The checkpoints whose leaves in the database are not those that were signed."""
    missing = set(headers)
    tree: list[bytes] = []
    current = 0

    def kind(number: int, hashes: list[bytes]) -> str:
        signed = headers.get(number)
        try:
            header = None if signed is None else Header.from_bytes(signed.header)
        except ValueError:
            return ""  # told of the header
        if header is None:
            return "it is missing, its leaves are there"
        fits = (len(hashes), merkle.root(hashes)) == (header.leaves, header.root)
        return "" if fits else OTHER_LEAVES

    async for number, leaf in checkpoint.every_leaf(connection, tenant_id):
        if number != current and tree:
            missing.discard(current)
            if said := kind(current, tree):
                yield Breach(checkpoint=current, kind=said)
            tree = []
        current = number
        tree.append(leaf.hash)
    if tree:
        missing.discard(current)
        if said := kind(current, tree):
            yield Breach(checkpoint=current, kind=said)
    for number in sorted(missing):
        yield Breach(checkpoint=number, kind="its leaves are missing")


def marks_of(leaves: Sequence[tuple[int, checkpoint.Leaf]]) -> dict[UUID, list[ChainMark]]:
    """What leaves, each with the number of its checkpoint, say of each session."""
    found: defaultdict[UUID, list[ChainMark]] = defaultdict(list)
    for number, leaf in leaves:
        found[leaf.session_id].append(ChainMark(leaf.events, leaf.head, number))
    return dict(found)
