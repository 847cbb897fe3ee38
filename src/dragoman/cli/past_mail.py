"""The demo's mail: customers write to the mailbox, triggers fire, and an administrator looks after the outbox.

All of it in the last two days of the demo's past, through the real services, to the stand-in for a mail server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Protocol
from uuid import UUID, uuid4

import yaml

from dragoman.domain.outbox_status import EntryAction, OutboxStatus
from dragoman.domain.triggers import TriggerChannel
from dragoman.rendering.templates import EmailTemplate
from dragoman.runtime import Runtime
from dragoman.services.automation import manage_templates, manage_triggers
from dragoman.services.automation.fire_triggers import fire_by_request, fire_triggers
from dragoman.services.automation.webhook_keys import add_webhook_key
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.outbound import manage_entries
from dragoman.store.accounts import user_accounts
from dragoman.store.accounts.actions import COMMAND_LINE, Administrator
from dragoman.store.channels import channel_accounts
from dragoman.store.sending import outbox_list
from dragoman.store.sending.outbox_list import OutboxFilters
from dragoman_shop.customers import PEOPLE
from dragoman_shop.mails import (
    MAILBOX,
    MAILBOX_NAME,
    MAILS,
    NEWSLETTER,
    NEWSLETTER_NAME,
    TEMPLATES,
    TRIGGERS,
    CustomerMail,
)

ON_FOR = timedelta(hours=48)
"""For how long the triggers have been on."""

SHIPPED = (
    ("hedwig.larsen@example.org", "VF-48213", "Hedwig"),
    ("tomas.novak@example.com", "VF-48377", "Tomáš"),
    ("jo.mercier@example.net", "VF-48402", "Jo"),
    ("unknown.customer@example.org", "VF-48410", "Customer"),
    ("busy.mailbox@example.com", "VF-48415", "Kim"),
)
"""Whom the shop's system asks to tell that their order is on its way; two of them cannot be told."""


class MovableDemoClock(Protocol):
    """The demo's clock, which is set to a moment and goes on from there."""

    def move(self, at: datetime) -> None:
        """Set it."""
        ...


async def set_up_mail(runtime: Runtime, tenant_id: UUID, server: str, order_system: str) -> None:
    """Give the tenant its mailboxes, templates and triggers; these are off as yet."""
    for address, name, smtp_url in ((MAILBOX, MAILBOX_NAME, server), (NEWSLETTER, NEWSLETTER_NAME, "")):
        settings = MailboxSettings(name=name, smtp_url=smtp_url)
        await manage_mailboxes.add_mailbox(runtime, tenant_id, address, settings, COMMAND_LINE)
    for template in TEMPLATES:
        source = EmailTemplate.from_json(template.source)
        await manage_templates.save_template(runtime, tenant_id, template.name, template.label, source, COMMAND_LINE)
    for path in TRIGGERS:
        text = path.read_text(encoding="utf-8").replace("{order_system}", order_system)
        trigger = manage_triggers.read_trigger(yaml.safe_load(text))
        await manage_triggers.save_trigger(runtime, tenant_id, trigger, COMMAND_LINE, is_new=True)


@dataclass(slots=True)
class PastMail:
    """What happens by mail, each step at its time."""

    runtime: Runtime
    tenant_id: UUID
    clock: MovableDemoClock
    until: datetime
    settle: Callable[[], Awaitable[None]]
    steps: list[tuple[datetime, Callable[[], Awaitable[None]]]] = field(default_factory=list)
    is_on: bool = False

    def __post_init__(self) -> None:
        self.steps = [(self.until - ON_FOR, self._turn_on)]
        for mail in MAILS:
            self.steps.append((self.until - timedelta(hours=mail.hours_ago), self._write_step(mail)))
        self.steps.append((self.until - timedelta(hours=3), self._ask))
        self.steps.append((self.until - timedelta(hours=2), self._look_after))
        self.steps.sort(key=lambda step: step[0])

    async def pass_to(self, at: datetime) -> None:
        """Let happen what comes before *at*."""
        while self.steps and self.steps[0][0] <= at:
            moment, step = self.steps.pop(0)
            self.clock.move(moment)
            await step()
            await self.settle()

    async def fire(self) -> None:
        """Let triggers answer to what has happened, as the worker does every few seconds."""
        if self.is_on:
            await fire_triggers(self.runtime, self.tenant_id)

    async def _turn_on(self) -> None:
        admin = await self._admin()
        for path in TRIGGERS:
            kept = await manage_triggers.turn_trigger(self.runtime, self.tenant_id, path.stem, admin, on=True)
            if kept.trigger.channel is TriggerChannel.WEBHOOK:
                await add_webhook_key(self.runtime, self.tenant_id, path.stem, admin)
        self.is_on = True

    async def _admin(self) -> Administrator:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            everybody = await user_accounts.list_all(connection, self.tenant_id)
        admin = next(user for user in everybody if user.role == "administrator")
        return Administrator(admin.name, admin.user_id)

    def _write_step(self, mail: CustomerMail) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            await self._write(mail)

        return write

    async def _write(self, mail: CustomerMail) -> None:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            accounts = await channel_accounts.list_all(connection, self.tenant_id)
        mailbox = next(account for account in accounts if account.address == MAILBOX)
        message = EmailMessage()
        message["From"], message["To"] = f"{mail.name} <{mail.sender}>", MAILBOX
        message["Subject"], message["Date"] = mail.subject, self.runtime.clock.now()
        message["Message-ID"] = f"<{uuid4()}@{mail.sender.rpartition('@')[2]}>"
        message.set_content(mail.text)
        await accept_email(self.runtime, self.tenant_id, mailbox.channel_account_id, message.as_bytes(policy=SMTP))

    async def _ask(self) -> None:
        """The shop's system tells what it has shipped."""
        for address, order, customer in SHIPPED:
            await self._request("order_shipped", email=address, order=order, customer=customer, when="on Thursday")
        for number, person in enumerate(one for one in PEOPLE if one.language == "en"):
            if number == 2:
                break
            await self._request(
                "order_shipped_whatsapp",
                phone=person.phone,
                order=f"VF-4842{number}",
                customer=person.name,
                day="Thursday",
            )
        await self._request("tell_warehouse", order="VF-48213", articles=2)
        await self._request("news", email="hedwig.larsen@example.org", order="VF-48213")

    async def _request(self, name: str, **payload: Any) -> None:
        await fire_by_request(self.runtime, self.tenant_id, name, payload, request_id=str(uuid4()))

    async def _look_after(self) -> None:
        """Somebody sends one mail once more, and takes one back that was scheduled."""
        admin = await self._admin()
        for action, status, trigger in (
            (EntryAction.RESEND, OutboxStatus.SENT, "order_shipped"),
            (EntryAction.CANCEL, OutboxStatus.SCHEDULED, "how_was_it"),
        ):
            async with self.runtime.database.tenant(self.tenant_id) as connection:
                page = await outbox_list.page(
                    connection, self.tenant_id, OutboxFilters(statuses=frozenset({status}), trigger=trigger),
                    limit=1, cursor=None, cutoff=self.until - timedelta(days=30),
                )  # fmt: skip
            ids = [entry.outbox_entry_id for entry in page.items]
            if ids:
                await manage_entries.act(
                    self.runtime, self.tenant_id, action, ids, admin, request_id=self.runtime.source.new_id()
                )
