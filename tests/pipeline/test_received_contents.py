"""What Meta says beside a message's words reaches the record, the page, the API and the search."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dragoman.web.console.query import ADDRESS
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.pipeline.test_channels import enter, plain

AD = {"source_type": "ad", "source_id": "1", "headline": "Sale", "source_url": "https://example.org/sale"}
PRODUCT = {"catalog_id": "C-99", "product_retailer_id": "SKU-7"}
ASKED = "Asked about the product SKU-7 of the catalogue C-99"


@pytest.fixture
async def ana(shop: Harness) -> AsyncIterator[httpx.AsyncClient]:
    async with await enter(shop, "administrator") as client:
        yield client


async def transcript(shop: Harness, ana: httpx.AsyncClient) -> list[dict[str, Any]]:
    (row,) = await shop.rows("SELECT session_id FROM session")
    answer = await ana.get(f"/api/v1/conversations/{row['session_id']}/transcript")
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def shown_page(shop: Harness, ana: httpx.AsyncClient) -> str:
    (row,) = await shop.rows("SELECT session_id FROM session")
    return plain(await ana.get(f"{ADDRESS}/{row['session_id']}"))


async def test_the_api_tells_a_message_that_was_forwarded_many_times(shop: Harness, ana: httpx.AsyncClient) -> None:
    for context in ({"frequently_forwarded": True}, {"forwarded": True}, {}):
        await shop.send({"type": "text", "text": {"body": "hello"}, "context": context})
    await shop.settle()
    told = [
        (item["forwarded"], item["frequently_forwarded"])
        for item in await transcript(shop, ana)
        if item["sender"] == "contact"
    ]
    assert told == [(True, True), (True, False), (False, False)]


@pytest.mark.parametrize(
    ("fields", "shown", "hidden"),
    [
        ({"context": {"referred_product": PRODUCT}}, [ASKED], ["Came from"]),
        ({"context": {"referred_product": {}}}, [], ["Came from", "Asked about"]),
        (
            {"referral": AD, "context": {"referred_product": PRODUCT}},
            ["Came from an advertisement", "Sale", ASKED],
            [],
        ),
        ({"referral": {**AD, "source_type": "post", "product": ["x"]}}, ["Came from an online post"], ["Asked about"]),
    ],
    ids=["product", "nothing", "both", "post"],
)
async def test_a_question_about_a_product_is_told_as_one(
    shop: Harness, ana: httpx.AsyncClient, fields: dict[str, Any], shown: list[str], hidden: list[str]
) -> None:
    await shop.send({"type": "text", "text": {"body": "opening hours"}, **fields})
    await shop.settle()
    page = await shown_page(shop, ana)
    assert all(words in page for words in shown), page
    assert not any(words in page for words in hidden), page


async def test_a_payment_is_on_record_and_found_by_its_ids(shop: Harness, ana: httpx.AsyncClient) -> None:
    await shop.say("opening hours")
    await shop.settle()
    before = await shop.rows("SELECT state, misses, last_user_message FROM session")
    status = {
        "id": "wamid.ORDER", "status": "captured", "timestamp": "1780000000", "recipient_id": "436601112233",
        "type": "payment", "payment": {"reference_id": "order7", "transaction": {"id": "tx9"}},
    }  # fmt: skip
    value = {"metadata": {"phone_number_id": PHONE_NUMBER_ID}, "statuses": [status]}
    body = json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).encode()
    for _ in range(2):
        assert (await shop.post(body)).status_code == 200
    await shop.settle()
    paid = [item["content"] for item in await transcript(shop, ana) if item["content"]["kind"] == "payment"]
    assert [(one["status"], one["reference"], one["transaction"], one["payer"]) for one in paid] == [
        ("captured", "order7", "tx9", "436601112233")
    ]
    for asked in ("order7", "tx9"):
        found = await ana.get("/api/v1/conversations", params={"q": asked})
        assert len(found.json()["items"]) == 1
    assert "Payment: captured" in await shown_page(shop, ana)
    assert await shop.rows("SELECT state, misses, last_user_message FROM session") == before


async def test_a_place_without_a_type_is_a_place(shop: Harness, ana: httpx.AsyncClient) -> None:
    """It was unsupported: read, and answered, as any other place is."""
    for message in ({"type": "location"}, {}):
        await shop.send({**message, "location": {"latitude": 48.2, "longitude": 16.37, "name": "Shop"}})
    await shop.settle()
    kinds = [item["content"]["kind"] for item in await transcript(shop, ana) if item["sender"] == "contact"]
    assert kinds == ["location", "location"]
