"""The outbox as a list: mail, templates and what automation sends, with the attempts at each entry.

No statement counts, and a page is read along an index of migration 0037, whatever it is narrowed by: each of these
indexes holds listed entries only, and ends with the order of the list. Of several statuses each is read along the index
on its own, and the parts are merged, since one scan of several statuses has no order.
"""

from __future__ import annotations

import base64
import dataclasses
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, from_json
from dragoman.domain.outbox_status import ALLOWED, EntryAction, OutboxStatus
from dragoman.store.conversation_list.conversations import MalformedCursorError, bounded
from dragoman.store.database import Connection, Record

MOST_COPIES = 50
"""How many copies of an entry are shown with it; more have hardly ever been made."""
MOST_TRIGGERS = 200
"""How many triggers can be chosen from."""
REPLIES = "-"
"""In place of a trigger's name: what no automation sent."""


class OutboxSort(StrEnum):
    """Orders the list. Travels over the API and in addresses under its own name."""

    NEWEST = "-created"
    """What was written last comes first."""
    SENT_LATEST = "-sent"
    """What was sent last comes first, what was never sent last."""
    SENT_EARLIEST = "sent"
    """What was never sent comes first, then what was sent first."""

    @property
    def is_descending(self) -> bool:
        """Whether it goes from late to early."""
        return self is not OutboxSort.SENT_EARLIEST

    @property
    def by_sending(self) -> bool:
        """Whether it goes by the time of sending."""
        return self is not OutboxSort.NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxFilters:
    """Narrows the list; all that are given must fit, and any of the statuses.

    ``trigger`` is an automation's name, or :data:`REPLIES`. ``recipient`` is the recipient's address or number, or how
    it begins where there is none of just that; never so where it is ``exact``. ``since`` is inclusive, ``until``
    exclusive; both speak of when entries were written.
    """

    statuses: frozenset[OutboxStatus] = frozenset()
    trigger: str | None = None
    channel: str | None = None
    recipient: str | None = None
    exact: bool = False
    session_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """Write what is given, for the record."""
        given = {
            "status": ",".join(sorted(self.statuses)),
            "trigger": self.trigger,
            "channel": self.channel,
            "recipient": self.recipient,
            "session": None if self.session_id is None else str(self.session_id),
            "from": None if self.since is None else self.since.isoformat(),
            "to": None if self.until is None else self.until.isoformat(),
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEntry:
    """Describes one entry as the list shows it.

    ``contact_id`` is None for who is no contact, ``session_id`` for what belongs to no conversation. ``subject`` is a
    mail's, or a template's name. ``trigger_name`` is empty for replies; ``by_agent`` says whose these are. ``delivery``
    is how far it came after it was sent. ``resend_of`` is the entry of which it is a copy.
    """

    outbox_entry_id: UUID
    contact_id: UUID | None
    contact_name: str | None
    contact_phone: str | None
    session_id: UUID | None
    message_id: UUID | None
    recipient: str
    recipient_kind: str
    channel: str
    subject: str
    trigger_name: str
    status: OutboxStatus
    reason: str
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None
    attempts: int
    delivery: str | None
    possible_duplicate: bool
    resend_of: UUID | None
    by_agent: bool

    @property
    def allowed(self) -> list[EntryAction]:
        """What an administrator may do with it."""
        return [action for action in EntryAction if self.status in ALLOWED[action]]

    @property
    def may_have_arrived_twice(self) -> bool:
        """Whether an attempt of which no answer was seen may have reached the recipient before the one that did."""
        return self.possible_duplicate and self.status is OutboxStatus.SENT

    @property
    def version(self) -> str:
        """Differs where the entry has changed."""
        return f"{self.status}.{self.attempts}.{self.delivery or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryAttempt:
    """Describes one attempt; ``result`` is accepted, refused or unanswered.

    ``response_code`` is the HTTP status, of a mail the SMTP code; ``code`` the channel's own.
    """

    number: int
    at: datetime
    result: str
    response_code: int | None
    code: int | None
    answer: Any
    duration_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCopy:
    """Names an entry that was made by sending another once more."""

    outbox_entry_id: UUID
    status: OutboxStatus
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDetail:
    """Describes one entry with what it says and what became of it.

    ``content`` is None where nothing can be read in it. ``email`` is a composed mail: ``subject``, ``text``, ``html``
    or None, ``attachments``; None for a plain reply. ``account`` is None where no channel account sends it.
    """

    entry: ListedEntry
    account_id: UUID | None
    account: str | None
    content: Content | None
    email: Mapping[str, Any] | None
    attempts: Sequence[EntryAttempt] = field(default=())
    copies: Sequence[EntryCopy] = field(default=())


@dataclass(frozen=True, slots=True)
class OutboxPage:
    """A part of the list; the cursor leads to what comes after it."""

    items: list[ListedEntry]
    next_cursor: str | None


_NAMES = (
    "outbox_entry_id, contact_id, session_id, message_id, recipient, recipient_kind, channel, subject, trigger_name, "
    "status, reason, created_at, due_at, sent_at, attempts, delivery, possible_duplicate, resend_of, by_agent"
)
_OF_CONTACT = "LEFT JOIN contact c ON c.tenant_id = $1 AND c.contact_id = e.contact_id"
_WITH_CONTACT = "e.*, c.display_name AS contact_name, c.phone AS contact_phone"
_SENT = "coalesce(o.sent_at, '-infinity'::timestamptz)"
_ORDERS = {
    OutboxSort.NEWEST: "{0}.created_at DESC, {0}.outbox_entry_id DESC",
    OutboxSort.SENT_LATEST: "coalesce({0}.sent_at, '-infinity'::timestamptz) DESC, {0}.outbox_entry_id DESC",
    OutboxSort.SENT_EARLIEST: "coalesce({0}.sent_at, '-infinity'::timestamptz), {0}.outbox_entry_id",
}


async def page(
    connection: Connection,
    tenant_id: UUID,
    filters: OutboxFilters,
    *,
    cursor: str | None,
    limit: int,
    cutoff: datetime,
    sort: OutboxSort = OutboxSort.NEWEST,
) -> OutboxPage:
    """Up to *limit* entries from where *cursor* points; none that was written before *cutoff*.

    Raises MalformedCursorError, and TooSlowError as the list of conversations does.
    """
    after = None if cursor is None else _decode(cursor, sort)
    since = cutoff if filters.since is None else max(cutoff, filters.since)
    values = _SqlValues([tenant_id])
    async with bounded(connection):
        exact = filters.exact or await _is_whole(connection, tenant_id, filters.recipient)
        source = _source(dataclasses.replace(filters, since=since, exact=exact), sort, after, limit, values)
        rows = await connection.fetch(
            f"SELECT {_WITH_CONTACT} FROM ({source}) e {_OF_CONTACT} ORDER BY {_ORDERS[sort].format('e')}", *values
        )
    found = [_entry(row) for row in rows[:limit]]
    return OutboxPage(found, _encode(found[-1], sort) if len(rows) > limit else None)


async def _is_whole(connection: Connection, tenant_id: UUID, recipient: str | None) -> bool:
    """Whether something went to just that address.

    Most who look for somebody give all of it, and that is answered along the index. A beginning is only where the
    index is in the order of bytes.
    """
    found: bool = recipient is not None and await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM outbox_entry WHERE tenant_id = $1 AND listed AND recipient = $2)",
        tenant_id,
        recipient_key(recipient),
    )
    return found


