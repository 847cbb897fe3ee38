"""Where a chain of seals breaks, and how: the part of verification that needs no database."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.ledger import seal

ALTERED = "the event is not the one that was sealed"
ADDED = "events were added at the end"
NOT_LEFT = "the event is not what the contact's erasure left of it"

ERASURE = "contact.erased"
"""The type of the events that say what is left of events before them."""

WITH_BODY = frozenset({"message.received", "message.echoed", "message.sent", "note.added"})
"""Types of events that have the digest of a message's content."""

MOST_TRIED = 300
"""In longer chains an event is not looked for at every other place, only at those that lie near."""
NEAR = 20


@dataclass(frozen=True, slots=True)
class ChainLink:
    """Is an event as its seal covers it: its position, its canonical bytes, its seal."""

    position: int
    canonical: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """Where the check of a chain begins: after *position*, whose seal is known unless it is None."""

    position: int = 0
    seal: bytes | None = seal.GENESIS


@dataclass(frozen=True, slots=True)
class ChainMark:
    """What a checkpoint says of a chain: the seal of the event at *events*."""

    events: int
    head: bytes
    checkpoint: int


NO_MARKS: Sequence[ChainMark] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What a chain is checked against: what its session's row says, and the checkpoints that cover it."""

    next_position: int
    head: bytes | None
    start: Start = field(default_factory=Start)
    marks: Sequence[ChainMark] = NO_MARKS
    left: Mapping[int, str] = field(default_factory=dict)
    """What erasures left, by position: see :func:`left`."""


def left(told: Iterable[tuple[int, str, Mapping[str, Any]]]) -> dict[int, str]:
    """Of which events an erasure says what it left, with the SHA-256 (hex) of that.

    Whoever can seal an event onto the chain can say so, and whoever cannot change events has nothing from it. The first
    to say it of an event counts: nobody can say it again of what was erased already.
    """
    found: dict[int, str] = {}
    for position, kind, payload in told:
        named = payload.get("left") if kind == ERASURE and isinstance(payload, Mapping) else None
        for key, digest in named.items() if isinstance(named, Mapping) else ():
            if str(key).isdecimal() and int(key) < position:
                found.setdefault(int(key), str(digest))
    return found


def first_breach(links: Iterable[ChainLink], chain: Chain) -> tuple[int, str]:
    """Where the chain breaks and how; the text is empty where it does not."""
    start = chain.start
    previous, expected = start.seal, start.position
    guard = _Guard(chain.marks, start)
    if start.seal is not None and (kind := guard.breach(start.position, start.seal)):
        return start.position, kind
    for link in links:
        expected += 1
        if link.position != expected:
            return expected, "an event is missing" if link.position > expected else "an event stands here twice"
        if expected >= chain.next_position:
            return expected, ADDED
        if kind := _altered(link, previous, chain.left.get(expected)):
            return expected, kind
        previous = link.seal
        if expected in guard.marks and (kind := guard.breach(expected, previous)):
            return guard.until + 1, kind
    return _end(chain, expected, previous)


def _altered(link: ChainLink, previous: bytes | None, left: str | None) -> str:
    if left is not None:
        # What was sealed is gone for good. That this is what is left of it was sealed, too, further on.
        return "" if hashlib.sha256(link.canonical).hexdigest() == left else NOT_LEFT
    return "" if previous is None or seal.seal(previous, link.canonical) == link.seal else ALTERED


class _Guard:
    """Compares the seals of a chain with what checkpoints say of them; up to ``until`` they have been found right."""

    def __init__(self, marks: Sequence[ChainMark], start: Start) -> None:
        self.marks: dict[int, list[ChainMark]] = {}
        for mark in marks:
            self.marks.setdefault(mark.events, []).append(mark)
        self.until = start.position

    def breach(self, position: int, found: bytes) -> str:
        for mark in self.marks.get(position, ()):
            if mark.head != found:
                return _rewritten(mark, self.until)
        self.until = position
        return ""


def _end(chain: Chain, last: int, found: bytes | None) -> tuple[int, str]:
    """Whether a chain that is whole up to its event *last*, with that seal, ends where it should."""
    if last + 1 < chain.next_position:
        return last + 1, "events are missing at the end"
    if last + 1 > chain.next_position:
        return chain.next_position, ADDED
    beyond = [mark for mark in chain.marks if mark.events > last]
    if beyond:
        mark = min(beyond, key=lambda mark: mark.events)
        return last + 1, f"events are missing at the end: checkpoint {mark.checkpoint} covers {mark.events}"
    return last, "the head is not the last seal" if found not in {None, chain.head or seal.GENESIS} else ""


def _rewritten(mark: ChainMark, guarded: int) -> str:
    what = f"event {mark.events}" if mark.events == guarded + 1 else f"one of the events {guarded + 1} to {mark.events}"
    return f"the chain was written anew: {what} is not what checkpoint {mark.checkpoint} covers"


