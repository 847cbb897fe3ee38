"""Whatever is done to a delivery, reading it neither raises nor loses the untouched neighbours."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.channels.whatsapp.inbound import InboundItem, OtherItem, StatusItem, parse
from dragoman.domain import content as c

MESSAGES: list[dict[str, Any]] = [
    {"type": "text", "text": {"body": "hello"}, "context": {"id": "wamid.Q", "forwarded": True}},
    {"type": "image", "image": {"id": "1", "mime_type": "image/png", "caption": "c"}},
    {"type": "audio", "audio": {"id": "1", "voice": True}, "errors": [{"code": 131052, "title": "t"}]},
    {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5, "name": "n"}},
    {"type": "contacts", "contacts": [{"name": {"formatted_name": "N"}, "phones": [{"phone": "1"}]}]},
    {"type": "reaction", "reaction": {"message_id": "wamid.Z", "emoji": "x"}},
    {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "1", "title": "t"}}},
    {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": '{"a":1}'}}},
    {"type": "button", "button": {"payload": "p", "text": "t"}},
    {"type": "order", "order": {"catalog_id": "1", "product_items": [{"quantity": 1, "item_price": 2}]}},
    {"type": "system", "system": {"type": "user_changed_number", "body": "b", "wa_id": "431"}},
    {"type": "unsupported", "errors": [{"code": 131051, "error_data": {"details": "d"}}]},
    {"type": "edit", "edit": {"original_message_id": "1", "message": {"type": "text", "text": {"body": "b"}}}},
    {"type": "revoke", "revoke": {"original_message_id": "1"}, "referral": {"source_type": "ad"}},
]
STATUS = {
    "id": "wamid.S",
    "status": "failed",
    "timestamp": "1780000000",
    "recipient_id": "431",
    "errors": [{"code": 1, "error_data": {"details": "d"}}],
    "biz_opaque_callback_data": "x",
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(), max_size=12),
    st.sampled_from(["", "\x00", "\ud800", "9" * 5000, "AT.1", "x" * 3000, 10**400, "wamid.1"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def envelope() -> dict[str, Any]:
    head = {"from": "431", "timestamp": "1780000000"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "43", "phone_number_id": "7"},
        "contacts": [{"profile": {"name": "N"}, "wa_id": "431", "user_id": "AT.1"}],
        "messages": [{**head, "id": f"wamid.{n}", **one} for n, one in enumerate(MESSAGES)],
        "statuses": [STATUS],
        "errors": [{"code": 1, "title": "t"}],
    }
    changes = [{"field": "messages", "value": value}, {"field": "account_update", "value": {"event": "E"}}]
    return copy.deepcopy({"object": "whatsapp_business_account", "entry": [{"id": "9", "changes": changes}]})


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [(*path, key) for key in keys] + [p for key in keys for p in places(node[key], (*path, key))]


PLACES = places(envelope())


def mutate(body: dict[str, Any], path: tuple[Any, ...], how: str, new: Any) -> None:
    node: Any = body
    for key in path[:-1]:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            return
    try:
        match how:
            case "drop":
                del node[path[-1]]
            case "retype":
                node[path[-1]] = new
            case "wrap":
                node[path[-1]] = [node[path[-1]], new]
            case "nest":
                node[path[-1]] = {"inside": node[path[-1]], "type": new}
            case "double":
                node[path[-1]] = [copy.deepcopy(node[path[-1]])] * 2
    except (KeyError, IndexError, TypeError):
        return


mutations = st.tuples(st.sampled_from(PLACES), st.sampled_from(["drop", "retype", "wrap", "nest", "double"]), anything)


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def check_storable(body: bytes) -> None:
    for item in parse(body).items:
        text = json.dumps(item.raw, allow_nan=False, ensure_ascii=False)
        text.encode()
        # A backslash that somebody wrote is two in JSON.
        assert "\\u0000" not in text.replace("\\\\", "")
        if isinstance(item, InboundItem):
            assert item.sender.known
            stored = json.dumps(c.to_json(item.content), allow_nan=False)
            assert c.from_json(json.loads(stored)) == item.content
            assert len(c.digest(item.content)) == 64
            assert isinstance(c.preview(item.content), str)
            keys = (item.channel_message_id, item.phone_number_id, item.fingerprint)
            assert all(0 < len(key) <= 512 for key in keys)


@settings(max_examples=400, deadline=None)
@given(st.lists(mutations, min_size=1, max_size=4))
def test_mutated_deliveries_are_read_and_can_be_stored(changes: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    body = envelope()
    for path, how, new in changes:
        mutate(body, path, how, new)
    check_storable(encoded(body))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=6), anything, max_size=4))
def test_any_object_is_read(value: dict[str, Any]) -> None:
    check_storable(encoded(value))
    check_storable(encoded({"entry": value}))
    check_storable(encoded({"entry": [{"changes": [{"field": "messages", "value": value}]}]}))
    check_storable(encoded({"entry": [{"changes": [{"value": {"messages": [value], "statuses": [value]}}]}]}))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(MESSAGES) - 1), st.data())
def test_a_broken_message_costs_only_itself(victim: int, data: st.DataObject) -> None:
    body = envelope()
    messages = body["entry"][0]["changes"][0]["value"]["messages"]
    whole = parse(encoded(body)).items
    path = data.draw(st.sampled_from(places(messages[victim]) or [("id",)]))
    mutate(messages[victim], path, data.draw(st.sampled_from(["drop", "retype", "nest"])), data.draw(anything))
    broken = parse(encoded(body)).items
    assert len(broken) == len(whole)
    for index, (before, after) in enumerate(zip(whole, broken, strict=True)):
        assert index == victim or same_apart_from_pairing(before, after)


def same_apart_from_pairing(before: object, after: object) -> bool:
    """A changed sender can show that the one contact is not everybody's; that much may differ."""
    if isinstance(before, InboundItem) and isinstance(after, InboundItem):
        return before.raw == after.raw and before.content == after.content
    return before == after


def test_the_unbroken_delivery_has_all() -> None:
    items = parse(encoded(envelope())).items
    assert [type(item) for item in items] == [InboundItem] * len(MESSAGES) + [StatusItem, OtherItem, OtherItem]
    contents = [item.content for item in items if isinstance(item, InboundItem)]
    assert [content.kind for content in contents].count("unsupported") == 1
