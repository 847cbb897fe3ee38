"""What retention removes and what it leaves on record; all but :func:`cuts` on the owner's connection.

The application's role can neither drop a partition nor delete a row of the record. A session's row, with the head of
its chain, stays; where the chain goes on beyond what was removed, the last seal that went is kept as its anchor and the
removal is an event of the chain itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.events import AuditEvent, RetentionTruncated
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.retention import Rule
from dragoman.ledger import append
from dragoman.ledger.connection import Connection
from dragoman.sql import bulk_insert

RECORD = ("message", "message_words", "audit_event", "raw_delivery", "delivery_item", "outbox_attempt")
"""The partitioned tables. Others that hold what was said are swept: see :data:`SWEPT`."""

SWEPT = {
    "outbox_entry": "created_at < $2 AND status IN ('SENT', 'FAILED', 'SKIPPED', 'CANCELLED')",
    "message_status": "received_at < $2",
    "access_record": "at < $2",
    # What waited so long that it may not be kept is not answered any more either.
    "mailbox": "received_at < $2 AND progress = 'waiting'",
    "contact_history": "at < $2",
    "channel_event": "at < $2",
    "review_note": "written_at < $2",
    "review_note_deleted": "written_at < $2",
    "review_tag": "added_at < $2",
    "reply_draft": "changed_at < $2",
    "skill_invocation": "at < $2",
    "unanswered_message": "at < $2",
    "usage_counted": "last_at < $2",
    "usage_count": "start < $2",
    "question_group": "last_at < $2 AND decision IS NULL",
}
"""Rows that go by their own age, each with the condition for it."""

ERASED_CONTENT = '{"kind": "erased"}'

_NOTHING_LEFT = (
    "started_at < $2 AND (last_user_message <> '' OR outcome_reason <> '' OR awaiting IS NOT NULL "
    "OR flow IS NOT NULL) AND NOT EXISTS (SELECT FROM message m WHERE m.tenant_id = $1 "
    "AND m.session_id = session.session_id AND m.at >= $2)"
)

EMPTIED = {
    "session": ("last_user_message = '', outcome_reason = '', awaiting = NULL, flow = NULL", _NOTHING_LEFT),
    # The row itself tells redeliveries for some days more.
    "mailbox": (
        f"content = '{ERASED_CONTENT}', referral = NULL, presence = NULL, redacted = NULL",
        f"received_at < $2 AND progress = 'done' AND content <> '{ERASED_CONTENT}'",
    ),
    "export_request": (
        "filters = '{}', reason = ''",
        "requested_at < $2 AND state IN ('failed', 'cancelled', 'expired') AND (filters <> '{}' OR reason <> '')",
    ),
}
"""Rows that stay and lose what was said: what is set, and for which rows."""

_PEOPLE, _DEFINITIONS, _IDS = "people of ours", "definitions and settings of ours", "ids, counts, digests"
STAYS = {
    "failed_job": "ids, and the class and place of an error; goes thirty days after somebody acted on it",
    "agent_request": _IDS,
    "handoff": "ids and times of ours, and which colleague had the conversation: a summary, as the session's row is",
    "handoff_attention": _PEOPLE,
    "administrator_action": "the administrators' record, which is kept; an erasure takes a contact out of it",
    "agent": _PEOPLE,
    "alembic_version": _IDS,
    "automation_trigger": _DEFINITIONS,
    "api_token": _PEOPLE,
    "business_partner": "the customer directory, which is kept elsewhere and brought here",
    "business_partner_phone": "the customer directory; an erasure takes a contact out of it",
    "canned_reply": _DEFINITIONS,
    "channel_account": _DEFINITIONS,
    "checkpoint": _IDS,
    "checkpoint_due": _IDS,
    "checkpoint_leaf": _IDS,
    "classifier_version": _DEFINITIONS,
    "contact": "who the contacts are, for as long as they are contacts: erased with them",
    "contact_alias": "what contacts were ever known by, so that they are found: erased with them",
    "contact_identity": "how contacts are reached: erased with them",
    "contact_rate": "when a contact's latest messages came, for a day",
    "directory": _DEFINITIONS,
    "email_template": _DEFINITIONS,
    "flow": _DEFINITIONS,
    "lease": _IDS,
    "legal_hold": "why something is held: goes with the run that takes what it had kept",
    "login_failure": _PEOPLE,
    "login_session": _PEOPLE,
    "mail_unsubscribed": "who wants no mail, for as long as that is so: erased with the contact",
    "media_file": "the files go, and with them what they were; see apply_retention.MEDIA",
    "media_object": "what files that are kept are stored as: goes with the last of them",
    "menu": _DEFINITIONS,
    "message_template": "what may be sent, as the channel has it; nothing of a contact",
    "one_time_code": "keyed hashes: replaced by the next code, erased with the contact",
    "password_reset": _PEOPLE,
    "past_outcome": "outcomes by sessions' ids: a summary, as the session's row is",
    "pgqueuer": "ids of what is to be done next",
    "pgqueuer_log": "ids of what was done, for a day",
    "pgqueuer_schedules": _DEFINITIONS,
    "pgqueuer_statistics": _IDS,
    "rate_window": _IDS,
    "recovery_code": _PEOPLE,
    "retention_anchor": _IDS,
    "retention_run": _IDS,
    "review_mark": _PEOPLE,
    "role": _DEFINITIONS,
    "saved_view": "filters that somebody of ours keeps until they delete them; an erasure takes a contact out of them",
    "saved_view_default": _IDS,
    "second_factor": _PEOPLE,
    "send_hold": "how fast may be sent, and what the channel said of that: replaced by what it says next",
    "send_pace": _IDS,
    "session_change": _IDS,
    "session_check": _IDS,
    "single_sign_on": _DEFINITIONS,
    "single_sign_on_user": _PEOPLE,
    "skill": _DEFINITIONS,
    "skill_change": "definitions of ours, and who of ours changed them and why",
    "skill_key": _DEFINITIONS,
    "template_synchronisation": "when the channel was asked for templates, and why that failed",
    "tenant": _DEFINITIONS,
    "training_phrase": "what somebody of ours teaches the classifier; an erasure takes what a contact wrote out of it",
    "thread": _IDS,
    "trigger_firing": "ids, times and counts, so that nothing is fired for twice; goes after 400 days",
    "trigger_state": _IDS,
    "usage_due": _IDS,
    "usage_state": _IDS,
    "user_account": _PEOPLE,
    "verification": _IDS,
    "webhook_key": _DEFINITIONS,
}
"""The tables that retention leaves alone, and why that is right. A test fails for a table that no rule names."""
DELETED_AT_ONCE = 5000

_OF_HELD = "(tenant_id, session_id) IN (SELECT tenant_id, session_id FROM legal_hold WHERE lifted_at IS NULL)"
_IN_OUTBOX = "FROM outbox_entry o JOIN legal_hold h USING (tenant_id, session_id) WHERE h.lifted_at IS NULL)"
_IN_TRANSCRIPT = "FROM message m JOIN legal_hold h USING (tenant_id, session_id) WHERE h.lifted_at IS NULL)"
_BROUGHT_HELD = f"(tenant_id, delivery_id) IN (SELECT m.tenant_id, m.delivery_id {_IN_TRANSCRIPT}"
HELD = {
    "message": _OF_HELD,
    "message_words": _OF_HELD,
    "audit_event": _OF_HELD,
    "raw_delivery": _BROUGHT_HELD,
    "delivery_item": _BROUGHT_HELD,
    "outbox_attempt": f"(tenant_id, outbox_entry_id) IN (SELECT o.tenant_id, o.outbox_entry_id {_IN_OUTBOX}",
    "outbox_entry": _OF_HELD,
    "mailbox": _OF_HELD,
    "session": _OF_HELD,
    "review_note": _OF_HELD,
    "review_note_deleted": _OF_HELD,
    "review_tag": _OF_HELD,
    "reply_draft": _OF_HELD,
    "skill_invocation": _OF_HELD,
    "unanswered_message": _OF_HELD,
    "usage_counted": _OF_HELD,
    "message_status": "(tenant_id, channel_account_id, channel_message_id) IN "
    f"(SELECT o.tenant_id, o.channel_account_id, o.channel_message_id {_IN_OUTBOX}",
    "media_file": f"(tenant_id, message_id) IN (SELECT m.tenant_id, m.message_id {_IN_TRANSCRIPT}",
}
"""Which rows of each table belong to a session that is held; a delivery that brought others something too is kept.

