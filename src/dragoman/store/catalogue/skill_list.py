"""Lists the registry: each skill in its current version, by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.dispatch.verification import BUILT_IN
from dragoman.domain.nouns import Level, SkillSpec
from dragoman.store.database import Connection, Record

SkillStatus = Literal["in_use", "retired"]
SkillKind = Literal["python", "http", "built_in"]

_BUILT_IN = frozenset(spec.name for spec in BUILT_IN)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillFilters:
    """What the list is narrowed to; all that are given must fit. ``words`` are a part of a name, label or owner."""

    status: SkillStatus | None = None
    kind: SkillKind | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSkill:
    """A skill as the list has it; ``registered_at`` is when its current version came."""

    name: str
    label: str
    version: str
    owner: str
    minimum_level: Level
    kind: SkillKind
    phrase_count: int
    registered_at: datetime
    retired_at: datetime | None


_KIND = "CASE WHEN jsonb_typeof(spec->'http') = 'object' THEN 'http' WHEN name = ANY ($7::text[]) THEN 'built_in' " \
        "ELSE 'python' END"  # fmt: skip


def kind_of(spec: SkillSpec) -> SkillKind:
    """Say who provides the code of *spec*: a server, the dispatcher itself, or an installed package."""
    if spec.http is not None:
        return "http"
    return "built_in" if spec.name in _BUILT_IN else "python"


async def page(
    connection: Connection, tenant_id: UUID, filters: SkillFilters, *, after: str = "", limit: int
) -> tuple[list[ListedSkill], bool]:
    """Up to *limit* skills whose names come after *after*, and whether more follow."""
    rows = await connection.fetch(
        "SELECT name, version, coalesce(spec->>'label', name) AS label, coalesce(spec->>'owner', '') AS owner, "
        "coalesce(spec->>'minimum_level', 'UNVERIFIED') AS minimum_level, "
        f"{_KIND} AS kind, jsonb_array_length(coalesce(spec->'phrases', '[]')) AS phrase_count, registered_at, "
        "retired_at FROM skill WHERE tenant_id = $1 AND current AND name > $2 "
        "AND ($3::text IS NULL OR (retired_at IS NOT NULL) = ($3 = 'retired')) "
        f"AND ($4::text IS NULL OR {_KIND} = $4) "
        "AND ($5::text IS NULL OR strpos(lower(concat_ws(' ', name, spec->>'label', spec->>'owner')), lower($5)) > 0) "
        "ORDER BY name LIMIT $6",
        tenant_id,
        after,
        filters.status,
        filters.kind,
        filters.words,
        limit + 1,
        sorted(_BUILT_IN),
    )
    return [_listed(row) for row in rows[:limit]], len(rows) > limit


async def counts(connection: Connection, tenant_id: UUID) -> dict[SkillStatus, int]:
    """How many skills are in use, and how many are retired."""
    row = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE retired_at IS NULL) AS in_use, count(retired_at) AS retired FROM skill "
        "WHERE tenant_id = $1 AND current",
        tenant_id,
    )
    return {"in_use": row["in_use"], "retired": row["retired"]} if row is not None else {"in_use": 0, "retired": 0}


def _listed(row: Record) -> ListedSkill:
    return ListedSkill(**{**dict(row), "minimum_level": Level[row["minimum_level"]]})
