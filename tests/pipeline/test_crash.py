"""Workers that die, stall and come back late: nothing lost, nothing doubled, and the record says what happened."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from uuid import UUID

from dragoman.domain.nouns import Policy
from dragoman.services import sweep
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.outbound.deliver import LONGEST_SETTLE, SETTLE, deliver, settle_time
from dragoman.services.outbound.refusals import backoff
from dragoman.store.catalogue import skills
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_statuses import status


async def contact_of(shop: Harness) -> UUID:
    (row,) = await shop.rows("SELECT contact_id FROM contact")
    found: UUID = row["contact_id"]
    return found


async def steal(shop: Harness, name: str) -> None:
    """Let a lease run out, as if its holder had been killed with -9."""
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE lease SET deadline = now() - interval '1 second' WHERE name = $1", name)


async def die_during_the_skill(shop: Harness, calls: Calls) -> asyncio.Task[int]:
    """A dispatch that has invoked its skill and whose lease then runs out; the task still runs."""
    await shop.say("slow")
    contact_id = await contact_of(shop)
    dying = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    await steal(shop, f"inbound:{contact_id}")
    return dying


async def test_a_message_accepted_before_the_crash_is_dispatched_after_it(shop: Harness) -> None:
    await shop.say("answer")
    shop.queue._jobs.clear()  # type: ignore[attr-defined]  # the wake-up died with its worker
    assert await sweep.requeue_overdue(shop.runtime) == 1
    await shop.settle()
    assert len(await shop.journal()) == 1
    (row,) = await shop.rows("SELECT outcome, dispatch_count FROM session")
    assert (row["outcome"], row["dispatch_count"]) == ("SUCCESS", 1)


async def test_a_dispatch_whose_worker_died_during_the_skill_is_orphaned_once(shop: Harness, calls: Calls) -> None:
    dying = await die_during_the_skill(shop, calls)
    assert await handle(shop.runtime, shop.tenant_id, await contact_of(shop)) == 1
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, state, outcome, outcome_reason, dispatch_count FROM session")
    assert (row["state"], row["outcome"], row["dispatch_count"]) == ("ACTIVE", "DISPATCH_ORPHANED", 1)
    assert "test.slow" in row["outcome_reason"]
    (lost,) = [e for e in await shop.timeline(row["session_id"]) if e["type"] == "dispatch.orphaned"]
    told = lost["payload"]
    assert (told["skill"], told["attempt"], told["worker"]) == ("test.slow", 1, shop.runtime.owner)
    assert len(await shop.journal()) == 1

    calls.go_on.set()  # the dead worker was only slow: its result comes now
    assert await dying == 0
    await shop.settle()
    assert len(await shop.journal()) == 1, "a late result must not be sent"
    timeline = await shop.timeline(row["session_id"])
    late = [e for e in timeline if e["type"] == "dispatch.orphaned" and e["payload"]["late_result"]]
    assert [e["payload"]["late_result"] for e in late] == ["done at last"]
    assert len([e for e in timeline if e["type"] == "outcome.assigned"]) == 1
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_an_orphan_names_its_skill_though_the_worker_died_between_two_attempts(
    shop: Harness, calls: Calls
) -> None:
    pausing = asyncio.Event()

    async def pause(_: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    calls.failures_left = 2
    await shop.say("flaky")
    contact_id = await contact_of(shop)
    dying = asyncio.create_task(handle(replace(shop.runtime, sleep=pause), shop.tenant_id, contact_id))
    await pausing.wait()
    await steal(shop, f"inbound:{contact_id}")
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 1
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    (row,) = await shop.rows("SELECT session_id, outcome, outcome_reason FROM session")
    assert row["outcome"] == "DISPATCH_ORPHANED"
    assert "between two attempts of test.flaky" in row["outcome_reason"]
    (lost,) = [e for e in await shop.timeline(row["session_id"]) if e["type"] == "dispatch.orphaned"]
    assert (lost["payload"]["skill"], lost["payload"]["attempt"]) == ("test.flaky", None)
    assert lost["payload"]["worker"] == shop.runtime.owner


async def test_after_an_orphan_the_next_message_is_served(shop: Harness, calls: Calls) -> None:
    dying = await die_during_the_skill(shop, calls)
    await shop.say("answer")
    assert await handle(shop.runtime, shop.tenant_id, await contact_of(shop)) == 2
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    await shop.settle()
    (row,) = await shop.rows("SELECT outcome, dispatch_count FROM session")
    assert (row["outcome"], row["dispatch_count"]) == ("SUCCESS", 2)
    waiting = await shop.rows("SELECT 1 FROM mailbox WHERE progress <> 'done'")
    assert waiting == []


async def test_an_orphan_of_a_session_that_was_ended_is_closed_on_its_timeline(shop: Harness, calls: Calls) -> None:
    """The session goes to its end under the dead worker; the next worker must not open a new one for it."""
    dying = await die_during_the_skill(shop, calls)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "UPDATE session SET state = 'EXPIRED', state_path = state || '>ACTIVE>EXPIRED', outcome = 'NONE'"
        )
    assert await handle(shop.runtime, shop.tenant_id, await contact_of(shop)) == 1
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id FROM session")
    timeline = await shop.timeline(row["session_id"])
    assert [e["type"] for e in timeline[-2:]] == ["dispatch.orphaned", "outcome.assigned"]
    assert timeline[-1]["payload"]["outcome"] == "DISPATCH_ORPHANED"
    (done,) = await shop.rows("SELECT progress, outcome FROM mailbox")
    assert (done["progress"], done["outcome"]) == ("done", "DISPATCH_ORPHANED")
    assert await shop.journal() == []


async def test_a_worker_that_is_stopped_gives_the_contact_back_at_once(shop: Harness, calls: Calls) -> None:
    await shop.say("slow")
    contact_id = await contact_of(shop)
    stopped = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    stopped.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopped
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 1


async def test_retries_use_one_idempotency_key_and_stand_on_the_timeline(shop: Harness, calls: Calls) -> None:
    calls.failures_left = 2
    await shop.say("flaky")
    await shop.settle()
    assert len(calls.keys) == 3
    assert len(set(calls.keys)) == 1
    (row,) = await shop.rows("SELECT session_id, outcome, error_count FROM session")
    assert (row["outcome"], row["error_count"]) == ("SUCCESS", 2)
    types = [e["type"] for e in await shop.timeline(row["session_id"])]
    assert types.count("skill.failed") == 2
    assert types.count("skill.retry_scheduled") == 2


async def test_a_send_whose_answer_was_never_seen_is_settled_by_its_status(shop: Harness) -> None:
    """Meta took the message and the connection broke: the status names our entry, so it is not sent again."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "drop_connection": True}]})
    await shop.say("answer")
    await shop.settle()
    shop.clock.move(seconds=SETTLE.total_seconds() + 1)
    await shop.settle()
    (entry,) = await shop.rows("SELECT status, attempts, delivery FROM outbox_entry")
    assert (entry["status"], entry["attempts"], entry["delivery"]) == ("SENT", 1, "read")
    (attempt,) = await shop.rows("SELECT result FROM outbox_attempt")
    assert attempt["result"] == "unanswered"