What is not named belongs to none, such as the record of who read what.
"""
_WEEK = re.compile(r"_[0-9]{4}w[0-9]{2}$")
BEGINS_BEFORE_ITS_EVENTS = timedelta(days=1)
"""By how much a session may begin before its first event; by nothing, but for the clocks of two machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A removal: what began before ``before`` has been truncated since ``at``, by that rule of so many days."""

    before: datetime
    at: datetime
    rule: Rule
    days: int


async def cuts(connection: Connection, tenant_id: UUID) -> list[Cut]:
    """Read all removals of the tenant, the earliest first."""
    rows = await connection.fetch(
        "SELECT cut_before AS before, at, rule, days FROM retention_run WHERE tenant_id = $1 ORDER BY cut_before",
        tenant_id,
    )
    return [Cut(**row) for row in rows]


async def cut_of(connection: Connection, tenant_id: UUID, session_id: UUID) -> Cut | None:
    """The removal that truncated the session; None where none has."""
    row = await connection.fetchrow(
        "SELECT r.cut_before AS before, r.at, r.rule, r.days FROM session s JOIN retention_run r "
        "ON r.tenant_id = s.tenant_id AND r.cut_before > s.started_at "
        "WHERE s.tenant_id = $1 AND s.session_id = $2 "
        # A removal did not reach what was held then.
        "AND NOT EXISTS (SELECT FROM legal_hold h WHERE h.tenant_id = $1 AND h.session_id = $2 "
        " AND h.kept_since <= r.at) ORDER BY r.cut_before LIMIT 1",
        tenant_id,
        session_id,
    )
    return None if row is None else Cut(**row)


async def ever_held(connection: Connection, tenant_id: UUID, only: UUID | None = None) -> set[UUID]:
    """The sessions, or that one, that a removal may not have reached, since they were held."""
    rows = await connection.fetch(
        "SELECT session_id FROM legal_hold WHERE tenant_id = $1 AND ($2::uuid IS NULL OR session_id = $2)",
        tenant_id,
        only,
    )
    return {row["session_id"] for row in rows}


async def begin(
    connection: Connection, tenant_id: UUID, run_id: UUID, cut: Cut, *, by_whom: str, sessions: int
) -> None:
    """Put the removal on record, before it is done: from here on nobody takes what goes for a breach.

    What goes of sessions that had been held adds to the removal that had left them alone.
    """
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO retention_run AS r (tenant_id, cut_before, run_id, at, by_whom, rule, days, sessions) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, cut_before) DO UPDATE "
            "SET finished_at = NULL, sessions = r.sessions + excluded.sessions",
            tenant_id, cut.before, run_id, cut.at, by_whom, cut.rule, cut.days, sessions,
        )  # fmt: skip
        await connection.execute(
            "DELETE FROM legal_hold h USING session s WHERE h.tenant_id = $1 AND h.lifted_at IS NOT NULL "
            "AND s.tenant_id = $1 AND s.session_id = h.session_id AND s.started_at < $2",
            tenant_id,
            cut.before,
        )


async def hold_the_holds(connection: Connection) -> None:
    """Let no hold be put or lifted until :func:`release_the_holds`; waits for one that is."""
    await connection.execute("SELECT pg_advisory_lock(hashtext('dragoman.legal_hold'))")


async def release_the_holds(connection: Connection) -> None:
    """See :func:`hold_the_holds`."""
    await connection.execute("SELECT pg_advisory_unlock(hashtext('dragoman.legal_hold'))")


async def keeping(connection: Connection, tables: Mapping[str, str]) -> set[str]:
    """Which of *tables*, each with the name of the table that it is a part of, have rows of sessions that are held."""
    if not tables or not await connection.fetchval("SELECT EXISTS (SELECT FROM legal_hold WHERE lifted_at IS NULL)"):
        return set()
    looks = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name} WHERE {HELD[of]})" for name, of in tables.items()]
    return {row[0] for row in await connection.fetch(" UNION ALL ".join(looks))}


def _free(table: str) -> str:
    """That a row of *table*, a week of one or the whole, belongs to no session that is held."""
    held = HELD.get(_WEEK.sub("", table))
    return "TRUE" if held is None else f"({held}) IS NOT TRUE"


async def finish(
    connection: Connection, tenant_id: UUID, cut: Cut, removed: Mapping[str, int], *, at: datetime | None
) -> None:
    """Say how it ended, and what of which table is gone; *at* is None where something is left for the next run."""
    await connection.execute(
        "UPDATE retention_run r SET finished_at = $3, removed = coalesce((SELECT jsonb_object_agg(name, "
        "coalesce((r.removed->>name)::bigint, 0) + coalesce((n.removed->>name)::bigint, 0)) "
        "FROM jsonb_object_keys(r.removed || n.removed) AS name), '{}') FROM (SELECT $4::text::jsonb AS removed) n "
        "WHERE r.tenant_id = $1 AND r.cut_before = $2 AND r.finished_at IS NULL",
        tenant_id,
        cut.before,
        at,
        _json(removed),
    )


def _json(removed: Mapping[str, int]) -> str:
    return "{" + ", ".join(f'"{table}": {rows:d}' for table, rows in removed.items()) + "}"


async def latest_cut(connection: Connection, tenant_id: UUID) -> datetime | None:
    """Up to when the tenant's record has been removed so far."""
    found: datetime | None = await connection.fetchval(
        "SELECT max(cut_before) FROM retention_run WHERE tenant_id = $1", tenant_id
    )
    return found


