"""Live updates under a burst: 200 changed sessions a second, 200 open streams on one process, the list in Chromium.

The web process is one of its own; the changes are real turns that another process writes through the ledger. Each puts
the time of its writing into the row, so that the page itself can say how old a change is when it stands in the DOM:
from before the commit until after the morph. Keys are pressed all the while, and Chromium's Event Timing says how long
they waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil  # type: ignore[import-untyped]
import structlog
import uvicorn
from playwright.async_api import Page, async_playwright

from bench.harness import Result, compare, percentile
from bench.installation import BenchInstallation, open_installation
from dragoman.cli import garbage
from dragoman.cli.compose import open_runtime
from dragoman.dispatch.turn import Turn
from dragoman.domain.content import Text
from dragoman.domain.events import AuditEvent, MessageReceived, StateChanged
from dragoman.domain.nouns import DISPATCHER, Sender, Session, TranscriptItem
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.ledger import append
from dragoman.settings import Settings
from dragoman.store.accounts import api_tokens, login_sessions, user_accounts
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app

STREAMS = 200
CHANGES_PER_SECOND = 200
GROUP = 10
SESSIONS = 2000
LOGS = "/communications/automation/logs"

# In the page: how old each change is when it stands there, how long keys waited, how long no frame was drawn.
WATCH = """() => {
  const seen = new Set();
  const kept = window.kept = { ages: [], keys: [], gap: 0, on: false };
  new MutationObserver(() => {
    const now = Date.now();
    document.querySelectorAll('#rows .c-last .txt').forEach((cell) => {
      const stamp = cell.textContent.match(/^at ([0-9]+)/)?.[1];
      if (!stamp || seen.has(stamp)) return;
      seen.add(stamp);
      if (kept.on) kept.ages.push(now - Number(stamp));
    });
  }).observe(document.querySelector('#list'), { subtree: true, childList: true, characterData: true });
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (kept.on && entry.name === 'keydown') kept.keys.push([entry.processingStart - entry.startTime, entry.duration]);
  })).observe({ type: 'event', durationThreshold: 16 });
  let last = performance.now();
  const frame = () => {
    const now = performance.now();
    if (kept.on) kept.gap = Math.max(kept.gap, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


def _serve(settings: Settings, urls: DatabaseURLs, port: int) -> None:
    async def run() -> None:
        async with open_runtime(settings, urls) as runtime:
            config = uvicorn.Config(create_app(runtime), port=port, log_config=None, access_log=False)
            garbage.settle()  # as `dragoman web` does
            await uvicorn.Server(config).serve()

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(run())


def _write(settings: Settings, urls: DatabaseURLs, people: Sequence[_Person], made: _Ids, seconds: float) -> None:
    asyncio.run(_burst(settings, urls, people, made, seconds))


@dataclass(frozen=True)
class _Ids:
    tenant_id: UUID
    channel_account_id: UUID


@dataclass(frozen=True)
class _Person:
    number: int
    session_id: UUID = field(default_factory=uuid4)
    thread_id: UUID = field(default_factory=uuid4)
    contact_id: UUID = field(default_factory=uuid4)

    @property
    def phone(self) -> str:
        return f"+43660{self.number:07d}"


def _entry(person: _Person, made: _Ids, now: datetime, *, first: bool) -> append.TurnRecord:
    """A turn in which the contact writes when it is; the *first* opens their session."""
    said = f"at {time.time_ns() // 1_000_000}"
    item = TranscriptItem(
        message_id=uuid4(),
        sender=Sender.CONTACT,
        sender_name=f"Contact {person.number}",
        content=Text(body=said),
        at=now,
    )
    event = MessageReceived(
        message_id=str(item.message_id), kind="text", content_digest="0" * 64, channel_message_id="w", channel_at=""
    )
    session = Session(
        session_id=person.session_id,
        thread_id=person.thread_id,
        contact_id=person.contact_id,
        state=State.ACTIVE,
        outcome=Outcome.IN_PROGRESS,
        started_at=now,
        last_activity_at=now,
        last_user_message=said,
    )
    context = append.Context(
        channel_account_id=made.channel_account_id,
        channel="whatsapp",
        channel_display="+43 1 555 0100",
        contact_name=item.sender_name,
        contact_phone=person.phone,
        business_partner_id=None,
        business_partner_name=None,
    )
    opened = (StateChanged(old=State.OPEN, new=State.ACTIVE, reason="the contact writes"),) if first else ()
    events = tuple(AuditEvent(at=now, actor=DISPATCHER, payload=payload) for payload in (event, *opened))
    return append.TurnRecord(
        turn=Turn(session=session, events=events, transcript=(item,), final=True), context=context, dispatch_id=uuid4()
    )


async def _burst(settings: Settings, urls: DatabaseURLs, people: Sequence[_Person], made: _Ids, seconds: float) -> None:
    """Change another group of sessions in each transaction, evenly over the time; all of them once when it is 0."""
    groups = int(seconds * CHANGES_PER_SECOND / GROUP) or len(people) // GROUP
    async with open_runtime(settings, urls) as runtime:
        begun = time.monotonic()
        for number in range(groups):
            group = [people[(number * GROUP + place) % len(people)] for place in range(GROUP)]
            async with runtime.database.tenant(made.tenant_id) as connection:
                entries = [_entry(person, made, runtime.clock.now(), first=not seconds) for person in group]
                await append.write_turns(connection, made.tenant_id, entries)
            if seconds:
                await asyncio.sleep(max(0, begun + (number + 1) * GROUP / CHANGES_PER_SECOND - time.monotonic()))


async def _fill(made: BenchInstallation, ids: _Ids) -> list[_Person]:
    people = [_Person(number) for number in range(SESSIONS)]
    now = made.runtime.clock.now()
    owner = await asyncpg.connect(made.urls.owner)
    await owner.copy_records_to_table(
        "contact",
        records=[(made.tenant_id, p.contact_id, f"Contact {p.number}", p.phone, "de", now) for p in people],
        columns=["tenant_id", "contact_id", "display_name", "phone", "locale", "created_at"],
    )
    await owner.copy_records_to_table(
        "thread",
        records=[(made.tenant_id, p.thread_id, p.contact_id, made.channel_account_id, now) for p in people],
        columns=["tenant_id", "thread_id", "contact_id", "channel_account_id", "created_at"],
    )
    await owner.close()
    await _burst(made.runtime.settings, made.urls, people, ids, 0)
    return people


@dataclass
class _Listeners:
    """The streams beside the browser's: what came over them."""

    token: str
    port: int
    heard: list[int] = field(default_factory=list)

    async def _one(self, place: int, ready: asyncio.Semaphore) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            request = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n\r\n"
            writer.write(request.encode())
            await reader.readuntil(b"event: alive")
            ready.release()
            while line := await reader.readline():
                self.heard[place] += line.count(b'"session_id"')
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self, count: int) -> AsyncIterator[None]:
        """*count* streams, for as long as the block runs."""
        self.heard = [0] * count
        ready = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(self._one(place, ready)) for place in range(count)]
        for _ in tasks:
            await ready.acquire()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _process(target: Callable[..., None], *arguments: object) -> AsyncIterator[BaseProcess]:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.join, 20)


