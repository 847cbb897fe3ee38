"""Every delivery is in the list with what became of each item: by page and by API, whatever it is looked for by."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from dragoman.services import sweep
from dragoman.services.contacts.erase_contact import erase_contact
from dragoman.store.accounts import api_tokens, roles
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.roles import PERMISSIONS
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.pipeline.test_statuses import status

API = "/api/v1/deliveries"
PAGE = "/communications/settings/deliveries"
LOGS = "/communications/automation/logs"


async def bearer(shop: Harness, role: str = "administrator") -> dict[str, str]:
    now = shop.clock.now()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        token = await api_tokens.create_token(
            connection, shop.tenant_id, token_id=uuid4(), name=f"{role} of a test", role=role, now=now,
            expires_at=now + timedelta(days=300),
        )  # fmt: skip
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def admin(shop: Harness) -> dict[str, str]:
    return await bearer(shop)


def message(wamid: str, text: str = "answer", sender: str = "436601112233") -> dict[str, Any]:
    return {"id": wamid, "timestamp": "1790000000", "type": "text", "text": {"body": text}, "from": sender}


def delivery(*messages: dict[str, Any], number: str = PHONE_NUMBER_ID, field: str = "messages") -> bytes:
    metadata = {"display_phone_number": "15550100000", "phone_number_id": number}
    people = [{"wa_id": one["from"], "profile": {"name": "Ana Lima"}} for one in messages]
    value = {"messaging_product": "whatsapp", "metadata": metadata, "contacts": people, "messages": list(messages)}
    entry = {"id": "555000", "changes": [{"field": field, "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


async def deliver(shop: Harness, body: bytes) -> None:
    assert (await shop.post(body)).status_code == 200
    await shop.settle()
    shop.clock.move(seconds=1)


async def quiet(shop: Harness) -> None:
    """Let the stand-in say nothing by itself of what is sent."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": None, "statuses": []}]})


