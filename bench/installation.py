"""A throw-away installation for benchmarks: embedded PostgreSQL as durable as ever, one tenant, one number."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
from cryptography.fernet import Fernet

from dragoman.classify.provider import Classifiers
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, Limits
from dragoman.jobs.queue import PgQueue
from dragoman.runtime import Keyring, Runtime, SystemClock, TimeOrderedIds
from dragoman.settings import Settings
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import InProcessSkills, SkillInvoker
from dragoman.skills.python import PythonSkill
from dragoman.store import embedded, migrate, tenants
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs

PHONE_NUMBER_ID = "100200300400"
APP_SECRET = "benchmark"


@dataclass(frozen=True, kw_only=True)
class BenchInstallation:
    """What a benchmark works on."""

    runtime: Runtime
    urls: DatabaseURLs
    tenant_id: UUID
    channel_account_id: UUID


@asynccontextmanager
async def open_installation(
    shop: Mapping[str, PythonSkill] | SkillInvoker, transport: httpx.AsyncBaseTransport
) -> AsyncIterator[BenchInstallation]:
    """Make it, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="dragoman-bench-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        server, urls = embedded.start(home)
        try:
            await migrate.create_roles(urls)
            await asyncio.to_thread(migrate.upgrade, urls)
            async with AsyncExitStack() as stack:
                database = await Database.connect(urls.application, maximum=20)
                stack.push_async_callback(database.close)
                http = await stack.enter_async_context(httpx.AsyncClient(transport=transport))
                yield await _furnish(home, database, http, shop, urls)
        finally:
            server.cleanup()


async def _furnish(
    home: Path,
    database: Database,
    http: httpx.AsyncClient,
    shop: Mapping[str, PythonSkill] | SkillInvoker,
    urls: DatabaseURLs,
) -> BenchInstallation:
    runtime = _runtime(home, database, http, shop)
    clock = runtime.clock
    today = clock.now().date()
    async with database.directory() as connection:
        await migrate.ensure_partitions(connection, today - timedelta(days=95), today + timedelta(days=8))
    tenant_id, account_id = runtime.source.new_id(), runtime.source.new_id()
    credentials = WhatsAppCredentials(token="t", app_secret=APP_SECRET, verify_token="v")
    account = ChannelAccount(
        channel_account_id=account_id,
        channel="whatsapp",
        address=PHONE_NUMBER_ID,
        display="+43 1 555 0100",
        name="Bench",
        # What is measured is the dispatcher, not the pace that WhatsApp wants.
        messages_per_second=0,
        pair_burst=0,
        secrets=runtime.keyring.encrypt(credentials.to_bytes()),
    )
    async with database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug="bench", name="Bench", now=clock.now())
        await channel_accounts.add(connection, tenant_id, account, waba_id=None, now=clock.now())
        await skills.register(connection, tenant_id, await runtime.skills.specs(), now=clock.now())
        # Counted as in production, but never refused.
        limits = Limits(contact_per_minute=10**6, channel_account_per_second=10**6, tenant_per_second=10**6)
        await skills.set_policy(connection, tenant_id, Policy(limits=limits, budget=Budget(messages=0, cost_micros=0)))
    return BenchInstallation(runtime=runtime, urls=urls, tenant_id=tenant_id, channel_account_id=account_id)


def _runtime(
    home: Path, database: Database, http: httpx.AsyncClient, shop: Mapping[str, PythonSkill] | SkillInvoker
) -> Runtime:
    clock = SystemClock()
    settings = Settings(
        data_directory=home, secret_key=Fernet.generate_key().decode(), graph_url="http://graph.invalid"
    )
    return Runtime(
        settings=settings,
        database=database,
        clock=clock,
        source=TimeOrderedIds(clock),
        http=http,
        queue=PgQueue(),
        keyring=Keyring(settings.secret_key),
        classifiers=Classifiers(HttpSkills()),
        skills=InProcessSkills(shop, clock.now) if isinstance(shop, Mapping) else shop,
        blobs=LocalBlobs(settings.data_directory / "media"),
    )


@asynccontextmanager
async def open_runtime(home: Path, urls: DatabaseURLs) -> AsyncIterator[Runtime]:
    """A runtime on a database that is there already; nothing is sent from it."""
    async with AsyncExitStack() as stack:
        database = await Database.connect(urls.application, maximum=20)
        stack.push_async_callback(database.close)
        refuses = httpx.MockTransport(lambda _: httpx.Response(500))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=refuses))
        yield _runtime(home, database, http, {})