@asynccontextmanager
async def _page(port: int, secret: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.context.add_cookies(
            [{"name": "dragoman_session", "value": secret, "url": f"http://127.0.0.1:{port}"}]
        )
        await page.goto(f"http://127.0.0.1:{port}{LOGS}")
        await page.wait_for_selector("[data-live][data-state=live]")
        await page.evaluate(WATCH)
        yield page
        await browser.close()


async def _ticket(made: BenchInstallation) -> tuple[str, str]:
    """A login session's secret and an API token."""
    now = made.runtime.clock.now()
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        user = await user_accounts.create_user(
            connection, made.tenant_id, user_id=uuid4(), email="live@example.org", name="Live",
            password="a long enough password", role="auditor", now=now,
        )  # fmt: skip
        ticket = await login_sessions.open_login_session(connection, made.tenant_id, user.user_id, now=now)
        token = await api_tokens.create_token(
            connection, made.tenant_id, token_id=uuid4(), name="live", role="auditor", now=now,
            expires_at=now + timedelta(days=1),
        )  # fmt: skip
    return ticket.secret, token


@dataclass
class _Seen:
    """What the page saw in one burst, and what it cost."""

    ages: list[float]
    keys: list[tuple[float, float]]
    gap: float
    pressed: int
    memory_mb: float
    grown_mb: float
    processor: float
    heard: list[int]


async def _measure(made: BenchInstallation, seconds: float) -> _Seen:
    settings, port = made.runtime.settings, free_port()
    ids = _Ids(made.tenant_id, made.channel_account_id)
    people = await _fill(made, ids)
    secret, token = await _ticket(made)
    listeners = _Listeners(token, port)
    async with _process(_serve, settings, made.urls, port) as web:
        await _answers(port)
        watched = psutil.Process(web.pid)
        async with listeners.open(STREAMS - 1), _page(port, secret) as page:
            memory = watched.memory_info().rss
            worked = watched.cpu_times()
            begun = time.monotonic()
            async with _process(_write, settings, made.urls, people, ids, seconds) as writer:
                # The page warms up in the first second, and the writer starts in it.
                await asyncio.sleep(2)
                await page.evaluate("window.kept.on = true")
                pressed = 0
                while writer.is_alive():
                    await page.keyboard.press("x")
                    pressed += 1
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
            kept = await page.evaluate("window.kept")
            lasted = time.monotonic() - begun
            now = watched.cpu_times()
            return _Seen(
                ages=kept["ages"],
                keys=[(delay, duration) for delay, duration in kept["keys"]],
                gap=kept["gap"],
                pressed=pressed,
                memory_mb=watched.memory_info().rss / 2**20,
                grown_mb=(watched.memory_info().rss - memory) / 2**20,
                processor=(now.user + now.system - worked.user - worked.system) / lasted,
                heard=listeners.heard,
            )


async def _answers(port: int) -> None:
    async with httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run(*, quick: bool) -> list[Result]:
    """One burst, with all its figures."""
    seconds = 6 if quick else 20
    async with open_installation({}, httpx.MockTransport(lambda _: httpx.Response(500))) as made:
        seen = await _measure(made, seconds)
    changes = int(seconds * CHANGES_PER_SECOND)
    # What the browser does not report took less than its threshold of 16 ms.
    unreported = [0.0] * max(0, seen.pressed - len(seen.keys))
    delays = [delay for delay, _ in seen.keys] + unreported
    durations = [duration for _, duration in seen.keys] + unreported
    note = (
        f"{STREAMS} streams on one process, {CHANGES_PER_SECOND} changed sessions/s for {seconds} s; "
        f"{seen.pressed} keys, input delay max {max(delays):.0f} ms, "
        f"key to paint p95 {percentile(durations, 0.95):.0f} ms; "
        f"longest time without a frame {seen.gap:.0f} ms; web process {seen.processor:.0%} of a core, "
        f"{seen.memory_mb:.0f} MB; each stream heard {min(seen.heard)} to {max(seen.heard)} of {changes}"
    )
    return [
        compare("live: input delay in the list, p95", unit="ms", ours=[percentile(delays, 0.95)], peer=[100.0],
                peer_name="limit", note=note),
        compare("live: change to DOM, p95", unit="ms", ours=[percentile(seen.ages, 0.95)], peer=[1000.0],
                peer_name="limit", note=f"{len(seen.ages)} changes seen, p50 {percentile(seen.ages, 0.5):.0f} ms, "
                f"max {max(seen.ages):.0f} ms"),
        compare("live: growth of the web process", unit="MB", ours=[max(seen.grown_mb, 0.0)], peer=[50.0],
                peer_name="limit", note=f"from {seen.memory_mb - seen.grown_mb:.0f} MB with all streams open"),
        compare("live: changes that the slowest stream heard", unit="", ours=[min(seen.heard)], peer=[changes],
                peer_name="all", higher_is_better=True),
    ]  # fmt: skip
