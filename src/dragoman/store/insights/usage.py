"""What skills did in a stretch of time, and how their calls failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillUsage:
    """How often a skill was called, what became of the calls, and how long they took."""

    skill: str
    dispatches: int
    succeeded: int
    failed: int
    lost: int
    running: int
    average_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    cost_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedInvocation:
    """One call that failed after its last attempt, and where it stands on the timeline."""

    skill: str
    at: datetime
    session_id: UUID
    position: int
    dispatch_id: UUID | None
    attempts: int
    error_class: str
    message: str
    duration_ms: float | None


async def usage_by_skill(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime
) -> dict[str, SkillUsage]:
    """Count by skill."""
    del connection, tenant_id, since, until
    return {}


async def recent_failures(
    connection: Connection, tenant_id: UUID, skill: str, *, limit: int = 10
) -> list[FailedInvocation]:
    """List the latest failures of *skill*, newest first."""
    del connection, tenant_id, skill, limit
    return []
