"""Keeps message templates as the channel last listed them, for each business account of a tenant.

What the channel says of a template by webhook counts from that moment on: an answer to an earlier question does not
take it back. A template that is not listed any more stays, marked as gone, for who wants to know what was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.message_template import DefinedButton, MessageTemplate
from dragoman.sql import bulk_insert
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTemplate:
    """A template, and when the channel was asked that answered with it; ``gone_at`` where it is listed no more."""

    waba_id: str
    template: MessageTemplate
    synchronised_at: datetime
    gone_at: datetime | None

    @property
    def can_be_sent(self) -> bool:
        """Whether the channel takes it now and all of it can be filled in."""
        return self.gone_at is None and self.template.can_be_sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronisation:
    """How it went to ask for the templates of a business account: ``failure`` is why the latest attempt failed."""

    waba_id: str
    due_at: datetime
    tried_at: datetime | None
    succeeded_at: datetime | None
    skipped: int
    failure: str


_COLUMNS = {
    "name": "text",
    "language": "text",
    "channel_template_id": "text",
    "category": "text",
    "status": "text",
    "quality": "text",
    "is_named": "boolean",
    "header_format": "text",
    "header": "text",
    "body": "text",
    "footer": "text",
    "buttons": "jsonb",
    "unsupported": "jsonb",
}
_ONCE = {"waba_id": "text", "synchronised_at": "timestamptz"}
_HEARD = ("status", "quality", "category")
"""What webhooks tell."""


def _merged(column: str) -> str:
    if column in _HEARD:
        return f"{column} = CASE WHEN t.heard_at >= excluded.synchronised_at THEN t.{column} ELSE excluded.{column} END"
    return f"{column} = excluded.{column}"


_SAVE = bulk_insert(
    "message_template AS t",
    _COLUMNS,
    once=_ONCE,
    order="name, language",
    conflict=(
        "(tenant_id, waba_id, name, language) DO UPDATE SET "
        + ", ".join(_merged(column) for column in _COLUMNS if column not in ("name", "language"))
        + ", synchronised_at = excluded.synchronised_at, gone_at = NULL "
        "WHERE t.synchronised_at <= excluded.synchronised_at"
    ),
)


def _row(template: MessageTemplate) -> tuple[object, ...]:
    values: dict[str, Any] = {name: getattr(template, name) for name in _COLUMNS}
    values["buttons"] = [asdict(button) for button in template.buttons]
    values["unsupported"] = list(template.unsupported)
    return tuple(values.values())


def _kept(row: Any) -> KeptTemplate:
    values = {name: row[name] for name in _COLUMNS}
    values["buttons"] = tuple(DefinedButton(**button) for button in row["buttons"])
    values["unsupported"] = tuple(row["unsupported"])
    return KeptTemplate(
        waba_id=row["waba_id"],
        template=MessageTemplate(**values),
        synchronised_at=row["synchronised_at"],
        gone_at=row["gone_at"],
    )


async def list_all(
    connection: Connection, tenant_id: UUID, waba_ids: Collection[str], *, sendable: bool = False
) -> list[KeptTemplate]:
    """The templates of those business accounts, by name and language; with *sendable* those that can be sent now."""
    rows = await connection.fetch(
        f"SELECT waba_id, {', '.join(_COLUMNS)}, synchronised_at, gone_at FROM message_template "
        "WHERE tenant_id = $1 AND waba_id = ANY($2::text[]) ORDER BY waba_id, gone_at IS NOT NULL, name, language",
        tenant_id,
        list(waba_ids),
    )
    found = [_kept(row) for row in rows]
    return [kept for kept in found if kept.can_be_sent] if sendable else found


async def count(connection: Connection, tenant_id: UUID) -> dict[str, int]:
    """Count the templates that the channel lists, by business account."""
    rows = await connection.fetch(
        "SELECT waba_id, count(*) AS found FROM message_template WHERE tenant_id = $1 AND gone_at IS NULL GROUP BY 1",
        tenant_id,
    )
    return {row["waba_id"]: row["found"] for row in rows}


async def get(connection: Connection, tenant_id: UUID, waba_id: str, name: str, language: str) -> KeptTemplate | None:
    """Find one template of a business account."""
    row = await connection.fetchrow(
        f"SELECT waba_id, {', '.join(_COLUMNS)}, synchronised_at, gone_at FROM message_template "
        "WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4",
        tenant_id,
        waba_id,
        name,
        language,
    )
    return _kept(row) if row is not None else None


async def save_all(
    connection: Connection, tenant_id: UUID, waba_id: str, templates: Sequence[MessageTemplate], *, asked_at: datetime
) -> None:
    """Keep what the channel answered to a question of *asked_at*; a later answer that was kept before stays."""
    await _SAVE.execute(connection, [_row(template) for template in templates], tenant_id, waba_id, asked_at)


async def mark_gone(
    connection: Connection,
    tenant_id: UUID,
    waba_id: str,
    *,
    listed: Collection[tuple[str, str]],
    asked_at: datetime,
) -> int:
    """Mark what is not *listed* (name and language) in the answer to a question of *asked_at*; returns how many."""
    names, languages = [name for name, _ in listed], [language for _, language in listed]
    status = await connection.execute(
        "UPDATE message_template SET gone_at = $3 WHERE tenant_id = $1 AND waba_id = $2 AND gone_at IS NULL "
        "AND synchronised_at <= $3 "
        "AND (name, language) NOT IN (SELECT * FROM unnest($4::text[], $5::text[]))",
        tenant_id,
        waba_id,
        asked_at,
        names,
        languages,
    )
    return int(status.rpartition(" ")[2])


async def record_change(
    connection: Connection,
    tenant_id: UUID,
    waba_id: str,
    name: str,
    language: str,
    *,
    status: str | None,
    quality: str | None,
    category: str | None,
    now: datetime,
) -> bool:
    """Note what the channel says of a template; False where it is not known here."""
    done = await connection.execute(
        "UPDATE message_template SET status = coalesce($5, status), quality = coalesce($6, quality), "
        "category = coalesce($7, category), heard_at = $8 "
        "WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4",
        tenant_id,
        waba_id,
        name,
        language,
        status,
        quality,
        category,
        now,
    )
    return done != "UPDATE 0"


async def lock(connection: Connection, tenant_id: UUID, waba_id: str) -> None:
    """Let nobody else change a business account's templates until the transaction ends."""
    await connection.execute(
        "SELECT FROM template_synchronisation WHERE tenant_id = $1 AND waba_id = $2 FOR UPDATE", tenant_id, waba_id
    )


