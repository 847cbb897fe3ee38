"""Skills behind HTTP from the command line: manifests go in, keys come out once, mistakes are one line each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from dragoman.cli.main import app, main
from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.domain.nouns import SkillSpec
from dragoman.store import tenants
from dragoman.store.catalogue import skill_keys, skills
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MANIFEST = {"name": "a.remote", "label": "Remote", "version": "1", "url": "https://skills.example.com/x"}

Run = Callable[..., "asyncio.Future[tuple[int, str, str]]"]


async def a_tenant(database: Database, slug: str) -> UUID:
    tenant_id = uuid4()
    async with database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug=slug, name=slug, now=NOW)
        await skills.register(connection, tenant_id, [SkillSpec(name="a.b", label="B", version="1")], now=NOW)
    return tenant_id


def sealed(key_id: str, minute: int = 0) -> SealedKey:
    return SealedKey(key_id=key_id, secret=b"sealed " + key_id.encode(), created_at=NOW.replace(minute=minute))


async def test_two_keys_at_a_time_oldest_first(database: Database) -> None:
    tenant_id = await a_tenant(database, "one")
    async with database.tenant(tenant_id) as connection:
        await skill_keys.add(connection, tenant_id, "a.b", sealed("sk_z", 1))
        await skill_keys.add(connection, tenant_id, "a.b", sealed("sk_a", 2))
        with pytest.raises(ConfigurationError, match="2 keys already"):
            await skill_keys.add(connection, tenant_id, "a.b", sealed("sk_c", 3))
        found = await skill_keys.list_all(connection, tenant_id)
        assert [k.key_id for k in found["a.b"]] == ["sk_z", "sk_a"]
        assert "sealed" not in repr(found)
        await skill_keys.remove(connection, tenant_id, "a.b", "sk_z")
        assert [k.key_id for k in (await skill_keys.list_all(connection, tenant_id))["a.b"]] == ["sk_a"]
        with pytest.raises(NotFoundError):
            await skill_keys.remove(connection, tenant_id, "a.b", "sk_z")
        with pytest.raises(NotFoundError):
            await skill_keys.add(connection, tenant_id, "a.unknown", sealed("sk_d"))


async def test_two_administrators_at_once_do_not_make_three_keys(database: Database) -> None:
    tenant_id = await a_tenant(database, "one")

    async def add(key_id: str) -> None:
        async with database.tenant(tenant_id) as connection:
            await skill_keys.add(connection, tenant_id, "a.b", sealed(key_id))

    results = await asyncio.gather(*(add(f"sk_{n}") for n in range(4)), return_exceptions=True)
    assert len([r for r in results if isinstance(r, ConfigurationError)]) == 2
    async with database.tenant(tenant_id) as connection:
        assert len((await skill_keys.list_all(connection, tenant_id))["a.b"]) == 2


async def test_another_tenants_keys_are_not_seen(database: Database) -> None:
    one, other = await a_tenant(database, "one"), await a_tenant(database, "other")
    async with database.tenant(one) as connection:
        await skill_keys.add(connection, one, "a.b", sealed("sk_a"))
    async with database.tenant(other) as connection:
        assert await skill_keys.list_all(connection, other) == {}
        assert await skill_keys.list_all(connection, one) == {}, "row-level security, and not only the WHERE"


async def test_rules_that_were_read_before_know_a_new_key(database: Database) -> None:
    tenant_id = await a_tenant(database, "one")
    async with database.tenant(tenant_id) as connection:
        assert (await skills.dispatch_rules(connection, tenant_id)).skill_keys == {}
        await skill_keys.add(connection, tenant_id, "a.b", sealed("sk_a"))
        assert list((await skills.dispatch_rules(connection, tenant_id)).skill_keys) == ["a.b"]
        await skill_keys.remove(connection, tenant_id, "a.b", "sk_a")
        assert (await skills.dispatch_rules(connection, tenant_id)).skill_keys == {}


@pytest.fixture
def run(database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``dragoman skill …`` against this test's database: exit code, standard output, the rest."""
    monkeypatch.setenv("DRAGOMAN_DATABASE_URL", database_urls.application)
    monkeypatch.setenv("DRAGOMAN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRAGOMAN_SECRET_KEY", Fernet.generate_key().decode())

    async def command(*arguments: str) -> tuple[int, str, str]:
        words = ["skill", *arguments, "--tenant", "one"]
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        return result.exit_code, result.stdout, result.stderr + str(result.exception or "")

    return command  # type: ignore[return-value]


