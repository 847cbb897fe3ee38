"""Releases or ends several sessions at once: each is done by itself, and each tells what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import structlog

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.handoff.end_handoff import REASON_NEEDED, administrator, end_session, release_session
from dragoman.store.accounts.actions import Administrator

log = structlog.get_logger()

Action = Literal["release", "end"]

FAILED = "It failed on our side. Try again; the server's log says why."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """What became of one session: ``refused`` says why nothing was done, and is empty where it was."""

    session_id: UUID
    refused: str = ""


async def act_on_sessions(
    runtime: Runtime, tenant_id: UUID, session_ids: Sequence[UUID], by: Administrator, action: Action, *, reason: str
) -> list[SessionResult]:
    """Release or end each of the sessions, in a transaction of its own. Raises ChangeRefusedError without a reason."""
    if not reason.strip():
        raise ChangeRefusedError(REASON_NEEDED)
    return [
        await _act(runtime, tenant_id, session_id, by, action, reason.strip())
        for session_id in dict.fromkeys(session_ids)
    ]


async def _act(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, by: Administrator, action: Action, reason: str
) -> SessionResult:
    do = release_session if action == "release" else end_session
    try:
        await do(runtime, tenant_id, session_id, administrator(by.name), reason=reason, recorded=by)
    except (NotFoundError, ChangeRefusedError) as error:
        return SessionResult(session_id=session_id, refused=str(error))
    except Exception as error:
        # The others are done all the same, and whoever asked is told of this one.
        log.exception("session not changed", action=action, session_id=session_id, error=error)
        return SessionResult(session_id=session_id, refused=FAILED)
    return SessionResult(session_id=session_id)
