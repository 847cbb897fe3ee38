"""What happens to real people's messages: cases that failed once, each as the kind of fault that it was."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from dragoman.services import sweep
from tests.harness import Harness, add_business_partner
from tests.pipeline.field import OURS, PlayedWebhook, change, person

NUMBER, OTHER = "436601112233", "436609998877"
USER = "AT.13491208655302741918"
SPELLINGS = [
    pytest.param("5511987654321", "551187654321", id="Brazil"),
    pytest.param("5215512345678", "525512345678", id="Mexico"),
    pytest.param("5491123456789", "541123456789", id="Argentina"),
]


@pytest.fixture
def field(shop: Harness) -> PlayedWebhook:
    return PlayedWebhook(shop)


async def found(field: PlayedWebhook, **query: str) -> list[str]:
    """The sessions that the list finds by these filters."""
    answer = await field.get("/api/v1/conversations", **query)
    return [item["session_id"] for item in answer.json()["items"]]


async def fates(field: PlayedWebhook) -> list[tuple[str, str]]:
    """What the list of deliveries says of each item, the latest delivery first."""
    answer = await field.get("/api/v1/deliveries")
    return [(item["fate"], item["reason"]) for one in answer.json()["items"] for item in one["items"]]


async def page(field: PlayedWebhook, session_id: Any) -> str:
    """The conversation's page as an administrator has it."""
    return (await field.get(f"/communications/automation/logs/{session_id}")).text


# References: what refers to a message belongs to that message's session, and what needs no answer opens none.


async def test_a_reaction_after_the_end_stands_on_its_message_and_opens_nothing(field: PlayedWebhook) -> None:
    await field.say(NUMBER, "hello", "goodbye")
    (before,) = await field.sessions()
    assert before["state"] == "RESOLVED"
    ours = (await field.shop.rows("SELECT channel_message_id FROM outbox_entry ORDER BY sequence DESC LIMIT 1"))[0]
    await field.post(field.reaction(NUMBER, ours["channel_message_id"]))
    (after,) = await field.sessions()
    assert after == before
    reaction = (await field.items_of(after["session_id"]))[-1]
    assert reaction["content"] == {"kind": "reaction", "target": ours["channel_message_id"], "emoji": "👍"}


@pytest.mark.parametrize("what", ["edit", "revoke"])
async def test_an_edit_and_a_deletion_after_the_end_are_marks_on_their_message(field: PlayedWebhook, what: str) -> None:
    first, _ = await field.say(NUMBER, "hello", "goodbye")
    body: dict[str, Any] = {"original_message_id": first}
    if what == "edit":
        body["message"] = {"type": "text", "text": {"body": "hello again"}}
    before = await field.sessions()
    await field.post(field.item(NUMBER, what, body))
    assert await field.sessions() == before
    assert (await field.items_of(before[0]["session_id"]))[-1]["content"]["kind"] == what


async def test_a_changed_number_after_the_end_opens_nothing_and_both_numbers_find_the_session(
    field: PlayedWebhook,
) -> None:
    await field.say(NUMBER, "hello", "goodbye")
    (before,) = await field.sessions()
    notice = {"type": "user_changed_number", "body": "changed", "wa_id": OTHER}
    await field.post(field.item(NUMBER, "system", notice))
    (after,) = await field.sessions()
    assert (after["state"], after["message_count"]) == ("RESOLVED", before["message_count"])
    (contact,) = await field.people()
    assert contact["phone"] == f"+{OTHER}"
    for number in (NUMBER, OTHER):
        assert await found(field, phone=number) == [str(after["session_id"])]


async def test_who_gave_no_name_is_called_by_the_new_number_at_once(field: PlayedWebhook) -> None:
    await field.post(field.text(NUMBER, "hello"))
    notice = {"type": "user_changed_number", "body": "changed", "wa_id": OTHER}
    await field.post(field.item(NUMBER, "system", notice))
    (session,) = await field.sessions()
    assert (session["contact_name"], session["contact_phone"]) == ("", f"+{OTHER}")


