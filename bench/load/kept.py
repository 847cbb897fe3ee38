"""The filled database of a size: made once under ``var/bench``, used by every benchmark of the log pages."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.load import fill, people
from bench.load.people import Population
from dragoman.store import embedded, migrate
from dragoman.store.embedded import DatabaseURLs

HOME = Path(__file__).resolve().parents[2] / "var" / "bench"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A running server with that many sessions; ``tenant_id`` is the largest tenant's."""

    home: Path
    urls: DatabaseURLs
    sessions: int
    tenant_id: UUID

    async def largest(self) -> Population:
        """Who writes to the largest tenant, as it was made."""
        owner = await asyncpg.connect(self.urls.owner)
        begin = await owner.fetchval("SELECT created_at FROM tenant WHERE tenant_id = $1", self.tenant_id)
        await owner.close()
        return people.Population(0, round(self.sessions * people.TENANT_SHARES[0] / 100), begin, seed=fill.SEED)


@asynccontextmanager
async def loaded(sessions: int) -> AsyncIterator[Loaded]:
    """The database of that size, made now if it is not there; brought to the schema of today like any other."""
    home = HOME / f"{sessions}"
    ready = home / "ready"
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
    server, urls = embedded.start(home)
    try:
        await _tune(urls)
        await migrate.create_roles(urls)
        await asyncio.to_thread(migrate.upgrade, urls)
        if not ready.exists():
            await fill.fill(urls, sessions, say=_say)
            ready.write_text("")
        done = await fill.derive(urls, ready.read_text().splitlines(), say=_say)
        ready.write_text("\n".join(done))
        owner = await asyncpg.connect(urls.owner)
        tenant_id = await owner.fetchval("SELECT tenant_id FROM tenant WHERE slug = 'bench-0'")
        await owner.close()
        yield Loaded(home=home, urls=urls, sessions=sessions, tenant_id=tenant_id)
    finally:
        server.cleanup()


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


async def _tune(urls: DatabaseURLs) -> None:
    """What anybody would set who has that much data and 2 GB to spare for PostgreSQL."""
    assert urls.superuser is not None
    superuser = await asyncpg.connect(urls.superuser)
    for name, value in {"max_wal_size": "8GB", "effective_cache_size": "6GB", "random_page_cost": "1.1"}.items():
        await superuser.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await superuser.execute("SELECT pg_reload_conf()")
    await superuser.close()
