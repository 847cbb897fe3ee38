"""All that the stand-in sends, read by pywa's models and by our parser: both must have understood the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pywa import types
from pywa.types.base_update import BaseUpdate, BaseUserUpdate
from pywa.types.system import IdentityChange

from dragoman.channels import interface
from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.channels.whatsapp.inbound import InboundItem, StatusItem, parse
from dragoman.domain import content as c
from dragoman.web.console import drafts, examples
from graph_standin.people import made_up_user_id
from graph_standin.webhooks import envelope
from tests.unit.second_reader import AT, NUMBER, read, signature_of
from tests.unit.standin_harness import OURS, TEXT, StandinHarness, world_of

ANNA, USER = "436641234567", made_up_user_id("436641234567")
FILE = drafts.File(name="f.bin", mime_type="application/pdf", content=b"content")
IDENTITY = {"acknowledged": True, "created_timestamp": "1790000000", "hash": "abc"}


@pytest.fixture
async def harness() -> AsyncIterator[StandinHarness]:
    async with world_of() as made:
        yield made


def drafted(file: drafts.File | None = None, **fields: str) -> dict[str, Any]:
    """A message that the simulator's form makes; the file's media id is made up."""
    made = drafts.draft(fields, file, ours="4312300", last_wamid="wamid.Q")
    assert made is not None
    return made.sealed("123" if made.file is not None else None)


TITLE: Any = {"title:a": "A"}

FORMS: dict[str, list[dict[str, Any]]] = {
    "text": [
        drafted(text="Hello"),
        drafted(text="Hello", reply_to="wamid.Q"),
        drafted(text="Hello", forwarded="once"),
        drafted(text="Hello", forwarded="often"),
        drafted(text="Hello again", edit="wamid.Q"),
    ],
    "choice": [
        drafted(kind="choice", choice="a", offered="wamid.Q", **TITLE),
        drafted(kind="choice", source="list", choice="a", offered="wamid.Q", **TITLE),
    ],
    "reaction": [
        drafted(kind="reaction", target="wamid.Q", emoji="👍"),
        drafted(kind="reaction", target="wamid.Q", emoji=""),
    ],
    "revoke": [drafted(kind="revoke", target="wamid.Q")],
    "location": [
        drafted(kind="location", latitude="48.2", longitude="16.3"),
        drafted(kind="location", latitude="48.2", longitude="16.3", place="Shop", address="Ring 1"),
    ],
    "contact": [drafted(kind="contact", card="Eva Lang", number="+43 660 1", email="e@example.com", company="Lang KG")],
    "own_number": [drafted(kind="own_number", card="Ana", number="+43 660 1112233", offered="wamid.Q")],
    "order": [drafted(kind="order", note="Fast please", product="A", quantity="2", price="3.5", currency="EUR")],
    "form": [drafted(kind="form", json='{"flow_token": "t", "size": "L"}', offered="wamid.Q")],
    "advert": [drafted(kind="advert", headline="Sale", body="All of it", address="https://example.com/ad")],
    "number": [drafted(kind="number", new="+43 660 999")],
    "unsupported": [drafted(kind="unsupported", what="poll")],
    "file": [
        drafted(FILE, kind="file", **{"as": kind}, caption="Look")
        for kind in ("image", "video", "audio", "voice", "document", "sticker")
    ],
}
BY_HAND: list[dict[str, Any]] = [
    {"type": "button", "button": {"payload": "yes", "text": "Yes"}, "context": {"from": "1555", "id": "wamid.Q"}},
    {"type": "system", "system": {"type": "customer_identity_changed", "body": "changed"}, "identity": IDENTITY},
    {
        "type": "interactive",
        "interactive": {"type": "list_reply", "list_reply": {"id": "a", "title": "A", "description": "About A"}},
        "context": {"from": "1555", "id": "wamid.Q"},
    },
    {
        "type": "interactive",
        "interactive": {
            "type": "call_permission_reply",
            "call_permission_reply": {"response": "reject", "response_source": "user_action"},
        },
        "context": {"from": "1555", "id": "wamid.Q"},
    },
    {"type": "text", "text": {"body": "in a group"}, "group_id": "g-1"},
]
SAMPLES = [
    found.message | ({kind: {**found.message[kind], "id": "123"}} if found.content else {})
    for name in examples.EXAMPLES
    if (found := examples.sample(name, last_wamid="wamid.Q")) and (kind := str(found.message["type"]))
]
MESSAGES = [message for made in FORMS.values() for message in made] + BY_HAND + SAMPLES


def test_every_message_that_the_simulator_makes_is_read() -> None:
    assert FORMS.keys() == drafts._MAKERS.keys() | {"file"}
    assert len(SAMPLES) == len(examples.EXAMPLES)


def latest(harness: StandinHarness) -> tuple[bytes, BaseUpdate]:
    """The last webhook, and what pywa makes of it."""
    body = harness.receiver.bodies[-1]
    return body, read(body, harness.receiver.signatures[-1])


async def play(harness: StandinHarness, message: dict[str, Any], **who: Any) -> tuple[bytes, BaseUpdate]:
    payload = {"phone_number_id": "700", "from": ANNA, "name": "Anna", "message": message, **who}
    assert (await harness.http.post("/inbound", json=payload, headers=OURS)).status_code == 200
    return latest(harness)


def as_pywa_read(update: BaseUserUpdate) -> dict[str, Any]:
    """Who, when and where, in the words of both."""
    user = update.from_user
    quoted = getattr(update, "reply_to_message", None)
    chat = getattr(update, "chat", None)
    return {
        "account": (update.waba_id, update.metadata.phone_number_id),
        "id": update.id,
        "at": update.timestamp,
        "sender": (user.wa_id, user.bsuid),
        "name": user.name,
        "reply_to": quoted.id if quoted else None,
        "forwarded": (getattr(update, "forwarded", False), getattr(update, "forwarded_many_times", False)),
        "group": chat.id if chat is not None and chat.type == "GROUP" else None,
    }


def as_we_read(item: InboundItem) -> dict[str, Any]:
    return {
        "account": (item.waba_id, item.phone_number_id),
        "id": item.channel_message_id,
        "at": item.channel_at,
        "sender": (item.sender.wa_id, item.sender.user_id),
        "name": item.profile_name,
        "reply_to": item.context.reply_to,
        "forwarded": (item.context.forwarded, item.context.frequently_forwarded),
        "group": item.context.group_id,
    }


def content_of_message(message: types.Message) -> c.Content:  # noqa: PLR0911 - one line for each kind
    """What pywa has read, as content of ours."""
    match message:
        case types.Message(media=found) if found is not None:
            kind = "voice" if message.voice else str(message.type.value)
            return c.Media(
                media=kind,
                media_id=found.id,
                mime_type=found.mime_type,
                sha256=found.sha256,
                caption=message.caption,
                filename=getattr(found, "filename", None),
                animated=bool(getattr(found, "animated", False)),
            )
        case types.Message(reaction=found) if found is not None:
            return c.Reaction(target=found.message_id, emoji=found.emoji)
        case types.Message(location=found) if found is not None:
            return c.Location(
                latitude=found.latitude, longitude=found.longitude, name=found.name, address=found.address
            )
        case types.Message(contacts=found) if found is not None:
            return c.ContactCards(tuple(map(card_of, found)), requested=found.origin == "contact_request")
        case types.Message(order=found) if found is not None:
            items = tuple(
                c.OrderItem(product=p.sku, quantity=str(p.quantity), price=str(p.price), currency=p.currency)
                for p in found.products
            )
            return c.Order(catalog_id=found.catalog_id, text=found.text, items=items)
        case types.Message(type="unsupported", error=error) if error is not None:
            kind = message.unsupported.type if message.unsupported else "unsupported"
            return c.Unsupported(channel_type=kind, reason=error.details or error.message, code=error.code)
    assert message.text is not None, message
    return c.Text(message.text)


def card_of(card: types.Contact) -> c.ContactCard:
    assert card.name is not None
    return c.ContactCard(
        name=card.name.formatted_name,
        phones=tuple(phone.phone or "" for phone in card.phones),
        emails=tuple(email.email or "" for email in card.emails),
        organisation=card.org.company if card.org else None,
    )


def content_of(update: BaseUpdate) -> c.Content:  # noqa: PLR0911 - one line for each kind
    """What pywa has read, as content of ours."""
    match update:
        case types.CallbackButton():
            source = "quick_reply" if update.is_quick_reply else "button"
            return c.Choice(source=source, id=update.data, title=update.title)
        case types.CallbackSelection():
            return c.Choice(source="list", id=update.data, title=update.title, description=update.description)
        case types.FlowCompletion():
            return c.FormReply(
                name="flow", body=update.body, fields={**update.response, "flow_token": update.token}, raw=None
            )
        case types.EditedMessage():
            return c.Edit(target=update.original_message_id, body=update.message.text or "")
        case types.DeletedMessage():
            return c.Revoke(target=update.original_message_id)
        case types.PhoneNumberChange():
            return c.SystemNotice(event=update.sys_type.value, body=update.body, new_address=update.new_wa_id)
        case IdentityChange():
            return c.SystemNotice(event=update.sys_type.value, body=update.body)
        case types.CallPermissionUpdate():
            assert update.response == "reject"
            return c.SystemNotice(event="call_permission_reply", body="The contact does not allow calls")
    assert isinstance(update, types.Message)
    return content_of_message(update)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message["type"]))
async def test_a_message_says_the_same_to_both(harness: StandinHarness, message: dict[str, Any]) -> None:
    part = message.get(kind := str(message["type"]))
    if isinstance(part, dict) and "id" in part:
        stored = harness.standin.files.put("application/pdf", b"content")
        message = {**message, kind: {**part, "id": stored.media_id}}
    body, update = await play(harness, message)
    (item,) = parse(body).items
    assert isinstance(item, InboundItem)
    assert isinstance(update, BaseUserUpdate)
    theirs, ours = as_pywa_read(update), as_we_read(item)
    if isinstance(update, types.PhoneNumberChange | IdentityChange):
        # Pywa looks for these people's names and user ids in other places than Meta has them.
        theirs |= {"sender": (ANNA, USER), "name": "Anna"}
    assert ours == theirs
    assert item.content == content_of(update)
    if isinstance(update, types.Message):
        referral = update.referral
        read_by_pywa = {key: getattr(referral, key) for key in item.context.referral or {}}
        assert (item.context.referral or {}) == read_by_pywa


async def test_everybody_has_a_user_id_and_a_username_once_they_chose_one(harness: StandinHarness) -> None:
    message = {"type": "text", "text": {"body": "Hi"}}
    body, update = await play(harness, message, username="anna.l")
    assert isinstance(update, types.Message)
    assert (update.from_user.bsuid, update.from_user.username) == (USER, "anna.l")
    value = json.loads(body)["entry"][0]["changes"][0]["value"]
    assert value["messages"][0]["from_user_id"] == value["contacts"][0]["user_id"] == USER
    # Somebody who shows no number, and somebody of the time before user ids.
    hidden = {"phone_number_id": "700", "user_id": "AT.7", "name": "Bea", "message": message}
    await harness.http.post("/inbound", json=hidden, headers=OURS)
    body, update = latest(harness)
    assert isinstance(update, types.Message)
    assert (update.from_user.wa_id, update.from_user.bsuid) == (None, "AT.7")
    await harness.http.post("/inbound", json={**hidden, "from": ANNA, "user_id": None}, headers=OURS)
    (item,) = parse(harness.receiver.bodies[-1]).items
    assert isinstance(item, InboundItem)
    assert (item.sender.wa_id, item.sender.user_id) == (ANNA, None)


STATUSES = ["sent", "delivered", "read", "played", "failed"]


@pytest.mark.parametrize("recipient", [{"to": ANNA}, {"recipient": USER}, {"recipient": "AT.7"}])
async def test_a_status_says_the_same_to_both(harness: StandinHarness, recipient: dict[str, str]) -> None:
    await play(harness, {"type": "text", "text": {"body": "Hi"}}, username="anna.l")
    harness.receiver.bodies.clear()
    harness.receiver.signatures.clear()
    await harness.tell({"statuses": STATUSES, "status_error": 131047})
    message = {key: value for key, value in TEXT.items() if key != "to"} | {"biz_opaque_callback_data": "entry-1"}
    wamid = (await harness.send({**message, **recipient})).json()["messages"][0]["id"]
    await harness.standin.drain()
    for word, body, signature in zip(STATUSES, harness.receiver.bodies, harness.receiver.signatures, strict=True):
        (item,) = parse(body).items
        assert isinstance(item, StatusItem)
        sent = json.loads(body)
        value = sent["entry"][0]["changes"][0]["value"]
        hidden = recipient.get("recipient") == "AT.7"
        person = {"wa_id": None if hidden else ANNA, "user_id": "AT.7" if hidden else USER}
        if word == "failed":
            # Meta names nobody here; pywa 4.5 cannot do without, and is given the contact of the other statuses.
            assert "contacts" not in value
            assert ("recipient_user_id" in value["statuses"][0]) == ("recipient" in recipient)
            assert ("recipient_id" in value["statuses"][0]) == ("to" in recipient)
            value["contacts"] = [{"profile": {"name": "Anna"}, **{k: v for k, v in person.items() if v}}]
            raw = json.dumps(sent).encode()
            update = read(raw, signature_of(raw))
        else:
            update = read(body, signature)
            assert (item.recipient.wa_id, item.recipient.user_id) == (person["wa_id"], person["user_id"])
            username = value["contacts"][0]["profile"].get("username")
            assert username == (None if word == "sent" or hidden else "anna.l")
        assert isinstance(update, types.MessageStatus)
        assert (update.from_user.wa_id, update.from_user.bsuid) == (person["wa_id"], person["user_id"])
        assert (item.waba_id, item.phone_number_id) == (update.waba_id, update.metadata.phone_number_id)
        assert item.channel_message_id == update.id == wamid
        assert item.status == update.status == word
        assert item.channel_at == update.timestamp
        assert item.correlation == update.tracker == "entry-1"
        assert (update.pricing is not None) == (word in {"sent", "delivered"})
        errors = [(error.code, error.title, error.details) for error in item.errors]
        failed = update.error
        assert errors == ([(failed.code, failed.message, failed.details)] if failed else [])
        assert (failed is not None) == (word == "failed")
        assert not failed or failed.code == 131047


def template_said(**fields: Any) -> dict[str, Any]:
    named = {"message_template_id": 1, "message_template_name": "reminder", "message_template_language": "de"}
    return named | fields


ABOUT_THE_ACCOUNT: list[tuple[str, dict[str, Any]]] = [
    ("account_update", {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}}),
    (
        "account_update",
        {
            "event": "DISABLED_UPDATE",
            "ban_info": {"waba_ban_state": "DISABLE", "waba_ban_date": "November 29, 2026"},
        },
    ),
    (
        "account_update",
        {
            "event": "ACCOUNT_RESTRICTION",
            "restriction_info": [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1790000000}],
        },
    ),
    ("message_template_status_update", template_said(event="APPROVED", reason="NONE")),
    ("message_template_status_update", template_said(event="REJECTED", reason="INVALID_FORMAT")),
    ("message_template_quality_update", template_said(new_quality_score="RED", previous_quality_score="GREEN")),
    ("template_category_update", template_said(new_category="MARKETING", previous_category="UTILITY")),
    ("message_template_components_update", template_said(message_template_element="Hi {{1}}")),
]


@pytest.mark.parametrize(("field", "value"), ABOUT_THE_ACCOUNT)
async def test_what_is_said_of_the_account_is_the_same_to_both(
    harness: StandinHarness, field: str, value: dict[str, Any]
) -> None:
    payload = {"phone_number_id": "700", "field": field, "value": value}
    await harness.http.post("/inbound", json=payload, headers=OURS)
    body, update = latest(harness)
    (item,) = WhatsApp().parse(body)
    assert isinstance(item, interface.Other)
    assert (item.owner, item.address) == (getattr(update, "id", None), None)
    assert getattr(update, "timestamp", None) == AT
    if isinstance(update, types.AccountUpdate):
        assert item.event is not None
        assert item.event.event == update.event.value
        parts = [update.violation_info and update.violation_info.type, update.ban_info and update.ban_info.state.value]
        parts += [found.type.value for found in update.restriction_info]
        assert all(part in item.event.summary for part in parts if part)
        return
    change = item.template
    assert change is not None
    assert isinstance(update, types.templates.BaseTemplateUpdate)
    assert (change.name, change.language) == (update.template_name, update.template_language.value)
    match update:
        case types.templates.TemplateStatusUpdate():
            assert change.status == update.new_status.value
        case types.templates.TemplateQualityUpdate():
            assert change.quality == update.new_quality_score.value
        case types.templates.TemplateCategoryUpdate():
            assert change.category == update.new_category.value.lower()
        case _:
            assert isinstance(update, types.templates.TemplateComponentsUpdate)
            assert not change.is_complete


@pytest.mark.parametrize("value", ["stop", "resume"])
async def test_a_choice_about_marketing_is_the_same_to_both(harness: StandinHarness, value: str) -> None:
    chosen = {"wa_id": ANNA, "user_id": USER, "category": "marketing_messages", "value": value, "detail": "d"}
    said = {
        "contacts": [{"profile": {"name": "Anna"}, "wa_id": ANNA, "user_id": USER}],
        "user_preferences": [{**chosen, "timestamp": "1790000000"}],
    }
    payload = {"phone_number_id": "700", "field": "user_preferences", "value": said}
    await harness.http.post("/inbound", json=payload, headers=OURS)
    body, update = latest(harness)
    assert isinstance(update, types.UserMarketingPreferences)
    (item,) = WhatsApp().parse(body)
    assert isinstance(item, interface.Other)
    assert item.preference is not None
    assert item.preference.opts_out == (not update)
    assert (item.preference.detail, item.preference.at) == (update.detail, update.timestamp)
    sender = [identity.value for identity in item.preference.sender]
    assert sender == [update.from_user.wa_id, update.from_user.bsuid]
    assert item.address == update.metadata.phone_number_id


async def test_a_message_of_the_phone_app_is_the_same_to_both(harness: StandinHarness) -> None:
    echo = {"from": "4312300", "to": ANNA, "id": "wamid.E", "timestamp": "1790000000"}
    said = {
        "contacts": [{"profile": {"name": "Anna"}, "wa_id": ANNA, "user_id": USER}],
        "message_echoes": [{**echo, "type": "text", "text": {"body": "From my phone"}}],
    }
    payload = {"phone_number_id": "700", "field": "smb_message_echoes", "value": said}
    await harness.http.post("/inbound", json=payload, headers=OURS)
    body, update = latest(harness)
    assert isinstance(update, types.OutgoingMessage)
    assert (update.id, update.text, update.to_user.wa_id) == ("wamid.E", "From my phone", ANNA)
    # Ours are read where echoes are taken in; what reaches that place is whole.
    assert parse(body).items[0].raw["id"] == update.id


async def test_an_error_of_the_account_reaches_us_with_its_words(harness: StandinHarness) -> None:
    error = {"code": 131042, "title": "t", "message": "m", "error_data": {"details": "There is a payment problem"}}
    payload = {"phone_number_id": "700", "field": "messages", "value": {"errors": [error]}}
    await harness.http.post("/inbound", json=payload, headers=OURS)
    (item,) = WhatsApp().parse(harness.receiver.bodies[-1])
    assert isinstance(item, interface.Other)
    assert "There is a payment problem" in item.reason


def test_only_fields_of_a_number_name_one() -> None:
    about_a_number = {"messages", "calls", "smb_message_echoes", "history", "user_preferences", "user_id_update"}
    for field in {*about_a_number, *(name for name, _ in ABOUT_THE_ACCOUNT)}:
        (entry,) = envelope(NUMBER, {"a": 1}, AT, field)["entry"]
        value = entry["changes"][0]["value"]
        assert ("metadata" in value, "time" in entry) == (field in about_a_number, field not in about_a_number)
