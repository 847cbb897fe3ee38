"""Exports in the background: made whole or not offered, cancelled, resumed after a death, kept from others, deleted."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.runtime import Runtime
from dragoman.services import sweep
from dragoman.services.exports import background_exports, export_conversations
from dragoman.services.exports.background_exports import ENTRYPOINT, expire, prepare_export
from dragoman.store import exports
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.conversation_list import export_batches
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.exports import ExportRequest
from tests.waiting import PATIENCE_S, eventually, eventually_seen, patience

from .tenant_fixture import AdvancingClock, TenantFixture, bearer
from .test_export_control import LOGS, recorded

API = "/api/v1/exports"
PAGE = "/communications/automation/exports"


@pytest.fixture
async def auditor(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("auditor"))


async def furnish(tenant: TenantFixture, count: int = 4) -> None:
    for number in range(count):
        session_id = await tenant.session(last_user_message=f"Hi {number}", message_count=1)
        await tenant.message(session_id, 1, to_json(Text(f"Hi {number}, call +43 660 1234567")))


async def ask(client: httpx.AsyncClient, headers: dict[str, str], **wanted: Any) -> UUID:
    answer = await client.post(API, json={"format": "jsonl", **wanted}, headers=headers)
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["export_id"])


async def seen(client: httpx.AsyncClient, headers: dict[str, str], export_id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{API}/{export_id}", headers=headers)).json()
    return found


async def row_of(tenant: TenantFixture, export_id: UUID) -> ExportRequest:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await exports.get(connection, tenant.tenant_id, export_id)
    assert found is not None
    return found


def files(runtime: Runtime) -> list[Path]:
    """All that lies in the media store and beside it."""
    return [path for path in (runtime.settings.data_directory / "media").rglob("*") if path.is_file()]


def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Batches of one conversation, of which the second waits: it has begun, and may go on."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    real, calls = export_batches.batch, 0

    async def waiting(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            begun.set()
            await go_on.wait()
        return await real(*arguments, **more)

    monkeypatch.setattr(export_conversations, "BATCH", 1)
    monkeypatch.setattr(background_exports, "REPORT_SECONDS", 0.02)
    monkeypatch.setattr(export_batches, "batch", waiting)
    return begun, go_on


async def test_from_the_form_to_the_file(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    runtime: Runtime,
    auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await furnish(tenant)
    form = {"format": "jsonl", "query": "?outcome=SUCCESS", "transcript": "yes"}
    small = await client.post(f"{LOGS}/export", data=form, headers=auditor)
    assert small.status_code == 200
    monkeypatch.setattr(export_conversations, "BACKGROUND_FROM", 3)
    answer = await client.post(f"{LOGS}/export", data=form, headers=auditor)
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    (job,) = runtime.queue.jobs  # type: ignore[attr-defined]
    assert (job.entrypoint, job.tenant_id) == (ENTRYPOINT, tenant.tenant_id)
    found = await seen(client, auditor, job.key)
    # More than are counted at once: the worker does it.
    assert (found["state"], found["rows_expected"], found["file"]) == ("waiting", None, None)
    assert found["filters"] == {"outcome": ["SUCCESS"]}
    assert (await client.get(f"{API}/{job.key}/file", headers=auditor)).status_code == 404
    page = (await client.get(PAGE, headers=auditor)).text
    assert "Waiting to start" in page
    assert "every 2s" in page
    assert await prepare_export(runtime, tenant.tenant_id, job.key) == "done"
    found = await seen(client, auditor, job.key)
    assert (found["state"], found["rows_done"], found["size"]) == ("done", 4, len(small.content))
    assert found["rows_expected"] == 4
    file = await client.get(found["file"], headers=auditor)
    assert file.content == small.content
    assert hashlib.sha256(file.content).hexdigest() == found["sha256"]
    assert file.headers["content-length"] == str(len(file.content))
    page = (await client.get(PAGE, headers=auditor)).text
    assert found["sha256"] in page
    assert "every 2s" not in page
    assert (await client.get(f"{PAGE}/{job.key}/file", headers=auditor)).content == small.content
    kinds = [(action["action"], action["object_id"]) for action in (await recorded(tenant))[1:]]
    names = ["export.requested", "export.made", "export.downloaded", "export.downloaded"]
    assert kinds == [(name, str(job.key)) for name in names]
    assert len(files(runtime)) == 1
    # A second wake-up does nothing.
    assert await prepare_export(runtime, tenant.tenant_id, job.key) == "left"


async def test_it_says_how_far_it_is_and_stops_when_it_is_cancelled(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    runtime: Runtime,
    auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await furnish(tenant)
    begun, go_on = slow(monkeypatch)
    wanted: list[bool] = []

    async def reported(*arguments: Any, **more: Any) -> bool:
        wanted.append(await report(*arguments, **more))
        return wanted[-1]

    report = exports.report
    monkeypatch.setattr(exports, "report", reported)
    export_id = await ask(client, auditor)
    working = asyncio.create_task(prepare_export(runtime, tenant.tenant_id, export_id))
    await begun.wait()

    async def begun_and_told() -> Any:
        told = await seen(client, auditor, export_id)
        return told if told["rows_done"] else None

    found = await eventually_seen(begun_and_told)
    assert (found["state"], found["rows_done"], found["rows_expected"]) == ("running", 1, 4)
    assert '<progress max="100" value="25"' in (await client.get(PAGE, headers=auditor)).text
    assert len(files(runtime)) == 1  # what there is of it lies in the workspace
    answer = await client.post(f"{PAGE}/{export_id}/cancel", headers=auditor)
    assert answer.status_code == 303
    await eventually(lambda: False in wanted)
    go_on.set()
    assert await working == "stopped"
    assert (await seen(client, auditor, export_id))["state"] == "cancelled"
    assert files(runtime) == []
    assert (await client.get(f"{API}/{export_id}/file", headers=auditor)).status_code == 404
    # What has ended cannot be cancelled, and says nothing more.
    assert (await client.post(f"{PAGE}/{export_id}/cancel", headers=auditor)).status_code == 303
    assert [action["action"] for action in await recorded(tenant)] == ["export.requested", "export.cancelled"]
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "left"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (RuntimeError("secret: hunter2"), "Something went wrong"),
    ],
)
async def test_a_failure_has_a_reason_and_leaves_nothing(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str,
) -> None:  # fmt: skip
    await furnish(tenant)

    async def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(export_batches, "batch", failing)
    export_id = await ask(client, auditor)
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "failed"
    found = await seen(client, auditor, export_id)
    assert said in found["reason"]
    assert "hunter2" not in json.dumps(found)
    assert said in (await client.get(PAGE, headers=auditor)).text
    assert files(runtime) == []


async def test_a_media_store_that_is_away_is_waited_for(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    runtime: Runtime,
    auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await furnish(tenant)
    export_id = await ask(client, auditor)

    async def away(*_: Any) -> None:
        raise BlobsUnavailableError("the bucket is gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(runtime.blobs), "put", away)
        assert await prepare_export(runtime, tenant.tenant_id, export_id) == "waiting"
    found = await seen(client, auditor, export_id)
    assert (found["state"], found["reason"]) == ("waiting", "Waits: the bucket is gone")
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "left"  # not at once
    await let_claim_run_out(tenant, export_id)
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "done"


async def let_claim_run_out(tenant: TenantFixture, export_id: UUID) -> None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "UPDATE export_request SET held_until = clock_timestamp() - interval '1 second' WHERE export_id = $1",
            export_id,
        )


WORKER = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
import httpx
from cryptography.fernet import Fernet
from dragoman.jobs.queue import PgQueue
from dragoman.runtime import Keyring, Runtime, SystemClock, TimeOrderedIds
from dragoman.settings import Settings
from dragoman.services.exports import background_exports, export_conversations
from dragoman.skills.invoker import InProcessSkills
from dragoman.store.conversation_list import export_batches
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.database import Database

async def main(url, home, tenant_id, export_id):
    export_conversations.BATCH = 1
    background_exports.CLAIM_SECONDS = 3600
    real, calls = export_batches.batch, []
    async def slow(*given, **more):
        calls.append(given)
        if len(calls) == 3:
            print("two are written", flush=True)
            await asyncio.Event().wait()
        return await real(*given, **more)
    export_batches.batch = slow
    key, clock = Fernet.generate_key().decode(), SystemClock()
    runtime = Runtime(
        settings=Settings(data_directory=Path(home), secret_key=key), database=await Database.connect(url),
        clock=clock, source=TimeOrderedIds(clock), http=httpx.AsyncClient(), queue=PgQueue(), keyring=Keyring(key),
        classifiers=None, skills=InProcessSkills({}, clock.now), blobs=LocalBlobs(Path(home) / "media"),
    )
    await background_exports.prepare_export(runtime, UUID(tenant_id), UUID(export_id))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_worker_is_followed_by_another_and_leaves_nothing(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    runtime: Runtime,
    auditor: dict[str, str],
    database_urls: DatabaseURLs,
) -> None:
    await furnish(tenant)
    export_id = await ask(client, auditor)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, database_urls.application, str(runtime.settings.data_directory)),
        *(str(tenant.tenant_id), str(export_id)),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    async with patience():
        assert await process.stdout.readline() == b"two are written\n"
    process.kill()
    await process.wait()
    left = files(runtime)
    assert [path.name for path in left] == [f"export-{export_id}.1"]
    found = await row_of(tenant, export_id)
    assert (found.state, found.attempts) == ("running", 1)
    assert (await client.get(f"{API}/{export_id}/file", headers=auditor)).status_code == 404
    # Its claim still holds; when that has run out, the sweep wakes somebody.
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "left"
    runtime.queue.jobs.clear()  # type: ignore[attr-defined]
    await sweep.requeue_overdue(runtime)
    assert runtime.queue.jobs == []  # type: ignore[attr-defined]
    await let_claim_run_out(tenant, export_id)
    await sweep.requeue_overdue(runtime)
    assert [job.key for job in runtime.queue.jobs] == [export_id]  # type: ignore[attr-defined]
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "done"
    file = await client.get(f"{API}/{export_id}/file", headers=auditor)
    assert len(file.text.splitlines()) == 4
    assert (await row_of(tenant, export_id)).attempts == 2
    assert len(files(runtime)) == 1


async def test_a_worker_that_was_overtaken_changes_nothing(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    runtime: Runtime,
    auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await furnish(tenant)
    begun, go_on = slow(monkeypatch)
    # The one that is overtaken does not hear it in time.
    monkeypatch.setattr(background_exports, "REPORT_SECONDS", 10 * PATIENCE_S)
    export_id = await ask(client, auditor)
    working = asyncio.create_task(prepare_export(runtime, tenant.tenant_id, export_id))
    await begun.wait()
    await let_claim_run_out(tenant, export_id)
    elsewhere = dataclasses.replace(runtime, export_slots=asyncio.Semaphore(1))
    assert await prepare_export(elsewhere, tenant.tenant_id, export_id) == "done"
    before = await seen(client, auditor, export_id)
    go_on.set()
    assert await working != "done"
    assert await seen(client, auditor, export_id) == before
    assert hashlib.sha256((await client.get(before["file"], headers=auditor)).content).hexdigest() == before["sha256"]
    assert len(files(runtime)) == 1


async def test_after_many_deaths_it_is_given_up(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    export_id = await ask(client, auditor)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE export_request SET attempts = $1", background_exports.MOST_ATTEMPTS)
    assert await prepare_export(runtime, tenant.tenant_id, export_id) == "failed"
    assert "8 attempts" in (await seen(client, auditor, export_id))["reason"]


async def test_other_tenants_have_nothing_of_it(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    await furnish(tenant)
    export_id = await ask(client, auditor)
    await prepare_export(runtime, tenant.tenant_id, export_id)
    other = await TenantFixture.build(runtime, "other")
    theirs = bearer(await other.token("administrator"))
    for path in ("", "/file"):
        assert (await client.get(f"{API}/{export_id}{path}", headers=theirs)).status_code == 404
    assert (await client.get(f"{PAGE}/{export_id}/file", headers=theirs)).status_code == 404
    assert (await client.delete(f"{API}/{export_id}", headers=theirs)).status_code == 404
    assert (await client.get(API, headers=theirs)).json() == {"items": []}
    assert str(export_id) not in (await client.get(PAGE, headers=theirs)).text
    assert await prepare_export(runtime, other.tenant_id, export_id) == "left"
    assert (await client.get(f"{API}/{uuid4()}", headers=auditor)).status_code == 404


async def test_only_who_may_see_numbers_has_what_holds_them(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    await furnish(tenant)
    analyst = bearer(await tenant.token("analyst"))
    whole = await ask(client, auditor, transcript=True, phone="6601234567")
    masked = await ask(client, analyst, transcript=True)
    for export_id in (whole, masked):
        assert await prepare_export(runtime, tenant.tenant_id, export_id) == "done"
    found = await seen(client, analyst, whole)
    assert (found["filters"], found["file"], found["masked"]) == (None, None, False)
    for path in (f"{API}/{whole}/file", f"{PAGE}/{whole}/file"):
        assert (await client.get(path, headers=analyst)).status_code == 403
    assert "6601234567" not in (await client.get(PAGE, headers=analyst)).text
    assert "6601234567" in (await client.get(PAGE, headers=auditor)).text
    file = (await client.get(f"{API}/{masked}/file", headers=analyst)).text
    assert "1234567" not in file.replace(" ", "")
    assert "1234567" in (await client.get(f"{API}/{whole}/file", headers=auditor)).text.replace(" ", "")
    for role in ("agent", "developer"):
        headers = bearer(await tenant.token(role))
        for path in (API, PAGE, f"{API}/{masked}/file"):
            assert (await client.get(path, headers=headers)).status_code == 403


async def test_a_file_is_offered_for_some_days_and_then_deleted(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    await furnish(tenant)
    first, second = await ask(client, auditor), await ask(client, auditor)
    for export_id in (first, second):
        await prepare_export(runtime, tenant.tenant_id, export_id)
    # The same content twice is two files: one may go without the other.
    assert len(files(runtime)) == 2
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE export_request SET expires_at = $2 WHERE export_id = $1", first,
                                 runtime.clock.now())  # fmt: skip
    assert (await client.get(f"{API}/{first}/file", headers=auditor)).status_code == 404
    assert await expire(runtime, tenant.tenant_id) == 1
    assert (await seen(client, auditor, first))["state"] == "expired"
    assert len(files(runtime)) == 1
    assert (await client.get(f"{API}/{second}/file", headers=auditor)).status_code == 200
    later = dataclasses.replace(runtime, clock=AdvancingClock(runtime.clock.now() + timedelta(days=40)))
    await sweep.clean_up(later)
    await sweep.clean_up(later)
    assert files(runtime) == []
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await exports.recent(connection, tenant.tenant_id, limit=9) == []
    assert (await recorded(tenant))[0]["action"] == "export.requested"


async def test_not_too_many_at_once(
    client: httpx.AsyncClient, tenant: TenantFixture, auditor: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_exports, "MOST_OPEN", 1)
    await ask(client, auditor)
    assert (await client.post(API, json={"format": "csv"}, headers=auditor)).status_code == 429
    form = {"format": "csv", "query": "", "background": "yes"}
    assert (await client.post(f"{LOGS}/export", data=form, headers=auditor)).status_code == 429
    for wrong in ({"format": "xls"}, {"format": "csv", "limit": 3}, {"format": "csv", "shape": "round"}, {}):
        assert (await client.post(API, json=wrong, headers=auditor)).status_code == 422