async def test_a_notice_without_any_session_is_kept_and_opens_none(field: PlayedWebhook) -> None:
    await field.post(field.item(NUMBER, "system", {"type": "user_changed_number", "body": "changed", "wa_id": OTHER}))
    assert await field.sessions() == []
    (contact,) = await field.people()
    assert contact["phone"] == f"+{OTHER}"
    assert await fates(field) == [("held", "waits for the message that it refers to")]
    # It waits for a conversation that it belongs to, and not for ever.
    assert await field.shop.rows("SELECT progress FROM mailbox") == [{"progress": "waiting"}]
    field.shop.clock.move(days=2)
    await sweep.requeue_overdue(field.shop.runtime)
    await field.shop.settle()
    assert await field.shop.rows("SELECT progress, session_id FROM mailbox") == [
        {"progress": "done", "session_id": None}
    ]
    assert await fates(field) == [("kept", "it belongs to no conversation that is on record")]
    assert await field.sessions() == []


async def test_a_mark_that_came_before_its_message_waits_for_it(field: PlayedWebhook) -> None:
    later = field.text(NUMBER, "hello")
    await field.post(field.reaction(NUMBER, later["id"]), contacts=[person(NUMBER, name="Ana Lima")])
    assert await field.sessions() == []
    await field.post(later, contacts=[person(NUMBER, name="Ana Lima")])
    (session,) = await field.sessions()
    kinds = [item["content"]["kind"] for item in await field.items_of(session["session_id"])]
    assert kinds.count("text") + kinds.count("options") == session["message_count"]
    assert kinds.count("reaction") == 1


async def test_many_marks_on_nothing_do_not_hold_up_what_is_said(field: PlayedWebhook) -> None:
    await field.post(*(field.reaction(NUMBER, f"wamid.nowhere.{n}") for n in range(50)))
    said = field.text(NUMBER, "hello")
    await field.post(said)
    for _ in range(4):
        await sweep.requeue_overdue(field.shop.runtime)
        await field.shop.settle()
    (session,) = await field.sessions()
    assert session["last_user_message"] == "hello"
    assert len(await field.shop.rows("SELECT 1 FROM mailbox WHERE held_until IS NOT NULL")) == 50


def scoped(who: bytes, token: str) -> str:
    """A wamid as WhatsApp makes it for one reader: who it is for, then the message's own token."""
    written = b"\x1c\x18" + bytes([len(who)]) + who + b"\x15\x02\x00\x12\x18\x14" + token.encode() + b"\x00"
    return "wamid." + base64.b64encode(written).decode()


async def test_an_id_that_is_written_for_the_user_id_names_the_same_message(field: PlayedWebhook) -> None:
    token = "3EB0A9C2D1F4556677AB"
    by_number, by_user_id = scoped(NUMBER.encode(), token), scoped(USER.encode(), token)
    people = [person(NUMBER, user_id=USER, name="Ana Lima")]
    await field.post(field.text(NUMBER, "first words", id=by_number), contacts=people)
    await field.post(field.text(NUMBER, "this answers it", context={"id": by_user_id}), contacts=people)
    await field.post(field.reaction(NUMBER, by_user_id), contacts=people)
    edit = {"original_message_id": by_user_id, "message": {"type": "text", "text": {"body": "other words"}}}
    await field.post(field.item(NUMBER, "edit", edit), contacts=people)
    (session,) = await field.sessions()
    items = await field.items_of(session["session_id"])
    assert [item["reply_to"] for item in items if item["content"].get("body") == "this answers it"] == [by_number]
    targets = [item["content"]["target"] for item in items if item["content"]["kind"] in ("reaction", "edit")]
    assert targets == [by_number, by_number]


