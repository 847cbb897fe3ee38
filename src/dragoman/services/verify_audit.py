"""Verify the record of a tenant, or of one session.

Transactions: one, read only in effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from dragoman.ledger import verify
from dragoman.ledger.verify import Breach
from dragoman.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and what was found."""

    sessions: int
    events: int
    breaches: tuple[Breach, ...]


async def verify_audit(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Check every session of the tenant, or only *session_id*; *progress* hears how many are done."""
    sessions = events = 0
    breaches: list[Breach] = []
    async with runtime.database.tenant(tenant_id) as connection:
        if session_id is not None:
            ids = [session_id]
        else:
            ids = [found async for found in verify.session_ids(connection, tenant_id)]
        for found in ids:
            checked, breach = await verify.verify_session(connection, tenant_id, found)
            sessions, events = sessions + 1, events + checked
            if breach is not None:
                breaches.append(breach)
            progress(sessions)
    return Verdict(sessions=sessions, events=events, breaches=tuple(breaches))
