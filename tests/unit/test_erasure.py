"""What is left of an event and of a delivery when a contact is erased."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain import content, erasure
from dragoman.domain.events import CATALOGUE
from dragoman.ledger import chain

MARK = "Ana Lima"
KNOWN = frozenset({"436601112233", "wamid.hers"})


def test_what_goes_is_a_field_of_the_catalogue() -> None:
    for kind, fields in erasure.GOES.items():
        assert fields <= CATALOGUE[kind].__dataclass_fields__.keys(), kind


@pytest.mark.parametrize("kind", CATALOGUE)
def test_free_text_goes_and_what_the_dispatcher_did_stays(kind: str) -> None:
    """A field of these names is free text, whichever event gets it: who adds one decides here that it goes."""
    loose = {"reason", "message", "detail", "parameters", "result", "by", "business_partner", "late_result"}
    loose |= {"content_digest", "channel_message_id", "collected"}
    fields = CATALOGUE[kind].__dataclass_fields__.keys()
    known = fields & loose - (
        # Words of ours on the erasure itself; a colleague's name.
        {"reason"}
        if kind == "contact.erased"
        else {"by"}
        if kind in ("handoff.released", "dispatch.retried", "outbox.changed")
        else set()
    )
    assert known == erasure.GOES.get(kind, frozenset())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([*CATALOGUE, "of.another_version"]),
    st.dictionaries(st.sampled_from(["reason", "skill", "parameters", "what_is_new"]), _JSON),
)
def test_done_twice_nothing_more_goes(kind: str, payload: dict[str, Any]) -> None:
    left = erasure.left_of(kind, payload)
    assert erasure.left_of(kind, left) == left
    assert left.keys() == payload.keys()


def test_what_nobody_named_goes() -> None:
    assert erasure.left_of("skill.retired", {"skill": "a", "note": MARK, "more": [MARK], "deep": {"n": MARK}}) == {
        "skill": "a", "note": "[erased]", "more": [], "deep": {"erased": True}
    }  # fmt: skip
    assert erasure.left_of("of.another_version", {"note": MARK, "none": None, "empty": ""}) == {
        "note": "[erased]", "none": None, "empty": ""
    }  # fmt: skip


def test_the_content_can_be_read_again() -> None:
    assert content.from_json(dict(erasure.CONTENT)) == content.Erased()
    assert content.preview(content.Erased()) == "[erased]"
    assert content.digest_of_json(erasure.CONTENT) == erasure.DIGEST


def delivery(*messages: dict[str, Any], contacts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    value = {"metadata": {"phone_number_id": "1"}, "contacts": contacts or [], "messages": list(messages)}
    return {"object": "w", "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]}


def test_items_of_a_delivery_keep_their_places() -> None:
    hers = {"from": "436601112233", "id": "wamid.1", "text": {"body": MARK}}
    card = {"from": "4912", "id": "wamid.2", "contacts": [{"phones": [{"wa_id": "436601112233"}], "name": "N"}]}
    answer = {"from": "4912", "id": "wamid.3", "context": {"id": "wamid.hers"}}
    plus = {"to": "+436601112233", "from": "the business", "id": "wamid.4"}
    ours = {"to": "4912", "from": "the business", "id": "wamid.5"}
    whole = delivery(hers, card, answer, plus, ours, contacts=[{"wa_id": "436601112233", "profile": {"name": MARK}}])
    known = erasure.led_to(whole, KNOWN)
    assert known == KNOWN | {"wamid.1", "wamid.4"}
    gone = {"erased": True}
    without = {**card, "contacts": [{"phones": [gone], "name": "N"}]}
    rest = (without, {**answer, "context": gone}, gone, ours)
    assert erasure.scrubbed(whole, known) == delivery(gone, *rest, contacts=[gone])
    assert erasure.scrubbed([hers, ours], known) == [gone, ours]


def test_a_number_that_is_somebody_elses_by_now_still_leads_to_the_name() -> None:
    hers = {"from": "49170", "id": "wamid.hers"}
    whole = delivery(hers, contacts=[{"wa_id": "49170", "profile": {"name": MARK}}])
    assert MARK not in json.dumps(erasure.scrubbed(whole, erasure.led_to(whole, KNOWN)))


@given(_JSON)
def test_a_delivery_without_the_contact_is_left_alone(document: Any) -> None:
    assert erasure.scrubbed(document, erasure.led_to(document, KNOWN)) == document


@pytest.mark.parametrize(
    "payload", [None, {}, {"left": None}, {"left": []}, {"left": {"x": "1", "-1": "2", "9": "of itself or later"}}]
)
def test_an_erasure_that_says_nothing_sensible_allows_nothing(payload: Any) -> None:
    assert chain.left([(9, "contact.erased", payload)]) == {}


def test_only_the_first_erasure_speaks_of_an_event() -> None:
    told = [(3, "contact.erased", {"left": {"1": "a"}}), (4, "contact.erased", {"left": {"1": "b", "2": "c"}})]
    assert chain.left(told) == {1: "a", 2: "c"}
    assert chain.left([(3, "state.changed", {"left": {"1": "a"}})]) == {}
