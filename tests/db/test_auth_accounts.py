"""API tokens, and the making of tenants, users and tokens."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens, holders, user_accounts

from .tenant_fixture import AdvancingClock, TenantFixture


async def test_a_token_works_until_it_expires_or_is_revoked(runtime: Runtime, clock: AdvancingClock) -> None:
    tenant = await TenantFixture.build(dataclasses.replace(runtime, clock=clock), "house")
    token = await tenant.token("developer", valid_for=timedelta(hours=1))
    assert re.fullmatch(r"dgm_[A-Za-z0-9_-]{43}", token)

    async def holder() -> holders.Holder | None:
        return await api_tokens.use_token(runtime.database, token, now=clock.now())

    async def listed() -> api_tokens.Token:
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            (only,) = await api_tokens.list_all(connection, tenant.tenant_id)
        return only

    found = await holder()
    assert found is not None
    assert (found.tenant_id, found.role, found.user_id) == (tenant.tenant_id, "developer", None)
    first_use = (await listed()).last_used_at
    assert first_use == clock.now()
    clock.advance(seconds=59)
    assert await holder() is not None
    assert (await listed()).last_used_at == first_use
    clock.advance(seconds=1)
    assert await holder() is not None
    assert (await listed()).last_used_at == clock.now()
    clock.advance(minutes=59)
    assert await holder() is None

    second = await tenant.token("developer")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        newest = (await api_tokens.list_all(connection, tenant.tenant_id))[0]
        assert await api_tokens.use_token(runtime.database, second, now=clock.now()) is not None
        await api_tokens.revoke_token(connection, tenant.tenant_id, newest.token_id, now=clock.now())
        with pytest.raises(NotFoundError):
            await api_tokens.revoke_token(connection, tenant.tenant_id, uuid4(), now=clock.now())
    assert await api_tokens.use_token(runtime.database, second, now=clock.now()) is None


async def test_only_the_digest_of_a_token_is_stored(runtime: Runtime, tenant: TenantFixture) -> None:
    token = await tenant.token("developer")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        stored = repr(await connection.fetch("SELECT * FROM api_token")) + repr(
            await connection.fetch("SELECT * FROM directory")
        )
    assert token not in stored
    assert token.removeprefix("dgm_") not in stored


async def test_a_bad_token_is_401_even_beside_a_good_cookie(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    cookie = (await tenant.cookie(await tenant.user("auditor")))["Cookie"].encode()
    bad = (
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer dgm_",
        "Bearer dgm_" + "A" * 43,
        "bearer \xe4",
        "BEARER " + "x" * 9000,
    )
    for header in bad:
        headers = {b"Authorization": header.encode("latin-1"), b"Cookie": cookie}
        answer = await client.get("/api/v1/conversations", headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"].startswith("Bearer")
    other_scheme = {b"Authorization": b"Basic YTpi", b"Cookie": cookie}
    assert (await client.get("/api/v1/conversations", headers=other_scheme)).status_code == 200


async def test_names_that_must_be_unique_or_sound_are_checked(runtime: Runtime, tenant: TenantFixture) -> None:
    await tenant.user("auditor")
    other = await TenantFixture.build(runtime, "other")
    now = runtime.clock.now()
    async with runtime.database.tenant(other.tenant_id) as connection:
        user: dict[str, Any] = {"user_id": uuid4(), "name": "N", "password": "p", "role": "auditor", "now": now}
        with pytest.raises(AlreadyTakenError):
            await user_accounts.create_user(connection, other.tenant_id, email="AUDITOR@house.example", **user)
        for wrong in ({"email": "nobody"}, {"email": "a@b", "role": "king"}):
            with pytest.raises(ConfigurationError):
                await user_accounts.create_user(connection, other.tenant_id, **{**user, **wrong})
        token: dict[str, Any] = {"token_id": uuid4(), "name": "N", "now": now}
        for bad in ({"role": "king", "expires_at": now + timedelta(1)}, {"role": "auditor", "expires_at": now}):
            with pytest.raises(ConfigurationError):
                await api_tokens.create_token(connection, other.tenant_id, **{**token, **bad})
    for slug, error in (("house", AlreadyTakenError), ("Ho use", ConfigurationError), ("", ConfigurationError)):
        tenant_id = uuid4()
        async with runtime.database.tenant(tenant_id) as connection:
            with pytest.raises(error):
                await tenants.create_tenant(connection, tenant_id, slug=slug, name="N", now=now)
    async with runtime.database.directory() as connection:
        assert await tenants.find(connection, "house") == tenant.tenant_id
        assert await tenants.find(connection, "nobody") is None
        assert set(await tenants.list_ids(connection)) == {tenant.tenant_id, other.tenant_id}


async def test_the_same_users_are_not_seen_by_another_tenant(runtime: Runtime, tenant: TenantFixture) -> None:
    other = await TenantFixture.build(runtime, "other")
    await tenant.user("auditor")
    async with runtime.database.tenant(other.tenant_id) as connection:
        assert await user_accounts.list_all(connection, tenant.tenant_id) == []
        with pytest.raises(NotFoundError):
            await user_accounts.set_password(connection, other.tenant_id, uuid4(), "p")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert [user.email for user in await user_accounts.list_all(connection, tenant.tenant_id)] == [
            "auditor@house.example"
        ]
