"""Every message type, read from bodies of our own, and what becomes of one that is not what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.channels.whatsapp.contents import KNOWN_TYPES, content_of
from dragoman.channels.whatsapp.inbound import InboundItem, parse
from dragoman.domain import content as c

UNSUPPORTED = {
    "code": 131051,
    "title": "Message type unknown",
    "error_data": {"details": "Not supported yet."},
}
FILE = {"id": "555", "mime_type": "image/jpeg", "sha256": "abc="}
CARD = {"name": {"formatted_name": "Max Muster", "first_name": "Max"}, "phones": [{"phone": "+43 1 2"}]}
CONTENTS: list[tuple[str, dict[str, Any], c.Content]] = [
    ("text", {"type": "text", "text": {"body": "Grüß Gott 👋"}}, c.Text("Grüß Gott 👋")),
    (
        "image",
        {"type": "image", "image": {**FILE, "caption": "the fuse box", "url": "https://files.example/x"}},
        c.Media(media="image", media_id="555", mime_type="image/jpeg", sha256="abc=", caption="the fuse box"),
    ),
    (
        "video",
        {"type": "video", "video": {"id": "1", "mime_type": "video/mp4"}},
        c.Media(media="video", media_id="1", mime_type="video/mp4"),
    ),
    ("audio", {"type": "audio", "audio": {"id": "1", "voice": False}}, c.Media(media="audio", media_id="1")),
    (
        "voice note",
        {"type": "audio", "audio": {"id": 1, "voice": True}},
        c.Media(media="voice", media_id="1"),
    ),
    (
        "document",
        {"type": "document", "document": {"id": "1", "filename": "invoice.pdf"}},
        c.Media(media="document", media_id="1", filename="invoice.pdf"),
    ),
    (
        "sticker",
        {"type": "sticker", "sticker": {"id": "1", "animated": True}},
        c.Media(media="sticker", media_id="1", animated=True),
    ),
    (
        "a file that WhatsApp lost",
        {"type": "video", "video": {}, "errors": [{"code": 131052, "title": "Media download error"}]},
        c.Media(media="video", error="Media download error"),
    ),
    (
        "location",
        {"type": "location", "location": {"latitude": 48.2, "longitude": "16.37", "name": "Shop"}},
        c.Location(latitude=48.2, longitude=16.37, name="Shop"),
    ),
    (
        "location without coordinates",
        {"type": "location", "location": {"latitude": "here", "longitude": 1}},
        c.Unsupported(channel_type="location", reason="the body is not what messages of this type have"),
    ),
    (
        "contacts",
        {"type": "contacts", "contacts": [CARD, {"phones": [{"wa_id": "431"}], "org": {"company": "ACME"}}]},
        c.ContactCards(
            (
                c.ContactCard(name="Max Muster", phones=("+43 1 2",)),
                c.ContactCard(name="431", phones=("431",), organisation="ACME"),
            )
        ),
    ),
    (
        "reaction",
        {"type": "reaction", "reaction": {"message_id": "wamid.Z", "emoji": "👍"}},
        c.Reaction(target="wamid.Z", emoji="👍"),
    ),
    (
        "reaction removed",
        {"type": "reaction", "reaction": {"message_id": "wamid.Z"}},
        c.Reaction(target="wamid.Z", emoji=None),
    ),
    (
        "reaction removed with the empty text",
        {"type": "reaction", "reaction": {"message_id": "wamid.Z", "emoji": ""}},
        c.Reaction(target="wamid.Z", emoji=None),
    ),
    (
        "reply button",
        {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": {"id": "y", "title": "Yes"}},
        },
        c.Choice(source="button", id="y", title="Yes"),
    ),
    (
        "list row",
        {
            "type": "interactive",
            "interactive": {
                "type": "list_reply",
                "list_reply": {"id": "r", "title": "Row", "description": "d"},
            },
        },
        c.Choice(source="list", id="r", title="Row", description="d"),
    ),
    (
        "form",
        {
            "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"name": "flow", "response_json": '{"a": 1}'}},
        },
        c.FormReply(name="flow", fields={"a": 1}),
    ),
    (
        "form whose JSON is broken",
        {
            "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": "{oops"}},
        },
        c.FormReply(name="flow", raw="{oops"),
    ),
    (
        "form whose JSON is a list",
        {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": "[1]"}}},
        c.FormReply(name="flow", raw="[1]"),
    ),
    (
        "call permission",
        {
            "type": "interactive",
            "interactive": {"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}},
        },
        c.SystemNotice(event="call_permission_reply", body="The contact allows calls"),
    ),
    (
        "an interactive answer of the future",
        {"type": "interactive", "interactive": {"type": "hologram_reply", "hologram_reply": {}}},
        c.Unsupported(channel_type="interactive hologram_reply", reason="answers of this type are not known here"),
    ),
    (
        "template button",
        {"type": "button", "button": {"payload": "CONFIRM", "text": "Confirm"}},
        c.Choice(source="quick_reply", id="CONFIRM", title="Confirm"),
    ),
    (
        "template button without payload",
        {"type": "button", "button": {"text": "Confirm"}},
        c.Choice(source="quick_reply", id="Confirm", title="Confirm"),
    ),
    (
        "order",
        {
            "type": "order",
            "order": {
                "catalog_id": "77",
                "text": "quickly please",
                "product_items": [
                    {"product_retailer_id": "LED-9", "quantity": 3, "item_price": 4.5, "currency": "EUR"}
                ],
            },
        },
        c.Order(
            catalog_id="77",
            text="quickly please",
            items=(c.OrderItem(product="LED-9", quantity="3", price="4.5", currency="EUR"),),
        ),
    ),
    (
        "new number",
        {
            "type": "system",
            "system": {"type": "user_changed_number", "body": "A changed", "wa_id": "436640000000"},
        },
        c.SystemNotice(event="user_changed_number", body="A changed", new_address="436640000000"),
    ),
    (
        "new identity",
        {"type": "system", "system": {"type": "customer_identity_changed", "body": "Changed"}},
        c.SystemNotice(event="customer_identity_changed", body="Changed"),
    ),
    (
        "unsupported",
        {"type": "unsupported", "errors": [UNSUPPORTED]},
        c.Unsupported(channel_type="unsupported", reason="Not supported yet.", code=131051),
    ),
    (
        "unknown without a reason",
        {"type": "unknown"},
        c.Unsupported(channel_type="unknown", reason="WhatsApp does not pass this message on"),
    ),
    (
        "edit",
        {
            "type": "edit",
            "edit": {"original_message_id": "wamid.Z", "message": {"type": "text", "text": {"body": "new"}}},
        },
        c.Edit(target="wamid.Z", body="new"),
    ),
    (
        "edited caption",
        {
            "type": "edit",
            "edit": {
                "original_message_id": "wamid.Z",
                "message": {"type": "image", "image": {"id": "1", "caption": "new"}},
            },
        },
        c.Edit(target="wamid.Z", body="new"),
    ),
    (
        "revoke",
        {"type": "revoke", "revoke": {"original_message_id": "wamid.Z"}},
        c.Revoke(target="wamid.Z"),
    ),
    (
        "first opened chat",
        {"type": "request_welcome"},
        c.SystemNotice(event="request_welcome", body="The contact opened the chat for the first time"),
    ),
    (
        "a type of the future",
        {"type": "hologram", "hologram": {"id": "1"}},
        c.Unsupported(channel_type="hologram", reason="messages of this type are not known here"),
    ),
    (
        "text that is not text",
        {"type": "text", "text": ["hello"]},
        c.Unsupported(channel_type="text", reason="the body is not what messages of this type have"),
    ),
    (
        "no type and no body",
        {"text": {}},
        c.Unsupported(channel_type="missing", reason="messages of this type are not known here"),
    ),
    (
        "no type and two bodies",
        {"text": {"body": "x"}, "location": {"latitude": 1, "longitude": 2}},
        c.Unsupported(channel_type="missing", reason="messages of this type are not known here"),
    ),
    (
        "a card with all that it may have",
        {
            "type": "contacts",
            "contacts": [
                {
                    **CARD,
                    "org": {"company": "ACME", "department": "Sales", "title": "Head"},
                    "addresses": [
                        {"street": "Ring 1", "city": "Wien", "zip": "1010", "country": "Austria", "type": "WORK"},
                        {"country_code": "at"},
                        {},
                        "nowhere",
                    ],
                    "urls": [{"url": "https://acme.example", "type": "WORK"}, {"type": "HOME"}],
                    "birthday": "1980-02-29",
                }
            ],
        },
        c.ContactCards(
            (
                c.ContactCard(
                    name="Max Muster",
                    phones=("+43 1 2",),
                    organisation="ACME",
                    department="Sales",
                    title="Head",
                    addresses=("Ring 1, 1010 Wien, Austria", "at"),
                    urls=("https://acme.example",),
                    birthday="1980-02-29",
                ),
            )
        ),
    ),
    (
        "a payment",
        {
            "type": "payment",
            "payment": {
                "status": "captured", "reference_id": "order-7", "transaction_id": "tx-9",
                "amount": {"value": 21050, "offset": 100}, "currency": "INR",
                "payer": {"name": "Asha Rao", "wa_id": "919812345678"},
            },
        },
        c.Payment(
            status="captured", reference="order-7", transaction="tx-9", payer="Asha Rao 919812345678",
            amount="210.50", currency="INR",
        ),
    ),
    (
        "a payment in an answer, of a hostile sort",
        {
            "type": "interactive",
            "interactive": {"type": "payment", "payment": {"amount": [1], "payer": 7, "status": {}}},
        },
        c.Payment(status=None, payer="7"),
    ),
    (
        "a code that nobody asked for",
        {
            "type": "button", "context": {"id": "wamid.CODE"},
            "button": {"payload": "DID_NOT_REQUEST_CODE", "text": "I didn't request a code"},
        },
        c.CodeReport(body="I didn't request a code", target="wamid.CODE"),
    ),
    (
        "a code that nobody asked for, as a reply button",
        {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": {"id": "DID_NOT_REQUEST_CODE", "title": "Not me"}},
        },
        c.CodeReport(body="Not me"),
    ),
]  # fmt: skip


BODIES: dict[str, Any] = {
    "text": {"body": "x"},
    "image": {"id": "1"},
    "video": {"id": "1"},
    "audio": {"id": "1", "voice": True},
    "document": {"id": "1", "filename": "a.pdf"},
    "sticker": {"id": "1"},
    "location": {"latitude": 1, "longitude": 2},
    "contacts": [CARD],
    "reaction": {"message_id": "wamid.Z", "emoji": "👍"},
    "interactive": {"type": "button_reply", "button_reply": {"id": "a", "title": "A"}},
    "button": {"payload": "a", "text": "A"},
    "order": {"catalog_id": "1", "product_items": [{"product_retailer_id": "p", "quantity": 1}]},
    "payment": {"status": "captured"},
    "system": {"type": "user_changed_number", "body": "x"},
    "edit": {"original_message_id": "wamid.Z", "message": {"type": "text", "text": {"body": "y"}}},
    "revoke": {"original_message_id": "wamid.Z"},
}


def test_a_message_without_a_type_is_what_its_body_says() -> None:
    """Each type that has a body is read by it where Meta leaves the type out."""
    assert set(BODIES) == KNOWN_TYPES - {"unsupported", "unknown", "request_welcome"}
    for kind, body in BODIES.items():
        typed = content_of({"type": kind, kind: body})
        assert content_of({kind: body}) == content_of({"type": "", kind: body}) == typed
        assert not isinstance(typed, c.Unsupported)


@pytest.mark.parametrize(("fields", "expected"), [row[1:] for row in CONTENTS], ids=[row[0] for row in CONTENTS])
def test_content(fields: dict[str, Any], expected: c.Content) -> None:
    message = {"from": "436641234567", "id": "wamid.A", "timestamp": "1780000000", **fields}
    value = {"metadata": {"phone_number_id": "7"}, "messages": [message]}
    (item,) = parse(json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).encode()).items
    assert isinstance(item, InboundItem)
    assert item.content == expected
    # It must survive the way into the transcript and back.
    assert c.from_json(json.loads(json.dumps(c.to_json(item.content)))) == expected
    assert item.raw == message
