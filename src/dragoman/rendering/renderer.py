"""Renders email templates in child processes that are kept warm, watched, and replaced when one fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import structlog

from dragoman.rendering.templates import EmailTemplate, RenderedEmail, TemplateError, find_size_fault
from dragoman.rendering.values import check_values, encode_value
from dragoman.rendering.wire import LENGTH, pack_frame

log = structlog.get_logger()

REQUEST_LIMIT_BYTES = 8_000_000
ANSWER_LIMIT_BYTES = 16_000_000

_PASSED_ON = ("LD_LIBRARY_PATH",)
"""What the interpreter may need to start at all; nothing else of the environment is for the child."""


class RendererStartError(Exception):
    """No process for rendering could be started; the template is not to blame."""


class RendererClosedError(Exception):
    """The renderer was closed before the email was rendered."""


class _ChildLostError(Exception):
    """The child ended, or is to be replaced; the message says what may have come of it."""


class _RendererChild:
    """Is one child process, seen from outside. It is asked one thing at a time."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process, self._reader, self._writer = process, reader, writer
        self.has_answered = False

    @classmethod
    async def start(cls, memory_mb: int, cpu_s: int) -> _RendererChild:
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(theirs.close)
            with contextlib.ExitStack() as undo_ours:
                undo_ours.callback(ours.close)
                reader, writer = await asyncio.open_connection(sock=ours)
                undo_ours.pop_all()
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    # Isolated: neither the environment nor the working directory says what is imported.
                    *("-I", "-B", "-m", "dragoman.rendering.child", str(memory_mb), str(cpu_s)),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=_child_environment(),
                    cwd="/",
                    # Ctrl-C is for us.
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None and not self._reader.at_eof()

    async def ask(self, packed: bytes) -> dict[str, Any]:
        self._writer.write(packed)
        await self._writer.drain()
        answer = await self.read()
        self.has_answered = True
        return answer

    async def read(self) -> dict[str, Any]:
        """Read one frame. Raises EOFError (asyncio.IncompleteReadError is one), OSError and ValueError."""
        (size_bytes,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        if size_bytes > ANSWER_LIMIT_BYTES:
            raise ValueError("the answer is too large")
        answer = json.loads(await self._reader.readexactly(size_bytes))
        if not isinstance(answer, dict):
            raise ValueError("the answer is no JSON object")
        return answer

    async def end(self) -> int:
        """Kill the process; answers with how it ended, which may have been before."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        code = await self.process.wait()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        return code


class TemplateRenderer:
    """Renders emails for the tasks of one event loop, in ``processes`` children that it starts when they are needed.

    ``timeout_s`` is what one email may take, beside waiting for a free child. ``memory_mb`` is the address space of a
    child, of which a good 60 are taken before it has rendered anything.
    """

    def __init__(
        self, *, processes: int = 1, timeout_s: float = 2.0, start_timeout_s: float = 30.0, memory_mb: int = 256
    ) -> None:
        self._timeout_s, self._start_timeout_s, self._memory_mb = timeout_s, start_timeout_s, memory_mb
        self._free = asyncio.Semaphore(processes)
        self._idle: list[_RendererChild] = []
        self._running: set[asyncio.Task[dict[str, Any]]] = set()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def idle_pids(self) -> tuple[int, ...]:
        """List the process ids of the children that wait for work."""
        return tuple(child.process.pid for child in self._idle)

    async def render(
        self, template: EmailTemplate, values: Mapping[str, object], *, locale: str, zone: str
    ) -> RenderedEmail:
        """Render an email for a reader, whose dates and numbers are written as in *locale* and *zone*.

        Raises TemplateError for whatever the template or the values do, and RendererStartError.
        """
        if (fault := find_size_fault(template)) is not None:
            raise fault
        checked = {name: encode_value(value) for name, value in check_values(template, values).items()}
        answer = await self._ask(
            {"do": "render", "template": _without_variables(template), "values": checked, "locale": locale}
            | {"zone": zone}
        )
        return RenderedEmail.from_json(answer["email"])

    async def check(self, template: EmailTemplate) -> list[TemplateError]:
        """Find what is wrong with a template, as ``check_template`` does, without holding up this process."""
        if (fault := find_size_fault(template)) is not None:
            return [fault]
        try:
            answer = await self._ask({"do": "check", "template": template.to_json()})
        except TemplateError as error:
            return [error]
        return [TemplateError.from_json(found) for found in answer["faults"]]

    async def close(self) -> None:
        """End all children; what is being rendered fails with RendererClosedError."""
        self._is_closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        while self._idle:
            await self._idle.pop().end()

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._is_closed:
            raise RendererClosedError("the renderer is closed")
        try:
            packed = pack_frame(request)
        except (ValueError, RecursionError, TypeError):
            raise TemplateError("The template or its values cannot be written as JSON.") from None
        if len(packed) > REQUEST_LIMIT_BYTES:
            raise TemplateError("The template and its values are too large together.")
        # A task of its own: whoever is cancelled leaves it to its end, and the child with the answer that it owes.
        task = asyncio.create_task(self._ask_any(packed))
        self._running.add(task)
        task.add_done_callback(self._forget)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._is_closed:
                raise RendererClosedError("the renderer was closed") from None
            raise
        if "fault" in answer:
            raise TemplateError.from_json(answer["fault"])
        return answer

    def _forget(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._running.discard(task)
        # Of a task that nobody waits for any more nobody else would take the exception.
        if not task.cancelled():
            task.exception()

    async def _ask_any(self, packed: bytes) -> dict[str, Any]:
        async with self._free:
            try:
                return await self._ask_child(packed)
            except _ChildLostError:
                # It may have died while it was idle, or of what it kept of others: a new one says who is to blame.
                pass
            try:
                return await self._ask_child(packed, must_be_new=True)
            except _ChildLostError as error:
                raise TemplateError(str(error)) from None

    async def _ask_child(self, packed: bytes, *, must_be_new: bool = False) -> dict[str, Any]:
        child = await self._take_child(must_be_new=must_be_new)
        has_answered = child.has_answered
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await child.ask(packed)
        except TimeoutError:
            await self._replace(child, "timeout")
            raise TemplateError(f"The template takes longer than {self._timeout_s:g} seconds.") from None
        except (EOFError, OSError, ValueError):
            code = await self._replace(child, "ended")
            message = "The template needs too much memory."
            if code == -signal.SIGXCPU:
                message = f"The template takes longer than {self._timeout_s:g} seconds."
            if has_answered:
                raise _ChildLostError(message) from None
            raise TemplateError(message) from None
        except BaseException:
            await child.end()
            raise
        if answer.get("is_spent"):
            await self._replace(child, "out of memory")
            if has_answered:
                raise _ChildLostError
        else:
            self._idle.append(child)
        return answer

    async def _take_child(self, *, must_be_new: bool) -> _RendererChild:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive and not must_be_new:
                return child
            await child.end()
        # Also a child that does nothing but compute ends itself some time, should we be gone.
        cpu_s = max(1, math.ceil(self._timeout_s))
        try:
            child = await _RendererChild.start(self._memory_mb, cpu_s)
        except OSError as error:
            raise RendererStartError(f"no process for rendering could be started: {error}") from error
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await child.read()
        except (TimeoutError, EOFError, OSError, ValueError) as error:
            code = await child.end()
            raise RendererStartError(f"a process for rendering was not ready, and ended with code {code}") from error
        except BaseException:
            await child.end()
            raise
        log.info("template_renderer_started", pid=child.process.pid)
        return child

    async def _replace(self, child: _RendererChild, cause: str) -> int:
        code = await child.end()
        log.warning("template_renderer_ended", pid=child.process.pid, cause=cause, code=code)
        return code


def _child_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Each thread's arena would reserve 64 MB of the address space that is limited.
    return {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", **kept}


def _without_variables(template: EmailTemplate) -> dict[str, Any]:
    """Leave out what the child does not need, since the values are checked here."""
    return {"subject": template.subject, "html": template.html, "text": template.text}
