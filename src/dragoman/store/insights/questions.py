"""Messages that were not understood, in groups of what is alike. Their words are read from the transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from dragoman.domain import content
from dragoman.domain.questions import LikeGroup
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.database import Connection

Decision = Literal["phrase", "out_of_scope"]

MOST_GROUPS = 3000
"""With how many groups, the latest ones, a message is compared."""

AT_ONCE = 200

MOST_MESSAGES = 20_000
"""How many messages of a time, the latest ones, are looked at for its questions."""

MOST_DETAILED = 1000
"""How many messages of a group, the latest ones, say what it is nearest to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UngroupedMessage:
    """A message that was not understood and is in no group yet; ``text`` is None where nothing is kept of it."""

    session_id: UUID
    position: int
    at: datetime
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionExample:
    """One message of a group, in whose session it stands; ``locale`` is its contact's."""

    session_id: UUID
    message_id: UUID
    contact_id: UUID
    at: datetime
    text: str
    locale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A group of messages that are alike, ``count`` of them in the time that was asked for.

    ``conversations`` is None where there are too many to count.

    ``best_guess`` is what the classifier most often thought of first, with its usual confidence. ``decision`` is what
    an administrator made of it, with the skill or flow in ``intent``.
    """

    group_id: UUID
    count: int
    conversations: int | None
    last_at: datetime
    best_guess: str
    confidence: float | None
    decision: Decision | None
    intent: str | None
    decided_at: datetime | None
    decided_by: str
    examples: tuple[QuestionExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What was not understood in a time: the most frequent groups that are open, those decided on, and counts.

    ``messages`` counts all, up to :data:`MOST_MESSAGES`, ``wordless`` those of them with nothing to read, ``groups``
    all groups that are open.
    """

    open: tuple[Question, ...]
    decided: tuple[Question, ...]
    messages: int
    wordless: int
    groups: int


async def ungrouped(connection: Connection, tenant_id: UUID) -> list[UngroupedMessage]:
    """Up to :data:`AT_ONCE` messages that are in no group yet, the oldest first."""
    rows = await connection.fetch(
        "SELECT u.session_id, u.position, u.at, m.content FROM (SELECT * FROM unanswered_message "
        " WHERE tenant_id = $1 AND group_id IS NULL AND NOT is_wordless ORDER BY at, session_id, position LIMIT $2) u "
        "LEFT JOIN message m ON m.tenant_id = $1 AND m.session_id = u.session_id AND m.message_id = u.message_id "
        "ORDER BY u.at, u.session_id, u.position",
        tenant_id,
        AT_ONCE,
    )
    return [
        UngroupedMessage(
            session_id=row["session_id"],
            position=row["position"],
            at=row["at"],
            text=None if row["content"] is None else content.words(content.from_json(row["content"])),
        )
        for row in rows
    ]


async def groups(connection: Connection, tenant_id: UUID) -> list[LikeGroup]:
    """The groups that a message may join, the oldest first."""
    rows = await connection.fetch(
        "SELECT group_id, features FROM (SELECT group_id, features, last_at FROM question_group WHERE tenant_id = $1 "
        "ORDER BY last_at DESC, group_id LIMIT $2) g ORDER BY last_at, group_id",
        tenant_id,
        MOST_GROUPS,
    )
    return [LikeGroup(row["group_id"], frozenset(row["features"])) for row in rows]


_PLACE = BulkStatement(
    "UPDATE unanswered_message u SET group_id = r.group_id, is_wordless = r.group_id IS NULL FROM {rows} "
    "WHERE u.tenant_id = {tenant_id} AND u.session_id = r.session_id AND u.position = r.position",
    {"session_id": "uuid", "position": "int", "group_id": "uuid"},
)
_SEEN = bulk_insert(
    "question_group AS g",
    {"group_id": "uuid", "features": "text", "last_at": "timestamptz"},
    values={"features": "r.features::int[]"},
    conflict="(tenant_id, group_id) DO UPDATE SET last_at = greatest(g.last_at, excluded.last_at)",
)


async def place(
    connection: Connection,
    tenant_id: UUID,
    placed: Sequence[tuple[UngroupedMessage, LikeGroup | None]],
) -> None:
    """Put each message in its group, which is made where there is none; without one it has nothing to read."""
    latest: dict[UUID, tuple[LikeGroup, datetime]] = {}
    for message, group in placed:
        if group is not None:
            latest[group.group_id] = group, message.at
    await _SEEN.execute(
        connection,
        [
            (group.group_id, "{" + ",".join(map(str, sorted(group.features))) + "}", at)
            for group, at in sorted(latest.values(), key=lambda pair: pair[0].group_id)
        ],
        tenant_id,
    )
    await _PLACE.execute(
        connection,
        [(message.session_id, message.position, group and group.group_id) for message, group in placed],
        tenant_id,
    )


_GROUPED = """
WITH latest AS (
    SELECT group_id, is_wordless, at FROM unanswered_message
    WHERE tenant_id = $1 AND at >= $2 AND at < $3 ORDER BY at DESC LIMIT $4
), grouped AS (
    SELECT group_id, is_wordless, count(*) AS count, max(at) AS last_at FROM latest GROUP BY group_id, is_wordless
), told AS (
    SELECT l.*, g.decision, g.intent, g.decided_at, coalesce(g.decided_by, '') AS decided_by FROM grouped l
    LEFT JOIN question_group g ON g.tenant_id = $1 AND g.group_id = l.group_id
)
SELECT * FROM (
    SELECT *, (sum(count) OVER ())::bigint AS messages,
        (coalesce(sum(count) FILTER (WHERE is_wordless) OVER (), 0))::bigint AS wordless,
        count(*) FILTER (WHERE group_id IS NOT NULL AND decision IS NULL) OVER () AS groups,
        row_number() OVER (PARTITION BY group_id IS NULL, decision IS NULL
            ORDER BY count DESC, last_at DESC, group_id) AS place FROM told
) t WHERE place <= $5 ORDER BY place
"""

