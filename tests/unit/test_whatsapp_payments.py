"""A payment's state is told in the form of a status; it becomes a notice on record, and no delivery status."""

from __future__ import annotations

import json
from typing import Any

from dragoman.channels.interface import ChannelMessage, Item, Status
from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.domain.content import Payment
from dragoman.domain.nouns import Identity

STATUS: dict[str, Any] = {
    "id": "wamid.ORDER", "status": "captured", "timestamp": "1780000000", "recipient_id": "919812345678",
    "type": "payment",
    "payment": {
        "reference_id": "order-7", "amount": {"value": 21000, "offset": 100}, "currency": "INR",
        "transaction": {"id": "tx-9", "type": "razorpay", "status": "success", "method": {"type": "upi"}},
    },
}  # fmt: skip


def read(**changes: Any) -> Item:
    value = {"metadata": {"phone_number_id": "7"}, "statuses": [{**STATUS, **changes}]}
    (item,) = WhatsApp().parse(json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).encode())
    return item


def test_status_ids_and_payer_of_a_payment_are_content() -> None:
    found = read()
    assert isinstance(found, ChannelMessage)
    assert found.content == Payment(
        status="captured", reference="order-7", transaction="tx-9", payer="919812345678", amount="210.00",
        currency="INR", method="upi",
    )  # fmt: skip
    assert found.sender == (Identity(kind="wa_id", value="919812345678"),)
    assert found.context.reply_to == "wamid.ORDER"


def test_each_step_of_a_payment_is_one_message_however_often_it_comes() -> None:
    captured, again, pending = read(), read(), read(status="pending")
    assert isinstance(captured, ChannelMessage)
    assert isinstance(again, ChannelMessage)
    assert isinstance(pending, ChannelMessage)
    assert captured.channel_message_id == again.channel_message_id != pending.channel_message_id
    assert captured.channel_message_id != "wamid.ORDER"


def test_a_payment_that_failed_is_no_message_that_failed() -> None:
    failed = read(status="failed", payment={"transaction": {"error": {"code": "E1", "reason": "declined"}}})
    assert isinstance(failed, ChannelMessage)
    assert failed.content == Payment(status="failed", payer="919812345678", error="E1 declined")


def test_other_statuses_stay_statuses() -> None:
    assert isinstance(read(type="message"), Status)
    assert isinstance(read(payment="?"), Status)
    assert isinstance(read(recipient_id=None), Status)
