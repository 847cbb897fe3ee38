"""Builds webhook bodies as Meta does, signs them, and delivers them with retries.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from graph_standin.answers import digits, title
from graph_standin.config import Number, StandinConfig

DETAILS: dict[int, str] = {
    131026: "Message undeliverable.",
    131047: "Message failed to send because more than 24 hours have passed since the customer last replied.",
}


def seconds(at: datetime) -> str:
    """A time as Meta writes it."""
    return str(int(at.timestamp()))


def envelope(number: Number, value: dict[str, Any], field: str = "messages") -> dict[str, Any]:
    """The whole webhook body around one value, with what every value has."""
    metadata = {
        "display_phone_number": number.display_phone_number,
        "phone_number_id": number.phone_number_id,
    }
    whole = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": number.waba_id, "changes": [{"value": whole, "field": field}]}],
    }


def status_object(body: dict[str, Any], wamid: str, status: str, at: datetime, error: int) -> dict[str, Any]:
    """One element of ``statuses`` for the message that was sent with *body*; *error* matters if it failed."""
    made: dict[str, Any] = {"id": wamid, "status": status, "timestamp": seconds(at)}
    if body.get("to") is not None:
        made["recipient_id"] = digits(body["to"])
    else:
        made["recipient_user_id"] = body["recipient"]
    if "biz_opaque_callback_data" in body:
        made["biz_opaque_callback_data"] = body["biz_opaque_callback_data"]
    if status == "failed":
        details = {"details": DETAILS.get(error, title(error))}
        made["errors"] = [{"code": error, "title": title(error), "message": title(error), "error_data": details}]
    if status in {"sent", "delivered"}:
        category = "utility" if body.get("type") == "template" else "service"
        billing = {"billable": category != "service", "pricing_model": "PMP"}
        kind = "regular" if billing["billable"] else "free_customer_service"
        made["pricing"] = {**billing, "type": kind, "category": category}
    return made


def status_value(statuses: list[dict[str, Any]]) -> dict[str, Any]:
    """The value that carries *statuses*; Meta adds the contact unless it failed."""
    contact = {
        name: statuses[0][key]
        for key, name in (("recipient_id", "wa_id"), ("recipient_user_id", "user_id"))
        if key in statuses[0]
    }
    failed = any(status["status"] == "failed" for status in statuses)
    return {"statuses": statuses} if failed else {"contacts": [contact], "statuses": statuses}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the webhook said: its HTTP status, or None with the reason where there was no answer."""

    status: int | None
    text: str

    @property
    def good(self) -> bool:
        """Meta takes 200 and nothing else for an answer."""
        return self.status == 200


AT_A_TIME = 16
"""Posts under way. The rest waits here: a client with thousands of requests looks through all of them for each."""


class Deliverer:
    """Sends signed bodies to the webhook."""

    def __init__(self, config: StandinConfig) -> None:
        self._config = config
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._http: httpx.AsyncClient | None = None
        self.given_up: list[dict[str, Any]] = []

    async def post(self, number: Number, body: dict[str, Any]) -> Receipt:
        """One try."""
        raw = json.dumps(body).encode()
        digest = hmac.new(number.app_secret.encode(), raw, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
        if self._http is None:
            self._http = self._config.http()
        try:
            async with self._slots:
                response = await self._http.post(self._config.webhook_url, content=raw, headers=headers)
        except Exception as error:
            # A receiver in the same process may raise anything; seen from Meta that is a dead connection.
            return Receipt(None, f"{type(error).__name__}: {error}")
        return Receipt(response.status_code, response.text)

    async def deliver(self, number: Number, body: dict[str, Any]) -> None:
        """Try until the webhook answers 200, a bounded number of times; what fails for good is kept."""
        for attempt in range(self._config.webhook_attempts):
            if attempt:
                await asyncio.sleep(self._config.webhook_pause * 2 ** (attempt - 1))
            receipt = await self.post(number, body)
            if receipt.good:
                return
        self.given_up.append({"body": body, "status": receipt.status, "text": receipt.text[:500]})

    async def close(self) -> None:
        """Close the client."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
