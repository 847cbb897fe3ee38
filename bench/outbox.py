"""The outbox: server time of its list beside the limit, and mails a second beside a bare loop over one connection.

The list is asked through the whole application in process. The mail server is another process that keeps nothing;
both sides send it the same mails, in turn.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiosmtplib
import asyncpg
import httpx

from bench.harness import Result, compare, percentile
from bench.installation import BenchInstallation, open_installation
from bench.logs import LIMIT_MS, log_in
from dragoman.channels.email.outgoing import compose, message_id_of
from dragoman.channels.interface import OutgoingEmail
from dragoman.cli import garbage
from dragoman.domain.content import Text
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.outbound import send_mail
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import NewDelivery
from dragoman.web.app import create_app

PAGE = "/communications/automation/logs?tab=email"
SCREENS = {
    "newest": PAGE,
    "by time of sending": f"{PAGE}&sort=sent",
    "failed": f"{PAGE}&status=FAILED",
    "of one trigger": f"{PAGE}&trigger=trigger_3",
    "failed of one trigger": f"{PAGE}&trigger=trigger_3&status=FAILED",
    "of one recipient": f"{PAGE}&recipient=person777@example.org",
    "API, newest": "/api/v1/outbox",
}

FILL = """
INSERT INTO outbox_entry (tenant_id, outbox_entry_id, channel_account_id, channel, recipient, recipient_kind, content,
    subject, trigger_name, firing_id, status, reason, due_at, created_at, sent_at, attempts, listed)
SELECT $1, gen_random_uuid(), $2, CASE n % 5 WHEN 0 THEN 'whatsapp' ELSE 'email' END,
    'person' || n % 20000 || '@example.org', 'email', '{"kind": "text", "body": "Hello"}', 'About order ' || n,
    'trigger_' || n % 12, gen_random_uuid(), state, CASE state WHEN 'FAILED' THEN 'refused (code 550)' ELSE '' END,
    at, at, CASE state WHEN 'SENT' THEN at + interval '2 seconds' END, 1, true
FROM (SELECT n, $3::timestamptz - n * interval '60 days' / $4 AS at, CASE WHEN n % 50 = 0 THEN 'FAILED'
    WHEN n % 97 = 0 THEN 'SKIPPED' WHEN n % 211 = 0 THEN 'CANCELLED' ELSE 'SENT' END AS state
    FROM generate_series(1, $4::int) AS n) AS made
"""

SINK = """
import asyncio, sys
from aiosmtpd.smtp import SMTP

class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 taken"

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), hostname="sink", enable_SMTPUTF8=False), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def run(*, quick: bool) -> list[Result]:
    """With 100,000 entries, and with a million."""
    results: list[Result] = []
    async with open_installation({}, httpx.MockTransport(lambda _: httpx.Response(404))) as made:
        results += await _throughput(made, mails=300 if quick else 2000, runs=5)
        for size in (100_000,) if quick else (100_000, 1_000_000):
            results += await _lists(made, size, requests=20 if quick else 200)
    return results


async def _lists(made: BenchInstallation, size: int, *, requests: int) -> list[Result]:
    owner = await asyncpg.connect(made.urls.owner)
    await owner.execute("TRUNCATE outbox_entry")
    await owner.execute(FILL, made.tenant_id, made.channel_account_id, datetime.now(UTC), size)
    await owner.execute("VACUUM ANALYZE outbox_entry")
    await owner.close()
    headers = await log_in(made.runtime, made.tenant_id)
    transport = httpx.ASGITransport(create_app(made.runtime))
    garbage.settle()
    results = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:
        for name, address in SCREENS.items():
            taken = await _timed(client, address, requests)
            results.append(
                compare(
                    f"outbox: {name}, {size:,} entries", unit="ms", ours=[percentile(taken, 0.95)], peer=[LIMIT_MS],
                    peer_name="the limit", note=f"p95 of {requests} requests; p50 {percentile(taken, 0.5):.2f}",
                )
            )  # fmt: skip
    return results


async def _timed(client: httpx.AsyncClient, address: str, count: int) -> list[float]:
    taken: list[float] = []
    for place in range(count + 5):
        begun = time.perf_counter()
        response: Any = await client.get(address)
        assert response.status_code == 200, response.text[:300]
        if place >= 5:
            taken.append((time.perf_counter() - begun) * 1000)
    return taken


async def _throughput(made: BenchInstallation, *, mails: int, runs: int) -> list[Result]:
    sink = await asyncio.create_subprocess_exec(sys.executable, "-c", SINK, stdout=subprocess.PIPE)
    try:
        assert sink.stdout is not None
        port = int(await sink.stdout.readline())
        settings = MailboxSettings(name="Bench", mails_per_second=0, smtp_url=f"smtp://127.0.0.1:{port}")
        mailbox = await manage_mailboxes.add_mailbox(
            made.runtime, made.tenant_id, "bench@example.org", settings, COMMAND_LINE
        )
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(runs):
            ours.append(mails / await _ours(made, mailbox, mails))
            bare.append(mails / await _bare(port, mails))
    finally:
        sink.terminate()
        await sink.wait()
    return [
        compare(
            "outbox: mails to a local server", unit="mails/s", ours=ours, peer=bare,
            peer_name="a bare aiosmtplib loop over one connection", higher_is_better=True,
            note=f"{mails} mails a run; at least 0.7 is wanted",
        )
    ]  # fmt: skip


async def _ours(made: BenchInstallation, mailbox: UUID, mails: int) -> float:
    runtime, now = made.runtime, made.runtime.clock.now()
    deliveries = [
        NewDelivery(
            outbox_entry_id=runtime.source.new_id(), channel="email", recipient=f"person{place}@example.org",
            recipient_kind="email", content=Text("Hello"), subject="About your order", trigger_name="bench",
            firing_id=runtime.source.new_id(), status="PENDING", due_at=now, channel_account_id=mailbox,
            email={"subject": "About your order", "text": _TEXT, "html": f"<p>{_TEXT}</p>"},
        )
        for place in range(mails)
    ]  # fmt: skip
    async with runtime.database.tenant(made.tenant_id) as connection:
        await outbox.add_deliveries(connection, made.tenant_id, deliveries, now=now)
    begun = time.perf_counter()
    sent = await send_mail.send_mail(runtime, made.tenant_id, mailbox)
    took = time.perf_counter() - begun
    assert sent == mails, f"{sent} of {mails} were sent"
    return took


_TEXT = "Your order is on its way. " * 20


async def _bare(port: int, mails: int) -> float:
    """The same mails, composed and sent one after the other, with nothing on record."""
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port)
    begun = time.perf_counter()
    async with client:
        for place in range(mails):
            recipient = f"person{place}@example.org"
            mail = OutgoingEmail(
                sender="bench@example.org", sender_name="Bench", recipient=recipient, subject="About your order",
                text=_TEXT, html=f"<p>{_TEXT}</p>", message_id=message_id_of(UUID(int=place), "bench@example.org"),
                at=datetime.now(UTC) - timedelta(),
            )  # fmt: skip
            await client.sendmail("bench@example.org", [recipient], compose(mail))
    return time.perf_counter() - begun
