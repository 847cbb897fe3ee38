"""One-time codes through the whole pipeline: who gets one, what a right and a wrong one do, and where none is left."""

from __future__ import annotations

import asyncio
import json
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


async def report(shop: Harness) -> None:
    tap = {"payload": "DID_NOT_REQUEST_CODE", "text": "I didn't request a code"}
    await shop.send({"type": "button", "button": tap, "context": {"id": "wamid.CODE"}}, phone=PHONE)
    await shop.settle()


async def test_a_code_that_was_not_asked_for_is_void_and_no_topic(shop: Harness) -> None:
    """It went to the classifier, which took it for a wish to confirm: VERIFICATION_REQUIRED, and the code lived on."""
    code = await ask_for_code(shop)
    await report(shop)
    row = await session(shop)
    assert (row["state"], row["outcome"]) == ("ACTIVE", "NONE")
    kinds = [
        e["type"] for e in await shop.timeline(row["session_id"]) if e["type"] in ("classifier.ran", "code.reported")
    ]
    assert kinds == ["code.reported"]
    (errors,) = await shop.rows("SELECT error_count FROM session")
    assert errors["error_count"] == 1
    await say(shop, code)
    assert "cancelled" not in (await received(shop))[-1]
    assert not await shop.rows("SELECT FROM contact WHERE confirmed_until > now()")


async def test_who_reports_a_code_is_not_confirmed_any_more(shop: Harness) -> None:
    await say(shop, await ask_for_code(shop))
    await report(shop)
    await say(shop, "cancel order 4712")
    assert "Shall I send you a code?" in (await received(shop))[-1]
    (note,) = await shop.rows("SELECT detail FROM contact_history WHERE what = 'confirmation_dropped'")
    assert "did not ask" in note["detail"]["reason"]


async def test_an_agents_conversation_voids_the_code_too(shop: Harness) -> None:
    await ask_for_code(shop)
    await say(shop, "agent")
    await report(shop)
    assert (await session(shop))["state"] == "WITH_AGENT"
    assert not await shop.rows("SELECT FROM one_time_code WHERE digest IS NOT NULL")


async def holding(database_urls: DatabaseURLs, *texts: str) -> set[str]:
    """The tables that have one of *texts* in any column of any row, as the owner sees them.

    Bytes are read as the text that they are. Six digits may stand by chance in an id, a digest or a fraction of a
    second: what is looked for stands by itself.
    """
    owner = await asyncpg.connect(database_urls.owner, server_settings={"bytea_output": "escape"})
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    found = set()
    for (name,) in tables:
        for text in texts:
            alone = f"(^|[^0-9A-Za-z.]){re.escape(text)}($|[^0-9A-Za-z])"
            if await owner.fetchval(f'SELECT count(*) FROM "{name}" AS r WHERE r::text ~ $1', alone):
                found.add(name)
    await owner.close()
    return found


async def test_one_time_codes_stay_in_no_table_not_even_in_the_raw_delivery(
    shop: Harness, database_urls: DatabaseURLs
) -> None:
    """Looked for in every column of every table, as the owner, in every way in which people write one."""
    code = await ask_for_code(shop)
    wrong = another(code)
    await say(shop, f"is it {wrong[:3]} {wrong[3:]} ?")
    await say(shop, "7788991")
    await say(shop, f"here it is: {code}")
    assert (await session(shop))["outcome"] == "SUCCESS"
    assert await holding(database_urls, code, wrong, f"{wrong[:3]} {wrong[3:]}", "7788991") == set()
    bodies = [r["content"]["body"] for r in await shop.rows("SELECT content FROM message ORDER BY at, ordinal")]
    assert "here it is: ••••••" in bodies
    (row,) = await shop.rows("SELECT content FROM outbox_entry WHERE content->>'body' LIKE 'Your code is%'")
    assert "••••••" in row["content"]["body"]


async def test_digits_that_are_no_code_stay_in_the_raw_delivery(shop: Harness, database_urls: DatabaseURLs) -> None:
    """Nobody else's, nothing from before it was asked for, and nothing once the code was used."""
    await shop.say("my order is 314159", phone=PHONE)
    code = await ask_for_code(shop)
    await shop.say("my order is 271828", phone="436601112233")
    await shop.settle()
    await say(shop, code)
    await say(shop, "cancel order 161803")
    for number in ("314159", "271828", "161803"):
        assert "raw_delivery" in await holding(database_urls, number), number


async def test_a_code_that_a_delivery_of_many_brings_is_taken_out_of_its_message_alone(
    shop: Harness, database_urls: DatabaseURLs
) -> None:
    code = await ask_for_code(shop)
    messages = [
        {"from": sender, "id": f"wamid.{n}", "timestamp": str(int(shop.clock.now().timestamp())), "type": "text",
         "text": {"body": text}}
        for n, (sender, text) in enumerate(((PHONE, code), ("436601112233", "the order 654321")))
    ]  # fmt: skip
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": harness.PHONE_NUMBER_ID},
        "messages": messages,
    }
    entry = {"id": "555000", "changes": [{"field": "messages", "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    assert (await shop.post(body)).status_code == 200
    await shop.settle()
    assert (await session_of(shop, PHONE))["outcome"] == "SUCCESS"
    assert await holding(database_urls, code) == set()
    (raw,) = await shop.rows(
        "SELECT convert_from(body, 'UTF8') AS body FROM raw_delivery WHERE position('654321' IN body::text) > 0 "
        "OR position('654321'::bytea IN body) > 0"
    )
    assert "[one-time code redacted]" in raw["body"]


async def session_of(shop: Harness, phone: str) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT outcome FROM session WHERE contact_phone = $1", f"+{phone}")
    return row


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
