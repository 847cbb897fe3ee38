"""The list of raw deliveries, newest first, and what became of each item in them.

No statement counts: a tenant has millions. A page is read along an index, whatever it is narrowed by: time
(``raw_delivery_by_time``), a message's id or what became of an item (``delivery_item``), statuses that wait or that
belong to no message of ours (``message_status_held``, ``message_status_unmatched``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dragoman.store.conversation_list.conversations import NEWEST, bounded
from dragoman.store.conversation_list.cursors import ListCursor, decode, encode
from dragoman.store.database import Connection, Record
from dragoman.store.receiving.deliveries import NO_MESSAGE_OF_OURS, message_key

ITEMS_SHOWN = 20
"""How many items of a delivery stand in the list; the channel may send a thousand at once."""


class Fate(StrEnum):
    """Says what became of an item of a delivery."""

    MESSAGE = "message"
    """A message that was taken in."""
    STATUS = "status"
    """A status of a message, applied or kept with a reason."""
    HELD = "held"
    """It waits for its message to be known: a status, or a mark on a message that has not come."""
    UNMATCHED = "unmatched"
    """A status of no message of ours."""
    DUPLICATE = "duplicate"
    """It came before."""
    KEPT = "kept"
    """Anything else, kept with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilters:
    """What the list is narrowed to; all that are given must fit. ``since`` is inclusive, ``until`` exclusive.

    ``message`` is the channel's id of a message, which its statuses have too.
    """

    message: str | None = None
    fate: Fate | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredItem:
    """Describes an item of a delivery, by its place.

    ``fate`` is a :class:`Fate`, or a word that was not known when this was written. ``id`` is the channel's id of the
    message, ``status`` its word. ``reason`` says why, ``difference`` in what a duplicate differs. ``session_id`` and
    ``message_id`` lead to the message, where it has a session.
    """

    place: int
    fate: str
    id: str | None = None
    status: str | None = None
    reason: str = ""
    difference: Any = None
    session_id: UUID | None = None
    message_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """Describes one raw delivery; ``account`` is the name of the account that it was for, None for none of ours."""

    delivery_id: UUID
    at: datetime
    channel: str
    channel_account_id: UUID | None
    account: str | None
    size_bytes: int
    reports: Sequence[Mapping[str, Any]]
    items: tuple[DeliveredItem, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A part of the list; the cursor leads to what is older."""

    items: list[ListedDelivery]
    next_cursor: str | None


_COLUMNS = (
    "d.delivery_id, d.at, d.channel, d.channel_account_id, a.name AS account, octet_length(d.body) AS size_bytes, "
    "d.items AS reports"
)
_ACCOUNT = "LEFT JOIN channel_account a ON a.tenant_id = d.tenant_id AND a.channel_account_id = d.channel_account_id"


async def page(
    connection: Connection,
    tenant_id: UUID,
    filters: DeliveryFilters,
    *,
    cursor: str | None,
    limit: int,
    cutoff: datetime,
) -> DeliveryPage:
    """Up to *limit* deliveries from where *cursor* points, each with the fates of its items; none from before *cutoff*.

    Raises MalformedCursorError, and TooSlowError as the list of conversations does.
    """
    after = None if cursor is None else decode(cursor, NEWEST)[0]
    since = cutoff if filters.since is None else max(cutoff, filters.since)
    statement, values = _statement(tenant_id, dataclasses.replace(filters, since=since), after, limit)
    async with bounded(connection):
        rows = await connection.fetch(statement, *values)
    found = [ListedDelivery(**row) for row in rows[:limit]]
    items = await _with_items(connection, tenant_id, found, lambda one: _places(one, filters))
    more = len(rows) > limit
    return DeliveryPage(items, encode(ListCursor(found[-1].at, found[-1].delivery_id), NEWEST) if more else None)


async def get(connection: Connection, tenant_id: UUID, delivery_id: UUID, *, cutoff: datetime) -> ListedDelivery | None:
    """Read one delivery; None where there is none, or it is from before *cutoff*."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM raw_delivery d {_ACCOUNT} "
        "WHERE d.tenant_id = $1 AND d.delivery_id = $2 AND d.at >= $3",
        tenant_id,
        delivery_id,
        cutoff,
    )
    if row is None:
        return None
    return (await _with_items(connection, tenant_id, [ListedDelivery(**row)], lambda one: range(len(one.reports))))[0]


def _places(one: ListedDelivery, filters: DeliveryFilters) -> Sequence[int]:
    """The items of a delivery that the list shows: those that were looked for, else the first."""
    wanted = [place for place, report in enumerate(one.reports) if filters.message in (None, report.get("id"))]
    return (wanted or range(len(one.reports)))[:ITEMS_SHOWN]