async def count_media(connection: Connection, tenant_id: UUID, before: datetime) -> int:
    """How many files of messages from before that moment are still kept."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM media_file WHERE tenant_id = $1 AND state <> 'erased' AND received_at < $2 "
        f"AND {_free('media_file')}",
        tenant_id,
        before,
    )
    return found


async def sessions_begun(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """How many of the tenant's sessions have lost nothing yet and will by a cut at *before*."""
    found: int = await connection.fetchval(
        "SELECT (SELECT count(*) FROM session s WHERE s.tenant_id = $1 AND s.started_at < $2 "
        " AND s.started_at >= coalesce((SELECT max(cut_before) FROM retention_run WHERE tenant_id = $1), '-infinity') "
        " AND NOT EXISTS (SELECT FROM legal_hold h WHERE h.tenant_id = $1 AND h.session_id = s.session_id)) "
        "+ (SELECT count(*) FROM legal_hold h JOIN session s USING (tenant_id, session_id) "
        " WHERE h.tenant_id = $1 AND h.lifted_at IS NOT NULL AND s.started_at < $2)",
        tenant_id,
        before,
    )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """A session whose chain goes on after what was removed of it."""

    tenant_id: UUID
    session_id: UUID
    events: int
    messages: int


_ANCHORS = bulk_insert(
    "retention_anchor AS a",
    {"tenant_id": "uuid", "session_id": "uuid", "position": "int", "seal": "bytea"},
    conflict="(tenant_id, session_id) DO UPDATE SET position = excluded.position, seal = excluded.seal "
    "WHERE a.position < excluded.position",
)


