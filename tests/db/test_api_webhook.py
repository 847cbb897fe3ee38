"""The webhook's door: who gets in, what the others are told, and that they leave nothing but a count."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY

from dragoman.runtime import Runtime
from dragoman.services.inbound import accept_delivery
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture

PHONE_NUMBER_ID = "106540352242922"
CREDENTIALS = WhatsAppCredentials(token="t", app_secret="app secret", verify_token="verify me")


def delivery(body: str = "Hi", message_id: str = "wamid.1") -> bytes:
    message = {
        "from": "436601234567",
        "id": message_id,
        "timestamp": "1700000000",
        "type": "text",
        "text": {"body": body},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "4310000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": "Ada"}, "wa_id": "436601234567"}],
        "messages": [message],
    }
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def signed(body: bytes, secret: str = CREDENTIALS.app_secret) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}


def count(result: str) -> float:
    return REGISTRY.get_sample_value("dragoman_webhook_requests_total", {"result": result}) or 0


@pytest.fixture(autouse=True)
async def whatsapp(runtime: Runtime, tenant: TenantFixture) -> None:
    """A WhatsApp number of the house."""
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "UPDATE channel_account SET disabled_at = now() WHERE tenant_id = $1", tenant.tenant_id
        )
        await channel_accounts.add(
            connection,
            tenant.tenant_id,
            ChannelAccount(
                channel_account_id=uuid4(),
                channel="whatsapp",
                address=PHONE_NUMBER_ID,
                display="+43 1 0000",
                name="Main",
                secrets=runtime.keyring.encrypt(CREDENTIALS.to_bytes()),
            ),
            waba_id=None,
            now=runtime.clock.now(),
        )


@pytest.fixture
async def kept(database_urls: DatabaseURLs) -> AsyncIterator[Any]:
    """Counts what the webhook has left in the database, with the owner's eyes."""
    owner = await asyncpg.connect(database_urls.owner)

    async def rows() -> int:
        total = 0
        for table in ("raw_delivery", "mailbox", "message_status", "contact"):
            total += await owner.fetchval(f"SELECT count(*) FROM {table}")
        return total

    yield rows
    await owner.close()


async def test_a_signed_delivery_is_accepted(runtime: Runtime, client: httpx.AsyncClient, kept: Any) -> None:
    before = count("accepted")
    body = delivery()
    answer = await client.post("/webhooks/whatsapp", content=body, headers=signed(body))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})
    assert count("accepted") == before + 1
    assert await kept() == 3
    # Meta may deliver the same again: it is accepted, and there is nothing new.
    again = await client.post("/webhooks/whatsapp", content=body, headers=signed(body))
    assert (again.status_code, again.json()) == (200, {"accepted": 0})


async def test_the_content_type_does_not_matter(client: httpx.AsyncClient) -> None:
    body = delivery()
    for content_type in ("text/plain", "", "application/x-www-form-urlencoded"):
        headers = {**signed(body), "Content-Type": content_type}
        assert (await client.post("/webhooks/whatsapp", content=body, headers=headers)).status_code == 200


async def chunked(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


BIG = b"{" + b" " * 100_000
HOSTILE: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("unsigned", delivery(), {}, 401, "unsigned"),
    ("empty and unsigned", b"", {}, 401, "unsigned"),
    ("wrong secret", delivery(), signed(delivery(), "another"), 401, "wrong_signature"),
    ("changed body", delivery("Ho"), signed(delivery("Hi")), 401, "wrong_signature"),
    ("empty signature", delivery(), {"X-Hub-Signature-256": ""}, 401, "wrong_signature"),
    ("no digest", delivery(), {"X-Hub-Signature-256": "sha256="}, 401, "wrong_signature"),
    ("not hex", delivery(), {"X-Hub-Signature-256": "sha256=" + "zz" * 32}, 401, "wrong_signature"),
    ("sha1", delivery(), {"X-Hub-Signature-256": "sha1=" + "0" * 40}, 401, "wrong_signature"),
    ("long signature", delivery(), {"X-Hub-Signature-256": "sha256=" + "0" * 5000}, 401, "wrong_signature"),
    ("too large", BIG, signed(BIG), 413, "too_large"),
    *(
        (f"signed {body[:20]!r}", body, signed(body), 400, "malformed")
        for body in (b"", b"not json", b"\xff\xfe", b"[]", b"null", b"1", b'{"entry": ')
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "result"),
    [case[1:] for case in HOSTILE],
    ids=[case[0] for case in HOSTILE],
)
async def test_what_is_refused_leaves_nothing_but_a_count(
    client: httpx.AsyncClient, kept: Any, body: bytes, headers: dict[str, str], status: int, result: str
) -> None:
    before = count(result)
    answer = await client.post("/webhooks/whatsapp", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert count(result) == before + 1
    assert await kept() == 0
    streamed = await client.post("/webhooks/whatsapp", content=chunked(body), headers=headers)
    assert streamed.status_code == status


@pytest.mark.parametrize("body", [b"{}", b'{"object": "page", "entry": 1}', b"[" * 50_000])
async def test_what_meta_signed_and_we_cannot_use_is_kept(client: httpx.AsyncClient, kept: Any, body: bytes) -> None:
    answer = await client.post("/webhooks/whatsapp", content=body, headers=signed(body))
    assert answer.status_code == 200
    assert await kept() == 1


async def test_an_unavailable_database_is_503_so_that_meta_delivers_again(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    before = count("unavailable")
    await runtime.database.close()
    body = delivery()
    answer = await client.post("/webhooks/whatsapp", content=body, headers=signed(body))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert count("unavailable") == before + 1


async def test_a_failure_is_500_so_that_meta_delivers_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(accept_delivery, "accept", fails)
    before = count("failed")
    assert (await client.post("/webhooks/whatsapp", content=b"{}", headers=signed(b"{}"))).status_code == 500
    assert count("failed") == before + 1


async def test_the_handshake_answers_the_bare_challenge(client: httpx.AsyncClient) -> None:
    parameters = {"hub.mode": "subscribe", "hub.verify_token": "verify me", "hub.challenge": "1158201444"}
    answer = await client.get("/webhooks/whatsapp", params=parameters)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    for change in (
        {"hub.verify_token": "verify m"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "verify me\0"},
        {"hub.verify_token": "ä"},
        {"hub.mode": "unsubscribe"},
    ):
        assert (await client.get("/webhooks/whatsapp", params={**parameters, **change})).status_code == 403
    assert (await client.get("/webhooks/whatsapp")).status_code == 403
