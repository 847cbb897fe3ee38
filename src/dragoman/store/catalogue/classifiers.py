"""Keeps which versions of classifiers there were, with their scores: what they were taught, and when each went live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierVersion:
    """Is a version of a classifier. ``scores`` is JSON, None where it was not measured.

    ``live_at`` is when it went live the last time, None for one that never did; ``live_by`` is empty where the registry
    changed under it.
    """

    classifier: str
    version: str
    trained_at: datetime
    phrases: int
    scores: Mapping[str, Any] | None = None
    live_at: datetime | None = None
    live_by: str = ""


_COLUMNS = "classifier, version, trained_at, phrases, scores, live_at, live_by"


async def list_all(connection: Connection, tenant_id: UUID, *, limit: int = 20) -> list[ClassifierVersion]:
    """Read the latest versions, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM classifier_version WHERE tenant_id = $1 "
        "ORDER BY greatest(trained_at, live_at) DESC, version LIMIT $2",
        tenant_id,
        limit,
    )
    return [ClassifierVersion(**row) for row in rows]


async def get(connection: Connection, tenant_id: UUID, classifier: str, version: str) -> ClassifierVersion | None:
    """Read one version; None for one that is not registered."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM classifier_version WHERE tenant_id = $1 AND classifier = $2 AND version = $3",
        tenant_id,
        classifier,
        version,
    )
    return None if row is None else ClassifierVersion(**row)


async def latest_live(connection: Connection, tenant_id: UUID, classifier: str) -> ClassifierVersion | None:
    """Read the version of *classifier* that went live last, as far as that was noted; None where there is none."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM classifier_version WHERE tenant_id = $1 AND classifier = $2 AND live_at IS NOT NULL "
        "ORDER BY live_at DESC, version LIMIT 1",
        tenant_id,
        classifier,
    )
    return None if row is None else ClassifierVersion(**row)


async def register(connection: Connection, tenant_id: UUID, found: ClassifierVersion) -> None:
    """Keep a version; scores and the time at which it went live are kept where they are known already."""
    await connection.execute(
        "INSERT INTO classifier_version AS c (tenant_id, classifier, version, trained_at, phrases, scores, live_at, "
        "live_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, classifier, version) DO UPDATE SET "
        "scores = coalesce(excluded.scores, c.scores), live_at = coalesce(excluded.live_at, c.live_at), "
        "live_by = CASE WHEN excluded.live_at IS NULL THEN c.live_by ELSE excluded.live_by END",
        tenant_id,
        found.classifier,
        found.version,
        found.trained_at,
        found.phrases,
        found.scores,
        found.live_at,
        found.live_by,
    )