async def anchor(
    connection: Connection,
    events: Sequence[str],
    messages: Sequence[str],
    *,
    since: datetime,
    before: datetime,
    only: UUID | None = None,
) -> list[Shortened]:
    """Keep the last seal that goes of each session whose chain goes on; says which these are.

    *events* and *messages* are the tables with what goes, none of it from before *since*: all their rows, or with
    *only* that tenant's from before *before*.

    Few chains go on, so they are found by what they lack: their last event is not among those that go. Sessions that
    began earlier and were shortened by an earlier run have an anchor.
    """
    if not events:
        return []
    where, values = ("", ()) if only is None else (f" WHERE tenant_id = $3 AND at < $2 AND {_free(RECORD[0])}", (only,))
    gone = " UNION ALL ".join(f"SELECT tenant_id, session_id, position, seal FROM {table}{where}" for table in events)
    written = " UNION ALL ".join(f"SELECT tenant_id, session_id FROM {table}{where}" for table in messages)
    rows = await connection.fetch(
        f"WITH gone AS NOT MATERIALIZED ({gone}), written AS NOT MATERIALIZED "
        f"({written or 'SELECT NULL::uuid AS tenant_id, NULL::uuid AS session_id'}), "
        "touched AS (SELECT s.tenant_id, s.session_id, s.next_position FROM session s "
        f" WHERE s.started_at >= $1 AND s.started_at < $2{'' if only is None else ' AND s.tenant_id = $3'} "
        " AND NOT EXISTS (SELECT FROM gone g WHERE g.tenant_id = s.tenant_id AND g.session_id = s.session_id "
        "  AND g.position = s.next_position - 1) "
        " UNION SELECT s.tenant_id, s.session_id, s.next_position FROM retention_anchor a "
        f" JOIN session s USING (tenant_id, session_id){'' if only is None else ' WHERE a.tenant_id = $3'}) "
        "SELECT t.*, g.*, (SELECT count(*) FROM written w "
        " WHERE w.tenant_id = t.tenant_id AND w.session_id = t.session_id) AS messages "
        "FROM touched t CROSS JOIN LATERAL (SELECT max(position) AS position, count(*) AS events, "
        " (array_agg(seal ORDER BY position DESC))[1] AS seal FROM gone g "
        " WHERE g.tenant_id = t.tenant_id AND g.session_id = t.session_id) g WHERE g.events > 0",
        since - BEGINS_BEFORE_ITS_EVENTS,
        before,
        *values,
    )
    anchors = [(row["tenant_id"], row["session_id"], row["position"], row["seal"]) for row in rows]
    await _ANCHORS.execute(connection, anchors)
    return [
        Shortened(
            tenant_id=row["tenant_id"], session_id=row["session_id"], events=row["events"], messages=row["messages"]
        )
        for row in rows
        if row["position"] < row["next_position"] - 1
    ]


