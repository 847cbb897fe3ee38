"""Python skills in processes of their own, so that nothing a skill does can take the worker down or hold it up.

Calls share a few hosts. A skill that makes trouble (ends its host, blocks it, will not stop) is *quarantined*: for a
while each of its calls has a host to itself, so that others suffer from it once and not again. A call that suffered
without being to blame has a host to itself in its next attempts, whoever else is new there. Decision 0009 says why.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import SkillSpec
from dragoman.skills.hosts.failure_cause import CallVerdict, Cause, End
from dragoman.skills.hosts.host_process import Answered, HostPlan, HostProcess, HostStartError, Moved, Settled
from dragoman.skills.invoke import GRACE_SECONDS

log = structlog.get_logger()

CULPRIT_SECONDS = 600.0
"""How long a skill that was to blame for a host's end runs apart, and how long a call that it hit is spared."""

SUSPECT_SECONDS = 30.0
"""The same for skills that ran there when nobody could be blamed; longer than the pause before their next attempt."""

APART = 4
"""Calls of skills that were to blame that may run at once, each in a host of its own; as many of those suspected."""

IDLE_SECONDS = 60.0
"""How long such a host is kept for the next one."""

PAUSE_SECONDS = 1.0
"""Between two starts of such hosts: a start costs a third of a second of processor time, and some skills would have
nothing but starts. One that behaves keeps its host and is not slowed down."""

PLACE_SECONDS = 15.0
"""How long a call waits for a place among those that run apart, if its own deadline is not longer."""

MOVES = 3
TICK_SECONDS = 0.1