async def test_a_reaction_taken_back_is_gone_and_counts_as_nothing(field: PlayedWebhook) -> None:
    (said,) = await field.say(NUMBER, "hello")
    (before,) = await field.sessions()
    await field.post(field.reaction(NUMBER, said))
    await field.post(field.reaction(NUMBER, said, ""))
    (after,) = await field.sessions()
    assert (after["last_user_message"], after["message_count"]) == ("hello", before["message_count"])


async def test_a_quote_of_an_earlier_session_shows_what_was_quoted_and_leads_there(field: PlayedWebhook) -> None:
    first, _ = await field.say(NUMBER, "the words of yesterday", "goodbye")
    await field.post(field.text(NUMBER, "about that", context={"id": first}), contacts=[person(NUMBER, name="Ana")])
    earlier, session = await field.sessions()
    shown = await page(field, session["session_id"])
    assert re.search(rf'href="[^"]*{earlier["session_id"]}#m-[^"]*">the words of yesterday</a>', shown)


async def test_who_renames_themselves_between_two_reactions_has_one_mark(field: PlayedWebhook) -> None:
    (said,) = await field.say(NUMBER, "hello")
    await field.post(field.reaction(NUMBER, said, "👍"), contacts=[person(NUMBER, name="Ana Lima")])
    await field.post(field.reaction(NUMBER, said, "❤️"), contacts=[person(NUMBER, name="Ana Costa")])
    (session,) = await field.sessions()
    shown = await page(field, session["session_id"])
    assert len(re.findall(r'class="react"', shown)) == 1
    assert len(re.findall(r'class="react off"', shown)) == 1


# Duplicates: account and wamid, nothing else.


async def test_one_message_whose_sender_is_named_three_ways_is_one(field: PlayedWebhook) -> None:
    message = field.text(None, "hello, once please")
    ways = [
        ({"from": NUMBER}, person(NUMBER, name="Ana")),
        ({"from_user_id": USER}, person(user_id=USER, name="Ana")),
        ({"from": NUMBER, "from_user_id": USER}, person(NUMBER, user_id=USER, name="Ana")),
    ]
    for sender, contact in ways:
        await field.post({**message, **sender}, contacts=[contact])
    assert await field.answers() == 1
    assert len(await field.people()) == 1
    await field.post(field.text(None, "and again", from_user_id=USER), contacts=[person(user_id=USER)])
    assert len(await field.people()) == 1
    assert len(await field.sessions()) == 1


async def test_a_second_delivery_with_other_content_keeps_the_first_and_says_what_differs(field: PlayedWebhook) -> None:
    message = field.text(NUMBER, "the first words")
    await field.post(message)
    await field.post({**message, "text": {"body": "other words"}})
    (session,) = await field.sessions()
    assert session["last_user_message"] == "the first words"
    reports = [row["items"][0] for row in await field.shop.rows("SELECT items FROM raw_delivery")]
    assert [report["difference"] for report in reports if report["result"] == "duplicate"] == [["body"]]


# Identity: one function says when two spellings are one person's number.


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
async def test_two_spellings_of_a_number_are_one_contact_and_find_the_same(
    field: PlayedWebhook, one: str, other: str
) -> None:
    await field.say(one, "hello")
    await field.say(other, "where is my order VF-10231")
    assert len(await field.people()) == 1
    (session,) = await field.sessions()
    for number in (one, other, f"+{one[:4]} {one[4:]}", f"00{other}"):
        assert await found(field, phone=number) == [str(session["session_id"])]


async def test_two_spellings_in_one_delivery_are_one_contact(field: PlayedWebhook) -> None:
    one, other = "5511987654321", "551187654321"
    await field.post(field.text(one, "hello"), field.text(other, "again"), contacts=[person(one), person(other)])
    assert len(await field.people()) == 1


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
async def test_a_partner_is_matched_in_any_spelling(field: PlayedWebhook, one: str, other: str) -> None:
    await add_business_partner(field.shop, f"+{one}")
    await field.say(other, "hello")
    (session,) = await field.sessions()
    assert session["business_partner_name"] is not None


