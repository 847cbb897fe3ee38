"""Hold a lease for as long as the work under it takes, and give it back when the work fails.

Transactions: one for each extension and for the release.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from dragoman.runtime import Runtime
from dragoman.store import leases
from dragoman.store.database import UNAVAILABLE
from dragoman.store.leases import Lease

log = structlog.get_logger()


@asynccontextmanager
async def kept(runtime: Runtime, lease: Lease) -> AsyncIterator[None]:
    """Extend the lease in the background for as long as the block runs."""

    async def extend() -> None:
        while True:
            await asyncio.sleep(lease.seconds / 3)
            try:
                async with runtime.database.tenant(lease.tenant_id) as connection:
                    await leases.extend(connection, lease)
            except UNAVAILABLE as error:
                log.warning("lease_not_extended", lease=lease.name, error=repr(error))

    beat = asyncio.create_task(extend())
    try:
        yield
    finally:
        beat.cancel()


async def give_back(runtime: Runtime, lease: Lease) -> None:
    """Release after a failure, so that another worker need not wait for the deadline; it is no harm if we cannot."""
    try:
        async with runtime.database.tenant(lease.tenant_id) as connection:
            await leases.release(connection, lease)
    except UNAVAILABLE as error:
        log.warning("lease_not_released", lease=lease.name, error=repr(error))
