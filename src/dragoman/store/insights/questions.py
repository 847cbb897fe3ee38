"""Messages that were not understood, in groups of what is alike. Their words are read from the transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from dragoman.domain import content
from dragoman.domain.questions import LikeGroup
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.database import Connection

Decision = Literal["phrase", "out_of_scope"]

MOST_GROUPS = 3000
"""With how many groups, the latest ones, a message is compared."""

AT_ONCE = 200


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

    ``best_guess`` is what the classifier most often thought of first, with its usual confidence. ``decision`` is what
    an administrator made of it, with the skill or flow in ``intent``.
    """

    group_id: UUID
    count: int
    conversations: int
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

    ``messages`` counts all, ``wordless`` those with nothing to read, ``groups`` all groups that are open.
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


async def questions(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime, *, limit: int, examples: int
) -> Questions:
    """What was not understood from *since* until *until*: *limit* groups of each kind, with some *examples* each."""
    counts = await connection.fetchrow(
        "SELECT count(*) AS messages, count(*) FILTER (WHERE u.is_wordless) AS wordless, "
        "count(DISTINCT u.group_id) FILTER (WHERE g.decision IS NULL) AS groups FROM unanswered_message u "
        "LEFT JOIN question_group g ON g.tenant_id = $1 AND g.group_id = u.group_id "
        "WHERE u.tenant_id = $1 AND u.at >= $2 AND u.at < $3",
        tenant_id,
        since,
        until,
    )
    assert counts is not None  # noqa: S101 - an aggregate has a row
    found: dict[bool, list[Question]] = {}
    for is_open in (True, False):
        rows = await connection.fetch(
            "SELECT g.group_id, count(*) AS count, count(DISTINCT u.session_id) AS conversations, "
            "max(u.at) AS last_at, mode() WITHIN GROUP (ORDER BY u.best_guess) AS best_guess, "
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY u.confidence) AS confidence, g.decision, g.intent, "
            "g.decided_at, g.decided_by FROM unanswered_message u JOIN question_group g "
            "ON g.tenant_id = $1 AND g.group_id = u.group_id WHERE u.tenant_id = $1 AND u.at >= $2 AND u.at < $3 "
            "AND (g.decision IS NULL) = $4 GROUP BY g.tenant_id, g.group_id "
            "ORDER BY count(*) DESC, max(u.at) DESC, g.group_id LIMIT $5",
            tenant_id,
            since,
            until,
            is_open,
            limit,
        )
        found[is_open] = [Question(**row) for row in rows]
    everything = [*found[True], *found[False]]
    shown = await _examples(connection, tenant_id, [one.group_id for one in everything], since, until, examples)
    return Questions(
        open=tuple(_with(one, shown) for one in found[True]),
        decided=tuple(_with(one, shown) for one in found[False]),
        messages=counts["messages"],
        wordless=counts["wordless"],
        groups=counts["groups"],
    )


async def one_question(connection: Connection, tenant_id: UUID, group_id: UUID) -> Question | None:
    """A group with all that is in it; None where there is none."""
    row = await connection.fetchrow(
        "SELECT g.group_id, (SELECT count(*) FROM unanswered_message u WHERE u.tenant_id = $1 AND u.group_id = $2) "
        "AS count, 0 AS conversations, g.last_at, '' AS best_guess, NULL::float8 AS confidence, g.decision, g.intent, "
        "g.decided_at, g.decided_by FROM question_group g WHERE g.tenant_id = $1 AND g.group_id = $2 FOR UPDATE",
        tenant_id,
        group_id,
    )
    return None if row is None else Question(**row)


def _with(question: Question, examples: dict[UUID, list[QuestionExample]]) -> Question:
    fields: dict[str, Any] = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    return Question(**fields | {"examples": tuple(examples.get(question.group_id, ()))})


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
