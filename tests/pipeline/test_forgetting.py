"""Nothing outlives its time: every table has a rule, and what was said is in none of them after its period."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dragoman.ledger import retention
from dragoman.services import sweep
from dragoman.services.retention import apply_retention, legal_holds
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.contacts import erasure
from dragoman.store.database import Connection, Database, owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness, MovableClock
from tests.little_shop import Calls, little_shop
from tests.pipeline.test_statuses import status

MARK, NOTE, TAG = "Kanarienvogel", "Schuppentier", "nasenbaer"
DAYS = 30


@pytest.fixture
async def owner(database_urls: DatabaseURLs) -> AsyncIterator[Connection]:
    async with owner_connection(database_urls.owner) as connection:
        yield connection


@pytest.fixture
async def shop(database: Database, tmp_path: Path, owner: Connection) -> AsyncIterator[Harness]:
    """An installation whose clock is at the end of the weeks that there are partitions for."""
    clock = MovableClock()
    await owner.execute(
        "SELECT ensure_partitions($1, $2)", clock.now().date(), (clock.now() + timedelta(days=3 * DAYS)).date()
    )
    async with harness.build(database, tmp_path, little_shop(Calls()), clock=clock) as made:
        settings = made.runtime.settings.model_copy(update={"retention_days": DAYS})
        yield replace(made, runtime=replace(made.runtime, settings=settings))


async def with_words(owner: Connection) -> set[str]:
    """The tables, parts of others left out, that have a column in which a text can stand."""
    rows = await owner.fetch(
        "SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace "
        "AND a.attnum > 0 AND NOT a.attisdropped "
        "AND coalesce(e.typname, t.typname) IN ('text', 'varchar', 'bpchar', 'json', 'jsonb', 'bytea', 'tsvector', "
        "'name', 'xml', 'hstore')"
    )
    return {row["relname"] for row in rows}


async def holding(owner: Connection, *marks: str) -> set[str]:
    """The tables, parts of others left out, that have one of *marks* in any column of any row."""
    found = set()
    for (name,) in await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace"
    ):
        for mark in marks:
            # What is in a bytea stands in the row's text in hexadecimal, what is a word of a search in small letters.
            for text in (mark, mark.lower(), mark.encode().hex()):
                if await owner.fetchval(f'SELECT count(*) FROM "{name}" AS r WHERE position($1 IN r::text) > 0', text):
                    found.add(name)
    return found


async def test_every_table_that_can_hold_words_has_a_rule_for_retention_and_one_for_erasure(
    owner: Connection, shop: Harness
) -> None:
    there = await with_words(owner)
    by_age = {*retention.RECORD, *retention.SWEPT, *retention.EMPTIED}
    assert there - by_age - set(retention.STAYS) == set()
    assert by_age & set(retention.STAYS) == set()
    every = {row["relname"] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")}
    assert (by_age | set(retention.STAYS)) - every == set()
    of_erasure = {*erasure.KEPT, *erasure._OWN, *erasure._MENTIONING, "contact", "raw_delivery", "outbox_entry"}
    of_erasure |= {"outbox_attempt", "session", "message", "message_words", "audit_event"}
    assert there - of_erasure <= {"pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics"}


async def fill(shop: Harness, owner: Connection, phone: str) -> None:
    """Everything that a contact, the channel and people of ours say, with marks in it."""
    now, tenant = shop.clock.now(), shop.tenant_id
    for text in (f"answer {MARK}", f"{MARK} what?", f"flaky {MARK}"):
        await shop.say(text, phone=phone, name="Ana Lima")
        await shop.settle()
    picture = await shop.upload(b"\x89PNG", "image/png")
    document = {"id": picture, "filename": f"{MARK}.png", "caption": MARK, "mime_type": "image/png"}
    await shop.send({"type": "document", "document": document}, phone=phone)
    await shop.settle()
    if shop.phone_number_id == harness.PHONE_NUMBER_ID:
        await shop.post(status(f"wamid.{MARK}", "failed", int(now.timestamp())))
        await shop.settle()
    (session,) = await shop.rows("SELECT session_id, contact_id FROM session LIMIT 1")
    ids = (tenant, session["session_id"], now)
    for statement in (
        "INSERT INTO review_note (tenant_id, session_id, note_id, author_name, body, written_at) "
        f"VALUES ($1, $2, gen_random_uuid(), 'Dora', '{NOTE}', $3)",
        f"INSERT INTO review_tag (tenant_id, session_id, tag, added_by, added_at) VALUES ($1, $2, '{TAG}', 'Dora', $3)",
        "INSERT INTO reply_draft (tenant_id, session_id, agent_id, agent_name, body, changed_at) "
        f"VALUES ($1, $2, gen_random_uuid(), 'Dora', '{NOTE}', $3)",
        "INSERT INTO channel_event (tenant_id, event_id, at, channel, field, event, severity, summary, raw) "
        f"VALUES ($1, $2, $3, 'whatsapp', 'x', 'x', 'info', '{MARK}', '{{\"said\": \"{MARK}\"}}')",
        "INSERT INTO export_request (tenant_id, export_id, requested_name, requested_at, format, transcript, timeline, "
        "masked, filters, state) VALUES ($1, $2, 'Dora', $3, 'csv', true, true, true, "
        f"'{{\"q\": \"{MARK}\"}}', 'failed')",
        "INSERT INTO access_record (tenant_id, access_id, actor_id, at, hour, actor_name, via, action, subject, "
        "detail, whole) "
        f"VALUES ($1, gen_random_uuid(), $2, $3, $3, 'Dora', 'session', 'search', $2::uuid::text, "
        f'\'{{"q": "{MARK}"}}\', true)',
    ):
        await owner.execute(statement, *ids)
    await owner.execute(
        "INSERT INTO contact_history (tenant_id, contact_id, history_id, at, what, detail) "
        f"VALUES ($1, $2, gen_random_uuid(), $3, 'renamed', '{{\"name\": \"{MARK}\"}}')",
        tenant,
        session["contact_id"],
        now,
    )


async def wait_out(shop: Harness, days: int) -> None:
    """Let *days* and a week more go by, with what is done every hour; a part of a table is a week."""
    shop.clock.move(days=days + 8)
    await sweep.expire_everywhere(shop.runtime)
    await shop.settle()


async def test_after_its_period_what_was_said_is_in_no_table(shop: Harness, owner: Connection) -> None:
    """Of each tenant by its own period: the shorter one's goes, and the other's stays until its time has come."""
    other = await shop.another_tenant("other")
    other = replace(other, runtime=shop.runtime)
    await fill(shop, owner, "447700900345")
    for table in (
        "mailbox",
        "channel_event",
        "contact_history",
        "session",
        "raw_delivery",
        "review_tag",
        "reply_draft",
    ):
        assert table in await holding(owner, MARK, NOTE, TAG)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await tenants.set_retention_days(connection, shop.tenant_id, 7)
    shop.clock.move(days=6)
    await fill(other, owner, "447700900346")
    shop.clock.move(days=2)
    await apply_retention.run(shop.runtime, owner, by_whom="test")
    for table in await holding(owner, MARK, NOTE, TAG):
        assert await owner.fetchval(
            f'SELECT count(*) FROM "{table}" AS r WHERE tenant_id = $1 AND position($2 IN r::text) > 0',
            shop.tenant_id,
            MARK,
        ) == 0, table  # fmt: skip
    assert "mailbox" in await holding(owner, MARK)
    await wait_out(shop, DAYS)
    said = await apply_retention.plan(owner, now=shop.clock.now(), days=DAYS)
    done = await apply_retention.run(shop.runtime, owner, by_whom="test")
    assert done.rows == said.rows
    assert await holding(owner, MARK, NOTE, TAG) == set()
    again = await apply_retention.plan(owner, now=shop.clock.now(), days=DAYS)
    assert again.rows.total() == 0


async def test_what_is_held_keeps_its_words(shop: Harness, owner: Connection) -> None:
    await fill(shop, owner, "447700900345")
    (session,) = await shop.rows("SELECT session_id FROM session LIMIT 1")
    by = Administrator("Dora Officer")
    await legal_holds.place_hold(shop.runtime, shop.tenant_id, session["session_id"], "lawsuit", by)
    await wait_out(shop, DAYS)
    await apply_retention.run(shop.runtime, owner, by_whom="test")
    assert await holding(owner, MARK) >= {"session", "message", "mailbox"}
    assert await holding(owner, NOTE) == {"review_note", "reply_draft"}


async def test_messages_that_waited_past_their_period_are_not_kept(shop: Harness, owner: Connection) -> None:
    await shop.say(f"answer {MARK}", phone="447700900345")
    shop.clock.move(days=DAYS + 8)
    await apply_retention.run(shop.runtime, owner, by_whom="test")
    assert await holding(owner, MARK) == set()
