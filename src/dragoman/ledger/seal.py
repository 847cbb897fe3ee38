"""Seals a session's audit events in a hash chain.

``seal(n) = SHA-256(seal(n-1) || canonical(n))``; the seal before the first event is 32 zero bytes. ``canonical`` is
UTF-8 JSON with sorted keys, no spaces and no escapes beyond JSON's own, over exactly the members of
:func:`canonical`. Times are RFC 3339 in UTC with six decimals and ``Z``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

GENESIS = bytes(32)

_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
# Types and actors are few, and come again with every event.
_name = lru_cache(maxsize=1024)(_json)


def timestamp(at: datetime) -> str:
    """Write RFC 3339 in UTC with microseconds: one spelling for one instant."""
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")[:-6] + "Z"


def canonical(
    *,
    session_id: UUID,
    position: int,
    at: datetime,
    type: str,  # noqa: A002 - the member's name on record
    schema_version: int,
    actor_kind: str,
    actor_name: str,
    dispatch_id: UUID | None,
    trace_id: str | None,
    payload: Mapping[str, Any],
) -> bytes:
    """Write the bytes of one event that its seal covers."""
    # The members by name, in their order; each event is written and read through here, so that the generic way is
    # gone for what is more than a name, a number or null.
    dispatch = "null" if dispatch_id is None else f'"{dispatch_id}"'
    trace = "null" if trace_id is None else _json(trace_id)
    return (
        f'{{"actor_kind":{_name(actor_kind)},"actor_name":{_name(actor_name)},"at":"{timestamp(at)}",'
        f'"dispatch_id":{dispatch},"payload":{_json(payload)},"position":{position},'
        f'"schema_version":{schema_version},"session_id":"{session_id}","trace_id":{trace},"type":{_name(type)}}}'
    ).encode()


def seal(previous: bytes, event: bytes) -> bytes:
    """The seal of *event* (its canonical bytes) that follows *previous*."""
    return hashlib.sha256(previous + event).digest()
