"""Jobs that cannot succeed: counted, tried again after longer and longer pauses, given up, and out of the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dragoman.domain.events import DispatchOrphaned
from dragoman.jobs import entrypoints
from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.jobs.run_job import run_job
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services import sweep
from dragoman.services.access import password_reset
from dragoman.services.dispatching import commit_turns, handle_inbound
from dragoman.services.dispatching.handle_inbound import MOST_ABANDONED
from dragoman.services.exports.background_exports import ENTRYPOINT as EXPORT
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.services.failed_jobs.record_failure import MOST_ATTEMPTS, PAUSES
from dragoman.services.outbound import apply_statuses as applying
from dragoman.services.outbound import deliver as delivering
from dragoman.store.receiving import mailbox
from dragoman.web.console.failed_jobs import ADDRESS
from tests.harness import Harness
from tests.pipeline.test_channels import HERE, enter, plain

SECRET = "Kanarienvogel"


class PoisonError(Exception):
    """Something is wrong each time, and says what it was working on."""


@pytest.fixture
def counting(shop: Harness) -> Harness:
    assert isinstance(shop.queue, ImmediateQueue)
    shop.queue.counts_failures = True
    return shop


async def over_and_over(shop: Harness, *, times: int = MOST_ATTEMPTS + 2) -> None:
    """Let time go on until a job that always fails has been given up."""
    for _ in range(times):
        await sweep.requeue_overdue(shop.runtime)
        await shop.settle()
        shop.clock.move(seconds=PAUSES[-1].total_seconds())
    await shop.settle()


async def given_up(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows("SELECT * FROM failed_job WHERE given_up_at IS NOT NULL ORDER BY given_up_at")


async def outcomes(shop: Harness) -> list[str | None]:
    return [row["outcome"] for row in await shop.rows("SELECT outcome FROM mailbox ORDER BY arrival")]


Breaking = Callable[[Harness, pytest.MonkeyPatch], None]


def loading(_: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message cannot even be read."""

    async def load_work(*_: Any) -> Any:
        raise PoisonError(SECRET)

    monkeypatch.setattr(commit_turns, "load_work", load_work)