_DETAILS = """
SELECT w.group_id, count(DISTINCT u.session_id) AS conversations,
    coalesce(mode() WITHIN GROUP (ORDER BY u.best_guess), '') AS best_guess,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY u.confidence) AS confidence
FROM unnest($2::uuid[]) AS w(group_id) CROSS JOIN LATERAL (
    SELECT u.session_id, u.best_guess, u.confidence FROM unanswered_message u WHERE u.tenant_id = $1
    AND u.group_id = w.group_id AND u.at >= $3 AND u.at < $4 ORDER BY u.at DESC LIMIT $5
) u GROUP BY w.group_id
"""


async def questions(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime, *, limit: int, examples: int
) -> Questions:
    """What was not understood from *since* until *until*: *limit* groups of each kind, with some *examples* each."""
    rows = await connection.fetch(_GROUPED, tenant_id, since, until, MOST_MESSAGES, limit)
    grouped = [row for row in rows if row["group_id"] is not None]
    ids = [row["group_id"] for row in grouped]
    details = {
        row["group_id"]: row for row in await connection.fetch(_DETAILS, tenant_id, ids, since, until, MOST_DETAILED)
    }
    shown = await _examples(connection, tenant_id, ids, since, until, examples)
    found = [
        Question(
            group_id=row["group_id"],
            count=row["count"],
            conversations=details[row["group_id"]]["conversations"] if row["count"] <= MOST_DETAILED else None,
            last_at=row["last_at"],
            best_guess=details[row["group_id"]]["best_guess"],
            confidence=details[row["group_id"]]["confidence"],
            decision=row["decision"],
            intent=row["intent"],
            decided_at=row["decided_at"],
            decided_by=row["decided_by"],
            examples=tuple(shown.get(row["group_id"], ())),
        )
        for row in grouped
    ]
    first = rows[0] if rows else {"messages": 0, "wordless": 0, "groups": 0}
    return Questions(
        open=tuple(one for one in found if one.decision is None),
        decided=tuple(one for one in found if one.decision is not None),
        messages=first["messages"],
        wordless=first["wordless"],
        groups=first["groups"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionDecision:
    """Says what was made of a group, by whom; a ``decision`` of None leaves it open."""

    decision: Decision | None
    intent: str | None
    decided_by: str


async def lock_decision(connection: Connection, tenant_id: UUID, group_id: UUID) -> QuestionDecision | None:
    """What was made of a group, which is locked; None where there is no such group."""
    row = await connection.fetchrow(
        "SELECT decision, intent, decided_by FROM question_group WHERE tenant_id = $1 AND group_id = $2 FOR UPDATE",
        tenant_id,
        group_id,
    )
    return None if row is None else QuestionDecision(**row)


async def _examples(
    connection: Connection, tenant_id: UUID, ids: Sequence[UUID], since: datetime, until: datetime, wanted: int
) -> dict[UUID, list[QuestionExample]]:
    """The latest messages of each group that do not read the same; one that is kept no more is left out."""
    rows = await connection.fetch(
        "SELECT u.group_id, u.session_id, u.message_id, s.contact_id, u.at, m.content, c.locale "
        "FROM unnest($2::uuid[]) AS wanted(group_id) CROSS JOIN LATERAL (SELECT * FROM unanswered_message u "
        " WHERE u.tenant_id = $1 AND u.group_id = wanted.group_id AND u.at >= $3 AND u.at < $4 "
        " ORDER BY u.at DESC, u.session_id, u.position LIMIT $5) u "
        "JOIN message m ON m.tenant_id = $1 AND m.session_id = u.session_id AND m.message_id = u.message_id "
        "JOIN session s ON s.tenant_id = $1 AND s.session_id = u.session_id "
        "JOIN contact c ON c.tenant_id = $1 AND c.contact_id = s.contact_id "
        "ORDER BY u.group_id, u.at DESC, u.session_id, u.position",
        tenant_id,
        list(ids),
        since,
        until,
        wanted * 4,
    )
    found: dict[UUID, list[QuestionExample]] = {}
    read: set[tuple[UUID, str]] = set()
    for row in rows:
        text = " ".join(content.words(content.from_json(row["content"])).split())
        key = row["group_id"], text.casefold()
        examples = found.setdefault(row["group_id"], [])
        if text and key not in read and len(examples) < wanted:
            read.add(key)
            examples.append(
                QuestionExample(
                    session_id=row["session_id"],
                    message_id=row["message_id"],
                    contact_id=row["contact_id"],
                    at=row["at"],
                    text=text,
                    locale=row["locale"],
                )
            )
    return found


async def writers(connection: Connection, tenant_id: UUID, group_id: UUID) -> dict[str, QuestionExample]:
    """Who wrote the latest messages of a group, by what they wrote in one line."""
    of = await _examples(
        connection, tenant_id, [group_id], datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), 100
    )
    return {one.text: one for one in of.get(group_id, ())}


async def decide(
    connection: Connection,
    tenant_id: UUID,
    group_id: UUID,
    *,
    decision: Decision | None,
    intent: str | None,
    by: str,
    now: datetime,
) -> None:
    """Say what was made of a group; None opens it again."""
    await connection.execute(
        "UPDATE question_group SET decision = $3, intent = $4, decided_at = CASE WHEN $3::text IS NULL THEN NULL "
        "ELSE $5::timestamptz END, decided_by = $6 WHERE tenant_id = $1 AND group_id = $2",
        tenant_id,
        group_id,
        decision,
        intent,
        now,
        by if decision else "",
    )