async def by_ids(
    connection: Connection, tenant_id: UUID, outbox_entry_ids: Sequence[UUID], *, cutoff: datetime
) -> dict[UUID, ListedEntry]:
    """Read these of the listed entries, by their ids."""
    rows = await connection.fetch(
        f"SELECT {_WITH_CONTACT} FROM (SELECT {_NAMES} FROM outbox_entry WHERE tenant_id = $1 "
        f"AND outbox_entry_id = ANY($2::uuid[]) AND listed AND created_at >= $3) e {_OF_CONTACT}",
        tenant_id,
        list(outbox_entry_ids),
        cutoff,
    )
    return {row["outbox_entry_id"]: _entry(row) for row in rows}


async def get(
    connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, cutoff: datetime
) -> EntryDetail | None:
    """Read one entry with its attempts; None where there is none in the list, or it is from before *cutoff*."""
    row = await connection.fetchrow(
        f"SELECT {_WITH_CONTACT}, a.name AS account FROM (SELECT {_NAMES}, channel_account_id, content, email "
        "FROM outbox_entry WHERE tenant_id = $1 AND outbox_entry_id = $2 AND listed AND created_at >= $3) e "
        f"{_OF_CONTACT} LEFT JOIN channel_account a ON a.tenant_id = $1 "
        "AND a.channel_account_id = e.channel_account_id",
        tenant_id,
        outbox_entry_id,
        cutoff,
    )
    if row is None:
        return None
    return EntryDetail(
        entry=_entry(row),
        account_id=row["channel_account_id"],
        account=row["account"],
        content=_content(row["content"]),
        email=row["email"],
        attempts=await _attempts(connection, tenant_id, outbox_entry_id, since=row["created_at"]),
        copies=await _copies(connection, tenant_id, outbox_entry_id),
    )


