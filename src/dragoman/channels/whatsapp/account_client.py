"""Speaks to the Graph API for one WhatsApp number, behind the channel interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from dragoman.channels.interface import (
    AccountAccess,
    Answer,
    Checked,
    LimitError,
    Located,
    Refused,
    TemplateList,
    Unanswered,
)
from dragoman.channels.whatsapp import checks, outbound, templates
from dragoman.channels.whatsapp.client import GraphClient
from dragoman.channels.whatsapp.media import MediaClient
from dragoman.domain.content import Content
from dragoman.domain.nouns import Identity


class WhatsAppClient:
    """Implements :class:`~dragoman.channels.interface.AccountClient` for a phone number id."""

    def __init__(self, http: httpx.AsyncClient, graph_url: str, access: AccountAccess) -> None:
        self._access = access
        self._graph = GraphClient(http, graph_url)
        self._media = MediaClient(http, graph_url=graph_url, token=access.token, phone_number_id=access.address)

    async def send(
        self, content: Content, *, recipient: Identity, reply_to: str | None, correlation: str
    ) -> Answer | LimitError:
        """Post one message."""
        try:
            body = outbound.render(content, recipient=recipient, reply_to=reply_to, correlation=correlation)
        except LimitError as error:
            return error
        return await self._graph.send(self._access.address, self._access.token, body)

    async def mark_read(self, channel_message_id: str, *, typing: bool) -> Refused | Unanswered | None:
        """Post a read mark, with the typing indicator if that is wanted."""
        body = read_mark(channel_message_id, typing=typing)
        return await self._graph.send_presence(self._access.address, self._access.token, body)

    async def check(self) -> Checked:
        """Ask Meta about the number, the app secrets and the webhook's subscription."""
        return await checks.check(
            self._graph,
            phone_number_id=self._access.address,
            waba_id=self._access.owner,
            token=self._access.token,
            app_secrets=self._access.app_secrets,
        )

    async def upload(self, content: bytes, mime_type: str, filename: str) -> str | Refused | Unanswered:
        """Hand over a file; Meta keeps it for 30 days."""
        return await self._graph.upload(self._access.address, self._access.token, content, mime_type, filename)

    async def list_templates(self) -> TemplateList | Refused | Unanswered:
        """Ask Meta for the business account's templates, page by page."""
        if self._access.owner is None:
            return Unanswered("The business account's id is not known.", certain_not_sent=True)
        return await templates.list_templates(self._graph, self._access.owner, self._access.token)

    async def locate(self, media_id: str) -> Located:
        """Ask for a file's address, which is good for some minutes. Raises MediaError."""
        return await self._media.locate(media_id)

    def read(self, located: Located) -> AsyncIterator[bytes]:
        """Read a file in pieces. Raises MediaError."""
        return self._media.read(located)


def read_mark(channel_message_id: str, *, typing: bool) -> dict[str, Any]:
    """Build the request body: Meta knows no typing indicator without a read mark."""
    body: dict[str, Any] = {"messaging_product": "whatsapp", "status": "read", "message_id": channel_message_id}
    return {**body, "typing_indicator": {"type": "text"}} if typing else body
