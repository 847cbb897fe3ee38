"""Limits how many numbers a reader looks for who may see none: otherwise they could find one by trial."""

from __future__ import annotations

from uuid import UUID

from dragoman.runtime import Runtime
from dragoman.store.accounts.look_ups import count_look_up
from dragoman.store.conversation_list.conversations import Filters
from dragoman.web.auth import Principal

LEAST_DIGITS = 3
"""A filter's text with so many digits may be a number, or a part of one that was put there."""


async def check_look_ups(runtime: Runtime, identity: Principal, filters: Filters) -> None:
    """Count the look-up that *filters* make. Raises TooManyLookUpsError."""
    await _count(runtime, identity, {} if identity.visibility.unmasked else _sought(filters))


async def check_recipient_look_up(runtime: Runtime, identity: Principal, recipient: str | None) -> None:
    """Count that a recipient's number or address is looked for. Raises TooManyLookUpsError."""
    await _count(runtime, identity, {"recipient": recipient} if recipient and not identity.visibility.unmasked else {})


async def _count(runtime: Runtime, identity: Principal, sought: dict[str, str]) -> None:
    if sought:
        # On its own: it counts, whatever becomes of the request.
        async with runtime.database.tenant(identity.tenant_id) as connection:
            await count_look_up(connection, identity.tenant_id, identity.actor_id, sought, now=runtime.clock.now())


def _sought(filters: Filters) -> dict[str, str]:
    """What is looked for that may be a number; what is said in texts is not looked for by digits at all."""
    sought = {
        field.name: [text for text in (value if field.several else [value]) if isinstance(text, str)]
        for field, value in filters.given()
        if field.name != "q"
    }
    return {name: " ".join(texts) for name, texts in sought.items() if any(_may_be_number(text) for text in texts)}


def _may_be_number(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return sum(c.isdigit() for c in text) >= LEAST_DIGITS
    return False
