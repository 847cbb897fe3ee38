"""Every message type, read from bodies of our own; identities, batches, statuses, and what is neither."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dragoman.channels.whatsapp.inbound import (
    ChannelError,
    InboundItem,
    Item,
    MalformedError,
    OtherItem,
    StatusItem,
    WhatsAppIdentity,
    locale_of,
    parse,
)
from dragoman.domain import content as c
from dragoman.domain.nouns import MessageContext

NUMBER = "700000000000001"
ANNA = "436641234567"
ANNA_ID = "AT.4711ABC"
AT = 1_780_000_000


def value(**fields: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "4312345", "phone_number_id": NUMBER}
    return {"messaging_product": "whatsapp", "metadata": metadata, **fields}


def body_of(*values: dict[str, Any], field: str = "messages") -> bytes:
    changes = [{"field": field, "value": one} for one in values]
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "900", "changes": changes}]}).encode()


def message(**fields: Any) -> dict[str, Any]:
    return {"from": ANNA, "id": "wamid.A", "timestamp": str(AT), **fields}


def person(wa_id: str | None = ANNA, user_id: str | None = None, name: str = "Anna") -> dict[str, Any]:
    made: dict[str, Any] = {"profile": {"name": name}}
    return made | ({"wa_id": wa_id} if wa_id else {}) | ({"user_id": user_id} if user_id else {})


def items(body: bytes) -> tuple[Item, ...]:
    return parse(body).items


def only(body: bytes) -> InboundItem:
    (item,) = items(body)
    assert isinstance(item, InboundItem), item
    return item


def read(**fields: Any) -> InboundItem:
    return only(body_of(value(contacts=[person()], messages=[message(**fields)])))


def other(body: bytes) -> OtherItem:
    (item,) = items(body)
    assert isinstance(item, OtherItem), item
    return item


def test_the_message_around_the_content() -> None:
    item = read(
        type="text",
        text={"body": "again"},
        context={"id": "wamid.Q", "from": "4312345", "forwarded": True},
        referral={"source_type": "ad", "source_id": "7", "headline": "Sale"},
    )
    assert replace(item, fingerprint="", raw={}) == InboundItem(
        waba_id="900",
        phone_number_id=NUMBER,
        channel_message_id="wamid.A",
        sender=WhatsAppIdentity(ANNA, None),
        profile_name="Anna",
        username=None,
        from_us=False,
        channel_at=datetime.fromtimestamp(AT, UTC),
        content=c.Text("again"),
        context=MessageContext(
            reply_to="wamid.Q",
            forwarded=True,
            referral={"source_type": "ad", "source_id": "7", "headline": "Sale"},
        ),
        fingerprint="",
        raw={},
    )
    assert read(type="text", text={"body": "x"}, context={"frequently_forwarded": True}).context.forwarded
    assert read(type="text", text={"body": "x"}, group_id="g1").context.group_id == "g1"


PRODUCT = {"catalog_id": "C1", "product_retailer_id": "SKU-7"}
AD = {"source_type": "ad", "source_id": "7", "headline": "Sale"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"context": {"referred_product": {}}}, None),
        ({"context": {"referred_product": {"catalog_id": ""}}}, None),
        ({"referral": {}}, None),
        ({"referral": {}, "context": {"referred_product": PRODUCT}}, {"source_type": "product", **PRODUCT}),
        ({"referral": AD, "context": {"referred_product": {}}}, AD),
        ({"referral": AD, "context": {"referred_product": PRODUCT}}, {**AD, "product": PRODUCT}),
        ({"referral": ["x"], "context": {"referred_product": "x"}}, None),
    ],
)
def test_what_led_to_a_message_is_kept_and_nothing_is_no_referral(fields: dict[str, Any], expected: Any) -> None:
    assert read(type="text", text={"body": "x"}, **fields).context.referral == expected


def sender(contacts: list[dict[str, Any]], **fields: Any) -> WhatsAppIdentity:
    one = {"id": "wamid.A", "timestamp": AT, "type": "text", "text": {"body": "x"}, **fields}
    return only(body_of(value(contacts=contacts, messages=[one]))).sender


def test_senders_with_and_without_numbers() -> None:
    assert sender([person()], **{"from": ANNA}) == WhatsAppIdentity(ANNA, None)
    assert sender([person(user_id=ANNA_ID)], **{"from": ANNA}) == WhatsAppIdentity(ANNA, ANNA_ID)
    assert sender([person(None, ANNA_ID)]) == WhatsAppIdentity(None, ANNA_ID)
    assert sender([person(None, ANNA_ID)], from_user_id=ANNA_ID) == WhatsAppIdentity(None, ANNA_ID)
    assert sender([], from_user_id=ANNA_ID) == WhatsAppIdentity(None, ANNA_ID)
    assert sender([], **{"from": ANNA}) == WhatsAppIdentity(ANNA, None)
    assert sender([], **{"from": f"+{ANNA}"}) == WhatsAppIdentity(ANNA, None)
    assert sender([], **{"from": int(ANNA)}) == WhatsAppIdentity(ANNA, None)


def test_a_user_id_in_place_of_the_number_is_no_number() -> None:
    assert sender([], **{"from": ANNA_ID}) == WhatsAppIdentity(None, ANNA_ID)
    assert sender([person(ANNA_ID)], **{"from": ANNA_ID}) == WhatsAppIdentity(None, ANNA_ID)
    assert sender([], **{"from": "AT.ENT.99"}) == WhatsAppIdentity(None, "AT.ENT.99")


def test_the_whatsapp_id_wins_over_a_number_that_differs_by_a_digit() -> None:
    assert sender([person("551187654321")], **{"from": "5511987654321"}) == WhatsAppIdentity("551187654321", None)


def test_contacts_of_a_batch_belong_to_their_own_messages() -> None:
    contacts = [person("431", "AT.1", "One"), person("432", "AT.2", "Two")]
    two = message(**{"from": "432", "id": "wamid.2", "type": "text", "text": {"body": "2"}})
    one = message(**{"from": "431", "id": "wamid.1", "type": "text", "text": {"body": "1"}})
    stranger = message(**{"from": "439", "id": "wamid.3", "type": "text", "text": {"body": "3"}})
    found = items(body_of(value(contacts=contacts, messages=[two, one, stranger])))
    assert [(i.sender, i.profile_name) for i in found if isinstance(i, InboundItem)] == [
        (WhatsAppIdentity("432", "AT.2"), "Two"),
        (WhatsAppIdentity("431", "AT.1"), "One"),
        (WhatsAppIdentity("439", None), None),
    ]


def test_a_lone_contact_is_not_taken_for_two_senders() -> None:
    both = [
        message(**{"from": "431", "id": "wamid.1", "type": "text", "text": {"body": "1"}}),
        message(**{"from": "432", "id": "wamid.2", "type": "text", "text": {"body": "2"}}),
    ]
    found = items(body_of(value(contacts=[person("431", "AT.1")], messages=both)))
    assert [i.sender for i in found if isinstance(i, InboundItem)] == [
        WhatsAppIdentity("431", "AT.1"),
        WhatsAppIdentity("432", None),
    ]


def test_a_changed_user_id_names_its_old_owner() -> None:
    system = {"type": "user_changed_user_id", "body": "b", "user_id": "MX.2", "previous_user_id": "CO.1"}
    item = only(body_of(value(messages=[{"id": "wamid.S", "type": "system", "system": system}])))
    assert item.sender == WhatsAppIdentity(None, "CO.1")
    assert item.content == c.SystemNotice(event="user_changed_user_id", body="b", new_address="MX.2")


@pytest.mark.parametrize("timestamp", [AT, str(AT), float(AT)])
def test_timestamps_as_text_and_number(timestamp: Any) -> None:
    assert read(timestamp=timestamp, type="unknown").channel_at == datetime.fromtimestamp(AT, UTC)


@pytest.mark.parametrize("timestamp", [None, "", "yesterday", [], {}, True, 0, -5, 10**30, "9" * 5000, 1e300, "nan"])
def test_unreadable_timestamps(timestamp: Any) -> None:
    assert read(timestamp=timestamp, type="unknown").channel_at is None


def fingerprint(**fields: Any) -> str:
    return read(**({"type": "text", "text": {"body": "x"}} | fields)).fingerprint


def test_the_fingerprint_is_the_same_for_a_redelivery() -> None:
    assert fingerprint() == fingerprint()
    assert fingerprint(timestamp=AT) == fingerprint(timestamp=str(AT))
    signed = [{"id": "1", "url": f"https://files.example/?signature={n}"} for n in range(2)]
    first, second = (fingerprint(type="image", image=image) for image in signed)
    assert first == second


@pytest.mark.parametrize(
    "changed", [{"timestamp": AT + 1}, {"type": "image", "image": {"id": "1"}}, {"text": {"body": "y"}}]
)
def test_other_content_under_one_id_is_told_apart(changed: dict[str, Any]) -> None:
    assert fingerprint(**changed) != fingerprint()


def test_another_name_of_the_sender_makes_no_difference() -> None:
    assert fingerprint(**{"from": "439"}) == fingerprint()


def test_a_reaction_and_its_removal_in_the_same_second_stay_two() -> None:
    put, taken = (
        fingerprint(type="reaction", reaction={"message_id": "wamid.Z", "emoji": emoji}) for emoji in ("👍", "")
    )
    assert put != taken


def status(**fields: Any) -> dict[str, Any]:
    return {"id": "wamid.B", "status": "sent", "timestamp": str(AT), "recipient_id": ANNA, **fields}


def test_statuses() -> None:
    failed = status(
        status="failed",
        biz_opaque_callback_data="entry-1",
        errors=[{"code": 131047, "title": "Re-engagement", "error_data": {"details": "24 hours"}}],
    )
    to_user = {"id": "wamid.C", "status": "played", "timestamp": AT, "recipient_user_id": ANNA_ID}
    first, second = items(body_of(value(statuses=[failed, to_user])))
    assert first == StatusItem(
        waba_id="900",
        phone_number_id=NUMBER,
        channel_message_id="wamid.B",
        status="failed",
        channel_at=datetime.fromtimestamp(AT, UTC),
        recipient=WhatsAppIdentity(ANNA, None),
        errors=(ChannelError(131047, "Re-engagement", "24 hours"),),
        correlation="entry-1",
        raw=failed,
    )
    assert isinstance(second, StatusItem)
    assert (second.recipient, second.status, second.correlation) == (WhatsAppIdentity(None, ANNA_ID), "played", None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 1, "title": "t", "error_data": "plain"}, ChannelError(1, "t", "plain")),
        ({"code": "1", "message": "m"}, ChannelError(1, "m", "m")),
        ({"code": 10**40, "details": "d"}, ChannelError(None, "", "d")),
        ({"code": None}, ChannelError(None, "", "")),
    ],
)
def test_errors_in_all_their_shapes(error: dict[str, Any], expected: ChannelError) -> None:
    (item,) = items(body_of(value(statuses=[status(errors=[error, "noise"])])))
    assert isinstance(item, StatusItem)
    assert item.errors == (expected,)


def test_an_error_beside_a_message_without_body_is_its_reason() -> None:
    error = {"code": 131000, "title": "Something went wrong", "error_data": {"details": "No such payload"}}
    first, second = items(body_of(value(messages=[message(type="interactive")], errors=[error])))
    assert isinstance(first, InboundItem)
    assert first.content == c.Unsupported(channel_type="interactive", reason="No such payload", code=131000)
    assert isinstance(second, OtherItem)
    assert (second.reason, second.raw) == ("WhatsApp reports an error: No such payload", error)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (message(id=None), "a message without a usable id"),
        (message(id="w" * 600), "a message without a usable id"),
        ({"id": "wamid.1"}, "a message without a sender"),
        ("just text", "a message without a usable id"),
        (None, "a message without a usable id"),
    ],
)
def test_a_broken_message_leaves_its_neighbours_alone(broken: Any, reason: str) -> None:
    good = [
        message(**{"from": "431", "id": "wamid.1", "type": "text", "text": {"body": "1"}}),
        message(**{"from": "432", "id": "wamid.2", "type": "text", "text": {"body": "2"}}),
    ]
    first, middle, last = items(body_of(value(messages=[good[0], broken, good[1]])))
    assert isinstance(first, InboundItem)
    assert isinstance(last, InboundItem)
    assert isinstance(middle, OtherItem)
    assert middle.reason == reason


def test_a_broken_status_is_kept_with_a_reason() -> None:
    found = items(body_of(value(statuses=[status(id=None), status(status={}), status()])))
    assert [type(item) for item in found] == [OtherItem, OtherItem, StatusItem]


def test_without_our_number_nothing_can_be_routed() -> None:
    lost = value(messages=[message(type="unknown")], statuses=[status()]) | {"metadata": None}
    assert [type(item) for item in items(body_of(lost))] == [OtherItem, OtherItem]


@pytest.mark.parametrize(
    ("field", "fields", "reason", "count"),
    [
        ("smb_message_echoes", {"message_echoes": [{"id": "1"}, {"id": "2"}]}, "a copy of our own message", 2),
        ("calls", {"calls": [{"id": "1"}], "statuses": [{"id": "2"}]}, "a call", 2),
        ("user_preferences", {"user_preferences": [{"value": "stop"}]}, "marketing messages", 1),
        ("account_update", {"event": "DISABLED_UPDATE"}, "state of the business account", 1),
        ("message_template_status_update", {"event": "APPROVED"}, "a template's review state", 1),
        ("group_settings_update", {"groups": [1]}, "its name, members or settings", 1),
        ("smell_update", {}, "nothing that is known here", 1),
        ("messages", {}, "without messages and statuses", 1),
    ],
)
def test_everything_else_is_kept_with_a_reason(field: str, fields: dict[str, Any], reason: str, count: int) -> None:
    found = items(body_of(value(**fields), field=field))
    assert len(found) == count
    for item in found:
        assert isinstance(item, OtherItem)
        assert reason in item.reason
        assert (item.field, item.waba_id, item.phone_number_id) == (field, "900", NUMBER)


def test_deliveries_that_are_not_about_whatsapp_or_hold_nothing() -> None:
    assert "'page'" in other(b'{"object": "page", "entry": [{"id": "1"}]}').reason
    assert other(b"{}").reason == "the delivery has no entries"
    assert other(b'{"entry": [{"id": "5"}]}').waba_id == "5"
    assert other(b'{"entry": [{"changes": [{"field": "messages", "value": 3}]}]}').field == "messages"


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'"x"', b"1", b"null", b'{"a": NaN}', b"\xff\xfe\xfd"])
def test_only_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(body)


def test_text_that_a_database_cannot_hold_is_made_storable() -> None:
    # As escapes, and as the bytes that UTF-8 would have if there were such characters.
    for written in (
        rb'{"body": "a\u0000b\ud83dc"}',
        b'{"body": "a\xed\xa0\x80b\xed\xb0\x80c"}',
    ):
        raw = body_of(value(messages=[message(type="text", text="HERE")])).replace(b'"HERE"', written)
        item = only(raw)
        assert item.content == c.Text("a\ufffdb\ufffdc")
        assert "\\u0000" not in json.dumps(item.raw)
        json.dumps(item.raw, ensure_ascii=False).encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_body_in_another_encoding_of_unicode_is_read(encoding: str) -> None:
    body = body_of(value(messages=[message(type="text", text={"body": "Grüße 🍰"})])).decode()
    assert only(body.encode(encoding)).content == c.Text("Grüße 🍰")


def test_numbers_and_nesting_beyond_reason() -> None:
    digits = b"9" * 6000
    item = only(body_of(value(messages=[message(type="x", x="HERE")])).replace(b'"HERE"', digits))
    assert item.raw["x"] == digits.decode()
    item = only(body_of(value(messages=[message(type="x", x="HERE")])).replace(b'"HERE"', b"1e999"))
    assert json.loads(json.dumps(item.raw, allow_nan=False)) == item.raw
    deep = b"[" * 300 + b"]" * 300
    item = only(body_of(value(messages=[message(type="x", x="HERE")])).replace(b'"HERE"', deep))
    assert "nested too deeply" in json.dumps(item.raw)
    assert other(b'{"entry":' + b"[" * 200_000 + b"]" * 200_000 + b"}").reason == "the body is nested too deeply"


@pytest.mark.parametrize(
    ("wa_id", "locale"),
    [
        ("436641234567", "de"),
        ("4915112345678", "de"),
        ("41791234567", "de"),
        ("4233701234", "de"),
        ("33612345678", "fr"),
        ("32470123456", "fr"),
        ("34612345678", "es"),
        ("5215512345678", "es"),
        ("50761234567", "es"),
        ("5511987654321", "pt"),
        ("351912345678", "pt"),
        ("393331234567", "it"),
        ("18095551234", "es"),
        ("16505551234", "en"),
        ("447700900123", "en"),
        ("+436641234567", "de"),
        ("WHATSAPP", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_locale_of_a_number(wa_id: str | None, locale: str) -> None:
    assert locale_of(wa_id) == locale
