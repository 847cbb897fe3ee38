"""From a media id in a webhook to bytes that a reader of the transcript can see: real stand-in, real store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from dragoman.channels.whatsapp.media import LIMIT
from dragoman.services import sweep
from dragoman.services.media import erase_media, fetch_media
from dragoman.store import media
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman_shop.pictures import parcel
from graph_standin.media import Stored
from tests.harness import Harness

PICTURE = parcel(3)


async def sent(shop: Harness, content: bytes = PICTURE, mime_type: str = "image/png", **part: Any) -> UUID:
    """A photo arrives; the id of its message."""
    media_id = await shop.upload(content, mime_type)
    await shop.send({"type": "image", "image": {"id": media_id, **part}})
    rows = await shop.rows("SELECT message_id FROM media_file ORDER BY message_id DESC LIMIT 1")
    found: UUID = rows[0]["message_id"]
    return found


async def file_of(shop: Harness, message_id: UUID) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT * FROM media_file WHERE message_id = $1", message_id)
    return row


async def fetched(shop: Harness, message_id: UUID) -> dict[str, Any]:
    await fetch_media.fetch_media(shop.runtime, shop.tenant_id, message_id)
    return await file_of(shop, message_id)


async def test_a_photo_is_fetched_checked_and_described(shop: Harness) -> None:
    message_id = await sent(shop)
    assert (await file_of(shop, message_id))["state"] == "pending"
    await shop.settle()
    row = await file_of(shop, message_id)
    assert (row["state"], row["reason"], row["attempts"]) == ("stored", "", 1)
    assert row["sha256"] == row["claimed_sha256"] == hashlib.sha256(PICTURE).digest()
    (known,) = await shop.rows("SELECT * FROM media_object")
    assert (known["size"], known["mime_type"], known["width"], known["height"]) == (
        len(PICTURE),
        "image/png",
        320,
        240,
    )
    key = BlobKey(shop.tenant_id, row["sha256"])
    parts = [part async for part in shop.runtime.blobs.read(key, 0, known["size"])]
    assert b"".join(parts) == PICTURE
    assert list(shop.runtime.blobs.workspace.iterdir()) == []


async def test_a_message_stands_in_the_transcript_under_the_id_of_its_file(shop: Harness) -> None:
    message_id = await sent(shop)
    await shop.settle()
    assert await shop.rows("SELECT 1 FROM message WHERE message_id = $1", message_id)


async def test_the_same_photo_twice_is_stored_once_and_erased_with_the_last(shop: Harness) -> None:
    first, second = await sent(shop), await sent(shop)
    await shop.settle()
    assert len(await shop.rows("SELECT 1 FROM media_object")) == 1
    erased = await erase_media.erase_messages(shop.runtime, shop.tenant_id, [first], reason="asked")
    assert (erased.files, erased.contents) == (1, 0)
    key = BlobKey(shop.tenant_id, hashlib.sha256(PICTURE).digest())
    assert await shop.runtime.blobs.has(key)
    erased = await erase_media.erase_messages(shop.runtime, shop.tenant_id, [second], reason="asked")
    assert (erased.files, erased.contents, erased.size) == (1, 1, len(PICTURE))
    assert not await shop.runtime.blobs.has(key)
    row = await file_of(shop, second)
    assert (row["state"], row["reason"], row["sha256"]) == ("erased", "asked", None)


async def test_retention_erases_what_is_older_and_nothing_else(shop: Harness) -> None:
    old = await sent(shop, parcel(1))
    await shop.settle()
    shop.clock.move(days=5)
    new = await sent(shop, parcel(2))
    await shop.settle()
    before = shop.clock.now() - timedelta(days=3)
    erased = await erase_media.erase_before(shop.runtime, shop.tenant_id, before)
    assert (erased.files, erased.contents) == (1, 1)
    assert [(await file_of(shop, m))["state"] for m in (old, new)] == ["erased", "stored"]
    assert await erase_media.erase_before(shop.runtime, shop.tenant_id, before) == erase_media.ErasedMedia()


async def test_a_content_that_no_message_has_is_swept_up(shop: Harness) -> None:
    message_id = await sent(shop)
    await shop.settle()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # As if the worker had died between storing and linking, and the file had been erased meanwhile.
        await media.erase_messages(connection, shop.tenant_id, [message_id], reason="asked", now=shop.clock.now())
    assert await erase_media.erase_orphaned_blobs(shop.runtime, shop.tenant_id) == erase_media.ErasedMedia()
    shop.clock.move(hours=2)
    await sweep.clean_up(shop.runtime)
    assert await shop.rows("SELECT 1 FROM media_object") == []
    assert not await shop.runtime.blobs.has(BlobKey(shop.tenant_id, hashlib.sha256(PICTURE).digest()))


async def test_two_workers_do_not_fetch_one_file_twice(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = await sent(shop)
    asked, go_on = asyncio.Event(), asyncio.Event()
    seen = watched(shop, monkeypatch)

    async def slow(request: httpx.Request) -> None:
        if "media-download" in request.url.path:
            asked.set()
            await go_on.wait()

    shop.runtime.http.event_hooks["request"].append(slow)
    first = asyncio.create_task(fetch_media.fetch_media(shop.runtime, shop.tenant_id, message_id))
    await asked.wait()
    assert await fetch_media.fetch_media(shop.runtime, shop.tenant_id, message_id) == "left"
    assert await sweep.requeue_overdue(shop.runtime) >= 0
    await fetch_media.fetch_media(shop.runtime, shop.tenant_id, message_id)
    go_on.set()
    assert await first == "stored"
    await shop.settle()
    assert sum("media-download" in path for path in seen) == 1


async def test_a_worker_that_died_is_followed_and_its_late_write_counts_for_nothing(shop: Harness) -> None:
    message_id = await sent(shop)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        dead = await media.claim(connection, shop.tenant_id, message_id, now=shop.clock.now(), seconds=0.0)
    assert dead is not None
    assert (await fetched(shop, message_id))["state"] == "stored"
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        assert not await media.hold(connection, shop.tenant_id, dead, seconds=60)
        assert not await media.mark_stored(connection, shop.tenant_id, dead, b"x" * 32, now=shop.clock.now())
        await media.mark_failed(connection, shop.tenant_id, dead, "late", now=shop.clock.now())
    assert (await file_of(shop, message_id))["state"] == "stored"


async def test_the_sweep_wakes_somebody_for_a_file_whose_wake_up_was_lost(shop: Harness) -> None:
    message_id = await sent(shop)
    shop.queue._jobs.clear()  # type: ignore[attr-defined]
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert (await file_of(shop, message_id))["state"] == "stored"


async def test_an_overtaken_worker_stops(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_media, "CLAIM_SECONDS", 0.04)
    message_id = await sent(shop)

    async def overtaken(request: httpx.Request) -> None:
        if "media-download" in request.url.path:
            async with shop.runtime.database.tenant(shop.tenant_id) as connection:
                await media.erase_messages(
                    connection, shop.tenant_id, [message_id], reason="gone", now=shop.clock.now()
                )
            await asyncio.Event().wait()

    shop.runtime.http.event_hooks["request"].append(overtaken)
    assert await fetch_media.fetch_media(shop.runtime, shop.tenant_id, message_id) == "left"
    assert (await file_of(shop, message_id))["reason"] == "gone"
    assert list(shop.runtime.blobs.workspace.iterdir()) == []


async def test_what_is_not_what_the_channel_said_is_not_kept(shop: Harness) -> None:
    message_id = await sent(shop, sha256="bm90IHRoYXQgb25lIGJ1dCAzMiBieXRlcyBsb25nISE=")
    for attempt in range(1, fetch_media.MISMATCHES + 1):
        await shop.settle()
        row = await file_of(shop, message_id)
        assert (row["state"], row["attempts"]) == (
            "pending" if attempt < fetch_media.MISMATCHES else "failed",
            attempt,
        )
        shop.clock.move(minutes=5)
    assert "SHA-256" in row["reason"]
    assert await shop.rows("SELECT 1 FROM media_object") == []


async def test_a_file_that_meta_does_not_have_is_given_up_after_seven_days(shop: Harness) -> None:
    await shop.send({"type": "image", "image": {"id": "404404404"}})
    await shop.settle()
    (row,) = await shop.rows("SELECT * FROM media_file")
    assert row["state"] == "pending"
    assert "Meta does not have the file" in row["reason"]
    attempts = []
    for _ in range(16):
        shop.clock.move(hours=12)
        await shop.settle()
        (row,) = await shop.rows("SELECT * FROM media_file")
        attempts.append(row["attempts"])
    assert row["state"] == "failed"
    assert row["settled_at"] <= row["received_at"] + fetch_media.PATIENCE
    assert attempts[-1] < 60


async def test_an_address_that_expired_is_asked_for_again(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = await sent(shop)
    seen = watched(shop, monkeypatch)
    content = shop.standin.files._files
    (media_id,) = content
    real, times = content[media_id], []

    def get(asked: str) -> Stored | None:
        times.append(asked)
        # Located, gone when it is read, located again, read.
        return None if len(times) == 2 else real

    monkeypatch.setattr(shop.standin.files, "get", get)
    assert (await fetched(shop, message_id))["state"] == "stored"
    assert sum("media-download" in path for path in seen) == 2


@pytest.mark.parametrize(
    ("address", "state", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "failed", "not Meta's"),
        ("https://attacker.example/file", "failed", "not Meta's"),
        ("https://facebook.com.attacker.example/file", "failed", "not Meta's"),
        ("http://lookaside.fbsbx.com/file", "failed", "not Meta's"),
        ("https://user@lookaside.fbsbx.com/file", "failed", "not Meta's"),
        ("file:///etc/passwd", "failed", "not Meta's"),
    ],
)
async def test_an_address_that_is_not_metas_is_not_followed(
    shop: Harness, monkeypatch: pytest.MonkeyPatch, address: str, state: str, said: str
) -> None:
    message_id = await sent(shop)
    seen = watched(shop, monkeypatch, answers={"/v24.0/": httpx.Response(200, json={"url": address})})
    row = await fetched(shop, message_id)
    assert (row["state"], said in row["reason"]) == (state, True)
    assert len(seen) == 1


@pytest.mark.parametrize("target", ["https://attacker.example/x", "http://graph.test.attacker.example/x"])
async def test_a_redirect_elsewhere_is_not_followed(
    shop: Harness, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    message_id = await sent(shop)
    seen = watched(shop, monkeypatch, answers={"/media-download/": httpx.Response(302, headers={"location": target})})
    assert (await fetched(shop, message_id))["state"] == "failed"
    assert len(seen) == 2


@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_over_the_limit_is_cut_off_while_it_comes(
    shop: Harness, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr("dragoman.channels.whatsapp.media.LIMIT", len(PICTURE))
    message_id = await sent(shop)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 20_000_000:
            read += 65536
            yield b"x" * 65536

    headers = {"content-length": "20000000"} if declared else {}
    answer = httpx.Response(200, headers=headers, content=endless())
    watched(shop, monkeypatch, answers={"/media-download/": answer})
    row = await fetched(shop, message_id)
    assert (row["state"], "are allowed" in row["reason"]) == ("failed", True)
    assert read == 0 if declared else read < 2_000_000
    assert list(shop.runtime.blobs.workspace.iterdir()) == []


async def test_a_file_that_meta_calls_too_large_is_not_begun(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = await sent(shop)
    monkeypatch.setattr("dragoman.channels.whatsapp.media.LIMIT", len(PICTURE) - 1)
    seen = watched(shop, monkeypatch)
    assert (await fetched(shop, message_id))["state"] == "failed"
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(500, text="oops"), "Meta did not say where"),
        (httpx.Response(401, json={"error": {"code": 190, "message": "expired"}}), "token"),
        (httpx.Response(429, json={"error": {"code": 80007, "message": "slow down"}}), "slow down"),
        (httpx.Response(200, json={"url": None}), "no address"),
        (httpx.Response(200, text="<html>"), "no address"),
    ],
)
async def test_what_may_pass_is_tried_again(
    shop: Harness, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, reason: str
) -> None:
    message_id = await sent(shop)
    with monkeypatch.context() as patched:
        watched(shop, patched, answers={"/v24.0/": answer})
        row = await fetched(shop, message_id)
        assert (row["state"], reason in row["reason"]) == ("pending", True), row["reason"]
        assert row["due_at"] > shop.clock.now()
    shop.clock.move(minutes=20)
    await shop.settle()
    assert (await file_of(shop, message_id))["state"] == "stored"


async def test_a_store_that_is_away_is_waited_for(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = await sent(shop)

    async def away(*_: object) -> None:
        raise BlobsUnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(type(shop.runtime.blobs), "put", away)
        row = await fetched(shop, message_id)
    assert (row["state"], row["reason"]) == ("pending", "the disk is full")
    shop.clock.move(minutes=1)
    await shop.settle()
    assert (await file_of(shop, message_id))["state"] == "stored"


async def test_what_a_dead_worker_left_in_the_workspace_is_removed(shop: Harness) -> None:
    workspace = shop.runtime.blobs.workspace
    workspace.mkdir(parents=True)
    old, new = workspace / "old.1", workspace / "new.1"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = time.time() - fetch_media.LEFT_BEHIND_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    await sweep.clean_up(shop.runtime)
    assert [path.name for path in workspace.iterdir()] == ["new.1"]


async def test_a_message_that_meta_could_not_read_itself_has_no_file_to_fetch(shop: Harness) -> None:
    error = {"code": 131052, "title": "Media download error"}
    await shop.send({"type": "image", "image": {"id": "1"}, "errors": [error]})
    await shop.settle()
    assert await shop.rows("SELECT 1 FROM media_file") == []


def test_the_limit_is_metas() -> None:
    assert LIMIT == 100 * 1024 * 1024


def watched(shop: Harness, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any] | None = None) -> list[str]:
    """Every address that is asked; those whose path begins as one of *answers* get that instead."""
    transport = shop.runtime.http._transport
    seen: list[str] = []

    class Watching(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(f"{request.url}")
            for prefix, answer in (answers or {}).items():
                if request.url.path.startswith(prefix):
                    made: httpx.Response = answer() if callable(answer) else answer
                    return made
            return await transport.handle_async_request(request)

    monkeypatch.setattr(shop.runtime.http, "_transport", Watching())
    return seen
