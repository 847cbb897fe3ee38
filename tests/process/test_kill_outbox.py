"""Killed with -9 while mails and WhatsApp templates go out: none is lost, and what went out twice says so.

``DRAGOMAN_OUTBOX_KILLS`` and ``DRAGOMAN_OUTBOX_SIZE`` make it longer: ten kills of a thousand each, say.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

from dragoman.domain.content import Template, Text
from dragoman.runtime import Keyring, SystemClock, TimeOrderedIds
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.channels.mailboxes import MailboxCredentials
from dragoman.store.database import Database
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import NewDelivery
from tests.mail_server import MailServer, mail_server
from tests.process.test_kill import KilledServer, server, until

__all__ = ["server"]

KILLS = int(os.environ.get("DRAGOMAN_OUTBOX_KILLS", "2"))
SIZE = int(os.environ.get("DRAGOMAN_OUTBOX_SIZE", "120"))


async def fill(made: KilledServer, mails: MailServer) -> None:
    """A mailbox, and deliveries of both channels, each to a recipient of its own."""
    database, source = await Database.connect(made.urls.application), TimeOrderedIds(SystemClock())
    (number,) = await made.rows("SELECT tenant_id, channel_account_id FROM channel_account")
    now, tenant_id, mailbox_id = SystemClock().now(), number["tenant_id"], source.new_id()
    credentials = MailboxCredentials(smtp_url=mails.url)
    mailbox = ChannelAccount(
        channel_account_id=mailbox_id, channel="email", address="help@shop.example", display="help@shop.example",
        name="Help", secrets=Keyring(made.secret_key).encrypt(credentials.to_bytes()), messages_per_second=0,
    )  # fmt: skip
    common: dict[str, Any] = {"trigger_name": "news", "status": "PENDING", "due_at": now}
    deliveries = [
        NewDelivery(
            outbox_entry_id=source.new_id(), channel="email", recipient=f"mail{place}@example.org",
            recipient_kind="email", content=Text("Hello"), subject="Hello", firing_id=source.new_id(),
            channel_account_id=mailbox_id, email={"subject": "Hello", "text": "Hello", "html": None}, **common,
        )
        for place in range(SIZE)
    ]  # fmt: skip
    deliveries += [
        NewDelivery(
            outbox_entry_id=source.new_id(), channel="whatsapp", recipient=f"4366{place:08d}", recipient_kind="wa_id",
            content=Template(name="hello", language="en", rendered="Hello"), subject="hello",
            firing_id=source.new_id(), contact_id=source.new_id(), channel_account_id=number["channel_account_id"],
            **common,
        )
        for place in range(SIZE)
    ]  # fmt: skip
    async with database.tenant(tenant_id) as connection:
        await channel_accounts.add(connection, tenant_id, mailbox, waba_id=None, now=now)
        await connection.execute("UPDATE channel_account SET messages_per_second = 0")
        await outbox.add_deliveries(connection, tenant_id, deliveries, now=now)
    await database.close()


async def sent(made: KilledServer) -> int:
    (row,) = await made.rows("SELECT count(*) AS n FROM outbox_entry WHERE status = 'SENT'")
    return int(row["n"])


async def test_kills_lose_nothing_and_what_went_twice_is_marked(server: KilledServer) -> None:
    async with mail_server() as mails:
        await fill(server, mails)
        running = server.start()
        await server.ready()
        points = sorted(random.sample(range(1, SIZE * 2 - SIZE // 4), KILLS))
        for point in points:
            # At whatever it does then: some mails are on their way, some answers not yet on record.
            await until(lambda point=point: has_sent(server, point), server.home)  # type: ignore[misc]
            server.kill(running)
            running = server.start()
        await until(lambda: has_sent(server, SIZE * 2), server.home)

        entries = {row["recipient"]: row for row in await server.rows("SELECT * FROM outbox_entry")}
        times = Counter(recipient for mail in mails.inbox for recipient in mail.recipients)
        times.update(entry["request"]["to"] for entry in await server.journal())
        assert set(times) == set(entries), "none was lost, and nobody else got one"
        twice = {recipient for recipient, count in times.items() if count > 1}
        assert {recipient for recipient in twice if not entries[recipient]["possible_duplicate"]} == set()
        seen = await server.rows(
            "SELECT o.recipient FROM outbox_entry o WHERE o.possible_duplicate AND NOT EXISTS (SELECT FROM "
            "outbox_attempt a WHERE a.outbox_entry_id = o.outbox_entry_id AND a.result = 'unanswered')"
        )
        assert seen == [], "only what was never answered is marked"


async def has_sent(made: KilledServer, count: int) -> bool:
    return await sent(made) >= count