async def test_the_longer_no_answer_is_seen_the_longer_a_status_is_waited_for(shop: Harness) -> None:
    """Each repetition may be a second copy for the contact, and statuses may be late."""
    await shop.graph.post(
        "/control", json={"rules": [{"match": {}, "times": None, "statuses": [], "drop_connection": True}]}
    )
    await shop.say("answer")
    pauses = []
    for _ in range(5):
        await shop.settle()
        (entry,) = await shop.rows("SELECT due_at FROM outbox_entry")
        pauses.append((entry["due_at"] - shop.clock.now()) / SETTLE)
        shop.clock.move(seconds=pauses[-1] * SETTLE.total_seconds())
    assert pauses == [1, 2, 4, 8, 16]


def test_pauses_have_a_limit_however_many_attempts_there_were(shop: Harness) -> None:
    for attempts in (50, 2000, 10**6):
        assert settle_time(attempts) == LONGEST_SETTLE
        assert 0 < backoff(shop.runtime, attempts) <= 300


async def test_what_was_given_up_unanswered_is_delivered_where_a_late_status_says_so(shop: Harness) -> None:
    await shop.graph.post(
        "/control", json={"rules": [{"match": {}, "times": None, "statuses": [], "drop_connection": True}]}
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, shop.tenant_id)).policy
        await skills.set_policy(connection, shop.tenant_id, replace(policy, keep_trying_seconds=2 * 60 * 60))
    await shop.say("answer")
    for _ in range(20):
        await shop.settle()
        shop.clock.move(seconds=LONGEST_SETTLE.total_seconds())
    (entry,) = await shop.rows("SELECT outbox_entry_id, session_id, status, attempts, reason FROM outbox_entry")
    assert (entry["status"], entry["reason"][:14]) == ("FAILED", "gave up after ")
    assert "attempts in 2 hours: WhatsApp did not answer" in entry["reason"]
    correlation = str(entry["outbox_entry_id"])
    for wamid, said in (("wamid.first", "failed"), ("wamid.second", "delivered"), ("wamid.third", "sent")):
        await shop.post(status(wamid, said, 1_790_000_000, biz_opaque_callback_data=correlation))
        await shop.settle()
    (entry,) = await shop.rows("SELECT * FROM outbox_entry")
    assert (entry["status"], entry["delivery"], entry["reason"]) == ("SENT", "delivered", "")
    assert entry["channel_message_id"] == "wamid.second"
    told = [e["payload"] for e in await shop.timeline(entry["session_id"]) if e["type"] == "message.status"]
    assert [(one["status"], one.get("reason", "")[:7]) for one in told] == [
        ("retrying", "WhatsAp"),
        ("failed", "gave up"),
        ("delivered", ""),
    ]


