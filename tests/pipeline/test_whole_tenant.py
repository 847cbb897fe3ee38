"""A tenant is read out whole and deleted whole, and the others have everything that they had."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.services.access import second_factor
from dragoman.services.audit import checkpoints
from dragoman.services.retention import legal_holds, whole_tenant
from dragoman.services.retention.whole_tenant import TenantBusyError, TenantHeldError
from dragoman.store import whole_tenant as store
from dragoman.store.accounts import user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import classifier_key
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests.db.tenant_fixture import TenantFixture
from tests.harness import APP_SECRET, TOKEN
from tests.pipeline.test_erasure import MARK, NAME, PHONE, ErasurePlace, place, tables

__all__ = ["place"]


def quiet(_: str) -> None:
    """Hears what a run says of its progress."""


async def counts(place: ErasurePlace, tenant_id: Any) -> dict[str, int]:
    found = {}
    for table in await store.tables(place.owner):
        number = await place.owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant_id)
        if number:
            found[table] = number
    return found


async def neighbour(place: ErasurePlace) -> TenantFixture:
    tenant = await TenantFixture.build(place.shop.runtime, "neighbour")
    session_id = await tenant.session()
    await tenant.message(session_id, 1, {"kind": "text", "body": "ours"})
    await tenant.user("administrator")
    await tenant.token("auditor")
    return tenant


async def secrets_of(place: ErasurePlace) -> list[str]:
    """What opens something of the tenant."""
    runtime, tenant_id = place.shop.runtime, place.shop.tenant_id
    tenant = TenantFixture(runtime, "shop", tenant_id=tenant_id)
    user = await tenant.user("administrator")
    token = await tenant.token("auditor")
    cookie = (await tenant.cookie(user))["Cookie"].partition("=")[2]
    setup = await second_factor.begin(runtime, tenant_id, user.user_id)
    async with runtime.database.tenant(tenant_id) as connection:
        hashed = await user_accounts.password_hash_of(connection, tenant_id, user.user_id)
        sealed = await connection.fetchval("SELECT secrets FROM channel_account")
        sealed_key = runtime.keyring.encrypt(b"sk-of-the-language-model")
        await classifier_key.save(connection, tenant_id, sealed_key)
    return [token, cookie, setup.secret, hashed, sealed.hex(), sealed_key.decode(), APP_SECRET, TOKEN]


async def read_out(place: ErasurePlace, to: Path) -> dict[str, list[dict[str, Any]]]:
    async with owner_connection_of(place) as owner:
        await whole_tenant.read_out(place.shop.runtime, owner, place.shop.tenant_id, to, progress=quiet)
    with zipfile.ZipFile(to) as archive:
        assert archive.testzip() is None
        return {
            name.removeprefix("tables/").removesuffix(".jsonl"): [json.loads(row) for row in archive.open(name)]
            for name in archive.namelist()
            if name.startswith("tables/")
        }


def owner_connection_of(place: ErasurePlace) -> Any:
    return owner_connection(place.urls)


@pytest.fixture(autouse=True)
def _urls(place: ErasurePlace, database_urls: DatabaseURLs) -> None:
    place.urls = database_urls.owner


async def test_everything_is_read_out_but_what_opens_a_door(place: ErasurePlace, tmp_path: Path) -> None:
    await neighbour(place)
    doors = await secrets_of(place)
    found = await read_out(place, tmp_path / "shop.zip")
    kept = await counts(place, place.shop.tenant_id)
    assert {table: len(rows) for table, rows in found.items() if rows} == {
        table: number for table, number in kept.items() if table not in store.NOT_READ
    }
    assert {row["tenant_id"] for rows in found.values() for row in rows} == {str(place.shop.tenant_id)}
    text = json.dumps(found, ensure_ascii=False)
    assert [mark for mark in (NAME, PHONE, MARK) if mark not in text] == []
    assert [secret for secret in doors if secret in text] == []
    with zipfile.ZipFile(tmp_path / "shop.zip") as archive:
        media = [name for name in archive.namelist() if name.startswith("media/")]
        assert len(media) == 1
        assert json.loads(archive.read("counts.json"))["media"] == 1
        assert len(archive.read(media[0])) > 100


async def test_everything_is_deleted_and_others_keep_theirs(place: ErasurePlace, tmp_path: Path) -> None:
    other = await neighbour(place)
    await secrets_of(place)
    await checkpoints.make(place.shop.runtime, place.shop.tenant_id)
    theirs = await counts(place, other.tenant_id)
    ours = await counts(place, place.shop.tenant_id)
    files = [path for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert files
    gone = await whole_tenant.delete(place.shop.runtime, place.owner, place.shop.tenant_id, progress=quiet)
    assert gone["audit_event"] == ours["audit_event"]
    assert await counts(place, place.shop.tenant_id) == {}
    assert await counts(place, other.tenant_id) == theirs
    assert [path for path in files if path.exists()] == []
    place.marks |= {str(place.shop.tenant_id)}
    assert {t: m for t, m in (await place.everywhere()).items() if not t.startswith("pgqueuer")} == {}


@pytest.mark.parametrize("table", ["session", "user_account", "tenant"])
async def test_killed_anywhere_it_is_finished_by_the_next(
    place: ErasurePlace, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = store.delete

    async def die(connection: Any, name: str, tenant_id: Any) -> int:
        if name == table:
            raise ConnectionResetError("killed")
        return await delete(connection, name, tenant_id)

    given = (place.shop.runtime, place.owner, place.shop.tenant_id)
    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", die)
        with pytest.raises(ConnectionResetError):
            await whole_tenant.delete(*given, progress=quiet)
    assert await place.owner.fetchval("SELECT tenant_id FROM directory WHERE kind = 'tenant_slug' AND key = 'shop'")
    await whole_tenant.delete(*given, progress=quiet)
    assert await counts(place, place.shop.tenant_id) == {}


async def test_nothing_comes_in_meanwhile(place: ErasurePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that had not heard of it writes once more; that goes, too."""
    delete, said = store.delete, Counter[str]()

    async def and_meanwhile(connection: Any, name: str, tenant_id: Any) -> int:
        done = await delete(connection, name, tenant_id)
        if name == "session" and not said["late"]:
            said["late"] += 1
            await place.owner.execute(
                "INSERT INTO rate_window (tenant_id, scope, subject_id, window_start, shard, allowed, taken) "
                "VALUES ($1, 'tenant', $1, now(), 0, 1, 1)",
                tenant_id,
            )
        return done

    monkeypatch.setattr(store, "delete", and_meanwhile)
    await whole_tenant.delete(place.shop.runtime, place.owner, place.shop.tenant_id, progress=quiet)
    assert await counts(place, place.shop.tenant_id) == {}