async def record_truncation(connection: Connection, shortened: Shortened, cut: Cut, *, at: datetime) -> None:
    """Put the removal on the session's own chain."""
    payload = RetentionTruncated(
        retention_days=cut.days, removed_messages=shortened.messages, removed_events=shortened.events
    )
    event = AuditEvent(at=at, actor=SYSTEM, payload=payload)
    async with connection.transaction():
        await append.append_events(connection, shortened.tenant_id, shortened.session_id, [event])


async def count(
    connection: Connection, tables: Sequence[str], *, only: tuple[UUID, datetime] | None = None
) -> dict[str, dict[UUID, int]]:
    """How many rows of each tenant each of *tables* has; with *only*, that tenant's before that moment, none held."""
    values: tuple[object, ...] = () if only is None else only
    counts: dict[str, dict[UUID, int]] = {table: {} for table in tables}
    if tables:
        # In one statement, which PostgreSQL's workers share.
        rows = " UNION ALL ".join(
            f"SELECT '{table}' AS name, tenant_id FROM {table}"
            + ("" if only is None else f" WHERE tenant_id = $1 AND at < $2 AND {_free(table)}")
            for table in tables
        )
        for row in await connection.fetch(
            f"SELECT name, tenant_id, count(*) AS rows FROM ({rows}) r GROUP BY 1, 2", *values
        ):
            counts[row["name"]][row["tenant_id"]] = row["rows"]
    return counts


async def count_swept(connection: Connection, table: str, tenant_id: UUID, before: datetime) -> int:
    """How many rows of a swept table :func:`sweep` would remove."""
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM {table} WHERE tenant_id = $1 AND {SWEPT[table]} AND {_free(table)}", tenant_id, before
    )
    return found


async def count_emptied(connection: Connection, table: str, tenant_id: UUID, before: datetime) -> int:
    """How many rows :func:`empty` would take something from."""
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM {table} WHERE tenant_id = $1 AND {EMPTIED[table][1]} AND {_free(table)}",
        tenant_id,
        before,
    )
    return found


async def empty(connection: Connection, table: str, tenant_id: UUID, before: datetime) -> int:
    """Take what was said out of a tenant's rows from before a moment, some thousand at a time."""
    changes, condition = EMPTIED[table]
    total = 0
    while True:
        status = await connection.execute(
            f"UPDATE {table} SET {changes} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} "
            f"WHERE tenant_id = $1 AND {condition} AND {_free(table)} LIMIT {DELETED_AT_ONCE} FOR UPDATE))",
            tenant_id,
            before,
        )
        changed = int(status.removeprefix("UPDATE "))
        total += changed
        if changed < DELETED_AT_ONCE:
            return total


async def delete(
    connection: Connection, table: str, tenant_id: UUID, before: datetime, condition: str = "at < $2"
) -> int:
    """Remove a tenant's rows from before a moment, some thousand at a time: no lock lasts."""
    total = 0
    while True:
        status = await connection.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} "
            f"WHERE tenant_id = $1 AND {condition} AND {_free(table)} LIMIT {DELETED_AT_ONCE}))",
            tenant_id,
            before,
        )
        gone = int(status.removeprefix("DELETE "))
        total += gone
        if gone < DELETED_AT_ONCE:
            return total
