"""docs/backup.md as it stands there: dump, restore beside it, and see by the record that all of it came back."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from dragoman.services.audit import checkpoints
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.store.database import Database, owner_connection
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture, said

COUNTED = ("session", "message", "audit_event", "checkpoint", "legal_hold", "user_account", "tenant")


@pytest.fixture
async def tools(database_urls: DatabaseURLs) -> Path:
    """The directory of the server's own pg_dump and pg_restore."""
    assert database_urls.superuser is not None
    connection = await asyncpg.connect(database_urls.superuser)
    where: str = await connection.fetchval("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    await connection.close()
    return Path(where)


@pytest.fixture
async def elsewhere(database_urls: DatabaseURLs) -> AsyncIterator[DatabaseURLs]:
    """An empty database, made as docs/backup.md says."""
    assert database_urls.superuser is not None
    name = f"restored_{os.getpid()}_{uuid4().hex[:10]}"
    connection = await asyncpg.connect(database_urls.superuser)
    await connection.execute(
        f"CREATE DATABASE {name} OWNER dragoman_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    old = _name(database_urls)
    try:
        yield DatabaseURLs(
            application=database_urls.application.replace(old, name), owner=database_urls.owner.replace(old, name)
        )
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


def _name(urls: DatabaseURLs) -> str:
    return urls.owner.split("@/")[1].split("?")[0]


async def _run(*command: str | Path) -> None:
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def _counts(urls: DatabaseURLs) -> dict[str, int]:
    async with owner_connection(urls.owner) as owner:
        return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in COUNTED}


async def test_what_was_dumped_and_restored_is_whole_and_guarded(
    tenant: TenantFixture, database_urls: DatabaseURLs, elsewhere: DatabaseURLs, tools: Path, tmp_path: Path
) -> None:
    sessions = [await tenant.session() for _ in range(3)]
    for session_id in sessions:
        await tenant.message(session_id, 1, {"kind": "text", "text": "Größe? 💚"})
        await said(tenant, session_id, "it ended")
    await tenant.user("administrator")
    await checkpoints.make(tenant.runtime, tenant.tenant_id)
    await said(tenant, sessions[0], "one more after the checkpoint")

    dump = tmp_path / "dragoman.dump"
    await _run(tools / "pg_dump", "--format=custom", f"--file={dump}", database_urls.owner)
    await _run(tools / "pg_restore", "--exit-on-error", f"--dbname={elsewhere.owner}", dump)

    assert await _counts(elsewhere) == await _counts(database_urls)
    database = await Database.connect(elsewhere.application, minimum=1, maximum=4)
    try:
        restored = dataclasses.replace(tenant.runtime, database=database)
        verdict = await verify_audit(restored, tenant.tenant_id)
        assert (verdict.sessions, verdict.events, verdict.checkpoints) == (3, 4, 1)
        assert (verdict.breaches, verdict.trouble) == ((), "")
        # The record is as closed to the application as it was, and each tenant's rows to the others.
        async with database.tenant(uuid4()) as connection:
            assert await connection.fetchval("SELECT count(*) FROM audit_event") == 0
        for statement in ("DELETE FROM audit_event", "UPDATE message SET ordinal = 7"):
            async with database.tenant(tenant.tenant_id) as connection:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        # And it goes on: the next event is sealed upon what was restored.
        await said(TenantFixture(restored, tenant.slug, tenant.tenant_id), sessions[1], "after the restore")
        assert (await verify_audit(restored, tenant.tenant_id)).breaches == ()
    finally:
        await database.close()


async def test_a_backup_from_before_the_latest_checkpoint_is_told_by_the_files_outside(
    tenant: TenantFixture, database_urls: DatabaseURLs, elsewhere: DatabaseURLs, tools: Path, tmp_path: Path
) -> None:
    session_id = await tenant.session()
    await said(tenant, session_id, "before the dump")
    await checkpoints.make(tenant.runtime, tenant.tenant_id)
    dump = tmp_path / "dragoman.dump"
    await _run(tools / "pg_dump", "--format=custom", f"--file={dump}", database_urls.owner)
    await said(tenant, session_id, "after the dump")
    await checkpoints.make(tenant.runtime, tenant.tenant_id)

    await _run(tools / "pg_restore", "--exit-on-error", f"--dbname={elsewhere.owner}", dump)
    database = await Database.connect(elsewhere.application, minimum=1, maximum=4)
    try:
        verdict = await verify_audit(dataclasses.replace(tenant.runtime, database=database), tenant.tenant_id)
    finally:
        await database.close()
    assert verdict.breaches
    assert {breach.session_id for breach in verdict.breaches if breach.session_id} == {session_id}