class HostedSkills:
    """Calls skills in host processes that it starts when they are needed, watches and replaces.

    It belongs to the event loop that it is first used on; :meth:`close` leaves no process behind, and neither does
    the end of this process, whichever way it comes.
    """

    def __init__(self, clock: Callable[[], datetime], *, hosts: int = 2, plan: HostPlan | None = None) -> None:
        self._clock, self._hosts, self._plan = clock, hosts, plan or HostPlan()
        self._shared: list[HostProcess] = []
        self._starting: asyncio.Task[None] | None = None
        self._apart: set[HostProcess] = set()
        self._idle: dict[HostProcess, asyncio.TimerHandle] = {}
        self._slots, self._suspects_slots = asyncio.Semaphore(APART), asyncio.Semaphore(APART)
        self._pace, self._rested_at = asyncio.Lock(), 0.0
        self._quarantine: dict[str, float] = {}
        self._culprits: set[str] = set()
        self._bystanders: dict[str, float] = {}
        self._names = itertools.count(1)
        self._closed = False

    @property
    def processes(self) -> dict[str, int]:
        """The hosts that run, by name, with their process ids."""
        return {host.name: host.pid for host in (*self._shared, *self._apart)}

    def quarantined(self, skill: str) -> bool:
        """Whether each call of *skill* has a host to itself at present."""
        until = self._quarantine.get(skill)
        if until is not None and until <= asyncio.get_running_loop().time():
            del self._quarantine[skill]
            self._culprits.discard(skill)
            return False
        return until is not None

    def _runs_apart(self, call: InvokeSkill) -> bool:
        """Whether *call* has a host to itself: its skill made trouble, or an earlier attempt of it was in the way."""
        hit_until = self._bystanders.get(call.idempotency_key, 0.0)
        return self.quarantined(call.skill) or hit_until > asyncio.get_running_loop().time()

    async def specs(self) -> Sequence[SkillSpec]:
        """What is installed, as a host has found it. Raises ConfigurationError where a package cannot be imported."""
        try:
            return (await self._pick()).specs
        except HostStartError as error:
            raise ConfigurationError(str(error)) from error

    async def invoke(self, call: InvokeSkill) -> SkillReturned | SkillRaised:
        """Make one attempt, in a host. Never raises for what the skill does; a cancellation cancels the skill too."""
        begun = asyncio.get_running_loop().time()
        settled: Settled = Moved()
        try:
            for _ in range(MOVES):
                settled = await (self._call_apart(call) if self._runs_apart(call) else self._call_shared(call))
                if not isinstance(settled, Moved):
                    break
        except HostStartError as error:
            settled = CallVerdict("SkillHostStopped", f"no process could be started for the skill: {error}", True)
        if isinstance(settled, Answered):
            return settled.result
        if isinstance(settled, Moved):
            what = f"{MOVES} processes, one after the other, ended before they could begin the call"
            settled = CallVerdict("SkillHostStopped", what, True)
        elapsed = (asyncio.get_running_loop().time() - begun) * 1000
        return SkillRaised(
            at=self._clock(),
            duration_ms=round(elapsed, 3),
            error_class=settled.error_class,
            message=settled.message,
            retryable=settled.retryable,
        )

    async def close(self) -> None:
        """Stop every host; calls that still run are told so."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        hosts = [*self._shared, *self._apart]
        for host in hosts:
            host.stop()
        for host in hosts:
            await host.ended()

    async def _call_shared(self, call: InvokeSkill) -> Settled:
        try:
            async with asyncio.timeout(self._plan.start_seconds):
                host = await self._pick()
        except TimeoutError:
            return CallVerdict("SkillHostBusy", "every process for skills is held up by others", True)
        return await _called(host, call)

    async def _pick(self) -> HostProcess:
        """The shared host with the fewest calls. More are started, one at a time, when all have something to do."""
        while not self._closed:
            usable = [host for host in self._shared if host.usable]
            wanted = len(usable) < self._hosts and all(host.calls for host in usable)
            # One that is stuck or on its way out does not count, but there is an end to how many may be.
            if wanted and self._starting is None and len(self._shared) < 2 * self._hosts + 2:
                self._starting = asyncio.create_task(self._start_shared())
                self._starting.add_done_callback(_told)
            if usable:
                return min(usable, key=lambda host: len(host.calls))
            if self._starting is None:
                await asyncio.sleep(TICK_SECONDS)
                continue
            starting = self._starting
            await asyncio.wait({starting})
            if not starting.cancelled() and (error := starting.exception()) is not None:
                raise error
        raise HostStartError("the worker stops")

    async def _start_shared(self) -> None:
        try:
            self._shared.append(await self._started(apart=False))
        finally:
            self._starting = None

    async def _started(self, *, apart: bool) -> HostProcess:
        name = f"skill-host-{next(self._names)}"
        host = HostProcess(name, self._plan, self._clock, self._on_end, self._on_trouble, apart=apart)
        try:
            if not self._closed:
                await host.start()
        except HostStartError as error:
            log.error("skill_host_not_started", host=name, error=error)
            raise
        if self._closed:
            # Closed before or while it started: nobody will stop it later.
            host.stop()
            await host.ended()
            raise HostStartError("the worker stops")
        return host

    async def _call_apart(self, call: InvokeSkill) -> Settled:
        """Make *call* in a host that does nothing else meanwhile."""
        # Who is only suspected does not queue behind those that were to blame, and hold their places to the deadline.
        slots = self._slots if call.skill in self._culprits else self._suspects_slots
        try:
            async with asyncio.timeout(max(call.timeout_seconds, PLACE_SECONDS)):
                await slots.acquire()
        except TimeoutError:
            what = f"the skill is in quarantine, and {APART} calls of such skills, as many as may, run already"
            return CallVerdict("SkillHostBusy", what, True)
        try:
            host = await self._take()
            try:
                return await _called(host, call)
            except BaseException:
                host.stop()
                raise
            finally:
                self._put_back(host)
        finally:
            slots.release()

    async def _take(self) -> HostProcess:
        while self._idle:
            host, timer = self._idle.popitem()
            timer.cancel()
            if host.usable:
                return host
        async with self._pace:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._rested_at - loop.time())
            host = await self._started(apart=True)
            self._rested_at = loop.time() + PAUSE_SECONDS
        self._apart.add(host)
        return host

    def _put_back(self, host: HostProcess) -> None:
        if host.usable and not self._closed:
            self._idle[host] = asyncio.get_running_loop().call_later(IDLE_SECONDS, host.stop)
        else:
            host.stop()

    def _on_end(self, host: HostProcess, end: End) -> None:
        self._apart.discard(host)
        if host in self._shared:
            self._shared.remove(host)
        if (timer := self._idle.pop(host, None)) is not None:
            timer.cancel()
        if end.cause is Cause.CLOSED:
            return
        for skill in end.culprits:
            self._on_trouble(skill)
        for skill in end.suspects:
            self._set_apart(skill, SUSPECT_SECONDS)
        self._spare([call for number, call in end.calls.items() if number not in end.to_blame])

    def _spare(self, bystanders: Sequence[InvokeSkill]) -> None:
        """Remember calls that a host's end has hit. Several skills may be new in turn, and attempts are few."""
        now = asyncio.get_running_loop().time()
        self._bystanders = {key: until for key, until in self._bystanders.items() if until > now}
        self._bystanders |= {call.idempotency_key: now + CULPRIT_SECONDS for call in bystanders}

    def _on_trouble(self, skill: str) -> None:
        self._culprits.add(skill)
        self._set_apart(skill, CULPRIT_SECONDS)

    def _set_apart(self, skill: str, seconds: float) -> None:
        if not self.quarantined(skill):
            log.warning("skill_quarantined", skill=skill, seconds=seconds)
        until = asyncio.get_running_loop().time() + seconds
        self._quarantine[skill] = max(until, self._quarantine.get(skill, 0.0))


def _told(starting: asyncio.Task[None]) -> None:
    """A start that fails when nobody waits for it is in the log, and that is enough."""
    if not starting.cancelled():
        starting.exception()


async def _called(host: HostProcess, call: InvokeSkill) -> Settled:
    """The host keeps the deadline; should it not even say that it could not, it is stopped."""
    pending = host.send(call)
    try:
        await asyncio.wait({pending.settled}, timeout=call.timeout_seconds + 2 * GRACE_SECONDS)
        if not pending.settled.done():
            host.stop(Cause.OVERDUE)
        return await pending.settled
    except asyncio.CancelledError:
        host.cancel(pending)
        raise
