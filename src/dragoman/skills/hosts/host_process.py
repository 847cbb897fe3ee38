"""A skill host, the worker's side: starts one, sends it calls, watches it, and settles what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.as_json import spec_from_json
from dragoman.domain.nouns import SkillSpec
from dragoman.domain.plurals import counted
from dragoman.skills.hosts.failure_cause import CallVerdict, Cause, End, verdict
from dragoman.skills.hosts.output import relay
from dragoman.skills.hosts.wire import (
    GREETING_LIMIT,
    Board,
    BrokenFrameError,
    answer_from_json,
    call_to_json,
    frame,
    read_frame,
)

log = structlog.get_logger()

TICK_SECONDS = 0.1
LAST_WORDS_SECONDS = 0.5
HISTORY = 4096

OWN_PREFIX = "DRAGOMAN_"
"""Variables that begin so are Dragoman's: its key, its databases, its settings. A skill has no business with them."""


class HostStartError(Exception):
    """No host could be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """How hosts are started and watched.

    ``modules`` are loaded instead of the installed entry points. ``stuck_seconds``: a host whose loop stands still
    for so long gets no new calls; ``blocked_seconds``: it is stopped, if others wait in it. ``log_output``: what skills
    print is logged, which may be what contacts wrote.
    """

    memory_mb: int = 1024
    modules: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    start_seconds: float = 60.0
    stuck_seconds: float = 0.3
    blocked_seconds: float = 1.5
    log_output: bool = False

    def child_environment(self) -> dict[str, str]:
        """What a host gets to see of the worker's environment."""
        kept = {name: value for name, value in self.environment.items() if not name.startswith(OWN_PREFIX)}
        # Each thread's arena would reserve 64 MB of the address space that is limited.
        kept.setdefault("MALLOC_ARENA_MAX", "2")
        return kept


@dataclass(frozen=True, slots=True)
class Answered:
    """The host answered."""

    result: SkillReturned | SkillRaised


@dataclass(frozen=True, slots=True)
class Moved:
    """The host ended before it began the call: no harm is done by calling again elsewhere."""


