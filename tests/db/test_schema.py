"""What the database refuses, whatever the application does."""

from __future__ import annotations

from datetime import date

import asyncpg
import pytest

from dragoman.domain.states import TRANSITIONS, State
from dragoman.store import migrate
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from tests.waiting import PATIENCE_S


async def test_the_database_knows_the_same_transitions_as_the_domain(database_urls: DatabaseURLs) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    for old in State:
        for new in State:
            legal = await owner.fetchval("SELECT state_path_is_legal($1, $2)", f"{old}>{new}", str(new))
            assert legal is ((old, new) in TRANSITIONS), (old, new)
    assert await owner.fetchval("SELECT state_path_is_legal('OPEN', 'OPEN')")
    assert not await owner.fetchval("SELECT state_path_is_legal('OPEN>ACTIVE', 'RESOLVED')")
    assert not await owner.fetchval("SELECT state_path_is_legal('OPEN>ACTIVE>OPEN', 'OPEN')")
    await owner.close()


async def test_every_table_has_row_level_security_and_a_tenant(database_urls: DatabaseURLs) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    tables = await owner.fetch(
        "SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') "
        "AND c.relname NOT LIKE 'pgqueuer%' AND c.relname <> 'alembic_version'"
    )
    assert len(tables) > 20
    assert [t["relname"] for t in tables if not t["relrowsecurity"]] == []
    for table in tables:
        keys = await owner.fetch(
            "SELECT i.indexrelid::regclass::text AS name, a.attname AS first FROM pg_index i "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
            "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname <> 'gin' "
            "WHERE i.indrelid = $1",
            table["oid"],
        )
        # The directory is how the tenant is found. A GIN index cannot hold a uuid: its words bear the tenant's tag.
        if table["relname"] != "directory":
            assert {key["first"] for key in keys} == {"tenant_id"}, table["relname"]
    await owner.close()


async def test_new_partitions_make_nobody_wait(database_urls: DatabaseURLs) -> None:
    """A turn has one table in hand and will want the next; who makes partitions must not stand between them."""
    turn, making = await asyncpg.connect(database_urls.owner), await asyncpg.connect(database_urls.owner)
    tables = [row["relname"] for row in await making.fetch("SELECT relname FROM pg_class WHERE relkind = 'p'")]
    assert {"message", "message_words", "audit_event", "raw_delivery", "delivery_item", "outbox_attempt"} <= set(tables)
    far = date(2031, 3, 3)
    async with turn.transaction():
        await turn.execute("LOCK TABLE audit_event IN ROW EXCLUSIVE MODE")
        async with making.transaction():
            await making.execute(f"SET LOCAL lock_timeout = '{PATIENCE_S:.0f}s'")
            assert await making.fetchval("SELECT ensure_partitions($1, $1)", far) == len(tables)
            await turn.execute(f"SET LOCAL lock_timeout = '{PATIENCE_S:.0f}s'")
            for table in tables:
                await turn.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
                await turn.execute(f"SELECT 1 FROM {table} LIMIT 1")
    own = await making.fetch(
        "SELECT i.inhparent::regclass::text AS parent, count(x.indexrelid) AS indexes, "
        "(SELECT count(*) FROM pg_index p WHERE p.indrelid = i.inhparent) AS wanted "
        "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_index x ON x.indrelid = c.oid "
        "WHERE c.relname LIKE '%2031w10' AND c.relrowsecurity GROUP BY i.inhparent"
    )
    assert {row["parent"]: row["indexes"] - row["wanted"] for row in own} == dict.fromkeys(tables, 0)
    await turn.close()
    await making.close()


async def test_the_application_cannot_change_or_delete_the_record(database: Database) -> None:
    for table in ("message", "audit_event", "raw_delivery", "outbox_attempt"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET at = now()", f"TRUNCATE {table}"):
            async with database.directory() as connection:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)


async def test_the_application_cannot_leave_its_role(database: Database) -> None:
    async with database.directory() as connection:
        await connection.execute("RESET ALL; RESET ROLE")
        assert await connection.fetchval("SELECT current_user") == "dragoman_app"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SET ROLE dragoman_owner")


async def test_migrations_go_down_and_up_again(database_urls: DatabaseURLs) -> None:
    migrate.downgrade(database_urls, "base")
    owner = await asyncpg.connect(database_urls.owner)
    left = await owner.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'public' AND relkind IN ('r', 'p', 'S', 'v') AND relname <> 'alembic_version'"
    )
    assert left == []
    migrate.upgrade(database_urls)
    assert await owner.fetchval("SELECT version_num FROM alembic_version") == migrate.head()
    await owner.close()
