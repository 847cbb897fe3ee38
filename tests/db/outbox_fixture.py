"""Entries of the outbox as its list shows them: written by SQL, since nothing here is sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from .tenant_fixture import TenantFixture

HTML = (
    "<!doctype html><html><head><title>Order</title></head><body><p>Your order <b>VF-1</b> is on its way.</p>"
    "</body></html>"
)


def composed(
    subject: str = "Your order is on its way",
    *,
    html: str | None = HTML,
    text: str = "Your order VF-1 is on its way.",
    **more: Any,
) -> dict[str, Any]:
    """A composed mail as its column has it."""
    return {
        "subject": subject, "text": text, "html": html, "attachments": [], "template": "order_shipped",
        "template_version": 1, **more,
    }  # fmt: skip


def template_content(name: str = "order_update", rendered: str = "Your order is here.") -> dict[str, Any]:
    """A WhatsApp template as content."""
    return {"kind": "template", "name": name, "language": "en", "rendered": rendered, "parameters": []}


async def add_entry(tenant: TenantFixture, **columns: Any) -> UUID:
    """Insert a mail that an automation sent, or whatever *columns* say; it stands in the list."""
    now = tenant.runtime.clock.now()
    entry_id: UUID = columns.pop("outbox_entry_id", None) or uuid4()
    row = {
        "outbox_entry_id": entry_id,
        "contact_id": None,
        "channel": "email",
        "recipient": "ada@example.com",
        "recipient_kind": "email",
        "content": {"kind": "text", "body": "Your order VF-1 is on its way."},
        "email": composed(),
        "subject": "Your order is on its way",
        "trigger_name": "order.shipped",
        "status": "SENT",
        "created_at": now,
        "due_at": columns.get("created_at", now),
        "sent_at": None,
        "attempts": 0,
        "listed": True,
        **columns,
    }
    if row["status"] == "SENT" and "sent_at" not in columns:
        row["sent_at"] = row["created_at"] + timedelta(seconds=2)
    await tenant.outbox(row.pop("session_id", None), row.pop("message_id", None), **row)
    return entry_id


async def add_attempt(tenant: TenantFixture, entry_id: UUID, number: int, result: str, **columns: Any) -> None:
    """Insert an attempt at the entry."""
    at: datetime = columns.pop("at", None) or tenant.runtime.clock.now()
    row = {
        "tenant_id": tenant.tenant_id,
        "outbox_entry_id": entry_id,
        "number": number,
        "at": at,
        "result": result,
        "duration_ms": 120.5,
        **columns,
    }
    await tenant._insert("outbox_attempt", row)


async def columns_of(tenant: TenantFixture, entry_id: UUID) -> dict[str, Any]:
    """The entry's row."""
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT * FROM outbox_entry WHERE tenant_id = $1 AND outbox_entry_id = $2", tenant.tenant_id, entry_id
        )
    assert row is not None
    return dict(row)
