"""Says who holds a login session or a token, and how their secrets are stored.

Only the SHA-256 digest is: a secret is 32 random bytes, so that a fast hash is enough.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

TOUCH_INTERVAL = timedelta(minutes=1)
"""How stale ``last_seen_at`` and ``last_used_at`` may be: a write per request would be a write per page part."""

SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a valid login session or token; ``user_id`` and ``csrf_token`` are None for a token.

    ``actor_id`` is the user's or the token's.

    ``retention_days`` is the tenant's own window, None where it goes by the installation's; ``currency`` what
    it counts costs in.
    """

    tenant_id: UUID
    tenant_name: str
    actor_id: UUID
    user_id: UUID | None
    name: str
    role: str
    permissions: frozenset[str]
    csrf_token: str | None
    retention_days: int | None
    currency: str


def digest_of(secret: str) -> bytes:
    """Give the digest under which a secret is stored."""
    return hashlib.sha256(secret.encode()).digest()
