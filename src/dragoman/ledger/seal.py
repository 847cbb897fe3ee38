"""The hash chain over a session's audit events.

``seal(n) = SHA-256(seal(n-1) || canonical(n))``; the seal before the first event is 32 zero bytes. ``canonical`` is
UTF-8 JSON with sorted keys, no spaces and no escapes beyond JSON's own, over exactly the members of
:func:`canonical`. Times are RFC 3339 in UTC with six decimals and ``Z``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

GENESIS = bytes(32)


def timestamp(at: datetime) -> str:
    """RFC 3339, UTC, microseconds: one spelling for one instant."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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
    """The bytes of one event that its seal covers."""
    return json.dumps(
        {
            "session_id": str(session_id),
            "position": position,
            "at": timestamp(at),
            "type": type,
            "schema_version": schema_version,
            "actor_kind": actor_kind,
            "actor_name": actor_name,
            "dispatch_id": None if dispatch_id is None else str(dispatch_id),
            "trace_id": trace_id,
            "payload": payload,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def seal(previous: bytes, event: bytes) -> bytes:
    """The seal of *event* (its canonical bytes) that follows *previous*."""
    return hashlib.sha256(previous + event).digest()
