"""Read what skills did in a time: figures, those of the time before, stretches of it, and the registry's labels.

Transactions: the caller's, which only reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.usage_period import UsagePeriod
from dragoman.store.catalogue import skills
from dragoman.store.database import Connection
from dragoman.store.insights import counts, usage
from dragoman.store.insights.usage import DayFigures, SkillUsage, UsageFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSkill:
    """What a skill is called: its label, or its full name where it is in use no more."""

    name: str
    label: str
    is_retired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """Figures of a time and of the one before (None where the record does not go back so far).

    ``counted_at``: all that was on record then is in the figures; None where nothing was counted yet.
    """

    now: UsageFigures
    before: UsageFigures | None
    stretches: list[DayFigures]
    names: Mapping[str, NamedSkill]
    counted_at: datetime | None

    @property
    def by_use(self) -> list[SkillUsage]:
        """Every skill that was called, the most called first."""
        return sorted(self.now.skills.values(), key=lambda one: (-one.dispatches, one.skill))


async def read_insights(connection: Connection, tenant_id: UUID, period: UsagePeriod) -> Insights:
    """Read the figures of *period*."""
    now = await usage.figures(connection, tenant_id, period.since, period.until)
    before = None if period.before is None else await usage.figures(connection, tenant_id, *period.before)
    known = await skills.labels(connection, tenant_id)
    return Insights(
        now=now,
        before=before,
        stretches=await usage.by_stretch(connection, tenant_id, period.bounds),
        names={name: _named(name, known) for name in {*now.skills, *(before.skills if before else ())}},
        counted_at=await counts.counted_at(connection, tenant_id),
    )


def _named(name: str, known: Mapping[str, tuple[str, bool]]) -> NamedSkill:
    label, is_retired = known.get(name, (name, True))
    return NamedSkill(name=name, label=name if is_retired else label, is_retired=is_retired)
