"""Attachments of email templates, by the API and on the page: uploaded, saved, taken off, fetched, and refused."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from dragoman.domain.media_types import look
from dragoman.runtime import Runtime
from dragoman.services.automation import template_files
from dragoman.services.media.keep_file import keep_file, read_file
from dragoman.store.automation import mail_templates
from dragoman.store.blobs import BlobsUnavailableError

from .automation_fixture import TEMPLATE
from .tenant_fixture import TenantFixture, bearer
from .test_people import signed_in
from .test_trigger_api import SOURCE, TEMPLATES, faults
from .test_trigger_pages import SOURCE as FORM
from .test_trigger_pages import TEMPLATES as PAGES
from .test_trigger_pages import said_at, words

UPLOADS = f"{TEMPLATES}/attachments"
PDF = b"%PDF-1.7\nprices"
NAME = "Preisliste für März.pdf"


@pytest.fixture
async def admin(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


@pytest.fixture
async def browser(client: httpx.AsyncClient, tenant: TenantFixture) -> dict[str, str]:
    return await signed_in(client, tenant)


async def upload(client: httpx.AsyncClient, headers: dict[str, str], content: bytes = PDF, name: str = NAME) -> Any:
    answer = await client.post(UPLOADS, params={"filename": name}, content=content, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def attachments(tenant: TenantFixture, name: str) -> list[dict[str, Any]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await mail_templates.get(connection, tenant.tenant_id, name)
    assert found is not None
    return [dict(one) for one in found.attachments]


def carried(page: httpx.Response) -> list[str]:
    """What the form sends back of its files."""
    return [html.unescape(one) for one in re.findall(r'name="attachment" value="([^"]*)"', page.text)]


async def test_a_file_is_uploaded_and_named_by_a_version(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    file = await upload(client, admin)
    assert (file["filename"], file["mime_type"], file["size"]) == (NAME, "application/pdf", len(PDF))
    assert await read_file(tenant.runtime, tenant.tenant_id, file["sha256"]) == PDF
    made = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [file]}, headers=admin)
    assert made.status_code == 200, made.text
    assert made.json()["attachments"] == [file]
    assert await attachments(tenant, "news") == [{name: held for name, held in file.items() if name != "proof"}]
    # What is read can be written again, and may be called something else.
    read = (await client.get(f"{TEMPLATES}/news", headers=admin)).json()["attachments"]
    again = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": read}, headers=admin)
    assert again.json()["version"] == 1
    renamed = {**file, "filename": "../prices.pdf"}
    other = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [renamed]}, headers=admin)
    assert [one["filename"] for one in other.json()["attachments"]] == ["prices.pdf"]
    preview = await client.post(f"{TEMPLATES}/preview", json={"name": "news", "version": 1}, headers=admin)
    assert preview.json()["attachments"] == [file]
    unsaved = await client.post(f"{TEMPLATES}/preview", json={"template": TEMPLATE.to_json()}, headers=admin)
    assert unsaved.json()["attachments"] == []


async def test_only_what_was_uploaded_for_mails_of_this_tenant_is_attached(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    stranger = await TenantFixture.build(runtime, "stranger")
    foreign = await upload(client, bearer(await stranger.token("administrator")))
    own = await upload(client, admin)
    assert foreign["sha256"] == own["sha256"]
    # What a message brought, by somebody who knows its digest and its size.
    photo = b"\xff\xd8\xffa contact's photo"
    digest = await keep_file(runtime, tenant.tenant_id, photo, look(photo))
    private = {**own, "sha256": digest, "size": len(photo), "mime_type": "image/jpeg"}
    for wrong in (foreign, private, {**own, "size": 1}, {**own, "mime_type": "text/html"}):
        answer = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [own, wrong]}, headers=admin)
        assert "upload it first" in faults(answer)["attachments.1"]
    unproven = {name: held for name, held in private.items() if name != "proof"}
    answer = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [unproven]}, headers=admin)
    assert "attachments.0.proof" in faults(answer)


async def test_what_cannot_be_attached_is_a_problem_with_its_reason(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = await client.post(UPLOADS, params={"filename": "a.pdf"}, headers=admin)
    assert faults(empty) == {"body": "a.pdf is empty."}
    assert "filename" in faults(await client.post(UPLOADS, content=PDF, headers=admin))
    file = await upload(client, admin)
    for limit in (tenant.runtime.settings.webhook_body_limit, 10):
        large = await client.post(UPLOADS, params={"filename": "a"}, content=b"x" * (limit + 1), headers=admin)
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        monkeypatch.setattr("dragoman.web.api.mail_templates.MOST_FILE_BYTES", 10)
    many = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [file] * 11}, headers=admin)
    assert "attachments" in faults(many)
    monkeypatch.setattr(template_files, "MOST_BYTES", len(PDF))
    heavy = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [file] * 2}, headers=admin)
    assert "together" in faults(heavy)["attachments"]
    reader = bearer(await tenant.token("auditor"))
    assert (await client.post(UPLOADS, params={"filename": "a"}, content=PDF, headers=reader)).status_code == 403
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("DELETE FROM media_object")
    gone = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "attachments": [file]}, headers=admin)
    assert "not there any more" in faults(gone)["attachments.0"]

    async def away(*_: object) -> bool:
        raise BlobsUnavailableError("no route to it")

    monkeypatch.setattr(tenant.runtime.blobs, "has", away)
    lost = await client.post(UPLOADS, params={"filename": "a"}, content=b"Hi", headers=admin)
    assert lost.status_code == 503


async def test_files_are_added_fetched_and_taken_off_on_the_page(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    files = [("file", (NAME, PDF, "application/pdf")), ("file", ("terms.docx", b"PK\x03\x04 terms", "application/x"))]
    made = await client.post(f"{PAGES}/new", data=FORM, files=files, headers=browser)
    assert made.status_code == 303, words(made)
    own = f"{PAGES}/parcel"
    page = await client.get(own, headers=browser)
    assert f"{NAME} PDF, 15 B" in words(page)
    assert "terms.docx DOCX file, 10 B" in words(page)
    assert "not saved yet" not in words(page)
    assert len(carried(page)) == 2
    (first, _) = re.findall(r'href="([^"]*/attachments/[^"]*)"', page.text)
    fetched = await client.get(first, headers=browser)
    assert fetched.content == PDF
    assert fetched.headers["content-disposition"].startswith("attachment; ")
    assert "filename*=UTF-8''Preisliste%20f%C3%BCr%20M%C3%A4rz.pdf" in fetched.headers["content-disposition"]
    assert "sandbox" in fetched.headers["content-security-policy"]
    for nothing in (f"{own}/versions/1/attachments/2", f"{own}/versions/2/attachments/0"):
        assert (await client.get(nothing, headers=browser)).status_code == 404
    # Saved as it stands nothing changes: a field in which nothing was chosen is sent as well.
    standing = client.build_request(
        "POST", own, data={**FORM, "attachment": carried(page)}, files=[("file", ("nothing", b""))]
    )
    content = standing.read().replace(b'filename="nothing"', b'filename=""')
    headers = {**browser, "Content-Type": standing.headers["content-type"]}
    same = await client.post(own, content=content, headers=headers)
    assert same.headers["location"] == f"{own}?done=same", words(same)
    off = {**FORM, "attachment": carried(page), "left_out": "0"}
    assert (await client.post(own, data=off, headers=browser)).headers["location"] == f"{own}?done=saved"
    assert [one["filename"] for one in await attachments(tenant, "parcel")] == ["terms.docx"]
    assert "Changed: the attachments" in words(await client.get(own, headers=browser))
    await client.post(f"{own}/restore", data={"version": "1"}, headers=browser)
    assert [one["filename"] for one in await attachments(tenant, "parcel")] == [NAME, "terms.docx"]


async def test_a_form_that_comes_back_has_kept_its_uploads(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    files = [("file", (NAME, PDF, "application/pdf")), ("file", ("empty.txt", b"", "text/plain"))]
    wrong = await client.post(f"{PAGES}/new", data={**FORM, "html": "{% if %}"}, files=files, headers=browser)
    assert wrong.status_code == 422
    assert said_at(wrong, "attachments") == "empty.txt is empty."
    assert f"{NAME} PDF, 15 B, not saved yet" in words(wrong)
    rows = {**FORM, "act": "rows", "attachment": carried(wrong), "left_out": "0"}
    more = await client.post(f"{PAGES}/new", data=rows, files=files[:1], headers=browser)
    assert more.status_code == 200
    assert len(carried(more)) == 2, "the one that is to go is still there, and can be left in"
    assert len(re.findall(r'name="left_out" value="\d" checked', more.text)) == 1
    made = await client.post(f"{PAGES}/new", data={**FORM, "attachment": carried(wrong)}, headers=browser)
    assert made.status_code == 303
    assert [one["filename"] for one in await attachments(tenant, "parcel")] == [NAME]


async def test_the_form_believes_no_file_without_its_proof(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    stranger = await TenantFixture.build(runtime, "stranger")
    foreign = await upload(client, bearer(await stranger.token("administrator")))
    own = await upload(client, bearer(await tenant.token("administrator")))
    parts = (own["proof"], own["sha256"], str(own["size"]), own["mime_type"], own["filename"])
    for wrong in (
        "", "x", " ".join(parts[:4]), " ".join((foreign["proof"], *parts[1:])), " ".join((parts[0], "\0", *parts[2:])),
        " ".join((*parts[:2], "9" * 5000, *parts[3:])), " ".join((*parts[:2], "²", *parts[3:])),
    ):  # fmt: skip
        answer = await client.post(f"{PAGES}/new", data={**FORM, "attachment": [wrong, wrong]}, headers=browser)
        assert answer.status_code == 422, wrong
        assert said_at(answer, "attachments") == "One of the files was not uploaded here. Add it again."
        assert carried(answer) == []
    assert (
        await client.post(f"{PAGES}/new", data={**FORM, "attachment": " ".join(parts)}, headers=browser)
    ).status_code == 303


async def test_limits_are_said_on_the_page(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [("file", (f"{n}.txt", b"x", "text/plain")) for n in range(11)]
    answer = await client.post(f"{PAGES}/new", data=FORM, files=many, headers=browser)
    assert answer.status_code == 422
    assert said_at(answer, "attachments") == "No more than 10 files can go with a mail."
    assert len(carried(answer)) == 10
    monkeypatch.setattr(template_files, "MOST_BYTES", 3)
    two = [("file", (name, b"xy", "text/plain")) for name in ("a", "b")]
    answer = await client.post(f"{PAGES}/new", data=FORM, files=two, headers=browser)
    assert "together" in said_at(answer, "attachments")

    async def away(*_: object) -> bool:
        raise BlobsUnavailableError("no route to it")

    monkeypatch.setattr(tenant.runtime.blobs, "has", away)
    answer = await client.post(f"{PAGES}/new", data=FORM, files=many[:1], headers=browser)
    assert "cannot be reached" in said_at(answer, "attachments")


async def test_a_preview_lists_what_goes_with_the_mail(client: httpx.AsyncClient, browser: dict[str, str]) -> None:
    files = [("file", ("<b>.pdf", PDF, "application/pdf")), ("file", ("a.txt", b"Hi", "text/plain"))]
    await client.post(f"{PAGES}/new", data=FORM, files=files, headers=browser)
    kept = await client.get(f"{PAGES}/parcel/preview?version=1", headers=browser)
    assert "Attachments b_.pdf (PDF, 15 B) a.txt (Text, 2 B)" in words(kept)
    page = await client.get(f"{PAGES}/parcel", headers=browser)
    shown = {**FORM, "attachment": carried(page), "left_out": "1", "file": ["<i>.png", ""]}
    framed = await client.post(f"{PAGES}/parcel/preview", data=shown, headers=browser)
    assert framed.status_code == 200
    assert "Attachments b_.pdf (PDF, 15 B) <i>.png" in words(framed)
    assert "<i>" not in framed.text
