"""A tenant with people, tokens and session rows, for tests of what is read and who may read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from dragoman.domain.events import AuditEvent, SessionResolved
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.search_words import text_of, vector
from dragoman.ledger import append, seal
from dragoman.runtime import Runtime
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens, login_sessions, user_accounts
from dragoman.store.contacts import aliases
from dragoman.store.contacts.aliases import Alias
from dragoman.store.database import Connection

PASSWORD = "correct horse battery staple"


@dataclass
class AdvancingClock:
    """Stands still until it is moved."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.time

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)


@dataclass
class TenantFixture:
    """One tenant of the test's installation."""

    runtime: Runtime
    slug: str
    tenant_id: UUID = field(default_factory=uuid4)
    channel_account_id: UUID = field(default_factory=uuid4)

    @classmethod
    async def build(cls, runtime: Runtime, slug: str) -> TenantFixture:
        tenant = cls(runtime, slug)
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            now = runtime.clock.now()
            await tenants.create_tenant(connection, tenant.tenant_id, slug=slug, name=f"House {slug}", now=now)
            await connection.execute(
                "INSERT INTO channel_account (tenant_id, channel_account_id, channel, address, display, name, "
                "secrets, created_at) VALUES ($1, $2, 'whatsapp', $3, '+43 1 0000', 'Main', '', $4)",
                tenant.tenant_id,
                tenant.channel_account_id,
                uuid4().hex,
                now,
            )
        return tenant

    async def token(self, role: str, *, valid_for: timedelta = timedelta(days=1)) -> str:
        now = self.runtime.clock.now()
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return await api_tokens.create_token(
                connection,
                self.tenant_id,
                token_id=uuid4(),
                name=f"{role}'s script",
                role=role,
                now=now,
                expires_at=now + valid_for,
            )

    async def user(self, role: str) -> user_accounts.User:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return await user_accounts.create_user(
                connection,
                self.tenant_id,
                user_id=uuid4(),
                email=f"{role}@{self.slug}.example",
                name=role.title(),
                password=PASSWORD,
                role=role,
                now=self.runtime.clock.now(),
            )

    async def cookie(self, user: user_accounts.User) -> dict[str, str]:
        """The header of a browser in which *user* is logged in."""
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            ticket = await login_sessions.open_login_session(
                connection, self.tenant_id, user.user_id, now=self.runtime.clock.now()
            )
        return {"Cookie": f"dragoman_session={ticket.secret}"}

    async def session(self, **columns: Any) -> UUID:
        """Insert a session row with its contact and thread; *columns* override what the row says."""
        session_id: UUID = columns.pop("session_id", None) or uuid4()
        contact_id, thread_id = uuid4(), uuid4()
        now = self.runtime.clock.now()
        row = {
            "tenant_id": self.tenant_id,
            "session_id": session_id,
            "thread_id": thread_id,
            "contact_id": contact_id,
            "channel_account_id": self.channel_account_id,
            "state": "RESOLVED",
            "outcome": "SUCCESS",
            "contact_name": "Ada",
            "contact_phone": "+436601234567",
            "channel": "whatsapp",
            "channel_display": "+43 1 0000",
            "started_at": columns.get("last_activity_at", now) - timedelta(minutes=5),
            "last_activity_at": now,
            **columns,
        }
        row.setdefault("state_path", row["state"])
        row.setdefault("item_count", row.get("message_count", 0))
        contact = {
            "tenant_id": self.tenant_id,
            "contact_id": contact_id,
            "display_name": row["contact_name"],
            "phone": row["contact_phone"],
            "locale": "de",
            "created_at": now,
        }
        thread = {
            "tenant_id": self.tenant_id,
            "thread_id": thread_id,
            "contact_id": contact_id,
            "channel_account_id": row["channel_account_id"],
            "created_at": now,
        }
        await self._insert("contact", contact)
        await self._insert("thread", thread)
        await self._insert("session", row)
        known_by = [("number", (row["contact_phone"] or "").removeprefix("+")), ("name", row["contact_name"])]
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            found = [Alias(contact_id, kind, value) for kind, value in known_by if value]
            await aliases.add(connection, self.tenant_id, found, now=now)
        return session_id

    async def message(self, session_id: UUID, ordinal: int, content: dict[str, Any], **columns: Any) -> UUID:
        """Insert a message of the contact, or whatever *columns* say."""
        message_id: UUID = columns.pop("message_id", None) or uuid4()
        row = {
            "tenant_id": self.tenant_id,
            "session_id": session_id,
            "ordinal": ordinal,
            "at": self.runtime.clock.now(),
            "message_id": message_id,
            "sender": "contact",
            "sender_name": "Ada",
            "kind": content["kind"],
            "content": content,
            **columns,
        }
        await self._insert("message", row)
        words = vector(self.tenant_id, text_of(content))
        if words:
            async with self.runtime.database.tenant(self.tenant_id) as connection:
                await connection.execute(
                    "INSERT INTO message_words (tenant_id, session_id, ordinal, at, words) "
                    "VALUES ($1, $2, $3, $4, $5::text::tsvector)",
                    *(self.tenant_id, session_id, ordinal, row["at"], words),
                )
        return message_id

    async def event(self, session_id: UUID, position: int, type_: str, **columns: Any) -> None:
        """Insert an audit event of the dispatcher, or whatever *columns* say."""
        row = {
            "tenant_id": self.tenant_id,
            "session_id": session_id,
            "position": position,
            "at": self.runtime.clock.now(),
            "type": type_,
            "schema_version": 1,
            "actor_kind": "dispatcher",
            "payload": {},
            "seal": bytes([position]) * 32,
            **columns,
        }
        await self._insert("audit_event", row)

    async def outbox(self, session_id: UUID | None, message_id: UUID | None, **columns: Any) -> None:
        """Insert the outbox entry of a message of ours."""
        now = self.runtime.clock.now()
        row = {
            "tenant_id": self.tenant_id,
            "outbox_entry_id": uuid4(),
            "contact_id": uuid4(),
            "channel_account_id": self.channel_account_id,
            "session_id": session_id,
            "message_id": message_id,
            "channel": "whatsapp",
            "recipient": "436601234567",
            "recipient_kind": "wa_id",
            "content": {},
            "status": "SENT",
            "due_at": now,
            "created_at": now,
            **columns,
        }
        await self._insert("outbox_entry", row)

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())


async def said(tenant: TenantFixture, session_id: UUID, *reasons: str, at: datetime | None = None) -> None:
    """Events on the session's chain, one for each of *reasons*."""
    now = at or tenant.runtime.clock.now()
    events = [
        AuditEvent(at=now + timedelta(microseconds=n), actor=SYSTEM, payload=SessionResolved(reason=reason))
        for n, reason in enumerate(reasons)
    ]
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await append.append_events(connection, tenant.tenant_id, session_id, events)


async def rebuild(owner: Connection, session_id: UUID) -> None:
    """Seal the session's events anew, as they stand now: what whoever rules the database can do."""
    head = seal.GENESIS
    columns = "position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, payload"
    rows = await owner.fetch(f"SELECT {columns} FROM audit_event WHERE session_id = $1 ORDER BY position", session_id)
    for number, row in enumerate(rows, 1):
        head = seal.seal(head, seal.canonical(session_id=session_id, **{**row, "position": number}))
        await owner.execute(
            "UPDATE audit_event SET seal = $3, position = $4 WHERE session_id = $1 AND position = $2",
            *(session_id, row["position"], head, number),
        )
    await owner.execute(
        "UPDATE session SET head = $2, next_position = $3 WHERE session_id = $1", session_id, head, len(rows) + 1
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
