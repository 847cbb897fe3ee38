"""Setting up numbers: who may, what is checked with Meta, that credentials never come out, and what is on record."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from cryptography.fernet import Fernet, InvalidToken

from dragoman.channels.whatsapp.signature import sign
from dragoman.domain.policies import Presence
from dragoman.runtime import Keyring
from dragoman.services import reseal, sweep
from dragoman.services.channels import manage_accounts
from dragoman.services.channels.manage_accounts import AccountSettings
from dragoman.services.dispatching import presence
from dragoman.store import tenants
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, Receiver, WhatsAppCredentials
from dragoman.web.console.channels import ADDRESS
from tests import second_number
from tests.harness import APP_SECRET, PHONE_NUMBER_ID, TOKEN, VERIFY_TOKEN, Harness
from tests.pipeline.test_delivery_once import body, text

PASSWORD = "a long password of the tests"
HERE = {"Host": "127.0.0.1"}
"""What opens only to this machine, by its own name."""


async def enter(shop: Harness, role: str) -> httpx.AsyncClient:
    """A browser of somebody with that role; its forms carry the token against forgery."""
    runtime = shop.runtime
    async with runtime.database.tenant(shop.tenant_id) as connection:
        user = await user_accounts.create_user(
            connection,
            shop.tenant_id,
            user_id=runtime.source.new_id(),
            email=f"{role}@shop.example",
            name="Ana",
            password=PASSWORD,
            role=role,
            now=runtime.clock.now(),
        )
        ticket = await login_sessions.open_login_session(
            connection, shop.tenant_id, user.user_id, now=runtime.clock.now()
        )
        csrf = await connection.fetchval("SELECT csrf_token FROM login_session")
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(shop.app),
        base_url="http://dragoman.test",
        cookies={"dragoman_session": ticket.secret},
        headers={"X-CSRF-Token": csrf},
    )


@pytest.fixture
async def ana(shop: Harness) -> AsyncIterator[httpx.AsyncClient]:
    async with await enter(shop, "administrator") as client:
        yield client


def plain(page: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.text))


FORM = {
    "phone_number_id": "100200300499",
    "display": "+43 1 555 0199",
    "name": "Second",
    "waba_id": "",
    "messages_per_second": "20",
    "pair_burst": "45",
    "token": "another-token",
    "app_secret": "another-secret",
    "verify_token": "another-verify-token",
}


async def stored(shop: Harness, address: str = PHONE_NUMBER_ID) -> WhatsAppCredentials:
    (row,) = await shop.rows("SELECT secrets FROM channel_account WHERE address = $1", address)
    return WhatsAppCredentials.from_bytes(shop.runtime.keyring.decrypt(row["secrets"]))


async def change(shop: Harness, **fields: str | bool) -> list[str]:
    wanted = AccountSettings(display="+43 1 555 0100", name="Shop", waba_id="555000")
    return await manage_accounts.change(
        shop.runtime,
        shop.tenant_id,
        shop.channel_account_id,
        dataclasses.replace(wanted, **fields),  # type: ignore[arg-type]
        COMMAND_LINE,
    )


@pytest.mark.parametrize("role", ["auditor", "agent", "developer"])
async def test_only_administrators_come_in(shop: Harness, role: str) -> None:
    async with await enter(shop, role) as client:
        assert (await client.get(ADDRESS)).status_code == 403
        assert (await client.post(f"{ADDRESS}/{shop.channel_account_id}/resume")).status_code == 403
        assert ADDRESS not in (await client.get("/communications/automation/logs")).text


async def test_a_number_is_added_checked_and_on_record_without_its_credentials(
    shop: Harness, ana: httpx.AsyncClient
) -> None:
    made = await ana.post(ADDRESS, data=FORM)
    assert made.status_code == 303, made.text
    page = await ana.get(made.headers["location"])
    assert "+43 1 555 0199" in page.text
    # The stand-in does not know that token, and says so.
    assert "code 190" in plain(page)
    assert "http://dragoman.test/webhooks/whatsapp" in page.text
    credentials = await stored(shop, "100200300499")
    assert (credentials.token, credentials.app_secret) == ("another-token", "another-secret")
    (action,) = await shop.rows("SELECT * FROM administrator_action")
    assert (action["action"], action["actor_name"]) == ("channel.added", "Ana")
    # Meta's handshake is answered for this number's own token at once, beside the others'.
    for token in ("another-verify-token", VERIFY_TOKEN):
        query = {"hub.mode": "subscribe", "hub.challenge": "42", "hub.verify_token": token}
        answer = await shop.web.get("/webhooks/whatsapp", params=query)
        assert answer.status_code in (200, 403)
    edit = await ana.get(f"{ADDRESS}/{action['object_id']}")
    for secret in ("another-token", "another-secret", "another-verify-token"):
        for shown in (page.text, edit.text, json.dumps(action, default=str)):
            assert secret not in shown


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"phone_number_id": "+43"}, "digits only"),
        ({"phone_number_id": PHONE_NUMBER_ID}, "already set up"),
        ({"token": ""}, "A new number needs it"),
        ({"token": "ein Schlüssel"}, "letters beyond ASCII"),
        ({"messages_per_second": "many"}, "Enter a whole number"),
        ({"display": ""}, "as people write it"),
    ],
)
async def test_what_cannot_be_used_is_said_at_its_field(
    shop: Harness, ana: httpx.AsyncClient, wrong: dict[str, str], says: str
) -> None:
    page = await ana.post(ADDRESS, data={**FORM, **wrong})
    assert page.status_code == 422
    assert says in page.text
    assert 'aria-invalid="true"' in page.text
    assert "another-secret" not in page.text
    assert len(await shop.rows("SELECT 1 FROM channel_account")) == 1


async def test_a_change_keeps_what_is_left_empty_and_says_what_changed(shop: Harness, ana: httpx.AsyncClient) -> None:
    page = f"{ADDRESS}/{shop.channel_account_id}"
    form = {**FORM, "display": "+43 1 555 0100", "name": "New name", "waba_id": "555000"}
    form |= {"token": "", "verify_token": "", "app_secret": "new-secret"}
    assert (await ana.post(page, data=form)).status_code == 303
    credentials = await stored(shop)
    assert credentials == WhatsAppCredentials(
        token=TOKEN, app_secret="new-secret", verify_token=VERIFY_TOKEN, earlier_app_secret=APP_SECRET
    )
    (action,) = await shop.rows("SELECT before, after FROM administrator_action")
    assert action["before"] == {"name": "Shop", "messages_per_second": 80}
    assert action["after"]["app_secret"] == action["after"]["earlier_app_secret"] == "changed"
    unknown = await ana.get(f"{ADDRESS}/{shop.runtime.source.new_id()}")
    assert unknown.status_code == 404


async def test_two_app_secrets_are_trusted_while_one_is_rotated(shop: Harness) -> None:
    assert await change(shop, app_secret="new-secret") == ["app_secret", "earlier_app_secret"]

    async def status(number: int, secret: str) -> int:
        delivery = body(text(f"wamid.{number}", "answer"))
        headers = {"X-Hub-Signature-256": sign(delivery, secret)}
        return (await shop.web.post("/webhooks/whatsapp", content=delivery, headers=headers)).status_code

    assert [await status(1, "new-secret"), await status(2, APP_SECRET), await status(3, "no secret")] == [200, 200, 401]
    assert await change(shop, forget_earlier_secret=True) == ["earlier_app_secret"]
    assert await change(shop) == []


async def test_the_check_finds_what_is_well_and_what_is_not(shop: Harness) -> None:
    async def found() -> dict[str, bool | None]:
        checked = await manage_accounts.check(shop.runtime, shop.tenant_id, shop.channel_account_id)
        return {finding.name: finding.good for finding in checked.findings}

    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET waba_id = '100000000000001'")
    assert await found() == {"Access token": True, "App secret": True, "Webhook subscription": True}
    await change(shop, app_secret="of another app", waba_id="100000000000001")
    assert await found() == {
        "Access token": True,
        "App secret": False,
        "Earlier app secret": True,
        "Webhook subscription": True,
    }
    await change(shop, token="a wrong one")
    assert await found() == {"Access token": False}


async def test_a_stopped_number_says_so_everywhere_and_is_resumed_only_when_it_is_well(
    shop: Harness, ana: httpx.AsyncClient
) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131042}]})
    await shop.say("answer")
    await shop.settle()
    page = await ana.get(ADDRESS)
    assert "Stopped since" in plain(page)
    assert "payment method" in plain(page)
    assert "1 message is waiting" in plain(page)
    ready = await shop.web.get("/readyz", headers=HERE)
    assert ready.json()["checks"]["channels"].startswith("1 stopped")
    assert "dragoman_channel_accounts_stopped 1.0" in (await shop.web.get("/metrics", headers=HERE)).text

    await change(shop, token="a wrong one")
    refused = await ana.post(f"{ADDRESS}/{shop.channel_account_id}/resume")
    assert "Not resumed" in plain(await ana.get(refused.headers["location"]))
    await change(shop, token=TOKEN, waba_id="100000000000001")
    await ana.post(f"{ADDRESS}/{shop.channel_account_id}/resume")
    await shop.settle()
    assert len([e for e in await shop.journal() if e["wamid"]]) == 1
    assert "Sending" in plain(await ana.get(ADDRESS))


async def test_a_probe_resumes_what_is_well_again_and_asks_less_and_less_often(shop: Harness) -> None:
    await change(shop, token="expired")
    await shop.say("answer")
    await shop.settle()
    asked = []
    for minute in range(40):
        before = await shop.rows("SELECT checked_at FROM channel_account")
        assert await sweep.probe_channels(shop.runtime) == 0
        if await shop.rows("SELECT checked_at FROM channel_account") != before:
            asked.append(minute)
        shop.clock.move(minutes=1)
    assert asked == [1, 3, 7, 15, 31]
    await change(shop, token=TOKEN)
    shop.clock.move(hours=1)
    assert await sweep.probe_channels(shop.runtime) == 1
    await shop.settle()
    assert len([e for e in await shop.journal() if e["wamid"]]) == 1
    (action,) = await shop.rows("SELECT actor_name FROM administrator_action WHERE action = 'channel.resumed'")
    assert action["actor_name"] == "system"


async def test_secrets_are_sealed_again_under_a_new_key(shop: Harness) -> None:
    old, new = shop.runtime.settings.secret_key, Fernet.generate_key().decode()
    both = replace(shop.runtime, keyring=Keyring(new, earlier=old))
    assert await reseal.reseal(both) == 1
    (row,) = await shop.rows("SELECT secrets FROM channel_account")
    assert WhatsAppCredentials.from_bytes(Keyring(new).decrypt(row["secrets"])).token == TOKEN
    with pytest.raises(InvalidToken):
        Keyring(old).decrypt(row["secrets"])


async def other_tenants_number(shop: Harness, *, app_secret: str) -> UUID:
    """A number of another tenant; its channel account."""
    tenant_id, account_id = shop.runtime.source.new_id(), shop.runtime.source.new_id()
    credentials = WhatsAppCredentials(token=TOKEN, app_secret=app_secret, verify_token="another")
    account = ChannelAccount(
        channel_account_id=account_id,
        channel="whatsapp",
        address="100200300488",
        display="+43 1 555 0188",
        name="Other",
        secrets=shop.runtime.keyring.encrypt(credentials.to_bytes()),
    )
    async with shop.runtime.database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug="other", name="Other", now=shop.clock.now())
        await channel_accounts.add(connection, tenant_id, account, waba_id=None, now=shop.clock.now())
    return tenant_id


async def damage(shop: Harness, tenant_id: UUID, secrets: bytes, *, address: str = "100200300488") -> None:
    async with shop.runtime.database.tenant(tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET secrets = $1 WHERE address = $2", secrets, address)
    # A signature that fits none makes the next look a fresh one.
    assert (await shop.post(b"{}", secret="nobody's")).status_code == 401


def unreadable_secrets(shop: Harness) -> dict[str, bytes]:
    return {
        "another key": Keyring(Fernet.generate_key().decode()).encrypt(b"{}"),
        "no token of a keyring": b"\0\xff not sealed at all",
        "no JSON": shop.runtime.keyring.encrypt(b"\xff{"),
        "no object": shop.runtime.keyring.encrypt(b"[1]"),
        "a name too few": shop.runtime.keyring.encrypt(b'{"token": "t"}'),
        "no text": shop.runtime.keyring.encrypt(b'{"token": 1, "app_secret": null, "verify_token": []}'),
    }


async def test_an_account_that_cannot_be_read_keeps_no_other_from_receiving(shop: Harness) -> None:
    other = await other_tenants_number(shop, app_secret="of another app")
    for n, (what, secrets) in enumerate(unreadable_secrets(shop).items()):
        with structlog.testing.capture_logs() as logs:
            await damage(shop, other, secrets)
            response = await shop.post(body(text(f"wamid.{n}", "answer")))
            assert response.json() == {"accepted": 1}, what
        told = [entry for entry in logs if entry["event"] == "channel_account_unreadable"]
        assert [entry["tenant_id"] for entry in told] == ([other] if n == 0 else []), what
        assert "of another app" not in str(logs)
    query = {"hub.mode": "subscribe", "hub.challenge": "42", "hub.verify_token": VERIFY_TOKEN}
    assert (await shop.web.get("/webhooks/whatsapp", params=query)).text == "42"
    ready = await shop.web.get("/readyz", headers=HERE)
    assert ready.status_code == 200
    assert ready.json()["checks"]["channels"].startswith("1 with unreadable credentials")
    assert "dragoman_channel_accounts_unreadable 1.0" in (await shop.web.get("/metrics", headers=HERE)).text


async def test_the_accounts_are_read_once_for_all_who_come_at_the_same_time(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    real = channel_accounts.receivers

    async def counted(*given: Any) -> list[Receiver]:
        nonlocal reads
        reads += 1
        return await real(*given)

    monkeypatch.setattr(channel_accounts, "receivers", counted)
    deliveries = [body(text(f"wamid.{n}", "answer")) for n in range(20)]
    answers = await asyncio.gather(*(shop.post(delivery) for delivery in deliveries))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert reads == 1
    # Who cannot be verified makes them be read anew: an account may have been added since.
    answers = await asyncio.gather(*(shop.post(delivery, secret="nobody's") for delivery in deliveries))
    assert [answer.status_code for answer in answers] == [401] * 20
    assert reads <= 3
    await second_number.add(shop)
    await change(shop, app_secret="a new one")
    assert (await shop.post(body(text("wamid.new", "answer")), secret="a new one")).status_code == 200


async def test_what_comes_for_an_account_that_cannot_be_read_is_not_acknowledged_and_lost(shop: Harness) -> None:
    """Another tenant's app cannot speak for it; what it brought of its own is taken in nevertheless."""
    other = await other_tenants_number(shop, app_secret=APP_SECRET)
    whole = (await shop.rows("SELECT secrets FROM channel_account"))[0]["secrets"]
    await damage(shop, other, b"damaged")
    alone = body(text("wamid.theirs", "answer"), phone_number_id="100200300488")
    mixed = json.loads(body(text("wamid.ours", "answer")))
    mixed["entry"] += json.loads(alone)["entry"]
    for delivery in (alone, json.dumps(mixed).encode()):
        refused = await shop.post(delivery)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    kept = await shop.rows("SELECT channel_message_id FROM mailbox")
    assert [row["channel_message_id"] for row in kept] == ["wamid.ours"]
    bodies = await shop.rows("SELECT body FROM raw_delivery")
    assert all(b"wamid.theirs" not in row["body"] for row in bodies)

    await damage(shop, other, whole)
    assert (await shop.post(json.dumps(mixed).encode())).json() == {"accepted": 1}
    async with shop.runtime.database.tenant(other) as connection:
        assert await connection.fetchval("SELECT count(*) FROM mailbox") == 1