async def test_what_never_stops_writing_is_not_left_behind(
    place: ErasurePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = store.delete

    async def more_and_more(connection: Any, name: str, tenant_id: Any) -> int:
        return await delete(connection, name, tenant_id) or int(name == "session")

    given = (place.shop.runtime, place.owner, place.shop.tenant_id)
    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", more_and_more)
        with pytest.raises(TenantBusyError):
            await whole_tenant.delete(*given, progress=quiet)
    assert await place.owner.fetchval("SELECT 1 FROM tenant WHERE tenant_id = $1", place.shop.tenant_id)
    await whole_tenant.delete(*given, progress=quiet)
    assert await counts(place, place.shop.tenant_id) == {}


async def test_what_is_held_keeps_the_tenant(place: ErasurePlace) -> None:
    (session_id, *_) = await place.sessions()
    given = (place.shop.runtime, place.shop.tenant_id, session_id)
    await legal_holds.place_hold(*given, "lawsuit", Administrator("Lena Law"))
    before = await counts(place, place.shop.tenant_id)
    with pytest.raises(TenantHeldError, match="1 session is on legal hold"):
        await whole_tenant.delete(place.shop.runtime, place.owner, place.shop.tenant_id, progress=quiet)
    assert await counts(place, place.shop.tenant_id) == before


async def test_the_order_is_one_in_which_it_can_be_done(place: ErasurePlace) -> None:
    ordered = await store.tables(place.owner)
    named = {table for table in await tables(place.owner) if not table.startswith("pgqueuer")}
    assert set(ordered) == named - {"alembic_version"}
    assert ordered.index("message") >= 0
    assert ordered.index("session") < ordered.index("thread") < ordered.index("contact")
    assert ordered.index("second_factor") < ordered.index("user_account")
    assert ordered[-1] == "tenant"


async def test_the_command_line(place: ErasurePlace, database_urls: DatabaseURLs, tmp_path: Path) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": database_urls.owner,
        "DRAGOMAN_DATA_DIR": str(tmp_path),
        "DRAGOMAN_SECRET_KEY": place.shop.runtime.settings.secret_key,
    }

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, ["tenant", *words])

    file = tmp_path / "out.zip"
    done = await run("export", "shop", str(file), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["media"] == 1
    assert "already exists" in str((await run("export", "shop", str(file))).exception)
    assert "--yes" in str((await run("delete", "shop")).exception)
    deleted = await run("delete", "shop", "--yes", "--json")
    assert deleted.exit_code == 0, deleted.output
    assert json.loads(deleted.stdout)["tenant"] == 1
    assert str((await run("delete", "shop", "--yes")).exception) == "there is no tenant called shop"
