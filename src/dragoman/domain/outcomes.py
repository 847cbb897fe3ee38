"""A dispatch has one of thirteen outcomes (product, section 3)."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a dispatch; a session shows that of its latest one."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    SKILL_ERROR = "SKILL_ERROR"
    SKILL_RETIRED = "SKILL_RETIRED"
    PARTIAL_FLOW_FAILURE = "PARTIAL_FLOW_FAILURE"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    HANDOFF = "HANDOFF"
    SESSION_BUSY = "SESSION_BUSY"
    DISPATCH_ORPHANED = "DISPATCH_ORPHANED"
    RATE_LIMITED = "RATE_LIMITED"
    TO_AGENT = "TO_AGENT"
    VERIFICATION_REQUIRED = "VERIFICATION_REQUIRED"
    NONE = "NONE"


FAILURES = frozenset(
    {
        Outcome.SKILL_ERROR,
        Outcome.SKILL_RETIRED,
        Outcome.PARTIAL_FLOW_FAILURE,
        Outcome.BUDGET_EXCEEDED,
        Outcome.DISPATCH_ORPHANED,
        Outcome.RATE_LIMITED,
    }
)
"""Outcomes that an administrator would call an error."""