class _Values(list[Any]):
    def add(self, value: Any) -> str:
        self.append(value)
        return f"${len(self)}"


def _statement(
    tenant_id: UUID, filters: DeliveryFilters, after: ListCursor | None, limit: int
) -> tuple[str, list[Any]]:
    values = _Values([tenant_id])
    if filters.fate in {Fate.HELD, Fate.UNMATCHED}:
        return _by_status(filters, after, limit, values), values
    conditions = _within("d.at", filters, values)
    if after is not None:
        conditions.append(f"(d.at, d.delivery_id) < ({values.add(after.value)}, {values.add(after.session_id)})")
    common = filters.fate in {None, Fate.MESSAGE, Fate.STATUS}
    if filters.message is None and common:
        source = f"raw_delivery d {_ACCOUNT}"
        conditions.append("d.tenant_id = $1")
        if filters.fate is not None:
            conditions.append(f"d.items @> {values.add([{'result': filters.fate.value}])}")
    else:
        source = _by_item(filters, after, limit, values)
    return (
        f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(conditions) or 'true'} "
        f"ORDER BY d.at DESC, d.delivery_id DESC LIMIT {limit + 1}",
        values,
    )


def _within(column: str, filters: DeliveryFilters, values: _Values) -> list[str]:
    found = []
    if filters.since is not None:
        found.append(f"{column} >= {values.add(filters.since)}")
    if filters.until is not None:
        found.append(f"{column} < {values.add(filters.until)}")
    return found


def _by_item(filters: DeliveryFilters, after: ListCursor | None, limit: int, values: _Values) -> str:
    """The deliveries whose items are looked for, along the index on these."""
    conditions = ["i.tenant_id = $1", *_within("i.at", filters, values)]
    if after is not None:
        conditions.append(f"(i.at, i.delivery_id) < ({values.add(after.value)}, {values.add(after.session_id)})")
    if filters.message is not None:
        conditions.append(f"i.message_key = {values.add(message_key(filters.message))}")
    if filters.fate is not None:
        conditions.append(f"i.result = {values.add(filters.fate.value)}")
    found = (
        f"(SELECT DISTINCT i.at, i.delivery_id FROM delivery_item i WHERE {' AND '.join(conditions)} "
        f"ORDER BY i.at DESC, i.delivery_id DESC LIMIT {limit + 1}) AS f"
    )
    return (
        f"{found} JOIN raw_delivery d ON d.tenant_id = $1 AND d.delivery_id = f.delivery_id AND d.at = f.at {_ACCOUNT}"
    )


def _by_status(filters: DeliveryFilters, after: ListCursor | None, limit: int, values: _Values) -> str:
    """The deliveries that brought statuses which are not applied, along the index on these.

    A status is received when its delivery is: both were written in one transaction.
    """
    waits = "s.applied IS NULL" if filters.fate is Fate.HELD else f"s.applied = '{NO_MESSAGE_OF_OURS}'"
    conditions = ["s.tenant_id = $1", waits, *_within("s.received_at", filters, values)]
    if after is not None:
        at, delivery_id = values.add(after.value), values.add(after.session_id)
        conditions += [f"s.received_at <= {at}", f"(d.at, d.delivery_id) < ({at}, {delivery_id})"]
    if filters.message is not None:
        conditions.append(f"s.channel_message_id = {values.add(filters.message)}")
    return (
        f"SELECT DISTINCT ON (s.received_at, d.delivery_id) {_COLUMNS} FROM message_status s "
        "JOIN raw_delivery d ON d.tenant_id = $1 AND d.at = s.received_at AND d.items @> "
        "jsonb_build_array(jsonb_build_object('id', s.channel_message_id, 'result', 'status', 'status', s.status)) "
        f"{_ACCOUNT} WHERE {' AND '.join(conditions)} "
        f"ORDER BY s.received_at DESC, d.delivery_id DESC LIMIT {limit + 1}"
    )


async def _with_items(
    connection: Connection,
    tenant_id: UUID,
    found: Sequence[ListedDelivery],
    places: Callable[[ListedDelivery], Sequence[int]],
) -> list[ListedDelivery]:
    """The deliveries with the fates of the items at *places*: what was said at once, and what came of it later."""
    shown = {one.delivery_id: [(place, one.reports[place]) for place in places(one)] for one in found}
    sessions = await _sessions(connection, tenant_id, found, shown)
    statuses = await _statuses(connection, tenant_id, shown)
    nowhere = await _in_no_session(connection, tenant_id, shown, sessions)
    return [
        dataclasses.replace(
            one,
            items=tuple(
                _item(one, place, report, sessions, statuses, nowhere.get(_id(report)))
                for place, report in shown[one.delivery_id]
            ),
        )
        for one in found
    ]


