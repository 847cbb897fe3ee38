"""The site of the browser tests: the whole installation with conversations, behind a real server on this machine.

It lives in a thread with a loop of its own, so that the tests can use Playwright's synchronous API.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import uvicorn

import dragoman_shop
from dragoman.channels.email.smtp import Smtp
from dragoman.domain.nouns import BusinessPartner, MenuItem, Policy
from dragoman.services.dispatching.expire_sessions import expire_sessions
from dragoman.skills import registry
from dragoman.store import tenants
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.store.contacts import contacts
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman_shop import pace, recordings
from dragoman_shop.pictures import parcel
from tests import harness
from tests.browser import gallery
from tests.browser.people import CONVERSATIONS, GALLERY, MARINA, MARINA_SAYS, BrowserPerson, Step
from tests.conftest import clone_template
from tests.harness import Harness, MovableClock
from tests.waiting import PATIENCE_S, eventually_seen

T = TypeVar("T")
PASSWORD = "a long password of the tests"
ADMIN = "admin@shop.example"
AUDITOR = "auditor@shop.example"
NEWCOMER = "admin@empty.example"

LOOKED_AT = (
    *("session", "message", "contact", "business_partner", "channel_account", "legal_hold"),
    *("user_account", "second_factor", "role", "api_token", "saved_view", "saved_view_default"),
    *("review_mark", "review_note", "review_tag", "skill", "flow", "menu"),
)
"""Tables whose rows a page shows to more than who wrote them."""

MENU = (
    MenuItem(skill="orders.status", titles={"en": "Track an order", "pt": "Rastrear pedido", "de": "Bestellung"}),
    MenuItem(skill="orders.return", titles={"en": "Return something", "pt": "Devolver", "de": "Rückgabe"}),
    MenuItem(skill="stores.hours", titles={"en": "Opening hours", "pt": "Horários", "de": "Öffnungszeiten"}),
)


@dataclass
class RunningClock(MovableClock):
    """Is moved through the past, and then runs."""

    started: float | None = None

    def now(self) -> datetime:
        ran = 0.0 if self.started is None else time.monotonic() - self.started
        return self.at + timedelta(seconds=ran)

    def run(self) -> None:
        self.at = max(self.at, datetime.now(UTC))
        self.started = time.monotonic()


@dataclass
class BrowserServer:
    """Where the pages are, and what one tenant has on them.

    ``sessions`` maps a person's phone to their latest session; ``admin`` and ``auditor`` are who may sign in.
    """

    url: str
    harness: Harness
    loop: asyncio.AbstractEventLoop
    sessions: dict[str, UUID] = field(default_factory=dict)
    admin: str = ADMIN
    auditor: str = AUDITOR

    def do(self, work: Awaitable[T]) -> T:
        """Run *work* in the server's loop."""

        async def wait() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(wait(), self.loop)
        # Longer than what waits inside it, which says what it waited for.
        return future.result(2 * PATIENCE_S)

    def own_tenant(self) -> BrowserServer:
        """Return the same pages for a new tenant, in which a test may write what it likes."""
        return self.do(self._own_tenant(f"own-{uuid4().hex[:12]}"))

    async def _own_tenant(self, slug: str) -> BrowserServer:
        harness = await self.harness.another_tenant(slug, _policy())
        admin, auditor = f"admin@{slug}.example", f"auditor@{slug}.example"
        await employ(
            harness, harness.tenant_id, (admin, "Ana Lima", "administrator"), (auditor, "Rui Costa", "auditor")
        )
        return replace(self, harness=harness, sessions={}, admin=admin, auditor=auditor)

    def converse(self, text: str, *, phone: str, name: str) -> UUID:
        """Let a contact of this tenant write *text*, wait until the bot's reply was read, and return their session."""

        async def replied() -> UUID:
            wamid = await self.harness.say(text, phone=phone, name=name)
            return await eventually_seen(lambda: self._answered(wamid), otherwise=lambda: f"no reply to {text!r}")

        return self.do(replied())

    async def _answered(self, wamid: str) -> UUID | None:
        rows = await self.harness.rows(
            "SELECT asked.session_id FROM message asked JOIN message reply USING (session_id) "
            "JOIN outbox_entry entry ON entry.message_id = reply.message_id "
            "JOIN message_status status ON status.channel_message_id = entry.channel_message_id "
            "WHERE asked.channel_message_id = $1 AND reply.sender = 'bot' AND reply.ordinal > asked.ordinal "
            "AND status.status = 'read' AND status.applied IS NOT NULL",
            wamid,
        )
        return rows[0]["session_id"] if rows else None

    async def contents(self) -> dict[str, int]:
        """Count what the tests that look at this tenant find in it."""
        counts = [f"SELECT '{table}' AS what, count(*) AS number FROM {table}" for table in LOOKED_AT]
        counts.append("SELECT 'events', sum(next_position - 1)::bigint FROM session")
        return {row["what"]: row["number"] for row in await self.harness.rows(" UNION ALL ".join(counts))}

    def ticket(self, email: str, awaits: login_sessions.Awaits | None = None) -> str:
        """The cookie of somebody who signed in, or gave a password and has something left to do."""

        async def signed_in() -> str:
            runtime = self.harness.runtime
            login = await user_accounts.find_login(runtime.database, email)
            assert login is not None
            async with runtime.database.tenant(login.tenant_id) as connection:
                opened = await login_sessions.open_login_session(
                    connection, login.tenant_id, login.user_id, now=runtime.clock.now(), awaits=awaits
                )
            return opened.secret

        return self.do(signed_in())

    def session_of(self, person: BrowserPerson) -> UUID:
        return self.sessions[f"+{person.phone}"]


