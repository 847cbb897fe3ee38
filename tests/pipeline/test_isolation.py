"""What a tenant wrote is out of another's reach in every table, and secrets are out of every log line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from dragoman.store.accounts import api_tokens, login_sessions, user_accounts
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls
from tests.log_output import everything_said
from tests.pipeline.test_statuses import status

OURS = "c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '^(pgqueuer|alembic_version)'"
OF_TENANT = "(tenant_id = (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid)"
"""What every policy says, as the catalogue has it."""


async def tables(owner: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    rows = await owner.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = 'public' AND {OURS} ORDER BY 1"
    )
    return [row["relname"] for row in rows]


async def test_every_table_has_the_policy_of_its_tenant_for_reading_and_for_writing(
    database_urls: DatabaseURLs,
) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    for table in await tables(owner):
        policies = await owner.fetch(
            "SELECT qual, with_check, roles::text[], cmd, permissive FROM pg_policies WHERE tablename = $1", table
        )
        assert len(policies) == 1, table
        (policy,) = policies
        assert (policy["roles"], policy["permissive"]) == (["dragoman_app"], "PERMISSIVE"), table
        assert (policy["qual"], policy["with_check"]) == (OF_TENANT, OF_TENANT), table
    await owner.close()


async def traffic(shop: Harness) -> None:
    """Something in most tables."""
    await harness.add_business_partner(shop, "+436601112233")
    for text in ("answer", "something else", "flaky"):
        await shop.say(text)
    picture = await shop.upload(b"\x89PNG\r\n\x1a\n" + bytes(40), "image/png")
    await shop.send({"type": "image", "image": {"id": picture, "mime_type": "image/png"}})
    await shop.settle()
    await shop.post(status("wamid.of.nobody", "delivered", 1_790_000_000))
    now = shop.clock.now()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        user_id = uuid4()
        await user_accounts.create_user(
            connection, shop.tenant_id, user_id=user_id, email="a@shop.example", name="A",
            password="correct horse battery", role="auditor", now=now,
        )  # fmt: skip
        ticket = await login_sessions.open_login_session(connection, shop.tenant_id, user_id, now=now)
        await api_tokens.create_token(
            connection, shop.tenant_id, token_id=uuid4(), name="script", role="auditor", now=now,
            expires_at=now + timedelta(days=365),
        )  # fmt: skip
    headers = {"Cookie": f"dragoman_session={ticket.secret}"}
    (row, *_) = await shop.rows("SELECT session_id FROM session")
    assert (await shop.web.get(f"/api/v1/conversations/{row['session_id']}", headers=headers)).status_code == 200


async def test_no_table_gives_a_row_to_another_tenant_or_takes_one_from_it(
    shop: Harness, database_urls: DatabaseURLs
) -> None:
    await traffic(shop)
    owner = await asyncpg.connect(database_urls.owner)
    stranger = uuid4()
    tried = 0
    for table in await tables(owner):
        count = await owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", shop.tenant_id)
        if not count:
            continue
        tried += 1
        columns = await owner.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute "
            "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            table,
        )
        row = await owner.fetchval(
            f"SELECT to_jsonb(t)::text FROM {table} t WHERE tenant_id = $1 LIMIT 1", shop.tenant_id
        )
        copied = f"SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::text::jsonb)"
        async with shop.runtime.database.directory() as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        async with shop.runtime.database.tenant(stranger) as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
            assert await connection.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1", shop.tenant_id) == []
        for statement in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
            async with shop.runtime.database.tenant(stranger) as connection:
                with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                    assert (await connection.execute(statement)).split()[-1] == "0", (table, statement)
        for as_tenant in (stranger, None):
            door = shop.runtime.database.tenant(as_tenant) if as_tenant else shop.runtime.database.directory()
            async with door as connection:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"INSERT INTO {table} ({columns}) {copied}", row)
        assert await owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", shop.tenant_id) == count
    assert tried >= 20
    await owner.close()


@pytest.fixture(params=["text", "json"])
def everything_logged(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All levels of all loggers, in one format, as they leave the process."""
    with everything_said(request.param, capfd) as said:
        yield said


async def test_no_secret_and_no_text_of_a_message_stands_in_a_log_line(
    shop: Harness, calls: Calls, everything_logged: Callable[[], str]
) -> None:
    password, wrong, said = "PASSWORD-mark-7714", "WRONG-mark-9931", "SAID-mark-5520"
    now = shop.clock.now()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await user_accounts.create_user(
            connection, shop.tenant_id, user_id=uuid4(), email="mark@shop.example", name="Mark",
            password=password, role="administrator", now=now,
        )  # fmt: skip
        token = await api_tokens.create_token(
            connection, shop.tenant_id, token_id=uuid4(), name="script", role="administrator", now=now,
            expires_at=now + timedelta(days=365),
        )  # fmt: skip
    login = {"email": "mark@shop.example"}
    assert (await shop.web.post("/login", data={**login, "password": wrong})).status_code == 401
    signed_in = await shop.web.post("/login", data={**login, "password": password})
    assert signed_in.status_code == 303
    cookie = signed_in.headers["set-cookie"].partition("=")[2].partition(";")[0]
    calls.failures_left = 2
    await shop.graph.post("/control", json={"rules": [{"match": {"text": "busy"}, "times": 1, "error": 131000}]})
    for text in (f"answer {said}", f"flaky {said}", f"{said} what?", f"confirm my number {said}"):
        await shop.say(text)
        await shop.settle()
    await shop.post(b'{"object": "' + said.encode() + b'"}')
    await shop.post(b"{" + said.encode(), secret="SECRET-mark-1123")
    bearer = {"Authorization": f"Bearer {token}"}
    for address in (f"/api/v1/conversations?q={said}", f"/api/v1/conversations?phone={said}", "/nowhere"):
        await shop.web.get(address, headers=bearer)
    await shop.web.get(
        "/webhooks/whatsapp",
        params={"hub.mode": "subscribe", "hub.verify_token": harness.VERIFY_TOKEN, "hub.challenge": "1"},
    )
    lines = everything_logged()
    assert "request" in lines
    secrets = (password, wrong, token, cookie, harness.APP_SECRET, harness.TOKEN, harness.VERIFY_TOKEN)
    assert [secret for secret in (*secrets, shop.runtime.settings.secret_key) if secret in lines] == []
    assert [line for line in lines.splitlines() if said in line] == []
