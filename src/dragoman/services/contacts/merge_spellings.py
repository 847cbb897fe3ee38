"""Bring contacts together that have one number in two spellings.

Messages that come now find such contacts themselves; this job finds those that were made before, and those of
whom nobody writes. Transactions: one for each batch of numbers, under the locks that whoever makes a contact of these
numbers takes, so that it crosses no delivery. It leads the identities to the older contact and writes both histories;
a job for each contact brings the threads together (:mod:`~dragoman.services.contacts.merge_contact`). Killed anywhere,
the next run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from dragoman.runtime import Job, Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store.accounts.actions import Administrator
from dragoman.store.contacts import identities
from dragoman.store.contacts.identities import History, MergedSpelling

log = structlog.get_logger()

BATCH = 100
"""Numbers in one transaction."""

REASON = "one number in two spellings"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What was merged: ``numbers`` that had several contacts, and ``contacts`` that became another."""

    numbers: int
    contacts: int


async def merge_spellings(runtime: Runtime, tenant_id: UUID, by: Administrator) -> MergeReport:
    """Merge all contacts of the tenant whose numbers are one person's; what was merged."""
    numbers = contacts = 0
    while True:
        merged = await _merge_batch(runtime, tenant_id, by)
        numbers += len({one.match_key for one in merged})
        contacts += len(merged)
        if not merged:
            break
    if contacts:
        log.info("contacts_merged", tenant_id=str(tenant_id), numbers=numbers, contacts=contacts)
    return MergeReport(numbers=numbers, contacts=contacts)


async def _merge_batch(runtime: Runtime, tenant_id: UUID, by: Administrator) -> list[MergedSpelling]:
    async with runtime.database.tenant(tenant_id) as connection:
        history = History(tenant_id, runtime.clock.now(), runtime.source.new_id)
        merged = await identities.merge_spellings(connection, tenant_id, REASON, history, limit=BATCH)
        if not merged:
            return []
        await history.write(connection)
        pairs = [{"contact": str(one.contact_id), "into": str(one.into)} for one in merged]
        await put_on_record(
            runtime, connection, tenant_id, "contacts.merged", tenant_id, object_kind="tenant", by=by,
            after={"reason": REASON, "merged": pairs},
        )  # fmt: skip
        await runtime.queue.enqueue(
            connection, [Job(entrypoint="settle_contact", tenant_id=tenant_id, key=one.contact_id) for one in merged]
        )
        return merged
