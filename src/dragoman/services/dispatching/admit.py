"""What has to be found out before a message's dispatch: is it within its limits, and can it have its session?

No transaction of its own: it works in the one that loads the message, under the contact's lease, so that a message
is counted exactly when it is loaded, and once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.dispatch.expire import expire
from dragoman.dispatch.turn import Busy, Refusal
from dragoman.domain.nouns import Policy, Session
from dragoman.ledger import append
from dragoman.ledger.sessions import ThreadState
from dragoman.runtime import Runtime
from dragoman.store.database import Connection
from dragoman.store.receiving import limits, mailbox
from dragoman.store.receiving.mailbox import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class BusySpan:
    """One dispatch had the contact from *since* to *until*; what arrived meanwhile waited for it."""

    since: datetime
    until: datetime

    def waited(self, received_at: datetime) -> float:
        """For how many seconds a message that came then waited for that dispatch alone."""
        return (self.until - max(self.since, received_at)).total_seconds()


def longer(known: BusySpan | None, latest: BusySpan) -> BusySpan:
    """The longer of the two: a quick dispatch after a slow one does not make up for the wait."""
    return latest if known is None or latest.until - latest.since > known.until - known.since else known


async def within_limits(
    connection: Connection, tenant_id: UUID, messages: Sequence[Waiting], policy: Policy
) -> dict[UUID, Refusal]:
    """Count the messages against their rate limits, or find what was decided when they were counted; the refused."""
    refused = {
        waiting.message.message_id: _refusal_of(waiting.admission["refused"])
        for waiting in messages
        if waiting.admission and "refused" in waiting.admission
    }
    asking = [
        limits.Asking(
            message_id=waiting.message.message_id,
            contact_id=waiting.contact_id,
            channel_account_id=waiting.channel_account_id,
            received_at=waiting.message.received_at,
        )
        for waiting in messages
        if waiting.admission is None
    ]
    if not asking:
        return refused
    for message_id, full in (await limits.admit_all(connection, tenant_id, asking, policy.limits)).items():
        refusal = Refusal(limit=full.scope, allowed=full.allowed, window_seconds=full.seconds, notify=full.notify)
        await mailbox.mark_refused(connection, tenant_id, message_id, {"refused": _stored(refusal)})
        refused[message_id] = refusal
    return refused


def _stored(refusal: Refusal) -> dict[str, Any]:
    return {
        "limit": refusal.limit,
        "allowed": refusal.allowed,
        "window_seconds": refusal.window_seconds,
        "tell": refusal.notify,
    }


def _refusal_of(stored: Mapping[str, Any]) -> Refusal:
    return Refusal(
        limit=stored["limit"],
        allowed=stored["allowed"],
        window_seconds=stored["window_seconds"],
        notify=stored["tell"],
    )


def busy(
    runtime: Runtime,
    waiting: Waiting,
    policy: Policy,
    others: Sequence[ThreadState],
    *,
    session: Session | None,
    hold: BusySpan | None,
    late: list[append.TurnRecord],
) -> Busy | None:
    """Why the message cannot have its session, if it cannot; *others* are the contact's other threads.

    Of a contact's sessions in progress the one that began first has the contact; the others are busy until it ends.
    So there is always one that goes on. A session that should have expired by now is expired by what is added to
    *late*.
    """
    received_at = waiting.message.received_at
    for place in others:
        other, context = place.session, place.context
        if other is None or context is None:
            continue
        turn = expire(other, received_at, policy, runtime.source)
        if turn is not None:
            late.append(append.TurnRecord(turn=turn, context=context))
        elif session is None or (other.started_at, other.session_id) < (session.started_at, session.session_id):
            return Busy(
                reason=f"the contact has a conversation in progress on {context.channel} {context.channel_display}",
                other_session_id=other.session_id,
            )
    allowed = policy.limits.busy_wait_seconds
    waited = hold.waited(received_at) if hold else 0.0
    if 0 < allowed < waited:
        reason = f"waited {waited:.0f} s while an earlier message of the contact was handled; {allowed} s are allowed"
        return Busy(reason=reason)
    return None