async def _attempts(
    connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, since: datetime
) -> list[EntryAttempt]:
    rows = await connection.fetch(
        # No attempt comes before its entry: the time leaves older weeks' partitions unread.
        "SELECT number, at, result, http_status AS response_code, code, answer, duration_ms FROM outbox_attempt "
        "WHERE tenant_id = $1 AND outbox_entry_id = $2 AND at >= $3 ORDER BY number, at",
        tenant_id,
        outbox_entry_id,
        since,
    )
    return [EntryAttempt(**row) for row in rows]


async def _copies(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID) -> list[EntryCopy]:
    rows = await connection.fetch(
        "SELECT outbox_entry_id, status, created_at FROM outbox_entry WHERE tenant_id = $1 AND resend_of = $2 "
        f"AND listed ORDER BY created_at, outbox_entry_id LIMIT {MOST_COPIES}",
        tenant_id,
        outbox_entry_id,
    )
    return [EntryCopy(**{**row, "status": OutboxStatus(row["status"])}) for row in rows]


async def triggers(connection: Connection, tenant_id: UUID) -> list[str]:
    """Read the names of the automation that sent something, by one look into the index for each."""
    rows = await connection.fetch(
        "WITH RECURSIVE named AS ("
        "(SELECT trigger_name FROM outbox_entry WHERE tenant_id = $1 AND listed AND trigger_name > '' "
        "ORDER BY trigger_name LIMIT 1) UNION ALL "
        "SELECT (SELECT o.trigger_name FROM outbox_entry o WHERE o.tenant_id = $1 AND o.listed "
        "AND o.trigger_name > named.trigger_name ORDER BY o.trigger_name LIMIT 1) "
        "FROM named WHERE named.trigger_name IS NOT NULL) "
        f"SELECT trigger_name FROM named WHERE trigger_name IS NOT NULL LIMIT {MOST_TRIGGERS}",
        tenant_id,
    )
    return [row["trigger_name"] for row in rows]


def recipient_key(text: str) -> str:
    """Write what somebody looks for as recipients stand on record: an address in small letters, a number as digits."""
    text = text.strip()
    digits = "".join(c for c in text if c.isdecimal() and c.isascii())
    if digits and not text.strip("+0123456789 ()./-"):
        return digits.removeprefix("00") if text.startswith("00") else digits
    return text.lower()


class _SqlValues(list[Any]):
    def add(self, value: Any) -> str:
        self.append(value)
        return f"${len(self)}"


@dataclass(frozen=True, slots=True)
class _EntryPlace:
    """Where an entry stands: the time sorted by, None for one that was never sent, and its id."""

    at: datetime | None
    outbox_entry_id: UUID


