"""A whole installation in one process, for tests: real database, real application, real stand-in for Meta's side.

Only the clock can be moved, and jobs run when the test says so (or by real workers, with the real queue).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from cryptography.fernet import Fernet
from fastapi import FastAPI

from dragoman.channels.whatsapp.signature import sign
from dragoman.classify.provider import Classifiers
from dragoman.domain.nouns import BusinessPartner, Policy
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.runtime import Keyring, Mailer, Queue, Runtime, TimeOrderedIds
from dragoman.settings import Settings
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import InProcessSkills, SkillInvoker
from dragoman.skills.python import PythonSkill
from dragoman.store import tenants
from dragoman.store.blobs import Blobs
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.contacts import contacts
from dragoman.store.database import Database
from dragoman.web.app import create_app
from graph_standin.app import create_app as create_standin
from graph_standin.config import Number, StandinConfig

PHONE_NUMBER_ID = "100200300400"
APP_SECRET = "app-secret-of-the-test"
VERIFY_TOKEN = "verify-token-of-the-test"
TOKEN = "token-of-the-test"
CONTROL = "control-token-of-the-test"
GRAPH_URL = "http://graph.test"
WEBHOOK_URL = "http://dragoman.test/webhooks/whatsapp"


@dataclass
class MovableClock:
    """Stands still until it is moved."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class Switch(httpx.AsyncBaseTransport):
    """Leads each host to its application in this process, and nowhere else."""

    def __init__(self) -> None:
        self.hosts: dict[str, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.hosts[request.url.host].handle_async_request(request)


@dataclass
class Harness:
    """One tenant, ``shop``, with one WhatsApp number."""

    runtime: Runtime
    clock: MovableClock
    queue: Queue
    tenant_id: UUID
    channel_account_id: UUID
    app: FastAPI
    web: httpx.AsyncClient
    graph: httpx.AsyncClient
    standin: Any
    counter: int = 0
    phone_number_id: str = PHONE_NUMBER_ID

    async def post(self, body: bytes, *, secret: str = APP_SECRET) -> httpx.Response:
        """Deliver *body* to the webhook, signed."""
        return await self.web.post(
            "/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": sign(body, secret)}
        )

    async def say(self, text: str, *, phone: str = "436601112233", name: str = "Ana Lima") -> str:
        """A text message of a contact goes through the stand-in's signed webhook; returns its wamid."""
        return await self.send({"type": "text", "text": {"body": text}}, phone=phone, name=name)

    async def send(self, message: Mapping[str, Any], *, phone: str = "436601112233", name: str = "Ana Lima") -> str:
        """Any message, in Meta's form without id and time stamp."""
        response = await self.graph.post(
            "/inbound",
            json={"phone_number_id": self.phone_number_id, "from": phone, "name": name, "message": dict(message)},
        )
        answer = response.json()
        assert response.status_code == 200, answer
        return str(answer["wamid"])

    async def upload(self, content: bytes, mime_type: str) -> str:
        """A file on Meta's side; returns its media id."""
        response = await self.graph.post(
            f"/v24.0/{self.phone_number_id}/media",
            headers={"Authorization": f"Bearer {TOKEN}"},
            data={"messaging_product": "whatsapp", "type": mime_type},
            files={"file": ("file", content, mime_type)},
        )
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    async def settle(self) -> None:
        """Run jobs until nothing is due and every status has come back."""
        assert isinstance(self.queue, ImmediateQueue)
        while await self.queue.run_due(self.runtime):
            await self.standin.drain()

    async def journal(self, **query: str) -> list[dict[str, Any]]:
        """What the stand-in was asked to send."""
        response = await self.graph.get("/journal", params=query)
        found: list[dict[str, Any]] = response.json()["entries"]
        return found

    async def another_tenant(self, slug: str, policy: Policy | None = None) -> Harness:
        """Set up one more tenant in the same installation, with a WhatsApp number of its own."""
        number = Number(phone_number_id=f"{uuid4().int % 10**15:015d}", token=TOKEN, app_secret=APP_SECRET)
        config = self.standin.config
        self.standin.config = replace(config, numbers=(*config.numbers, number))
        tenant_id, account_id = await _set_up(self.runtime, policy, slug=slug, address=number.phone_number_id)
        return replace(
            self,
            tenant_id=tenant_id,
            channel_account_id=account_id,
            phone_number_id=number.phone_number_id,
            counter=0,
        )

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """What the application sees of this tenant."""
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]

    async def timeline(self, session_id: UUID) -> list[dict[str, Any]]:
        """Audit events of a session, in order."""
        return await self.rows(
            "SELECT position, type, actor_kind, payload, dispatch_id FROM audit_event "
            "WHERE session_id = $1 ORDER BY position",
            session_id,
        )


