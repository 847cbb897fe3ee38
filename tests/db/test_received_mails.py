"""The page of the demo's mail server: who may read it, what it shows, and that one may write to the tenant from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from dragoman.runtime import Runtime
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.web.app import create_app
from mail_standin.box import MailBox

from .tenant_fixture import TenantFixture
from .test_people import signed_in

PAGE = "/simulator/mail"


@pytest.fixture
def box(tmp_path: Path) -> MailBox:
    return MailBox(tmp_path / "mails")


@pytest.fixture
async def client(runtime: Runtime, box: MailBox) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(replace(runtime, received_mails=box)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
        yield made


def put(box: MailBox) -> str:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "help@shop.example", "ana@example.org", "<b>Hello</b>"
    message["Message-ID"] = "<1@shop.example>"
    message.set_content("plain <i>words</i>")
    message.add_alternative("<p>rich</p><script>alert(1)</script>", subtype="html")
    return box.add("ana@example.org", message.as_bytes())


async def test_a_mail_is_listed_shown_and_framed(
    client: httpx.AsyncClient, tenant: TenantFixture, box: MailBox
) -> None:
    name = put(box)
    admin = await signed_in(client, tenant, "administrator")
    page = await client.get(f"{PAGE}/{name}", headers=admin)
    assert page.status_code == 200
    assert "&lt;b&gt;Hello&lt;/b&gt;" in page.text
    assert "plain &lt;i&gt;words&lt;/i&gt;" in page.text
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    framed = await client.get(f"{PAGE}/{name}/message", headers=admin)
    assert "<p>rich</p>" in framed.text
    assert framed.headers["content-security-policy"].startswith("default-src 'none'")
    assert "sandbox" in framed.headers["content-security-policy"]
    assert (await client.get(f"{PAGE}/1800000000000-1", headers=admin)).status_code == 404


async def test_whoever_sees_no_numbers_sees_no_mails(
    client: httpx.AsyncClient, tenant: TenantFixture, box: MailBox
) -> None:
    put(box)
    for role in ("auditor", "developer"):
        assert (await client.get(PAGE, headers=await signed_in(client, tenant, role))).status_code == 403


async def test_one_writes_to_a_mailbox_as_anybody(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, box: MailBox
) -> None:
    settings = MailboxSettings(name="Help", smtp_url="")
    await manage_mailboxes.add_mailbox(runtime, tenant.tenant_id, "help@shop.example", settings, COMMAND_LINE)
    name = put(box)
    admin = await signed_in(client, tenant, "administrator")
    form = {"sender": "ana@example.org", "subject": "Re: Hello", "text": "Yes", "mailbox": "help@shop.example"}
    answer = await client.post(PAGE, headers=admin, data={**form, "answers": name})
    assert answer.status_code == 303
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        (row,) = await connection.fetch("SELECT sender, reply_to FROM mailbox")
    assert (row["sender"], row["reply_to"]) == ("ana@example.org", "1@shop.example")
    wrong = await client.post(PAGE, headers=admin, data={**form, "sender": "nobody"})
    assert wrong.status_code == 422
    assert "Enter an email address" in wrong.text


async def test_an_installation_without_the_stand_in_has_no_such_page(runtime: Runtime, tenant: TenantFixture) -> None:
    transport = httpx.ASGITransport(app=create_app(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        admin = await signed_in(client, tenant, "administrator")
        assert (await client.get(PAGE, headers=admin)).status_code == 404
