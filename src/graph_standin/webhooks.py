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

from graph_standin.answers import title
from graph_standin.config import Number, StandinConfig
from graph_standin.people import Person

DETAILS: dict[int, str] = {
    131026: "Message undeliverable.",
    131047: "Message failed to send because more than 24 hours have passed since the customer last replied.",
}


def seconds(at: datetime) -> str:
    """A time as Meta writes it."""
    return str(int(at.timestamp()))


_OF_A_NUMBER = ("calls", "group_", "history", "messages", "smb_", "user_id_update", "user_preferences")
"""How the fields begin whose value names the number that it is about; all others are about the whole account."""


def envelope(number: Number, value: dict[str, Any], at: datetime, field: str = "messages") -> dict[str, Any]:
    """The whole webhook body around one value, with what every value of *field* has."""
    entry: dict[str, Any] = {"id": number.waba_id, "changes": [{"value": value, "field": field}]}
    if not field.startswith(_OF_A_NUMBER):
        return {"object": "whatsapp_business_account", "entry": [{**entry, "time": int(at.timestamp())}]}
    metadata = {
        "display_phone_number": number.display_phone_number,
        "phone_number_id": number.phone_number_id,
    }
    entry["changes"][0]["value"] = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def status_object(
    body: dict[str, Any], recipient: Person, wamid: str, status: str, at: datetime, error: int
) -> dict[str, Any]:
    """One element of ``statuses`` for the message that was sent with *body*; *error* matters if it failed.

    Where it failed it names no more than what it was sent to.
    """
    made: dict[str, Any] = {"id": wamid, "status": status, "timestamp": seconds(at)}
    failed, to_number = status == "failed", body.get("to") is not None
    if recipient.wa_id is not None and (to_number or not failed):
        made["recipient_id"] = recipient.wa_id
    if recipient.user_id is not None and not (to_number and failed):
        made["recipient_user_id"] = recipient.user_id
    if "biz_opaque_callback_data" in body:
        made["biz_opaque_callback_data"] = body["biz_opaque_callback_data"]
    if failed:
        details = {"details": DETAILS.get(error, title(error))}
        made["errors"] = [{"code": error, "title": title(error), "message": title(error), "error_data": details}]
    if status in {"sent", "delivered"}:
        category = "utility" if body.get("type") == "template" else "service"
        billing = {"billable": category != "service", "pricing_model": "PMP"}
        kind = "regular" if billing["billable"] else "free_customer_service"
        made["pricing"] = {**billing, "type": kind, "category": category}
    return made


def status_value(statuses: list[dict[str, Any]], recipient: Person) -> dict[str, Any]:
    """The value that carries *statuses*; Meta adds the contact unless it failed, and the username once it arrived."""
    words = {status["status"] for status in statuses}
    if "failed" in words:
        return {"statuses": statuses}
    contact = recipient.as_contact(with_username=bool(words & {"delivered", "read", "played"}))
    return {"contacts": [contact], "statuses": statuses}


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
