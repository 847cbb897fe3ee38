"""How a message's file is shown (picture, sound, film, download), and other values of messages, for people to read.

What decides is what the file's bytes are, not what its sender called it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from dragoman.domain.content import Media, Order
from dragoman.domain.media_types import EXTENSIONS, INLINE
from dragoman.ledger.read import Message
from dragoman.services.visibility import EVERYTHING, Visibility
from dragoman.store import media
from dragoman.store.database import Connection
from dragoman.store.media import MediaFile, State
from dragoman.translations import gettext as _
from dragoman.web.console.query import ADDRESS

WIDEST, HIGHEST = 280, 320
STICKER = 144

_UNPLAYABLE = frozenset({"audio/amr"})
"""What browsers have no decoder for."""

Shown = Literal["picture", "sound", "film", "download"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAttachment:
    """A file beside its message; ``address`` is where it is read, ``width`` and ``height`` are kept free for it."""

    state: State
    reason: str
    shown: Shown
    address: str
    kind: str
    size: int | None
    seconds: float | None
    width: int | None
    height: int | None


def of(content: Media, file: MediaFile, session_id: UUID, address: str = ADDRESS) -> MessageAttachment:
    """How to show *file*, which came with *content*."""
    shown = _shown(content, file.mime_type or "")
    width, height = _fitted(file, STICKER if content.media == "sticker" else WIDEST)
    return MessageAttachment(
        state=file.state,
        reason=file.reason,
        shown=shown,
        address=f"{address}/{session_id}/media/{file.message_id}",
        kind=EXTENSIONS.get(file.mime_type or "", "").removeprefix(".").upper() or _("File"),
        size=file.size,
        seconds=file.seconds,
        width=width,
        height=height,
    )


def _shown(content: Media, mime_type: str) -> Shown:
    # A picture that was sent as a document is shown as one, as WhatsApp does.
    if content.media == "document" or mime_type not in INLINE or mime_type in _UNPLAYABLE:
        return "download"
    kind = mime_type.partition("/")[0]
    if kind == "image":
        return "picture"
    # A container for film may hold sound alone.
    return "sound" if kind == "audio" or content.media in {"audio", "voice"} else "film"


def _fitted(file: MediaFile, widest: int) -> tuple[int | None, int | None]:
    if not file.width or not file.height:
        return None, None
    scale = min(widest / file.width, HIGHEST / file.height, 1.0 if widest == WIDEST else widest / file.width)
    return max(1, round(file.width * scale)), max(1, round(file.height * scale))


def total(order: Order) -> str:
    """What an order comes to; empty where prices are missing, or in several currencies."""
    currencies = {item.currency for item in order.items}
    try:
        each = [Decimal(item.price or "") * Decimal(item.quantity) for item in order.items]
        amount = sum(each, Decimal())
    except ArithmeticError:
        # No number, or one that grows beyond all that decimals can hold.
        return ""
    if len(currencies) != 1 or not amount.is_finite() or abs(amount) > Decimal(10) ** 12:
        return ""
    return f"{amount:.2f} {currencies.pop() or ''}".strip()


def plain(value: Any) -> str:
    """A value of a form, for people to read."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return ", ".join(map(plain, value))
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def map_address(latitude: float, longitude: float) -> str:
    """Where a place can be looked at; nothing is loaded from there unless it is followed."""
    place = f"{latitude:.5f}/{longitude:.5f}"
    return f"https://www.openstreetmap.org/?mlat={latitude:.5f}&mlon={longitude:.5f}#map=16/{place}"


async def load(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    messages: Sequence[Message],
    visibility: Visibility = EVERYTHING,
    *,
    address: str = ADDRESS,
) -> dict[UUID, MessageAttachment]:
    """Load the attachments of *messages* of one session as *visibility* sees them, each by its message's id.

    *address* is where the page is under which they are read.
    """
    carrying = {m.message_id: m.content for m in messages if isinstance(m.content, Media)}
    files = visibility.files(await media.of_messages(connection, tenant_id, carrying))
    return {message_id: of(carrying[message_id], file, session_id, address) for message_id, file in files.items()}
