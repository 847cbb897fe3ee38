"""Webhook bodies for the field cases: people who write, react, edit, delete and change their numbers, in any order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx

from dragoman.store.accounts import login_sessions
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.pipeline.test_identity import reader

OURS = "15550100000"


def change(value: Mapping[str, Any], field: str = "messages", *, phone_number_id: str = PHONE_NUMBER_ID) -> bytes:
    about = {"display_phone_number": OURS, "phone_number_id": phone_number_id}
    body = {"messaging_product": "whatsapp", "metadata": about, **value}
    entry = {"id": "555000", "changes": [{"field": field, "value": body}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def person(number: str | None = None, *, user_id: str | None = None, **profile: str) -> dict[str, Any]:
    """An entry of ``contacts``."""
    named = {"wa_id": number, "user_id": user_id}
    return {"profile": profile, **{key: value for key, value in named.items() if value is not None}}


class PlayedWebhook:
    """Speaks for WhatsApp: what it posts goes through the webhook, and is dispatched."""

    def __init__(self, shop: Harness) -> None:
        self.shop = shop
        self.count = 0
        self.headers: dict[str, str] = {}

    async def get(self, path: str, **query: str) -> httpx.Response:
        """What an administrator who is logged in reads there."""
        self.headers = self.headers or await reader(self.shop)
        answer = await self.shop.web.get(path, params=query, headers=self.headers)
        if answer.status_code == 401:
            # The clock was moved by days.
            self.headers = await self._log_in_again()
            answer = await self.shop.web.get(path, params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer

    async def _log_in_again(self) -> dict[str, str]:
        async with self.shop.runtime.database.tenant(self.shop.tenant_id) as connection:
            user_id = await connection.fetchval("SELECT user_id FROM user_account")
            ticket = await login_sessions.open_login_session(
                connection, self.shop.tenant_id, user_id, now=self.shop.clock.now()
            )
        return {"Cookie": f"dragoman_session={ticket.secret}"}

    def item(self, number: str | None, kind: str, body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """A message item, with an id and a time of its own unless *more* says otherwise."""
        self.count += 1
        at = int(self.shop.clock.now().timestamp())
        sender = {"from": number} if number else {}
        return {
            "id": f"wamid.field.{self.count}",
            "timestamp": str(at),
            "type": kind,
            **sender,
            kind: dict(body),
            **more,
        }

    def text(self, number: str | None, said: str, **more: Any) -> dict[str, Any]:
        return self.item(number, "text", {"body": said}, **more)

    def reaction(self, number: str, target: str, emoji: str = "👍", **more: Any) -> dict[str, Any]:
        return self.item(number, "reaction", {"message_id": target, "emoji": emoji}, **more)

    async def post(self, *items: Mapping[str, Any], contacts: Sequence[Mapping[str, Any]] = ()) -> None:
        await self.deliver(change({"contacts": list(contacts), "messages": list(items)}))

    async def deliver(self, body: bytes) -> None:
        response = await self.shop.post(body)
        assert response.status_code == 200, response.text
        await self.shop.settle()
        self.shop.clock.move(seconds=10)

    async def say(self, number: str, *said: str, name: str = "Ana Lima") -> list[str]:
        """Write some messages, each by itself; their ids."""
        items = [self.text(number, text) for text in said]
        for item in items:
            await self.post(item, contacts=[person(number, name=name)])
        return [item["id"] for item in items]

    async def sessions(self) -> list[dict[str, Any]]:
        """Every session of the tenant, the first first."""
        return await self.shop.rows(
            "SELECT session_id, state, contact_id, contact_name, contact_phone, last_user_message, message_count, "
            "window_until, business_partner_name FROM session ORDER BY started_at, session_id"
        )

    async def people(self) -> list[dict[str, Any]]:
        return await self.shop.rows(
            "SELECT contact_id, display_name, phone, username FROM contact WHERE same_as IS NULL ORDER BY created_at"
        )

    async def items_of(self, session_id: UUID) -> list[dict[str, Any]]:
        return await self.shop.rows(
            "SELECT sender, sender_name, content, channel_message_id, reply_to FROM message WHERE session_id = $1 "
            "ORDER BY ordinal",
            session_id,
        )

    async def answers(self) -> int:
        return len(await self.shop.journal())
