"""Reads the registry for pages and programs: each skill with what leads to it, what it did, and what became of it.

Transactions: none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.domain.nouns import SkillSpec
from dragoman.domain.skill_differences import describe_differences
from dragoman.domain.skill_uses import SkillUse, find_uses
from dragoman.domain.usage import quarters_around
from dragoman.store.catalogue import menus, phrases, skill_history, skill_list, skills
from dragoman.store.catalogue.phrases import AddedPhrase
from dragoman.store.catalogue.skill_history import SkillChange
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.catalogue.skill_list import ListedSkill, SkillFilters
from dragoman.store.database import Connection
from dragoman.store.insights.usage import FailedInvocation, SkillUsage, recent_failures, usage_by_skill

DAY, WEEK = timedelta(hours=24), timedelta(days=7)
FAILURES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class UseSpan:
    """A time that calls are counted in, in whole quarters of an hour as the counts are; ``until`` is exclusive."""

    since: datetime
    until: datetime

    @classmethod
    def before(cls, now: datetime, length: timedelta, *, kept_since: datetime) -> UseSpan:
        """The time of that *length* before *now*, rounded outwards, as far as calls are kept."""
        return cls(*quarters_around(max(now - length, kept_since), now))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRow:
    """A skill in the list, with its last 24 hours, its latest failure and, where it is retired, its retirement."""

    listed: ListedSkill
    usage: SkillUsage
    last_failure: FailedInvocation | None
    retirement: SkillChange | None


@dataclass(frozen=True, slots=True)
class RegistryPage:
    """A part of the list; ``next_name`` is the name after which it goes on, None at its end."""

    items: list[RegistryRow]
    next_name: str | None
    span: UseSpan


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A change of a skill; ``differences`` say what a version has another way than the one registered before it."""

    change: SkillChange
    differences: tuple[str, ...] = ()
    is_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillDetail:
    """One skill with everything around it; the history is newest first."""

    spec: SkillSpec
    kind: skill_list.SkillKind
    history: list[HistoryEntry]
    uses: list[SkillUse]
    keys: tuple[SealedKey, ...]
    phrases: list[AddedPhrase]
    day: UseSpan
    last_day: SkillUsage
    week: UseSpan
    last_week: SkillUsage
    failures: list[FailedInvocation]

    @property
    def retirement(self) -> SkillChange | None:
        """When, by whom and why it was retired; None for one in use."""
        found = (entry.change for entry in self.history if entry.change.kind == "retired")
        return next(found, None) if self.spec.retired else None


async def list_skills(
    connection: Connection,
    tenant_id: UUID,
    filters: SkillFilters,
    *,
    now: datetime,
    kept_since: datetime,
    after: str = "",
    limit: int,
) -> RegistryPage:
    """Read up to *limit* skills whose names come after *after*; calls are kept since *kept_since*."""
    found, more = await skill_list.page(connection, tenant_id, filters, after=after, limit=limit)
    span = UseSpan.before(now, DAY, kept_since=kept_since)
    usage = await usage_by_skill(connection, tenant_id, span.since, span.until)
    retired = await skill_history.retirements(connection, tenant_id, [one.name for one in found if one.retired_at])
    failed = await recent_failures(connection, tenant_id, [one.name for one in found], limit=1)
    items = [
        RegistryRow(
            listed=one,
            usage=usage.get(one.name) or SkillUsage(skill=one.name),
            last_failure=next(iter(failed.get(one.name, ())), None),
            retirement=retired.get(one.name),
        )
        for one in found
    ]
    return RegistryPage(items, found[-1].name if more else None, span)


async def read_skill(
    connection: Connection, tenant_id: UUID, name: str, *, now: datetime, kept_since: datetime
) -> SkillDetail:
    """Read one skill whole; calls are kept since *kept_since*. Raises NotFoundError."""
    rules = await skills.dispatch_rules(connection, tenant_id)
    spec = rules.registry.get(name)
    if spec is None:
        raise NotFoundError(f"No skill {name} is in the registry.")
    changes = await skill_history.list_all(connection, tenant_id, name)
    known_menus = [menu for menu, _ in await menus.list_all(connection, tenant_id)]
    day, week = (UseSpan.before(now, length, kept_since=kept_since) for length in (DAY, WEEK))
    last_day = await usage_by_skill(connection, tenant_id, day.since, day.until)
    last_week = await usage_by_skill(connection, tenant_id, week.since, week.until)
    return SkillDetail(
        spec=spec,
        kind=skill_list.kind_of(spec),
        history=_told(changes)[::-1],
        uses=find_uses(name, rules.flows.values(), known_menus, rules.policy),
        keys=rules.skill_keys.get(name, ()),
        phrases=await phrases.list_all(connection, tenant_id, intent=name),
        day=day,
        last_day=last_day.get(name) or SkillUsage(skill=name),
        week=week,
        last_week=last_week.get(name) or SkillUsage(skill=name),
        failures=(await recent_failures(connection, tenant_id, [name], limit=FAILURES_SHOWN)).get(name, []),
    )


def _told(changes: list[SkillChange]) -> list[HistoryEntry]:
    entries: list[HistoryEntry] = []
    before: SkillSpec | None = None
    for change in changes:
        spec = change.spec
        differences = () if spec is None or before is None else tuple(describe_differences(before, spec))
        entries.append(HistoryEntry(change, differences, is_first=spec is not None and before is None))
        before = spec or before
    return entries
