"""Values that were answered with a failure once, each at the place that failed."""

from __future__ import annotations

import json

import pytest

from dragoman.channels.email.plain import from_html
from dragoman.channels.whatsapp import inbound, redact
from dragoman.domain.content import Order, OrderItem
from dragoman.domain.redaction import READY
from dragoman.web.console.attachments import total

RULES = tuple(READY.values())


@pytest.mark.parametrize("price", ["9e999999", "-9e999999", "sNaN", "x"])
def test_an_order_that_no_decimal_can_hold_has_no_total(price: str) -> None:
    items = tuple(OrderItem(product="p", quantity="10", price=price, currency="EUR") for _ in range(2))
    assert total(Order(catalog_id=None, text=None, items=items)) == ""


@pytest.mark.parametrize("number", ["1e999999", "-1E400", "9" * 5000])
def test_a_delivery_with_a_card_and_a_number_beyond_all_bounds_stays_readable(number: str) -> None:
    message = {"from": "1", "id": "w", "type": "text", "text": {"body": "card 4111 1111 1111 1111"}, "x": 77}
    value = {"metadata": {"phone_number_id": "1"}, "messages": [message]}
    body = json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).replace("77", number)
    cleaned, counts = redact.redact(body.encode(), RULES)
    assert len(inbound.parse(cleaned).items) == 1
    assert b"4111" not in cleaned
    assert counts[0]["card"] == 1


@pytest.mark.parametrize("html", ["<![<![", "&#" + "1" * 5000 + ";", "<a", "<!--", "<script>", '<p title="'])
def test_html_that_is_none_ends_without_an_error(html: str) -> None:
    assert from_html(f"<p>hello</p>{html}").startswith("hello")
