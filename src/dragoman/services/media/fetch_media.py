"""Fetch the file of one message from the channel into the media store.

Transactions: (1) claim the file, which counts the attempt; the download and the writing into the store run outside of
any; (2) write the content down before it is stored; (3) link the message to it, under the content's lock, if the claim
still holds. A worker that dies is followed by another when the claim runs out; one that was overtaken writes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import structlog

from dragoman.channels.interface import AccountAccess, AccountClient, Located, MediaError, Trouble
from dragoman.domain.media_types import HEAD_BYTES, TAIL_BYTES, MediaFacts, look
from dragoman.runtime import Job, Runtime
from dragoman.store import media
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError
from dragoman.store.database import UNAVAILABLE
from dragoman.store.media import Claim

log = structlog.get_logger()

CLAIM_SECONDS = 60.0
"""For how long a worker that gives no sign of life keeps others away."""

WHOLE_SECONDS = 900.0
"""How long one download may take in all."""

PATIENCE = timedelta(days=7)
"""Meta forgets a file after that (whatsapp facts, section 4); nothing is tried any longer."""

PAUSES = tuple(timedelta(seconds=s) for s in (5, 20, 60, 300, 900, 3600))
"""Before each further attempt; the last one goes on."""

SLOW_PAUSE = timedelta(minutes=15)
"""The least pause after a refusal that only an administrator can mend, and for a file that Meta does not know."""

MISMATCHES = 3
"""Attempts at a file whose content is not what the channel said."""

IN_A_ROW = 50
"""Files that one wake-up fetches at most, so that a tenant with many does not keep a place for ever."""


class _ChangedError(Exception):
    """What came is not what the channel said would come."""


class _OvertakenError(Exception):
    """Another worker has the file by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Download:
    """A file in the workspace, whole and on this machine only."""

    path: Path
    sha256: bytes
    size: int
    found: MediaFacts


async def fetch_media(runtime: Runtime, tenant_id: UUID, message_id: UUID) -> str:
    """Fetch the file if it is due and nobody else is at it; the state in which it is then.

    Where this process has its hands full, the file is left: a wake-up that waited would keep a message's from running.
    Whoever is done with one goes on to the next that was left.
    """
    if runtime.media_slots.locked():
        return "left"
    async with runtime.media_slots:
        state = await _fetch(runtime, tenant_id, message_id)
        for _ in range(IN_A_ROW):
            async with runtime.database.tenant(tenant_id) as connection:
                left = await media.overdue(connection, tenant_id, now=runtime.clock.now(), limit=1)
            if not left:
                break
            await _fetch(runtime, tenant_id, left[0])
        return state


async def _fetch(runtime: Runtime, tenant_id: UUID, message_id: UUID) -> str:
    async with runtime.database.tenant(tenant_id) as connection:
        claim = await media.claim(connection, tenant_id, message_id, now=runtime.clock.now(), seconds=CLAIM_SECONDS)
        if claim is None:
            return "left"
        account = await channel_accounts.load(connection, tenant_id, claim.channel_account_id)
    try:
        client = runtime.client(AccountAccess(address=account.address, token=_token(runtime, account)))
        async with _held(runtime, tenant_id, claim):
            download = await _download(runtime, client, claim)
            try:
                return await _keep(runtime, tenant_id, claim, download)
            finally:
                await asyncio.to_thread(download.path.unlink, missing_ok=True)
    except MediaError as error:
        return await _fail(runtime, tenant_id, claim, error.trouble, str(error))
    except _ChangedError as error:
        trouble = Trouble.PASSING if claim.attempt < MISMATCHES else None
        return await _fail(runtime, tenant_id, claim, trouble, str(error))
    except BlobsUnavailableError as error:
        log.warning("media_store_unavailable", error=error)
        return await _fail(runtime, tenant_id, claim, Trouble.PASSING, str(error))
    except _OvertakenError:
        log.warning("media_claim_lost", message_id=str(message_id))
        return "left"


def _token(runtime: Runtime, account: ChannelAccount) -> str:
    try:
        return channel_accounts.unseal(account.secrets, runtime.keyring.decrypt).token
    except UnreadableCredentialsError as error:
        raise MediaError(Trouble.REFUSED, str(error)) from error


@asynccontextmanager
async def _held(runtime: Runtime, tenant_id: UUID, claim: Claim) -> AsyncIterator[None]:
    """Keep the claim for as long as the block runs; stop the block when another worker has it."""
    working, overtaken = asyncio.current_task(), False

    async def hold() -> None:
        nonlocal overtaken
        while not overtaken:
            await asyncio.sleep(CLAIM_SECONDS / 4)
            try:
                async with runtime.database.tenant(tenant_id) as connection:
                    overtaken = not await media.hold(connection, tenant_id, claim, seconds=CLAIM_SECONDS)
            except UNAVAILABLE as error:
                log.warning("media_claim_not_extended", error=error)
        if working is not None:
            working.cancel()

    beat = asyncio.create_task(hold())
    try:
        yield
    except asyncio.CancelledError:
        if not overtaken or working is None:
            raise
        working.uncancel()
        raise _OvertakenError from None
    finally:
        beat.cancel()