_Sessions = Mapping[tuple[UUID, int], tuple[UUID, UUID]]
_Statuses = Mapping[tuple[str, str, datetime], Record]


def _item(
    one: ListedDelivery,
    place: int,
    report: Mapping[str, Any],
    sessions: _Sessions,
    statuses: _Statuses,
    nowhere: tuple[str, str] | None,
) -> DeliveredItem:
    fate, reason = nowhere or (str(report.get("result", "")), str(report.get("reason") or ""))
    channel_id, status = report.get("id"), report.get("status")
    session_id, message_id = sessions.get((one.delivery_id, place), (None, None))
    row = statuses.get((str(channel_id), str(status), one.at)) if fate == Fate.STATUS else None
    if row is not None:
        session_id, message_id = row["session_id"], row["message_id"]
        # What was applied says the status itself.
        reason = reason or ("applied" if row["applied"] == status else row["applied"] or "")
        if row["applied"] is None:
            fate = Fate.HELD
        elif row["applied"] == NO_MESSAGE_OF_OURS:
            fate = Fate.UNMATCHED
    return DeliveredItem(
        place=place,
        fate=fate,
        id=str(channel_id) if channel_id else None,
        status=str(status) if status else None,
        reason=reason or str(report.get("field") or ""),
        difference=report.get("difference"),
        session_id=session_id,
        message_id=message_id,
    )


_Shown = Mapping[UUID, Sequence[tuple[int, Mapping[str, Any]]]]
"""The items that are shown of each delivery, with their places in it."""


async def _sessions(
    connection: Connection, tenant_id: UUID, found: Sequence[ListedDelivery], shown: _Shown
) -> _Sessions:
    """The messages in the transcripts that came with these deliveries, by delivery and place in it."""
    wanted = [one for one in found if any(report.get("result") == Fate.MESSAGE for _, report in shown[one.delivery_id])]
    if not wanted:
        return {}
    rows = await connection.fetch(
        # The times leave all but some weeks' partitions unread.
        "SELECT delivery_id, delivery_item, session_id, message_id FROM message WHERE tenant_id = $1 "
        "AND delivery_id = ANY($2::uuid[]) AND at BETWEEN $3 AND $4",
        tenant_id,
        [one.delivery_id for one in wanted],
        min(one.at for one in wanted),
        max(one.at for one in wanted),
    )
    return {(row["delivery_id"], row["delivery_item"]): (row["session_id"], row["message_id"]) for row in rows}


def _id(report: Mapping[str, Any]) -> str:
    """The id of the message that an item became; empty for one that became none."""
    return str(report.get("message_id") or "") if report.get("result") == Fate.MESSAGE else ""


async def _in_no_session(
    connection: Connection, tenant_id: UUID, shown: _Shown, sessions: _Sessions
) -> dict[str, tuple[str, str]]:
    """The fate and the reason of messages that stand in no transcript, by their ids."""
    ids = [
        _id(report)
        for delivery_id, items in shown.items()
        for place, report in items
        if _id(report) and (delivery_id, place) not in sessions
    ]
    if not ids:
        return {}
    rows = await connection.fetch(
        "SELECT message_id, progress = 'done' AS done, held_until IS NOT NULL AS held FROM mailbox "
        "WHERE tenant_id = $1 AND message_id = ANY($2::uuid[]) AND session_id IS NULL",
        tenant_id,
        ids,
    )
    found = {}
    for row in rows:
        if row["done"]:
            said = (Fate.KEPT, "it belongs to no conversation that is on record")
        elif row["held"]:
            said = (Fate.HELD, "waits for the message that it refers to")
        else:
            said = (Fate.MESSAGE, "waits for its dispatch")
        found[str(row["message_id"])] = (str(said[0]), said[1])
    return found


async def _statuses(connection: Connection, tenant_id: UUID, shown: _Shown) -> _Statuses:
    """What was done with the statuses that these deliveries brought, and of which message of ours they speak."""
    ids = {
        str(report["id"])
        for items in shown.values()
        for _, report in items
        if report.get("result") == Fate.STATUS and report.get("id")
    }
    if not ids:
        return {}
    rows = await connection.fetch(
        "SELECT s.channel_message_id, s.status, s.received_at, s.applied, o.session_id, o.message_id "
        "FROM channel_account a JOIN message_status s ON s.tenant_id = $1 "
        "AND s.channel_account_id = a.channel_account_id AND s.channel_message_id = ANY($2::text[]) "
        "LEFT JOIN outbox_entry o ON o.tenant_id = $1 AND o.channel_message_id = s.channel_message_id "
        "WHERE a.tenant_id = $1",
        tenant_id,
        list(ids),
    )
    return {(row["channel_message_id"], row["status"], row["received_at"]): row for row in rows}