async def test_a_number_that_cannot_be_read_still_receives_by_its_tenants_app_and_parks_its_answers(
    shop: Harness, ana: httpx.AsyncClient
) -> None:
    (row,) = await shop.rows("SELECT secrets FROM channel_account")
    await second_number.add(shop)
    await damage(shop, shop.tenant_id, b"damaged", address=PHONE_NUMBER_ID)
    await shop.say("answer")
    await shop.settle()
    assert await shop.journal() == []
    (parked,) = await shop.rows("SELECT parked, attempts, reason FROM outbox_entry")
    assert (parked["parked"], parked["attempts"]) == (True, 0)
    assert "another key" in parked["reason"]
    page = plain(await ana.get(ADDRESS))
    assert "Credentials unreadable" in page
    assert "DRAGOMAN_EARLIER_SECRET_KEY" in page
    assert "1 message is waiting" in page

    # A credential that is left empty has nothing to stay.
    number = f"{ADDRESS}/{shop.channel_account_id}"
    refused = await ana.post(number, data={**FORM, "verify_token": ""})
    assert (refused.status_code, "cannot be read" in refused.text) == (422, True)
    assert (await ana.post(f"{number}/resume")).headers["location"].endswith("done=still")

    # The key is back: the next look finds the account well, and what waited goes out.
    await damage(shop, shop.tenant_id, row["secrets"], address=PHONE_NUMBER_ID)
    shop.clock.move(hours=1)
    assert await sweep.probe_channels(shop.runtime) == 1
    await shop.settle()
    assert [e["kind"] for e in await shop.journal()] == ["message"]
    assert "unreadable" not in plain(await ana.get(ADDRESS))


