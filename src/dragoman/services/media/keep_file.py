"""Keeps a file that is to be sent in the media store, and reads it again when it goes out.

Transactions: one, which writes the content down before it is stored, so that none can lie in the store without being
known. A content that nothing refers to in the end is found and deleted as all such are.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from uuid import UUID

from dragoman.domain.media_types import MediaFacts
from dragoman.runtime import Runtime
from dragoman.store import media
from dragoman.store.blobs import BlobKey, BlobMissingError, BlobsUnavailableError


async def keep_file(runtime: Runtime, tenant_id: UUID, content: bytes, found: MediaFacts) -> str:
    """Store *content*; its SHA-256 in hex, by which it is found again. Raises BlobsUnavailableError."""
    sha256 = hashlib.sha256(content).digest()
    key = BlobKey(tenant_id, sha256)
    async with runtime.database.tenant(tenant_id) as connection:
        await media.register(connection, tenant_id, sha256, size=len(content), found=found, now=runtime.clock.now())
    if not await runtime.blobs.has(key):
        path = runtime.blobs.workspace / f"{runtime.source.new_id()}.sent"
        try:
            await asyncio.to_thread(_write, path, content)
            await runtime.blobs.put(key, path)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
    return sha256.hex()


async def read_file(runtime: Runtime, tenant_id: UUID, sha256: str) -> bytes | None:
    """The content of that SHA-256 in hex; None where it was erased. Raises BlobsUnavailableError."""
    key = BlobKey(tenant_id, bytes.fromhex(sha256))
    size = await runtime.blobs.size(key)
    if size is None:
        return None
    try:
        return b"".join([part async for part in runtime.blobs.read(key, 0, size)])
    except BlobMissingError:
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(content)
    except OSError as error:
        raise BlobsUnavailableError(f"no file can be written: {error}") from error
