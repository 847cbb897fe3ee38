"""The files of messages: what is to be fetched, what is stored, what failed, what was erased, and why.

``media_file`` has a row for each message that came with a file, ``media_object`` one for each content in the media
store (:mod:`dragoman.store.blobs`). A content is deleted only under the lock of its row, and referred to only under
the same lock, so that neither can miss the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.domain.media_types import MediaFacts
from dragoman.sql import bulk_insert
from dragoman.store.database import Connection, Record

State = Literal["pending", "stored", "failed", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRequest:
    """A file that is to be fetched; ``claimed_sha256`` is what the channel said of it."""

    message_id: UUID
    channel_account_id: UUID
    channel_media_id: str
    claimed_sha256: bytes | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(MediaRequest):
    """A file that one worker is fetching; ``attempt`` tells a late worker's writes from the present one's."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """Describes a message's file as pages and the API show it.

    What describes the content is None unless it is stored.
    """

    message_id: UUID
    state: State
    reason: str
    attempts: int
    settled_at: datetime | None
    sha256: bytes | None
    size: int | None
    mime_type: str | None
    width: int | None
    height: int | None
    seconds: float | None


_SHOWN = (
    "f.message_id, f.state, f.reason, f.attempts, f.settled_at, f.sha256, "
    "o.size, o.mime_type, o.width, o.height, o.seconds"
)
_WITH_OBJECT = "LEFT JOIN media_object o ON o.tenant_id = $1 AND o.sha256 = f.sha256"


_OF_TEMPLATE = (
    "EXISTS (SELECT 1 FROM email_template e WHERE e.tenant_id = $1 AND e.attachments @> "
    "jsonb_build_array(jsonb_build_object('sha256', encode({sha256}, 'hex'))))"
)
"""Whether a template's mails have this content, in any version of it: what was sent can be sent again."""


_REQUEST = bulk_insert(
    "media_file",
    {
        "message_id": "uuid",
        "channel_account_id": "uuid",
        "channel_media_id": "text",
        "claimed_sha256": "bytea",
        "received_at": "timestamptz",
    },
    values={"due_at": "r.received_at"},
    conflict="(tenant_id, message_id) DO NOTHING",
)