async def test_a_file_waits_for_the_number_that_could_not_be_read(shop: Harness) -> None:
    media_id = await shop.upload(b"\x89PNG\r\n\x1a\n" + bytes(40), "image/png")
    (row,) = await shop.rows("SELECT secrets FROM channel_account")
    await second_number.add(shop)
    await damage(shop, shop.tenant_id, b"damaged", address=PHONE_NUMBER_ID)
    await shop.send({"type": "image", "image": {"id": media_id, "mime_type": "image/png"}})
    await shop.settle()
    (file,) = await shop.rows("SELECT state, reason FROM media_file")
    assert (file["state"], "another key" in file["reason"]) == ("pending", True)
    await damage(shop, shop.tenant_id, row["secrets"], address=PHONE_NUMBER_ID)
    shop.clock.move(minutes=10)
    await shop.settle()
    (file,) = await shop.rows("SELECT state FROM media_file")
    assert file["state"] != "pending"


async def test_a_message_is_marked_as_read_once_and_only_where_that_is_wanted(shop: Harness) -> None:
    await shop.say("answer")
    await shop.settle()
    assert [e["kind"] for e in await shop.journal()] == ["message"]
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, shop.tenant_id)).policy
        await skills.set_policy(connection, shop.tenant_id, replace(policy, presence=Presence(typing_indicator=True)))
    wamid = await shop.say("answer")
    await shop.settle()
    await presence.settled()
    (mark,) = [e for e in await shop.journal() if e["kind"] == "read"]
    assert mark["request"]["message_id"] == wamid
    assert mark["request"]["typing_indicator"] == {"type": "text"}
    rows = await shop.rows("SELECT presence FROM mailbox ORDER BY arrival")
    assert [row["presence"] for row in rows] == [None, "read, typing shown"]
    # What Meta refuses holds up nothing.
    await change(shop, token="a wrong one")
    shop.clock.move(seconds=timedelta(minutes=1).total_seconds())
    await shop.say("answer")
    await shop.settle()
    await presence.settled()
    (last,) = await shop.rows("SELECT presence, outcome FROM mailbox ORDER BY arrival DESC LIMIT 1")
    assert last["presence"].startswith("refused: (#190)")
    assert last["outcome"] == "SUCCESS"
