"""Agents: the users who may answer contacts, what each of them takes, and whether they are there.

A user is an agent by their role; a row of ``agent`` comes with the first thing that is to be kept about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.store.accounts import roles
from dragoman.store.database import Connection

ANSWERS_CONTACTS = "communications.handoff_inbox:write"
"""The permission by which somebody is an agent."""

PRESENT_S = 180
"""An agent is present for so long after an open page of theirs was last heard of."""

HEARD_AGAIN_S = 20
"""What is heard of an agent sooner again is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """Which sessions an agent takes, as an administrator set it.

    ``languages`` and ``topics`` (intents or skills) are empty for all. ``cap`` is how many sessions they get by
    assignment; None for as many as the tenant's policy says.
    """

    languages: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamMember:
    """An agent with their profile, their presence and how many sessions they have.

    ``available`` is what they say themselves; ``seen_at`` when an open page of theirs was last heard of.
    """

    user_id: UUID
    name: str
    email: str
    languages: tuple[str, ...]
    topics: tuple[str, ...]
    cap: int | None
    available: bool
    seen_at: datetime | None
    last_assigned_at: datetime | None
    open_sessions: int

    @property
    def profile(self) -> AgentProfile:
        """Which sessions they take."""
        return AgentProfile(languages=self.languages, topics=self.topics, cap=self.cap)

    def is_present(self, now: datetime) -> bool:
        """Whether sessions may be assigned to them: they are there, and say that they are."""
        return self.available and self.seen_at is not None and self.seen_at > now - timedelta(seconds=PRESENT_S)


_COLUMNS = (
    "u.user_id, u.name, u.email, coalesce(a.languages, '{}') AS languages, coalesce(a.topics, '{}') AS topics, a.cap, "
    "coalesce(a.available, true) AS available, a.seen_at, a.last_assigned_at"
)
_ACTIVE = "u.tenant_id = $1 AND u.disabled_at IS NULL AND u.role = ANY($2::text[])"


async def list_all(connection: Connection, tenant_id: UUID) -> list[TeamMember]:
    """List every active user whose role lets them answer contacts, by name."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM user_account u LEFT JOIN agent a USING (tenant_id, user_id) "
        f"WHERE {_ACTIVE} ORDER BY u.name, u.user_id",
        tenant_id,
        await _agent_roles(connection, tenant_id),
    )
    return await _with_open_sessions(connection, tenant_id, rows)


async def get(connection: Connection, tenant_id: UUID, user_id: UUID) -> TeamMember:
    """Find one agent. Raises NotFoundError for somebody who may not answer contacts."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM user_account u LEFT JOIN agent a USING (tenant_id, user_id) "
        f"WHERE {_ACTIVE} AND u.user_id = $3",
        tenant_id,
        await _agent_roles(connection, tenant_id),
        user_id,
    )
    if not rows:
        raise NotFoundError(f"no agent {user_id}")
    return (await _with_open_sessions(connection, tenant_id, rows))[0]


async def list_present(connection: Connection, tenant_id: UUID, now: datetime) -> list[TeamMember]:
    """List the agents who are present, by their ids."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM agent a JOIN user_account u USING (tenant_id, user_id) "
        f"WHERE {_ACTIVE} AND a.available AND a.seen_at > $3 ORDER BY a.user_id",
        tenant_id,
        await _agent_roles(connection, tenant_id),
        now - timedelta(seconds=PRESENT_S),
    )
    return await _with_open_sessions(connection, tenant_id, rows)


async def lock(connection: Connection, tenant_id: UUID, user_id: UUID) -> TeamMember:
    """Find one agent, and let nobody else assign to them until the transaction ends. Raises as :func:`get`.

    How many sessions they have is read after the lock is had: a statement that waited would count as of its start,
    miss what another assignment has just given them, and pass a cap.
    """
    await connection.execute("SELECT FROM agent WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE", tenant_id, user_id)
    return await get(connection, tenant_id, user_id)


async def mark_seen(connection: Connection, tenant_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Note that an open page of the agent was heard of; whether they were not present before.

    Raises NotFoundError for somebody who may not answer contacts.
    """
    before = await get(connection, tenant_id, user_id)
    await connection.execute(
        "INSERT INTO agent AS a (tenant_id, user_id, changed_at, seen_at) VALUES ($1, $2, $3, $3) "
        "ON CONFLICT (tenant_id, user_id) DO UPDATE SET seen_at = excluded.seen_at "
        "WHERE a.seen_at IS NULL OR a.seen_at < excluded.seen_at - make_interval(secs => $4)",
        tenant_id,
        user_id,
        now,
        float(HEARD_AGAIN_S),
    )
    return before.available and not before.is_present(now)


async def set_available(
    connection: Connection, tenant_id: UUID, user_id: UUID, *, available: bool, now: datetime
) -> bool:
    """Note whether the agent takes new sessions, as they say; whether that is a change. They are there: they say so.

    Raises NotFoundError for somebody who may not answer contacts.
    """
    before = await get(connection, tenant_id, user_id)
    await connection.execute(
        "INSERT INTO agent (tenant_id, user_id, available, changed_at, seen_at) VALUES ($1, $2, $3, $4, $4) "
        "ON CONFLICT (tenant_id, user_id) DO UPDATE SET available = excluded.available, "
        "changed_at = excluded.changed_at, seen_at = excluded.seen_at",
        tenant_id,
        user_id,
        available,
        now,
    )
    return before.available is not available


async def save_profile(
    connection: Connection, tenant_id: UUID, user_id: UUID, profile: AgentProfile, *, now: datetime
) -> None:
    """Set which sessions a user takes."""
    await connection.execute(
        "INSERT INTO agent (tenant_id, user_id, languages, topics, cap, changed_at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (tenant_id, user_id) DO UPDATE SET languages = excluded.languages, topics = excluded.topics, "
        "cap = excluded.cap, changed_at = excluded.changed_at",
        tenant_id,
        user_id,
        list(profile.languages),
        list(profile.topics),
        profile.cap,
        now,
    )


async def mark_assigned(connection: Connection, tenant_id: UUID, user_id: UUID, now: datetime) -> None:
    """Note that a session was assigned to an agent whom :func:`lock` holds: the next one is another's turn."""
    # Later than any other, for several are assigned at one moment: with equal times the first ids would get more.
    await connection.execute(
        "UPDATE agent SET last_assigned_at = greatest($3, "
        "(SELECT max(last_assigned_at) FROM agent WHERE tenant_id = $1) + interval '1 microsecond') "
        "WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        now,
    )


async def _agent_roles(connection: Connection, tenant_id: UUID) -> list[str]:
    known = await roles.list_all(connection, tenant_id)
    return [name for name, granted in known.items() if ANSWERS_CONTACTS in granted]


async def _with_open_sessions(connection: Connection, tenant_id: UUID, rows: Sequence[Any]) -> list[TeamMember]:
    counted = await connection.fetch(
        # handoff_of_owner
        "SELECT owner_id, count(*) AS open_sessions FROM handoff "
        "WHERE tenant_id = $1 AND owner_id = ANY($2::uuid[]) AND ended_at IS NULL GROUP BY owner_id",
        tenant_id,
        [row["user_id"] for row in rows],
    )
    open_sessions = {row["owner_id"]: row["open_sessions"] for row in counted}
    return [
        TeamMember(
            **{
                **dict(row),
                "languages": tuple(row["languages"]),
                "topics": tuple(row["topics"]),
                "open_sessions": open_sessions.get(row["user_id"], 0),
            }
        )
        for row in rows
    ]
