"""A session has one of these states, and only these transitions lead between them (product, section 2)."""

from __future__ import annotations

from enum import StrEnum

from dragoman.domain.errors import IllegalTransitionError


class State(StrEnum):
    """Where a session stands. Travels over the API under its own name."""

    OPEN = "OPEN"
    ACTIVE = "ACTIVE"
    AWAITING_USER = "AWAITING_USER"
    PROCESSING = "PROCESSING"
    WITH_AGENT = "WITH_AGENT"
    RESOLVED = "RESOLVED"
    EXPIRED = "EXPIRED"


TERMINAL = frozenset({State.RESOLVED, State.EXPIRED})

TRANSITIONS: frozenset[tuple[State, State]] = frozenset(
    {
        (State.OPEN, State.ACTIVE),
        (State.ACTIVE, State.AWAITING_USER),
        (State.AWAITING_USER, State.ACTIVE),
        (State.ACTIVE, State.PROCESSING),
        (State.PROCESSING, State.ACTIVE),
        (State.ACTIVE, State.WITH_AGENT),
        (State.ACTIVE, State.RESOLVED),
        (State.WITH_AGENT, State.RESOLVED),
        (State.ACTIVE, State.EXPIRED),
        (State.AWAITING_USER, State.EXPIRED),
        # An administrator releases the session to the dispatcher.
        (State.WITH_AGENT, State.ACTIVE),
    }
)


def check_transition(old: State, new: State) -> None:
    """Raise :class:`IllegalTransitionError` unless *old* to *new* is one of :data:`TRANSITIONS`.

    The database holds the same table as a CHECK on ``session.state_path``, so that neither layer
    has to trust the other.
    """
    if (old, new) not in TRANSITIONS:
        raise IllegalTransitionError(old, new)
