"""The installation under test: PostgreSQL of its own, web and worker processes that are killed, Meta's stand-in.

Processes are forked from a server that has imported everything, so that one which is killed every few seconds spends
its life working and not importing. Each has a process group of its own; only these are ever killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from cryptography.fernet import Fernet

from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, Limits
from dragoman.runtime import Keyring, SystemClock, TimeOrderedIds
from dragoman.store import embedded, migrate, tenants
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman_shop.pictures import parcel
from tests.chaos import process
from tests.chaos.shop import SHOP
from tests.harness import APP_SECRET, CONTROL, PHONE_NUMBER_ID, TOKEN, VERIFY_TOKEN
from tests.ports import free_port
from tests.waiting import eventually_seen

CHECKOUT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 3
STALL_SECONDS = LEASE_SECONDS + 1.0

POLICY = Policy(
    retry_base_seconds=0.1,
    retry_cap_seconds=0.5,
    misses_before_handoff=1000,
    # Counted, but never refused: what is to be seen is that every message is handled.
    limits=Limits(
        contact_per_minute=10**6, channel_account_per_second=10**6, tenant_per_second=10**6, busy_wait_seconds=0
    ),
    budget=Budget(messages=0, cost_micros=0),
)
"""Nobody is handed over to a person: from then on the dispatcher would be silent."""

HANG_UPS = [
    {"match": {"text": "flaky"}, "times": None, "drop_connection": True},
    {"match": {"text": "part 2"}, "times": 25, "drop_connection": "before"},
    {"match": {"text": "part 3"}, "times": 25, "error": 131000},
    {"match": {"text": "late"}, "times": None, "delay_seconds": 0.5},
    {"match": {"text": "quick"}, "times": None, "statuses": ["delivered", "sent"]},
]
"""What Meta does: takes a message and never answers, hangs up before it, fails for a moment, answers late, and tells
what became of a message in the wrong order.
"""

COULD_NOT_START = re.compile(
    r"dragoman: (the database cannot be reached|CannotConnectNowError|Connection\w*Error|FileNotFoundError)"
)
"""The last line of a process that was started while PostgreSQL was away."""


@dataclass
class Running:
    """A process that should be alive, with its part."""

    role: str
    number: int
    process: ForkServerProcess
    stalled: bool = False


@dataclass
class ChaosInstallation:
    """One tenant, some web processes, some workers, one PostgreSQL, one stand-in."""

    home: Path
    workers: int
    webs: int
    server: Any = None
    urls: DatabaseURLs = field(init=False)
    tenant_id: UUID = field(init=False)
    picture: str = field(init=False)
    secret_key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    running: dict[tuple[str, int], Running] = field(default_factory=dict)
    deaths: list[tuple[int, float]] = field(default_factory=list)
    fell_over: list[str] = field(default_factory=list)
    kills: int = 0
    stalls: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([process.__name__])
        self._ports = [free_port() for _ in range(self.webs)]
        self._graph_port = free_port()
        self._standin: subprocess.Popen[bytes] | None = None

    @property
    def webhooks(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/webhooks/whatsapp" for port in self._ports]

    @property
    def postgres_log(self) -> Path:
        return self.home / "postgres" / "log"

    async def start(self) -> None:
        """Bring everything up, until it answers."""
        self.home.chmod(0o755)  # PostgreSQL's system user has to come by
        forkserver.ensure_running()
        self._start_standin()
        self.server, self.urls = await asyncio.to_thread(embedded.start, self.home)
        await migrate.create_roles(self.urls)
        await asyncio.to_thread(migrate.upgrade, self.urls)
        await self._furnish()
        for number in range(self.webs):
            self.spawn("web", number)
        for number in range(self.workers):
            self.spawn("worker", number)
        async with httpx.AsyncClient(trust_env=False) as client:
            for port in self._ports:
                await _until_it_answers(client, f"http://127.0.0.1:{port}/readyz", self.home)
            await _until_it_answers(client, f"http://127.0.0.1:{self._graph_port}/healthz", self.home)
            headers = {"Authorization": f"Bearer {CONTROL}"}
            url = f"http://127.0.0.1:{self._graph_port}/control"
            (await client.post(url, json={"rules": HANG_UPS}, headers=headers)).raise_for_status()
            self.picture = await self._upload(client)

    async def _upload(self, client: httpx.AsyncClient) -> str:
        """The photo that contacts send; returns Meta's id of it."""
        answer = await client.post(
            f"http://127.0.0.1:{self._graph_port}/v24.0/{PHONE_NUMBER_ID}/media",
            headers={"Authorization": f"Bearer {TOKEN}"},
            data={"messaging_product": "whatsapp", "type": "image/png"},
            files={"file": ("parcel.png", parcel(3), "image/png")},
        )
        return str(answer.raise_for_status().json()["id"])

    def stop(self) -> None:
        """Kill what still runs, and stop PostgreSQL."""
        for one in self.running.values():
            if one.process.is_alive():
                os.kill(one.process.pid or 0, signal.SIGKILL)
                one.process.join(10)
        if self._standin is not None:
            self._standin.kill()
            self._standin.wait(10)
        if self.server is not None:
            self.server.ensure_postgres_running()
            self.server.cleanup()

    async def _furnish(self) -> None:
        connection = await asyncpg.connect(self.urls.owner)
        today = SystemClock().now().date()
        await migrate.ensure_partitions(connection, today, today)
        await connection.close()
        database = await Database.connect(self.urls.application)
        source = TimeOrderedIds(SystemClock())
        now = SystemClock().now()
        self.tenant_id = source.new_id()
        credentials = WhatsAppCredentials(token=TOKEN, app_secret=APP_SECRET, verify_token=VERIFY_TOKEN)
        account = ChannelAccount(
            channel_account_id=source.new_id(),
            channel="whatsapp",
            address=PHONE_NUMBER_ID,
            display="+43 1 555 0100",
            name="Shop",
            # A few contacts write for minutes on end here, more than WhatsApp would let us answer.
            pair_burst=0,
            secrets=Keyring(self.secret_key).encrypt(credentials.to_bytes()),
        )
        async with database.tenant(self.tenant_id) as tenant:
            await tenants.create_tenant(tenant, self.tenant_id, slug="shop", name="Shop", now=now)
            await channel_accounts.add(tenant, self.tenant_id, account, waba_id=None, now=now)
            await skills.register(tenant, self.tenant_id, [s.spec for s in SHOP.values()], now=now)
            await skills.set_policy(tenant, self.tenant_id, POLICY)
        await database.close()

    def _start_standin(self) -> None:
        arguments = [
            "--host", "127.0.0.1", "--port", str(self._graph_port), "--token", TOKEN, "--app-secret", APP_SECRET,
            "--phone-number-id", PHONE_NUMBER_ID, "--control-token", CONTROL, "--webhook-url", self.webhooks[0],
            "--journal", str(self.home / "journal.jsonl"), "--status-delay", "0.1",
        ]  # fmt: skip
        with (self.home / "standin.log").open("ab") as log:
            self._standin = subprocess.Popen(
                [sys.executable, "-m", "graph_standin", *arguments],
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def spawn(self, role: str, number: int) -> None:
        """Start the process of that part."""
        environment = {
            "DRAGOMAN_DATABASE_URL": self.urls.application,
            "DRAGOMAN_OWNER_DATABASE_URL": self.urls.owner,
            "DRAGOMAN_DATA_DIR": str(self.home),
            "DRAGOMAN_SECRET_KEY": self.secret_key,
            "DRAGOMAN_PORT": str(self._ports[number] if role == "web" else 1),
            "DRAGOMAN_GRAPH_URL": f"http://127.0.0.1:{self._graph_port}",
            "DRAGOMAN_LEASE_SECONDS": str(LEASE_SECONDS),
            # Four workers, two webs and the driver share the 100 connections that PostgreSQL has.
            "DRAGOMAN_POOL_SIZE": "10",
            # A skill host imports everything anew: workers that are killed all the time would do nothing else.
            "DRAGOMAN_SKILL_HOSTS": "1" if number == 0 else "0",
            "CHAOS_HOME": str(self.home),
        }
        made = self._context.Process(
            target=process.run, args=(role, environment, self.log_of(role, number)), daemon=True
        )
        made.start()
        self.running[role, number] = Running(role, number, made)

    def kill(self, role: str, number: int) -> None:
        """End it with -9, in the middle of whatever it does, and start another one."""
        one = self.running[role, number]
        if one.process.is_alive():
            os.kill(one.process.pid or 0, signal.SIGKILL)
            self.kills += 1
            self._again(one)

    def _again(self, one: Running) -> None:
        one.process.join(10)
        self.deaths.append((one.process.pid or 0, time.monotonic()))
        self.spawn(one.role, one.number)

    async def stall(self, number: int) -> None:
        """Stop a worker for longer than its leases last, and let it go on as if nothing had happened."""
        one = self.running["worker", number]
        pid = one.process.pid or 0
        if not one.process.is_alive():
            return  # ended by itself, as while the database is away; the supervisor starts another one
        one.stalled = True
        os.kill(pid, signal.SIGSTOP)
        self.stalls += 1
        try:
            await asyncio.sleep(STALL_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)
            one.stalled = False

    async def torment(self, chance: random.Random, *, every: float) -> None:
        """Kill or stall somebody again and again, until this is cancelled."""
        async with asyncio.TaskGroup() as stalls:
            while True:
                await asyncio.sleep(every * chance.uniform(0.5, 1.5))
                what, number = chance.random(), chance.randrange(self.workers)
                if what < 0.08 and self.webs > 1:
                    self.kill("web", chance.randrange(self.webs))
                elif self.running["worker", number].stalled:
                    continue
                elif what < 0.25:
                    stalls.create_task(self.stall(number))
                else:
                    self.kill("worker", number)

    async def restart_postgres(self) -> None:
        """PostgreSQL falls over (no checkpoint, no farewell) and comes back by way of its recovery."""
        self.restarts += 1
        restart = [self.server.bin_path / "pg_ctl", "-w", "-m", "immediate", "-D", self.server.pgdata]
        done = await asyncio.to_thread(
            subprocess.run,
            [*map(str, restart), "-l", str(self.server.log), "restart"],
            user=self.server.system_user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == 0, self.postgres_log.read_text()[-2000:]

    async def supervise(self) -> None:
        """Start again what ended by itself, as any supervisor does; only a database that is away is a reason to."""
        while True:
            for one in list(self.running.values()):
                if not one.process.is_alive():
                    last = self.log_of(one.role, one.number).read_text().splitlines()[-3:]
                    if not any(map(COULD_NOT_START.match, last)):
                        self.fell_over.append(f"{one.role} {one.number} ended with {one.process.exitcode}: {last}")
                    self._again(one)
            await asyncio.sleep(0.2)

    def log_of(self, role: str, number: int) -> Path:
        """Where the processes of that part say what they say."""
        return self.home / f"{role}-{number}.log"


@contextlib.asynccontextmanager
async def installed(home: Path, *, workers: int, webs: int) -> AsyncIterator[ChaosInstallation]:
    """An installation for as long as the block runs."""
    made = ChaosInstallation(home=home, workers=workers, webs=webs)
    try:
        await made.start()
        yield made
    finally:
        await asyncio.to_thread(made.stop)


def _last_words(home: Path) -> str:
    return "\n".join(log.read_text()[-1500:] for log in sorted(home.glob("*.log")))


async def _until_it_answers(client: httpx.AsyncClient, url: str, home: Path) -> None:
    async def answers() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (await client.get(url)).status_code == 200
        return False

    await eventually_seen(answers, otherwise=lambda: f"{url} does not answer\n{_last_words(home)}")
