"""A real PostgreSQL for every test that asks: one server a run, one database a test, cloned from a template."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings

from dragoman.runtime import SystemClock
from dragoman.services import sweep
from dragoman.store import embedded, migrate
from dragoman.store.accounts import user_accounts
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs

# Tracebacks as they are: with colours and local variables a single one takes seconds, in which nothing else runs.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# The same examples in every run, and however slow the machine is; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("suite")

# Making a guess expensive is argon2's part, and its library's defaults are ours: a tenth of a second for each login.
user_accounts._hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)

SHARED = Path(__file__).resolve().parents[2] / "shared"

TEMPLATE = "dragoman_template"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the scenarios' golden timelines anew")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared; the environment works where options do not."""
    return bool(request.config.getoption("--rewrite-golden") or os.environ.get("REWRITE_GOLDEN"))


class _Watched:
    """A log whose errors are remembered."""

    def __init__(self, log: Any) -> None:
        self._log, self.errors = log, list[str]()

    def error(self, event: str, **about: object) -> None:
        self.errors.append(f"{event} {about}")
        self._log.error(event, **about)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture(autouse=True)
def sweep_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A worker goes on when its look for overdue work breaks for a tenant; here it must not break unseen."""
    watched = _Watched(sweep.log)
    monkeypatch.setattr(sweep, "log", watched)
    yield watched.errors
    assert watched.errors == []


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that sets up for good how this process logs would hide the lines that a later test looks for."""
    before = structlog.get_config()
    yield
    assert structlog.get_config() == before, "the test has left the process logging otherwise than before"


def _in_memory() -> Path | None:
    """Where files are made fastest, if there is room for a server: each test has a database of some hundred files."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 * 1024**3
    return shared if roomy else None


async def _hurry(urls: DatabaseURLs) -> None:
    """Nothing here has to survive a power cut; what survives a killed process does not depend on these."""
    assert urls.superuser is not None
    connection = await asyncpg.connect(urls.superuser)
    for name in ("fsync", "full_page_writes"):
        await connection.execute(f"ALTER SYSTEM SET {name} = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def _make_template(urls: DatabaseURLs) -> None:
    await migrate.create_roles(urls)
    await asyncio.to_thread(migrate.upgrade, urls)
    connection = await asyncpg.connect(urls.owner)
    today = SystemClock().now().date()
    await migrate.ensure_partitions(connection, today - timedelta(days=14), today + timedelta(days=8))
    await connection.close()


async def clone_template(superuser: asyncpg.Connection, name: str) -> None:
    """Make the migrated database *name*; copying files takes half the time of logging every page."""
    await superuser.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER dragoman_owner STRATEGY FILE_COPY")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[object]:
    """The server of this run; each xdist worker has its own."""
    with tempfile.TemporaryDirectory(prefix="dragoman-test-", dir=_in_memory()) as directory:
        home = Path(directory)
        home.chmod(0o755)
        server, urls = embedded.start(home)
        asyncio.run(_hurry(urls))
        asyncio.run(_make_template(embedded.urls(server, TEMPLATE)))
        yield server
        server.cleanup()


@pytest.fixture
async def database_urls(postgres_server: object) -> AsyncIterator[DatabaseURLs]:
    """An empty, migrated database of the test's own."""
    name = f"test_{os.getpid()}_{uuid4().hex[:10]}"
    urls = embedded.urls(postgres_server, name)  # type: ignore[arg-type]
    assert urls.superuser is not None
    connection = await asyncpg.connect(urls.superuser)
    await clone_template(connection, name)
    try:
        yield urls
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
async def database(database_urls: DatabaseURLs) -> AsyncIterator[Database]:
    """The application's own door to that database: no superuser, no way round row-level security."""
    database = await Database.connect(database_urls.application, minimum=1, maximum=8)
    yield database
    await database.close()
