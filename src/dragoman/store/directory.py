"""The directory: how the tenant is found before there is one, by a slug, a login's email, a token's digest."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.store.database import Connection

TENANT_SLUG = "tenant_slug"
LOGIN_EMAIL = "login_email"
LOGIN_SESSION = "login_session"
PASSWORD_RESET = "password_reset"  # noqa: S105 - a kind of entry
API_TOKEN = "api_token"  # noqa: S105 - a kind of entry


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """Whose it is, and the id of what was looked for."""

    tenant_id: UUID
    ref_id: UUID


async def find(connection: Connection, kind: str, key: str) -> DirectoryEntry | None:
    """The entry, if there is one; works on a connection without a tenant."""
    row = await connection.fetchrow("SELECT tenant_id, ref_id FROM directory_find($1, $2)", kind, key)
    return None if row is None else DirectoryEntry(row["tenant_id"], row["ref_id"])


async def enter(connection: Connection, tenant_id: UUID, kind: str, key: str, ref_id: UUID) -> bool:
    """Make an entry; False where the key is taken, by whichever tenant."""
    status = await connection.execute(
        "INSERT INTO directory (tenant_id, kind, key, ref_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant_id,
        kind,
        key,
        ref_id,
    )
    return bool(status == "INSERT 0 1")


async def remove(connection: Connection, tenant_id: UUID, kind: str, keys: list[str]) -> None:
    """Take the tenant's entries of that kind under these keys out."""
    await connection.execute(
        "DELETE FROM directory WHERE tenant_id = $1 AND kind = $2 AND key = ANY($3)", tenant_id, kind, keys
    )
