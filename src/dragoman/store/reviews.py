"""What reviewers say of a session: notes, tags, and the mark that somebody has looked at it.

Kept apart from the record, whose tables are never written here. Nothing is changed: a note is written or deleted, and
a deleted one leaves a mark that says whose it was and who took it away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.errors import DragomanError
from dragoman.store.database import Connection

LONGEST_NOTE = 4000
LONGEST_TAG = 40
MOST_TAGS = 20
"""How many tags one session may have."""

# Letters and digits of any script, and what people put between them; no comma, since lists of tags are joined by it.
_TAG = re.compile(r"\w[\w .:/+-]{0,39}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

TAG_PATTERN = f"^{_TAG.pattern}$"
NOTE_PATTERN = r"^[^\x00-\x08\x0b-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x08\x0b-\x1f\x7f]*$"
"""What is taken, for a document: some text without control characters."""

TAGGED = (
    "s.session_id IN (SELECT t.session_id FROM review_tag t "
    "WHERE t.tenant_id = s.tenant_id AND t.tag = ANY ({}::text[]))"
)
"""The list's condition for tags, of which one must be there; its place takes them as :func:`folded` gives them."""

REVIEWED = "EXISTS (SELECT FROM review_mark r WHERE r.tenant_id = s.tenant_id AND r.session_id = s.session_id)"
"""The list's condition for what has been looked at; with NOT before it for what has not."""