@asynccontextmanager
async def build(
    database: Database,
    home: Path,
    shop: Mapping[str, PythonSkill] | SkillInvoker,
    *,
    clock: MovableClock | None = None,
    queue: Queue | None = None,
    policy: Policy | None = None,
    lease_seconds: float = 15.0,
    http_skills: HttpSkills | None = None,
    blobs: Blobs | None = None,
    mailer: Mailer | None = None,
) -> AsyncIterator[Harness]:
    """Set the installation up with the skills of *shop*: run in this process, or as the invoker runs them."""
    http_skills = http_skills or HttpSkills()
    clock = clock or MovableClock()
    queue = queue or ImmediateQueue(clock)
    switch = Switch()
    settings = Settings(
        data_directory=home,
        secret_key=Fernet.generate_key().decode(),
        base_url="http://dragoman.test",
        graph_url=GRAPH_URL,
        standin_token=CONTROL,
        lease_seconds=lease_seconds,
    )
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(httpx.AsyncClient(transport=switch))
        stack.push_async_callback(http_skills.aclose)
        runtime = Runtime(
            settings=settings,
            database=database,
            clock=clock,
            source=TimeOrderedIds(clock),
            http=outbound,
            queue=queue,
            keyring=Keyring(settings.secret_key),
            classifiers=Classifiers(http_skills),
            skills=InProcessSkills(shop, clock.now) if isinstance(shop, Mapping) else shop,
            blobs=blobs or LocalBlobs(home / "media"),
            http_skills=http_skills,
            mailer=mailer,
        )
        stack.push_async_callback(runtime.mail.close)
        stack.push_async_callback(runtime.mail_templates.close)
        tenant_id, account_id = await _set_up(runtime, policy)
        app = create_app(runtime)
        standin_app = create_standin(
            StandinConfig(
                webhook_url=WEBHOOK_URL,
                control_token=CONTROL,
                numbers=(Number(phone_number_id=PHONE_NUMBER_ID, token=TOKEN, app_secret=APP_SECRET),),
                journal_path=home / "journal.jsonl",
                public_url=GRAPH_URL,
                http=lambda: httpx.AsyncClient(transport=switch),
                clock=clock.now,
                webhook_pause=0.01,
            )
        )
        switch.hosts["dragoman.test"] = httpx.ASGITransport(app)
        switch.hosts["graph.test"] = httpx.ASGITransport(standin_app)
        web = await stack.enter_async_context(httpx.AsyncClient(transport=switch, base_url="http://dragoman.test"))
        graph = await stack.enter_async_context(
            httpx.AsyncClient(transport=switch, base_url=GRAPH_URL, headers={"Authorization": f"Bearer {CONTROL}"})
        )
        yield Harness(
            runtime=runtime,
            clock=clock,
            queue=queue,
            tenant_id=tenant_id,
            channel_account_id=account_id,
            app=app,
            web=web,
            graph=graph,
            standin=standin_app.state.standin,
        )


async def _set_up(
    runtime: Runtime, policy: Policy | None, *, slug: str = "shop", address: str = PHONE_NUMBER_ID
) -> tuple[UUID, UUID]:
    tenant_id, account_id = runtime.source.new_id(), runtime.source.new_id()
    now = runtime.clock.now()
    credentials = WhatsAppCredentials(token=TOKEN, app_secret=APP_SECRET, verify_token=VERIFY_TOKEN)
    account = ChannelAccount(
        channel_account_id=account_id,
        channel="whatsapp",
        address=address,
        display="+43 1 555 0100",
        name="Shop",
        secrets=runtime.keyring.encrypt(credentials.to_bytes()),
    )
    specs = await runtime.skills.specs()
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug=slug, name=slug.title(), now=now)
        await channel_accounts.add(connection, tenant_id, account, waba_id="555000", now=now)
        await skills.register(connection, tenant_id, specs, now=now)
        if policy is not None:
            await skills.set_policy(connection, tenant_id, policy)
    return tenant_id, account_id


async def add_business_partner(harness: Harness, phone: str) -> None:
    """Match *phone* (E.164) to a business partner."""
    partner = BusinessPartner(
        business_partner_id=harness.runtime.source.new_id(), number="BP-1001", name="Elektro Huber GmbH"
    )
    async with harness.runtime.database.tenant(harness.tenant_id) as connection:
        await contacts.add_business_partner(connection, harness.tenant_id, partner, (phone,), now=harness.clock.now())
