"""Messages and events as the ledger reads them, for tests of how the pages show them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content
from dragoman.domain.nouns import ActorKind, MessageContext, Sender
from dragoman.ledger.read import Event, Message

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DISPATCH = UUID(int=77)


def message(number: int, content: Content, sender: Sender = Sender.CONTACT, **more: Any) -> Message:
    """The message of that number, so many minutes after the start; *more* overrides its fields.

    Its context's fields may stand among them.
    """
    fields: dict[str, Any] = {
        "ordinal": number,
        "message_id": UUID(int=number),
        "sender": sender,
        "sender_name": "",
        "content": content,
        "at": START + timedelta(minutes=number),
        "channel_at": None,
        "channel_message_id": f"w{number}",
        "dispatch_id": None,
        "delivery": None,
        "delivery_reason": "",
    }
    return Message(**with_context({**fields, **more}))


def with_context(given: dict[str, Any]) -> dict[str, Any]:
    """The same with the fields of a message's context in one value."""
    names = {field.name for field in dataclasses.fields(MessageContext)}
    context = MessageContext(**{name: value for name, value in given.items() if name in names})
    return {name: value for name, value in given.items() if name not in names} | {"context": context}


def event(position: int, type_: str, dispatch: UUID | None = DISPATCH, *, seconds: float = 0, **payload: Any) -> Event:
    """The event at that position, so many seconds after the start."""
    return Event(
        position=position,
        at=START + timedelta(seconds=seconds),
        type=type_,
        label=type_,
        schema_version=1,
        actor_kind=ActorKind.SYSTEM if dispatch is None else ActorKind.DISPATCHER,
        actor_name="",
        dispatch_id=dispatch,
        trace_id=None,
        payload=payload,
        seal="00",
    )
