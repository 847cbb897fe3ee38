"""The demo's past: contacts write for a hundred days, and everything happens as it would have.

The stand-in posts each message, signed, to the webhook; the real services handle it; replies go to the stand-in, and
its statuses come back. What the bot hands over is claimed, answered and ended by the shop's agents
(:mod:`~dragoman.cli.past_agents`). Only the clock is moved, and the jobs run at once instead of by a worker, so that
what happened then has its time. All of it stays in this process: no port is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from dragoman.cli.past_agents import DemoAgents
from dragoman.cli.past_mail import PastMail
from dragoman.cli.shared import err
from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.errors import DragomanError
from dragoman.domain.nouns import Policy
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.runtime import Runtime
from dragoman.services import sweep
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.services.catalogue.train_classifier import measure_live_version
from dragoman.services.channels.synchronise_templates import synchronise_due
from dragoman.services.dispatching.expire_sessions import expire_sessions
from dragoman.services.handoff.watch_handoffs import watch_handoffs
from dragoman.services.insights.count_usage import count_usage
from dragoman.services.insights.group_questions import group_questions
from dragoman.services.retention import apply_retention
from dragoman.settings import Settings
from dragoman.skills.invoker import InProcessSkills
from dragoman.skills.registry import load_entry_points
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman_shop import pace
from dragoman_shop.agents import Act
from dragoman_shop.conversations import Script, conversations, unusual_ones, with_open_ones
from dragoman_shop.customers import Customer
from dragoman_shop.order_system import OrderSystem
from dragoman_shop.steps import LAST_REPLY, SERVICE, TRADE, SentAttachment, Step
from dragoman_shop.unserved import unserved_ones
from graph_standin.standin import Standin as Playing
from mail_standin.server import MailStandin

DAYS = 100
CONVERSATIONS = 320
SEED = 20261123

JUST_NOW = tuple(timedelta(minutes=minutes) for minutes in (14, 9, 6, 4, 2.5, 1))

RESTART = timedelta(seconds=40)
"""So long after a worker was stopped another one looks after what it had begun."""

OPEN_QUESTION_SECONDS = 12 * 60 * 60
"""How long a question of the bot stays open once the demo begins."""

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


class _StoppableSkills(InProcessSkills):
    """Calls the skills here, but for one that never returns: its worker will be stopped meanwhile."""

    def __init__(self, clock: MovedClock) -> None:
        super().__init__(load_entry_points(), clock.now)
        self.hanging: asyncio.Event | None = None
        """Set by the skill that hangs, as soon as it runs; None where none is to."""

    async def invoke(self, call: InvokeSkill) -> SkillReturned | SkillRaised:
        """Make one attempt, or none."""
        if self.hanging is not None:
            self.hanging.set()
            await asyncio.Event().wait()
        return await super().invoke(call)


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
    shop = _StoppableSkills(clock)
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
        mail = MailStandin(standin.mail_box(settings, lambda: clock.now().timestamp()), port=playing.mail_port)
        orders = OrderSystem(port=playing.order_system_port)
        await mail.start()
        await orders.start()
        await synchronise_due(runtime, tenant_id)
        agents = await DemoAgents.load(runtime, tenant_id)
        await _Past(settings, runtime, tenant_id, playing, clock, queue, shop, meta, agents).play(begin, until)
        await runtime.mail.close()
        await mail.close()
        await orders.close()
        await meta.close()
        await count_usage(runtime, tenant_id)
        await group_questions(runtime, tenant_id)
        await measure_live_version(runtime, tenant_id)
        await change_policy(runtime, tenant_id, COMMAND_LINE, _leave_questions_open)
        async with owner_connection(urls.owner) as owner:
            await apply_retention.run(runtime, owner, by_whom="schedule")


@dataclasses.dataclass(slots=True)
class _Past:
    settings: Settings
    runtime: Runtime
    tenant_id: UUID
    playing: standin.StandinCredentials
    clock: MovedClock
    queue: ImmediateQueue
    shop: _StoppableSkills
    meta: Playing
    agents: DemoAgents
    silences: list[tuple[datetime, bool]] = dataclasses.field(default_factory=list)
    """When somebody has been silent for long enough to look; True where a person had the conversation."""

    handed_over: dict[Customer, UUID] = dataclasses.field(default_factory=dict)
    """The conversation of each contact whom the bot has handed over."""

    mail: PastMail | None = None

    async def play(self, begin: datetime, until: datetime) -> None:
        """All scripts at once, each step at its time, and silences noticed when they are long enough."""
        end = until - begin
        self.mail = PastMail(self.runtime, self.tenant_id, self.clock, until, self._settle)
        scripts = _with_some_just_now(conversations(CONVERSATIONS, SEED, days=DAYS), end)
        scripts = [*with_open_ones(scripts, SEED, end), *unusual_ones(SEED, begin, until)]
        scripts += [Script(*unserved) for unserved in unserved_ones(end)]
        order = itertools.count()
        agenda = [(begin + script.start, next(order), script, 0) for script in scripts]
        heapq.heapify(agenda)
        with _progress() as progress:
            task = progress.add_task("Making conversations", total=len(agenda))
            while agenda:
                at, _, script, number = heapq.heappop(agenda)
                steps = (*script.steps, *script.care)
                if at >= until:
                    progress.advance(task)
                    continue
                await self._pass_silence(at)
                self.clock.move(at)
                goes_on = await self._do(script.person, steps[number])
                if number + 1 == len(script.steps):
                    goes_on = await self._is_handed_over(script.person)
                if goes_on and number + 1 < len(steps):
                    heapq.heappush(agenda, (self._due(steps[number + 1]), next(order), script, number + 1))
                else:
                    progress.advance(task)
            await self._pass_silence(until)

    async def _do(self, person: Customer, step: Step | Act) -> bool:
        """One step and all that follows from it; whether the conversation goes on as it was written."""
        if isinstance(step, Step):
            await self._take(person, step)
            if step.is_worker_stopped:
                await self._stop_worker()
        elif not await self.agents.act(self.handed_over[person], step, person.name, person.language):
            return False
        await self._settle()
        heapq.heappush(self.silences, (self.clock.now() + IDLE, False))
        if person in self.handed_over:
            heapq.heappush(self.silences, (self.clock.now() + self.agents.idle, True))
        return True

    async def _is_handed_over(self, person: Customer) -> bool:
        """Whether the bot has handed the contact over; if so it is looked whether somebody takes them in time."""
        found = await self.agents.open_session(person.phone)
        if found is None:
            return False
        self.handed_over[person] = found
        heapq.heappush(self.silences, (self.clock.now() + self.agents.unattended, True))
        return True

    def _due(self, step: Step | Act) -> datetime:
        """When the next step is taken: contacts write at any hour."""
        now, pause = self.clock.now(), timedelta(seconds=step.pause_seconds)
        if isinstance(step, Step) or step.at_any_hour:
            return now + pause
        return self.agents.at_work(self.agents.at_work(now) + pause)

    async def _pass_silence(self, at: datetime) -> None:
        """Let sessions end whose time comes before *at*, and happen what comes by mail."""
        if self.mail is not None:
            await self.mail.pass_to(at)
        while self.silences and self.silences[0][0] < at:
            moment, had_person = heapq.heappop(self.silences)
            self.clock.move(moment)
            await expire_sessions(self.runtime, self.tenant_id)
            if had_person:
                await watch_handoffs(self.runtime, self.tenant_id)
                await self._settle()

    async def _stop_worker(self) -> None:
        """Handle what has come as a worker that is stopped while the skill runs; another finds what it had begun."""
        self.shop.hanging = asyncio.Event()
        worker = asyncio.create_task(self.queue.run_due(self.runtime))
        await self.shop.hanging.wait()
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        self.shop.hanging = None
        self.clock.move(self.clock.now() + RESTART)
        await sweep.requeue_overdue(self.runtime)

    async def _settle(self) -> None:
        while await self.queue.run_due(self.runtime):
            await self.meta.drain()
            if self.mail is not None:
                await self.mail.fire()

    async def _take(self, person: Customer, step: Step) -> None:
        """One message of *person*, or what else happens."""
        about: dict[str, Any] = {"phone_number_id": self._number(step)}
        if step.event is not None:
            about |= {"field": step.event[0], "value": step.event[1]}
        else:
            about |= {"from": person.phone.lstrip("+"), "name": person.name, **step.sender}
            about["message"] = await self._message(person, step)
        answer = await self._standin("/inbound", json=about, token=self.playing.control_token)
        if answer.get("status") != 200:
            raise DragomanError(f"the webhook answered {answer.get('status')}: {answer.get('text')}")

    def _number(self, step: Step) -> str:
        """The id of the number that is written to."""
        return {SERVICE: self.playing.phone_number_id, TRADE: self.playing.trade_phone_number_id}[step.number]

    async def _message(self, person: Customer, step: Step) -> dict[str, Any]:
        message = self._filled(person, step.message)
        if step.attachment is not None:
            kind = message["type"]
            message[kind] = {**message[kind], "id": await self._upload(step.attachment)}
        if step.late_seconds:
            message["timestamp"] = str(int(self.clock.now().timestamp() - step.late_seconds))
        return message

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


def _leave_questions_open(policy: Policy) -> Policy:
    """Let contacts take their time from now on, so that what is in progress still is when somebody looks."""
    return dataclasses.replace(policy, idle_awaiting_seconds=OPEN_QUESTION_SECONDS)


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
