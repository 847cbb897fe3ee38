"""Make checkpoints, and write them outside the database.

Transactions: one for each checkpoint, in which it is made; then one for each that notes that it is outside. What a
crash leaves between the two is written by whoever comes next: the same bytes, which are there already or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog

from dragoman.domain.errors import ConfigurationError
from dragoman.ledger import checkpoint
from dragoman.ledger.checkpoint import MadeCheckpoint, OtherKeyError
from dragoman.runtime import Runtime
from dragoman.services.audit.checkpoint_key import signing_key
from dragoman.store import tenants
from dragoman.store.blobs import BlobMissingError, Blobs, BlobsUnavailableError, CheckpointKey, open_checkpoints

log = structlog.get_logger()


def outside(runtime: Runtime) -> Blobs:
    """Open the store outside the database. Raises ConfigurationError."""
    return open_checkpoints(runtime.settings.checkpoint_url, runtime.settings.data_directory)


async def make(
    runtime: Runtime, tenant_id: UUID, *, other_key: bool = False, consider_all: bool = False
) -> list[MadeCheckpoint]:
    """Make as many checkpoints as it takes to cover every chain that has grown, and write them outside.

    *consider_all* looks at every session, *other_key* goes on with a new key. Raises ConfigurationError where the key
    is not the one of the checkpoint before, and what :func:`publish` does where what was made is not outside yet.
    """
    key = await asyncio.to_thread(signing_key, runtime.settings)
    if consider_all:
        async with runtime.database.tenant(tenant_id) as connection:
            await checkpoint.consider_all(connection, tenant_id)
    made: list[MadeCheckpoint] = []
    while True:
        try:
            async with runtime.database.tenant(tenant_id) as connection:
                one = await checkpoint.make(
                    connection, tenant_id, key, now=runtime.clock.now(), other_key=other_key and not made
                )
        except OtherKeyError as error:
            raise ConfigurationError(
                f"{error}; give that key to every process that makes checkpoints (DRAGOMAN_CHECKPOINT_KEY), or go on "
                "with a new one by `dragoman audit checkpoint --new-key`"
            ) from error
        if one is None:
            break
        made.append(one)
    await publish(runtime, tenant_id)
    return made


async def publish(runtime: Runtime, tenant_id: UUID) -> int:
    """Write outside what is not there yet; returns how many.

    Raises BlobsUnavailableError, and ConfigurationError where another one of that number is there.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        numbers = await checkpoint.unpublished(connection, tenant_id)
    if not numbers:
        return 0
    store = outside(runtime)
    for number in numbers:
        async with runtime.database.tenant(tenant_id) as connection:
            signed = (await checkpoint.headers(connection, tenant_id, [number]))[number]
            leaves = await checkpoint.leaves(connection, tenant_id, number)
        name = f"checkpoint-{runtime.source.new_id()}"
        lines = (*signed.lines(), *(leaf.to_bytes() + b"\n" for leaf in leaves))
        there = await read(store, tenant_id, number)
        if there is None:
            file = await asyncio.to_thread(_written, store.workspace, name, lines)
            await store.put(CheckpointKey(tenant_id, number), file)
        elif there != b"".join(lines):
            raise ConfigurationError(
                f"outside the database there is another checkpoint {number}: the database was set back, or one of the "
                "two was changed; see docs/trust.md"
            )
        async with runtime.database.tenant(tenant_id) as connection:
            await checkpoint.published(connection, tenant_id, number, now=runtime.clock.now())
    return len(numbers)


async def read(store: Blobs, tenant_id: UUID, number: int) -> bytes | None:
    """A checkpoint's file; None where there is none. Raises BlobsUnavailableError."""
    key = CheckpointKey(tenant_id, number)
    size = await store.size(key)
    if size is None:
        return None
    try:
        return b"".join([piece async for piece in store.read(key, 0, size)])
    except BlobMissingError:
        return None


def _written(folder: Path, name: str, lines: Iterable[bytes]) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / name
        with file.open("wb") as handle:
            handle.writelines(lines)
    except OSError as error:
        raise BlobsUnavailableError(f"the directory cannot be used: {error}") from error
    return file


async def make_where_due(runtime: Runtime) -> None:
    """For every tenant whose latest checkpoint is old enough; what goes wrong is logged, and tried again."""
    async with runtime.database.directory() as connection:
        ids = await tenants.list_ids(connection)
    interval = timedelta(minutes=runtime.settings.checkpoint_minutes)
    for tenant_id in ids:
        async with runtime.database.tenant(tenant_id) as connection:
            latest = await checkpoint.latest_at(connection, tenant_id)
        try:
            if latest is None or latest + interval <= runtime.clock.now():
                for one in await make(runtime, tenant_id):
                    log.info("checkpoint_made", tenant=str(tenant_id), number=one.number, sessions=one.leaves)
            else:
                await publish(runtime, tenant_id)
        except (BlobsUnavailableError, ConfigurationError, OSError) as error:
            log.error("checkpoint_put_off", tenant=str(tenant_id), error=error)
