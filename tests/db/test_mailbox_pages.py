"""Mailboxes on the channels page: added, changed, checked and resumed, beside the numbers; secrets are never shown."""

from __future__ import annotations

import html
import re
from uuid import uuid4

import httpx
import pytest

from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.channels.mailboxes import unseal_mailbox
from dragoman.store.sending.outbox import MAIL
from tests.mail_server import mail_server

from .automation_fixture import furnish_automation
from .tenant_fixture import TenantFixture
from .test_people import signed_in

CHANNELS = "/communications/settings/channels"


@pytest.fixture
async def admin(client: httpx.AsyncClient, tenant: TenantFixture) -> dict[str, str]:
    return await signed_in(client, tenant)


def words(answer: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


async def mailbox(tenant: TenantFixture) -> ChannelAccount:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, tenant.tenant_id)
    (found,) = [account for account in accounts if account.channel == MAIL]
    return found


def server_of(tenant: TenantFixture, account: ChannelAccount) -> str:
    return unseal_mailbox(account.secrets, tenant.runtime.keyring.decrypt).smtp_url


async def test_a_mailbox_is_added_changed_and_checked(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    async with mail_server() as server:
        form = {"address": "Help@House.example", "name": "Help", "mails_per_second": "5", "smtp_url": server.url}
        made = await client.post(f"{CHANNELS}/mailboxes", data=form, headers=admin)
        assert made.headers["location"] == f"{CHANNELS}?done=mailbox-added", words(made)
        page = await client.get(made.headers["location"], headers=admin)
        assert "help@house.example" in words(page)
        assert "Checked" in words(page)
        account = await mailbox(tenant)
        own = f"{CHANNELS}/{account.channel_account_id}"
        edit = await client.get(own, headers=admin)
        assert server.url not in edit.text
        change = {"name": "Care", "mails_per_second": "0", "smtp_url": ""}
        changed = await client.post(own, data=change, headers=admin)
        assert changed.headers["location"] == f"{CHANNELS}?done=mailbox-changed"
        account = await mailbox(tenant)
        assert (account.name, account.messages_per_second, server_of(tenant, account)) == ("Care", 0, server.url)
        checked = await client.post(f"{own}/check", headers=admin)
        assert checked.headers["location"] == f"{CHANNELS}?done=mailbox-checked"
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            await connection.execute(
                "UPDATE channel_account SET stopped_at = now(), stopped_reason = 'The password is wrong.' "
                "WHERE channel = 'email'"
            )
        assert "The password is wrong." in words(await client.get(CHANNELS, headers=admin))
        resumed = await client.post(f"{own}/resume", headers=admin)
        assert resumed.headers["location"] == f"{CHANNELS}?done=resumed"
        assert (await mailbox(tenant)).stopped_at is None
    gone = await client.post(own, data={**change, "own_server_goes": "1"}, headers=admin)
    assert gone.status_code == 303
    assert server_of(tenant, await mailbox(tenant)) == ""
    page = await client.get(CHANNELS, headers=admin)
    assert "No mail server is set up" in words(page)


async def test_what_is_wrong_stands_at_its_field(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    form = {"address": "x", "name": "", "mails_per_second": "many", "smtp_url": "ftp://user:geheim@x"}
    wrong = await client.post(f"{CHANNELS}/mailboxes", data=form, headers=admin)
    assert wrong.status_code == 422
    assert "4 fields need your attention" in words(wrong)
    assert "geheim" not in wrong.text
    await furnish_automation(tenant)
    taken = {"address": "help@house.example", "name": "x", "mails_per_second": "1", "smtp_url": ""}
    assert "already set up" in words(await client.post(f"{CHANNELS}/mailboxes", data=taken, headers=admin))


async def test_a_mailbox_is_no_number(client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]) -> None:
    account_id = await furnish_automation(tenant)
    for what in ("templates", "try"):
        assert (await client.post(f"{CHANNELS}/{account_id}/{what}", headers=admin)).status_code == 404
    page = await client.get(CHANNELS, headers=admin)
    assert page.text.count("Fetch templates") == 1, "the number's"
    assert (await client.get(f"{CHANNELS}/{uuid4()}", headers=admin)).status_code == 404
