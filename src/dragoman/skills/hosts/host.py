"""A skill host is, on the child's side, ``python -m dragoman.skills.hosts.host``, started by ``host_process``.

Imports the skills, then serves many calls at once on one event loop. It keeps little between itself and the skills,
and promises little: its worker watches it, and replaces it when it does not behave. What it does for that is to show
on the board which call's code runs (each step of each task that a call starts is marked), and to die with its worker.

Standard library, Pydantic and the skills' own modules only: a host must start fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import faulthandler
import importlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.as_json import spec_to_json
from dragoman.domain.errors import ConfigurationError
from dragoman.skills.hosts.wire import Board, answer_to_json, call_from_json, frame, read_frame
from dragoman.skills.invoke import attempt
from dragoman.skills.invoker import not_installed
from dragoman.skills.python import PythonSkill
from dragoman.skills.registry import collect, load_entry_points

BEAT_SECONDS = 0.05
APART_NICENESS = 10

_NUMBER: contextvars.ContextVar[int] = contextvars.ContextVar("skill_call", default=0)
"""The call that the running code belongs to; tasks and threads that a skill starts inherit it."""


class _Host:
    def __init__(self, skills: Mapping[str, PythonSkill], board: Board, link: socket.socket) -> None:
        self.board, self._skills, self._link = board, skills, link
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._forkers: set[int] = set()
        self._beating = False
        self.is_copy = False
        os.register_at_fork(after_in_parent=self._after_fork, after_in_child=self._in_copy)

    async def serve(self) -> None:
        """Until the worker closes the socket."""
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(sock=self._link)
        writer.write(frame({"skills": [spec_to_json(skill.spec) for skill in self._skills.values()]}))
        loop.set_task_factory(self._task)  # type: ignore[arg-type]
        while True:
            try:
                message = await read_frame(reader)
            except EOFError:
                return
            if "cancel" in message:
                task = self._tasks.get(message["cancel"])
                if task is not None:
                    task.cancel()
                continue
            number, call = call_from_json(message)
            self.board.begun = number
            context = contextvars.copy_context()
            context.run(_NUMBER.set, number)
            self._tasks[number] = loop.create_task(self._answer(writer, number, call), context=context)
            if not self._beating:
                self._beating = True
                self._beat(loop)

    async def _answer(self, writer: asyncio.StreamWriter, number: int, call: InvokeSkill) -> None:
        try:
            result, spent = await self._attempt(number, call)
            writer.write(frame(answer_to_json(number, result, spent)))
        finally:
            self._forkers.discard(number)
            del self._tasks[number]

    async def _attempt(self, number: int, call: InvokeSkill) -> tuple[SkillReturned | SkillRaised, str | None]:
        skill = self._skills.get(call.skill)
        if skill is None:
            return not_installed(call, _now()), None
        result, left = await attempt(skill, call, _now)
        if isinstance(result, SkillRaised) and result.error_class == "MemoryError":
            # It may be another call that holds the memory: only one that was alone is to blame for sure.
            return dataclasses.replace(result, retryable=len(self._tasks) > 1), "it ran out of memory"
        if left is not None:
            return result, "a skill would not stop"
        return result, "a skill forked it" if number in self._forkers else None

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self.board.beat += 1
        self._beating = bool(self._tasks)
        if self._beating:
            loop.call_later(BEAT_SECONDS, self._beat, loop, context=contextvars.Context())

    def _task(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **how: Any) -> asyncio.Task[Any]:
        context: contextvars.Context = how.get("context") or contextvars.copy_context()
        number = context.get(_NUMBER, 0)
        return asyncio.Task(_Marked(coro, number, self) if number else coro, loop=loop, **how)

    def _after_fork(self) -> None:
        self._forkers.add(_NUMBER.get())

    def _in_copy(self) -> None:
        """In a process that a skill forked off: it must not speak for us, whatever it goes on to do."""
        self.is_copy = True
        self.board.detach()
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self._link.fileno(), inheritable=False)


class _Marked(Coroutine[Any, Any, Any]):
    """A coroutine that shows its call's number on the board while its code runs."""

    __slots__ = ("_host", "_inner", "_number")

    def __init__(self, inner: Coroutine[Any, Any, Any], number: int, host: _Host) -> None:
        self._inner, self._number, self._host = inner, number, host

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def _step(self, act: Callable[..., Any], *arguments: Any) -> Any:
        board = self._host.board
        before, board.running = board.running, self._number
        try:
            return act(*arguments)
        except (SystemExit, KeyboardInterrupt):
            # These end the loop and with it the host: the mark stays, for the worker to read.
            before = self._number
            raise
        finally:
            if self._host.is_copy:
                # The skill forked, and its copy came back: the rest of the loop is not its own.
                os._exit(0)
            board.running = before

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        # Libraries look at cr_running and its like.
        return getattr(self._inner, name)


def _now() -> datetime:
    return datetime.now(UTC)


def _die_with(lifeline: int) -> None:
    """End this process and its children when the worker does, however that ends and whatever runs here then.

    The worker alone holds the writing end of *lifeline* and never writes. Where the kernel can turn its end into a
    signal to the process group, no skill can be in the way, not even one that keeps Python's lock. A thread waits for
    it as well: everywhere else, and should the signal not come.
    """
    if hasattr(signal, "SIGIO") and sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - Linux alone has F_SETSIG

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)

    def wait() -> None:
        # Nothing is ever written: it comes back at the end, which may have been before this.
        os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _load(modules: list[str]) -> dict[str, PythonSkill]:
    if not modules:
        return load_entry_points()
    found: dict[str, PythonSkill] = {}
    for name in modules:
        found.update(collect(importlib.import_module(name)))
    return found


def _step_back() -> None:
    """Leave the processor to others: for a host whose skill is known to make trouble."""
    os.nice(APART_NICENESS)
    with contextlib.suppress(OSError):
        # Where the kernel shares out by session, niceness within one means nothing to the others.
        Path("/proc/self/autogroup").write_text(str(APART_NICENESS))


def _limit(memory_mb: int) -> None:
    # A core dump of a skill that crashed would hold what contacts wrote.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_mb:
        size = memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main() -> None:
    """Serve, as the one argument (JSON) says; ends the process."""
    plan = json.loads(sys.argv[1])
    for name in ("link", "board", "lifeline"):
        os.set_inheritable(plan[name], False)
    _die_with(plan["lifeline"])
    _limit(plan["memory_mb"])
    if plan["apart"]:
        _step_back()
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    link = socket.socket(fileno=plan["link"])
    board = Board(plan["board"])
    os.close(plan["board"])
    try:
        skills = _load(plan["modules"])
    except BaseException as error:
        traceback.print_exc()
        why = str(error) if isinstance(error, ConfigurationError) else repr(error)
        link.sendall(frame({"unusable": why}))
        os._exit(1)
    # Not asyncio.run: it would wait, at the end, for tasks that do not want to end.
    loop = asyncio.new_event_loop()
    status = 0
    host = _Host(skills, board, link)
    worker_left = False
    try:
        loop.run_until_complete(host.serve())
        worker_left = not host.is_copy
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 70
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if worker_left:
        # It may have died, and of what it had open the socket closes before the lifeline: with us would go the last
        # that hears of that, and what skills have started would stay.
        os.killpg(0, signal.SIGKILL)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
