"""Contacts that an earlier version kept apart, since it compared numbers as they are written, become one by a job."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Limits
from dragoman.numbering import person_key
from dragoman.services import sweep
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.contacts.merge_spellings import REASON, merge_spellings
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.contacts import identities, identity_plan
from dragoman.store.database import Database
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.pipeline.field import OURS, PlayedWebhook, change, person

PEOPLE = 500
"""Each of them two contacts: a thousand."""


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    """A shop that refuses nobody and sends as fast as it can: a thousand write within a second of its clock."""
    limits = Limits(contact_per_minute=10**6, channel_account_per_second=10**6, tenant_per_second=10**6)
    async with harness.build(database, tmp_path, little_shop(calls), policy=Policy(limits=limits)) as made:
        async with made.runtime.database.tenant(made.tenant_id) as connection:
            await connection.execute("UPDATE channel_account SET messages_per_second = 0, pair_burst = 1000")
        yield made


def spelled(number: int) -> tuple[str, str]:
    """A person's number in two spellings, from one of the three countries that have two."""
    match number % 3:
        case 0:
            return f"55119{80000000 + number}", f"5511{80000000 + number}"
        case 1:
            return f"5215{500000000 + number}", f"525{500000000 + number}"
        case _:
            return f"5491{100000000 + number}", f"541{100000000 + number}"


async def made_before(field: PlayedWebhook, monkeypatch: pytest.MonkeyPatch, people: int) -> None:
    """Every person was written to in both spellings, from the phone app, and taken for two by the version of then."""
    with monkeypatch.context() as patched:
        for module in (identities, identity_plan):
            patched.setattr(module, "match_key", lambda identity: identity.value)
        for spelling in (0, 1):
            numbers = [spelled(n)[spelling] for n in range(people)]
            for start in range(0, people, 250):
                part = numbers[start : start + 250]
                items = [field.text(OURS, "news", to=number) for number in part]
                value = {"contacts": [person(n, name="Ana") for n in part], "message_echoes": items}
                await field.deliver(change(value, "smb_message_echoes"))
    # The bot speaks again.
    field.shop.clock.move(hours=2)
    # As the migration does.
    async with field.shop.runtime.database.tenant(field.shop.tenant_id) as connection:
        rows = await connection.fetch("SELECT value FROM contact_identity")
        await connection.executemany(
            "UPDATE contact_identity SET match_key = $2 WHERE value = $1",
            [(row["value"], person_key(row["value"])) for row in rows],
        )


async def settle(shop: Harness) -> None:
    """Until nothing is left, whoever was busy with it meanwhile."""
    for _ in range(20):
        await shop.settle()
        shop.clock.move(seconds=5)
        if not await sweep.requeue_overdue(shop.runtime):
            break
    await shop.settle()


async def test_a_thousand_contacts_are_merged_while_messages_come_in(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, chance = PlayedWebhook(shop), random.Random(19)
    await made_before(field, monkeypatch, PEOPLE)
    assert len(await field.people()) == 2 * PEOPLE
    sent = Counter(person_key(spelled(n)[0]) for n in range(PEOPLE) for _ in range(2))
    written = 0

    async def write(number: int) -> None:
        nonlocal written
        written += 1
        spelling = chance.choice(spelled(number))
        sent[person_key(spelling)] += 1
        response = await shop.post(change({"messages": [field.text(spelling, "answer")]}))
        assert response.status_code == 200

    async def writing() -> None:
        for _ in range(10):
            await asyncio.gather(*(write(chance.randrange(PEOPLE)) for _ in range(10)))
            await shop.settle()

    report, _ = await asyncio.gather(merge_spellings(shop.runtime, shop.tenant_id, COMMAND_LINE), writing())
    await settle(shop)

    people = await field.people()
    assert len(people) == PEOPLE
    # Whoever wrote meanwhile was merged by what they wrote; the job did the others. Each is on record, once.
    merged = await shop.rows("SELECT contact_id, detail FROM contact_history WHERE what = 'merged_into'")
    assert len(merged) == len({row["contact_id"] for row in merged}) == PEOPLE
    by_job = sum(row["detail"]["reason"] == REASON for row in merged)
    assert report.contacts == by_job > 0
    (actions,) = await shop.rows(
        "SELECT sum(jsonb_array_length(after->'merged')) AS merged FROM administrator_action "
        "WHERE action = 'contacts.merged'"
    )
    assert actions["merged"] == by_job
    await nothing_is_lost_or_doubled(shop, sent, answers=written)
    assert (await merge_spellings(shop.runtime, shop.tenant_id, COMMAND_LINE)).contacts == 0


async def nothing_is_lost_or_doubled(shop: Harness, sent: Counter[str], *, answers: int) -> None:
    """Each person has one thread with all that was said, each message answered once, and every chain is whole."""
    assert await shop.rows("SELECT 1 FROM mailbox WHERE progress <> 'done'") == []
    rows: list[dict[str, Any]] = await shop.rows(
        "SELECT i.match_key, count(DISTINCT s.thread_id) AS threads, "
        "count(DISTINCT m.channel_message_id) AS said, count(m.channel_message_id) AS items "
        "FROM (SELECT DISTINCT match_key, contact_id FROM contact_identity WHERE kind = 'wa_id') i "
        "JOIN session s ON s.contact_id = i.contact_id "
        "JOIN message m ON m.session_id = s.session_id AND m.channel_message_id IS NOT NULL GROUP BY 1"
    )
    assert {row["match_key"]: row["said"] for row in rows} == dict(sent)
    assert all(row["threads"] == 1 and row["items"] == row["said"] for row in rows)
    assert len([entry for entry in await shop.journal() if "to" in entry["request"]]) == answers
    in_progress = await shop.rows("SELECT thread_id FROM session WHERE state NOT IN ('RESOLVED', 'EXPIRED')")
    assert len(in_progress) == len({row["thread_id"] for row in in_progress})
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_job_that_is_killed_goes_on_where_it_was(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    field = PlayedWebhook(shop)
    await made_before(field, monkeypatch, 6)
    with monkeypatch.context() as patched:
        patched.setattr("dragoman.services.contacts.merge_spellings.BATCH", 2)
        real, done = identities.merge_spellings, 0

        async def dies(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done == 3:
                raise KeyboardInterrupt
            return await real(*arguments, **options)

        patched.setattr(identities, "merge_spellings", dies)
        with pytest.raises(KeyboardInterrupt):
            await merge_spellings(shop.runtime, shop.tenant_id, COMMAND_LINE)
    assert len(await field.people()) == 8
    assert await sweep.merge_spellings_everywhere(shop.runtime) == 2
    await settle(shop)
    assert len(await field.people()) == 6
    await nothing_is_lost_or_doubled(shop, Counter({person_key(spelled(n)[0]): 2 for n in range(6)}), answers=0)
