"""The stage of the browser tests: the whole installation with conversations, behind a real server on this machine.

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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import uvicorn

import dragoman_shop
from dragoman.channels.email.smtp import Smtp
from dragoman.domain.nouns import BusinessPartner, MenuItem, Policy
from dragoman.services.expire_sessions import expire_sessions
from dragoman.skills import registry
from dragoman.store import accounts, contacts, tenants
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman_shop import pace, recordings
from dragoman_shop.pictures import parcel
from tests import world
from tests.browser import gallery
from tests.browser.people import CONVERSATIONS, GALLERY, MARINA, MARINA_SAYS, Person, Step
from tests.world import MovableClock, World

T = TypeVar("T")
FEW = 6
PASSWORD = "a long password of the tests"
ADMIN = "admin@shop.example"
AUDITOR = "auditor@shop.example"
NEWCOMER = "admin@empty.example"

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
class Stage:
    """Where the pages are, and what is on them. ``sessions`` maps a person's phone to their latest session."""

    url: str
    world: World
    loop: asyncio.AbstractEventLoop
    sessions: dict[str, UUID] = field(default_factory=dict)

    def do(self, work: Awaitable[T]) -> T:
        """Run *work* in the stage's loop."""

        async def wait() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(wait(), self.loop)
        return future.result(60)

    def ticket(self, email: str, awaits: accounts.Awaits | None = None) -> str:
        """The cookie of somebody who signed in, or gave a password and has something left to do."""

        async def signed_in() -> str:
            runtime = self.world.runtime
            login = await accounts.find_login(runtime.database, email)
            assert login is not None
            async with runtime.database.tenant(login.tenant_id) as connection:
                opened = await accounts.open_login_session(
                    connection, login.tenant_id, login.user_id, now=runtime.clock.now(), awaits=awaits
                )
            return opened.secret

        return self.do(signed_in())

    def session_of(self, person: Person) -> UUID:
        return self.sessions[f"+{person.phone}"]


@contextmanager
def open_stage(urls: DatabaseURLs, *, whole: bool = True) -> Iterator[Stage]:
    """Play the conversations into the database of *urls* and serve the pages until the block ends.

    Without *whole* only a few of them, for tests that go on from there.
    """
    ready: Future[Stage] = Future()
    done = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(urls, ready, done, whole)), name="stage", daemon=True)
    thread.start()
    try:
        yield ready.result(180)
    finally:
        done.set()
        thread.join(30)


async def _serve(urls: DatabaseURLs, ready: Future[Stage], done: threading.Event, whole: bool) -> None:
    try:
        await _open(urls, ready, done, whole)
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


async def _open(urls: DatabaseURLs, ready: Future[Stage], done: threading.Event, whole: bool) -> None:
    pace.factor = 0.05
    clock = RunningClock(at=datetime.now(UTC) - timedelta(hours=36))
    database = await Database.connect(urls.application, minimum=2, maximum=8)
    policy = Policy(retry_base_seconds=0.02, retry_cap_seconds=0.05, menu=MENU)
    with tempfile.TemporaryDirectory(prefix="dragoman-stage-") as home:
        # Nobody is there to take mail; it is offered all the same.
        mailer = Smtp.from_url("smtp://127.0.0.1:9", base_url="http://127.0.0.1")
        async with world.build(
            database, Path(home), registry.collect(dragoman_shop), clock=clock, policy=policy, mailer=mailer
        ) as made:
            await _people(made)
            await _play_all(made, clock, whole)
            clock.run()
            server = uvicorn.Server(
                uvicorn.Config(made.app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
            )
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            stage = Stage(f"http://127.0.0.1:{port}", made, asyncio.get_running_loop())
            stage.sessions = await _sessions(made)
            ready.set_result(stage)
            while not done.is_set():
                await made.settle()
                await asyncio.sleep(0.05)
            made.app.state.live.close()
            server.should_exit = True
            await serving
    await database.close()


async def _people(made: World) -> None:
    await made.rows("UPDATE tenant SET name = 'Voltfair'")
    now, new_id = made.clock.now(), made.runtime.source.new_id
    other = new_id()
    for tenant_id, email, name, role in (
        (made.tenant_id, ADMIN, "Ana Lima", "administrator"),
        (made.tenant_id, AUDITOR, "Rui Costa", "auditor"),
        (other, NEWCOMER, "Mei Sato", "administrator"),
    ):
        async with made.runtime.database.tenant(tenant_id) as connection:
            if tenant_id == other:
                await tenants.create_tenant(connection, other, slug="empty", name="Nobody yet", now=now)
            await accounts.create_user(
                connection,
                tenant_id,
                user_id=new_id(),
                email=email,
                name=name,
                password=PASSWORD,
                role=role,
                now=now,
            )


async def _play_all(made: World, clock: MovableClock, whole: bool) -> None:
    for number, (person, steps) in enumerate(CONVERSATIONS if whole else CONVERSATIONS[-FEW:]):
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
    if not whole:
        return
    await gallery.hang(made, GALLERY)
    clock.move(minutes=9)
    await _play(made, clock, MARINA, MARINA_SAYS)


async def _play(made: World, clock: MovableClock, person: Person, steps: tuple[Step, ...]) -> None:
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


async def _with_file(made: World, message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with the id of its file, which was uploaded."""
    kind = message["type"]
    if kind not in _FILES:
        return dict(message)
    return {**message, kind: {**message[kind], "id": await made.upload(*_FILES[kind])}}


async def _tapped(made: World, person: Person, place: int) -> dict[str, Any]:
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


async def _sessions(made: World) -> dict[str, UUID]:
    rows = await made.rows("SELECT contact_phone, session_id FROM session ORDER BY last_activity_at")
    return {row["contact_phone"]: row["session_id"] for row in rows}


async def make_database(urls: DatabaseURLs, name: str, template: str) -> None:
    """An empty, migrated database."""
    assert urls.superuser is not None
    connection = await asyncpg.connect(urls.superuser)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER dragoman_owner")
    await connection.close()