def write(path: Path, **fields: object) -> str:
    path.write_text(json.dumps({**MANIFEST, **fields}), encoding="utf-8")
    return str(path)


async def test_a_manifest_is_registered_and_its_key_is_shown_once(run: Run, database: Database, tmp_path: Path) -> None:
    tenant_id = await a_tenant(database, "one")
    code, out, err = await run("register", write(tmp_path / "m.json"))
    assert code == 0, err
    assert "a.remote" in err
    key_id, secret = out.split()
    assert key_id.startswith("sk_")
    assert secret.startswith("dsk_")
    code, out, err = await run("register", write(tmp_path / "m.json", version="2"))
    assert (code, out) == (0, ""), "no second key, and the first is not shown again"
    async with database.tenant(tenant_id) as connection:
        registry = await skills.registry(connection, tenant_id)
    target = registry["a.remote"].http
    assert target is not None
    assert (registry["a.remote"].version, target.url) == ("2", MANIFEST["url"])
    assert registry["a.b"].http is None
    code, out, err = await run("register", write(tmp_path / "m.json", version="2"))
    assert "Nothing has changed" in err


async def test_a_manifest_with_mistakes_changes_nothing(run: Run, database: Database, tmp_path: Path) -> None:
    tenant_id = await a_tenant(database, "one")
    path = write(tmp_path / "m.json", url="http://10.0.0.1/", parameters={})
    code, _, err = await run("register", path)
    assert code == 1
    assert f"{path}:1: url: the URL must begin with https://" in err
    assert f"{path}:1: parameters.type" in err
    async with database.tenant(tenant_id) as connection:
        assert "a.remote" not in await skills.registry(connection, tenant_id)


async def test_a_file_that_is_not_there_or_no_text(run: Run, tmp_path: Path, database: Database) -> None:
    await a_tenant(database, "one")
    assert (await run("register", str(tmp_path / "none.yaml")))[0] == 1
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    code, _, err = await run("register", str(tmp_path / "m.yaml"))
    assert code == 1
    assert "UTF-8" in err


async def test_keys_are_changed_from_the_command_line(run: Run, database: Database, tmp_path: Path) -> None:
    await a_tenant(database, "one")
    first = (await run("register", write(tmp_path / "m.json")))[1].split()[0]
    second = (await run("key", "add", "a.remote"))[1].split()[0]
    code, _, err = await run("key", "add", "a.remote")
    assert code == 1
    assert "2 keys already" in err
    code, out, _ = await run("key", "list", "a.remote", "--json")
    assert [k["key id"] for k in json.loads(out)] == [first, second]
    assert "dsk_" not in out
    assert (await run("key", "remove", "a.remote", first))[0] == 0
    code, out, _ = await run("key", "list", "a.remote", "--json")
    assert [k["key id"] for k in json.loads(out)] == [second]
    assert (await run("key", "remove", "a.remote", first))[0] == 1


async def test_problems_with_brackets_are_printed_as_they_are(
    run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "m.json", **{"[/red]": 1})
    monkeypatch.setattr("sys.argv", ["dragoman", "skill", "register", path, "--tenant", "one"])
    with pytest.raises(SystemExit) as caught:
        await asyncio.to_thread(main)
    assert caught.value.code == 1
    assert f"dragoman: {path}:1: [/red]: there is no such field" in capsys.readouterr().err