Settled = Answered | CallVerdict | Moved


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that a host has been sent."""

    number: int
    call: InvokeSkill
    due: float
    settled: asyncio.Future[Settled]


class HostProcess:
    """Is one running host, seen from the worker.

    ``on_end`` is told how it ended, ``on_trouble`` which skill holds it up or spoils it.

    One that is ``apart``, for skills that are known to make trouble, leaves the processor to others.
    """

    def __init__(
        self,
        name: str,
        plan: HostPlan,
        clock: Callable[[], datetime],
        on_end: Callable[[HostProcess, End], None],
        on_trouble: Callable[[str], None],
        *,
        apart: bool = False,
    ) -> None:
        self.name, self._plan, self._clock, self._apart = name, plan, clock, apart
        self._on_end, self._on_trouble = on_end, on_trouble
        self.calls: dict[int, PendingCall] = {}
        self.specs: tuple[SkillSpec, ...] = ()
        self.spent: str | None = None
        self.stuck = False
        self._undo = contextlib.AsyncExitStack()
        self._history: deque[str] = deque(maxlen=HISTORY)
        self._last = 0
        self._stopping: tuple[Cause, str] | None = None
        self._attending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Is the process's id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """May be sent calls."""
        return self._stopping is None and self.spent is None and not self.stuck

    async def start(self) -> None:
        """Start the process and wait until its skills are there. Raises HostStartError."""
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._plan.start_seconds):
                await self._spawn()
                greeting = await read_frame(self._reader, GREETING_LIMIT)
        except TimeoutError:
            await self._undo.aclose()
            after = counted(self._plan.start_seconds, "second", "seconds")
            raise HostStartError(f"a skill host was not ready after {after}") from None
        except (EOFError, BrokenFrameError, OSError) as error:
            await self._undo.aclose()
            raise HostStartError(f"a skill host ended before it was ready: {error}") from error
        except BaseException:
            await self._undo.aclose()
            raise
        if "unusable" in greeting:
            await self._undo.aclose()
            raise HostStartError(str(greeting["unusable"]))
        self.specs = tuple(spec_from_json(spec) for spec in greeting["skills"])
        self._attending = asyncio.create_task(self._attend())
        seconds = round(asyncio.get_running_loop().time() - begun, 3)
        log.info("skill_host_started", host=self.name, pid=self.pid, seconds=seconds)

    def send(self, call: InvokeSkill) -> PendingCall:
        """Have the host make *call*; ``settled`` of what is returned gets the result, and is never an exception."""
        loop = asyncio.get_running_loop()
        self._last += 1
        pending = PendingCall(self._last, call, loop.time() + call.timeout_seconds, loop.create_future())
        self._history.append(call.skill)
        self.calls[pending.number] = pending
        self._writer.write(frame(call_to_json(pending.number, call)))
        if self._watching is None or self._watching.done():
            self._watching = loop.create_task(self._watch())
        return pending

    def cancel(self, pending: PendingCall) -> None:
        """Nobody waits for it any more."""
        if self.calls.pop(pending.number, None) is not None and self._stopping is None:
            self._writer.write(frame({"cancel": pending.number}))

    def stop(self, cause: Cause = Cause.CLOSED, detail: str = "") -> None:
        """Kill it with all its children; whoever called it last is told why. The first cause stands."""
        if self._stopping is None:
            self._stopping = (cause, detail)
            if self._attending is not None:
                self._kill()

    async def ended(self) -> None:
        """Wait until it is gone, and its calls are settled."""
        if self._attending is not None:
            await asyncio.wait({self._attending})

    async def _spawn(self) -> None:
        """Each thing that must be undone at the end is put on the stack as soon as it is there."""
        undo = self._undo
        with contextlib.ExitStack() as passed:
            ours, theirs = (passed.enter_context(end) for end in socket.socketpair())
            memory = passed.enter_context(tempfile.TemporaryFile())
            memory.truncate(Board.SIZE)
            self.board = Board(memory.fileno())
            undo.callback(self.board.close)
            read, lifeline = os.pipe()
            passed.callback(os.close, read)
            undo.callback(os.close, lifeline)
            self._reader, self._writer = await asyncio.open_connection(sock=ours.dup())
            undo.callback(self._writer.close)
            stdout, stderr = await self._output("stdout", passed), await self._output("stderr", passed)
            plan = {
                "link": theirs.fileno(),
                "board": memory.fileno(),
                "lifeline": read,
                "memory_mb": self._plan.memory_mb,
                "modules": list(self._plan.modules),
                "apart": self._apart,
            }
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dragoman.skills.hosts.host",
                json.dumps(plan),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(), memory.fileno(), read),
                env=self._plan.child_environment(),
                # A group of its own: Ctrl-C is for the worker, and what a skill starts can be killed together.
                start_new_session=True,
            )
            undo.push_async_callback(self._process.wait)
            undo.callback(self._kill)

    async def _output(self, name: str, passed: contextlib.ExitStack) -> int:
        """The end to write to of a pipe whose lines are logged."""
        read, write = os.pipe()
        passed.callback(os.close, write)
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", 0)
        )
        self._undo.callback(pipe.close)
        relaying = asyncio.create_task(relay(reader, self.name, name, logged=self._plan.log_output))
        self._undo.callback(relaying.cancel)
        # What it last said is read out; a grandchild that keeps the pipe open is not waited for.
        self._undo.push_async_callback(asyncio.wait, {relaying}, timeout=LAST_WORDS_SECONDS)
        return write

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _attend(self) -> None:
        """Take answers until the host ends, one way or the other; then settle what is left."""
        reading = asyncio.create_task(self._read())
        exiting = asyncio.create_task(self._process.wait())
        await asyncio.wait({reading, exiting}, return_when=asyncio.FIRST_COMPLETED)
        # A process that ends closes its socket, and the other way round: who does one without the other is broken.
        await asyncio.wait({reading, exiting}, timeout=LAST_WORDS_SECONDS)
        if not exiting.done():
            self.stop(Cause.BROKEN, "it closed its connection to the worker")
        self._kill()
        await exiting
        reading.cancel()
        await self._undo.aclose()
        self._settle()

    async def _read(self) -> None:
        try:
            while True:
                number, result, spent = answer_from_json(await read_frame(self._reader), self._clock())
                if spent is not None:
                    self.spent = self.spent or spent
                pending = self.calls.pop(number, None)
                if pending is None:
                    continue
                if spent is not None:
                    self._on_trouble(pending.call.skill)
                if not pending.settled.done():
                    pending.settled.set_result(Answered(result))
                if self.spent and not self.calls:
                    log.info("skill_host_replaced", host=self.name)
                    self.stop()
        except (EOFError, ConnectionError):
            return
        except BrokenFrameError as error:
            self.stop(Cause.BROKEN, str(error))

    async def _watch(self) -> None:
        """While calls run: see whether the host's loop turns, and stop it when it stands still too long.

        Ticks are counted, not time: a worker that was itself held up must not blame its hosts for it.
        """
        beat, still = self.board.beat, 0
        while self.calls and self._stopping is None:
            await asyncio.sleep(TICK_SECONDS)
            now = self.board.beat
            still, beat = (still + 1, beat) if now == beat else (0, now)
            seconds = still * TICK_SECONDS
            self.stuck = seconds >= self._plan.stuck_seconds
            if seconds >= self._plan.blocked_seconds:
                self._judge(seconds)
        self.stuck = False

    def _judge(self, seconds: float) -> None:
        """The loop stands still. Who is alone in there may do that until the deadline; who others wait for may not."""
        marked = self._skill_of(self.board.running)
        if marked is not None:
            self._on_trouble(marked)
        now = asyncio.get_running_loop().time()
        if any(pending.due <= now for pending in self.calls.values()):
            self.stop(Cause.OVERDUE)
        elif len(self.calls) > 1 or self.board.running not in self.calls:
            self.stop(Cause.HELD_UP, f"{seconds:.1f}")

    def _skill_of(self, number: int) -> str | None:
        back = self._last - number
        return self._history[-1 - back] if number > 0 and 0 <= back < len(self._history) else None

    def _settle(self) -> None:
        cause, detail = self._stopping or (Cause.EXITED, "")
        self._stopping = (cause, detail)
        board = self.board
        end = End(
            cause=cause,
            calls={n: p.call for n, p in self.calls.items() if n <= board.begun},
            status=self._process.returncode or 0,
            marked=board.running,
            marked_skill=self._skill_of(board.running),
            detail=detail,
        )
        for number, pending in self.calls.items():
            if not pending.settled.done():
                moved = number not in end.calls and cause is not Cause.CLOSED
                pending.settled.set_result(Moved() if moved else verdict(end, number))
        self.calls.clear()
        if cause is not Cause.CLOSED:
            log.warning(
                "skill_host_ended",
                host=self.name,
                pid=self.pid,
                cause=end.cause,
                status=end.status,
                blamed=sorted(end.culprits or end.suspects),
                calls=len(end.calls),
            )
        self._on_end(self, end)
