"""One person stays one thread: numbers that come, go and change, user ids, and two contacts that turn out to be one."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from dragoman.domain.nouns import Identity
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.store.contacts import identities
from tests.harness import PHONE_NUMBER_ID, Harness

NUMBER, OTHER = "436601112233", "436609998877"
USER, NEW_USER = "AT.13491208655302741918", "AT.99991208655302740000"


def delivery(*messages: dict[str, Any], contacts: list[dict[str, Any]] | None = None, field: str = "messages") -> bytes:
    value: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": contacts or [],
        field: list(messages),
    }
    change = {"field": field, "value": value}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "555000", "changes": [change]}]}
    ).encode()


@pytest.fixture(autouse=True)
def statuses_name_numbers_only(shop: Harness) -> None:
    """Who has which user id is what each test says: the stand-in would make some up for these numbers."""
    for number in (NUMBER, OTHER):
        shop.standin.people.meet(wa_id=number, user_id=None)


class Chat:
    """Writes as somebody, with the ids that WhatsApp would give."""

    def __init__(self, shop: Harness) -> None:
        self.shop = shop
        self.count = 0

    def message(self, said: str = "answer", **ids: str) -> dict[str, Any]:
        self.count += 1
        at = int(self.shop.clock.now().timestamp())
        return {"id": f"wamid.{self.count}", "timestamp": str(at), "type": "text", "text": {"body": said}, **ids}

    def notice(self, sender: str, **system: str) -> dict[str, Any]:
        self.count += 1
        at = int(self.shop.clock.now().timestamp())
        body = {"body": "changed", **system}
        return {"id": f"wamid.{self.count}", "timestamp": str(at), "type": "system", "from": sender, "system": body}

    async def write(self, said: str = "answer", name: str | None = "Ana Lima", **ids: str) -> None:
        person: dict[str, Any] = {"profile": {"name": name} if name else {}}
        person |= {"wa_id": ids["from"]} if "from" in ids else {}
        person |= {"user_id": ids["from_user_id"]} if "from_user_id" in ids else {}
        await self.send(self.message(said, **ids), contacts=[person])

    async def send(self, *messages: dict[str, Any], contacts: list[dict[str, Any]] | None = None) -> None:
        response = await self.shop.post(delivery(*messages, contacts=contacts))
        assert response.status_code == 200
        await self.shop.settle()
        self.shop.clock.move(seconds=60)


async def people(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows(
        "SELECT contact_id, display_name, phone FROM contact WHERE same_as IS NULL ORDER BY created_at"
    )


async def linked(shop: Harness) -> dict[str, bool]:
    """Every identity, and whether it is still in use."""
    rows = await shop.rows("SELECT value, ended_at IS NULL AS now FROM contact_identity ORDER BY value")
    return {row["value"]: row["now"] for row in rows}


async def history(shop: Harness) -> list[str]:
    return [row["what"] for row in await shop.rows("SELECT what FROM contact_history ORDER BY history_id")]


async def test_a_contact_without_a_number_gains_one_and_keeps_its_thread(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(name=None, from_user_id=USER)
    (before,) = await people(shop)
    assert (before["display_name"], before["phone"]) == ("", None)
    (entry,) = await shop.journal()
    assert entry["request"]["recipient"] == USER
    await chat.write(**{"from": NUMBER, "from_user_id": USER})
    (after,) = await people(shop)
    assert (after["contact_id"], after["phone"]) == (before["contact_id"], f"+{NUMBER}")
    assert len(await shop.rows("SELECT 1 FROM thread")) == 1
    assert {row["contact_phone"] for row in await shop.rows("SELECT contact_phone FROM session")} == {f"+{NUMBER}"}
    assert await history(shop) == ["linked"]


async def test_a_user_id_may_stand_where_a_number_is_expected(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(**{"from": USER})
    await chat.write(**{"from_user_id": USER})
    assert len(await people(shop)) == 1
    assert await linked(shop) == {USER: True}


async def test_a_number_that_the_contact_gives_when_asked_is_theirs(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(from_user_id=USER)
    card = {"origin": "contact_request", "phones": [{"phone": f"+{NUMBER}", "wa_id": NUMBER}]}
    shared = chat.message(from_user_id=USER) | {"type": "contacts", "contacts": [card]}
    await chat.send(shared)
    (contact,) = await people(shop)
    assert contact["phone"] == f"+{NUMBER}"
    assert await linked(shop) == {USER: True, NUMBER: True}


async def test_a_changed_number_is_the_same_contact_and_the_old_one_is_free_for_others(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(**{"from": NUMBER})
    change = chat.notice(NUMBER, type="user_changed_number", wa_id=OTHER)
    await chat.send(change)
    await chat.write(**{"from": OTHER})
    (contact,) = await people(shop)
    assert contact["phone"] == f"+{OTHER}"
    assert await linked(shop) == {NUMBER: False, OTHER: True}
    assert len(await shop.rows("SELECT 1 FROM thread")) == 1
    # Meta delivers a notice twice: nothing changes, and nothing is on record twice.
    await shop.post(delivery(change | {"id": "wamid.again"}))
    await shop.settle()
    assert await history(shop) == ["number_changed"]
    # Years later somebody else has the old number.
    shop.clock.move(days=3)
    await chat.write(name="Bruno", **{"from": NUMBER})
    assert [(p["display_name"], p["phone"]) for p in await people(shop)] == [
        ("Ana Lima", f"+{OTHER}"),
        ("Bruno", f"+{NUMBER}"),
    ]
    assert await linked(shop) == {NUMBER: True, OTHER: True}


async def test_a_message_from_before_the_change_that_comes_late_is_still_theirs(shop: Harness) -> None:
    chat = Chat(shop)
    late = chat.message(**{"from": NUMBER})
    await chat.write(**{"from": NUMBER})
    await chat.send(chat.notice(NUMBER, type="user_changed_number", wa_id=OTHER))
    await chat.send(late)
    assert len(await people(shop)) == 1


async def test_a_message_from_the_new_number_may_come_before_the_notice(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(**{"from": NUMBER})
    await chat.write(**{"from": OTHER})
    assert len(await people(shop)) == 2
    await chat.send(chat.notice(NUMBER, type="user_changed_number", wa_id=OTHER))
    (contact,) = await people(shop)
    assert contact["phone"] == f"+{OTHER}"
    sessions = await shop.rows("SELECT DISTINCT thread_id, contact_id FROM session")
    assert [s["contact_id"] for s in sessions] == [contact["contact_id"]], "one thread, one contact"


async def test_a_number_that_was_a_strangers_is_taken_from_them_without_their_history(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(name="Carla", **{"from": OTHER})
    shop.clock.move(days=3)
    await chat.write(**{"from": NUMBER})
    await chat.send(chat.notice(NUMBER, type="user_changed_number", wa_id=OTHER))
    assert [(p["display_name"], p["phone"]) for p in await people(shop)] == [("Carla", None), ("Ana Lima", f"+{OTHER}")]
    assert len(await shop.rows("SELECT DISTINCT thread_id FROM session")) == 2
    assert "identity_lost" in await history(shop)


async def test_a_regenerated_user_id_is_the_same_contact(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(from_user_id=USER)
    notice = chat.notice("", type="user_changed_user_id", previous_user_id=USER, user_id=NEW_USER)
    del notice["from"]
    await chat.send(notice)
    await chat.write(from_user_id=NEW_USER)
    assert len(await people(shop)) == 1
    assert await history(shop) == ["user_id_changed"]


async def test_the_field_user_id_update_says_the_same(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(from_user_id=USER)
    update = {"user_id": {"previous": USER, "current": NEW_USER}, "timestamp": "1790000000"}
    assert (await shop.post(delivery(update, field="user_id_update"))).status_code == 200
    await chat.write(from_user_id=NEW_USER)
    assert len(await people(shop)) == 1


async def test_two_contacts_that_are_one_person_become_one_thread(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write("answer", **{"from": NUMBER})
    await chat.write("ask", from_user_id=USER)
    assert len(await people(shop)) == 2
    before = await shop.rows(
        "SELECT session_id, encode(seal, 'hex') AS seal FROM audit_event ORDER BY session_id, position"
    )
    await chat.write("answer", **{"from": NUMBER, "from_user_id": USER})
    (contact,) = await people(shop)
    sessions = await shop.rows("SELECT session_id, thread_id, contact_id, state FROM session ORDER BY started_at")
    assert {s["contact_id"] for s in sessions} == {contact["contact_id"]}
    assert len({s["thread_id"] for s in sessions}) == 1
    assert sum(s["state"] not in ("RESOLVED", "EXPIRED") for s in sessions) <= 1
    after = await shop.rows("SELECT session_id, encode(seal, 'hex') AS seal FROM audit_event")
    assert {tuple(b.values()) for b in before} <= {tuple(a.values()) for a in after}, "no event was touched"
    assert await history(shop) == ["merged_into", "merged_from", "united"]
    (ended,) = await shop.rows("SELECT payload->>'reason' AS why FROM audit_event WHERE type = 'session.resolved'")
    assert "turned out to be the one of session" in ended["why"]


async def test_messages_that_wait_go_with_their_contact(shop: Harness) -> None:
    chat = Chat(shop)
    await shop.post(delivery(chat.message("answer", **{"from": NUMBER})))
    await shop.post(delivery(chat.message("answer", **{"from_user_id": USER})))
    await shop.post(delivery(chat.message("answer", **{"from": NUMBER, "from_user_id": USER})))
    await shop.settle()
    assert len(await shop.rows("SELECT 1 FROM mailbox WHERE progress = 'done'")) == 3
    assert len(await shop.rows("SELECT DISTINCT thread_id FROM session")) == 1


async def test_one_delivery_may_name_a_person_in_every_way(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.send(
        chat.message(from_user_id=USER),
        chat.message(**{"from": NUMBER}),
        chat.message(**{"from": NUMBER, "from_user_id": USER}),
        chat.message(**{"from": OTHER}),
    )
    assert len(await people(shop)) == 2
    assert await history(shop) == []


async def test_a_confirmation_ends_when_somebody_else_may_be_writing(shop: Harness) -> None:
    chat = Chat(shop)

    async def confirmed() -> bool:
        (row,) = await shop.rows("SELECT confirmed_until FROM contact WHERE same_as IS NULL")
        until = row["confirmed_until"]
        return until is not None and until > shop.clock.now()

    async def confirm() -> None:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE contact SET confirmed_until = now() + interval '1 year'")

    await chat.write(**{"from": NUMBER, "from_user_id": USER})
    for notice in (
        chat.notice(NUMBER, type="customer_identity_changed"),
        chat.message(**{"from": NUMBER, "from_user_id": NEW_USER}),
        chat.notice(NUMBER, type="user_changed_number", wa_id=OTHER),
    ):
        await confirm()
        await chat.send(notice)
        assert not await confirmed()
        await confirm()
        await chat.write(**{"from_user_id": USER})
        assert await confirmed(), "nothing new was said about who writes"


@pytest.mark.parametrize(
    ("taken_back", "cause"),
    [(True, "the channel reports another device or owner"), (False, "")],
    ids=["taken back", "ran out"],
)
async def test_the_end_of_a_confirmation_is_on_record_once(shop: Harness, taken_back: bool, cause: str) -> None:
    chat = Chat(shop)
    await chat.write(**{"from": NUMBER})
    confirmed_until = shop.clock.now() + timedelta(minutes=5)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE contact SET confirmed_until = $1", confirmed_until)
    shop.clock.move(minutes=1)
    await chat.write(**{"from": NUMBER})
    shop.clock.move(seconds=1)
    if taken_back:
        await chat.send(chat.notice(NUMBER, type="customer_identity_changed"))
    shop.clock.move(minutes=6)
    await chat.write(**{"from": NUMBER})
    await chat.write(**{"from": NUMBER})
    ended = await shop.rows("SELECT payload->>'cause' AS cause FROM audit_event WHERE type = 'confirmation.ended'")
    assert [row["cause"] for row in ended] == [cause]


async def test_a_choice_about_marketing_is_kept(shop: Harness) -> None:
    chat = Chat(shop)
    await chat.write(**{"from": NUMBER})
    choice = {
        "wa_id": NUMBER,
        "category": "marketing_messages",
        "value": "stop",
        "detail": "d",
        "timestamp": 1790000000,
    }
    await shop.post(delivery(choice, field="user_preferences"))
    (row,) = await shop.rows("SELECT marketing_stopped_at FROM contact")
    assert row["marketing_stopped_at"] is not None
    await shop.post(delivery(choice | {"value": "resume"}, field="user_preferences"))
    (row,) = await shop.rows("SELECT marketing_stopped_at FROM contact")
    assert row["marketing_stopped_at"] is None
    assert await history(shop) == ["marketing_stopped", "marketing_resumed"]


async def test_a_stranger_who_comes_through_two_doors_at_once_is_one_contact(shop: Harness) -> None:
    """The second transaction waits for the first, and finds who is there by then."""
    identity = (Identity(kind="wa_id", value=NUMBER), Identity(kind="wa_user_id", value=USER))
    first_in, second_in = asyncio.Event(), asyncio.Event()

    async def resolve(*known: Identity, wait: bool) -> UUID:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            if not wait:
                await first_in.wait()
                second_in.set()
            found = await identities.resolve(
                connection,
                shop.tenant_id,
                known,
                display_name=None,
                phone=None,
                locale="en",
                now=shop.clock.now(),
                new_id=shop.runtime.source.new_id,
            )
            if wait:
                first_in.set()
                await second_in.wait()
            return found

    one, other = await asyncio.gather(resolve(*identity, wait=True), resolve(*reversed(identity), wait=False))
    assert one == other
    assert len(await people(shop)) == 1


async def reader(shop: Harness) -> dict[str, str]:
    """The header of a browser in which an administrator is logged in."""
    now, new_id = shop.runtime.clock.now(), shop.runtime.source.new_id
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        user = await user_accounts.create_user(
            connection,
            shop.tenant_id,
            user_id=new_id(),
            email="admin@shop.example",
            name="Admin",
            password="correct horse battery staple",
            role="administrator",
            now=now,
        )
        ticket = await login_sessions.open_login_session(connection, shop.tenant_id, user.user_id, now=now)
    return {"Cookie": f"dragoman_session={ticket.secret}"}


async def test_pages_and_api_cope_with_a_contact_without_a_number(shop: Harness) -> None:
    chat, headers = Chat(shop), await reader(shop)

    async def listed(**query: str) -> list[dict[str, Any]]:
        answer = await shop.web.get("/api/v1/conversations", params=query, headers=headers)
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    await chat.write(name=None, from_user_id=USER)
    (item,) = await listed()
    assert (item["contact"]["name"], item["contact"]["phone"]) == (None, None)
    page = await shop.web.get("/communications/automation/logs", headers=headers)
    assert page.status_code == 200
    assert "Unknown contact" in page.text
    address = f"/communications/automation/logs/{item['session_id']}"
    drawer = await shop.web.get(address, headers=headers)
    assert drawer.status_code == 200
    assert USER in drawer.text
    assert await listed(phone="43") == []
    await chat.write(name="Ana Lima", **{"from": NUMBER, "from_user_id": USER})
    assert len(await listed(phone="0660 111")) == 1
    drawer = await shop.web.get(address, headers=headers)
    assert "Identity linked: WhatsApp number" in drawer.text
    transcript = f"/api/v1/conversations/{item['session_id']}/transcript"
    (first, answer, *_) = (await shop.web.get(transcript, headers=headers)).json()["items"]
    raw = await shop.web.get(f"{transcript}/{first['message_id']}/raw", headers=headers)
    assert raw.json()["item"]["id"] == "wamid.1"
    assert (await shop.web.get(f"{transcript}/{answer['message_id']}/raw", headers=headers)).status_code == 404
