"""Puts the made-up conversations into PostgreSQL by COPY, with as many processes as there are cores.

What derives from the rows (search, counters) is filled afterwards, by the product's own means: :data:`DERIVED`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from datetime import timedelta
from uuid import UUID

import asyncpg

from bench.load import conversations, people, vocabulary
from bench.load.people import Population
from dragoman.domain import search_words
from dragoman.numbering import person_key
from dragoman.runtime import SystemClock
from dragoman.store import migrate
from dragoman.store.embedded import DatabaseURLs

SEED = 20_261_125
SHARDS = 2
BATCH = 2_000
LARGE = ("contact", "contact_alias", "session", "message", "message_words", "audit_event")

Say = Callable[[str], None]
DERIVED: Mapping[str, Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[object]]] = {}
"""What is filled from the rows once they are there, and how, on a connection of the owner's."""


async def fill(urls: DatabaseURLs, sessions: int, say: Say) -> None:
    """Fill the migrated, empty database at *urls* with that many sessions."""
    begun = time.perf_counter()
    now = SystemClock().now()
    # An hour earlier, so that the last conversations have ended by now.
    begin = int((now - timedelta(days=conversations.DAYS, hours=1)).timestamp() * 1000)
    owner = await asyncpg.connect(urls.owner)
    first = (now - timedelta(days=conversations.DAYS + 1)).date()
    await migrate.ensure_partitions(owner, first, (now + timedelta(days=8)).date())
    populations = people.populations(sessions, begin, seed=SEED)
    indexes = await _drop_indexes(owner)
    for population in populations:
        await _people(owner, population, now)
    say(f"{sum(len(p.people) for p in populations):,} contacts of {len(populations)} tenants")
    del populations
    shards = [
        multiprocessing.get_context("spawn").Process(target=_shard, args=(urls.owner, sessions, begin, shard))
        for shard in range(SHARDS)
    ]
    for shard in shards:
        shard.start()
    for shard in shards:
        await asyncio.to_thread(shard.join)
        if shard.exitcode != 0:
            raise RuntimeError(f"a process that filled the database ended with {shard.exitcode}")
    say(f"rows copied after {time.perf_counter() - begun:.0f} s")
    await owner.execute("SET maintenance_work_mem = '1GB'")
    for definition in indexes:
        await owner.execute(definition)
    await owner.execute("VACUUM ANALYZE")
    await owner.close()
    say(f"indexed after {time.perf_counter() - begun:.0f} s")


async def derive(urls: DatabaseURLs, done: Collection[str], say: Say) -> list[str]:
    """Fill what derives from the rows and is not among *done*; all that is there now."""
    owner = await asyncpg.connect(urls.owner)
    for name, how in DERIVED.items():
        if name not in done:
            begun = time.perf_counter()
            await how(owner)
            say(f"{name} in {time.perf_counter() - begun:.0f} s")
    await owner.close()
    return list(DERIVED)


async def _people(owner: asyncpg.Connection[asyncpg.Record], population: Population, now: object) -> None:
    tenant = population.tenant_id
    tables: dict[str, tuple[str, Iterator[tuple[object, ...]]]] = {
        "tenant": (
            "tenant_id, slug, name, settings, created_at",
            iter([(tenant, f"bench-{population.number}", f"Bench {population.number}", "{}", now)]),
        ),
        "channel_account": (
            "tenant_id, channel_account_id, channel, address, display, name, secrets, created_at",
            (
                (
                    tenant, account, "whatsapp", f"{population.number}000{n}", f"+43 1 555 01{n:02d}", f"No. {n}",
                    b"", now,
                )
                for n, account in enumerate(population.accounts)
            ),
        ),
        "business_partner": (
            "tenant_id, business_partner_id, number, name, created_at",
            ((tenant, p, f"BP-{n:06d}", f"Partner {n} GmbH", now) for n, p in enumerate(population.partners)),
        ),
        "contact": (
            "tenant_id, contact_id, display_name, phone, locale, level, business_partner_id, created_at",
            (
                (
                    tenant, p.contact_id, p.name, p.phone, "en", int(p.partner is not None),
                    None if p.partner is None else population.partners[p.partner], now,
                )
                for p in population.people
            ),
        ),
        "contact_identity": (
            "tenant_id, kind, value, match_key, contact_id, created_at",
            (
                (tenant, "wa_id", p.phone[1:], person_key(p.phone), p.contact_id, now)
                for p in population.people
            ),
        ),
        "thread": (
            "tenant_id, thread_id, contact_id, channel_account_id, created_at",
            ((tenant, p.thread_id, p.contact_id, population.accounts[p.account], now) for p in population.people),
        ),
    }  # fmt: skip
    for table, (columns, rows) in tables.items():
        await owner.copy_records_to_table(table, records=rows, columns=columns.split(", "))
    aliases = [
        f"{tenant}\t{p.contact_id}\t{kind}\t{value}\t{search_words.vector(UUID(tenant), value)}\t{now}\n"
        for p in population.people
        for kind, value in (("number", p.phone[1:]), ("name", p.name))
    ]
    await _copy(owner, "contact_alias", "tenant_id, contact_id, kind, value, words, first_seen_at", aliases)


async def _drop_indexes(owner: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Drop the large tables' indexes that are no constraints; the statements that make them again at the end."""
    rows = await owner.fetch(
        "SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i "
        "WHERE i.indrelid = ANY ($1::regclass[]) "
        "AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)",
        list(LARGE),
    )
    for row in rows:
        await owner.execute(f"DROP INDEX {row['name']}")
    # An index of a partitioned table is described as ON ONLY, which would leave the partitions without.
    return [row["definition"].replace(" ON ONLY ", " ON ") for row in rows]


def _shard(url: str, sessions: int, begin: int, shard: int) -> None:
    os.nice(5)
    asyncio.run(_copy_shard(url, sessions, begin, shard))


async def _copy_shard(url: str, sessions: int, begin: int, shard: int) -> None:
    owner = await asyncpg.connect(url)
    await owner.execute("SET synchronous_commit = off")
    words = vocabulary.words(random.Random(SEED))
    for population in people.populations(sessions, begin, seed=SEED):
        texts = vocabulary.Texts(random.Random(f"{SEED}/{population.number}/{shard}"), words)
        writer = conversations.LoadWriter(population, texts, begin, shard=shard, shards=SHARDS, seed=SEED)
        for rows in writer.rows(BATCH):
            await _copy(owner, "session", conversations.SESSION, rows.session)
            await _copy(owner, "message", conversations.MESSAGE, rows.message)
            await _copy(owner, "message_words", conversations.WORDS, rows.words)
            await _copy(owner, "audit_event", conversations.EVENT, rows.event)
    await owner.close()


async def _copy(owner: asyncpg.Connection[asyncpg.Record], table: str, columns: str, lines: list[str]) -> None:
    async def source() -> AsyncIterator[bytes]:
        for start in range(0, len(lines), 1_000):
            yield "".join(lines[start : start + 1_000]).encode()

    await owner.copy_to_table(table, source=source(), columns=columns.split(", "), format="text")