@pytest.mark.parametrize("typed", ["8 (912) 345-67-89", "8912 3456789", "+7 912 345 67 89", "912 345"])
async def test_a_number_is_found_behind_another_national_prefix_than_zero(field: PlayedWebhook, typed: str) -> None:
    await field.say("79123456789", "hello")
    (session,) = await field.sessions()
    assert await found(field, phone=typed) == [str(session["session_id"])]


async def test_the_number_beside_a_name_may_be_spelled_otherwise_than_the_sender(field: PlayedWebhook) -> None:
    await field.post(field.text("5511985123456", "hello"), contacts=[person("551185123456", name="Ana")])
    await field.post(
        field.text("5511985123456", "again"),
        field.text("5511984123456", "hello too"),
        contacts=[person("551185123456", name="Ana"), person("551184123456", name="Bia")],
    )
    assert [p["display_name"] for p in await field.people()] == ["Ana", "Bia"]


async def test_names_are_joined_by_position_where_nothing_else_tells_whose_they_are(field: PlayedWebhook) -> None:
    await field.post(
        field.text("111000111", "hello"),
        field.text("222000222", "hello too"),
        contacts=[person("333000333", name="Ana"), person("444000444", name="Bia")],
    )
    assert [p["display_name"] for p in await field.people()] == ["Ana", "Bia"]


async def test_who_has_no_number_is_shown_and_found_by_username_and_user_id(field: PlayedWebhook) -> None:
    await field.post(
        field.text(None, "hello from a username", from_user_id=USER),
        contacts=[person(user_id=USER, name="Quiet Person", username="quiet.heron")],
    )
    await field.post(
        field.text(None, "hello without a name", from_user_id="AT.77777"),
        contacts=[person(user_id="AT.77777", username="loud.duck")],
    )
    quiet, loud = await field.sessions()
    assert (quiet["contact_name"], loud["contact_name"]) == ("Quiet Person", "@loud.duck")
    for asked in ("quiet.heron", USER, "Quiet Person"):
        assert await found(field, q=asked) == [str(quiet["session_id"])]
    answer = await field.get("/api/v1/conversations")
    handles = {item["contact"]["username"]: item["contact"]["user_id"] for item in answer.json()["items"]}
    assert handles == {"quiet.heron": USER, "loud.duck": "AT.77777"}


async def test_a_former_name_finds_the_sessions_from_before_and_after(field: PlayedWebhook) -> None:
    await field.say(NUMBER, "hello", "goodbye", name="Ana Lima")
    await field.say(NUMBER, "hello", name="Bella Costa")
    assert len(await found(field, q="Lima")) == 2
    assert len(await found(field, q="Costa")) == 2


@pytest.mark.parametrize("first", ["number", "user id"])
async def test_a_changed_user_id_beside_a_number_is_one_person(field: PlayedWebhook, first: str) -> None:
    await field.post(field.text(NUMBER, "hello"), contacts=[person(NUMBER, name="Ana")])
    update = {"wa_id": NUMBER, "user_id": {"previous": USER, "current": "AT.222"}, "timestamp": "1780000000"}
    later = field.text(None, "again", from_user_id="AT.222")
    if first == "user id":
        await field.post(later)
    await field.deliver(change({"user_id_update": [update]}, "user_id_update"))
    if first == "number":
        await field.post(later)
    assert len(await field.people()) == 1


async def test_a_status_that_names_number_and_user_id_links_them(field: PlayedWebhook) -> None:
    await field.say(NUMBER, "hello")
    (sent,) = await field.shop.rows("SELECT channel_message_id FROM outbox_entry")
    status = {
        "id": sent["channel_message_id"],
        "status": "delivered",
        "timestamp": str(int(field.shop.clock.now().timestamp())),
        "recipient_id": NUMBER,
        "recipient_user_id": USER,
    }
    await field.deliver(change({"statuses": [status]}))
    await field.post(field.text(None, "again", from_user_id=USER))
    assert len(await field.people()) == 1