def deciding(_: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core breaks at it."""

    def dispatch(_: Any) -> Any:
        raise PoisonError(SECRET)

    monkeypatch.setattr(handle_inbound, "dispatch", dispatch)


def writing(_: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says cannot be written."""
    real = append.write_turns

    async def write_turns(connection: Any, tenant_id: UUID, entries: Any) -> None:
        for entry in entries:
            if any(SECRET in str(item.content) for item in entry.turn.transcript):
                raise PoisonError(SECRET)
        await real(connection, tenant_id, entries)

    monkeypatch.setattr(append, "write_turns", write_turns)


def recording(_: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it can be put on record, not even that it was given up."""

    async def write_turns(*_: Any) -> None:
        raise PoisonError(SECRET)

    monkeypatch.setattr(append, "write_turns", write_turns)


@pytest.mark.parametrize("breaks", [loading, deciding, writing, recording], ids=lambda f: f.__name__)
async def test_a_message_that_cannot_be_dispatched_is_given_up_and_the_next_one_answered(
    counting: Harness, monkeypatch: pytest.MonkeyPatch, breaks: Breaking
) -> None:
    shop = counting
    with monkeypatch.context() as broken:
        breaks(shop, broken)
        await shop.say(f"answer {SECRET}")
        await over_and_over(shop)
        assert await outcomes(shop) == ["DISPATCH_ORPHANED"]
    (job,) = await given_up(shop)
    assert (job["entrypoint"], job["attempts"]) == ("handle_inbound", MOST_ATTEMPTS)
    assert "PoisonError" in job["cause"]
    assert SECRET not in str(job)
    await shop.say("answer")
    await over_and_over(shop, times=2)
    assert (await outcomes(shop))[-1] == "SUCCESS"
    if breaks in (deciding, writing):
        session_id = UUID(job["subject"]["session_id"])
        reasons = [
            e["payload"]["reason"] for e in await shop.timeline(session_id) if e["type"] == DispatchOrphaned.type
        ]
        assert f"{MOST_ATTEMPTS} attempts failed" in reasons[0]
        assert SECRET not in reasons[0]
        (message, *_) = await shop.rows("SELECT kind, content FROM message WHERE sender = 'contact' ORDER BY ordinal")
        assert message["kind"] == ("text" if breaks is deciding else "unsupported")


async def test_attempts_come_after_pauses_that_grow(counting: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, begun = counting, counting.clock.now()
    tried: list[timedelta] = []

    def dispatch(_: Any) -> Any:
        tried.append(shop.clock.now() - begun)
        raise PoisonError

    monkeypatch.setattr(handle_inbound, "dispatch", dispatch)
    await shop.say("answer")
    while shop.clock.now() - begun < sum(PAUSES, timedelta()) + timedelta(seconds=5):
        await sweep.requeue_overdue(shop.runtime)
        await shop.settle()
        shop.clock.move(seconds=1)
    expected = [timedelta()]
    for pause in PAUSES:
        expected.append(expected[-1] + pause)
    assert [round(at.total_seconds()) for at in tried] == [round(at.total_seconds()) for at in expected]


async def test_a_failure_that_passes_leaves_nothing(counting: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = counting
    with monkeypatch.context() as broken:
        deciding(shop, broken)
        await shop.say("answer")
        await shop.settle()
        (job,) = await shop.rows("SELECT attempts, given_up_at FROM failed_job")
        assert (job["attempts"], job["given_up_at"]) == (1, None)
    await over_and_over(shop, times=4)
    assert await outcomes(shop) == ["SUCCESS"]
    assert await shop.rows("SELECT * FROM failed_job") == []


async def test_another_message_has_all_its_attempts(counting: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed before was got over: it must not count against the next message of the same contact."""
    shop = counting
    for _ in range(3):
        with monkeypatch.context() as broken:
            deciding(shop, broken)
            await shop.say("answer")
            for _ in range(3):
                await shop.settle()
                shop.clock.move(seconds=60)
        await shop.settle()
        shop.clock.move(seconds=120)
        await shop.settle()
    assert await outcomes(shop) == ["SUCCESS"] * 3
    assert await given_up(shop) == []


async def test_a_message_that_takes_its_workers_with_it_is_given_up(
    counting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised: the process is gone, each time before anything is on record."""
    shop = counting
    await shop.say("answer")
    (row,) = await shop.rows("SELECT contact_id FROM mailbox")
    for _ in range(MOST_ABANDONED + 1):
        # A worker takes the contact, and is never heard of again.
        await commit_turns.claim_next(shop.runtime, shop.tenant_id, row["contact_id"])
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE lease SET deadline = now() - interval '1 second'")
    # At once: it has had its attempts.
    await over_and_over(shop, times=1)
    assert await outcomes(shop) == ["DISPATCH_ORPHANED"]
    (job,) = await given_up(shop)
    assert "AbandonedError" in job["cause"]


async def test_only_the_message_that_failed_is_given_up(counting: Harness) -> None:
    """Between its last failure and its end another worker may have had more luck: the next message is none of it."""
    shop = counting
    await shop.say("answer")
    (row,) = await shop.rows("SELECT contact_id, message_id FROM mailbox")
    another = {"message_id": str(shop.runtime.source.new_id())}
    give_up = KINDS["handle_inbound"].give_up
    assert await give_up(shop.runtime, shop.tenant_id, row["contact_id"], another, "no reason") is None
    await shop.settle()
    assert await outcomes(shop) == ["SUCCESS"]


async def test_only_what_a_worker_died_with_counts_against_a_message(counting: Harness) -> None:
    """A takeover is followed by more messages under the same lease: these are none that anybody died of."""
    shop = counting
    for _ in range(3):
        await shop.say("answer")
    (row, *_) = await shop.rows("SELECT contact_id FROM mailbox")
    await commit_turns.claim_next(shop.runtime, shop.tenant_id, row["contact_id"])
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE lease SET deadline = now() - interval '1 second'")
    await over_and_over(shop, times=1)
    assert await outcomes(shop) == ["SUCCESS"] * 3
    counted = await shop.rows("SELECT abandoned FROM mailbox ORDER BY arrival")
    assert [one["abandoned"] for one in counted] == [1, 0, 0]


async def test_a_reply_that_cannot_be_sent_is_given_up_and_the_next_one_goes(
    counting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = counting
    with monkeypatch.context() as broken:

        async def send(*_: Any) -> Any:
            raise PoisonError(SECRET)

        broken.setattr(delivering, "_send", send)
        await shop.say("answer")
        await over_and_over(shop, times=14)
    (entry,) = await shop.rows("SELECT status, reason, session_id FROM outbox_entry")
    assert entry["status"] == "FAILED"
    assert "PoisonError" in entry["reason"]
    assert SECRET not in entry["reason"]
    (job,) = await given_up(shop)
    assert job["entrypoint"] == "deliver"
    await shop.say("answer")
    await over_and_over(shop, times=2)
    entries = await shop.rows("SELECT status FROM outbox_entry ORDER BY sequence")
    assert [one["status"] for one in entries] == ["FAILED", "SENT"]
    # After that somebody retries it: it is sent after all, once.
    async with await enter(shop, "administrator") as ana:
        await ana.post(f"{ADDRESS}/{job['failed_job_id']}/retry")
        await ana.post(f"{ADDRESS}/{job['failed_job_id']}/retry")
    await over_and_over(shop, times=2)
    entries = await shop.rows("SELECT status FROM outbox_entry ORDER BY sequence")
    assert [one["status"] for one in entries] == ["SENT", "SENT"]
    assert len([one for one in await shop.journal() if one["wamid"]]) == 2


async def test_a_status_that_cannot_be_applied_keeps_no_other_from_it(
    counting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = counting
    await shop.say("answer", phone="436601000001")
    await shop.settle()
    (poisoned,) = await shop.rows("SELECT outbox_entry_id, channel_message_id FROM outbox_entry")
    real = applying._apply

    async def apply(runtime: Runtime, connection: Any, tenant_id: UUID, waiting: Any) -> None:
        if any(one.outbox_entry_id == poisoned["outbox_entry_id"] for one in waiting):
            raise PoisonError(SECRET)
        await real(runtime, connection, tenant_id, waiting)

    monkeypatch.setattr(applying, "_apply", apply)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE message_status SET applied = NULL")
        await connection.execute("UPDATE outbox_entry SET delivery = 'sent'")
    await shop.say("answer", phone="436601000002")
    await over_and_over(shop)
    rows = await shop.rows("SELECT recipient, delivery FROM outbox_entry ORDER BY sequence")
    assert [(row["recipient"], row["delivery"]) for row in rows] == [("436601000001", "sent"), ("436601000002", "read")]
    # The hourly look has the last word.
    await sweep.clean_up(shop.runtime)
    kept = await shop.rows(
        "SELECT applied FROM message_status WHERE channel_message_id = $1", poisoned["channel_message_id"]
    )
    assert {row["applied"] for row in kept} == {"kept: it could not be applied, again and again"}


@pytest.mark.parametrize("name", ["settle_contact", "fetch_media", EXPORT, password_reset.ENTRYPOINT])
async def test_any_other_job_is_given_up_and_woken_no_more(
    counting: Harness, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shop, tried = counting, 0

    async def fail(*_: Any) -> None:
        nonlocal tried
        tried += 1
        raise PoisonError(SECRET)

    monkeypatch.setattr(entrypoints, "ENTRYPOINTS", {**ENTRYPOINTS, name: fail})
    monkeypatch.setattr("dragoman.jobs.run_job.ENTRYPOINTS", {**ENTRYPOINTS, name: fail})
    key = shop.runtime.source.new_id()
    await run_job(shop.runtime, name, shop.tenant_id, key)
    await over_and_over(shop)
    assert tried == MOST_ATTEMPTS
    (job,) = await given_up(shop)
    assert (job["entrypoint"], job["key"]) == (name, key)


def test_every_kind_of_job_says_how_it_is_given_up() -> None:
    assert set(KINDS) == set(ENTRYPOINTS)


async def test_a_message_that_was_given_up_is_retried_and_stands_in_the_transcript_once(
    counting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = counting
    with monkeypatch.context() as broken:
        deciding(shop, broken)
        await shop.say("answer")
        await over_and_over(shop, times=MOST_ATTEMPTS)
    (job,) = await given_up(shop)
    async with await enter(shop, "administrator") as ana:
        page = plain(await ana.get(ADDRESS))
        assert "Handle a message" in page
        assert "PoisonError" in page
        metrics = (await shop.web.get("/metrics", headers=HERE)).text
        assert 'dragoman_failed_jobs{job="handle_inbound",state="given_up"} 1.0' in metrics
        answer = await ana.post(f"{ADDRESS}/{job['failed_job_id']}/retry")
        assert "being retried" in plain(await ana.get(answer.headers["location"]))
        await shop.settle()
        assert "No failed jobs" in plain(await ana.get(ADDRESS))
        again = await ana.post(f"{ADDRESS}/{job['failed_job_id']}/retry")
        assert again.status_code == 404
        assert "already" in plain(again)
    assert await outcomes(shop) == ["SUCCESS"]
    session_id = UUID(job["subject"]["session_id"])
    messages = await shop.rows("SELECT sender FROM message WHERE session_id = $1 ORDER BY ordinal", session_id)
    assert [row["sender"] for row in messages] == ["contact", "bot", "bot"]
    types = [event["type"] for event in await shop.timeline(session_id)]
    assert "dispatch.retried" in types
    (action,) = await shop.rows("SELECT action, actor_name FROM administrator_action WHERE action LIKE 'job.%'")
    assert (action["action"], action["actor_name"]) == ("job.retried", "Ana")


async def test_what_is_dismissed_is_off_the_list_and_on_record(
    counting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = counting
    with monkeypatch.context() as broken:
        deciding(shop, broken)
        await shop.say("answer")
        await over_and_over(shop, times=MOST_ATTEMPTS)
    (job,) = await given_up(shop)
    async with await enter(shop, "administrator") as ana:
        await ana.post(f"{ADDRESS}/{job['failed_job_id']}/dismiss")
        assert "No failed jobs" in plain(await ana.get(ADDRESS))
    (action,) = await shop.rows("SELECT action FROM administrator_action WHERE action LIKE 'job.%'")
    assert action["action"] == "job.dismissed"
    assert await outcomes(shop) == ["DISPATCH_ORPHANED"]


async def test_one_tenants_trouble_does_not_keep_the_sweep_from_another(
    counting: Harness, monkeypatch: pytest.MonkeyPatch, sweep_errors: list[str]
) -> None:
    shop = counting
    other = await shop.another_tenant("other")
    real = mailbox.overdue

    async def overdue(connection: Any, tenant_id: UUID, *, now: datetime, limit: int) -> list[UUID]:
        if tenant_id == shop.tenant_id:
            raise PoisonError(SECRET)
        return await real(connection, tenant_id, now=now, limit=limit)

    await other.say("answer")
    assert isinstance(shop.queue, ImmediateQueue)
    shop.queue._jobs.clear()
    monkeypatch.setattr(mailbox, "overdue", overdue)
    await sweep.requeue_overdue(shop.runtime)
    (error,) = sweep_errors
    assert str(shop.tenant_id) in error
    sweep_errors.clear()
    await other.settle()
    assert (await outcomes(other))[-1] == "SUCCESS"