def only_head(chain: Chain) -> str:
    """How the head that is left of a chain, all of whose events retention removed, breaks it; empty if it does not."""
    last = chain.next_position - 1
    for mark in chain.marks:
        if mark.events > last:
            return f"events are missing at the end: checkpoint {mark.checkpoint} covers {mark.events}"
        if mark.events == last and mark.head != chain.head:
            return f"the head is not the one that checkpoint {mark.checkpoint} covers"
    return ""


@dataclass(frozen=True, slots=True)
class Body:
    """A message as the transcript has it: its number, its id, the digest of its content."""

    ordinal: int
    message_id: str
    digest: str


def sealed_digests(told: Iterable[tuple[int, str, Mapping[str, Any]]]) -> dict[str, tuple[int, Any]]:
    """Give the digests of messages that events have, by the message's id, each with the event's position."""
    # Whoever seals anew may have left anything in a payload: what is not there fits no message.
    return {
        str(payload.get("message_id")): (position, payload.get("content_digest"))
        for position, kind, payload in told
        if kind in WITH_BODY and isinstance(payload, Mapping)
    }


def transcript_breach(
    told: Iterable[tuple[int, str, Mapping[str, Any]]], bodies: Iterable[Body], *, complete: bool
) -> tuple[int, str]:
    """The first message that is not the one that a sealed event tells of, with that event's position; empty if none is.

    *told* are the position, type and payload of events whose chain is whole. Where the record is not *complete*, since
    retention removed some of it, no message has to be there. A message that no event tells of is nobody's word, and
    passed over.
    """
    sealed = sealed_digests(told)
    for body in bodies:
        position, digest = sealed.pop(body.message_id, (0, body.digest))
        if body.digest != digest:
            return position, f"message {body.ordinal}: its content is not the one that was sealed"
    if sealed and complete:
        return min(position for position, _ in sealed.values()), "the message that the event tells of is missing"
    return 0, ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as the database has it, in the order in which :mod:`~dragoman.ledger.verify` reads its columns."""

    position: int
    at: datetime
    type: str
    schema_version: int
    actor_kind: str
    actor_name: str
    dispatch_id: UUID | None
    trace_id: str | None
    payload: Mapping[str, Any]
    seal: bytes

    def canonical(self, session_id: UUID, position: int) -> bytes:
        """Give its bytes if it stood there."""
        return seal.canonical(
            session_id=session_id,
            position=position,
            at=self.at,
            type=self.type,
            schema_version=self.schema_version,
            actor_kind=self.actor_kind,
            actor_name=self.actor_name,
            dispatch_id=self.dispatch_id,
            trace_id=self.trace_id,
            payload=self.payload,
        )


@dataclass(frozen=True, slots=True)
class Suspect:
    """An event that is not the one that was sealed, with the events around it."""

    session_id: UUID
    index: int
    rows: Sequence[EventRow]

    @property
    def row(self) -> EventRow:
        """Is the event itself."""
        return self.rows[self.index]

    @property
    def seals(self) -> set[bytes]:
        """All seals of the session that are known, the one before the first event too."""
        return {seal.GENESIS, *(row.seal for row in self.rows)}


def explained(suspect: Suspect) -> str:
    """What was done to an event that is not the one that was sealed, as far as the events around it tell."""
    session_id, rows, index, row = suspect.session_id, suspect.rows, suspect.index, suspect.row
    previous = rows[index - 1].seal if index else seal.GENESIS
    place = _place(row, session_id, _tried(rows, row), suspect.seals)
    if place is not None and place != row.position:
        return f"the events are in another order: this one was sealed as event {place}"
    if index + 1 < len(rows):
        after = rows[index + 1]
        if seal.seal(previous, after.canonical(session_id, row.position)) == after.seal:
            return "an event was inserted here"
        if seal.seal(row.seal, after.canonical(session_id, after.position + 1)) == after.seal:
            return "an event is missing here, and those after it were given other positions"
    return ALTERED


def _tried(rows: Sequence[EventRow], row: EventRow) -> Iterable[int]:
    if len(rows) <= MOST_TRIED:
        return range(1, rows[-1].position + 1) if rows[-1].position <= MOST_TRIED else [r.position for r in rows]
    return range(max(1, row.position - NEAR), row.position + NEAR + 1)


def _place(row: EventRow, session_id: UUID, positions: Iterable[int], seals: Collection[bytes]) -> int | None:
    """The position at which the event was sealed in that session, if it is one of *positions*."""
    for position in positions:
        canonical = row.canonical(session_id, position)
        if any(seal.seal(previous, canonical) in seals for previous in seals):
            return position
    return None


def exchanged(suspect: Suspect, others: Sequence[Suspect]) -> str:
    """The session of *others* in which the event was sealed, in words; empty where it is none of them."""
    for other in others:
        if other.session_id != suspect.session_id:
            positions = {suspect.row.position, other.row.position}
            seals = {*other.seals, suspect.row.seal}
            place = _place(suspect.row, other.session_id, positions, seals)
            if place is not None:
                return f"the event was sealed in session {other.session_id}, as its event {place}"
    return ""
