"""The demo's past: contacts write for a hundred days, and everything happens as it would have.

The stand-in posts each message, signed, to the webhook; the real services handle it; replies go to the stand-in, and
its statuses come back. Only the clock is moved, and the jobs run at once instead of by a worker, so that what happened
then has its time. All of it stays in this process: no port is opened.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import json
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dragoman.cli import standin
from dragoman.cli.compose import open_runtime
from dragoman.cli.shared import err
from dragoman.domain.errors import DragomanError
from dragoman.domain.nouns import Policy
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.runtime import Runtime
from dragoman.services.channels.synchronise_templates import synchronise_due
from dragoman.services.dispatching.expire_sessions import expire_sessions
from dragoman.settings import Settings
from dragoman.skills.invoker import InProcessSkills
from dragoman.skills.registry import load_entry_points
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman_shop import pace
from dragoman_shop.conversations import Script, conversations
from dragoman_shop.customers import Customer
from dragoman_shop.steps import LAST_REPLY, SentAttachment, Step
from graph_standin.standin import Standin as Playing

DAYS = 100
CONVERSATIONS = 320
SEED = 20261123

JUST_NOW = tuple(timedelta(minutes=minutes) for minutes in (14, 9, 6, 4, 2.5, 1))

IDLE = timedelta(seconds=max(Policy().idle_active_seconds, Policy().idle_awaiting_seconds) + 5)
"""After that long without a message every session has expired."""


class MovedClock:
    """Set to a moment of the past, and ticking on from there."""

    def __init__(self, at: datetime) -> None:
        self._at, self._set = at, time.monotonic()

    def now(self) -> datetime:
        """The moment that it was set to, and what has passed since."""
        return self._at + timedelta(seconds=time.monotonic() - self._set)

    async def sleep(self, seconds: float) -> None:
        """Let time pass without waiting for it."""
        self._at += timedelta(seconds=seconds)

    def move(self, at: datetime) -> None:
        """Set it; it never goes back."""
        self._at, self._set = max(at, self.now()), time.monotonic()


class _Switch(httpx.AsyncBaseTransport):
    """Leads calls to the two applications in this process: by path, since both have one address."""

    def __init__(self) -> None:
        self.console: httpx.AsyncBaseTransport | None = None
        self.meta: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        to_meta = request.url.path.startswith(f"{standin.PATH}/")
        target = self.meta if to_meta else self.console
        if target is None:
            raise httpx.ConnectError("nothing is connected yet", request=request)
        return await target.handle_async_request(request)


async def play(
    settings: Settings, urls: DatabaseURLs, tenant_id: UUID, playing: standin.StandinCredentials, *, until: datetime
) -> None:
    """Let everything happen that is in the scripts and lies before *until*."""
    pace.factor = 0.1
    begin = (until - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    clock = MovedClock(begin)
    queue = ImmediateQueue(clock)
    switch = _Switch()
    # In this process: the scripts' pace, and the moved clock, are the skills' too.
    shop = InProcessSkills(load_entry_points(), clock.now)
    async with open_runtime(
        settings, urls, clock=clock, queue=queue, transport=switch, sleep=clock.sleep, skills=shop
    ) as runtime:
        app, meta = standin.application(
            settings,
            playing,
            http=lambda: httpx.AsyncClient(transport=switch),
            clock=clock.now,
            instant=True,
        )
        switch.console = httpx.ASGITransport(create_app(runtime))
        switch.meta = httpx.ASGITransport(app, root_path=standin.PATH)
        await synchronise_due(runtime, tenant_id)
        await _Past(settings, runtime, tenant_id, playing, clock, queue, meta).play(begin, until)
        await meta.close()


@dataclasses.dataclass(slots=True)
class _Past:
    settings: Settings
    runtime: Runtime
    tenant_id: UUID
    playing: standin.StandinCredentials
    clock: MovedClock
    queue: ImmediateQueue
    meta: Playing

    async def play(self, begin: datetime, until: datetime) -> None:
        """All scripts at once, each step at its time, and silences noticed when they are long enough."""
        scripts = _with_some_just_now(conversations(CONVERSATIONS, SEED, days=DAYS), until - begin)
        order = itertools.count()
        agenda = [(begin + s.start, next(order), s, 0) for s in scripts if begin + s.start < until]
        silences: list[datetime] = []
        heapq.heapify(agenda)
        with _progress() as progress:
            task = progress.add_task("Making conversations", total=sum(len(s.steps) for _, _, s, _ in agenda))
            while agenda:
                at, _, script, number = heapq.heappop(agenda)
                step = script.steps[number]
                at += timedelta(seconds=step.pause_seconds)
                if agenda and at > agenda[0][0] and step.pause_seconds:
                    # Somebody else's turn comes before this pause is over.
                    waiting = dataclasses.replace(step, pause_seconds=0.0)
                    steps = (*script.steps[:number], waiting, *script.steps[number + 1 :])
                    heapq.heappush(agenda, (at, next(order), dataclasses.replace(script, steps=steps), number))
                    continue
                progress.advance(task)
                if at >= until:
                    continue
                await self._pass_silence(silences, at)
                self.clock.move(at)
                await self._take(script.person, step)
                heapq.heappush(silences, self.clock.now() + IDLE)
                if number + 1 < len(script.steps):
                    heapq.heappush(agenda, (self.clock.now(), next(order), script, number + 1))
            await self._pass_silence(silences, until)

    async def _pass_silence(self, silences: list[datetime], at: datetime) -> None:
        """Let sessions expire whose time comes before *at*."""
        while silences and silences[0] < at:
            self.clock.move(heapq.heappop(silences))
            await expire_sessions(self.runtime, self.tenant_id)

    async def _take(self, person: Customer, step: Step) -> None:
        """One message of *person*, and all that follows from it."""
        message = self._filled(person, step.message)
        if step.attachment is not None:
            kind = message["type"]
            message[kind] = {**message[kind], "id": await self._upload(step.attachment)}
        answer = await self._standin("/inbound", json={
            "phone_number_id": self.playing.phone_number_id,
            "from": person.phone.lstrip("+"),
            "name": person.name,
            "message": message,
        }, token=self.playing.control_token)  # fmt: skip
        if answer.get("status") != 200:
            raise DragomanError(f"the webhook answered {answer.get('status')}: {answer.get('text')}")
        while await self.queue.run_due(self.runtime):
            await self.meta.drain()

    def _filled(self, person: Customer, message: dict[str, Any]) -> dict[str, Any]:
        """The message with the channel's id of the latest reply where it refers to it."""
        if LAST_REPLY not in json.dumps(message):
            return dict(message)
        replies = self.meta.journal.find(to=person.phone.lstrip("+"))
        last = next((entry.wamid for entry in reversed(replies) if entry.wamid), "")
        filled: dict[str, Any] = json.loads(json.dumps(message).replace(LAST_REPLY, last))
        return filled

    async def _upload(self, attachment: SentAttachment) -> str:
        answer = await self._standin(
            f"/v24.0/{self.playing.phone_number_id}/media",
            data={"messaging_product": "whatsapp", "type": attachment.mime_type},
            files={"file": ("photo", attachment.content, attachment.mime_type)},
            token=self.playing.token,
        )
        return str(answer["id"])

    async def _standin(self, path: str, *, token: str, **request: Any) -> dict[str, Any]:
        response = await self.runtime.http.post(
            f"{self.runtime.settings.graph_url}{path}", headers={"Authorization": f"Bearer {token}"}, **request
        )
        answer: dict[str, Any] = response.json()
        return answer


def _with_some_just_now(scripts: list[Script], end: timedelta) -> list[Script]:
    """Move the last few conversations to the last minutes, so that a fresh demo has some in progress."""
    moved = [
        dataclasses.replace(script, start=end - before)
        for script, before in zip(scripts[-len(JUST_NOW) :], JUST_NOW, strict=True)
    ]
    return [*scripts[: -len(JUST_NOW)], *moved]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
