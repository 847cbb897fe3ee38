"""The real server as its own process, killed with -9 at bad moments; the stand-in is another process and lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet

from dragoman.runtime import Keyring, SystemClock, TimeOrderedIds
from dragoman.store import tenants
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from tests.harness import APP_SECRET, CONTROL, PHONE_NUMBER_ID, TOKEN, VERIFY_TOKEN
from tests.ports import free_port
from tests.process.slow_shop import SHOP
from tests.waiting import PATIENCE_S, eventually_seen

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class KilledServer:
    """``dragoman serve`` with the slow shop's skills, and the stand-in."""

    urls: DatabaseURLs
    home: Path
    secret_key: str
    port: int = field(default_factory=free_port)
    graph_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_standin(self) -> None:
        arguments = [
            "--host", "127.0.0.1", "--port", str(self.graph_port), "--token", TOKEN, "--app-secret", APP_SECRET,
            "--phone-number-id", PHONE_NUMBER_ID, "--control-token", CONTROL,
            "--webhook-url", f"http://127.0.0.1:{self.port}/webhooks/whatsapp",
            "--journal", str(self.home / "journal.jsonl"),
        ]  # fmt: skip
        self._start([sys.executable, "-m", "graph_standin", *arguments], {})

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            "DRAGOMAN_DATABASE_URL": self.urls.application,
            "DRAGOMAN_OWNER_DATABASE_URL": self.urls.owner,
            "DRAGOMAN_DATA_DIR": str(self.home),
            "DRAGOMAN_SECRET_KEY": self.secret_key,
            "DRAGOMAN_PORT": str(self.port),
            "DRAGOMAN_GRAPH_URL": f"http://127.0.0.1:{self.graph_port}",
            # Waited for after each kill. While a server lives nobody else is there to take its leases, however late
            # it is.
            "DRAGOMAN_LEASE_SECONDS": "3",
            "SLOW_SHOP_HOME": str(self.home),
        }
        return self._start([sys.executable, "-m", "tests.process.serve"], environment)

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (self.home / "log").open("ab")
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    async def ready(self) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            for url in (f"http://127.0.0.1:{self.port}/readyz", f"http://127.0.0.1:{self.graph_port}/healthz"):
                await until(lambda url=url: answers(client, url), self.home)  # type: ignore[misc]

    async def say(self, text: str) -> None:
        async with control() as client:
            response = await client.post(
                f"http://127.0.0.1:{self.graph_port}/inbound",
                json={
                    "phone_number_id": PHONE_NUMBER_ID,
                    "from": "436601112233",
                    "name": "Ana Lima",
                    "message": {"type": "text", "text": {"body": text}},
                },
            )
        assert response.json()["status"] == 200, response.text

    async def journal(self) -> list[dict[str, Any]]:
        async with control() as client:
            response = await client.get(f"http://127.0.0.1:{self.graph_port}/journal")
        found: list[dict[str, Any]] = response.json()["entries"]
        return found

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.urls.owner)
        found = [dict(row) for row in await connection.fetch(sql)]
        await connection.close()
        return found


def control() -> httpx.AsyncClient:
    """A client that the stand-in obeys."""
    return httpx.AsyncClient(headers={"Authorization": f"Bearer {CONTROL}"}, timeout=PATIENCE_S)


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def until(condition: Callable[[], Awaitable[bool]], home: Path) -> None:
    """Wait for *condition*; fails with the server's log."""
    await eventually_seen(condition, otherwise=lambda: (home / "log").read_text()[-4000:])


@pytest.fixture
async def server(database_urls: DatabaseURLs, tmp_path: Path) -> AsyncIterator[KilledServer]:
    made = KilledServer(urls=database_urls, home=tmp_path, secret_key=Fernet.generate_key().decode())
    await furnish(made)
    made.start_standin()
    yield made
    for process in made.processes:
        if process.poll() is None:
            made.kill(process)


async def furnish(made: KilledServer) -> None:
    database = await Database.connect(made.urls.application)
    source = TimeOrderedIds(SystemClock())
    now = SystemClock().now()
    tenant_id = source.new_id()
    credentials = WhatsAppCredentials(token=TOKEN, app_secret=APP_SECRET, verify_token=VERIFY_TOKEN)
    account = ChannelAccount(
        channel_account_id=source.new_id(),
        channel="whatsapp",
        address=PHONE_NUMBER_ID,
        display="+43 1 555 0100",
        name="Shop",
        secrets=Keyring(made.secret_key).encrypt(credentials.to_bytes()),
    )
    async with database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug="shop", name="Shop", now=now)
        await channel_accounts.add(connection, tenant_id, account, waba_id=None, now=now)
        await skills.register(connection, tenant_id, [s.spec for s in SHOP.values()], now=now)
    await database.close()


async def test_killed_after_the_200_and_before_the_dispatch(server: KilledServer) -> None:
    """The worker is held back until the message is accepted; then everything dies at once."""
    (server.home / "hold").touch()
    first = server.start()
    await server.ready()
    await server.say("quick")
    assert [r["progress"] for r in await server.rows("SELECT progress FROM mailbox")] == ["waiting"]
    server.kill(first)
    (server.home / "hold").unlink()

    server.start()
    await until(lambda: answered(server, 1), server.home)
    (row,) = await server.rows("SELECT outcome, dispatch_count FROM session")
    assert (row["outcome"], row["dispatch_count"]) == ("SUCCESS", 1)
    assert await outcomes(server) == ["SUCCESS"]


async def test_killed_during_a_slow_skill(server: KilledServer) -> None:
    first = server.start()
    await server.ready()
    await server.say("slow")
    await until(lambda: skill_has_begun(server), server.home)
    server.kill(first)

    second = server.start()
    await until(lambda: answered(server, 1), server.home)
    assert await outcomes(server) == ["DISPATCH_ORPHANED"]
    assert [r["progress"] for r in await server.rows("SELECT progress FROM mailbox")] == ["done"]
    assert (server.home / "begun").read_text() == "slow\n", "the skill must not run a second time"

    await server.say("quick")
    await until(lambda: answered(server, 2), server.home)
    assert await outcomes(server) == ["DISPATCH_ORPHANED", "SUCCESS"]
    assert len(await server.journal()) == 2
    second.terminate()
    assert second.wait(PATIENCE_S) == 0, "a server that is asked to stop stops in good order"


async def answered(server: KilledServer, count: int) -> bool:
    return len(await server.journal()) >= count


async def skill_has_begun(server: KilledServer) -> bool:
    return (server.home / "begun").exists()


async def outcomes(server: KilledServer) -> list[str]:
    """What each dispatch ended with, in order; a dispatch with two outcomes would show twice."""
    rows = await server.rows(
        "SELECT payload->>'outcome' AS outcome FROM audit_event WHERE type = 'outcome.assigned' "
        "AND dispatch_id IS NOT NULL ORDER BY position"
    )
    return [row["outcome"] for row in rows]