def _source(filters: OutboxFilters, sort: OutboxSort, after: _EntryPlace | None, limit: int, values: _SqlValues) -> str:
    conditions = _conditions(filters, values)
    if after is not None:
        column = _SENT if sort.by_sending else "o.created_at"
        place = f"(coalesce({values.add(after.at)}::timestamptz, '-infinity'), {values.add(after.outbox_entry_id)})"
        conditions.append(f"({column}, o.outbox_entry_id) {'<' if sort.is_descending else '>'} {place}")
    statuses = sorted(filters.statuses)
    several = len(statuses) > 1 and not sort.by_sending
    if several:
        conditions.append("o.status = wanted.status")
    elif statuses:
        conditions.append(
            f"o.status = {values.add(statuses[0])}" if len(statuses) == 1 else f"o.status = ANY({values.add(statuses)})"
        )
    part = (
        f"SELECT {_NAMES} FROM outbox_entry o WHERE {' AND '.join(conditions)} "
        f"ORDER BY {_ORDERS[sort].format('o')} LIMIT {limit + 1}"
    )
    if not several:
        return part
    return (
        f"SELECT o.* FROM unnest({values.add(statuses)}::text[]) AS wanted(status), LATERAL ({part}) o "
        f"ORDER BY {_ORDERS[sort].format('o')} LIMIT {limit + 1}"
    )


def _conditions(filters: OutboxFilters, values: _SqlValues) -> list[str]:
    found = ["o.tenant_id = $1", "o.listed"]
    for condition, value in (
        ("o.created_at >= {}", filters.since),
        ("o.created_at < {}", filters.until),
        ("o.trigger_name = {}", "" if filters.trigger == REPLIES else filters.trigger),
        ("o.channel = {}", filters.channel),
        ("o.session_id = {}", filters.session_id),
    ):
        if value is not None:
            found.append(condition.format(values.add(value)))
    if filters.recipient is not None:
        key = recipient_key(filters.recipient)
        if filters.exact:
            found.append(f"o.recipient = {values.add(key)}")
        else:
            found.append(f"o.recipient LIKE {values.add(_beginning(key))}")
    return found


def _beginning(text: str) -> str:
    """The pattern of all that begins with *text*."""
    return "".join(f"\\{c}" if c in "\\%_" else c for c in text) + "%"


def _entry(row: Record) -> ListedEntry:
    fields = {name: row[name] for name in ListedEntry.__slots__}
    return ListedEntry(**{**fields, "status": OutboxStatus(row["status"])})


def _content(stored: Any) -> Content | None:
    try:
        return from_json(stored)
    except (KeyError, TypeError, ValueError):
        return None


_FORM = struct.Struct(">BQ16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SORTS = tuple(OutboxSort)


def _encode(entry: ListedEntry, sort: OutboxSort) -> str:
    at = entry.sent_at if sort.by_sending else entry.created_at
    # Zero is for what was never sent.
    number = 0 if at is None else max((at - _EPOCH) // timedelta(microseconds=1), 0) + 1
    packed = _FORM.pack(_SORTS.index(sort), number, entry.outbox_entry_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _decode(cursor: str, sort: OutboxSort) -> _EntryPlace:
    """Raises MalformedCursorError for what this list did not give out, or gave out in another order."""
    try:
        packed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        head, number, raw = _FORM.unpack(packed)
        at = None if number == 0 else _EPOCH + timedelta(microseconds=number - 1)
        found = _SORTS[head]
    except (ValueError, struct.error, IndexError, OverflowError) as error:
        raise MalformedCursorError("not a cursor of this list") from error
    # Of the texts that mean the same bytes, only the one that was given out.
    if base64.urlsafe_b64encode(packed).decode().rstrip("=") != cursor or (at is None and not found.by_sending):
        raise MalformedCursorError("not a cursor of this list")
    if found is not sort:
        raise MalformedCursorError(f"a cursor of the list in another order ({found}); start again without it")
    return _EntryPlace(at, UUID(bytes=raw))