class UnusableReviewError(DragomanError):
    """A note or a tag cannot be taken as it is; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes; ``user_id`` is None for an API token."""

    user_id: UUID | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewNote:
    """A note; ``body`` is None for one that was deleted by ``deleted_by`` at ``deleted_at``."""

    note_id: UUID
    author: Author
    body: str | None
    written_at: datetime
    deleted_by: str | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag on a session, and who put it there."""

    name: str
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewMark:
    """Who has reviewed a session, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Holds all that reviewers left on one session; notes oldest first, tags in alphabetical order."""

    notes: list[ReviewNote]
    tags: list[Tag]
    reviewed: ReviewMark | None


def tag_of(text: str) -> str:
    """Write *text* as a tag: small letters, single spaces. Raises UnusableReviewError."""
    tag = folded(text)
    if not _TAG.fullmatch(tag):
        raise UnusableReviewError(
            f"A tag is up to {LONGEST_TAG} letters, digits, spaces and . : / + - _, and begins with a letter or digit."
        )
    return tag


def folded(text: str) -> str:
    """*text* in the form in which tags are kept and looked for."""
    return " ".join(text.split()).casefold()


async def load(connection: Connection, tenant_id: UUID, session_id: UUID) -> Review:
    """What stands on the session; empty where nobody has written anything."""
    notes = await connection.fetch(
        "SELECT note_id, author_id, author_name, body, written_at, NULL AS deleted_by, NULL::timestamptz AS deleted_at "
        "FROM review_note WHERE tenant_id = $1 AND session_id = $2 UNION ALL "
        "SELECT note_id, NULL, author_name, NULL, written_at, deleted_by, deleted_at "
        "FROM review_note_deleted WHERE tenant_id = $1 AND session_id = $2 ORDER BY written_at, note_id",
        tenant_id,
        session_id,
    )
    others = await connection.fetch(
        "SELECT tag, added_by AS by, added_at AS at FROM review_tag WHERE tenant_id = $1 AND session_id = $2 "
        "UNION ALL SELECT NULL, reviewed_by, reviewed_at FROM review_mark "
        "WHERE tenant_id = $1 AND session_id = $2 ORDER BY tag",
        tenant_id,
        session_id,
    )
    marks = [ReviewMark(by=row["by"], at=row["at"]) for row in others if row["tag"] is None]
    return Review(
        notes=[
            ReviewNote(
                note_id=row["note_id"],
                author=Author(user_id=row["author_id"], name=row["author_name"]),
                body=row["body"],
                written_at=row["written_at"],
                deleted_by=row["deleted_by"],
                deleted_at=row["deleted_at"],
            )
            for row in notes
        ],
        tags=[Tag(name=row["tag"], added_by=row["by"], added_at=row["at"]) for row in others if row["tag"] is not None],
        reviewed=marks[0] if marks else None,
    )


async def write_note(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    body: str,
    author: Author,
    *,
    note_id: UUID,
    now: datetime,
) -> None:
    """Add a note. Raises UnusableReviewError for one that is empty, too long, or holds control characters."""
    text = body.replace("\r\n", "\n").strip()
    if not text:
        raise UnusableReviewError("A note needs some text.")
    if len(text) > LONGEST_NOTE:
        raise UnusableReviewError(f"A note is at most {LONGEST_NOTE} characters long; this one has {len(text)}.")
    if _CONTROL.search(text):
        raise UnusableReviewError("A note must not hold control characters.")
    await connection.execute(
        "INSERT INTO review_note (tenant_id, session_id, note_id, author_id, author_name, body, written_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant_id,
        session_id,
        note_id,
        author.user_id,
        author.name,
        text,
        now,
    )


async def delete_note(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    note_id: UUID,
    by: Author,
    *,
    of_anybody: bool,
    now: datetime,
) -> bool:
    """Delete an own note, or one *of_anybody*; a mark stays. False where there is none that *by* may delete."""
    status = await connection.execute(
        "WITH gone AS (DELETE FROM review_note WHERE tenant_id = $1 AND session_id = $2 AND note_id = $3 "
        "AND ($5 OR author_id = $4) RETURNING author_name, written_at) "
        "INSERT INTO review_note_deleted (tenant_id, session_id, note_id, author_name, written_at, deleted_by, "
        "deleted_at) SELECT $1, $2, $3, author_name, written_at, $6, $7 FROM gone",
        tenant_id,
        session_id,
        note_id,
        by.user_id,
        of_anybody,
        by.name,
        now,
    )
    return status == "INSERT 0 1"


async def add_tag(
    connection: Connection, tenant_id: UUID, session_id: UUID, tag: str, by: str, *, now: datetime
) -> None:
    """Put *tag* on the session; once is enough. Raises UnusableReviewError for no tag, or one too many."""
    status = await connection.execute(
        "INSERT INTO review_tag (tenant_id, tag, session_id, added_by, added_at) SELECT $1, $2, $3, $4, $5 "
        "WHERE (SELECT count(*) FROM review_tag WHERE tenant_id = $1 AND session_id = $3 AND tag <> $2) < $6 "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        tag_of(tag),
        session_id,
        by,
        now,
        MOST_TAGS,
    )
    if status == "INSERT 0 0" and not await _has_tag(connection, tenant_id, session_id, tag_of(tag)):
        raise UnusableReviewError(f"A conversation has at most {MOST_TAGS} tags.")


async def _has_tag(connection: Connection, tenant_id: UUID, session_id: UUID, tag: str) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM review_tag WHERE tenant_id = $1 AND tag = $2 AND session_id = $3)",
        tenant_id,
        tag,
        session_id,
    )
    return found


async def remove_tag(connection: Connection, tenant_id: UUID, session_id: UUID, tag: str) -> None:
    """Take *tag* off the session, where it is on it."""
    await connection.execute(
        "DELETE FROM review_tag WHERE tenant_id = $1 AND tag = $2 AND session_id = $3", tenant_id, tag, session_id
    )


async def mark(connection: Connection, tenant_id: UUID, session_id: UUID, by: str, *, now: datetime) -> None:
    """Say that *by* has reviewed the session; the first to say so stands."""
    await connection.execute(
        "INSERT INTO review_mark (tenant_id, session_id, reviewed_by, reviewed_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        session_id,
        by,
        now,
    )


async def unmark(connection: Connection, tenant_id: UUID, session_id: UUID) -> None:
    """Take the mark off again."""
    await connection.execute("DELETE FROM review_mark WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id)


async def known_tags(connection: Connection, tenant_id: UUID, *, limit: int = 50) -> list[str]:
    """Tags that the tenant uses, in alphabetical order; one step of the index for each, however often it is used."""
    rows = await connection.fetch(
        "WITH RECURSIVE known AS (SELECT min(tag) AS tag, 1 AS n FROM review_tag WHERE tenant_id = $1 UNION ALL "
        "SELECT (SELECT min(t.tag) FROM review_tag t WHERE t.tenant_id = $1 AND t.tag > known.tag), n + 1 "
        "FROM known WHERE known.tag IS NOT NULL AND n < $2) SELECT tag FROM known WHERE tag IS NOT NULL ORDER BY tag",
        tenant_id,
        limit,
    )
    return [row["tag"] for row in rows]
