"""Keeps what happened to each skill: registered, retired, restored; when, by whom and why. Appended, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.domain.as_json import spec_from_json, spec_to_json
from dragoman.domain.nouns import SkillSpec
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection, Record

ChangeKind = Literal["registered", "retired", "restored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillChange:
    """One thing that happened to a skill; ``number`` counts from 1 for each skill, ``spec`` is what was registered.

    The name of ``by`` is empty where nobody wrote down who it was.
    """

    skill: str
    number: int
    at: datetime
    kind: ChangeKind
    version: str
    spec: SkillSpec | None
    by: Administrator
    reason: str


async def add(
    connection: Connection,
    tenant_id: UUID,
    skill: str,
    kind: ChangeKind,
    *,
    version: str,
    by: Administrator,
    now: datetime,
    reason: str = "",
    spec: SkillSpec | None = None,
) -> None:
    """Append to the history of *skill*. The caller holds the tenant's lock, so that numbers follow each other."""
    await connection.execute(
        "INSERT INTO skill_change (tenant_id, skill, number, at, kind, version, spec, actor_id, actor_name, via, "
        "reason) SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10 "
        "FROM skill_change WHERE tenant_id = $1 AND skill = $2",
        tenant_id,
        skill,
        now,
        kind,
        version,
        spec and spec_to_json(spec),
        by.user_id,
        by.name,
        by.via,
        reason,
    )


async def list_all(connection: Connection, tenant_id: UUID, skill: str) -> list[SkillChange]:
    """Read the whole history of *skill*, oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM skill_change WHERE tenant_id = $1 AND skill = $2 ORDER BY number", tenant_id, skill
    )
    return [_change(row) for row in rows]


async def retirements(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> dict[str, SkillChange]:
    """Find the latest retirement of each of *names* that was ever retired."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (skill) * FROM skill_change WHERE tenant_id = $1 AND skill = ANY ($2::text[]) "
        "AND kind = 'retired' ORDER BY skill, number DESC",
        tenant_id,
        list(names),
    )
    return {row["skill"]: _change(row) for row in rows}


def _change(row: Record) -> SkillChange:
    return SkillChange(
        skill=row["skill"],
        number=row["number"],
        at=row["at"],
        kind=row["kind"],
        version=row["version"],
        spec=None if row["spec"] is None else spec_from_json(row["spec"]),
        by=Administrator(row["actor_name"], row["actor_id"], via=row["via"]),
        reason=row["reason"],
    )
