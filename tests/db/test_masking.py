"""A role that may not see phone numbers sees them nowhere: every page and every route of the API is asked."""

from __future__ import annotations

import base64
import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from dragoman.domain.content import ContactCard, ContactCards, Reaction, SystemNotice, Text, to_json
from dragoman.web.console.query import ADDRESS
from tests.endless import ENDLESS

from .tenant_fixture import TenantFixture, bearer

PHONE = "+436609876543"
NATIONAL = "6609876543"
OTHER = "4917012312312"
WAMID = "wamid." + base64.b64encode(b"\x1d\x18\x0c436609876543\x15\x02\x00\x11").decode()
DIGESTS = {"of a message": "d1" * 32, "of an event": "5e" * 32, "of the session": "4d" * 32}
"""A number of which country and last digits are known could be found by trying which one fits a digest."""

NOT_ASKED = {*ENDLESS, "/static", "/metrics", "/healthz", "/readyz", "/webhooks/whatsapp"}


@pytest.fixture
async def session_id(tenant: TenantFixture) -> UUID:
    """A session in which the contact's number stands wherever it may stand."""
    session_id = await tenant.session(
        contact_phone=PHONE, contact_name=PHONE.lstrip("+"), last_user_message="I am on 0660 987 6543", message_count=5,
        outcome_reason=f"nobody answered at {PHONE}", next_position=3, head=bytes.fromhex(DIGESTS["of the session"]),
    )  # fmt: skip
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO contact_identity (tenant_id, kind, value, match_key, contact_id, created_at) "
            "SELECT tenant_id, 'wa_id', '436609876543', '436609876543', contact_id, now() FROM session",
        )
    await tenant.message(session_id, 1, to_json(Text("I am on +43 (0)660 / 987-65-43")), channel_message_id=WAMID)
    await tenant.message(session_id, 2, to_json(Reaction(target=WAMID, emoji="👍")), sender_name="436609876543")
    await tenant.message(
        session_id, 3, to_json(ContactCards((ContactCard(name="Bob", phones=(f"+{OTHER}",)),))), reply_to=WAMID
    )
    notice = SystemNotice(event="number", body=f"User changed from {PHONE} to {OTHER}", new_address=OTHER)
    await tenant.message(session_id, 4, to_json(notice))
    received = {"channel_message_id": WAMID, "content_digest": DIGESTS["of a message"]}
    seal = bytes.fromhex(DIGESTS["of an event"])
    await tenant.event(session_id, 1, "message.received", payload=received, seal=seal)
    await tenant.event(
        session_id, 2, "skill.invoked", payload={"skill": "x", "parameters": {"phone": PHONE, "wide": int(PHONE)}}
    )
    return session_id


def _addresses(app: FastAPI, session_id: UUID) -> list[str]:
    found = []
    for route in iter_route_contexts(app.routes):
        if "GET" in (route.methods or ()) and route.path not in NOT_ASKED:
            found.append(re.sub(r"\{[^}]+\}", str(session_id), route.path or ""))
    return [*found, f"{ADDRESS}/{session_id}?view=full", f"{ADDRESS}?cols=contact,session,channel,last"]


def _leaks(text: str) -> list[str]:
    digits = re.sub(r"[^0-9]", "", re.sub(r"<[^>]*>", "", text)) + re.sub(r"[^0-9]", "", text)
    return [secret for secret in (NATIONAL, OTHER) if secret in digits] + [
        secret for secret in (WAMID, *DIGESTS.values()) if secret in text
    ]


async def test_no_route_shows_a_number_to_a_masked_role(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    masked, whole = bearer(await tenant.token("analyst")), bearer(await tenant.token("administrator"))
    showing = 0
    for address in _addresses(app, session_id):
        for headers in ({}, {"HX-Request": "true", "HX-Target": "div#drawer"}):
            answer = await client.get(address, headers={**masked, **headers, "Accept": "text/html"})
            assert answer.status_code < 500, address
            assert _leaks(answer.text) == [], address
        showing += bool(_leaks((await client.get(address, headers={**whole, "Accept": "text/html"})).text))
    assert showing >= 6


@pytest.mark.parametrize("role", ["developer", "analyst"])
async def test_a_masked_role_cannot_feel_for_digits(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, role: str
) -> None:
    headers = bearer(await tenant.token(role))

    async def found(phone: str, path: str = "/api/v1/conversations") -> Any:
        answer = await client.get(path, params={"phone": phone}, headers=headers)
        return str(session_id) in answer.text

    for part in ("6543", "+43660", "0660 987 654", "660987654", "43", "_"):
        assert not await found(part), part
        assert not await found(part, ADDRESS), part
    for whole in (PHONE, "0043 660 9876543", "0660/987 65 43", "+43 (0)660 9876543"):
        assert await found(whole), whole


async def test_quotes_and_reactions_still_find_their_message(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    headers = bearer(await tenant.token("analyst"))
    items = (await client.get(f"/api/v1/conversations/{session_id}/transcript", headers=headers)).json()["items"]
    assert items[0]["channel_message_id"] == items[1]["content"]["target"] == items[2]["reply_to"]
    assert items[0]["content"]["body"] == "I am on +43••••••43"
