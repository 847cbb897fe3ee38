"""Keeps the templates of mails, every version of each: what was sent can be read as it was written then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateVersion:
    """One version of a mail template, counted from 1; ``source`` is the JSON form of the rendering's EmailTemplate.

    ``attachments`` go with each mail: ``filename``, ``mime_type``, ``size`` (bytes), and ``sha256`` (hex), by which
    the media store has the file.
    """

    name: str
    version: int
    label: str
    source: Mapping[str, Any]
    attachments: Sequence[Mapping[str, Any]]
    created_at: datetime
    created_by: str
    is_current: bool


_COLUMNS = "name, version, label, source, attachments, created_at, created_by, is_current"


async def list_all(connection: Connection, tenant_id: UUID) -> list[TemplateVersion]:
    """List the current version of each template, by name."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM email_template WHERE tenant_id = $1 AND is_current ORDER BY name", tenant_id
    )
    return [TemplateVersion(**dict(row)) for row in rows]


async def get(
    connection: Connection, tenant_id: UUID, name: str, *, version: int | None = None
) -> TemplateVersion | None:
    """Read a template, by default its current version; None where there is none."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM email_template WHERE tenant_id = $1 AND name = $2 "
        "AND (version = $3 OR ($3::int IS NULL AND is_current))",
        tenant_id,
        name,
        version,
    )
    return None if row is None else TemplateVersion(**dict(row))


async def versions(connection: Connection, tenant_id: UUID, name: str) -> list[TemplateVersion]:
    """List every version of a template, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM email_template WHERE tenant_id = $1 AND name = $2 ORDER BY version DESC",
        tenant_id,
        name,
    )
    return [TemplateVersion(**dict(row)) for row in rows]


async def save_version(
    connection: Connection,
    tenant_id: UUID,
    name: str,
    *,
    label: str,
    source: Mapping[str, Any],
    attachments: Sequence[Mapping[str, Any]],
    now: datetime,
    by_whom: str,
) -> int:
    """Keep the template as it is now; the number of its newest version, which is a new one if anything has changed."""
    # One after the other: two who save at once make two versions.
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('dragoman.mail_templates'), hashtext($1))", f"{tenant_id}:{name}"
    )
    current = await get(connection, tenant_id, name)
    if current is not None and (current.label, current.source, list(current.attachments)) == (
        label, dict(source), list(attachments)
    ):  # fmt: skip
        return current.version
    await connection.execute(
        "UPDATE email_template SET is_current = false WHERE tenant_id = $1 AND name = $2 AND is_current",
        tenant_id,
        name,
    )
    version: int = await connection.fetchval(
        "INSERT INTO email_template (tenant_id, name, version, label, source, attachments, created_at, created_by, "
        "is_current) SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, true FROM email_template "
        "WHERE tenant_id = $1 AND name = $2 RETURNING version",
        tenant_id,
        name,
        label,
        source,
        list(attachments),
        now,
        by_whom,
    )
    return version


async def retire(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Take the template out of use; its versions stay. False where none was in use."""
    status = await connection.execute(
        "UPDATE email_template SET is_current = false WHERE tenant_id = $1 AND name = $2 AND is_current",
        tenant_id,
        name,
    )
    return str(status) != "UPDATE 0"