async def listed(shop: Harness, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    answer = await shop.web.get(API, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def fates(found: list[dict[str, Any]]) -> list[list[str]]:
    return [[item["fate"] for item in one["items"]] for one in found]


async def test_every_fate_is_told_and_leads_to_its_message(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    await deliver(shop, delivery(message("wamid.A")))
    (reply,) = await shop.rows("SELECT channel_message_id AS id, session_id, message_id FROM outbox_entry")
    await deliver(shop, status(reply["id"], "delivered", 1_790_000_001))
    await deliver(shop, status(reply["id"], "delivered", 1_790_000_001))
    await deliver(shop, status(reply["id"], "sent", 1_790_000_000))
    await deliver(shop, delivery(message("wamid.A"), message("wamid.B")))
    await deliver(shop, status("wamid.unknown", "read", 1_790_000_002))
    await deliver(shop, delivery(message("wamid.C"), field="unheard_of"))
    found = await listed(shop, admin)
    assert fates(found) == [
        ["kept"], ["held"], ["duplicate", "message"], ["status"], ["duplicate"], ["status"], ["message"],
    ]  # fmt: skip
    kept, held, both, late, again, applied, first = found
    assert kept["items"][0]["reason"] == "nothing that is known here"
    assert (held["items"][0]["id"], held["items"][0]["status"]) == ("wamid.unknown", "read")
    assert both["items"][0]["reason"] == "this message was accepted before"
    assert late["items"][0]["reason"] == "kept: the message was delivered already"
    assert again["items"][0]["reason"] == "this status came before"
    to_reply = (str(reply["session_id"]), str(reply["message_id"]))
    assert (applied["items"][0]["session_id"], applied["items"][0]["message_id"]) == to_reply
    assert applied["items"][0]["reason"] == "applied"
    transcript = await shop.rows(
        "SELECT session_id, message_id, channel_message_id AS id FROM message ORDER BY ordinal"
    )
    of_message = {row["id"]: (str(row["session_id"]), str(row["message_id"])) for row in transcript}
    assert (first["items"][0]["session_id"], first["items"][0]["message_id"]) == of_message["wamid.A"]
    assert (both["items"][1]["session_id"], both["items"][1]["message_id"]) == of_message["wamid.B"]
    # Once nobody expects its message any more, the status is of none of ours.
    shop.clock.move(days=3)
    await sweep.clean_up(shop.runtime)
    assert fates(await listed(shop, admin, fate="held")) == []
    assert fates(await listed(shop, admin, fate="unmatched")) == [["unmatched"]]


async def test_the_list_is_narrowed_by_message_fate_and_time(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    started = shop.clock.now()
    for wamid in ("wamid.A", "wamid.B", "wamid.A"):
        await deliver(shop, delivery(message(wamid)))
    await deliver(shop, status("wamid.A", "read", 1_790_000_002))
    await deliver(shop, delivery(message("wamid.C"), field="unheard_of"))
    assert fates(await listed(shop, admin, message="wamid.A")) == [["held"], ["duplicate"], ["message"]]
    assert fates(await listed(shop, admin, message="wamid.nobody")) == []
    for fate, count in {"message": 2, "status": 1, "held": 1, "unmatched": 0, "duplicate": 1, "kept": 1}.items():
        assert len(await listed(shop, admin, fate=fate)) == count, fate
    assert len(await listed(shop, admin, message="wamid.A", fate="duplicate")) == 1
    assert len(await listed(shop, admin, message="wamid.A", fate="held")) == 1
    assert len(await listed(shop, admin, message="wamid.B", fate="held")) == 0
    later = (started + timedelta(seconds=2)).isoformat()
    assert len(await listed(shop, admin, **{"from": later})) == 3
    assert len(await listed(shop, admin, to=later)) == 2
    assert len(await listed(shop, admin, fate="duplicate", to=later)) == 0
    assert len(await listed(shop, admin, fate="held", to=later)) == 0
    for wrong in ({"fate": "lost"}, {"from": "yesterday"}, {"cursor": "AAAA"}, {"message": ""}, {"wamid": "x"}):
        assert (await shop.web.get(API, params=wrong, headers=admin)).status_code == 422, wrong
    assert (await shop.web.get(PAGE, params={"fate": "lost"}, headers=admin)).status_code == 422


@pytest.mark.parametrize("fate", ["", "message", "status", "held", "duplicate", "kept"])
async def test_the_list_goes_on_from_page_to_page(shop: Harness, admin: dict[str, str], fate: str) -> None:
    await quiet(shop)
    for n in range(4):
        await deliver(shop, delivery(message(f"wamid.{n}")))
        await deliver(shop, delivery(message(f"wamid.{n}")))
        await deliver(shop, status(f"wamid.of.{n}", "read", 1_790_000_000 + n))
        await deliver(shop, delivery(message("wamid.C"), field="unheard_of"))
    whole = [one["delivery_id"] for one in await listed(shop, admin, **({"fate": fate} if fate else {}))]
    assert len(whole) == (4 if fate else 16)
    seen: list[str] = []
    query = {"limit": "3"} | ({"fate": fate} if fate else {})
    while True:
        page = (await shop.web.get(API, params=query, headers=admin)).json()
        seen += [one["delivery_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == whole


async def test_deliveries_of_one_moment_are_told_apart(shop: Harness, admin: dict[str, str]) -> None:
    """Those that are written in one transaction have one time."""
    for body in (status("wamid.X", "read", 1_790_000_000), status("wamid.Y", "read", 1_790_000_000)):
        await shop.post(body)
    for wamid in ("wamid.X", "wamid.Y"):
        (found,) = await listed(shop, admin, message=wamid, fate="held")
        assert [item["id"] for item in found["items"]] == [wamid]


async def test_a_delivery_of_many_items_shows_those_that_are_looked_for(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    await deliver(shop, delivery(*(message(f"wamid.{n}", sender=f"4366000000{n:02}") for n in range(30))))
    (found,) = await listed(shop, admin)
    assert (found["item_count"], len(found["items"])) == (30, 20)
    (found,) = await listed(shop, admin, message="wamid.25")
    assert [item["place"] for item in found["items"]] == [25]
    one = (await shop.web.get(f"{API}/{found['delivery_id']}", headers=admin)).json()
    assert [item["id"] for item in one["items"]] == [f"wamid.{n}" for n in range(30)]
    page = (await shop.web.get(PAGE, headers=admin)).text
    assert "All 30 items" in page


async def test_from_a_message_one_gets_to_its_delivery_and_back(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    await deliver(shop, delivery(message("wamid.first", sender="436609990000"), message("wamid.A")))
    (row,) = await shop.rows("SELECT session_id, message_id FROM message WHERE channel_message_id = 'wamid.A'")
    drawer = (await shop.web.get(f"{LOGS}/{row['session_id']}", headers=admin)).text
    address = f"{PAGE}/of/{row['session_id']}/{row['message_id']}"
    assert f'href="{address}"' in drawer
    led = await shop.web.get(address, headers=admin)
    assert led.status_code == 303
    (found,) = await listed(shop, admin)
    assert led.headers["location"] == f"{PAGE}/{found['delivery_id']}#item-1"
    page = (await shop.web.get(f"{PAGE}/{found['delivery_id']}", headers=admin)).text
    assert f'href="{LOGS}/{row["session_id"]}#m-{row["message_id"]}"' in page
    assert 'id="item-1"' in page
    raw = f"/api/v1/conversations/{row['session_id']}/transcript/{row['message_id']}/raw"
    said = (await shop.web.get(raw, headers=admin)).json()
    assert (said["delivery_id"], said["place"], said["item"]["id"]) == (found["delivery_id"], 1, "wamid.A")
    # A reader sees no way there, and there is none.
    reader = await bearer(shop, "analyst")
    assert address not in (await shop.web.get(f"{LOGS}/{row['session_id']}", headers=reader)).text
    assert (await shop.web.get(address, headers=reader)).status_code == 403
    # What we sent came with no delivery.
    (ours,) = await shop.rows("SELECT session_id, message_id FROM message WHERE sender = 'bot' LIMIT 1")
    nowhere = f"{PAGE}/of/{ours['session_id']}/{ours['message_id']}"
    assert (await shop.web.get(nowhere, headers=admin)).status_code == 404


async def test_the_body_is_shown_as_it_is_kept_and_that_is_on_record(
    shop: Harness, admin: dict[str, str], database_urls: DatabaseURLs
) -> None:
    await quiet(shop)
    await deliver(shop, delivery(message("wamid.A", "my own words"), message("wamid.B", "others", "436609990000")))
    (found,) = await listed(shop, admin)
    address = f"{PAGE}/{found['delivery_id']}"
    assert "my own words" not in (await shop.web.get(address, headers=admin)).text
    assert "my own words" in (await shop.web.get(f"{address}?body=1", headers=admin)).text
    body = (await shop.web.get(f"{API}/{found['delivery_id']}/body", headers=admin)).json()["body"]
    assert body["entry"][0]["changes"][0]["value"]["messages"][0]["text"] == {"body": "my own words"}
    entries = (await shop.web.get("/api/v1/access-log", headers=admin)).json()["items"]
    opened = [entry["after"] for entry in entries if entry["action"] == "delivery.opened"]
    assert {"delivery_id": found["delivery_id"], "body": True} in opened
    assert {"delivery_id": found["delivery_id"], "body": False} in opened
    assert "deliveries.listed" in [entry["action"] for entry in entries]
    # The parts of an erased contact are gone; others' stay.
    (contact,) = await shop.rows("SELECT contact_id FROM contact WHERE phone = '+436601112233'")
    async with owner_connection(database_urls.owner) as owner:
        await erase_contact(
            shop.runtime, owner, shop.tenant_id, contact["contact_id"], reason="asked for", by=Administrator("Ada")
        )
    left = json.dumps((await shop.web.get(f"{API}/{found['delivery_id']}/body", headers=admin)).json())
    assert "my own words" not in left
    assert "436601112233" not in left
    assert "others" in left


async def test_who_sees_no_numbers_sees_no_ids_and_no_bodies(shop: Harness, admin: dict[str, str]) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await roles.add(connection, shop.tenant_id, "blind", PERMISSIONS - {"audit.unmask"}, now=shop.clock.now())
    blind = await bearer(shop, "blind")
    await deliver(shop, delivery(message("wamid.HBgMNDM2NjAxMTEyMjMz")))
    await deliver(shop, delivery(message("wamid.Q"), number="436601112233"))
    found = await listed(shop, blind)
    texts = [json.dumps(found), (await shop.web.get(PAGE, headers=blind)).text]
    await listed(shop, admin, message="wamid.HBgMNDM2NjAxMTEyMjMz")
    texts.append((await shop.web.get("/api/v1/access-log", headers=blind)).text)
    for one in found:
        texts.append((await shop.web.get(f"{PAGE}/{one['delivery_id']}", headers=blind)).text)
        for refused in (f"{API}/{one['delivery_id']}/body", f"{PAGE}/{one['delivery_id']}?body=1"):
            assert (await shop.web.get(refused, headers=blind)).status_code == 403
    for text in texts:
        assert "HBgMNDM2NjAxMTEyMjMz" not in text
        assert "436601112233" not in text


async def test_other_tenants_and_other_roles_see_none_of_it(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    await deliver(shop, delivery(message("wamid.A")))
    (found,) = await listed(shop, admin)
    other = await shop.another_tenant("other")
    theirs = await bearer(other)
    assert await listed(shop, theirs) == []
    assert await listed(shop, theirs, message="wamid.A") == []
    for path in (
        f"{API}/{found['delivery_id']}",
        f"{API}/{found['delivery_id']}/body",
        f"{PAGE}/{found['delivery_id']}",
    ):
        assert (await shop.web.get(path, headers=theirs)).status_code == 404
        assert (await shop.web.get(path, headers=await bearer(shop, "auditor"))).status_code == 403
    assert (await shop.web.get(f"{API}/{uuid4()}", headers=admin)).status_code == 404


async def test_nothing_from_before_the_retention_period_is_shown(shop: Harness, admin: dict[str, str]) -> None:
    await quiet(shop)
    await deliver(shop, delivery(message("wamid.A")))
    (found,) = await listed(shop, admin)
    shop.clock.move(days=shop.runtime.settings.retention_days + 1)
    for query in ({}, {"message": "wamid.A"}, {"fate": "message"}, {"from": "2020-01-01"}):
        assert await listed(shop, admin, **query) == []
    assert (await shop.web.get(f"{API}/{found['delivery_id']}", headers=admin)).status_code == 404


async def test_a_difference_and_a_fate_that_is_new_are_shown(shop: Harness, admin: dict[str, str]) -> None:
    """What the ingestion learns to say later is shown without a change here."""
    report = [{"id": "wamid.A", "result": "set_aside", "reason": "because", "difference": {"text": ["one", "two"]}}]
    delivery_id: UUID = uuid4()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, body, items) "
            "VALUES ($1, $2, $3, 'whatsapp', '{}', $4)",
            shop.tenant_id, delivery_id, shop.clock.now(), report,
        )  # fmt: skip
    (found,) = await listed(shop, admin)
    (item,) = found["items"]
    assert (item["fate"], item["reason"], item["difference"]) == ("set_aside", "because", {"text": ["one", "two"]})
    page = (await shop.web.get(f"{PAGE}/{delivery_id}", headers=admin)).text
    assert "Set aside" in page
    assert "because" in page
    assert "two" in page