async def test_a_status_about_a_stranger_makes_no_contact(field: PlayedWebhook) -> None:
    status = {
        "id": "wamid.elsewhere", "status": "sent", "timestamp": "1780000000", "recipient_id": OTHER,
        "recipient_user_id": USER,
    }  # fmt: skip
    await field.deliver(change({"statuses": [status]}))
    assert await field.people() == []


# What staff send from the phone app, groups, and times.


def echo(field: PlayedWebhook, to: str, said: str, **more: Any) -> bytes:
    message = field.item(OURS, "text", {"body": said}, to=to, **more)
    return change({"message_echoes": [message]}, "smb_message_echoes")


async def test_what_staff_sent_from_the_phone_app_is_in_the_transcript_and_the_bot_keeps_silent(
    field: PlayedWebhook,
) -> None:
    await field.say(NUMBER, "hello")
    before = await field.answers()
    await field.deliver(echo(field, NUMBER, "This is Maria, I will call you"))
    await field.say(NUMBER, "where is my order VF-10231")
    assert await field.answers() == before
    (session,) = await field.sessions()
    own = [item for item in await field.items_of(session["session_id"]) if item["sender"] == "agent"]
    assert [(item["sender_name"], item["content"]["body"]) for item in own] == [
        ("Phone app", "This is Maria, I will call you")
    ]
    field.shop.clock.move(seconds=3600)
    await field.say(NUMBER, "where is my order VF-10231")
    assert await field.answers() > before
    shown = await page(field, session["session_id"])
    assert "Phone app" in shown
    assert "keeps silent until" in shown


async def test_an_echo_opens_a_session_and_sends_nothing(field: PlayedWebhook) -> None:
    await field.deliver(echo(field, NUMBER, "We have news for you"))
    (session,) = await field.sessions()
    assert (session["contact_phone"], session["message_count"], session["window_until"]) == (f"+{NUMBER}", 1, None)
    assert await field.answers() == 0


async def test_a_group_is_a_conversation_of_its_own_and_is_named(field: PlayedWebhook) -> None:
    await field.say(NUMBER, "hello")
    said = field.text(NUMBER, "said in a group of five", group_id="Y2FwaV9ncm91cDo0Mg==")
    await field.post(said, contacts=[person(NUMBER, name="Ana Lima")])
    private, group = await field.sessions()
    assert private["last_user_message"] == "hello"
    assert group["contact_id"] != private["contact_id"]
    assert (group["contact_name"], group["contact_phone"]) == ("Group Y2FwaV9ncm91cDo0Mg==", None)
    assert group["window_until"] is None
    assert [item["sender_name"] for item in await field.items_of(group["session_id"])] == ["Ana Lima"]
    assert await field.answers() == 1
    named = {"groups": [{"group_id": "Y2FwaV9ncm91cDo0Mg==", "subject": "The five", "type": "group_create"}]}
    await field.deliver(change(named, "group_lifecycle_update"))
    await field.post({**said, "id": "wamid.more"}, contacts=[person(NUMBER, name="Ana Lima")])
    assert [s["contact_name"] for s in await field.sessions()] == ["Ana Lima", "The five"]


@pytest.mark.parametrize("in_ms", [False, True])
async def test_what_was_written_hours_before_it_arrived_shows_both_times(field: PlayedWebhook, in_ms: bool) -> None:
    written = int(field.shop.clock.now().timestamp()) - 3 * 3600
    await field.post(field.text(NUMBER, "written long ago", timestamp=f"{written}{'000' if in_ms else ''}"))
    (session,) = await field.sessions()
    assert re.search(r"written\s*<time[^>]*>[^<]+</time>,\s*received", await page(field, session["session_id"]))
