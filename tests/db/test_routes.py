"""Every route, enumerated from the application itself: who is let in, who is refused, and how.

A new route fails here until it declares a permission (see test_auth), and until this test knows how to fill the
parameters of its path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from dragoman.domain.content import Text, to_json
from dragoman.domain.nouns import HttpTarget, SkillSpec
from dragoman.runtime import Runtime
from dragoman.services.catalogue import manage_skills
from dragoman.store.accounts import api_tokens, login_sessions, roles
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.accounts.roles import ROLES
from dragoman.web.auth import SAFE_METHODS
from tests.endless import ENDLESS

from .automation_fixture import TRIGGER, furnish_automation
from .outbox_fixture import add_entry, composed
from .tenant_fixture import TenantFixture, bearer
from .test_auth import declared


@dataclass(frozen=True)
class Route:
    """One operation with its path as the application has it; ``permission`` is None where a login is enough."""

    method: str
    path: str
    permission: str | None

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")

    @property
    def named(self) -> bool:
        """Whether the path names something that belongs to a tenant."""
        return "{" in self.path

    def address(self, parameters: dict[str, str]) -> str:
        filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: parameters[found[1]], self.path)
        # A stream is asked for with a parameter that is refused once somebody is let in.
        return f"{filled}?unknown=1" if self.path in ENDLESS else filled


def routes(app: FastAPI) -> list[Route]:
    return [
        Route(method, path, wanted.permission)
        for (method, path), wanted in sorted(declared(app).items(), key=str)
        if wanted is not None and method is not None and path is not None and path != "/logout"
    ]


@pytest.fixture
async def parameters(runtime: Runtime, tenant: TenantFixture) -> dict[str, str]:
    return await one_of_everything(runtime, tenant)


async def one_of_everything(runtime: Runtime, tenant: TenantFixture) -> dict[str, str]:
    """One of everything that a path can name, all of *tenant*."""
    session_id = await tenant.session(message_count=1)
    message_id = await tenant.message(session_id, 1, to_json(Text("hello")))
    owner = await tenant.user("developer")
    note_id, view_id, export_id, failed_job_id, canned_reply_id, delivery_id = (uuid4() for _ in range(6))
    group_id, phrase_id = uuid4(), uuid4()
    outbox_entry_id = await add_entry(tenant, email=composed(html="<p>a mail of the house</p>"))
    await tenant.token("developer")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await roles.add(
            connection, tenant.tenant_id, "night-shift", {"communications.access:read"}, now=runtime.clock.now()
        )
        token_id = (await api_tokens.list_all(connection, tenant.tenant_id))[0].token_id
    rows = (
        "INSERT INTO review_note (tenant_id, session_id, note_id, author_name, body, written_at) "
        f"VALUES ($1, '{session_id}', '{note_id}', 'Ada', 'a note of the house', now())",
        "INSERT INTO saved_view (tenant_id, view_id, user_id, name, query, shared, created_at) "
        f"VALUES ($1, '{view_id}', '{owner.user_id}', 'a view', '', true, now())",
        "INSERT INTO export_request (tenant_id, export_id, requested_name, requested_at, format, transcript, timeline, "
        f"masked, filters) VALUES ($1, '{export_id}', 'Ada', now(), 'csv', false, false, true, '{{}}')",
        "INSERT INTO failed_job (tenant_id, failed_job_id, entrypoint, key, attempts, first_failed_at, last_failed_at, "
        f"retry_at, cause, given_up_at) VALUES ($1, '{failed_job_id}', 'settle_contact', '{uuid4()}', 6, now(), now(), "
        "now(), 'KeyError', now())",
        "INSERT INTO canned_reply (tenant_id, canned_reply_id, shortcut, language, title, body, changed_at, "
        f"changed_by) VALUES ($1, '{canned_reply_id}', 'known', '', 'Known', 'a reply of the house', now(), 'Ada')",
        "INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, body, items) "
        f"VALUES ($1, '{delivery_id}', now(), 'whatsapp', '{{}}', '[]')",
        "INSERT INTO question_group (tenant_id, group_id, features, last_at) "
        f"VALUES ($1, '{group_id}', '{{1}}', now())",
        "INSERT INTO training_phrase (tenant_id, phrase_id, intent, text, locale, folded, added_at, added_by) "
        f"VALUES ($1, '{phrase_id}', 'out_of_scope', 'a phrase of the house', 'en', 'a phrase', now(), 'A')",
        "INSERT INTO unanswered_message (tenant_id, session_id, position, at, message_id, group_id) "
        f"VALUES ($1, '{session_id}', 1, now(), '{message_id}', '{group_id}')",
    )
    remote = SkillSpec(
        name="house.remote", label="A skill of the house", version="1",
        # At an address that no skill is called at.
        http=HttpTarget(url="https://127.0.0.1/"),
    )  # fmt: skip
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        for row in rows:
            await connection.execute(row, tenant.tenant_id)
    await manage_skills.register_manifest(runtime, tenant.tenant_id, remote, COMMAND_LINE)
    await furnish_automation(tenant)
    key = await manage_skills.add_key(runtime, tenant.tenant_id, remote.name, COMMAND_LINE)
    return {
        "session_id": str(session_id),
        "message_id": str(message_id),
        "note_id": str(note_id),
        "view_id": str(view_id),
        "export_id": str(export_id),
        "account_id": str(tenant.channel_account_id),
        "role": "night-shift",
        "user_id": str(owner.user_id),
        "token_id": str(token_id),
        "tag": "a tag",
        "failed_job_id": str(failed_job_id),
        "canned_reply_id": str(canned_reply_id),
        "delivery_id": str(delivery_id),
        "outbox_entry_id": str(outbox_entry_id),
        "name": remote.name,
        "key_id": key.key_id,
        "group_id": str(group_id),
        "phrase_id": str(phrase_id),
        "trigger_name": str(TRIGGER["name"]),
        "template_name": str(TRIGGER["send"]["template"]),
        "version": "1",
        "number": "0",
    }


async def test_nobody_is_let_in_without_a_valid_login_or_token(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    expired = await tenant.token("administrator", valid_for=timedelta(seconds=1))
    revoked = await tenant.token("administrator")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE api_token SET expires_at = created_at WHERE expires_at < created_at + '1m'")
        for token in await api_tokens.list_all(connection, tenant.tenant_id):
            if token.expires_at > runtime.clock.now() + timedelta(hours=1):
                await api_tokens.revoke_token(connection, tenant.tenant_id, token.token_id, now=runtime.clock.now())
    attempts: list[dict[str, str]] = [
        {},
        bearer(expired),
        bearer(revoked),
        bearer(f"dgm_{'x' * 43}"),
        bearer("nonsense"),
        {"Cookie": f"dragoman_session={'x' * 43}"},
    ]
    found = routes(app)
    assert len(found) > 40
    for route in found:
        for headers in attempts:
            answer = await client.request(route.method, route.address(parameters), headers=headers)
            assert answer.status_code == (401 if route.is_api else 303), (route, headers)
            if not route.is_api:
                assert answer.headers["location"].startswith("/login")


async def test_a_permission_opens_its_routes_and_no_other(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    tokens = {role: bearer(await tenant.token(role)) for role in ROLES}
    for route in routes(app):
        for role, permissions in ROLES.items():
            answer = await client.request(route.method, route.address(parameters), headers=tokens[role])
            allowed = route.permission is None or route.permission in permissions
            # Whose it is, is looked at after the permission.
            refused = answer.status_code == 403 and "This export is somebody else" not in answer.text
            assert refused is not allowed, (route, role, answer.status_code, answer.text[:200])
            assert answer.status_code < 500, (route, role, answer.text[:200])


async def test_what_is_another_tenants_is_not_there(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    stranger = await TenantFixture.build(runtime, "stranger")
    headers = bearer(await stranger.token("administrator"))
    asked = 0
    for route in routes(app):
        if route.named:
            answer = await client.request(route.method, route.address(parameters), headers=headers)
            # What is not understood is told before anything is looked for; nothing else may be different.
            assert answer.status_code in (404, 422), (route, answer.status_code, answer.text[:200])
            assert "hello" not in answer.text
            assert "a note of the house" not in answer.text
            assert "a reply of the house" not in answer.text
            assert "a phrase of the house" not in answer.text
            assert "A skill of the house" not in answer.text
            assert "A rule of the house" not in answer.text
            assert "A mail of the house" not in answer.text
            assert "a mail of the house" not in answer.text
            asked += answer.status_code == 404
    assert asked >= 20


async def test_a_browser_must_prove_that_the_page_was_ours(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    cookie = await tenant.cookie(await tenant.user("administrator"))
    unsafe = [route for route in routes(app) if route.method not in SAFE_METHODS]
    assert len(unsafe) > 10
    for route in unsafe:
        for headers in ({}, {"X-CSRF-Token": "wrong"}, {"Origin": "https://elsewhere.example"}):
            answer = await client.request(route.method, route.address(parameters), headers={**cookie, **headers})
            assert answer.status_code == 403, (route, headers, answer.status_code)


async def test_a_login_that_idled_or_was_ended_lets_nobody_in(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    user = await tenant.user("administrator")
    idle, ended = await tenant.cookie(user), await tenant.cookie(user)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE login_session SET last_seen_at = last_seen_at - interval '13 hours'")
    await login_sessions.close_login_session(runtime.database, ended["Cookie"].partition("=")[2])
    for route in routes(app):
        for headers in (idle, ended):
            answer = await client.request(route.method, route.address(parameters), headers=headers)
            assert answer.status_code == (401 if route.is_api else 303), route


BROKEN_ADDRESS = "http://["
"""No address: to split it raises."""


async def test_a_header_with_a_broken_address_is_no_failure_of_ours_on_any_route(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, parameters: dict[str, str]
) -> None:
    cookie = await tenant.cookie(await tenant.user("administrator"))
    broken = dict.fromkeys(("Referer", "HX-Current-URL"), BROKEN_ADDRESS)
    failed = []
    for route in routes(app):
        if route.method != "GET":
            continue
        for headers in ({**cookie, **broken}, {**broken, "HX-Request": "true"}):
            answer = await client.get(route.address(parameters), headers=headers)
            if answer.status_code >= 500:
                failed.append((route.path, headers.keys() - broken.keys()))
    assert failed == []