@contextmanager
def open_stage(urls: DatabaseURLs) -> Iterator[BrowserServer]:
    """Play the conversations into the database of *urls* and serve the pages until the block ends."""
    ready: Future[BrowserServer] = Future()
    done = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(urls, ready, done)), name="site", daemon=True)
    thread.start()
    try:
        yield ready.result(3 * PATIENCE_S)
    finally:
        done.set()
        thread.join(PATIENCE_S)


async def _serve(urls: DatabaseURLs, ready: Future[BrowserServer], done: threading.Event) -> None:
    try:
        await _open(urls, ready, done)
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


async def _open(urls: DatabaseURLs, ready: Future[BrowserServer], done: threading.Event) -> None:
    pace.factor = 0.05
    clock = RunningClock(at=datetime.now(UTC) - timedelta(hours=36))
    database = await Database.connect(urls.application, minimum=2, maximum=8)
    with tempfile.TemporaryDirectory(prefix="dragoman-site-") as home:
        # Nobody is there to take mail; it is offered all the same.
        mailer = Smtp.from_url("smtp://127.0.0.1:9", base_url="http://127.0.0.1")
        async with harness.build(
            database, Path(home), registry.collect(dragoman_shop), clock=clock, policy=_policy(), mailer=mailer
        ) as made:
            await _people(made)
            await _play_all(made, clock)
            clock.run()
            server = uvicorn.Server(
                uvicorn.Config(made.app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
            )
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            site = BrowserServer(f"http://127.0.0.1:{port}", made, asyncio.get_running_loop())
            site.sessions = await _sessions(made)
            ready.set_result(site)
            while not done.is_set():
                await made.settle()
                await asyncio.sleep(0.05)
            made.app.state.live.close()
            server.should_exit = True
            await serving
    await database.close()


def _policy() -> Policy:
    return Policy(retry_base_seconds=0.02, retry_cap_seconds=0.05, menu=MENU)


async def _people(made: Harness) -> None:
    await made.rows("UPDATE tenant SET name = 'Voltfair'")
    await employ(made, made.tenant_id, (ADMIN, "Ana Lima", "administrator"), (AUDITOR, "Rui Costa", "auditor"))
    empty = made.runtime.source.new_id()
    async with made.runtime.database.tenant(empty) as connection:
        await tenants.create_tenant(connection, empty, slug="empty", name="Nobody yet", now=made.clock.now())
    await employ(made, empty, (NEWCOMER, "Mei Sato", "administrator"))


async def employ(made: Harness, tenant_id: UUID, *people: tuple[str, str, str]) -> None:
    """Create a user for each email, name and role of *people*."""
    async with made.runtime.database.tenant(tenant_id) as connection:
        for email, name, role in people:
            await user_accounts.create_user(
                connection,
                tenant_id,
                user_id=made.runtime.source.new_id(),
                email=email,
                name=name,
                password=PASSWORD,
                role=role,
                now=made.clock.now(),
            )


async def _play_all(made: Harness, clock: MovableClock) -> None:
    for number, (person, steps) in enumerate(CONVERSATIONS):
        if person.partner:
            partner = BusinessPartner(
                business_partner_id=made.runtime.source.new_id(), number=f"BP-{1001 + number}", name=person.partner
            )
            async with made.runtime.database.tenant(made.tenant_id) as connection:
                await contacts.add_business_partner(
                    connection, made.tenant_id, partner, (f"+{person.phone}",), now=clock.now()
                )
        await _play(made, clock, person, steps)
        clock.move(minutes=80 if number < 24 else 7)
        await expire_sessions(made.runtime, made.tenant_id)
    await made.settle()
    await gallery.hang(made, GALLERY)
    clock.move(minutes=9)
    await _play(made, clock, MARINA, MARINA_SAYS)


async def _play(made: Harness, clock: MovableClock, person: BrowserPerson, steps: tuple[Step, ...]) -> None:
    for step in steps:
        if isinstance(step, int | float):
            clock.move(minutes=step)
            continue
        if isinstance(step, str):
            message: Any = {"type": "text", "text": {"body": step}}
        else:
            message = await _tapped(made, person, step["tap"]) if "tap" in step else await _with_file(made, step)
        clock.move(seconds=7)
        await made.send(message, phone=person.phone, name=person.name)
        await made.settle()
    clock.move(seconds=20)


_FILES = {"image": (parcel(4), "image/png"), "audio": (recordings.hummed(1), recordings.MIME_TYPE)}


async def _with_file(made: Harness, message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with the id of its file, which was uploaded."""
    kind = message["type"]
    if kind not in _FILES:
        return dict(message)
    return {**message, kind: {**message[kind], "id": await made.upload(*_FILES[kind])}}


async def _tapped(made: Harness, person: BrowserPerson, place: int) -> dict[str, Any]:
    """Tapping the option at *place* of what was offered last."""
    for entry in reversed(await made.journal(to=person.phone)):
        action = entry["request"].get("interactive", {}).get("action")
        if action:
            options = [b["reply"] for b in action.get("buttons", [])]
            options += [row for section in action.get("sections", []) for row in section["rows"]]
            kind = "button_reply" if "buttons" in action else "list_reply"
            picked = {"id": options[place]["id"], "title": options[place]["title"]}
            return {
                "type": "interactive",
                "interactive": {"type": kind, kind: picked},
                "context": {"from": "4315550100", "id": entry["wamid"]},
            }
    raise AssertionError(f"nothing was offered to {person.name}")


async def _sessions(made: Harness) -> dict[str, UUID]:
    rows = await made.rows("SELECT contact_phone, session_id FROM session ORDER BY last_activity_at")
    return {row["contact_phone"]: row["session_id"] for row in rows}


async def make_database(urls: DatabaseURLs, name: str) -> None:
    """Make the empty, migrated database *name*."""
    assert urls.superuser is not None
    connection = await asyncpg.connect(urls.superuser)
    await clone_template(connection, name)
    await connection.close()