async def insert_requests(connection: Connection, tenant_id: UUID, files: Sequence[MediaRequest]) -> None:
    """Write down that *files* are to be fetched."""
    rows = [(f.message_id, f.channel_account_id, f.channel_media_id, f.claimed_sha256, f.received_at) for f in files]
    await _REQUEST.execute(connection, rows, tenant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file of ours that lies in the media store by now, and goes out with a message."""

    message_id: UUID
    channel_account_id: UUID
    sha256: bytes


async def insert_sent(connection: Connection, tenant_id: UUID, files: Sequence[SentFile], *, now: datetime) -> None:
    """Let messages refer to contents of the store; one that is gone meanwhile has failed, and says so."""
    for file in sorted(files, key=lambda file: file.sha256):
        known = await lock_object(connection, tenant_id, file.sha256)
        await connection.execute(
            "INSERT INTO media_file (tenant_id, message_id, channel_account_id, channel_media_id, claimed_sha256, "
            "received_at, due_at, settled_at, sha256, state, reason) "
            "VALUES ($1, $2, $3, '', $4, $5, $5, $5, $6, $7, $8) ON CONFLICT (tenant_id, message_id) DO NOTHING",
            tenant_id,
            file.message_id,
            file.channel_account_id,
            file.sha256,
            now,
            file.sha256 if known else None,
            "stored" if known else "failed",
            "" if known else "the file was erased before it could be sent",
        )


async def claim(
    connection: Connection, tenant_id: UUID, message_id: UUID, *, now: datetime, seconds: float
) -> Claim | None:
    """Take the file for *seconds* if it is due and nobody is fetching it."""
    row = await connection.fetchrow(
        "UPDATE media_file SET attempts = attempts + 1, held_until = clock_timestamp() + make_interval(secs => $4) "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending' AND due_at <= $3 "
        "AND (held_until IS NULL OR held_until < clock_timestamp()) "
        "RETURNING message_id, channel_account_id, channel_media_id, claimed_sha256, received_at, "
        "attempts AS attempt",
        tenant_id,
        message_id,
        now,
        seconds,
    )
    return None if row is None else Claim(**dict(row))


async def hold(connection: Connection, tenant_id: UUID, claim: Claim, *, seconds: float) -> bool:
    """Keep the claim for *seconds* more; False where another worker has it by now, or nobody shall."""
    status = await connection.execute(
        "UPDATE media_file SET held_until = clock_timestamp() + make_interval(secs => $4) "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending' AND attempts = $3",
        tenant_id,
        claim.message_id,
        claim.attempt,
        seconds,
    )
    return status == "UPDATE 1"


async def register(
    connection: Connection, tenant_id: UUID, sha256: bytes, *, size: int, found: MediaFacts, now: datetime
) -> None:
    """Write down a content before it is stored, so that none can lie in the store without being known here."""
    await connection.execute(
        "INSERT INTO media_object AS o (tenant_id, sha256, size, mime_type, width, height, seconds, stored_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, sha256) "
        "DO UPDATE SET stored_at = greatest(o.stored_at, excluded.stored_at)",
        tenant_id,
        sha256,
        size,
        found.mime_type,
        found.width,
        found.height,
        found.seconds,
        now,
    )


async def lock_object(connection: Connection, tenant_id: UUID, sha256: bytes) -> bool:
    """Keep the content from being deleted, or referred to, until the transaction ends; False if it is not known."""
    row = await connection.fetchrow(
        "SELECT 1 FROM media_object WHERE tenant_id = $1 AND sha256 = $2 FOR UPDATE", tenant_id, sha256
    )
    return row is not None


async def mark_stored(connection: Connection, tenant_id: UUID, claim: Claim, sha256: bytes, *, now: datetime) -> bool:
    """The file has this content; False where another worker has the claim, and nothing was written."""
    status = await connection.execute(
        "UPDATE media_file SET state = 'stored', reason = '', sha256 = $4, held_until = NULL, settled_at = $5 "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending' AND attempts = $3",
        tenant_id,
        claim.message_id,
        claim.attempt,
        sha256,
        now,
    )
    return status == "UPDATE 1"


async def mark_failed(connection: Connection, tenant_id: UUID, claim: Claim, reason: str, *, now: datetime) -> None:
    """The file will not be fetched any more."""
    await connection.execute(
        "UPDATE media_file SET state = 'failed', reason = $4, held_until = NULL, settled_at = $5 "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending' AND attempts = $3",
        tenant_id,
        claim.message_id,
        claim.attempt,
        reason,
        now,
    )


async def give_up(connection: Connection, tenant_id: UUID, message_id: UUID, reason: str, *, now: datetime) -> None:
    """The file will not be fetched any more, whoever was at it."""
    await connection.execute(
        "UPDATE media_file SET state = 'failed', reason = $3, held_until = NULL, settled_at = $4 "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending'",
        tenant_id,
        message_id,
        reason,
        now,
    )


async def reopen(connection: Connection, tenant_id: UUID, message_id: UUID, *, now: datetime) -> bool:
    """Let a file that was given up be fetched after all; False where it is not one."""
    status = await connection.execute(
        "UPDATE media_file SET state = 'pending', reason = '', settled_at = NULL, due_at = $3 "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'failed'",
        tenant_id,
        message_id,
        now,
    )
    return status == "UPDATE 1"


async def put_off(connection: Connection, tenant_id: UUID, claim: Claim, reason: str, *, due_at: datetime) -> bool:
    """Try again at *due_at*; False where another worker has the claim."""
    status = await connection.execute(
        "UPDATE media_file SET reason = $4, due_at = $5, held_until = NULL "
        "WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending' AND attempts = $3",
        tenant_id,
        claim.message_id,
        claim.attempt,
        reason,
        due_at,
    )
    return status == "UPDATE 1"


async def overdue(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> list[UUID]:
    """Files that are due and that nobody is fetching: their wake-up was lost, or their worker."""
    rows = await connection.fetch(
        "SELECT message_id FROM media_file WHERE tenant_id = $1 AND state = 'pending' AND due_at <= $2 "
        "AND (held_until IS NULL OR held_until < clock_timestamp()) ORDER BY due_at LIMIT $3",
        tenant_id,
        now,
        limit,
    )
    return [row["message_id"] for row in rows]


async def of_messages(connection: Connection, tenant_id: UUID, messages: Iterable[UUID]) -> Mapping[UUID, MediaFile]:
    """The files of those of *messages* that came with one."""
    wanted = list(messages)
    if not wanted:
        return {}
    rows = await connection.fetch(
        f"SELECT {_SHOWN} FROM media_file f {_WITH_OBJECT} WHERE f.tenant_id = $1 AND f.message_id = ANY($2)",
        tenant_id,
        wanted,
    )
    return {row["message_id"]: _media_file(row) for row in rows}


async def in_session(
    connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID, *, cutoff: datetime
) -> MediaFile | None:
    """The file of a message that stands in that session's transcript, and not before *cutoff*."""
    row = await connection.fetchrow(
        f"SELECT {_SHOWN} FROM media_file f {_WITH_OBJECT} WHERE f.tenant_id = $1 AND f.message_id = $3 "
        "AND EXISTS (SELECT 1 FROM message m WHERE m.tenant_id = $1 AND m.session_id = $2 AND m.message_id = $3 "
        "AND m.at >= $4)",
        tenant_id,
        session_id,
        message_id,
        cutoff,
    )
    return None if row is None else _media_file(row)


async def erase_before(
    connection: Connection, tenant_id: UUID, before: datetime, *, reason: str, now: datetime, limit: int
) -> list[bytes | None]:
    """Let go of up to *limit* files that came before *before*; for each, the content that it had.

    Files of sessions that are held stay.
    """
    rows = await connection.fetch(
        "WITH gone AS (SELECT message_id, sha256 FROM media_file WHERE tenant_id = $1 AND state <> 'erased' "
        "AND received_at < $2 AND message_id NOT IN (SELECT m.message_id FROM message m JOIN legal_hold h "
        " USING (tenant_id, session_id) WHERE h.tenant_id = $1 AND h.lifted_at IS NULL) "
        "ORDER BY received_at LIMIT $5 FOR UPDATE) "
        "UPDATE media_file f SET state = 'erased', reason = $3, sha256 = NULL, held_until = NULL, settled_at = $4 "
        "FROM gone WHERE f.tenant_id = $1 AND f.message_id = gone.message_id RETURNING gone.sha256",
        tenant_id,
        before,
        reason,
        now,
        limit,
    )
    return [row["sha256"] for row in rows]


async def erase_messages(
    connection: Connection, tenant_id: UUID, messages: Sequence[UUID], *, reason: str, now: datetime
) -> list[bytes | None]:
    """Let go of the files of *messages*; for each, the content that it had."""
    rows = await connection.fetch(
        "WITH gone AS (SELECT message_id, sha256 FROM media_file WHERE tenant_id = $1 AND state <> 'erased' "
        "AND message_id = ANY($2) FOR UPDATE) "
        "UPDATE media_file f SET state = 'erased', reason = $3, sha256 = NULL, held_until = NULL, settled_at = $4 "
        "FROM gone WHERE f.tenant_id = $1 AND f.message_id = gone.message_id RETURNING gone.sha256",
        tenant_id,
        list(messages),
        reason,
        now,
    )
    return [row["sha256"] for row in rows]


async def is_referred_to(connection: Connection, tenant_id: UUID, sha256: bytes) -> bool:
    """Whether any message has this content, or any version of a template."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM media_file WHERE tenant_id = $1 AND sha256 = $2) "
        f"OR {_OF_TEMPLATE.format(sha256='$2::bytea')}",
        tenant_id,
        sha256,
    )
    return bool(found)


async def purge_object(connection: Connection, tenant_id: UUID, sha256: bytes) -> int:
    """Delete the row of a content; its size in bytes, 0 if there was none."""
    size: int | None = await connection.fetchval(
        "DELETE FROM media_object WHERE tenant_id = $1 AND sha256 = $2 RETURNING size", tenant_id, sha256
    )
    return size or 0


async def orphaned_blobs(connection: Connection, tenant_id: UUID, *, before: datetime, limit: int) -> list[bytes]:
    """Contents that nothing has: the last message was erased, a worker died before linking, an upload was not saved."""
    rows = await connection.fetch(
        "SELECT o.sha256 FROM media_object o WHERE o.tenant_id = $1 AND o.stored_at < $2 AND NOT EXISTS "
        "(SELECT 1 FROM media_file f WHERE f.tenant_id = $1 AND f.sha256 = o.sha256) "
        f"AND NOT {_OF_TEMPLATE.format(sha256='o.sha256')} LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [row["sha256"] for row in rows]


def _media_file(row: Record) -> MediaFile:
    return MediaFile(**dict(row))