async def test_a_sender_that_died_before_the_answer_leaves_an_unanswered_attempt(shop: Harness) -> None:
    await shop.say("answer")
    contact_id = await contact_of(shop)
    await handle(shop.runtime, shop.tenant_id, contact_id)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # What the dead sender had written: an attempt was begun, and nothing after it.
        await connection.execute("UPDATE outbox_entry SET attempts = 1, due_at = $1", shop.clock.now() + SETTLE)
    assert await deliver(shop.runtime, shop.tenant_id, contact_id) == 0
    shop.clock.move(seconds=SETTLE.total_seconds())
    assert await deliver(shop.runtime, shop.tenant_id, contact_id) == 1
    attempts = await shop.rows("SELECT number, result FROM outbox_attempt ORDER BY number")
    assert [(a["number"], a["result"]) for a in attempts] == [(1, "unanswered"), (2, "accepted")]
    (entry,) = await shop.rows("SELECT possible_duplicate FROM outbox_entry")
    assert entry["possible_duplicate"], "the dead sender's message may have arrived, too"


async def test_a_refusal_that_may_pass_is_tried_again_later(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 2, "error": 131000}]})
    await shop.say("answer")
    for _ in range(3):
        await shop.settle()
        shop.clock.move(seconds=10)
    await shop.settle()
    attempts = await shop.rows("SELECT result, code FROM outbox_attempt ORDER BY number")
    assert [(a["result"], a["code"]) for a in attempts] == [
        ("refused", 131000),
        ("refused", 131000),
        ("accepted", None),
    ]
    (entry,) = await shop.rows("SELECT status FROM outbox_entry")
    assert entry["status"] == "SENT"


async def test_a_refusal_for_good_is_told_on_the_timeline(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131026}]})
    await shop.say("answer")
    await shop.settle()
    (entry,) = await shop.rows("SELECT session_id, status, reason FROM outbox_entry")
    assert entry["status"] == "FAILED"
    last = (await shop.timeline(entry["session_id"]))[-1]
    assert last["type"] == "message.status"
    assert (last["payload"]["status"], last["payload"]["code"]) == ("failed", 131026)
    (row,) = await shop.rows("SELECT error_count FROM session")
    assert row["error_count"] == 1


async def test_idle_sessions_expire_once_and_a_new_message_opens_another(shop: Harness) -> None:
    await shop.say("answer")
    await shop.settle()
    shop.clock.move(seconds=Policy().idle_active_seconds + 1)
    expired = await asyncio.gather(*(sweep.expire_everywhere(shop.runtime) for _ in range(3)))
    assert sum(expired) == 1
    await shop.say("answer")
    await shop.settle()
    rows = await shop.rows("SELECT state, outcome FROM session ORDER BY started_at")
    assert [(r["state"], r["outcome"]) for r in rows] == [("EXPIRED", "SUCCESS"), ("ACTIVE", "SUCCESS")]


async def test_a_message_that_comes_before_the_expiry_was_noticed_opens_a_new_session(shop: Harness) -> None:
    await shop.say("answer")
    await shop.settle()
    shop.clock.move(seconds=Policy().idle_active_seconds + 1)
    await shop.say("answer")
    await shop.settle()
    rows = await shop.rows("SELECT state FROM session ORDER BY started_at")
    assert [r["state"] for r in rows] == ["EXPIRED", "ACTIVE"]
