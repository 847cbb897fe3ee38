"""Let go of files: those past retention, those of messages that are to be erased, and those that nothing has.

Transactions: one for each part of the files, which are marked as erased with the reason; then one for each content
that they had, in which it is deleted from the media store under its lock, if no other message has it and no version of
an email template. What a crash leaves between the two is found by :func:`erase_orphaned_blobs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.runtime import Runtime
from dragoman.store import media
from dragoman.store.blobs import BlobKey

PART = 500

STRAY_AFTER = timedelta(hours=1)
"""A content that nothing has may be one that is just being stored, or stands in a form; after that long it is not."""


@dataclass(frozen=True, slots=True)
class ErasedMedia:
    """How many files of messages were let go, and how many contents, of how many bytes, left the media store."""

    files: int = 0
    contents: int = 0
    size: int = 0

    def __add__(self, other: ErasedMedia) -> ErasedMedia:
        return ErasedMedia(self.files + other.files, self.contents + other.contents, self.size + other.size)


async def erase_before(
    runtime: Runtime, tenant_id: UUID, before: datetime, *, reason: str = "retention"
) -> ErasedMedia:
    """Erase the files of all messages that came before *before*. Raises BlobsUnavailableError; run it again then."""
    erased = ErasedMedia()
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            part = await media.erase_before(
                connection, tenant_id, before, reason=reason, now=runtime.clock.now(), limit=PART
            )
        erased += ErasedMedia(files=len(part)) + await erase_contents(runtime, tenant_id, part)
        if len(part) < PART:
            return erased


async def erase_messages(runtime: Runtime, tenant_id: UUID, messages: Sequence[UUID], *, reason: str) -> ErasedMedia:
    """Erase the files of *messages*. Raises BlobsUnavailableError; what is left then is found by the sweep."""
    async with runtime.database.tenant(tenant_id) as connection:
        part = await media.erase_messages(connection, tenant_id, messages, reason=reason, now=runtime.clock.now())
    return ErasedMedia(files=len(part)) + await erase_contents(runtime, tenant_id, part)


async def erase_orphaned_blobs(runtime: Runtime, tenant_id: UUID) -> ErasedMedia:
    """Delete contents that neither a message nor a template has. Raises BlobsUnavailableError."""
    async with runtime.database.tenant(tenant_id) as connection:
        found = await media.orphaned_blobs(connection, tenant_id, before=runtime.clock.now() - STRAY_AFTER, limit=PART)
    return await erase_contents(runtime, tenant_id, found)


async def erase_contents(runtime: Runtime, tenant_id: UUID, contents: Sequence[bytes | None]) -> ErasedMedia:
    """Delete those of *contents* that neither a message nor a template has. Raises BlobsUnavailableError."""
    erased = ErasedMedia()
    for sha256 in {content for content in contents if content is not None}:
        async with runtime.database.tenant(tenant_id) as connection:
            if not await media.lock_object(connection, tenant_id, sha256):
                continue
            if await media.is_referred_to(connection, tenant_id, sha256):
                continue
            await runtime.blobs.delete(BlobKey(tenant_id, sha256))
            erased += ErasedMedia(contents=1, size=await media.purge_object(connection, tenant_id, sha256))
    return erased
