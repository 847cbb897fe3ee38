"""All rows of one tenant, table by table as the catalogue has them: read out whole, or deleted whole.

It needs a connection of the database's owner. What opens something (hashes of passwords, digests of tokens and
sessions, encrypted credentials) is not read out: :data:`LEFT_OUT`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from dragoman.store.database import Connection

LAST = ("directory", "tenant")
AT_ONCE = 500
DELETED_AT_ONCE = 20_000

LEFT_OUT: Mapping[str, frozenset[str]] = {
    "api_token": frozenset({"digest"}),
    "channel_account": frozenset({"secrets"}),
    "single_sign_on": frozenset({"secret"}),
    "skill_key": frozenset({"secret"}),
    "tenant": frozenset({"settings,classifier_key"}),
    "user_account": frozenset({"password_hash"}),
    "webhook_key": frozenset({"secret"}),
}
"""Columns that are not read out; after a comma, what of a column's JSON is not."""

NOT_READ = frozenset(
    {"directory", "login_failure", "login_session", "one_time_code", "password_reset", "recovery_code", "second_factor"}
)
"""Tables of which nothing is read out: they open doors, or lead to them."""


async def tables(connection: Connection) -> list[str]:
    """Every table that has tenants' rows, those that refer to others before these."""
    rows = await connection.fetch(
        "SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped "
        "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname"
    )
    names = {row["oid"]: row["relname"] for row in rows}
    refers = await connection.fetch(
        "SELECT conrelid, confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid <> confrelid"
    )
    waiting = {oid: {r["conrelid"] for r in refers if r["confrelid"] == oid} & names.keys() for oid in names}
    ordered: list[str] = []
    while waiting:
        free = [oid for oid, by in waiting.items() if not by & waiting.keys()]
        # What leads to the tenant by its name, and its own row, go last: with them the rest can be found again.
        ordered += sorted(names[oid] for oid in free)
        waiting = {oid: by for oid, by in waiting.items() if oid not in free}
    return [*(name for name in ordered if name not in LAST), *LAST]


async def rows(connection: Connection, table: str, tenant_id: UUID) -> AsyncIterator[str]:
    """Read the tenant's rows of a table as JSON, in the transaction of the caller."""
    without = "".join(f" #- '{{{path}}}'" for path in sorted(LEFT_OUT.get(table, ())))
    cursor = connection.cursor(
        f"SELECT (to_jsonb(t){without})::text AS row FROM {table} t WHERE tenant_id = $1", tenant_id, prefetch=AT_ONCE
    )
    async for row in cursor:
        yield row["row"]


async def shut(connection: Connection, tenant_id: UUID) -> None:
    """Let nothing in any more: no delivery, no person, no program. Processes that run learn of it within seconds."""
    await connection.execute(
        "UPDATE channel_account SET disabled_at = coalesce(disabled_at, now()), secrets = '' WHERE tenant_id = $1",
        tenant_id,
    )
    await connection.execute("DELETE FROM directory WHERE tenant_id = $1 AND kind <> 'tenant_slug'", tenant_id)
    await connection.execute("DELETE FROM login_session WHERE tenant_id = $1", tenant_id)
    await connection.execute("DELETE FROM api_token WHERE tenant_id = $1", tenant_id)


async def delete(connection: Connection, table: str, tenant_id: UUID) -> int:
    """Delete the tenant's rows of a table, some thousand at a time; how many there were."""
    total = 0
    while True:
        status = await connection.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE tenant_id = $1 "
            f"LIMIT {DELETED_AT_ONCE})) AND tenant_id = $1",
            tenant_id,
        )
        gone = int(status.split()[-1])
        total += gone
        if gone < DELETED_AT_ONCE:
            return total
