"""An entry of the outbox has one of these statuses, and only these transitions lead between them (product, 5.2)."""

from __future__ import annotations

from enum import StrEnum

from dragoman.domain.errors import DragomanError


class OutboxStatus(StrEnum):
    """Where an outbound delivery stands. Travels over the API under its own name."""

    SCHEDULED = "SCHEDULED"
    """It is to be sent at a later time."""
    PENDING = "PENDING"
    """It is to be sent as soon as its turn comes."""
    RETRYING = "RETRYING"
    """An attempt failed, and another one follows; or it waits for its channel."""
    SENT = "SENT"
    """The server took it."""
    FAILED = "FAILED"
    """It will not be tried again by itself."""
    SKIPPED = "SKIPPED"
    """It was not to be sent, and that is no failure; the reason says why."""
    CANCELLED = "CANCELLED"
    """Somebody took it back before it was sent."""


OPEN = frozenset({OutboxStatus.SCHEDULED, OutboxStatus.PENDING, OutboxStatus.RETRYING})
"""What is still to be sent."""

_ENDS = (OutboxStatus.SENT, OutboxStatus.FAILED, OutboxStatus.SKIPPED, OutboxStatus.CANCELLED)

TRANSITIONS: frozenset[tuple[OutboxStatus, OutboxStatus]] = frozenset(
    {
        (OutboxStatus.SCHEDULED, OutboxStatus.PENDING),
        (OutboxStatus.SCHEDULED, OutboxStatus.SKIPPED),
        (OutboxStatus.SCHEDULED, OutboxStatus.CANCELLED),
        (OutboxStatus.PENDING, OutboxStatus.RETRYING),
        *((old, new) for old in (OutboxStatus.PENDING, OutboxStatus.RETRYING) for new in _ENDS),
        # The channel took it and gave it up later; a bounce came; or it may be tried again.
        (OutboxStatus.SENT, OutboxStatus.FAILED),
        (OutboxStatus.SENT, OutboxStatus.RETRYING),
        # An administrator has it tried again.
        (OutboxStatus.FAILED, OutboxStatus.RETRYING),
        # An attempt whose answer was never seen had reached the channel after all: a late status says so.
        (OutboxStatus.FAILED, OutboxStatus.SENT),
        (OutboxStatus.SKIPPED, OutboxStatus.SENT),
        (OutboxStatus.CANCELLED, OutboxStatus.SENT),
        # And the channel may still give that up.
        (OutboxStatus.SKIPPED, OutboxStatus.FAILED),
        (OutboxStatus.CANCELLED, OutboxStatus.FAILED),
    }
)


class EntryAction(StrEnum):
    """What an administrator may do with an entry."""

    RETRY = "retry"
    RESEND = "resend"
    CANCEL = "cancel"


ALLOWED: dict[EntryAction, frozenset[OutboxStatus]] = {
    EntryAction.RETRY: frozenset({OutboxStatus.FAILED}),
    EntryAction.RESEND: frozenset({OutboxStatus.SENT}),
    EntryAction.CANCEL: OPEN,
}
"""In which statuses an entry allows each action."""


class IllegalOutboxTransitionError(DragomanError):
    """An entry of the outbox was to go from one status to another that does not follow it."""

    def __init__(self, old: OutboxStatus, new: OutboxStatus) -> None:
        super().__init__(f"an outbox entry does not go from {old} to {new}")
        self.old = old
        self.new = new


def check_outbox_transition(old: OutboxStatus, new: OutboxStatus) -> None:
    """Raise :class:`IllegalOutboxTransitionError` unless *new* may follow *old*; staying is no transition.

    The database holds the same table as a CHECK, by the status that each change of it leaves behind.
    """
    if old is not new and (old, new) not in TRANSITIONS:
        raise IllegalOutboxTransitionError(old, new)