async def _download(runtime: Runtime, client: AccountClient, claim: Claim) -> _Download:
    """Into the workspace; an address that has expired meanwhile is asked for once more."""
    limit = asyncio.timeout(WHOLE_SECONDS)
    try:
        async with limit:
            try:
                return await _receive(runtime, client, await client.locate(claim.channel_media_id), claim)
            except MediaError as error:
                if error.trouble is not Trouble.STALE_ADDRESS:
                    raise
            return await _receive(runtime, client, await client.locate(claim.channel_media_id), claim)
    except TimeoutError:
        if not limit.expired():
            raise
        raise MediaError(Trouble.PASSING, f"The download took more than {WHOLE_SECONDS:.0f} seconds") from None


async def _receive(runtime: Runtime, client: AccountClient, located: Located, claim: Claim) -> _Download:
    path = runtime.blobs.workspace / f"{claim.message_id}.{claim.attempt}"
    try:
        handle = await asyncio.to_thread(_create, path)
    except OSError as error:
        raise BlobsUnavailableError(f"no file can be written: {error}") from error
    try:
        digest, size = await _write(client, located, handle)
        for claimed in (claim.claimed_sha256, located.sha256):
            if claimed is not None and claimed != digest:
                raise _ChangedError(
                    f"The file's SHA-256 is {digest.hex()[:16]}…, not {claimed.hex()[:16]}… as the channel said"
                )
        if size == 0:
            raise _ChangedError("The file is empty")
        found = await asyncio.to_thread(_look, path, size)
        return _Download(path=path, sha256=digest, size=size, found=found)
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise


async def _write(client: AccountClient, located: Located, handle: BinaryIO) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    try:
        async for piece in client.read(located):
            digest.update(piece)
            size += len(piece)
            await asyncio.to_thread(handle.write, piece)
    except OSError as error:
        raise BlobsUnavailableError(f"no file can be written: {error}") from error
    finally:
        await asyncio.to_thread(handle.close)
    return digest.digest(), size


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path.open("wb")


def _look(path: Path, size: int) -> MediaFacts:
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
        handle.seek(max(0, size - TAIL_BYTES))
        return look(head, handle.read(TAIL_BYTES))


async def _keep(runtime: Runtime, tenant_id: UUID, claim: Claim, download: _Download) -> str:
    key = BlobKey(tenant_id, download.sha256)
    async with runtime.database.tenant(tenant_id) as connection:
        await media.register(
            connection,
            tenant_id,
            download.sha256,
            size=download.size,
            found=download.found,
            now=runtime.clock.now(),
        )
    if not await runtime.blobs.has(key):
        await runtime.blobs.put(key, download.path)
    async with runtime.database.tenant(tenant_id) as connection:
        known = await media.lock_object(connection, tenant_id, download.sha256)
        # Erasure may have taken the last other message with this content, and the content, a moment ago.
        if not known or not await runtime.blobs.has(key):
            raise BlobsUnavailableError("the content was erased while it was being stored")
        if not await media.mark_stored(connection, tenant_id, claim, download.sha256, now=runtime.clock.now()):
            return "left"
    return "stored"


async def _fail(runtime: Runtime, tenant_id: UUID, claim: Claim, trouble: Trouble | None, reason: str) -> str:
    """Say why, and when it is tried again; a *trouble* of None is for good."""
    now = runtime.clock.now()
    final = trouble in {None, Trouble.UNSAFE, Trouble.TOO_LARGE}
    pause = PAUSES[min(claim.attempt, len(PAUSES)) - 1] * (1 + runtime.source.jitter() / 4)
    if trouble in {Trouble.REFUSED, Trouble.GONE} and claim.attempt > 2:
        pause = max(pause, SLOW_PAUSE)
    async with runtime.database.tenant(tenant_id) as connection:
        if final or now + pause > claim.received_at + PATIENCE:
            await media.mark_failed(connection, tenant_id, claim, reason, now=now)
            log.warning("media_failed", message_id=str(claim.message_id), trouble=trouble)
            return "failed"
        if await media.put_off(connection, tenant_id, claim, reason, due_at=now + pause):
            job = Job(entrypoint="fetch_media", tenant_id=tenant_id, key=claim.message_id, delay=pause)
            await runtime.queue.enqueue(connection, [job])
    return "pending"


LEFT_BEHIND_SECONDS = WHOLE_SECONDS * 4


def clean_workspace(runtime: Runtime) -> int:
    """Remove what workers that died left half downloaded on this machine; returns how many files."""
    removed = 0
    for path in runtime.blobs.workspace.glob("*"):
        if time.time() - path.stat().st_mtime > LEFT_BEHIND_SECONDS:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
