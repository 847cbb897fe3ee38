"""Who gets a file, and in which form: by page and by API, over real bytes in a real store."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from starlette.exceptions import HTTPException

from dragoman.domain.content import Media
from dragoman.services.media.erase_media import erase_messages
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens
from dragoman.store.accounts.roles import ROLES
from dragoman.web.media import ByteRange, disposition, part_of
from dragoman_shop.pictures import parcel
from tests.harness import Harness

PICTURE = parcel(5)


async def token(shop: Harness, role: str = "auditor", tenant_id: UUID | None = None) -> dict[str, str]:
    tenant_id = tenant_id or shop.tenant_id
    async with shop.runtime.database.tenant(tenant_id) as connection:
        now = shop.clock.now()
        made = await api_tokens.create_token(
            connection, tenant_id, token_id=uuid4(), name=role, role=role, now=now, expires_at=now + timedelta(days=200)
        )
    return {"Authorization": f"Bearer {made}"}


async def arrived(shop: Harness, content: bytes, mime_type: str, kind: str = "image", **part: object) -> str:
    """A file arrives and is fetched; its address in the API."""
    media_id = await shop.upload(content, mime_type)
    await shop.send({"type": kind, kind: {"id": media_id, **part}})
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, message_id FROM message WHERE kind = 'media' ORDER BY at DESC LIMIT 1")
    return f"/api/v1/conversations/{row['session_id']}/media/{row['message_id']}"


async def test_a_picture_is_shown_and_can_do_nothing(shop: Harness) -> None:
    address = await arrived(shop, PICTURE, "image/png")
    reader = await token(shop)
    answer = await shop.web.get(address, headers=reader)
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["content-disposition"] == "inline; filename=\"image.png\"; filename*=UTF-8''image.png"
    again = await shop.web.get(address, headers={**reader, "If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    (item,) = (await shop.web.get(address.rpartition("/media/")[0] + "/transcript", headers=reader)).json()["items"][:1]
    described = item["media"]
    assert described["url"] == address
    assert (described["state"], described["mime_type"], described["size"]) == ("stored", "image/png", len(PICTURE))
    assert described["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    page = f"/communications/automation/logs{address.removeprefix('/api/v1/conversations')}"
    assert (await shop.web.get(page, headers=reader)).content == PICTURE
    drawer = (await shop.web.get(page.rpartition("/media/")[0], headers=reader)).text
    # Attributes may stand on lines of their own.
    drawer = " ".join(drawer.split())
    assert f'<img src="{page}" loading="lazy" decoding="async" width="280" height="210" alt="Image">' in drawer


@pytest.mark.parametrize(
    ("content", "claimed"),
    [
        (b"<!doctype html><script>alert(1)</script>", "image/jpeg"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/png"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>", "video/mp4"),
    ],
)
async def test_a_page_that_calls_itself_a_picture_is_a_download(shop: Harness, content: bytes, claimed: str) -> None:
    address = await arrived(shop, content, claimed)
    answer = await shop.web.get(address, headers=await token(shop))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")


async def test_only_who_may_read_the_transcript_gets_it(shop: Harness) -> None:
    address = await arrived(shop, PICTURE, "image/png")
    other = uuid4()
    async with shop.runtime.database.tenant(other) as connection:
        await tenants.create_tenant(connection, other, slug="other", name="Other", now=shop.clock.now())
    assert (await shop.web.get(address)).status_code == 401
    assert (await shop.web.get(address, headers=await token(shop, "administrator", other))).status_code == 404
    reader = await token(shop)
    session, _, message = address.removeprefix("/api/v1/conversations/").partition("/media/")
    assert (await shop.web.get(f"/api/v1/conversations/{uuid4()}/media/{message}", headers=reader)).status_code == 404
    assert (await shop.web.get(f"/api/v1/conversations/{session}/media/{uuid4()}", headers=reader)).status_code == 404
    for role, permissions in ROLES.items():
        answer = await shop.web.get(address, headers=await token(shop, role))
        assert answer.status_code == (200 if "communications.access:read" in permissions else 403), role
    shop.clock.move(days=91)
    assert (await shop.web.get(address, headers=await token(shop))).status_code == 404


async def test_what_is_not_there_says_why(shop: Harness) -> None:
    await shop.send({"type": "image", "image": {"id": "404404404"}})
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, message_id FROM message WHERE kind = 'media'")
    address = f"/api/v1/conversations/{row['session_id']}/media/{row['message_id']}"
    reader = await token(shop)
    answer = await shop.web.get(address, headers=reader)
    assert answer.status_code == 409
    assert "Meta does not have the file" in answer.json()["detail"]
    await erase_messages(shop.runtime, shop.tenant_id, [row["message_id"]], reason="asked by the contact")
    answer = await shop.web.get(address, headers=reader)
    assert answer.status_code == 410
    assert "asked by the contact" in answer.json()["detail"]


async def test_a_content_that_was_lost_is_no_crash(shop: Harness) -> None:
    address = await arrived(shop, PICTURE, "image/png")
    for path in (shop.runtime.settings.data_directory / "media" / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    assert (await shop.web.get(address, headers=await token(shop))).status_code == 404


async def test_players_read_in_parts(shop: Harness) -> None:
    address = await arrived(shop, PICTURE, "image/png")
    reader = await token(shop)

    async def ask(**headers: str) -> httpx.Response:
        return await shop.web.get(address, headers={**reader, **{k.replace("_", "-"): v for k, v in headers.items()}})

    answer = await ask(range="bytes=10-19")
    assert (answer.status_code, answer.content) == (206, PICTURE[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{len(PICTURE)}"
    assert (await ask(range="bytes=-5")).content == PICTURE[-5:]
    answer = await ask(range=f"bytes={len(PICTURE)}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(PICTURE)}")
    assert (await ask(range="bytes=10-19", if_range='"another"')).content == PICTURE


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", ByteRange(0, 100)),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=90-500", ByteRange(90, 100)),
        ("bytes=-500", ByteRange(0, 100)),
        ("bytes=5-1", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header: str | None, part: ByteRange | None) -> None:
    assert part_of(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=999999999999999999-"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(HTTPException) as refused:
        part_of(header, 100)
    assert refused.value.status_code == 416


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Rechnung Nr. 7.pdf", "Rechnung Nr. 7.pdf"),
        ("../../etc/passwd", "etc_passwd"),
        ('a"; filename="evil.html', "a_; filename=_evil.html"),
        ("a\r\nSet-Cookie: x=1", "a_Set-Cookie_ x=1"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("रसीद.pdf", "____.pdf"),
        ("", "document.pdf"),
        ("...", "document.pdf"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_name_is_a_name_and_nothing_else(name: str, shown: str) -> None:
    header = disposition(Media(media="document", filename=name), "application/pdf")
    assert header.startswith(f"attachment; filename=\"{shown}\"; filename*=UTF-8''")
    assert header.isascii()
    assert not set(header) & {"\r", "\n", "\0"}


def test_a_reader_who_sees_no_numbers_is_not_told_the_senders_name_for_it() -> None:
    content = Media(media="document", filename="+436601234567.pdf")
    assert "436601234567" not in disposition(content, "application/pdf", named=False)