async def want_synchronisation(connection: Connection, tenant_id: UUID, waba_id: str, *, now: datetime) -> None:
    """Have a business account's templates asked for soon; nothing for one that none of the tenant's numbers has."""
    await connection.execute(
        "INSERT INTO template_synchronisation AS s (tenant_id, waba_id, due_at) "
        "SELECT DISTINCT $1::uuid, waba_id, $3::timestamptz FROM channel_account "
        "WHERE tenant_id = $1 AND waba_id = $2 ON CONFLICT (tenant_id, waba_id) DO UPDATE "
        "SET due_at = least(s.due_at, excluded.due_at)",
        tenant_id,
        waba_id,
        now,
    )


async def claim_due(connection: Connection, tenant_id: UUID, *, now: datetime, again_at: datetime) -> list[str]:
    """The business accounts whose templates are to be asked for; nobody else gets them until *again_at*."""
    rows = await connection.fetch(
        "INSERT INTO template_synchronisation AS s (tenant_id, waba_id, due_at) "
        "SELECT DISTINCT a.tenant_id, a.waba_id, $3::timestamptz FROM channel_account a WHERE a.tenant_id = $1 "
        "AND a.channel = 'whatsapp' AND a.disabled_at IS NULL AND a.waba_id IS NOT NULL "
        # Most of the time nothing is due: then no row is locked. In their order, as whoever notes changes locks them.
        "AND NOT EXISTS (SELECT FROM template_synchronisation o WHERE o.tenant_id = $1 AND o.waba_id = a.waba_id "
        "AND o.due_at > $2) ORDER BY a.waba_id "
        "ON CONFLICT (tenant_id, waba_id) DO UPDATE SET due_at = excluded.due_at WHERE s.due_at <= $2 "
        "RETURNING waba_id",
        tenant_id,
        now,
        again_at,
    )
    return [row["waba_id"] for row in rows]


async def record_synchronisation(
    connection: Connection,
    tenant_id: UUID,
    waba_id: str,
    *,
    asked_at: datetime,
    now: datetime,
    next_at: datetime,
    skipped: int = 0,
    failure: str = "",
) -> None:
    """Note how it went; what became due after the question was asked stays due."""
    await connection.execute(
        "INSERT INTO template_synchronisation AS s (tenant_id, waba_id, due_at, tried_at, succeeded_at, skipped, "
        "failure) VALUES ($1, $2, $4, $3, CASE WHEN $6 = '' THEN $3::timestamptz END, $5, $6) "
        "ON CONFLICT (tenant_id, waba_id) DO UPDATE SET "
        # A claim's date lies ahead, a notice that came since the question lies between.
        "due_at = CASE WHEN s.due_at > $3 AND s.due_at <= $7 THEN s.due_at ELSE excluded.due_at END, "
        "tried_at = excluded.tried_at, succeeded_at = coalesce(excluded.succeeded_at, s.succeeded_at), "
        "skipped = CASE WHEN $6 = '' THEN excluded.skipped ELSE s.skipped END, failure = excluded.failure",
        tenant_id,
        waba_id,
        asked_at,
        next_at,
        skipped,
        failure,
        now,
    )


async def synchronisations(connection: Connection, tenant_id: UUID) -> dict[str, Synchronisation]:
    """How it went last, by business account."""
    rows = await connection.fetch(
        "SELECT waba_id, due_at, tried_at, succeeded_at, skipped, failure FROM template_synchronisation "
        "WHERE tenant_id = $1",
        tenant_id,
    )
    return {row["waba_id"]: Synchronisation(**dict(row)) for row in rows}
