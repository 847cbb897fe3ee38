"""A media store in a bucket of Amazon S3 or of anything that speaks its protocol, by obstore.

Credentials come from where AWS's own tools take them: ``AWS_ACCESS_KEY_ID`` and so on, or the machine's role.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from dragoman.domain.plain_text import cut
from dragoman.store.blobs import CHUNK, BlobMissingError, BlobsUnavailableError, Key, S3Address

_TROUBLE = (BaseError, OSError, ValueError)


class S3Blobs:
    """Keeps media in the bucket, under its prefix. *workspace* is a local directory in which uploads are made ready."""

    def __init__(self, address: S3Address, workspace: Path) -> None:
        self._workspace = workspace
        options: dict[str, str | bool] = {"virtual_hosted_style_request": address.virtual_hosts}
        if address.endpoint is not None:
            options["endpoint"] = address.endpoint
            # A store of one's own seldom has regions, but the signature names one.
            options["region"] = "us-east-1"
        if address.region is not None:
            options["region"] = address.region
        self._store = S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=options,  # type: ignore[arg-type]
            client_options={
                "allow_http": address.endpoint is not None and address.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=60),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        )

    @property
    def workspace(self) -> Path:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        return self._workspace

    async def put(self, key: Key, file: Path) -> None:
        """See :class:`~dragoman.store.blobs.Blobs`; large files go up in parts, and appear when all are there."""
        try:
            await obstore.put_async(self._store, key.path, file)
        except _TROUBLE as error:
            raise _unavailable(error) from error
        await asyncio.to_thread(file.unlink, missing_ok=True)

    async def has(self, key: Key) -> bool:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        return await self.size(key) is not None

    async def size(self, key: Key) -> int | None:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        try:
            return int((await obstore.head_async(self._store, key.path))["size"])
        except FileNotFoundError:
            return None
        except _TROUBLE as error:
            raise _unavailable(error) from error

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        if start >= end:
            return
        try:
            found = await obstore.get_async(self._store, key.path, options={"range": (start, end)})
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except FileNotFoundError:
            raise BlobMissingError(key.path) from None
        except _TROUBLE as error:
            raise _unavailable(error) from error

    async def delete(self, key: Key) -> None:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        try:
            await obstore.delete_async(self._store, key.path)
        except FileNotFoundError:
            return
        except _TROUBLE as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> BlobsUnavailableError:
    # The library's message goes on with request and answer; its first line says what was wrong.
    said = cut(str(error).strip().partition("\n")[0], 300)
    return BlobsUnavailableError(f"the bucket cannot be used: {said}")
