"""Shows how a skill was used in some time, the same wherever the API tells of it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field

from dragoman.store.insights.usage import SkillUsage


class SkillFigures(BaseModel):
    """Counts the dispatches of a skill: calls with all their attempts. Durations are of those that ended."""

    dispatches: int
    succeeded: int
    failed: int = Field(description="After the last attempt")
    lost: int = Field(description="The worker died or stalled, or the session ended meanwhile")
    running: int
    average_ms: float | None = Field(description="Total of all attempts, without the pauses between them")
    p50_ms: float | None = Field(description="Accurate to 2.5 %")
    p95_ms: float | None = Field(description="Accurate to 2.5 %")
    cost_micros: int

    @classmethod
    def of(cls, usage: SkillUsage, **more: Any) -> Self:
        """Show *usage*; *more* are the fields that a class of these figures adds."""
        return cls(
            dispatches=usage.dispatches, succeeded=usage.succeeded, failed=usage.failed, lost=usage.lost,
            running=usage.running, average_ms=usage.average_ms, p50_ms=usage.p50_ms, p95_ms=usage.p95_ms,
            cost_micros=usage.cost_micros, **more,
        )  # fmt: skip
