"""The queue without workers runs no job before the transaction that asked for it has ended."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from dragoman.jobs import immediate
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.runtime import Job, Runtime

from .tenant_fixture import AdvancingClock


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    keys: list[UUID] = []

    async def run(_runtime: Runtime, _tenant_id: UUID, key: UUID) -> None:
        keys.append(key)

    monkeypatch.setattr(immediate, "ENTRYPOINTS", {"work": run})
    return keys


async def test_a_job_waits_for_the_commit_of_who_asked_for_it(runtime: Runtime, ran: list[UUID]) -> None:
    queue, tenant_id, key = ImmediateQueue(AdvancingClock()), uuid4(), uuid4()
    job = Job(entrypoint="work", tenant_id=tenant_id, key=key)
    async with runtime.database.tenant(tenant_id) as connection:
        await queue.enqueue(connection, [job])
        assert await queue.run_due(runtime) == 0
    assert await queue.run_due(runtime) == 1
    assert ran == [key]


async def test_a_job_that_two_ask_for_waits_for_both(runtime: Runtime, ran: list[UUID]) -> None:
    queue, tenant_id = ImmediateQueue(AdvancingClock()), uuid4()
    job = Job(entrypoint="work", tenant_id=tenant_id, key=uuid4())
    async with runtime.database.tenant(tenant_id) as late:
        await queue.enqueue(late, [job])
        async with runtime.database.tenant(tenant_id) as early:
            await queue.enqueue(early, [job])
        assert await queue.run_due(runtime) == 0
    assert await queue.run_due(runtime) == 1
    assert len(ran) == 1


async def test_without_a_transaction_it_runs_when_it_is_due(runtime: Runtime, ran: list[UUID]) -> None:
    queue = ImmediateQueue(AdvancingClock())
    queue.run_after_commit([Job(entrypoint="work", tenant_id=uuid4(), key=uuid4())])
    assert await queue.run_due(runtime) == 1
