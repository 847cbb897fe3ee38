"""One-time codes through the whole pipeline: who gets one, what a right and a wrong one do, and where none is left."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from dragoman.domain.nouns import Policy
from dragoman.domain.policies import OTHER_NUMBER, Confirmation
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.skills import Level, SkillContext, skill
from dragoman.store.catalogue import skills
from dragoman.store.contacts import identities
from dragoman.store.contacts.contacts import Identity
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness
from tests.pipeline.test_crash import contact_of

PHONE = "447700900123"
CONFIRMATION = Confirmation(attempts=3)


class OrderParameters(BaseModel):
    number: int


@skill(name="orders.cancel", label="Cancel", version="1", phrases={"en": ["cancel it"]}, keywords=["cancel"],
       level=Level.CONTACT_CONFIRMED)  # fmt: skip
async def cancel(context: SkillContext, order: OrderParameters) -> str:
    return f"order {order.number} is cancelled"


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> AsyncIterator[Harness]:
    policy = Policy(confirmation=CONFIRMATION)
    async with harness.build(database, tmp_path, {cancel.spec.name: cancel}, policy=policy) as made:
        await harness.add_business_partner(made, f"+{PHONE}")
        yield made


async def say(shop: Harness, text: str) -> None:
    await shop.say(text, phone=PHONE)
    await shop.settle()


async def received(shop: Harness) -> list[str]:
    """What reached the phone, oldest first."""
    texts: list[str] = []
    for entry in await shop.journal(to=PHONE):
        sent = entry["request"]
        texts.append(sent["text"]["body"] if sent["type"] == "text" else sent["interactive"]["body"]["text"])
    return texts


async def code_of(shop: Harness) -> str:
    """The code on the phone."""
    found: list[str] = [code for text in await received(shop) for code in re.findall(r"\b\d{6}\b", text)]
    return found[-1]


def another(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


async def session(shop: Harness) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT session_id, state, outcome, outcome_reason, skill FROM session")
    return row


async def ask_for_code(shop: Harness) -> str:
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    return await code_of(shop)


async def test_a_right_code_confirms_and_the_skill_goes_on_with_what_was_known(shop: Harness) -> None:
    await say(shop, "cancel order 4711")
    row = await session(shop)
    assert (row["state"], row["outcome"]) == ("AWAITING_USER", "VERIFICATION_REQUIRED")
    await say(shop, "yes")
    await say(shop, await code_of(shop))
    assert (await received(shop))[-1] == "order 4711 is cancelled"
    row = await session(shop)
    assert (row["state"], row["outcome"], row["skill"]) == ("ACTIVE", "SUCCESS", "orders.cancel")
    levels = [e["payload"]["level"] for e in await shop.timeline(row["session_id"]) if e["type"] == "contact.resolved"]
    assert levels == ["PHONE_MATCHED"] * 3 + ["CONTACT_CONFIRMED"]
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_the_confirmation_holds_for_its_time_and_no_longer(shop: Harness) -> None:
    await say(shop, await ask_for_code(shop))
    shop.clock.move(seconds=CONFIRMATION.confirmed_seconds - 1)
    await say(shop, "cancel order 4712")
    assert (await received(shop))[-1] == "order 4712 is cancelled"
    shop.clock.move(seconds=2)
    await say(shop, "cancel order 4713")
    assert "Shall I send you a code?" in (await received(shop))[-1]


async def test_the_code_is_nowhere_once_it_was_used(shop: Harness, database_urls: DatabaseURLs) -> None:
    """Looked for in every column of every table, as the owner; the raw delivery is what Meta sent, to the byte."""
    code = await ask_for_code(shop)
    await say(shop, f"here it is: {code}")
    owner = await asyncpg.connect(database_urls.owner)
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    found = {
        t["relname"]
        for t in tables
        if await owner.fetchval(f'SELECT count(*) FROM "{t["relname"]}" AS r WHERE r::text LIKE $1', f"%{code}%")
    }
    raw = await owner.fetch("SELECT convert_from(body, 'UTF8') AS body FROM raw_delivery")
    await owner.close()
    assert found == set()
    assert sum(code in row["body"] for row in raw) == 1
    bodies = [r["content"]["body"] for r in await shop.rows("SELECT content FROM message ORDER BY at, ordinal")]
    assert "here it is: ••••••" in bodies
    assert sum("••••••" in body for body in bodies) == 2
    (row,) = await shop.rows("SELECT content FROM outbox_entry WHERE content->>'body' LIKE 'Your code is%'")
    assert "••••••" in row["content"]["body"]


async def test_until_it_was_sent_only_the_outbox_has_the_code(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {"type": "text"}, "times": 1, "error": 131000}]})
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    (waiting,) = await shop.rows("SELECT content, kept FROM outbox_entry WHERE status = 'RETRYING'")
    assert re.search(r"\b\d{6}\b", waiting["content"]["body"])
    assert "••••••" in waiting["kept"]["body"]
    shop.clock.move(seconds=10)
    await shop.settle()
    await say(shop, await code_of(shop))
    assert (await session(shop))["outcome"] == "SUCCESS"
    assert await shop.rows("SELECT 1 FROM outbox_entry WHERE kept IS NOT NULL") == []


async def test_a_code_that_could_not_be_sent_is_erased_too(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {"type": "text"}, "times": 1, "error": 131026}]})
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    (failed,) = await shop.rows("SELECT content, kept FROM outbox_entry WHERE status = 'FAILED'")
    assert "••••••" in failed["content"]["body"]
    assert failed["kept"] is None


async def test_nothing_of_the_code_is_logged(
    shop: Harness, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code = await ask_for_code(shop)
        await say(shop, another(code))
        await say(shop, code)
    printed = capsys.readouterr()
    assert code not in printed.out + printed.err + caplog.text


async def test_too_many_wrong_codes_lock_whatever_the_number_of_codes(shop: Harness) -> None:
    code = await ask_for_code(shop)
    await say(shop, another(code))
    shop.clock.move(seconds=CONFIRMATION.resend_seconds)
    await say(shop, "1")  # a new code; it brings no new attempts
    code = await code_of(shop)
    await say(shop, another(code))
    await say(shop, another(code))
    row = await session(shop)
    assert (row["state"], row["outcome"]) == ("ACTIVE", "VERIFICATION_REQUIRED")
    assert row["outcome_reason"] == "too many wrong codes; none is sent or checked for 900 s"
    await say(shop, code)
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    assert "too many wrong codes" in (await received(shop))[-1]
    assert await code_of(shop) == code, "none was sent while it is locked"
    assert (await session(shop))["outcome"] == "VERIFICATION_REQUIRED"
    shop.clock.move(seconds=CONFIRMATION.locked_seconds)
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    await say(shop, await code_of(shop))
    assert (await received(shop))[-1] == "order 4711 is cancelled"


async def test_a_new_code_is_not_sent_too_soon_and_ends_the_old_one(shop: Harness) -> None:
    first = await ask_for_code(shop)
    await say(shop, "anything")
    await say(shop, "1")
    assert "I have only just sent you a code" in (await received(shop))[-1]
    shop.clock.move(seconds=CONFIRMATION.resend_seconds)
    await say(shop, "1")
    second = await code_of(shop)
    if first != second:  # once in a million
        await say(shop, first)
        assert "That is not the code" in (await received(shop))[-1]
    await say(shop, second)
    assert (await session(shop))["outcome"] == "SUCCESS"


async def test_an_expired_code_is_not_taken(shop: Harness) -> None:
    code = await ask_for_code(shop)
    shop.clock.move(seconds=CONFIRMATION.code_seconds)
    await say(shop, code)
    assert "no longer valid" in (await received(shop))[-1]
    assert (await session(shop))["outcome"] == "VERIFICATION_REQUIRED"


async def test_a_code_works_once(shop: Harness) -> None:
    code = await ask_for_code(shop)
    await say(shop, code)
    shop.clock.move(seconds=CONFIRMATION.confirmed_seconds + 1)
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    fresh = await code_of(shop)
    if fresh != code:
        await say(shop, code)
        assert "That is not the code" in (await received(shop))[-1]


async def test_a_code_written_after_a_person_took_over_stays_off_the_record(shop: Harness) -> None:
    code = await ask_for_code(shop)
    await say(shop, "agent")
    await say(shop, f"my code is {code}")
    (last,) = await shop.rows("SELECT last_user_message FROM session")
    assert last["last_user_message"] == "my code is ••••••"


async def test_a_worker_that_dies_while_it_checks_leaves_an_orphan_and_no_second_try(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await ask_for_code(shop)
    await shop.say(code, phone=PHONE)
    contact_id = await contact_of(shop)

    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("dragoman.services.dispatching.handle_inbound.check_code", dies)
        with pytest.raises(asyncio.CancelledError):
            await handle(shop.runtime, shop.tenant_id, contact_id)
    await shop.settle()
    assert (await session(shop))["outcome"] == "DISPATCH_ORPHANED"
    await say(shop, code)
    assert (await session(shop))["outcome"] == "SUCCESS", "the code was not used up by the worker that died"


async def test_the_tenant_may_send_codes_to_another_number_only(shop: Harness) -> None:
    policy = Policy(confirmation=replace(CONFIRMATION, channel=OTHER_NUMBER))
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.set_policy(connection, shop.tenant_id, policy)
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    assert (await session(shop))["outcome_reason"] == "the contact has no other number that a code could be sent to"
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        linked = await identities.resolve(
            connection,
            shop.tenant_id,
            (Identity(kind="wa_id", value=PHONE), Identity(kind="wa_id", value="436609998877")),
            display_name=None,
            phone=None,
            locale="en",
            now=shop.clock.now(),
            new_id=shop.runtime.source.new_id,
        )
    assert linked == await contact_of(shop)
    await say(shop, "cancel order 4711")
    await say(shop, "yes")
    (entry,) = await shop.journal(to="436609998877")
    assert (await received(shop))[-1] == "I have sent a code to …877. Please write it here."
    found = re.search(r"\b\d{6}\b", entry["request"]["text"]["body"])
    assert found is not None
    await say(shop, found.group())
    assert (await received(shop))[-1] == "order 4711 is cancelled"


async def test_without_the_skill_in_use_no_code_is_offered(shop: Harness) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.retire(connection, shop.tenant_id, "identity.confirm", now=shop.clock.now())
    await say(shop, "cancel order 4711")
    row = await session(shop)
    assert (row["state"], row["outcome"]) == ("ACTIVE", "VERIFICATION_REQUIRED")
    assert "a colleague will confirm it" in (await received(shop))[-1]
